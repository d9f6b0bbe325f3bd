"""wallet purchase dispute and evidence, and what show tells of them."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_utils import keccak

from node.bridge.disputes import canonical_form, hash_of_statement
from tests.wallet.chain import DAY, SELLER, Platform, Proxy
from tests.wallet.conftest import PASSWORD, Home
from tests.wallet.test_crash import kill_at
from tests.wallet.test_terminal import terminal
from wallet.disputes import Statement, keep_statement, kept_text
from wallet.errors import InvalidInput

AMOUNT = 12_500_000


@pytest.fixture
def order(rewound: Platform, home: Home) -> dict[str, Any]:
    """A purchase of this wallet's key, paid and delivered."""
    return paid(rewound, home)


def paid(platform: Platform, home: Home, delivered: bool = True) -> dict[str, Any]:
    me, escrow = home.account.address, platform.escrow
    terms = platform.terms(me, platform.member(kinds=SELLER).address)
    solidity = platform.solidity_terms(terms)
    platform.acting(me, platform.coin.functions.approve(escrow.address, AMOUNT))
    platform.acting(me, escrow.functions.authorize(solidity, AMOUNT))
    if delivered:
        platform.send(escrow.functions.confirmDelivery(solidity), platform.operator)
    return {**terms, "hash": platform.order_hash(terms), "solidity": solidity}


def dispute(home: Home, order: dict[str, Any], *more: str) -> Any:
    return home.confirmed(
        "purchase", "dispute", order["hash"], "--text", "The cup came broken.", "--json", *more
    )


def said(done: Any) -> tuple[int, str]:
    return done.code, done.json["error"]["message"]


@pytest.mark.parametrize("reference", [None, "ticket 4711"])
@pytest.mark.parametrize("salt", [None, b"\x0a" * 32])
@pytest.mark.parametrize("text", ["The cup came broken.", 'Ünïcode "quoted" \\ €\n\tand lines 🏺'])
def test_a_statement_is_hashed_as_the_bridge_does(
    text: str, reference: str | None, salt: bytes | None
) -> None:
    order_hash, party = b"\x5a" * 32, "0x52908400098527886E0F7030069857D2E4169EE7"
    for kind in ("complaint", "evidence"):
        statement = Statement(kind, order_hash, party, text, reference, salt)  # type: ignore[arg-type]
        hex_salt = None if salt is None else "0x" + salt.hex()
        theirs = canonical_form(kind, "0x" + order_hash.hex(), party, text, reference, hex_salt)
        assert statement.canonical() == theirs
        assert "0x" + statement.hash().hex() == hash_of_statement(theirs)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("", None),
        ("x" * 4_001, None),
        ("a\x00b", None),
        ("\x1b[2J", None),
        ("\ud800", None),
        ("good", ""),
        ("good", "r" * 201),
        ("good", "two\nlines"),
    ],
)
def test_what_the_bridge_would_not_take_is_refused(text: str, reference: str | None) -> None:
    with pytest.raises(InvalidInput):
        Statement("complaint", b"\0" * 32, "0x" + "11" * 20, text, reference)


def test_a_statement_is_kept_privately_once_and_mended(tmp_path: Path) -> None:
    statement = Statement("complaint", b"\0" * 32, "0x" + "11" * 20, "broken")
    said = "0x" + statement.hash().hex()
    assert kept_text(tmp_path, said) is None
    path = keep_statement(tmp_path, statement)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert keep_statement(tmp_path, statement) == path
    assert keccak(path.read_bytes()) == statement.hash()
    path.write_text('{"half')
    assert kept_text(tmp_path, said) is None
    keep_statement(tmp_path, statement)
    assert kept_text(tmp_path, said) == "broken"


def test_a_dispute_goes_on_chain_by_its_hash_and_the_text_stays(
    rewound: Platform, home: Home, order: dict[str, Any]
) -> None:
    done = dispute(home, order, "--reference", "ticket 4711")
    assert done.code == 0, done.err
    intent = done.json["intent"]
    assert (intent["kind"], intent["amount"]) == ("dispute", str(AMOUNT))
    kept = home.path / "statements" / f"{intent['evidence_hash']}.json"
    assert "0x" + keccak(kept.read_bytes()).hex() == intent["evidence_hash"]
    assert rewound.order(order["hash"])[3] == 4
    logs = rewound.escrow.events.DisputeOpened().get_logs(from_block=0)
    assert "0x" + logs[-1]["args"]["evidenceHash"].hex() == intent["evidence_hash"]
    assert "Disputed 12.50 PLZ, all that the escrow holds" in done.err
    assert "Text     The cup came broken." in done.err

    shown = home.run("purchase", "show", order["hash"], "--json").json
    assert shown["status"] == "disputed"
    assert shown["dispute"]["status"] == "open"
    (remark,) = shown["dispute"]["statements"]
    assert (remark["kind"], remark["text"]) == ("complaint", "The cup came broken.")
    text = home.run("purchase", "show", order["hash"]).out
    assert "Dispute  open, the arbiter decides until" in text
    assert "Says     buyer: The cup came broken.  0x" in text

    assert said(dispute(home, order)) == (
        1,
        "the purchase is in dispute already: evidence can be added",
    )
    reclaim = home.confirmed("purchase", "reclaim", order["hash"], "--json")
    assert reclaim.code == 1


def test_evidence_is_added_by_a_party_from_a_file(
    rewound: Platform, home: Home, order: dict[str, Any], tmp_path: Path
) -> None:
    assert dispute(home, order).code == 0
    (tmp_path / "note.txt").write_text("A photo.\nAnother one.\n")
    arguments = ("purchase", "evidence", order["hash"], "--text-file", str(tmp_path / "note.txt"))
    done = home.confirmed(*arguments, "--json")
    assert done.code == 0, done.err
    assert "Text     A photo.\n         Another one." in done.err
    shown = home.run("purchase", "show", order["hash"], "--json").json
    remarks = [(r["kind"], r["text"]) for r in shown["dispute"]["statements"]]
    assert remarks == [
        ("complaint", "The cup came broken."),
        ("evidence", "A photo.\nAnother one."),
    ]
    hash_ = done.json["intent"]["evidence_hash"]
    assert said(home.confirmed(*arguments, "--json")) == (
        1,
        f"the same was said before: {hash_}",
    )


def test_what_others_said_is_shown_with_its_hash_alone(
    rewound: Platform, home: Home, order: dict[str, Any]
) -> None:
    assert dispute(home, order).code == 0
    submit = rewound.escrow.functions.submitEvidence(order["solidity"], b"\x07" * 32)
    rewound.acting(order["payee"], submit)
    text = home.run("purchase", "show", order["hash"]).out
    assert f"Says     seller: (its text is not in this wallet)  0x{'07' * 32}" in text


def test_how_a_dispute_ended_is_shown(rewound: Platform, home: Home) -> None:
    decided, expired, settled = (paid(rewound, home) for _ in range(3))
    for order in (decided, expired, settled):
        assert dispute(home, order).code == 0
    escrow = rewound.escrow.functions
    rewound.send(escrow.resolve(decided["solidity"], 4_000_000, 250, b"\x09" * 32))
    rewound.acting(settled["payee"], escrow.void(settled["solidity"], AMOUNT))
    rewound.travel(31 * DAY)
    late = home.confirmed("purchase", "evidence", expired["hash"], "--text", "late", "--json")
    assert late.code == 1
    assert late.json["error"]["message"].startswith("evidence could be given until")
    rewound.send(escrow.expireDispute(expired["solidity"]))

    def shown(order: dict[str, Any]) -> str:
        return home.run("purchase", "show", order["hash"]).out

    assert (
        "Dispute  decided: 4.00 PLZ to the buyer, 8.50 PLZ to the seller before fee and holdback"
    ) in shown(decided)
    assert "Dispute  not decided in time: all went to the buyer" in shown(expired)
    assert "Dispute  settled: a party gave in" in shown(settled)


def test_refusals_are_in_words(
    rewound: Platform, home: Home, make_home: Callable[..., Home]
) -> None:
    order = paid(rewound, home, delivered=False)
    code, message = said(dispute(home, order))
    assert code == 1
    assert message.startswith("delivery is not confirmed yet: from ")
    assert said(home.confirmed("purchase", "evidence", order["hash"], "--text", "x", "--json")) == (
        1,
        "there is no open dispute: the order is authorized",
    )
    other = make_home(name="other")
    assert said(dispute(other, order)) == (
        1,
        f"the purchase is {order['payer']}'s, this key is {other.account.address}",
    )
    assert said(
        other.confirmed("purchase", "evidence", order["hash"], "--text", "x", "--json")
    ) == (1, f"the purchase is between others, this key is {other.account.address}")
    escrow = rewound.escrow.functions
    rewound.send(escrow.confirmDelivery(order["solidity"]), rewound.operator)
    rewound.travel(8 * DAY)
    code, message = said(dispute(home, order))
    assert message.startswith("the purchase could be disputed until ")
    rewound.send(escrow.release(order["solidity"], AMOUNT, 250))
    assert said(dispute(home, order)) == (
        1,
        "the escrow holds nothing for the order: it is closed",
    )


def test_a_dispute_may_be_signed_for_the_bridge_to_send(
    rewound: Platform, home: Home, order: dict[str, Any]
) -> None:
    from node.bridge.operations import reference
    from node.chain.typed_data import intent_nonce

    salt = "0x" + "5a" * 32
    done = dispute(home, order, "--sign-only", "--salt", salt)
    assert done.code == 0, done.err
    assert rewound.transaction_count(home.account.address) == 2  # approval and payment alone
    body, said_hash = done.json["body"], done.json["evidence_hash"]
    form = canonical_form(
        "complaint", order["hash"], order["payer"], body["text"], body["reference"], body["salt"]
    )
    assert hash_of_statement(form) == said_hash
    assert (home.path / "statements" / f"{said_hash}.json").is_file()
    rewound.send(
        rewound.escrow.functions.disputeWithSignature(
            order["solidity"],
            said_hash,
            intent_nonce(reference("plaza/dispute", order["hash"])),
            body["signed"]["deadline"],
            body["signed"]["signature"],
        )
    )
    more = home.confirmed(
        "purchase", "evidence", order["hash"], "--text", "photo", "--sign-only", "--json"
    )
    assert more.code == 0, more.err
    body, said_hash = more.json["body"], more.json["evidence_hash"]
    assert body["by"] == "payer"
    rewound.send(
        rewound.escrow.functions.submitEvidenceWithSignature(
            order["solidity"],
            order["payer"],
            said_hash,
            intent_nonce(reference("plaza/evidence", order["hash"], said_hash)),
            body["signed"]["deadline"],
            body["signed"]["signature"],
        )
    )


def test_a_text_is_needed_once(home: Home) -> None:
    for texts in ((), ("--text", "a", "--text-file", "b")):
        done = home.confirmed("purchase", "dispute", "0x" + "11" * 32, *texts)
        assert (done.code, "one of --text and --text-file" in done.err) == (2, True)


def test_a_salt_is_32_bytes(home: Home) -> None:
    done = home.confirmed("purchase", "dispute", "0x" + "11" * 32, "--text", "a", "--salt", "0x12")
    assert (done.code, "--salt is '0x12', not 32 bytes as 0x hex" in done.err) == (2, True)


def test_the_operator_signs_no_evidence_for_others_to_send(
    rewound: Platform, home: Home, make_home: Callable[..., Home]
) -> None:
    operator = make_home(name="operator")
    me = operator.account.address
    terms = rewound.terms(home.account.address, rewound.member().address, operator=me)
    solidity, escrow = rewound.solidity_terms(terms), rewound.escrow.functions
    approve = rewound.coin.functions.approve(rewound.escrow.address, AMOUNT)
    rewound.acting(home.account.address, approve)
    rewound.acting(home.account.address, escrow.authorize(solidity, AMOUNT))
    rewound.acting(me, escrow.confirmDelivery(solidity))
    order = {"hash": rewound.order_hash(terms)}
    assert dispute(home, order).code == 0
    arguments = ("purchase", "evidence", order["hash"], "--text", "It was whole.", "--json")
    assert said(operator.confirmed(*arguments, "--sign-only")) == (
        1,
        "the operator's evidence is a transaction of its own",
    )
    assert operator.confirmed(*arguments).code == 0


def test_off_a_terminal_nothing_is_said_without_yes(home: Home) -> None:
    for verb in ("dispute", "evidence"):
        done = home.run("purchase", verb, "0x" + "11" * 32, "--text", "x", "--json")
        assert (done.code, done.json["error"]["code"]) == (5, "confirmation_required")


def test_a_dispute_is_agreed_to_on_a_terminal(
    rewound: Platform, home: Home, order: dict[str, Any]
) -> None:
    command = home.command("purchase", "dispute", order["hash"], "--text", "It is broken.")
    with terminal(*command) as screen:
        screen.expect("Text     It is broken")
        screen.expect(r"Open the dispute\? \[y/N\]")
        screen.type("n")
        assert screen.exit_code() == 3
    assert rewound.order(order["hash"])[3] == 2
    assert not (home.path / "statements").exists()
    with terminal(*command) as screen:
        screen.expect(r"Open the dispute\? \[y/N\]")
        screen.type("y")
        screen.expect("What you say is kept in")
        screen.expect("Password for main")
        screen.type(PASSWORD)
        screen.expect("Confirmed in block")
        assert screen.exit_code() == 0
    assert rewound.order(order["hash"])[3] == 4


def test_a_killed_dispute_has_its_text_and_is_not_repeated(
    rewound: Platform, make_home: Callable[..., Home], proxy: Proxy
) -> None:
    home = make_home(name="killed", rpc_url=proxy.url)
    order = paid(rewound, home)
    command = ["purchase", "dispute", order["hash"], "--text", "It is broken."]
    kill_at(proxy.before, "eth_sendRawTransaction")(home, command)
    (kept,) = (home.path / "statements").iterdir()
    done = home.confirmed(*command, "--json")
    assert (done.code, done.json["resumed"]) == (0, True), done.err
    assert kept.stem == done.json["intent"]["evidence_hash"]
    assert len(set(proxy.sent)) == 1
