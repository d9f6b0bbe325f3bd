"""Every table of the node, in the order in which an intention becomes a fact.

merchants, api_keys            who may ask
accounts … statements          what was asked for (resources), and what was said in disputes
scores, line_holds             what the desk thinks and decides
payment_requests, sales_facts  what is to be paid to whom, and what the shop says of its orders
idempotency_keys               which request asked for it
operations → chain_txs         how it is carried out, alone or in batches (by the bridge, then the
                               outbox)
blocks … lenders               what the chain says (written by the indexer alone)
undo_log                       how to take back what a rolled-back block said
last_reconciliation            what the last comparison of chain and database found
worker_status                  how far the worker is, for readiness and the chain's clock
events, webhook_*              what is told to the outside

Amounts are integers of atomic units; chain times and `created_at` are UTC unix seconds; hashes,
addresses (checksummed) and calldata are 0x-prefixed hex strings.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine


class Amount(TypeDecorator[int]):
    """A non-negative or signed integer of atomic units, exact at any size.

    NUMERIC on PostgreSQL; decimal text on SQLite, whose integers end at 64 bits.
    """

    impl = Numeric(39, 0)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(40))
        return dialect.type_descriptor(Numeric(39, 0))

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"an amount is an int of atomic units, not {value!r}")
        return str(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


# SQLite counts up only INTEGER primary keys.
Sequence64 = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012  (read by SQLAlchemy, never changed)
        dict[str, Any]: JSON,
        list[str]: JSON,
    }


# ------------------------------------------------------------------------------- who may ask


class Merchant(Base):
    """A shop on the platform; everything below belongs to one."""

    __tablename__ = "merchants"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    fee_bps: Mapped[int]
    dispute_window: Mapped[int]  # seconds
    created_at: Mapped[int] = mapped_column(BigInteger)


class ApiKey(Base):
    """A key of a merchant. Only the SHA-256 of the secret is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    name: Mapped[str] = mapped_column(String(120))
    prefix: Mapped[str] = mapped_column(String(16))
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


# ----------------------------------------------------------------------- what was asked for


class AccountStatus(StrEnum):
    PENDING = "pending"  # admission is on its way
    ACTIVE = "active"
    FROZEN = "frozen"
    EXPIRED = "expired"  # expelled, or the membership ran out
    FAILED = "failed"


class Account(Base):
    """A member of the network as a merchant knows it: managed by the node, or external."""

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("merchant_id", "address"),
        UniqueConstraint("merchant_id", "reference"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    reference: Mapped[str | None] = mapped_column(String(120))  # the merchant's own name for it
    address: Mapped[str] = mapped_column(String(42), index=True)
    # Position below the managed branch of the sealed seed; None for an external account.
    managed_index: Mapped[int | None] = mapped_column(Integer, unique=True)
    kinds: Mapped[int]  # bit set as in the coin
    member_until: Mapped[int] = mapped_column(BigInteger)  # as asked for; members has the fact
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class MoveStatus(StrEnum):
    """Of a top-up, a redemption and a transfer."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


_NOT_SPENT = text("status NOT IN ('failed', 'canceled')")


class TopUp(Base):
    """Money received, to be minted once as coin."""

    __tablename__ = "topups"
    __table_args__ = (
        # A fiat reference counts once; a failed top-up frees it for another try.
        Index(
            "uq_topups_reference",
            "merchant_id",
            "reference",
            unique=True,
            sqlite_where=_NOT_SPENT,
            postgresql_where=_NOT_SPENT,
        ),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[int] = mapped_column(Amount)
    reference: Mapped[str] = mapped_column(String(120))
    ref: Mapped[str] = mapped_column(String(66), index=True)
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class Redemption(Base):
    """Coin to be burned for a payout of money."""

    __tablename__ = "redemptions"
    __table_args__ = (
        Index(
            "uq_redemptions_reference",
            "merchant_id",
            "reference",
            unique=True,
            sqlite_where=_NOT_SPENT,
            postgresql_where=_NOT_SPENT,
        ),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[int] = mapped_column(Amount)
    reference: Mapped[str] = mapped_column(String(120))
    ref: Mapped[str] = mapped_column(String(66), index=True)
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class Transfer(Base):
    """Coin from one account of the merchant to any member, or by x402 from any member to one."""

    __tablename__ = "transfers"
    __table_args__ = (UniqueConstraint("from_address", "nonce"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    # None for a payer by x402 who is no account of the merchant.
    from_account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id"), index=True)
    from_address: Mapped[str] = mapped_column(String(42))
    to_address: Mapped[str] = mapped_column(String(42))
    amount: Mapped[int] = mapped_column(Amount)
    memo: Mapped[str | None] = mapped_column(String(200))
    resource: Mapped[str | None] = mapped_column(String(2000))  # what an x402 payment is for
    nonce: Mapped[str] = mapped_column(String(66), index=True)  # of the EIP-3009 authorization
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class PurchaseStatus(StrEnum):
    CREATED = "created"
    AUTHORIZED = "authorized"
    SHIPPED = "shipped"  # the shop's word; moves no money
    DELIVERED = "delivered"
    RELEASED = "released"
    REFUNDED = "refunded"  # all that was released has been paid back
    VOIDED = "voided"
    RECLAIMED = "reclaimed"
    DISPUTED = "disputed"  # what is held waits for a decision
    RESOLVED = "resolved"  # a dispute was decided, or ran out


class Purchase(Base):
    """One order at one seller. Its coin stands in escrow_orders, under the same order hash."""

    __tablename__ = "purchases"
    __table_args__ = (
        UniqueConstraint("merchant_id", "order_id"),
        Index("ix_purchases_merchant_status", "merchant_id", "status", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    order_id: Mapped[str] = mapped_column(String(120))
    payer_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    payee_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[int] = mapped_column(Amount)
    fee_bps: Mapped[int]
    # The terms as the contract's ABI names them; integers as decimal strings where over 2^53.
    terms: Mapped[dict[str, Any]]
    order_hash: Mapped[str] = mapped_column(String(66), unique=True)
    status: Mapped[str] = mapped_column(String(16))
    tracking: Mapped[str | None] = mapped_column(String(200))
    error: Mapped[str | None] = mapped_column(Text)  # of the last failed operation
    created_at: Mapped[int] = mapped_column(BigInteger)
    authorized_at: Mapped[int | None] = mapped_column(BigInteger)  # block times, and shipped_at
    shipped_at: Mapped[int | None] = mapped_column(BigInteger)
    delivered_at: Mapped[int | None] = mapped_column(BigInteger)
    closed_at: Mapped[int | None] = mapped_column(BigInteger)


class OfferStatus(StrEnum):
    OFFERED = "offered"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    DECLINED = "declined"  # by its seller; the bridge's word at once, then the chain's


class CreditOffer(Base):
    """What the underwriter offers a seller, signed: the terms of a credit line."""

    __tablename__ = "credit_offers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    # As the contract's ABI names it; integers as decimal strings where over 2^53.
    offer: Mapped[dict[str, Any]]
    offer_hash: Mapped[str] = mapped_column(String(66), unique=True)
    signature: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)  # of the last failed operation
    created_at: Mapped[int] = mapped_column(BigInteger)
    accepted_at: Mapped[int | None] = mapped_column(BigInteger)  # block time
    declined_at: Mapped[int | None] = mapped_column(BigInteger)


class LineAction(Base):
    """What staff or a seller changes about a credit line. Its status is as of a top-up."""

    __tablename__ = "line_actions"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)  # the seller
    kind: Mapped[str] = mapped_column(String(16))  # "limit", "holdback", "suspend", …
    amount: Mapped[int | None] = mapped_column(Amount)  # units, bps or seconds: the kind says
    reason: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class LineHold(Base):
    """A line on which the bridge draws nothing, for as long as this row is there."""

    __tablename__ = "line_holds"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    reason: Mapped[str] = mapped_column(String(200))
    since: Mapped[int] = mapped_column(BigInteger)


class Score(Base):
    """What the desk thinks of a seller's credit, as it was posted; never changed."""

    __tablename__ = "scores"
    __table_args__ = (Index("ix_scores_account", "account_id", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    value: Mapped[str] = mapped_column(String(40))  # decimal digits, as posted
    grade: Mapped[str] = mapped_column(String(1))
    model_version: Mapped[str] = mapped_column(String(120))
    model_hash: Mapped[str] = mapped_column(String(66))
    features_hash: Mapped[str] = mapped_column(String(66))
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(JSON)  # {"code", "text"}, as posted
    cutoff: Mapped[int] = mapped_column(BigInteger)  # facts before this were looked at
    valid_until: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)


def _reference_counts_once(table: str, *columns: str) -> Index:
    """A merchant's reference stands for one intention; a failed one frees it for another try."""
    return Index(
        f"uq_{table}_reference",
        *columns,
        "reference",
        unique=True,
        sqlite_where=_NOT_SPENT,
        postgresql_where=_NOT_SPENT,
    )


class Draw(Base):
    """Coin a seller draws on its credit line. Its status is as of a top-up."""

    __tablename__ = "draws"
    __table_args__ = (_reference_counts_once("draws", "account_id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[int] = mapped_column(Amount)
    fee: Mapped[int | None] = mapped_column(Amount)  # by what the chain says
    reference: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class Repayment(Base):
    """Coin paid on a credit line by hand, by its seller or by another account for it."""

    __tablename__ = "repayments"
    __table_args__ = (_reference_counts_once("repayments", "account_id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)  # the seller
    payer_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[int] = mapped_column(Amount)  # at most; what is not owed comes back
    paid: Mapped[int | None] = mapped_column(Amount)  # by what the chain says, and its parts
    interest_paid: Mapped[int | None] = mapped_column(Amount)
    principal_paid: Mapped[int | None] = mapped_column(Amount)
    reference: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class PoolDeposit(Base):
    """Coin a lender puts into the pool, for shares."""

    __tablename__ = "pool_deposits"
    __table_args__ = (_reference_counts_once("pool_deposits", "account_id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[int] = mapped_column(Amount)
    shares: Mapped[int | None] = mapped_column(Amount)  # by what the chain says
    reference: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class PoolWithdrawal(Base):
    """Shares a lender gives back to the pool, for coin."""

    __tablename__ = "pool_withdrawals"
    __table_args__ = (_reference_counts_once("pool_withdrawals", "account_id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    shares: Mapped[int] = mapped_column(Amount)
    amount: Mapped[int | None] = mapped_column(Amount)  # by what the chain says
    reference: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class ReserveFunding(Base):
    """Money the platform sets aside for first losses, as coin in the credit book."""

    __tablename__ = "reserve_fundings"
    __table_args__ = (_reference_counts_once("reserve_fundings", "merchant_id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    amount: Mapped[int] = mapped_column(Amount)
    reference: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class StatementKind(StrEnum):
    COMPLAINT = "complaint"  # with which the payer opens the dispute
    EVIDENCE = "evidence"
    DECISION = "decision"  # of the arbiter


class Statement(Base):
    """What a party or the arbiter says in a dispute, in full; the chain has its hash alone.

    It never changes. Whether it was made is what the chain says: its hash is in `evidence_logs`, or
    is the decision's in `disputes`.
    """

    __tablename__ = "statements"
    __table_args__ = (UniqueConstraint("purchase_id", "hash"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"), index=True)
    purchase_id: Mapped[str] = mapped_column(ForeignKey("purchases.id"))
    kind: Mapped[str] = mapped_column(String(16))
    party: Mapped[str] = mapped_column(String(42))
    text: Mapped[str] = mapped_column(Text)
    reference: Mapped[str | None] = mapped_column(String(200))
    salt: Mapped[str | None] = mapped_column(String(66))
    hash: Mapped[str] = mapped_column(String(66))  # keccak256 of the canonical form
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"))  # the last try
    created_at: Mapped[int] = mapped_column(BigInteger)


class PaymentRequestStatus(StrEnum):
    OPEN = "open"
    PAID = "paid"  # one transfer brought it at least the amount, in time
    CANCELED = "canceled"
    EXPIRED = "expired"


class PaymentRequest(Base):
    """What somebody is asked to pay to an account, with whichever tool.

    A transfer pays it that carries its memo, or its nonce as an EIP-3009 authorization. Both name
    it for good, so that coin that comes too late, or twice, is still known for what it was.
    """

    __tablename__ = "payment_requests"
    __table_args__ = (
        # A canceled one frees its reference. Not by status: the indexer must never meet this.
        Index(
            "uq_payment_requests_reference",
            "merchant_id",
            "reference",
            unique=True,
            sqlite_where=text("canceled_at IS NULL"),
            postgresql_where=text("canceled_at IS NULL"),
        ),
        UniqueConstraint("memo_word", "payee_address"),
        Index("ix_payment_requests_merchant_status", "merchant_id", "status", "id"),
        Index("ix_payment_requests_status_expires", "status", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    payee_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    payee_address: Mapped[str] = mapped_column(String(42))
    amount: Mapped[int] = mapped_column(Amount)
    memo: Mapped[str | None] = mapped_column(String(200))  # for people
    memo_word: Mapped[str] = mapped_column(String(66))  # the memo on chain
    nonce: Mapped[str] = mapped_column(String(66), unique=True)  # of an EIP-3009 authorization
    reference: Mapped[str | None] = mapped_column(String(120))
    expires_at: Mapped[int] = mapped_column(BigInteger)  # on the chain's clock
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(Text)  # of the last failed operation
    created_at: Mapped[int] = mapped_column(BigInteger)
    canceled_at: Mapped[int | None] = mapped_column(BigInteger)
    # By what the chain says: all coin that named it, and the transfer that paid it.
    received: Mapped[int] = mapped_column(Amount, default=0)
    paid_amount: Mapped[int | None] = mapped_column(Amount)
    paid_by: Mapped[str | None] = mapped_column(String(42))
    paid_tx: Mapped[str | None] = mapped_column(String(66))
    paid_block: Mapped[int | None] = mapped_column(BigInteger)
    paid_at: Mapped[int | None] = mapped_column(BigInteger)  # block time


class FactKind(StrEnum):
    REVIEW = "review"
    CANCELLATION = "cancellation"
    RETURN = "return"


class SalesFact(Base):
    """What the shop says about a seller's order, for scoring; as it stands after corrections."""

    __tablename__ = "sales_facts"
    __table_args__ = (
        UniqueConstraint("merchant_id", "kind", "order_id", "reference"),
        Index("ix_sales_facts_seller_time", "seller_account_id", "occurred_at"),
        Index("ix_sales_facts_merchant", "merchant_id", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    kind: Mapped[str] = mapped_column(String(16))
    order_id: Mapped[str] = mapped_column(String(120))
    reference: Mapped[str] = mapped_column(String(120))
    seller_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    occurred_at: Mapped[int] = mapped_column(BigInteger)  # by the shop's word
    score: Mapped[int | None]  # 1-5 of a review, None of all else
    withdrawn: Mapped[bool] = mapped_column(default=False)
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class SalesFactRevision(Base):
    """What a fact said until a correction: a score must be able to tell what was known when."""

    __tablename__ = "sales_fact_revisions"

    fact_id: Mapped[str] = mapped_column(ForeignKey("sales_facts.id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    seller_account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    occurred_at: Mapped[int] = mapped_column(BigInteger)
    score: Mapped[int | None]
    withdrawn: Mapped[bool]
    recorded_at: Mapped[int] = mapped_column(BigInteger)
    replaced_at: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(200))  # of the correction that replaced it


class IdempotencyKey(Base):
    """Written in the transaction that creates the resource; lives as long as the resource."""

    __tablename__ = "idempotency_keys"

    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))  # SHA-256 of method, path, body
    status_code: Mapped[int]
    resource_type: Mapped[str] = mapped_column(String(24))
    resource_id: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[int] = mapped_column(BigInteger)


# ------------------------------------------------------------------------ how it is carried out


OWNER = "owner"  # signer of an operation whose transaction came signed


class OperationStatus(StrEnum):
    QUEUED = "queued"
    SUBMITTED = "submitted"  # signed and stored; on the network or about to be
    DONE = "done"  # a canonical block holds it (written by the indexer)
    FAILED = "failed"  # refused before it was signed, or reverted on chain
    CANCELED = "canceled"
    CONFLICT = "conflict"  # a stranger used the nonce; people must look


class Operation(Base):
    """One intention to act on chain: the call to make, by which signer, for which resource."""

    __tablename__ = "operations"
    __table_args__ = (
        Index("ix_operations_status_id", "status", "id"),
        Index("ix_operations_resource", "resource_type", "resource_id"),
        Index("ix_operations_debit", "debit_address", "status"),
        UniqueConstraint("kind", "ref", "attempt"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # time-ordered: queue order
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    # "account.admit", "topup.mint", "transfer.send", "purchase.authorize", "draw.send", …
    kind: Mapped[str] = mapped_column(String(40))
    # What makes the action unique on chain (order hash, EIP-3009 nonce, mint reference) …
    ref: Mapped[str] = mapped_column(String(66))
    # … and which try at it this is: a failed one may be asked for again.
    attempt: Mapped[int] = mapped_column(default=1)
    resource_type: Mapped[str] = mapped_column(String(24))
    resource_id: Mapped[str] = mapped_column(String(40))
    signer: Mapped[str] = mapped_column(String(40))  # "operator:2", "treasury", "managed:17"
    to_address: Mapped[str] = mapped_column(String(42))
    calldata: Mapped[str] = mapped_column(Text)
    # Coin this takes from an account once it lands: counts against what is available until then.
    debit_address: Mapped[str | None] = mapped_column(String(42))
    debit_amount: Mapped[int] = mapped_column(Amount, default=0)
    # Coin on its way in to an account, shown as pending until it lands.
    credit_address: Mapped[str | None] = mapped_column(String(42), index=True)
    credit_amount: Mapped[int] = mapped_column(Amount, default=0)
    status: Mapped[str] = mapped_column(String(16))
    error_code: Mapped[str | None] = mapped_column(String(64))  # "NotAMember", "reverted", …
    error: Mapped[str | None] = mapped_column(Text)
    tx_hash: Mapped[str | None] = mapped_column(String(66))
    block_number: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    # A transaction for it was signed once and settled nothing (a batch that failed as a whole, a
    # conflict that people have looked at): it goes into no batch again, and cannot be canceled, as
    # those bytes are out in the world.
    alone: Mapped[bool] = mapped_column(default=False)


class Sender(Base):
    """A signer's next nonce, and the worker that leads for it."""

    __tablename__ = "senders"

    address: Mapped[str] = mapped_column(String(42), primary_key=True)
    next_nonce: Mapped[int] = mapped_column(BigInteger)
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[int | None] = mapped_column(BigInteger)


class ChainTxStatus(StrEnum):
    SIGNED = "signed"  # its bytes are stored, and may be on the network
    MINED = "mined"
    CONFLICT = "conflict"
    RESOLVED = "resolved"  # a conflict that people have looked at
    REPLACED = "replaced"  # it came signed, and its owner used the nonce for something else


class ChainTx(Base):
    """A nonce taken for one operation, or for a batch of them (`chain_tx_operations`).

    The row exists before anything is broadcast.
    """

    __tablename__ = "chain_txs"
    __table_args__ = (
        UniqueConstraint("sender", "nonce"),
        Index("ix_chain_txs_status", "status", "id"),
        Index("ix_chain_txs_sender", "sender", "id"),
    )

    id: Mapped[int] = mapped_column(Sequence64, primary_key=True, autoincrement=True)
    sender: Mapped[str] = mapped_column(String(42))
    nonce: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(16))
    # Which of its attempts is sent: the newest or, once one was mined, that one for good.
    tx_hash: Mapped[str] = mapped_column(String(66))
    # Where it was mined: kept when the chain goes back, so that it can be sent again in order
    # and, on a development chain, at the time of its first block.
    block_number: Mapped[int | None] = mapped_column(BigInteger)
    block_timestamp: Mapped[int | None] = mapped_column(BigInteger)
    transaction_index: Mapped[int | None] = mapped_column(Integer)
    succeeded: Mapped[bool | None]


class ChainTxOperation(Base):
    """An operation that a chain transaction carries out, and whether it did.

    An operation may be in several transactions over time (see `Operation.alone`): it is done when
    any of them has done it.
    """

    __tablename__ = "chain_tx_operations"

    chain_tx_id: Mapped[int] = mapped_column(ForeignKey("chain_txs.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)  # in the batch, from 0
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"), index=True)
    succeeded: Mapped[bool | None]  # None: in no canonical block


class AttemptKind(StrEnum):
    CALL = "call"
    REPLACEMENT = "replacement"  # the same call with another gas limit
    CANCEL = "cancel"  # an empty call of the sender to itself: uses up the nonce


class TxAttempt(Base):
    """The signed bytes of a chain transaction; the same bytes are sent again, never others.

    Others for the same nonce are signed only where people ask for it. Whichever is mined decides.
    """

    __tablename__ = "tx_attempts"

    hash: Mapped[str] = mapped_column(String(66), primary_key=True)
    chain_tx_id: Mapped[int] = mapped_column(ForeignKey("chain_txs.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16), default=AttemptKind.CALL)
    raw: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


class OutboxAction(StrEnum):
    REBROADCAST = "rebroadcast"
    CANCEL = "cancel"
    REPLACE = "replace"
    RETRY = "retry"  # an operation in conflict


class OutboxRequestStatus(StrEnum):
    PENDING = "pending"
    DONE = "done"  # the outbox did its part; what comes of it the chain decides
    REFUSED = "refused"


class OutboxRequest(Base):
    """What the platform's staff asks of the outbox: written by the bridge, carried out by the
    worker, which alone speaks to the chain. Kept for good, as who did what."""

    __tablename__ = "outbox_requests"
    __table_args__ = (Index("ix_outbox_requests_status", "status", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    action: Mapped[str] = mapped_column(String(16))
    # Of a transaction or, to retry, of an operation.
    chain_tx_id: Mapped[int | None] = mapped_column(ForeignKey("chain_txs.id"), index=True)
    operation_id: Mapped[str | None] = mapped_column(ForeignKey("operations.id"), index=True)
    gas_limit: Mapped[int | None] = mapped_column(BigInteger)  # of a replacement
    status: Mapped[str] = mapped_column(String(16))
    answer: Mapped[str | None] = mapped_column(Text)  # why it was refused
    requested_by: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    created_at: Mapped[int] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)


# ----------------------------------------------------------------------- what the chain says


class Block(Base):
    """A canonical block the indexer has read, for parent checks and rollback."""

    __tablename__ = "blocks"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[str] = mapped_column(String(66))
    parent_hash: Mapped[str] = mapped_column(String(66))
    timestamp: Mapped[int] = mapped_column(BigInteger)
    # Its transactions that are not ours: were the block lost, we could only name them.
    others: Mapped[list[str]] = mapped_column(default=list)


class Member(Base):
    """An address's standing and balance in the coin."""

    __tablename__ = "members"

    address: Mapped[str] = mapped_column(String(42), primary_key=True)
    balance: Mapped[int] = mapped_column(Amount, default=0)
    kinds: Mapped[int] = mapped_column(default=0)
    member_until: Mapped[int] = mapped_column(BigInteger, default=0, index=True)
    frozen: Mapped[bool] = mapped_column(default=False)


class LedgerEntry(Base):
    """One change of one address's balance, from one Transfer log."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        UniqueConstraint("block_number", "log_index", "address"),
        Index("ix_ledger_entries_address", "address", "id"),
    )

    id: Mapped[int] = mapped_column(Sequence64, primary_key=True, autoincrement=True)
    block_number: Mapped[int] = mapped_column(BigInteger, index=True)
    block_timestamp: Mapped[int] = mapped_column(BigInteger)
    log_index: Mapped[int]
    tx_hash: Mapped[str] = mapped_column(String(66))
    address: Mapped[str] = mapped_column(String(42))
    delta: Mapped[int] = mapped_column(Amount)
    balance_after: Mapped[int] = mapped_column(Amount)
    counterparty: Mapped[str] = mapped_column(String(42))
    # "topup", "redemption", "transfer", "authorize", "release", "fee", "void", "refund", …
    kind: Mapped[str] = mapped_column(String(24))
    ref: Mapped[str | None] = mapped_column(String(66))  # order hash, nonce, memo, mint reference


class EscrowOrder(Base):
    """One order hash in the escrow, whoever acted on it: running totals of its logs."""

    __tablename__ = "escrow_orders"

    order_hash: Mapped[str] = mapped_column(String(66), primary_key=True)
    payer: Mapped[str] = mapped_column(String(42), index=True)
    payee: Mapped[str] = mapped_column(String(42), index=True)
    authorized: Mapped[int] = mapped_column(Amount)
    held: Mapped[int] = mapped_column(Amount)
    released: Mapped[int] = mapped_column(Amount, default=0)
    fee: Mapped[int] = mapped_column(Amount, default=0)
    repayment: Mapped[int] = mapped_column(Amount, default=0)
    voided: Mapped[int] = mapped_column(Amount, default=0)
    refunded: Mapped[int] = mapped_column(Amount, default=0)
    reclaimed: Mapped[int] = mapped_column(Amount, default=0)
    # While delivered the end of the dispute window, while disputed that of the arbitration.
    dispute_deadline: Mapped[int] = mapped_column(BigInteger, default=0)
    dispute: Mapped[str | None] = mapped_column(String(16))  # DisputeState


class DisputeState(StrEnum):
    OPEN = "open"
    DECIDED = "decided"  # by the arbiter
    DEFAULTED = "defaulted"  # not decided in time: all went to the payer
    SETTLED = "settled"  # a party gave in


class Dispute(Base):
    """The dispute of an order, whoever opened it. Its state is in `escrow_orders`."""

    __tablename__ = "disputes"
    __table_args__ = (Index("ix_disputes_open_deadline", "closed_at", "deadline"),)

    order_hash: Mapped[str] = mapped_column(String(66), primary_key=True)
    opened_at: Mapped[int] = mapped_column(BigInteger)  # block times
    deadline: Mapped[int] = mapped_column(BigInteger)  # of the arbitration
    disputed: Mapped[int] = mapped_column(Amount)  # what was held when it was opened
    # Where that went since, by decision, by default, or because a party gave in.
    to_payer: Mapped[int] = mapped_column(Amount)
    to_seller: Mapped[int] = mapped_column(Amount)  # with fee and repayment
    # The arbiter's decision, on what was still held then.
    decision_hash: Mapped[str | None] = mapped_column(String(66))
    decided_to_payer: Mapped[int | None] = mapped_column(Amount)
    decided_to_seller: Mapped[int | None] = mapped_column(Amount)
    closed_at: Mapped[int | None] = mapped_column(BigInteger)


class EvidenceLog(Base):
    """The hash of a complaint or of evidence, as a party put it on chain."""

    __tablename__ = "evidence_logs"
    __table_args__ = (UniqueConstraint("block_number", "log_index"),)

    id: Mapped[int] = mapped_column(Sequence64, primary_key=True, autoincrement=True)
    block_number: Mapped[int] = mapped_column(BigInteger)
    block_timestamp: Mapped[int] = mapped_column(BigInteger)
    log_index: Mapped[int]
    tx_hash: Mapped[str] = mapped_column(String(66))
    order_hash: Mapped[str] = mapped_column(String(66), index=True)
    party: Mapped[str] = mapped_column(String(42))
    kind: Mapped[str] = mapped_column(String(16))  # StatementKind: complaint or evidence
    hash: Mapped[str] = mapped_column(String(66))


class Claimable(Base):
    """Coin the escrow keeps for a receiver that could not take it."""

    __tablename__ = "claimables"

    address: Mapped[str] = mapped_column(String(42), primary_key=True)
    amount: Mapped[int] = mapped_column(Amount)


class Supply(Base):
    """The one row of what was ever minted and burned."""

    __tablename__ = "supply"

    id: Mapped[int] = mapped_column(primary_key=True)
    minted: Mapped[int] = mapped_column(Amount)
    burned: Mapped[int] = mapped_column(Amount)


class LineStatus(StrEnum):
    """As ICreditBook.Status; a line of no seller is not there."""

    ACTIVE = "active"
    DEFAULTED = "defaulted"
    CLOSED = "closed"
    CHARGED_OFF = "charged_off"


class CreditLine(Base):
    """A seller's line as the credit book keeps it: as of `accrued_at`, and its terms.

    Interest is in bps-seconds (node.index.credit_line). Dues are as of the newest log of the line:
    `credit_line.advance` brings them to any later time, as the contract does.
    """

    __tablename__ = "credit_lines"

    seller: Mapped[str] = mapped_column(String(42), primary_key=True)
    status: Mapped[str] = mapped_column(String(16))
    principal: Mapped[int] = mapped_column(Amount)
    interest: Mapped[int] = mapped_column(Amount)
    accrued_at: Mapped[int] = mapped_column(BigInteger)
    apr_bps: Mapped[int]
    holdback_bps: Mapped[int]
    # terms
    offer_hash: Mapped[str] = mapped_column(String(66))
    limit: Mapped[int] = mapped_column(Amount)
    draw_until: Mapped[int] = mapped_column(BigInteger)
    draw_fee_bps: Mapped[int]
    agreed_holdback_bps: Mapped[int]
    # dues
    window_end: Mapped[int] = mapped_column(BigInteger)
    past_due_since: Mapped[int] = mapped_column(BigInteger)
    installment: Mapped[int] = mapped_column(Amount)
    installment_due: Mapped[int] = mapped_column(Amount)
    interest_due: Mapped[int] = mapped_column(Amount)
    past_due_interest: Mapped[int] = mapped_column(Amount)
    past_due_principal: Mapped[int] = mapped_column(Amount)
    # what is still to be recovered after a charge-off
    loss_to_pool: Mapped[int] = mapped_column(Amount)
    loss_to_reserve: Mapped[int] = mapped_column(Amount)
    # totals since the line was opened
    opened_at: Mapped[int] = mapped_column(BigInteger)
    drawn: Mapped[int] = mapped_column(Amount)
    fees: Mapped[int] = mapped_column(Amount)  # of draws, owed as interest
    unpaid_fees: Mapped[int] = mapped_column(Amount, server_default="0")  # part of the interest
    principal_repaid: Mapped[int] = mapped_column(Amount)
    interest_paid: Mapped[int] = mapped_column(Amount)
    repaid_by_sales: Mapped[int] = mapped_column(Amount)  # part of the two, recoveries included
    waived: Mapped[int] = mapped_column(Amount)
    written_off: Mapped[int] = mapped_column(Amount)
    recovered: Mapped[int] = mapped_column(Amount)


class CreditEntry(Base):
    """One log that changed what is owed on a seller's line, and what was owed after it.

    The book takes fees and interest as one; here what is paid of the two is the fees first, and
    what is waived the interest first. Amounts are units, changes are signed.
    """

    __tablename__ = "credit_entries"
    __table_args__ = (
        UniqueConstraint("block_number", "log_index"),
        Index("ix_credit_entries_seller", "seller", "id"),
    )

    id: Mapped[int] = mapped_column(Sequence64, primary_key=True, autoincrement=True)
    seller: Mapped[str] = mapped_column(String(42))
    block_number: Mapped[int] = mapped_column(BigInteger)
    block_timestamp: Mapped[int] = mapped_column(BigInteger)
    log_index: Mapped[int]
    tx_hash: Mapped[str] = mapped_column(String(66))
    # "opened", "drawn", "repaid", "waived", "defaulted", "charged_off" or "recovered"; "carried" is
    # where the record of a line begins that is older than the record.
    kind: Mapped[str] = mapped_column(String(16))
    order_hash: Mapped[str | None] = mapped_column(String(66))  # of the sale that repaid
    principal: Mapped[int] = mapped_column(Amount)
    fees: Mapped[int] = mapped_column(Amount)
    interest: Mapped[int] = mapped_column(Amount)  # paid, waived or written off; never accrued
    recovered: Mapped[int] = mapped_column(Amount)  # of a line that was charged off
    principal_after: Mapped[int] = mapped_column(Amount)
    fees_after: Mapped[int] = mapped_column(Amount)
    interest_after: Mapped[int] = mapped_column(Amount)  # bps-seconds, fees included
    rate_after: Mapped[int] = mapped_column(Amount)  # bps-seconds a second


class CreditTotals(Base):
    """The one row of all credit lines together.

    `accounted_interest` is in bps-seconds as of `domain_start`, and grows by `issuance_rate` a
    second.
    """

    __tablename__ = "credit_totals"

    id: Mapped[int] = mapped_column(primary_key=True)
    principal: Mapped[int] = mapped_column(Amount)
    issuance_rate: Mapped[int] = mapped_column(Amount)
    accounted_interest: Mapped[int] = mapped_column(Amount)
    domain_start: Mapped[int] = mapped_column(BigInteger)
    reserve: Mapped[int] = mapped_column(Amount)
    reserve_funded: Mapped[int] = mapped_column(Amount)
    reserve_withdrawn: Mapped[int] = mapped_column(Amount)
    line_cap: Mapped[int] = mapped_column(Amount)
    principal_cap: Mapped[int] = mapped_column(Amount)
    reserve_bps: Mapped[int]
    draws_paused: Mapped[bool]
    drawn: Mapped[int] = mapped_column(Amount)
    fees: Mapped[int] = mapped_column(Amount)
    principal_repaid: Mapped[int] = mapped_column(Amount)
    interest_paid: Mapped[int] = mapped_column(Amount)
    repaid_by_sales: Mapped[int] = mapped_column(Amount)
    waived: Mapped[int] = mapped_column(Amount)
    principal_written_off: Mapped[int] = mapped_column(Amount)
    interest_written_off: Mapped[int] = mapped_column(Amount)
    loss_of_reserve: Mapped[int] = mapped_column(Amount)
    loss_of_pool: Mapped[int] = mapped_column(Amount)
    recovered_to_pool: Mapped[int] = mapped_column(Amount)
    recovered_to_reserve: Mapped[int] = mapped_column(Amount)


class PoolTotals(Base):
    """The one row of the lender pool. Its cash is its balance in `members`."""

    __tablename__ = "pool_totals"

    id: Mapped[int] = mapped_column(primary_key=True)
    shares: Mapped[int] = mapped_column(Amount)
    deposited: Mapped[int] = mapped_column(Amount)
    withdrawn: Mapped[int] = mapped_column(Amount)


class Lender(Base):
    """An address's shares of the lender pool."""

    __tablename__ = "lenders"

    address: Mapped[str] = mapped_column(String(42), primary_key=True)
    shares: Mapped[int] = mapped_column(Amount)


class PaymentOutcome(StrEnum):
    """What a transfer was to the payment request it named."""

    PAID = "paid"
    UNDERPAID = "underpaid"
    PAID_AGAIN = "paid_again"
    PAID_LATE = "paid_late"
    PAID_AFTER_CANCEL = "paid_after_cancel"


class RequestPayment(Base):
    """One transfer of coin to the payee of a payment request that named the request."""

    __tablename__ = "request_payments"
    __table_args__ = (
        UniqueConstraint("block_number", "log_index"),
        Index("ix_request_payments_request", "request_id", "id"),
    )

    id: Mapped[int] = mapped_column(Sequence64, primary_key=True, autoincrement=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("payment_requests.id"))
    block_number: Mapped[int] = mapped_column(BigInteger)
    block_timestamp: Mapped[int] = mapped_column(BigInteger)
    log_index: Mapped[int]
    tx_hash: Mapped[str] = mapped_column(String(66))
    payer: Mapped[str] = mapped_column(String(42))
    amount: Mapped[int] = mapped_column(Amount)
    outcome: Mapped[str] = mapped_column(String(24))  # PaymentOutcome


class UndoEntry(Base):
    """What a row said before a block changed it; rolled back newest first.

    `before` holds the columns the indexer writes, and is None where the block inserted the row.
    Covers the tables that are changed in place, resources included; blocks, entries and
    logs of evidence are only ever added, so they are simply deleted.
    """

    __tablename__ = "undo_log"

    id: Mapped[int] = mapped_column(Sequence64, primary_key=True, autoincrement=True)
    block_number: Mapped[int] = mapped_column(BigInteger, index=True)
    table_name: Mapped[str] = mapped_column(String(32))
    key: Mapped[str] = mapped_column(String(66))
    before: Mapped[dict[str, Any] | None]


class Worker(Base):
    """A worker that runs, or has ended without saying so: then its heartbeat is old."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    started_at: Mapped[int] = mapped_column(BigInteger)  # wall clock, unix seconds
    heartbeat_at: Mapped[int] = mapped_column(BigInteger)  # wall clock, unix milliseconds
    last_error: Mapped[str | None] = mapped_column(Text)  # None: its last rounds went well


class WorkerStatus(Base):
    """The one row in which the leading worker says how it is, several times a second.

    Who wrote it last leads for as long as the heartbeat is young. The chain's clock now is
    `chain_time` plus the wall seconds since `chain_time_read_at`.
    """

    __tablename__ = "worker_status"

    id: Mapped[int] = mapped_column(primary_key=True)
    leader: Mapped[str | None] = mapped_column(String(64))  # None: it ended, and said so
    heartbeat_at: Mapped[int] = mapped_column(BigInteger)  # wall clock, unix milliseconds
    head_block: Mapped[int] = mapped_column(BigInteger)  # the chain's newest
    indexed_block: Mapped[int] = mapped_column(BigInteger)  # the newest in `blocks`
    chain_time: Mapped[int] = mapped_column(BigInteger)  # unix seconds: of the next block
    chain_time_read_at: Mapped[int] = mapped_column(BigInteger)  # wall clock, unix milliseconds
    last_error: Mapped[str | None] = mapped_column(Text)  # None: the last round went well
    conflicts: Mapped[int] = mapped_column(default=0)  # chain_txs people must look at


class LastReconciliation(Base):
    """The one row of what the last comparison of chain and database found."""

    __tablename__ = "last_reconciliation"

    id: Mapped[int] = mapped_column(primary_key=True)
    block_number: Mapped[int] = mapped_column(BigInteger)
    differences: Mapped[int]
    finished_at: Mapped[int] = mapped_column(BigInteger)  # wall clock, unix seconds


# ------------------------------------------------------------------- what is told to the outside


class Event(Base):
    """Something that happened to a merchant's resource, in order of `seq`."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_merchant_seq", "merchant_id", "seq"),)

    seq: Mapped[int] = mapped_column(Sequence64, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    type: Mapped[str] = mapped_column(String(40))  # "purchase.authorized", "topup.succeeded", …
    resource_type: Mapped[str] = mapped_column(String(24))
    resource_id: Mapped[str] = mapped_column(String(40), index=True)
    # The transaction and type that caused it: the same log indexed again tells nothing new.
    cause: Mapped[str | None] = mapped_column(String(160), unique=True)
    data: Mapped[dict[str, Any]]
    created_at: Mapped[int] = mapped_column(BigInteger)


class EndpointStatus(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"  # by its merchant, or because it answered 410
    DELETED = "deleted"


class WebhookEndpoint(Base):
    """Where a merchant's events are posted to. Secrets are sealed (node.keys), under its id."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    url: Mapped[str] = mapped_column(String(2000))
    description: Mapped[str | None] = mapped_column(String(200))
    event_types: Mapped[list[str] | None]  # None: all
    status: Mapped[str] = mapped_column(String(16))
    disabled_reason: Mapped[str | None] = mapped_column(String(200))
    secret: Mapped[str] = mapped_column(Text)
    old_secret: Mapped[str | None] = mapped_column(Text)  # signs too, until old_secret_until
    old_secret_until: Mapped[int | None] = mapped_column(BigInteger)
    from_seq: Mapped[int] = mapped_column(BigInteger)  # it gets the events after this one
    # A replay that is not queued to its end yet: of the events after … and up to.
    replay_after: Mapped[int | None] = mapped_column(BigInteger)
    replay_until: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class DeliveryStatus(StrEnum):
    WAITING = "waiting"  # behind an earlier one of the same resource
    PENDING = "pending"  # to be attempted at next_attempt_at
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # given up
    CANCELED = "canceled"  # the endpoint was deleted


class WebhookDelivery(Base):
    """One event on its way to one endpoint. Those of one resource go in order of `number`."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_due", "endpoint_id", "status", "next_attempt_at"),
        Index("ix_webhook_deliveries_order", "endpoint_id", "resource_id", "status", "number"),
        Index("ix_webhook_deliveries_endpoint", "endpoint_id", "number"),
    )

    number: Mapped[int] = mapped_column(Sequence64, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    merchant_id: Mapped[str] = mapped_column(ForeignKey("merchants.id"))
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id"))
    event_seq: Mapped[int] = mapped_column(Sequence64, ForeignKey("events.seq"))
    # What it is in order with: the event's resource, or the event itself where it stands alone.
    resource_id: Mapped[str] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[int | None] = mapped_column(BigInteger)  # unix milliseconds
    response_status: Mapped[int | None]  # of the last attempt
    error: Mapped[str | None] = mapped_column(String(200))
    # Each attempt: {"at": unix seconds, "milliseconds", "response_status", "error"}
    history: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    created_at: Mapped[int] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger, index=True)


class WebhookDeliverer(Base):
    """The one row of the worker that delivers, and of the last event it has handed out."""

    __tablename__ = "webhook_deliverer"

    id: Mapped[int] = mapped_column(primary_key=True)
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[int] = mapped_column(BigInteger)  # unix milliseconds
    seq: Mapped[int] = mapped_column(BigInteger)


# ------------------------------------------------------------------------------- lists of rows

# A list goes through an index from the newest row on, and so costs the same however long it is.
# What a list is filtered by comes before the id; without one, the id comes at once.
_LISTS: dict[type[Base], tuple[str, ...]] = {
    ApiKey: ("",),
    Account: ("",),
    TopUp: ("", "status", "ref"),
    Redemption: ("", "status", "ref"),
    Transfer: ("", "status"),
    Purchase: ("",),  # by status and by order_id: see there
    CreditOffer: ("", "status", "account_id"),
    Draw: ("account_id",),
    Repayment: ("account_id",),
    PoolDeposit: ("",),
    PoolWithdrawal: ("",),
    ReserveFunding: ("",),
    LineAction: ("account_id",),
    Score: ("", "account_id", "grade"),
    PaymentRequest: ("", "payee_account_id", "reference"),
    SalesFact: ("kind", "seller_account_id", "order_id"),
    Operation: ("", "status", "resource_id"),
    WebhookEndpoint: ("",),
}
for _model, _filters in _LISTS.items():
    for _filter in _filters:
        _rows = _model.__table__
        _columns = [_rows.c[name] for name in ("merchant_id", _filter, "id") if name]
        Index(f"ix_{_model.__tablename__}_list{'_' if _filter else ''}{_filter}", *_columns)
Index(
    "ix_webhook_deliveries_list_status",
    WebhookDelivery.endpoint_id,
    WebhookDelivery.status,
    WebhookDelivery.number,
)
Index("ix_webhook_deliveries_list_event", WebhookDelivery.endpoint_id, WebhookDelivery.event_seq)
