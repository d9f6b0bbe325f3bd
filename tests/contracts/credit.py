"""Sellers' credit at work in tests: offers, intents, sales, and lines brought to a given state.

Offer hashes and signatures are made by eth-account's EIP-712 encoder from the types as documented,
independently of the contracts; interest by exact integer arithmetic of its own.
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

from contracts import Artifact
from tests.contracts.chain import CHAIN_ID, Chain, Receipt
from tests.contracts.signing import sign_transfer, sign_typed
from tests.contracts.system import COIN, DAY, MEMBER_UNTIL, SELLER, START, Cast, System, deploy

FOREVER = 2**256 - 1
BPS_YEAR = 10_000 * 365 * DAY  # bps-seconds in one atomic unit of interest
WINDOW, GRACE, DEFAULT_AFTER, CHARGE_OFF_AFTER = 60 * DAY, 7 * DAY, 90 * DAY, 180 * DAY

NONE, ACTIVE, DEFAULTED, CLOSED, CHARGED_OFF = range(5)  # status of a line

# What the usual line is like, unless a test says otherwise. A ninth of the draw is 1,000 coin.
LIMIT = 10_000 * COIN
DRAW = 9_000 * COIN
INSTALLMENT = 1_000 * COIN
APR = 1_000
HOLDBACK = 1_500
TERM_DAYS = 365

LINE_CAP = 50_000 * COIN
PRINCIPAL_CAP = 100_000 * COIN
RESERVE_BPS = 1_000
RESERVE = 2_000 * COIN  # so 20,000 coin may be lent
POOL_CASH = 40_000 * COIN  # the lender's deposit
BALANCE = 100_000 * COIN  # what each trading member is minted

INTENTS = {
    "Offer": [
        ("seller", "address"),
        ("underwriter", "address"),
        ("limit", "uint72"),
        ("aprBps", "uint16"),
        ("drawFeeBps", "uint16"),
        ("holdbackBps", "uint16"),
        ("termDays", "uint16"),
        ("expires", "uint40"),
        ("disclosureHash", "bytes32"),
        ("modelHash", "bytes32"),
        ("nonce", "uint256"),
    ],
    "Acceptance": [("offerHash", "bytes32"), ("nonce", "uint256"), ("deadline", "uint256")],
    "Draw": [
        ("seller", "address"),
        ("amount", "uint256"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ],
    "Holdback": [
        ("seller", "address"),
        ("holdbackBps", "uint16"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ],
    "Redemption": [
        ("owner", "address"),
        ("shares", "uint256"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ],
}
BOOK_NAME, POOL_NAME = "Plaza CreditBook", "Plaza LenderPool"


class Offer(NamedTuple):
    """An offer, in the order of the contract's struct and by its names."""

    seller: str
    underwriter: str
    limit: int
    aprBps: int
    drawFeeBps: int
    holdbackBps: int
    termDays: int
    expires: int
    disclosureHash: bytes
    modelHash: bytes
    nonce: int


def offer_hash(offer: Offer, book: str, chain_id: int = CHAIN_ID) -> bytes:
    """EIP-712 hash of an offer."""
    domain = {"name": BOOK_NAME, "version": "1", "chainId": chain_id, "verifyingContract": book}
    members = [{"name": name, "type": type_} for name, type_ in INTENTS["Offer"]]
    message = encode_typed_data(domain, {"Offer": members}, offer._asdict())
    return keccak(b"\x19" + message.version + message.header + message.body)


def repayment_nonce(seller: str, ref: bytes) -> bytes:
    return keccak(encode(["address", "bytes32"], [seller, ref]))


def accrued(principal: int, apr: int, seconds: int) -> int:
    """Interest of that time in bps-seconds."""
    return principal * apr * seconds


def rounded_up(interest: int) -> int:
    """Bps-seconds in atomic units, as a borrower owes them."""
    return -(-interest // BPS_YEAR)


@dataclass(frozen=True)
class Lending:
    """The credit book and the lender pool on a chain with everything else, and who uses them.

    The pool has POOL_CASH, the reserve RESERVE; `operator` is a sales source, as an escrow is.
    """

    system: System

    @classmethod
    def deploy(cls) -> Lending:
        cast = Cast.derive()
        lending = cls(deploy(Chain(cast.all(), START), cast))
        lending.mint(cast.lender, cast.lender2, cast.seller, cast.seller2, cast.buyer)
        lending.mint(cast.operator, cast.treasurer)
        lending.send(cast.risk, "setCaps", LINE_CAP, PRINCIPAL_CAP, RESERVE_BPS)
        lending.send(cast.steward, "setSalesSource", cast.operator.address, True)
        for account in (cast.lender, cast.lender2, cast.operator):
            lending.approve(account, lending.pool)
        for account in (cast.seller, cast.seller2, cast.buyer, cast.treasurer):
            lending.approve(account, lending.book)
        lending.send(cast.treasurer, "fundReserve", RESERVE)
        lending.pool_send(cast.lender, "deposit", POOL_CASH, cast.lender.address)
        return lending

    @property
    def chain(self) -> Chain:
        return self.system.chain

    @property
    def accounts(self) -> Any:
        return self.system.accounts

    @property
    def coin(self) -> Contract:
        return self.system.coin

    @property
    def book(self) -> Contract:
        return self.system.book

    @property
    def pool(self) -> Contract:
        return self.system.pool

    @property
    def seller(self) -> LocalAccount:
        account: LocalAccount = self.accounts.seller
        return account

    # ------------------------------------------------------------------- calling

    def function(self, name: str, *args: Any) -> ContractFunction:
        """A call of the book, ready for `chain`."""
        # web3 takes plain tuples for structs, but no named ones.
        plain = (tuple(arg) if isinstance(arg, Offer) else arg for arg in args)
        return self.book.functions[name](*plain)

    def send(self, by: LocalAccount, name: str, *args: Any) -> Receipt:
        return self.chain.send(self.function(name, *args), by=by)

    def call(self, name: str, *args: Any) -> Any:
        return self.chain.call(self.function(name, *args))

    def refuses(
        self, by: LocalAccount | str, name: str, *args: Any, error: str, **arguments: Any
    ) -> None:
        """Assert that this call of the book reverts in the next block with exactly this error."""
        self.chain.reverts(self.function(name, *args), by, error, **arguments)

    def pool_send(self, by: LocalAccount, name: str, *args: Any) -> Receipt:
        return self.chain.send(self.pool.functions[name](*args), by=by)

    def pool_call(self, name: str, *args: Any) -> Any:
        return self.chain.call(self.pool.functions[name](*args))

    def pool_refuses(
        self, by: LocalAccount, name: str, *args: Any, error: str, **arguments: Any
    ) -> None:
        self.chain.reverts(self.pool.functions[name](*args), by, error, **arguments)

    def coin_send(self, by: LocalAccount, name: str, *args: Any) -> Receipt:
        return self.chain.send(self.coin.functions[name](*args), by=by)

    # -------------------------------------------------------------- money, members

    def mint(self, *members: LocalAccount, amount: int = BALANCE) -> None:
        for member in members:
            reference = keccak(text=f"{member.address} {self.chain.time}")
            self.coin_send(self.accounts.treasury, "mint", member.address, amount, reference)

    def approve(self, owner: LocalAccount, spender: Contract, amount: int = FOREVER) -> None:
        self.coin_send(owner, "approve", spender.address, amount)

    def freeze(self, account: LocalAccount) -> None:
        self.coin_send(self.accounts.compliance, "freeze", account.address, b"\0" * 32)

    def expel(self, account: LocalAccount) -> None:
        self.coin_send(self.accounts.registrar, "expel", account.address)

    def pause_coin(self) -> None:
        self.coin_send(self.accounts.guardian, "pause")

    def empty_pool(self, leave: int = 0) -> None:
        """Take the pool's coin out, as its lender may."""
        amount = self.cash() - leave
        lender = self.accounts.lender
        self.pool_send(lender, "withdraw", amount, lender.address, lender.address)

    def wallet_of(self, owner: LocalAccount, artifact: Artifact) -> str:
        """A contract account that `owner` signs for (EIP-1271), admitted as a seller."""
        wallet = self.chain.deploy(artifact, owner.address, by=self.accounts.admin)
        admit = (wallet.address, SELLER, MEMBER_UNTIL)
        self.coin_send(self.accounts.registrar, "admit", *admit)
        return str(wallet.address)

    # ---------------------------------------------------------------- signatures

    def sign(
        self, signer: LocalAccount, intent: str, message: dict[str, Any], **domain: Any
    ) -> bytes:
        """65 bytes over an intent of the book, or over a Redemption of the pool."""
        pool = intent == "Redemption"
        contract = domain.pop("contract", self.pool if pool else self.book)
        domain = {"name": POOL_NAME if pool else BOOK_NAME, **domain}
        return sign_typed(signer, contract, intent, message, types=INTENTS, **domain).packed

    def sign_offer(self, offer: Offer, by: LocalAccount | None = None, **domain: Any) -> bytes:
        return self.sign(by or self.accounts.underwriter, "Offer", offer._asdict(), **domain)

    def signed_repayment(
        self, payer: LocalAccount, value: int, ref: bytes, seller: str | None = None, **changes: Any
    ) -> tuple[Any, ...]:
        """Arguments of repayWithAuthorization: the payer's EIP-3009 signature for this line."""
        seller = seller or self.seller.address
        after, before = changes.pop("valid_after", 0), changes.pop("valid_before", FOREVER)
        signature = sign_transfer(
            payer,
            self.coin,
            changes.pop("to", self.book.address),
            value,
            changes.pop("nonce", repayment_nonce(seller, ref)),
            valid_after=after,
            valid_before=before,
            receive=True,
            **changes,
        )
        return seller, ref, payer.address, value, after, before, signature.packed

    # -------------------------------------------------------- lines in a given state

    def offer(self, **changes: Any) -> Offer:
        """An offer to `seller`, open for a day."""
        usual = Offer(
            seller=self.seller.address,
            underwriter=self.accounts.underwriter.address,
            limit=LIMIT,
            aprBps=APR,
            drawFeeBps=0,
            holdbackBps=HOLDBACK,
            termDays=TERM_DAYS,
            expires=self.chain.time + DAY,
            disclosureHash=keccak(text="disclosure"),
            modelHash=keccak(text="model"),
            nonce=self.chain.time,
        )
        return usual._replace(**changes)

    def hash(self, offer: Offer) -> bytes:
        return offer_hash(offer, self.book.address)

    def accept(self, offer: Offer, by: LocalAccount | None = None) -> Receipt:
        return self.send(by or self.seller, "accept", offer, self.sign_offer(offer))

    def accepted(self, **changes: Any) -> Offer:
        """A line opened, or given new terms, a second ago."""
        offer = self.offer(**changes)
        self.accept(offer, by=self.account(offer.seller))
        return offer

    def drawn(self, amount: int = DRAW, **changes: Any) -> int:
        """A line drawn a second ago. Returns the time of the draw."""
        offer = self.accepted(**changes)
        return self.send(self.account(offer.seller), "draw", amount).timestamp

    def delinquent(self, **changes: Any) -> int:
        """Nothing was paid, and grace is over. Returns the time of the draw."""
        drawn_at = self.drawn(**changes)
        self.chain.travel_to(drawn_at + WINDOW + GRACE)
        return drawn_at

    def defaulted(self, **changes: Any) -> int:
        """Touched at the first second of default. Returns that second."""
        drawn_at = self.drawn(**changes)
        self.chain.travel_to(drawn_at + WINDOW + DEFAULT_AFTER)
        seller = changes.get("seller", self.seller.address)
        return self.send(self.accounts.stranger, "touch", seller).timestamp

    def charged_off(self, **changes: Any) -> Receipt:
        """Written off by the servicer as soon as it had defaulted."""
        self.defaulted(**changes)
        seller = changes.get("seller", self.seller.address)
        return self.send(self.accounts.servicer, "chargeOff", seller)

    def sale(self, net: int, order: bytes = b"\x0d" * 32, seller: str | None = None) -> Receipt:
        """A sale reported by a sales source that pays the repayment, as the escrow does."""
        source = self.accounts.operator
        report = self.function("onSale", seller or self.seller.address, order, net)
        repayment = self.chain.call(report, by=source)
        receipt = self.chain.send(report, by=source)
        if repayment:
            self.coin_send(source, "transfer", self.call("collector"), repayment)
        return receipt

    def repayment_of(self, net: int, seller: str | None = None) -> int:
        """What a sale would repay in the next block."""
        report = self.function("onSale", seller or self.seller.address, b"\x0d" * 32, net)
        return int(self.chain.call(report, by=self.accounts.operator))

    # ------------------------------------------------------------------- looking

    def account(self, address: str) -> LocalAccount:
        (account,) = (one for one in self.accounts.all() if one.address == address)
        return account

    def line(self, seller: str | None = None) -> Any:
        return self.call("lineOf", seller or self.seller.address)[0]

    def terms(self, seller: str | None = None) -> Any:
        return self.call("lineOf", seller or self.seller.address)[1]

    def dues(self, seller: str | None = None) -> Any:
        return self.call("lineOf", seller or self.seller.address)[2]

    def loss(self, seller: str | None = None) -> Any:
        return self.call("lineOf", seller or self.seller.address)[3]

    def statement(self, seller: str | None = None) -> Any:
        return self.call("statementOf", seller or self.seller.address)

    def totals(self) -> Any:
        return self.call("totals")

    def cash(self) -> int:
        return int(self.pool_call("cash"))

    def balance(self, account: LocalAccount | Contract) -> int:
        return int(self.chain.call(self.coin.functions.balanceOf(account.address)))

    def balances(self) -> dict[str, int]:
        """Coin by name of the account, and of the pool and the book."""
        holders = {field.name: getattr(self.accounts, field.name) for field in fields(Cast)}
        holders |= {"pool": self.pool, "book": self.book}
        return {name: self.balance(holder) for name, holder in holders.items()}

    @contextmanager
    def moves(self, **by_name: int) -> Iterator[None]:
        """Assert that what happens inside changes balances exactly so, and nobody else's."""
        before = self.balances()
        yield
        after = self.balances()
        moved = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        assert moved == by_name
