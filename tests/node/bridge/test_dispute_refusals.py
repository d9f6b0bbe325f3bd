"""What the bridge refuses about disputes, in words, before it costs an operation."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import update

from node.bridge.disputes import MOST_EVIDENCE, canonical_form
from node.keys import LocalSigner
from node.store.models import EscrowOrder, EvidenceLog, Operation, Statement
from tests.node.bridge.market import sign_typed_data
from tests.node.bridge.support import CHAIN_NOW, COIN, DAY, SEED, Client, Desk

ALICE = LocalSigner(b"\x11" * 32)
SAID = {"text": "The cup came broken."}
EVIDENCE = {"by": "payee", "text": "It left us whole."}
DECISION = {"to_payer": "4000000", "text": "Shared."}


async def refused(
    desk: Desk, path: str, body: Any, code: str, status: int = 409, **more: Any
) -> dict[str, Any]:
    """It is refused with this code, and nothing was written."""
    before = desk.counts()
    answer = await desk.shop.post(path, body)
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    for name, value in more.items():
        assert problem[name] == value
    assert desk.counts() == before
    return problem


def of(purchase: dict[str, Any], more: str = "") -> str:
    return f"/v1/purchases/{purchase['id']}/disputes{more}"


async def delivered(desk: Desk, **totals: Any) -> dict[str, Any]:
    purchase = await desk.purchase()
    desk.hold(purchase, **{"dispute_deadline": CHAIN_NOW + DAY, **totals})
    return purchase


def later(desk: Desk, seconds: int) -> Client:
    """The same shop when so much time has passed, at a bridge that has not read the time before."""
    desk.set_chain_time(CHAIN_NOW + seconds)
    return Client(desk.new_app(), desk.shop_key.secret)


def change_order(desk: Desk, purchase: dict[str, Any], **values: Any) -> None:
    statement = (
        update(EscrowOrder).where(EscrowOrder.order_hash == purchase["order_hash"]).values(**values)
    )
    desk.store.write_now(lambda session: session.execute(statement))


# ------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        ("", {"text": ""}, "text"),
        ("", {"text": None}, "text"),
        ("", {"text": 5}, "text"),
        ("", {"text": "x" * 4_001}, "text"),
        ("", {"text": "a\x00b"}, "text"),
        ("", {"text": "a\x1bb"}, "text"),
        ("", {"text": "half a pair: \ud800"}, "text"),
        ("", {"reference": ""}, "reference"),
        ("", {"reference": "x" * 201}, "reference"),
        ("", {"reference": "a\nb"}, "reference"),
        ("", {"salt": "0x12"}, "salt"),
        ("", {"salt": "salt"}, "salt"),
        ("", {"color": "red"}, "color"),
        ("", {"by": "payer"}, "by"),
        ("", {"signed": {"signature": "0x12", "deadline": 5}}, "signed.signature"),
        ("", {"signed": {"signature": "0x" + "1b" * 65}}, "signed.deadline"),
        ("", {"signed": {"signature": "0x" + "1b" * 65, "deadline": -1}}, "signed.deadline"),
        ("/evidence", {"by": "arbiter"}, "by"),
        ("/evidence", {"by": None}, "by"),
        ("/evidence", {"text": ""}, "text"),
        ("/resolve", {"to_payer": "-1"}, "to_payer"),
        ("/resolve", {"to_payer": "00"}, "to_payer"),
        ("/resolve", {"to_payer": 0}, "to_payer"),
        ("/resolve", {"to_payer": None}, "to_payer"),
        ("/resolve", {"fee_bps": 10_001}, "fee_bps"),
        ("/resolve", {"fee_bps": "250"}, "fee_bps"),
        ("/resolve", {"fee_bps": True}, "fee_bps"),
        ("/resolve", {"text": ""}, "text"),
    ],
)
async def test_a_body_that_is_not_valid_names_the_field(
    desk: Desk, path: str, change: dict[str, Any], param: str
) -> None:
    purchase = await (desk.dispute() if path else delivered(desk))
    body = {"": SAID, "/evidence": EVIDENCE, "/resolve": DECISION}[path] | change
    before = desk.counts()
    # As bytes: half a surrogate pair is no character, but JSON can write it.
    answer = await desk.shop.post(
        of(purchase, path),
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422, answer.text
    assert (answer.json()["code"], answer.json()["param"]) == ("invalid_request", param)
    assert desk.counts() == before


async def test_the_longest_text_of_any_script_is_taken_and_hashed_as_it_is(desk: Desk) -> None:
    purchase = await desk.dispute()
    text = "\U0001d52d\n\t\"\\'é\u202e" * 500
    body = {"by": "operator", "text": text, "reference": "r" * 200, "salt": "0x" + "AB" * 32}
    shown = await desk.shop.ok(of(purchase, "/evidence"), body)
    (evidence,) = shown["evidence"]
    assert (evidence["text"], evidence["salt"]) == (text, "0x" + "ab" * 32)
    assert evidence["canonical"] == canonical_form(
        "evidence",
        purchase["order_hash"],
        SEED.platform("operator").address,
        text,
        "r" * 200,
        "0x" + "ab" * 32,
    )


def test_the_canonical_form_is_written_out_in_the_documentation() -> None:
    """Sorted keys, no white space, null for what is not there, and only what JSON must escape."""
    form = canonical_form("evidence", "0x9c", "0xAb", 'a"\\\n\x7fé☕', None, "0x01")
    assert form == (
        '{"form":"plaza/statement/1","kind":"evidence","order_hash":"0x9c","party":"0xAb",'
        '"reference":null,"salt":"0x01","text":"a\\"\\\\\\n\x7fé☕"}'
    )


# ----------------------------------------------------------------------------- opening it


async def test_only_what_is_delivered_and_held_can_be_disputed(desk: Desk) -> None:
    created = await desk.purchase()
    await refused(desk, of(created), SAID, "invalid_state", actual="created", held="0")
    authorized = await desk.purchase()
    desk.hold(authorized)
    await refused(desk, of(authorized), SAID, "invalid_state", actual="authorized")
    released = await delivered(desk, held=0, released=10 * COIN)
    await refused(desk, of(released), SAID, "invalid_state", actual="released")
    open_ = await desk.dispute()
    await refused(desk, of(open_), SAID, "invalid_state", actual="disputed")


async def test_a_dispute_after_its_window_is_refused(desk: Desk) -> None:
    purchase = await delivered(desk)
    client = later(desk, DAY)
    answer = await client.post(of(purchase), SAID)
    assert (answer.status_code, answer.json()["code"]) == (409, "dispute_window_closed")
    assert answer.json()["deadline"] == "2020-09-14T12:26:40Z"
    assert desk.operations("purchase.dispute") == []


async def test_a_dispute_is_asked_for_once_and_again_after_a_failure(desk: Desk) -> None:
    purchase = await delivered(desk)
    first = await desk.shop.ok(of(purchase), SAID)
    assert (first["status"], first["evidence"][0]["status"]) == ("pending", "pending")
    await refused(desk, of(purchase), SAID, "operation_pending")
    await refused(desk, of(purchase), {"text": "Something else"}, "operation_pending")
    desk.settle("failed")
    assert (await desk.shop.get(of(purchase))).json()["status"] == "failed"
    second = await desk.shop.ok(of(purchase), SAID)
    assert second["status"] == "pending"
    assert [row.attempt for row in desk.operations("purchase.dispute")] == [1, 2]
    assert len(desk.rows(Statement)) == 1
    assert second["evidence"][0]["id"] == first["evidence"][0]["id"]


# -------------------------------------------------------------------------------- evidence


async def test_evidence_needs_an_open_dispute(desk: Desk) -> None:
    path = "/evidence"
    await refused(desk, of(await delivered(desk), path), EVIDENCE, "invalid_state")
    for state in ("decided", "defaulted", "settled"):
        closed = await desk.dispute(dispute=state, held=0)
        await refused(desk, of(closed, path), EVIDENCE, "invalid_state")
    open_ = await desk.dispute()
    late = await later(desk, 30 * DAY).post(of(open_, path), EVIDENCE)
    assert (late.status_code, late.json()["code"]) == (409, "arbitration_over")
    assert late.json()["deadline"] == "2020-10-13T12:26:40Z"
    assert desk.operations("purchase.evidence") == []


async def test_the_same_is_not_said_twice_but_by_others(desk: Desk) -> None:
    purchase = await desk.dispute()
    path = of(purchase, "/evidence")
    await desk.shop.ok(path, EVIDENCE)
    await refused(desk, path, EVIDENCE, "statement_taken", param="text")
    for other in ({"by": "payer"}, {"by": "operator"}, {"text": "?"}, {"reference": "1"}):
        await desk.shop.ok(path, {**EVIDENCE, **other})
    salted = await desk.shop.ok(path, {**EVIDENCE, "salt": "0x" + "01" * 32})
    hashes = [row["hash"] for row in salted["evidence"]]
    assert len(set(hashes)) == len(hashes) == 6
    desk.settle("failed")
    again = await desk.shop.ok(path, EVIDENCE)
    assert [row["status"] for row in again["evidence"]] == ["pending", *["failed"] * 5]
    assert [row["hash"] for row in again["evidence"]] == hashes


async def test_what_a_party_put_on_chain_itself_is_not_put_there_again(desk: Desk) -> None:
    purchase = await desk.dispute()
    path = of(purchase, "/evidence")
    shown = (await desk.shop.ok(path, EVIDENCE))["evidence"][0]
    desk.settle("failed")
    log = EvidenceLog(
        block_number=7,
        block_timestamp=CHAIN_NOW,
        log_index=0,
        tx_hash="0x" + "5f" * 32,
        order_hash=purchase["order_hash"],
        party=shown["party"],
        kind="evidence",
        hash=shown["hash"],
    )
    desk.store.write_now(lambda session: session.add(log))
    await refused(desk, path, EVIDENCE, "statement_taken", hash=shown["hash"])
    (now,) = (await desk.shop.get(of(purchase))).json()["evidence"]
    assert (now["status"], now["error"], now["block_number"]) == ("succeeded", None, 7)


async def test_a_dispute_takes_only_so_much_evidence(desk: Desk) -> None:
    purchase = await desk.dispute()
    path = of(purchase, "/evidence")
    first = await desk.shop.ok(path, EVIDENCE)
    one = desk.rows(Statement)[0]
    values = {
        name: getattr(one, name)
        for name in ("merchant_id", "purchase_id", "kind", "party", "operation_id", "created_at")
    }
    rows = [
        Statement(id=f"sta_{n}", text=f"{n}", hash=f"0x{n:064x}", **values)
        for n in range(MOST_EVIDENCE - 1)
    ]
    desk.store.write_now(lambda session: session.add_all(rows))
    more = {"by": "payer", "text": "One more"}
    await refused(desk, path, more, "too_much_evidence", limit=MOST_EVIDENCE)
    desk.settle("failed")
    again = await desk.shop.ok(path, EVIDENCE)  # what failed may be tried again
    assert len(again["evidence"]) == MOST_EVIDENCE
    assert first["evidence"][0]["hash"] in {row["hash"] for row in again["evidence"]}


async def test_a_flood_of_hashes_on_chain_hides_nothing_of_what_was_said_here(desk: Desk) -> None:
    purchase = await desk.dispute()
    payee = desk.store.read_now(
        lambda session: session.get_one(EscrowOrder, purchase["order_hash"]).payee
    )
    shown = await desk.shop.ok(of(purchase, "/evidence"), {**EVIDENCE, "by": "payer"})
    mine = shown["evidence"][0]

    def log(number: int, party: str, hash_: str) -> EvidenceLog:
        return EvidenceLog(
            block_number=number,
            block_timestamp=CHAIN_NOW,
            log_index=0,
            tx_hash="0x" + "5f" * 32,
            order_hash=purchase["order_hash"],
            party=party,
            kind="evidence",
            hash=hash_,
        )

    flood = [log(n, payee, f"0x{n % 140:064x}") for n in range(300)]
    desk.store.write_now(
        lambda session: session.add_all([*flood, log(300, mine["party"], mine["hash"])])
    )
    flooded = (await desk.shop.get(of(purchase))).json()
    assert (len(flooded["evidence"]), flooded["more_evidence"]) == (101, True)
    assert flooded["evidence"][-1] == {
        **mine,
        "status": "succeeded",
        "tx_hash": "0x" + "5f" * 32,
        "block_number": 300,
        "submitted_at": "2020-09-13T12:26:40Z",
    }


async def test_external_parties_sign_and_others_do_not(desk: Desk) -> None:
    alice = await desk.account(20 * COIN, address=ALICE.address)
    seller = await desk.account(kinds=["seller"])
    body = {"payer": alice["id"], "payee": seller["id"], "amount": "10000000", "order_id": "A-9"}
    purchase = await desk.shop.ok("/v1/purchases", body)
    desk.hold(purchase, dispute_deadline=CHAIN_NOW + DAY)
    problem = await refused(desk, of(purchase), SAID, "signature_required", 422, param="signed")
    typed_data = problem["typed_data"]
    assert typed_data["domain"]["verifyingContract"] == (
        desk.manifest.contracts["PurchaseEscrow"].address
    )
    assert CHAIN_NOW + DAY <= int(typed_data["message"]["deadline"]) <= CHAIN_NOW + DAY + 60
    good = sign_typed_data(typed_data, ALICE)
    stranger = sign_typed_data(typed_data, LocalSigner(b"\x22" * 32))
    for signed in (stranger, {**good, "deadline": CHAIN_NOW}, {**good, "deadline": 2**53}):
        await refused(desk, of(purchase), {**SAID, "signed": signed}, "signature_invalid", 422)
    assert (await desk.shop.ok(of(purchase), {**SAID, "signed": good}))["status"] == "pending"

    managed = await delivered(desk)
    await refused(desk, of(managed), {**SAID, "signed": good}, "invalid_request", 422)
    dispute = await desk.dispute()
    by_operator = {**EVIDENCE, "by": "operator", "signed": good}
    await refused(
        desk, of(dispute, "/evidence"), by_operator, "invalid_request", 422, param="signed"
    )
    for action in ("release", "void"):
        path = f"/v1/purchases/{dispute['id']}/{action}"
        change_order(desk, dispute, dispute=None, dispute_deadline=CHAIN_NOW - 1)
        await refused(desk, path, {"signed": good}, "invalid_request", 422, param="signed")


# ---------------------------------------------------------------------- decision and default


async def test_a_decision_needs_its_scope_and_an_open_arbitration(desk: Desk) -> None:
    purchase = await desk.dispute()
    path = of(purchase, "/resolve")
    scopes = ["read", "purchases", "money", "accounts", "credit", "desk", "keys"]
    made = await desk.shop.ok("/v1/api_keys", {"name": "all but one", "scopes": scopes})
    clerk = Client(desk.app, made["secret"])
    answer = await clerk.post(path, DECISION)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert "arbitrate" in answer.json()["detail"]
    made = await desk.shop.ok("/v1/api_keys", {"name": "judge", "scopes": ["arbitrate"]})
    judge = Client(desk.app, made["secret"])
    for other, body in ((of(purchase), SAID), (of(purchase, "/evidence"), EVIDENCE)):
        assert (await judge.post(other, body)).json()["code"] == "scope_missing"
    assert (await judge.get(of(purchase))).json()["code"] == "scope_missing"

    await refused(desk, of(await delivered(desk), "/resolve"), DECISION, "invalid_state")
    late = await later(desk, 30 * DAY).post(path, DECISION)
    assert (late.status_code, late.json()["code"]) == (409, "arbitration_over")
    desk.set_chain_time(CHAIN_NOW)
    decided = await judge.post(path, DECISION)
    assert (decided.status_code, decided.json()["status"]) == (202, "open")
    assert decided.json()["decision"] is None  # until the chain has it
    (operation,) = desk.operations("purchase.resolve")
    assert operation.signer == "arbiter"


async def test_a_decision_keeps_within_what_is_held_and_what_was_signed(desk: Desk) -> None:
    purchase = await desk.dispute(held=3 * COIN)
    path = of(purchase, "/resolve")
    await refused(desk, path, DECISION, "amount_too_large", 422, limit="3000000", param="to_payer")
    for fee_bps in (0, 249, 251, 10_000):
        body = {**DECISION, "to_payer": "0", "fee_bps": fee_bps}
        await refused(desk, path, body, "invalid_request", 422, param="fee_bps")
    await desk.shop.ok(path, {**DECISION, "to_payer": "3000000", "fee_bps": 250})


async def test_a_decision_is_on_what_is_held_and_nothing_moves_beside_it(desk: Desk) -> None:
    purchase = await desk.dispute()
    path = f"/v1/purchases/{purchase['id']}"
    await desk.shop.ok(f"{path}/void", {"amount": "1", "by": "payee"})
    await refused(desk, of(purchase, "/resolve"), DECISION, "operation_pending", retryable=True)
    desk.settle()
    await desk.shop.ok(f"{path}/release", {"amount": "1", "by": "payer"})
    await refused(desk, of(purchase, "/resolve"), DECISION, "operation_pending")
    desk.settle()
    await desk.shop.ok(of(purchase, "/resolve"), DECISION)
    await refused(desk, of(purchase, "/resolve"), DECISION, "operation_pending")
    await refused(desk, f"{path}/void", {"amount": "1"}, "operation_pending")
    by_payer = {"amount": "1", "by": "payer"}
    await refused(desk, f"{path}/release", by_payer, "operation_pending")
    desk.settle("failed")
    await desk.shop.ok(of(purchase, "/resolve"), {**DECISION, "to_payer": "0"})
    assert [row.attempt for row in desk.operations("purchase.resolve")] == [1, 2]
    assert len([row for row in desk.rows(Statement) if row.kind == "decision"]) == 1


async def test_a_decision_and_a_void_at_once_are_not_both_taken(desk: Desk) -> None:
    other = Client(desk.new_app(), desk.shop_key.secret)  # another process
    purchases = [await desk.dispute() for _ in range(5)]
    for purchase in purchases:
        answers = await asyncio.gather(
            desk.shop.post(of(purchase, "/resolve"), DECISION),
            other.post(f"/v1/purchases/{purchase['id']}/void", {"amount": "1"}),
        )
        assert sorted(answer.status_code for answer in answers) == [202, 409]
        (refused_,) = [answer for answer in answers if answer.status_code == 409]
        assert refused_.json()["code"] == "operation_pending"


async def test_the_operator_does_not_release_what_is_disputed(desk: Desk) -> None:
    purchase = await desk.dispute(dispute_deadline=CHAIN_NOW - 1)
    path = f"/v1/purchases/{purchase['id']}/release"
    await refused(desk, path, None, "invalid_state", actual="disputed")
    await refused(desk, path, {"by": "payee"}, "invalid_request", 422, param="by")
    void = f"/v1/purchases/{purchase['id']}/void"
    await refused(desk, void, {"by": "payer"}, "invalid_request", 422, param="by")


async def test_a_default_needs_an_open_dispute_whose_time_is_over(desk: Desk) -> None:
    await refused(desk, of(await delivered(desk), "/expire"), None, "invalid_state")
    purchase = await desk.dispute()
    # Too early by the worker's word, and the chain, which is asked then, is silent here.
    early = await desk.shop.post(of(purchase, "/expire"))
    assert (early.status_code, early.json()["code"]) == (503, "chain_unavailable")
    client = later(desk, 30 * DAY)
    assert (await client.post(of(purchase, "/expire"))).status_code == 202
    again = await client.post(of(purchase, "/expire"))
    assert (again.status_code, again.json()["code"]) == (409, "operation_pending")
    (operation,) = desk.operations("purchase.expire_dispute")
    assert (operation.signer, operation.credit_amount) == ("operator", 10 * COIN)


async def test_a_reclaim_needs_what_was_never_delivered(desk: Desk) -> None:
    for purchase in (await desk.purchase(), await delivered(desk), await desk.dispute()):
        await refused(desk, f"/v1/purchases/{purchase['id']}/reclaim", None, "invalid_state")
    held = await desk.purchase(reclaim_after=30 * DAY)
    desk.hold(held)
    path = f"/v1/purchases/{held['id']}/reclaim"
    early = await desk.shop.post(path)  # the chain, which is asked then, is silent here
    assert (early.status_code, early.json()["code"]) == (503, "chain_unavailable")
    client = later(desk, 31 * DAY)
    assert (await client.post(path)).status_code == 202
    assert (await client.post(path)).json()["code"] == "operation_pending"


# --------------------------------------------------------------------- once, and for one shop


async def test_a_key_has_one_effect_on_a_dispute(desk: Desk) -> None:
    purchase = await delivered(desk)
    answers = await asyncio.gather(
        *(desk.shop.post(of(purchase), SAID, key="d1") for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert len(desk.operations("purchase.dispute")) == 1
    other = await desk.shop.post(of(purchase), {"text": "Other words"}, key="d1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    desk.settle("failed")
    replayed = await desk.shop.post(of(purchase), SAID, key="d1")
    assert (replayed.status_code, replayed.json()["status"]) == (202, "failed")
    assert len(desk.rows(Operation)) == len({row.id for row in desk.rows(Operation)})
    assert len(desk.operations("purchase.dispute")) == 1


async def test_evidence_of_several_at_once_is_all_kept(desk: Desk) -> None:
    purchase = await desk.dispute()
    bodies = [{"by": by, "text": f"{n}"} for by in ("payer", "payee", "operator") for n in "12"]
    answers = await asyncio.gather(
        *(desk.shop.post(of(purchase, "/evidence"), body) for body in bodies)
    )
    assert {answer.status_code for answer in answers} == {202}
    shown = (await desk.shop.get(of(purchase))).json()["evidence"]
    assert sorted((row["by"], row["text"]) for row in shown) == sorted(
        (body["by"], body["text"]) for body in bodies
    )
    assert len({row.ref for row in desk.operations("purchase.evidence")}) == 6


async def test_disputes_of_other_merchants_do_not_exist(desk: Desk) -> None:
    purchase, undisputed = await desk.dispute(), await delivered(desk)
    await desk.shop.ok(of(purchase, "/evidence"), EVIDENCE)
    stranger = desk.client_of("Other shop")
    before = desk.counts()
    assert (await desk.shop.get(of(purchase))).status_code == 200
    path = f"/v1/purchases/{purchase['id']}"
    for where, body in (
        (of(undisputed), SAID),
        (of(purchase, "/evidence"), EVIDENCE),
        (of(purchase, "/resolve"), DECISION),
        (of(purchase, "/expire"), None),
        (f"{path}/reclaim", None),
        (f"{path}/release", {"by": "payer"}),
        (f"{path}/void", {"by": "payee"}),
    ):
        answer = await stranger.post(where, body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), where
    there, nowhere = await stranger.get(of(purchase)), await stranger.get(of({"id": "pur_0"}))
    assert (there.status_code, nowhere.status_code) == (404, 404)
    assert there.json()["code"] == nowhere.json()["code"] == "not_found"
    assert desk.counts() == before
