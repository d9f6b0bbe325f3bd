"""wallet credit, against the platform's own credit book and pool."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from tests.wallet.chain import COIN, DAY, SELLER, Platform, Proxy, lose
from tests.wallet.conftest import PASSWORD, Home
from tests.wallet.test_crash import kill_at
from tests.wallet.test_terminal import terminal
from wallet import Confirmed, StillPending
from wallet.credit import BPS_YEAR
from wallet.errors import (
    InsufficientFunds,
    InvalidInput,
    Refused,
    TermsMismatch,
    WalletError,
    WouldRevert,
)


@pytest.fixture
def lent(rewound: Platform, home: Home) -> Platform:
    """A filled pool and reserve, put back after the test; the key is a seller's."""
    rewound.lend()
    rewound.admit(home.account.address, SELLER)
    return rewound


@pytest.fixture
def offered(lent: Platform, home: Home, tmp_path: Path) -> dict[str, Any]:
    return write_offer(tmp_path, lent.offer(home.account.address))


def write_offer(folder: Path, offer: dict[str, Any]) -> dict[str, Any]:
    (folder / "offer.json").write_text(json.dumps(offer))
    return offer


def said(done: Any) -> tuple[int, str]:
    return done.code, done.json["error"]["message"]


def statement(platform: Platform, seller: str) -> Any:
    return platform.book.functions.statementOf(seller).call()


# ---------------------------------------------------------------------------------- accept


def test_an_offer_is_shown_in_words_and_accepted(
    lent: Platform, home: Home, offered: dict[str, Any], tmp_path: Path
) -> None:
    source = str(tmp_path / "offer.json")
    shown = home.run("credit", "accept", source, "--dry-run")
    assert shown.code == 0, shown.err
    offer_hash = "0x" + lent.offer_hash(offered["offer"]).hex()
    for words in (
        "Limit    300.00 PLZ, to be drawn within 270 days of accepting",
        "Rate     11.00 % a year: simple interest by the second on what is drawn; "
        "0.50 % of each draw, at once",
        "Holdback 15.00 % of each sale after the fee",
        "Minimum  every 60 days from the first draw",
        "25.00 % of each sale. After 90 days default: all is due",
        f"By       {lent.underwriter.address}, an underwriter by the chain's word",
        "disclosure 0x" + "d1" * 32,
        offer_hash,
    ):
        assert words in shown.out, words
    assert statement(lent, home.account.address)[0] == 0

    done = home.confirmed("credit", "accept", source, "--json")
    assert done.code == 0, done.err
    assert done.json["intent"] == {
        "kind": "acceptance",
        "offer_hash": offer_hash,
        "to": lent.book.address,
        "amount": str(300 * COIN),
    }
    assert statement(lent, home.account.address)[0] == 1
    assert said(home.confirmed("credit", "accept", source, "--json")) == (
        1,
        "the offer was accepted before, or taken back by its underwriter",
    )


def bridge_offer(platform: Platform, seller: str) -> dict[str, Any]:
    """The offer as the bridge shows it: without seller and nonce, which follow."""
    from node.bridge.operations import reference

    offer_id = "off_" + "0a" * 16
    nonce = str(int(reference("plaza/credit_offer", offer_id), 16))
    made = platform.offer(seller, nonce=nonce)
    offer = made["offer"]
    expires = datetime.fromtimestamp(offer["expires"], UTC)
    return {
        "id": offer_id,
        "account": "acc_" + "0b" * 16,
        "status": "offered",
        "limit": offer["limit"],
        "apr_bps": 1_100,
        "draw_fee_bps": 50,
        "holdback_bps": 1_500,
        "term_days": 270,
        "expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "offer_hash": "0x" + platform.offer_hash(offer).hex(),
        "underwriter": offer["underwriter"],
        "signature": made["signature"],
        "disclosure_hash": offer["disclosureHash"],
        "model_hash": offer["modelHash"],
        "credit_line": "lin_" + "0b" * 16,
        "error": None,
        "created_at": "2026-01-31T09:15:00Z",
        "accepted_at": None,
        "declined_at": None,
    }


def test_the_bridges_own_json_of_an_offer_is_accepted_from_stdin(
    lent: Platform, home: Home, tmp_path: Path
) -> None:
    write_offer(tmp_path, bridge_offer(lent, home.account.address))
    with (tmp_path / "offer.json").open() as file:
        done = home.run(
            *("credit", "accept", "-", "--yes", "--password-file", str(home.password_file)),
            stdin=file,
        )
    assert done.code == 0, done.err
    assert statement(lent, home.account.address)[0] == 1


def test_the_bridges_form_is_the_bridges(lent: Platform, home: Home) -> None:
    from node.bridge.credit_offers import Offer  # the whole bridge is loaded

    assert set(bridge_offer(lent, home.account.address)) == set(Offer.model_fields)


def test_an_acceptance_may_be_signed_for_the_bridge_to_send(
    lent: Platform, home: Home, tmp_path: Path
) -> None:
    made = bridge_offer(lent, home.account.address)
    write_offer(tmp_path, made)
    done = home.confirmed("credit", "accept", str(tmp_path / "offer.json"), "--sign-only", "--json")
    assert done.code == 0, done.err
    assert done.json["path"] == f"/v1/credit_lines/offers/{made['id']}/accept"
    signed = done.json["body"]["signed"]
    assert lent.transaction_count(home.account.address) == 0

    # What the bridge does with it: the nonce is the one it expects.
    from node.chain.typed_data import intent_nonce

    made_offer = lent.offer(home.account.address, nonce=str(_nonce_of(made["id"])))["offer"]
    made_offer["expires"] = int(
        datetime.fromisoformat(made["expires"].replace("Z", "+00:00")).timestamp()
    )
    accept = lent.book.functions.acceptWithSignature(
        lent.solidity_offer(made_offer),
        made["signature"],
        intent_nonce(made["offer_hash"]),
        signed["deadline"],
        signed["signature"],
    )
    lent.send(accept, lent.operator)
    assert statement(lent, home.account.address)[0] == 1


def _nonce_of(offer_id: str) -> int:
    from node.bridge.operations import reference

    return int(reference("plaza/credit_offer", offer_id), 16)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("limit", str(301 * COIN), "it was changed, or is for another seller or network"),
        ("apr_bps", 1_000, "it was changed, or is for another seller or network"),
        ("offer_hash", "0x" + "11" * 32, "the offer is named 0x1111"),
        ("limit", "3e8", "limit is '3e8', not an unsigned number of 72 bits"),
        ("limit", True, "limit is True"),
        ("apr_bps", 70_000, "aprBps is 70000, not an unsigned number of 16 bits"),
        ("signature", "0x12", "signature is '0x12', not 65 bytes"),
        ("expires", "tomorrow", "expires is 'tomorrow', not a time"),
        ("underwriter", "0x12", "is not an address"),
        ("id", "off_1", "not the id of an offer"),
        ("status", "declined", "is declined already, so says the bridge"),
    ],
)
def test_an_offer_that_is_not_what_was_signed_is_refused(
    lent: Platform, home: Home, field: str, value: Any, message: str
) -> None:
    made = {**bridge_offer(lent, home.account.address), field: value}
    with home.wallet() as wallet, pytest.raises(WalletError) as refused:
        wallet.credit_offer(made)
    assert message in str(refused.value)


def test_offers_by_others_and_for_others_are_refused(lent: Platform, home: Home) -> None:
    me, other = home.account.address, Account.create()
    good = lent.offer(me)
    forged = other.unsafe_sign_hash(lent.offer_hash(good["offer"])).signature.to_0x_hex()
    own = {**good["offer"], "underwriter": other.address}
    self_made = other.unsafe_sign_hash(lent.offer_hash(own)).signature.to_0x_hex()
    with home.wallet() as wallet:
        with pytest.raises(
            Exception, match=f"not signed by its underwriter .* but by {other.address}"
        ):
            wallet.credit_offer({**good, "signature": forged})
        with pytest.raises(
            TermsMismatch, match=f"the offer is for {other.address}, this key is {me}"
        ):
            wallet.credit_offer(lent.offer(other.address))
        with pytest.raises(InvalidInput, match="exactly the fields"):
            wallet.credit_offer({**good, "offer": {**good["offer"], "note": "cheap"}})
        with pytest.raises(InvalidInput, match="exactly offer, signature and offer_hash"):
            wallet.credit_offer({**good, "note": "cheap"})
        by_nobody = wallet.credit_offer({"offer": own, "signature": self_made})
        with pytest.raises(Refused, match="who signed the offer, is not an underwriter here"):
            wallet.plan_accept(by_nobody)


def test_an_offer_the_book_would_not_take_is_refused_in_words(lent: Platform, home: Home) -> None:
    account = home.account
    with home.wallet() as wallet:

        def refusal(**changes: Any) -> str:
            offer = wallet.credit_offer(lent.offer(account.address, **changes))
            with pytest.raises(Refused) as refused:
                wallet.plan_accept(offer)
            return str(refused.value)

        assert refusal(limit=str(5_001 * COIN)) == (
            "the offer's limit is 5001.00, a credit line may have 5000.00 at most"
        )
        assert "the offer could be accepted until 2001-" in refusal(expires=10**9)
        with pytest.raises(WouldRevert, match="the offer is invalid: aprBps above 2000"):
            wallet.plan_accept(wallet.credit_offer(lent.offer(account.address, aprBps=2_001)))
        lent.line_of(account, drawn=10 * COIN)
        assert refusal(aprBps=1_101) == (
            "the offer's rate of 1101 basis points is above the 1100 of what is owed already"
        )
        lent.travel(61 * DAY)
        assert refusal().endswith("that has to be paid first; until then it takes no new terms")


# ------------------------------------------------------------------------------------ draw


def test_a_draw_arrives_and_its_cost_is_shown(lent: Platform, home: Home) -> None:
    lent.line_of(home.account)
    done = home.confirmed("credit", "draw", "90", "--json")
    assert done.code == 0, done.err
    assert lent.balance(home.account.address) == 190 * COIN
    assert done.json["intent"] == {
        "kind": "draw",
        "to": lent.book.address,
        "amount": str(90 * COIN),
    }
    assert "Cost     0.45 PLZ at once, and 11.00 % a year" in done.err
    assert "Owed     0.00 → 90.45 PLZ, repaid by 15.00 % of each sale" in done.err
    assert "balance 100.00 → 190.00 PLZ" in done.err


def test_an_interrupted_draw_is_finished_not_repeated(lent: Platform, home: Home) -> None:
    lent.line_of(home.account)
    lent.web3.provider.make_request("evm_setAutomine", [False])
    try:
        done = home.confirmed("credit", "draw", "5", "--timeout", "0.3", "--json")
        assert done.code == 8
        lent.web3.provider.make_request("evm_mine", [])
    finally:
        lent.web3.provider.make_request("evm_setAutomine", [True])
    again = home.confirmed("credit", "draw", "5", "--json")
    assert (again.code, again.json["hash"], again.json["resumed"]) == (0, done.json["hash"], True)
    assert lent.balance(home.account.address) == 105 * COIN


def test_what_cannot_be_drawn_is_said_in_words(lent: Platform, home: Home) -> None:
    account, book = home.account, lent.book.functions

    def refusal(amount: str = "1") -> tuple[int, str]:
        return said(home.confirmed("credit", "draw", amount, "--json"))

    assert refusal() == (1, "there is no credit line: an offer has to be accepted first")
    lent.line_of(account, drawn=100 * COIN, limit=str(600 * COIN))
    assert refusal("500.01") == (
        1,
        "500.00 can be drawn: the limit is 600.00, and 100.00 is drawn already",
    )
    assert refusal("0") == (1, "the amount is zero")
    lent.send(book.pauseDraws())
    assert refusal() == (1, "draws are paused by the platform")
    lent.send(book.unpauseDraws())
    lent.send(book.setCaps(5_000 * COIN, 150 * COIN, 1_000))
    assert refusal("60") == (1, "all credit lines together may take 50.00 more")
    lent.send(book.setCaps(5_000 * COIN, 10**12, 5_000))
    assert refusal("301") == (
        1,
        "the platform's first-loss reserve is 200.00, and 200.50 is needed for this draw",
    )
    lent.send(book.setCaps(5_000 * COIN, 10**12, 1_000))
    lender = str(lent.web3.eth.accounts[3])
    lent.send(lent.pool.functions.withdraw(890 * COIN, lender, lender), lender)
    assert refusal("11") == (1, "the lenders' pool has 10.00 to lend now")
    lent.travel(61 * DAY)
    code, message = refusal()
    assert code == 1
    assert message.endswith("that has to be paid first")
    lent.travel(95 * DAY)
    code, message = refusal()
    assert (code, message.split(":")[0]) == (1, "the credit line is in default")
    lent.travel(180 * DAY)
    lent.send(book.chargeOff(account.address))
    assert refusal()[1].startswith("the credit line was written off; ")


def test_a_term_that_is_over_is_said(lent: Platform, home: Home) -> None:
    lent.line_of(home.account, termDays=1)
    lent.travel(DAY + 1)
    with home.wallet() as wallet, pytest.raises(Refused, match="could be drawn on until"):
        wallet.plan_draw(COIN)


def test_a_network_without_credit_lines_says_so(platform: Platform, home: Home) -> None:
    manifest = platform.manifest()
    del manifest["contracts"]["CreditBook"], manifest["contracts"]["LenderPool"]
    home.add_network(manifest)
    done = home.run("credit", "statement", "--json")
    assert said(done) == (1, "network 'plaza' has no credit lines")


# ----------------------------------------------------------------------------------- repay


def test_all_is_repaid_to_the_unit_though_interest_runs_on(lent: Platform, home: Home) -> None:
    me = home.account.address
    lent.line_of(home.account, drawn=90 * COIN)
    lent.travel(30 * DAY)
    owed = statement(lent, me)[6]
    assert owed > 90 * COIN + 450_000
    before = lent.balance(me)
    done = home.confirmed("credit", "repay", "all", "--json")
    assert done.code == 0, done.err
    assert "more than is owed now; the rest comes back" in done.err
    taken = before - lent.balance(me)
    per_minute = 90 * COIN * 1_100 * 60 // BPS_YEAR + 1
    assert owed <= taken <= owed + per_minute
    assert int(done.json["intent"]["amount"]) > taken
    assert statement(lent, me)[6] == 0
    # Nothing stays allowed afterwards.
    assert lent.coin.functions.allowance(me, lent.book.address).call() == 0
    assert said(home.confirmed("credit", "repay", "all", "--json")) == (
        1,
        "nothing is owed on the credit line",
    )


def test_a_part_is_repaid_also_for_another_one(
    lent: Platform, home: Home, make_home: Callable[..., Home]
) -> None:
    friend = make_home(name="friend")
    lent.line_of(home.account, drawn=90 * COIN)
    done = friend.confirmed("credit", "repay", "10", "--for", home.account.address, "--json")
    assert done.code == 0, done.err
    assert lent.balance(friend.account.address) == 90 * COIN
    assert 80 * COIN < statement(lent, home.account.address)[6] < 81 * COIN
    assert f"Line of  {home.account.address}" in done.err


def test_more_than_is_owed_is_warned_of_and_comes_back(lent: Platform, home: Home) -> None:
    lent.line_of(home.account, drawn=COIN)
    done = home.confirmed("credit", "repay", "50")
    assert done.code == 0, done.err
    assert "is owed: the rest comes back" in done.out
    assert 100 * COIN > lent.balance(home.account.address) > 99_990_000


def test_too_little_coin_for_all_that_is_owed(lent: Platform, home: Home) -> None:
    lent.line_of(home.account, drawn=90 * COIN)
    lent.acting(home.account.address, lent.coin.functions.transfer(lent.fee_receiver, 150 * COIN))
    done = home.confirmed("credit", "repay", "all", "--json")
    assert done.code == 9
    assert done.json["error"]["message"].startswith("the balance is 40.00 PLZ, 90.45")
    with home.wallet() as wallet, pytest.raises(InsufficientFunds):
        wallet.plan_repay(41 * COIN)


def test_all_is_repaid_by_who_has_no_more_than_that(lent: Platform, home: Home) -> None:
    me = home.account.address
    lent.line_of(home.account, drawn=90 * COIN)
    left = statement(lent, me)[6] + 200  # a minute's interest, and not an hour's
    lent.acting(me, lent.coin.functions.transfer(lent.fee_receiver, lent.balance(me) - left))
    done = home.confirmed("credit", "repay", "all", "--json")
    assert done.code == 0, done.err
    assert statement(lent, me)[6] == 0


def test_the_same_key_repays_all_once(lent: Platform, home: Home) -> None:
    lent.line_of(home.account, drawn=10 * COIN)
    with home.wallet() as wallet:
        plan = wallet.plan_repay(None, idempotency_key="close")
        assert (plan.intent["meant"], plan.warnings) == ("all", ())
        lent.travel(60)
        later = wallet.plan_repay(None, idempotency_key="close")
        assert later.intent != plan.intent
        assert later.reference == plan.reference
        first = wallet.submit(plan)
        assert isinstance(first.wait(), Confirmed)
        assert wallet.submit(later).hash == first.hash
    done = home.confirmed("credit", "repay", "all", "--idempotency-key", "close", "--json")
    assert (done.code, done.json["hash"], done.json["resumed"]) == (0, first.hash, True)


def test_a_lost_repayment_is_the_same_bytes_again(
    lent: Platform, make_home: Callable[..., Home], proxy: Proxy
) -> None:
    home = make_home(name="lossy", rpc_url=proxy.url)
    lent.line_of(home.account, drawn=10 * COIN)

    proxy.before["eth_sendRawTransaction"] = lose
    with home.wallet() as wallet:
        sent = wallet.submit(wallet.plan_repay(None))
        assert isinstance(sent.wait(timeout=0.2), StillPending)
    proxy.before.clear()
    done = home.confirmed("credit", "repay", "all", "--json")
    assert (done.code, done.json["hash"], done.json["resumed"]) == (0, sent.hash, True)
    assert len(set(proxy.sent)) == 1
    assert statement(lent, home.account.address)[6] == 0


# ------------------------------------------------------------------- statement, list, holdback


def test_a_statement_says_what_the_book_says(lent: Platform, home: Home) -> None:
    me = home.account.address
    none = home.run("credit", "statement")
    assert none.out == f"{me} has no credit line\n"
    assert home.run("credit", "list").out == "no credit line\n"
    lent.line_of(home.account, drawn=90 * COIN)
    lent.travel(30 * DAY)
    expected = statement(lent, me)
    answer = home.run("credit", "statement", "--json").json
    assert (answer["status"], answer["seller"]) == ("active", me)
    names = ("principal", "interest", "payoff", "past_due", "due_in_window", "available")
    assert [int(answer[name]) for name in names] == list(expected[4:10])
    assert (answer["limit"], answer["apr_bps"]) == (str(300 * COIN), 1_100)
    text = home.run("credit", "statement", "main").out
    assert "Status   active" in text
    assert "Free     210.00 of 300.00 PLZ" in text
    assert "Holdback 15.00 % of each sale" in text
    (line,) = home.run("credit", "list", "--json").json["lines"]
    assert (line["name"], line["status"]) == ("main", "active")
    assert "of 300.00 PLZ  active" in home.run("credit", "list").out

    lent.travel(40 * DAY)
    late = home.run("credit", "statement", "--json").json
    assert late["status"] == "delinquent"
    assert int(late["past_due"]) > 0
    text = home.run("credit", "statement").out
    assert "Status   delinquent: past due for more than 7 days" in text
    assert "Holdback 25.00 % of each sale" in text
    assert "Note     " in text
    assert "past due since" in home.run("credit", "list").out


def test_the_holdback_is_chosen_inside_its_bounds(lent: Platform, home: Home) -> None:
    lent.line_of(home.account)
    done = home.confirmed("credit", "holdback", "17.5", "--json")
    assert done.code == 0, done.err
    assert "Holdback 15.00 % → 17.50 % of each sale" in done.err
    assert statement(lent, home.account.address)[-1] == 1_750
    assert said(home.confirmed("credit", "holdback", "14", "--json")) == (
        1,
        "the holdback can be 1500 to 2500 basis points, not 1400",
    )
    assert home.confirmed("credit", "holdback", "17.555").code == 2


@pytest.mark.parametrize(
    "command", [("accept", "offer.json"), ("draw", "1"), ("repay", "all"), ("holdback", "20")]
)
def test_off_a_terminal_nothing_is_done_without_yes(home: Home, command: tuple[str, ...]) -> None:
    done = home.run("credit", *command, "--json")
    assert (done.code, done.json["error"]["code"]) == (5, "confirmation_required")
    assert "--yes" in done.json["error"]["message"]


@pytest.mark.parametrize("amount", ["1,5", "ALL", "-1", "0x1", "everything"])
def test_amounts_are_decimal_text_or_all(home: Home, amount: str) -> None:
    assert home.confirmed("credit", "repay", "--", amount).code == 2


# --------------------------------------------------------------- on a terminal, and killed


def test_terms_are_agreed_to_on_a_terminal(
    lent: Platform, home: Home, offered: dict[str, Any], tmp_path: Path
) -> None:
    source, me = str(tmp_path / "offer.json"), home.account.address
    with terminal(*home.command("credit", "accept", source)) as screen:
        screen.expect(r"Limit    300\.00 PLZ")
        screen.expect(r"Accept these terms\? \[y/N\]")
        screen.type("n")
        assert screen.exit_code() == 3
    assert statement(lent, me)[0] == 0
    with terminal(*home.command("credit", "accept", source)) as screen:
        screen.expect(r"Accept these terms\? \[y/N\]")
        screen.type("y")
        screen.expect("Password for main")
        screen.type(PASSWORD)
        screen.expect("Confirmed in block")
        assert screen.exit_code() == 0
    assert statement(lent, me)[0] == 1
    with terminal(*home.command("credit", "draw", "5")) as screen:
        screen.expect(r"Owed     0\.00 → 5\.025 PLZ")
        screen.expect(r"Draw\? \[y/N\]")
        screen.type("")
        assert screen.exit_code() == 3
    assert lent.balance(me) == 100 * COIN


@pytest.mark.parametrize("command", [["draw", "5"], ["repay", "4"], ["repay", "all"]])
def test_a_killed_command_is_finished_and_not_repeated(
    lent: Platform, make_home: Callable[..., Home], proxy: Proxy, command: list[str]
) -> None:
    home = make_home(name="killed", rpc_url=proxy.url)
    lent.line_of(home.account, drawn=10 * COIN)
    before = lent.balance(home.account.address)
    for hooks in (proxy.before, proxy.before, proxy.after):
        kill_at(hooks, "eth_sendRawTransaction")(home, ["credit", *command])
    done = home.confirmed("credit", *command, "--json")
    assert (done.code, done.json["resumed"]) == (0, True), done.err
    assert len(set(proxy.sent)) == 1
    moved = lent.balance(home.account.address) - before
    if command[1] == "all":
        assert -10_051_000 < moved <= -10_050_000
        assert statement(lent, home.account.address)[6] == 0
    else:
        assert moved == {"draw": 5, "repay": -4}[command[0]] * COIN


def test_killed_while_the_password_is_asked_nothing_is_signed(lent: Platform, home: Home) -> None:
    lent.line_of(home.account, drawn=10 * COIN)
    with terminal(*home.command("credit", "repay", "all", "--yes")) as screen:
        screen.expect("Password for main")
    with home.wallet() as wallet:
        assert wallet.unfinished() == []
    assert lent.balance(home.account.address) == 110 * COIN
