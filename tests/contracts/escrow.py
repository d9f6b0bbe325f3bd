"""The escrow at work in tests: terms, order hashes, payments, and orders brought to a given state.

Order hashes are made by eth-account's EIP-712 encoder from the type as documented, independently of
the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from eth_abi import encode
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils import keccak
from web3.contract import Contract
from web3.contract.contract import ContractFunction

from tests.contracts.chain import CHAIN_ID, Chain, Receipt
from tests.contracts.signing import sign_transfer, sign_typed

DAY = 86_400
FOREVER = 2**256 - 1
AMOUNT = 100_000_000  # 100 coin, the maximum of the terms unless a test says otherwise
MIN_FEE_BPS, MAX_FEE_BPS = 100, 250
DISPUTE_WINDOW = 7 * DAY

ARBITRATION_WINDOW = 30 * DAY
COMPLAINT = keccak(text="the goods are broken: photographs 1 to 3")

NONE, AUTHORIZED, DELIVERED, CLOSED, DISPUTED = range(5)  # status of an order

TERMS_TYPE = [
    {"type": "address", "name": "payer"},
    {"type": "address", "name": "payee"},
    {"type": "address", "name": "operator"},
    {"type": "address", "name": "feeReceiver"},
    {"type": "uint96", "name": "maxAmount"},
    {"type": "uint16", "name": "minFeeBps"},
    {"type": "uint16", "name": "maxFeeBps"},
    {"type": "uint40", "name": "authorizeBefore"},
    {"type": "uint40", "name": "reclaimAfter"},
    {"type": "uint32", "name": "disputeWindow"},
    {"type": "bytes32", "name": "orderRef"},
]


# What payer and payee sign; each ends with the nonce and the deadline.
INTENTS = {
    name: [*members, ("nonce", "uint256"), ("deadline", "uint256")]
    for name, members in {
        "Release": [("orderHash", "bytes32"), ("amount", "uint256")],
        "Void": [("orderHash", "bytes32"), ("amount", "uint256")],
        "Reclaim": [("orderHash", "bytes32")],
        "Dispute": [("orderHash", "bytes32"), ("evidenceHash", "bytes32")],
        "Evidence": [
            ("party", "address"),
            ("orderHash", "bytes32"),
            ("evidenceHash", "bytes32"),
        ],
    }.items()
}


class Terms(NamedTuple):
    """Terms of a purchase, in the order of the contract's struct and by its names."""

    payer: str
    payee: str
    operator: str
    feeReceiver: str
    maxAmount: int
    minFeeBps: int
    maxFeeBps: int
    authorizeBefore: int
    reclaimAfter: int
    disputeWindow: int
    orderRef: bytes


class Order(NamedTuple):
    """The one word an order keeps."""

    held: int
    refundable: int
    deadline: int
    status: int


def order_hash(terms: Terms, escrow: str, chain_id: int = CHAIN_ID) -> bytes:
    """EIP-712 hash of the terms: also the nonce of the payer's payment."""
    domain = {
        "name": "Plaza PurchaseEscrow",
        "version": "1",
        "chainId": chain_id,
        "verifyingContract": escrow,
    }
    message = encode_typed_data(domain, {"Terms": TERMS_TYPE}, terms._asdict())
    return keccak(b"\x19" + message.version + message.header + message.body)


def refund_nonce(order: bytes, refund_ref: bytes) -> bytes:
    return keccak(encode(["bytes32", "bytes32"], [order, refund_ref]))


@dataclass(frozen=True)
class Market:
    """One coin and one escrow on a chain, with the accounts that trade there."""

    chain: Chain
    accounts: Any
    coin: Contract
    escrow: Contract

    # ------------------------------------------------------- terms and signatures

    def terms(self, **changes: Any) -> Terms:
        """Terms of a purchase by `buyer` at `seller`, to be authorized within a day."""
        usual = Terms(
            payer=self.accounts.buyer.address,
            payee=self.accounts.seller.address,
            operator=self.accounts.operator.address,
            feeReceiver=self.accounts.fee_receiver.address,
            maxAmount=AMOUNT,
            minFeeBps=MIN_FEE_BPS,
            maxFeeBps=MAX_FEE_BPS,
            authorizeBefore=self.chain.time + DAY,
            reclaimAfter=self.chain.time + 30 * DAY,
            disputeWindow=DISPUTE_WINDOW,
            orderRef=keccak(text="order A-1001"),
        )
        return usual._replace(**changes)

    def hash(self, terms: Terms) -> bytes:
        return order_hash(terms, self.escrow.address)

    def sign(
        self,
        signer: LocalAccount,
        value: int,
        nonce: bytes,
        valid_after: int = 0,
        valid_before: int = FOREVER,
        **changes: Any,
    ) -> tuple[int, int, bytes]:
        """(valid_after, valid_before, signature) of a payment to the escrow."""
        changes = {"to": self.escrow.address, **changes}
        signature = sign_transfer(
            signer,
            self.coin,
            value=value,
            nonce=nonce,
            valid_after=valid_after,
            valid_before=valid_before,
            receive=True,
            **changes,
        )
        return valid_after, valid_before, signature.packed

    def payment(self, terms: Terms, amount: int) -> tuple[int, int, bytes]:
        """The buyer's signature over exactly these terms."""
        return self.sign(self.accounts.buyer, amount, self.hash(terms))

    def signed_refund(self, terms: Terms, amount: int, ref: bytes) -> tuple[int, int, bytes]:
        return self.sign(self.accounts.seller, amount, refund_nonce(self.hash(terms), ref))

    def intent(
        self,
        signer: LocalAccount,
        kind: str,
        terms: Terms,
        *,
        nonce: int = 0,
        deadline: int = FOREVER,
        domain: dict[str, Any] | None = None,
        **members: Any,
    ) -> tuple[int, int, bytes]:
        """(nonce, deadline, signature) of an intent about this order."""
        message = {"orderHash": self.hash(terms), "nonce": nonce, "deadline": deadline, **members}
        usual: dict[str, Any] = {"contract": self.escrow, "name": "Plaza PurchaseEscrow"}
        signature = sign_typed(
            signer, primary_type=kind, message=message, types=INTENTS, **usual | (domain or {})
        )
        return nonce, deadline, signature.packed

    # ------------------------------------------------------------------- calling

    def function(self, name: str, *args: Any) -> ContractFunction:
        """A call of the escrow, ready for `chain`."""
        # web3 takes plain tuples for structs, but no named ones.
        plain = (tuple(arg) if isinstance(arg, Terms) else arg for arg in args)
        return self.escrow.functions[name](*plain)

    def send(self, by: LocalAccount, name: str, *args: Any) -> Receipt:
        return self.chain.send(self.function(name, *args), by=by)

    def refuses(
        self, by: LocalAccount, name: str, *args: Any, error: str, **arguments: Any
    ) -> None:
        """Assert that this call reverts in the next block with exactly this error."""
        self.chain.reverts(self.function(name, *args), by, error, **arguments)

    def approve(self, owner: LocalAccount, amount: int) -> None:
        self.chain.send(self.coin.functions.approve(self.escrow.address, amount), by=owner)

    def freeze(self, account: LocalAccount) -> None:
        freeze = self.coin.functions.freeze(account.address, b"\0" * 32)
        self.chain.send(freeze, by=self.accounts.operator)

    def unfreeze(self, account: LocalAccount) -> None:
        unfreeze = self.coin.functions.unfreeze(account.address)
        self.chain.send(unfreeze, by=self.accounts.operator)

    def pause(self) -> None:
        self.chain.send(self.coin.functions.pause(), by=self.accounts.operator)

    # --------------------------------------------------- orders in a given state

    def authorized(self, amount: int = AMOUNT, **changes: Any) -> Terms:
        terms = self.terms(**changes)
        payment = self.payment(terms, amount)
        self.send(self.accounts.operator, "authorizeWithSignature", terms, amount, *payment)
        return terms

    def delivered(self, amount: int = AMOUNT, **changes: Any) -> Terms:
        """Delivery confirmed a second ago."""
        terms = self.authorized(amount, **changes)
        self.send(self.accounts.operator, "confirmDelivery", terms)
        return terms

    def releasable(self, amount: int = AMOUNT, **changes: Any) -> Terms:
        """Delivered, and the dispute window is over."""
        terms = self.delivered(amount, **changes)
        self.chain.travel_to(max(self.chain.time, self.order(terms).deadline))
        return terms

    def released(self, amount: int = AMOUNT, **changes: Any) -> Terms:
        """Paid to the seller by the operator, all of it, at the highest fee."""
        terms = self.releasable(amount, **changes)
        self.send(self.accounts.operator, "release", terms, amount, terms.maxFeeBps)
        return terms

    def disputed(self, amount: int = AMOUNT, **changes: Any) -> Terms:
        """Delivered, and disputed by the payer a second ago."""
        terms = self.delivered(amount, **changes)
        self.send(self.accounts.buyer, "dispute", terms, COMPLAINT)
        return terms

    # ------------------------------------------------------------------- looking

    def order(self, terms: Terms) -> Order:
        return Order(*self.chain.call(self.escrow.functions.orderOf(self.hash(terms))))

    def claimable(self, account: LocalAccount) -> int:
        return int(self.chain.call(self.escrow.functions.claimable(account.address)))

    def balances(self) -> dict[str, int]:
        """Coin by name of the account, and of the escrow."""
        names = {field.name: getattr(self.accounts, field.name) for field in fields(self.accounts)}
        holders = {**{name: account.address for name, account in names.items()}}
        holders["escrow"] = self.escrow.address
        balance_of = self.coin.functions.balanceOf
        return {name: self.chain.call(balance_of(holder)) for name, holder in holders.items()}

    @contextmanager
    def moves(self, **by_name: int) -> Iterator[None]:
        """Assert that the block changes balances exactly so, and nobody else's."""
        before = self.balances()
        yield
        after = self.balances()
        moved = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        assert moved == by_name
