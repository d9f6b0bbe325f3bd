"""Every flow of an account with a key of its own: what the bridge asks to be signed is signed by
eth_account, outside of the bridge, and goes through on the real chain; anything else is refused.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from eth_account import Account
from sqlalchemy import select

from node.bridge.raw_transfers import read_raw_transfer
from node.bridge.transfers import TransferRequest, create_transfer
from node.store.models import Merchant
from tests.node.bridge.credit_desk import CreditDesk, open_credit_desk
from tests.node.bridge.market import Market
from tests.node.bridge.support import COIN, DAY

ALICE, BOB, MALLORY = (Account.from_key(bytes([number]) * 32) for number in (0x31, 0x32, 0x33))
PRICE = 12_345_678
AMOUNTS = ("amount", "value", "shares", "holdbackBps")


def sign(typed_data: dict[str, Any], key: Any = ALICE, **other: Any) -> dict[str, Any]:
    """The signature in the form in which the bridge takes it, of the message with other values."""
    message = {**typed_data["message"], **{name: str(value) for name, value in other.items()}}
    signed = Account.sign_typed_data(key.key, full_message={**typed_data, "message": message})
    signature = "0x" + signed.signature.hex().removeprefix("0x")
    if "deadline" in message:
        return {"signature": signature, "deadline": int(message["deadline"])}
    return {
        "signature": signature,
        "valid_after": int(message["validAfter"]),
        "valid_before": int(message["validBefore"]),
    }


class Signing:
    """Requests of external accounts to one shop."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.shop = market.shop

    async def refused(self, path: str, body: Any, *codes: str) -> dict[str, Any]:
        answer = await self.shop.post(path, body)
        problem: dict[str, Any] = answer.json()
        assert problem.get("code") in codes, answer.text
        assert answer.status_code in (409, 422)
        return problem

    async def asked(self, path: str, body: Any) -> tuple[str, dict[str, Any]]:
        """Where the signature belongs, and what is to be signed: the whole message."""
        problem = await self.refused(path, body, "signature_required")
        typed_data = problem["typed_data"]
        kind = typed_data["primaryType"]
        assert set(typed_data) == {"types", "primaryType", "domain", "message"}
        named = {field["name"] for field in typed_data["types"][kind]}
        assert named == set(typed_data["message"])
        assert typed_data["domain"]["chainId"] == self.market.platform.manifest.chain_id
        assert "to_sign" not in problem
        return problem["param"], typed_data

    async def done(
        self, path: str, body: Any, kind: str, *again: str, key: Any = ALICE
    ) -> dict[str, Any]:
        """Four signatures that are no good, the one that is, and that one once more.

        Args:
            again: the codes with which a repetition is refused.
        """
        where, typed_data = await self.asked(path, body)
        assert typed_data["primaryType"] == kind
        message = typed_data["message"]

        def given(signed: dict[str, Any]) -> dict[str, Any]:
            if path == "/v1/transfers":
                signed = {**signed, "nonce": message["nonce"]}
            return {**body, where: signed}

        ends = "deadline" if "deadline" in message else "validBefore"
        wrong = [
            sign(typed_data, MALLORY),
            sign(typed_data, key, **{ends: await self.market.platform.engine.now() - DAY}),
            {**sign(typed_data, key), "signature": "0x" + "00" * 65},
        ]
        wrong += [
            sign(typed_data, key, **{name: int(message[name]) + 1})
            for name in AMOUNTS
            if name in message
        ]
        for signed in wrong:
            problem = await self.refused(path, given(signed), "signature_invalid")
            assert problem["param"].startswith(f"{where}.")
        good = given(sign(typed_data, key))
        result = await self.shop.ok(path, good, wait=30)
        assert result.get("error") is None
        await self.refused(path, good, *again)
        return result


@pytest.fixture
def signing(market: Market) -> Signing:
    return Signing(market)


@pytest.fixture
async def desk(market: Market) -> CreditDesk:
    return await open_credit_desk(market)


async def test_transfers_and_payment_requests(signing: Signing) -> None:
    market, shop = signing.market, signing.shop
    alice, friend = (
        await market.member(address=ALICE.address, topup=3 * COIN),
        await market.member(),
    )
    send = {"from": alice["id"], "to": friend["id"], "amount": str(COIN)}
    sent = await signing.done("/v1/transfers", send, "TransferWithAuthorization", "reference_taken")
    assert (sent["status"], sent["from_address"]) == ("succeeded", ALICE.address)

    asked_for = {"payee": friend["id"], "amount": str(COIN)}
    for payer in (alice["id"], ALICE.address):
        request = await shop.ok("/v1/payment_requests", asked_for)
        path = f"/v1/payment_requests/{request['id']}/pay"
        paid = await signing.done(
            path, {"payer": payer}, "TransferWithAuthorization", "invalid_state"
        )
        assert (paid["status"], paid["paid"]["payer"]) == ("paid", ALICE.address)
    assert (await market.balance(friend))["available"] == str(3 * COIN)
    await market.reconcile()


def raw_transfer(market: Market, receiver: str, amount: int, key: Any = ALICE, **other: Any) -> str:
    """As a wallet signs it: a call of the coin's transfer."""
    transaction = {
        "chainId": market.platform.manifest.chain_id,
        "nonce": 0,
        "to": market.platform.coin_address,
        "data": market.platform.coin.encode("transfer", receiver, amount),
        "gas": 200_000,
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        "value": 0,
        **other,
    }
    return "0x" + Account.sign_transaction(transaction, key.key).raw_transaction.hex()


async def test_a_transfer_by_its_owners_own_transaction(signing: Signing) -> None:
    market, shop = signing.market, signing.shop
    alice = await market.member(address=ALICE.address, topup=3 * COIN)
    friend = await market.member()
    to, amount = friend["address"], COIN
    send = {"from": alice["id"], "to": friend["id"], "amount": str(amount)}

    async def refused(raw: str, code: str, **more: Any) -> dict[str, Any]:
        body = {**send, "raw_transaction": raw, **more}
        problem = await signing.refused("/v1/transfers", body, code)
        assert problem["param"] == "raw_transaction"
        return problem

    approve = market.platform.coin.encode("approve", to, amount)
    for raw in (
        raw_transfer(market, to, amount, MALLORY),
        raw_transfer(market, to, amount + 1),
        raw_transfer(market, MALLORY.address, amount),
        raw_transfer(market, to, amount, chainId=1),
        raw_transfer(market, to, amount, to=to),
        raw_transfer(market, to, amount, data=approve),
        raw_transfer(market, to, amount, maxFeePerGas=1),
        raw_transfer(market, to, amount)[:-2],
        "0x02c0",
        "0x" + "00" * 100,
    ):
        await refused(raw, "transaction_invalid")
    gap = await refused(raw_transfer(market, to, amount, nonce=1), "nonce_taken")
    assert gap["expected"] == 0
    good = raw_transfer(market, to, amount)
    await refused(good, "invalid_request", **{"from": friend["id"], "to": alice["id"]})

    sent = await shop.ok("/v1/transfers", {**send, "raw_transaction": good}, key="r1", wait=30)
    assert (sent["status"], sent["error"]) == ("succeeded", None)
    again = await shop.post("/v1/transfers", {**send, "raw_transaction": good}, key="r1")
    assert (again.json()["id"], again.headers["Idempotency-Replayed"]) == (sent["id"], "true")
    await refused(good, "reference_taken")
    await refused(raw_transfer(market, to, amount, gas=210_000), "nonce_taken")
    assert (await market.balance(friend))["available"] == str(COIN)
    operations = (await shop.get(f"/v1/operations?resource_id={sent['id']}")).json()["data"]
    assert [(one["status"], one["signer"], one["tx_hash"]) for one in operations] == [
        ("done", "owner", sent["nonce"])
    ]

    # What the coin refuses is mined as a failure, and says why.
    await shop.ok(f"/v1/accounts/{friend['id']}/freeze", {"reason": "case 7"}, wait=30)
    by_address = {**send, "to": to, "raw_transaction": raw_transfer(market, to, 1, nonce=1)}
    failed = await shop.ok("/v1/transfers", {**by_address, "amount": "1"}, wait=30)
    assert (failed["status"], "AccountIsFrozen" in failed["error"]) == ("failed", True)
    await market.reconcile()


async def test_a_transaction_that_its_owner_replaced_fails_and_alarms_nobody(
    signing: Signing,
) -> None:
    """The owner's wallet is quicker, after the nonce was looked at: here, by an old look."""
    market, shop = signing.market, signing.shop
    context = shop.app.state.context
    alice = await market.member(address=ALICE.address, topup=3 * COIN)
    friend = await market.member()
    to = friend["address"]
    late = await read_raw_transfer(context, raw_transfer(market, to, COIN))
    quick = raw_transfer(market, to, 2 * COIN)
    await market.platform.engine.rpc.call("eth_sendRawTransaction", quick)
    await market.member()  # until the block has been read
    assert (await market.balance(friend))["available"] == str(2 * COIN)
    body = {"from": alice["id"], "to": to, "amount": str(COIN), "raw_transaction": late.raw}
    request, merchant_id = TransferRequest.model_validate(body), shop_id(market)
    outcome = market.platform.store.write_now(
        lambda session: create_transfer(session, context, merchant_id, request, 0, late)
    )
    path = f"/v1/transfers/{outcome.resource_id}"
    transfer = (await shop.get(path)).json()
    while transfer["status"] == "pending":
        await asyncio.sleep(0.05)
        transfer = (await shop.get(path)).json()
    assert (transfer["status"], "nonce 0" in transfer["error"]) == ("failed", True)
    operation = (await shop.get(f"/v1/operations/{outcome.operations[0]}")).json()
    assert (operation["error_code"], operation["attempts"][0]["status"]) == (
        "nonce_used",
        "replaced",
    )
    assert (await market.balance(alice))["available"] == str(COIN)
    ready = (await shop.get("/health/ready")).json()
    assert (ready["status"], ready["conflicts"]) == ("ok", 0)
    await market.reconcile()


def shop_id(market: Market) -> str:
    return market.platform.store.read_now(
        lambda session: str(session.scalar(select(Merchant.id).where(Merchant.name == "Demo shop")))
    )


async def test_a_redemption_is_sent_by_its_owner(signing: Signing) -> None:
    market, shop = signing.market, signing.shop
    alice = await market.member(address=ALICE.address, topup=COIN)
    body = {"account": alice["id"], "amount": str(COIN), "reference": "payout 1"}
    redemption = await shop.ok("/v1/redemptions", body)
    call, rpc = redemption["call"], market.platform.engine.rpc
    transaction = {
        "chainId": market.platform.manifest.chain_id,
        "nonce": 0,
        "to": call["to"],
        "data": call["data"],
        "gas": 300_000,
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        "value": 0,
    }
    raw = Account.sign_transaction(transaction, ALICE.key).raw_transaction
    await rpc.call("eth_sendRawTransaction", "0x" + raw.hex().removeprefix("0x"))
    await market.member()  # until the block has been read
    shown = (await shop.get(f"/v1/redemptions/{redemption['id']}")).json()
    assert shown["status"] == "succeeded"
    assert (await market.balance(alice))["available"] == "0"


async def test_a_purchase_from_authorization_to_refund(signing: Signing) -> None:
    market = signing.market
    buyer = await market.member(address=ALICE.address, topup=2 * PRICE)
    seller = await market.member("seller", address=BOB.address)
    created = await market.purchase(buyer, seller)
    path = f"/v1/purchases/{created['id']}"
    held = await signing.done(f"{path}/authorize", {}, "ReceiveWithAuthorization", "invalid_state")
    assert (held["status"], held["held"]) == ("authorized", str(PRICE))

    # The same words once more are the next part, which has a nonce of its own.
    part = {"amount": "1000000", "by": "payer"}
    released = await signing.done(f"{path}/release", part, "Release", "signature_invalid")
    assert released["released"] == "1000000"
    part = {"amount": "500000", "by": "payee"}
    voided = await signing.done(f"{path}/void", part, "Void", "signature_invalid", key=BOB)
    assert voided["voided"] == "500000"

    await market.act(created, "deliver")
    complaint = {"text": "One of three is broken."}
    opened = await signing.done(f"{path}/disputes", complaint, "Dispute", "invalid_state")
    assert opened["status"] == "open"
    said = {"by": "payee", "text": "It left us whole."}
    evidence = f"{path}/disputes/evidence"
    shown = await signing.done(evidence, said, "Evidence", "statement_taken", key=BOB)
    assert shown["evidence"][-1]["party"] == BOB.address
    whole = {"by": "payer"}
    released = await signing.done(f"{path}/release", whole, "Release", "invalid_state")
    assert released["status"] == "released"

    refund = {"amount": "2000000", "reference": "return 77"}
    refunded = await signing.done(
        f"{path}/refund", refund, "ReceiveWithAuthorization", "reference_taken", key=BOB
    )
    assert refunded["refunded"] == "2000000"
    await market.reconcile()


async def test_what_was_not_delivered_is_reclaimed(signing: Signing) -> None:
    market = signing.market
    buyer = await market.member(address=ALICE.address, topup=PRICE)
    created = await market.purchase(buyer, await market.member("seller"))
    path = f"/v1/purchases/{created['id']}"
    await signing.done(f"{path}/authorize", {}, "ReceiveWithAuthorization", "invalid_state")
    await market.travel(120 * DAY)
    reclaimed = await signing.done(f"{path}/reclaim", {}, "Reclaim", "invalid_state")
    assert (reclaimed["status"], reclaimed["reclaimed"]) == ("reclaimed", str(PRICE))
    await market.reconcile()


async def test_a_credit_line_and_the_pool(desk: CreditDesk) -> None:
    signing, market = Signing(desk.market), desk.market
    alice = await market.member("seller", address=ALICE.address, topup=5 * COIN)
    offer = await desk.offer(alice)
    path = f"/v1/credit_lines/offers/{offer['id']}/accept"
    accepted = await signing.done(path, {}, "Acceptance", "invalid_state")
    assert accepted["status"] == "accepted"
    line = f"/v1/credit_lines/{offer['credit_line']}"
    draw = {"amount": str(5 * COIN), "reference": "d1"}
    drawn = await signing.done(f"{line}/draws", draw, "Draw", "reference_taken")
    assert drawn["status"] == "succeeded"
    more = {"holdback_bps": 2_300}
    held_back = await signing.done(f"{line}/holdback", more, "Holdback", "signature_invalid")
    assert held_back["status"] == "succeeded"
    repay = {"amount": str(6 * COIN), "reference": "r1"}
    repaid = await signing.done(
        f"{line}/repayments", repay, "ReceiveWithAuthorization", "reference_taken", "nothing_owed"
    )
    assert 5 * COIN <= int(repaid["paid"]) < 5 * COIN + 100

    lender = await market.member("lender", address=BOB.address, topup=2 * COIN)
    deposit = {"account": lender["id"], "amount": str(2 * COIN), "reference": "p1"}
    deposited = await signing.done(
        "/v1/pool/deposits", deposit, "ReceiveWithAuthorization", "reference_taken", key=BOB
    )
    out = {"account": lender["id"], "shares": deposited["shares"], "reference": "w1"}
    withdrawn = await signing.done(
        "/v1/pool/withdrawals", out, "Redemption", "reference_taken", key=BOB
    )
    assert withdrawn["status"] == "succeeded"
    await market.reconcile()


async def test_a_shop_speaks_for_managed_members_alone(signing: Signing) -> None:
    """A key with the scope `purchases` acts in a managed buyer's name, and in no other's."""
    market, shop = signing.market, signing.shop
    made = await shop.ok("/v1/api_keys", {"name": "orders", "scopes": ["purchases", "read"]})
    clerk = type(shop)(shop.app, made["secret"])
    seller = await market.member("seller")
    managed = await market.purchase(await market.member(topup=PRICE), seller)
    path = f"/v1/purchases/{managed['id']}/release"
    released = await clerk.ok(path, {"by": "payer"}, wait=30)
    assert released["status"] == "released"

    alice = await market.member(address=ALICE.address, topup=PRICE)
    external = await market.purchase(alice, seller)
    path = f"/v1/purchases/{external['id']}"
    await signing.done(f"{path}/authorize", {}, "ReceiveWithAuthorization", "invalid_state")
    for action, body in (("release", {"by": "payer"}), ("disputes", {"text": "Broken"})):
        if action == "disputes":
            await market.act(external, "deliver")
        refused = await clerk.post(f"{path}/{action}", body)
        assert (refused.status_code, refused.json()["code"]) == (422, "signature_required")
    assert (await shop.get(path)).json()["held"] == str(PRICE)
