"""What is asked, and what is answered.

Written by scripts/generate_client.py from the OpenAPI document: change the bridge, not this file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SkipValidation

from node.client.values import Amount, Answer, Request, Time


class AcceptRequest(Request):
    """Empty for a managed seller; the seller's own signature for an external one.

    Attributes:
        signed: without it the refusal says what to sign
    """

    signed: SignedIntent | None = Field(default=None)


class Account(Answer):
    """Account.

    Attributes:
        custody: who holds the key
        error: of the last failed operation
    """

    id: str
    reference: str | None
    address: str
    custody: Annotated[Literal["managed", "external"], SkipValidation]
    kinds: list[str]
    member_until: Time
    status: Annotated[Literal["pending", "active", "frozen", "expired", "failed"], SkipValidation]
    error: str | None
    created_at: Time


class AccountRequest(Request):
    """Account request.

    Attributes:
        reference: what you call it; unique among yours
        address: of a member with its own key; without it the node manages one
        member_until: without it: as the network has it
    """

    kinds: list[Literal["buyer", "seller", "lender"]]
    reference: str | None = Field(default=None)
    address: str | None = Field(default=None)
    member_until: Time | None = Field(default=None)


class AccountWithBalance(Answer):
    """Account with balance.

    Attributes:
        custody: who holds the key
        error: of the last failed operation
    """

    id: str
    reference: str | None
    address: str
    custody: Annotated[Literal["managed", "external"], SkipValidation]
    kinds: list[str]
    member_until: Time
    status: Annotated[Literal["pending", "active", "frozen", "expired", "failed"], SkipValidation]
    error: str | None
    created_at: Time
    balance: Balance


class ApiKey(Answer):
    """Api key.

    Attributes:
        prefix: the first characters of the key, to tell keys apart
        secret: the key; only in the answer that created it
    """

    id: str
    name: str
    prefix: str
    scopes: list[
        Annotated[
            Literal[
                "read",
                "accounts",
                "money",
                "purchases",
                "arbitrate",
                "credit",
                "desk",
                "scores",
                "webhooks",
                "keys",
                "x402",
                "operate",
            ],
            SkipValidation,
        ]
    ]
    created_at: Time
    revoked_at: Time | None
    secret: str | None


class ApiKeyRequest(Request):
    """Api key request.

    Attributes:
        name: what the key is for
        scopes: without it: those of the key that asks
    """

    name: str
    scopes: (
        list[
            Literal[
                "read",
                "accounts",
                "money",
                "purchases",
                "arbitrate",
                "credit",
                "desk",
                "scores",
                "webhooks",
                "keys",
                "x402",
                "operate",
            ]
        ]
        | None
    ) = Field(default=None)


class AuthorizeRequest(Request):
    """Empty for a managed payer; the payer's own signature for an external one.

    Attributes:
        authorization: of an external payer; without it the refusal says what to sign
    """

    authorization: SignedAuthorization | None = Field(default=None)


class Balance(Answer):
    """Balance.

    Attributes:
        available: can be spent: the balance less what is on its way out
        held: in escrow for purchases of this account
        pending: on its way in
    """

    available: Amount
    held: Amount
    pending: Amount
    as_of_block: int


class CarriedOperation(Answer):
    """An operation that the transaction carries out.

    Attributes:
        succeeded: in this transaction; null: in no block
    """

    id: str
    merchant_id: str
    kind: str
    resource_type: str
    resource_id: str
    status: Annotated[
        Literal["queued", "submitted", "done", "failed", "canceled", "conflict"], SkipValidation
    ]
    succeeded: bool | None


class ChainTransaction(Answer):
    """Chain transaction.

    Attributes:
        status: `conflict`: somebody else used the nonce; `resolved`: and people looked at
            it
        tx_hash: of what is sent or, once it is mined, of what was
        block_number: the block that holds it, or held it before the chain went back
    """

    id: str
    sender: str
    nonce: int
    status: Annotated[
        Literal["signed", "mined", "conflict", "resolved", "replaced"], SkipValidation
    ]
    tx_hash: str
    block_number: int | None
    succeeded: bool | None
    operation_count: int
    created_at: Time


class ChainTransactionWithDetails(Answer):
    """Chain transaction with details.

    Attributes:
        status: `conflict`: somebody else used the nonce; `resolved`: and people looked at
            it
        tx_hash: of what is sent or, once it is mined, of what was
        block_number: the block that holds it, or held it before the chain went back
        operations: in the order of the batch
        attempts: oldest first
        requests: oldest first
    """

    id: str
    sender: str
    nonce: int
    status: Annotated[
        Literal["signed", "mined", "conflict", "resolved", "replaced"], SkipValidation
    ]
    tx_hash: str
    block_number: int | None
    succeeded: bool | None
    operation_count: int
    created_at: Time
    operations: list[CarriedOperation]
    attempts: list[SignedAttempt]
    requests: list[StaffRequest]


ChainTxStatus = Literal["signed", "mined", "conflict", "resolved", "replaced"]


class Coin(Answer):
    """What the coin calls itself."""

    name: str
    symbol: str
    decimals: int


class CoinInfo(Answer):
    """What a server puts into the `extra` of its requirements, and what it needs to price.

    Attributes:
        name: of the EIP-712 domain
        version: of the EIP-712 domain
    """

    name: str
    version: str
    asset: str
    symbol: str
    decimals: int


class Correction(Request):
    """What is different now; what is left out stays.

    Attributes:
        seller: account id
        withdrawn: true: it never was so, and counts no more
    """

    reason: str
    seller: str | None = Field(default=None)
    occurred_at: Time | None = Field(default=None)
    score: int | None = Field(default=None)
    withdrawn: bool | None = Field(default=None)


class CreditFigures(Answer):
    """All credit lines and the lender pool.

    Attributes:
        principal: of all lines
        interest: owed by all lines, rounded down
        reserve: first-loss reserve
        repaid_by_sales: part of what was repaid or recovered
        book_value: what lenders own in lines
        share_price: coin that 10^12 shares are worth
    """

    principal: str
    interest: str
    reserve: str
    drawn: str
    principal_repaid: str
    interest_paid: str
    repaid_by_sales: str
    waived: str
    written_off: str
    recovered: str
    book_value: str
    pool_cash: str
    shares: str
    share_price: str


class CreditLine(Answer):
    """Credit line.

    Attributes:
        available: what may be drawn, as far as the line is concerned
        holdback_bps: share of a sale now, with what delinquency adds
        interest: owed, rounded up
        payoff: pays the line off now
        past_due: part of the payoff (everything, once defaulted)
        due_in_window: part of the payoff, to be paid by window_end
        interest_bps_seconds: the interest as it is counted: principal x basis points x
            seconds, of which 315,360,000,000 are one atomic unit; exact as of `as_of`
        drawn: this and the following: since the line was opened
        fees: of draws; owed as interest
        repaid_by_sales: part of what was repaid or recovered
        offer_hash: of the terms in force
        suspended: while draws are: see `…/suspend`
        as_of: the chain's time of all this
        as_of_block: the newest block it was computed from
    """

    id: str
    account: str
    status: Annotated[
        Literal["active", "delinquent", "defaulted", "closed", "charged_off"], SkipValidation
    ]
    limit: Amount
    available: Amount
    apr_bps: int
    draw_fee_bps: int
    holdback_bps: int
    draw_until: Time
    principal: Amount
    interest: Amount
    payoff: Amount
    past_due: Amount
    past_due_since: Time | None
    due_in_window: Amount
    window_end: Time | None
    interest_bps_seconds: str
    drawn: Amount
    fees: Amount
    principal_repaid: Amount
    interest_paid: Amount
    repaid_by_sales: Amount
    waived: Amount
    written_off: Amount
    recovered: Amount
    offer_hash: str
    suspended: Suspension | None
    opened_at: Time
    as_of: Time
    as_of_block: int


class Cut(Answer):
    """Cut."""

    principal: Amount
    fees: Amount
    interest: Amount
    total: Amount


class Decision(Answer):
    """The arbiter's decision; `keccak256(canonical)` is `hash`.

    Attributes:
        to_seller: with the fee and what repays a credit line
        text: null where it did not come by the bridge
    """

    to_payer: Amount
    to_seller: Amount
    text: str | None
    reference: str | None
    salt: str | None
    canonical: str | None
    hash: str


class DeclineRequest(Request):
    """Decline request.

    Attributes:
        reason: kept here, in the event
    """

    reason: str | None = Field(default=None)


DeliveryStatus = Annotated[
    Literal["waiting", "pending", "succeeded", "failed", "canceled"], SkipValidation
]


class DeployedContract(Answer):
    """Where a contract is, what it was compiled to, and the block that holds its creation."""

    address: str
    artifact_hash: str
    block: int


class Deposit(Answer):
    """Deposit.

    Attributes:
        shares: known once deposited
    """

    id: str
    account: str
    amount: Amount
    shares: str | None
    reference: str
    status: Annotated[Literal["pending", "succeeded", "failed", "canceled"], SkipValidation]
    error: str | None
    created_at: Time


class DepositRequest(Request):
    """Deposit request.

    Attributes:
        account: id of the lender's account
        reference: of this deposit; counts once for the account
        authorization: of an external lender; without it the refusal says what to sign
    """

    account: str
    amount: Amount
    reference: str
    authorization: SignedAuthorization | None = Field(default=None)


class Dispute(Answer):
    """Dispute.

    Attributes:
        status: pending: on its way to the chain; failed: it was refused there; defaulted:
            not decided in time, all went to the payer; settled: a party gave in
        error: of the purchase's last failed operation
        disputed: what was held when it was opened
        held: what of it still is
        to_seller: with the fee and what repays a credit line
        evidence: the oldest first
        more_evidence: whether more came on chain by itself than is shown here
        opened_at: this and the following: by the chain's clock
        deadline: the arbiter decides before; from then on all can go back to the payer
    """

    purchase: str
    order_hash: str
    status: Annotated[
        Literal["pending", "failed", "open", "decided", "defaulted", "settled"], SkipValidation
    ]
    error: str | None
    disputed: Amount
    held: Amount
    to_payer: Amount
    to_seller: Amount
    decision: Decision | None
    evidence: list[Evidence]
    more_evidence: bool
    opened_at: Time | None
    deadline: Time | None
    closed_at: Time | None


class DisputeRequest(Request):
    """Dispute request.

    Attributes:
        reference: such as the case number, or the hash of a file
        salt: 32 random bytes, so that nobody can guess the text by its hash
        signed: of an external payer; without it the refusal says what to sign
    """

    text: str
    reference: str | None = Field(default=None)
    salt: str | None = Field(default=None)
    signed: SignedIntent | None = Field(default=None)


class Draw(Answer):
    """Draw.

    Attributes:
        fee: owed as interest; known once drawn
    """

    id: str
    credit_line: str
    account: str
    amount: Amount
    fee: Amount | None
    reference: str
    status: Annotated[Literal["pending", "succeeded", "failed", "canceled"], SkipValidation]
    error: str | None
    created_at: Time


class DrawRequest(Request):
    """Draw request.

    Attributes:
        reference: of this draw; counts once for the line
        signed: of an external seller; without it the refusal says what to sign
    """

    amount: Amount
    reference: str
    signed: SignedIntent | None = Field(default=None)


class Drift(Answer):
    """Drift.

    Attributes:
        subject: supply, escrow, credit, pool, an address, an order hash or a purchase id
        actual: what the chain says
        expected: what the database says
    """

    subject: str
    what: str
    actual: int | str | bool
    expected: int | str | bool


EndpointStatus = Annotated[Literal["enabled", "disabled", "deleted"], SkipValidation]


class Entry(Answer):
    """One change of the account's balance on chain.

    Attributes:
        kind: topup, redemption, transfer, authorize, release, fee, …
        counterparty: address on the other side
        ref: order hash, nonce, memo or mint reference
    """

    id: int
    kind: str
    amount: str
    balance_after: Amount
    counterparty: str
    ref: str | None
    tx_hash: str
    block_number: int
    block_time: Time


class Event(Answer):
    """Event.

    Attributes:
        seq: rises with every event; gaps belong to other merchants
    """

    id: str
    seq: int
    type: str
    resource_type: str
    resource_id: str
    data: dict[str, Any]
    created_at: Time


class Events(Answer):
    """A part of the events, oldest first.

    Attributes:
        next_after: `after` of the next part
    """

    data: list[Event]
    has_more: bool
    next_after: int


class Evidence(Answer):
    """A complaint or evidence; `keccak256(canonical)` is `hash`.

    Attributes:
        id: null where it did not come by the bridge
        party: address
        text: null, as all that is not on chain, where it did not
        canonical: what was hashed, as UTF-8
        submitted_at: by the chain's clock
    """

    id: str | None
    kind: Annotated[Literal["complaint", "evidence"], SkipValidation]
    by: Annotated[Literal["payer", "payee", "operator"], SkipValidation]
    party: str
    status: Annotated[Literal["pending", "succeeded", "failed"], SkipValidation]
    text: str | None
    reference: str | None
    salt: str | None
    canonical: str | None
    hash: str
    error: str | None
    tx_hash: str | None
    block_number: int | None
    submitted_at: Time | None


class EvidenceRequest(Request):
    """Evidence request.

    Attributes:
        reference: such as the case number, or the hash of a file
        salt: 32 random bytes, so that nobody can guess the text by its hash
        signed: of an external party; without it the refusal says what to sign
    """

    text: str
    by: Literal["payer", "payee", "operator"]
    reference: str | None = Field(default=None)
    salt: str | None = Field(default=None)
    signed: SignedIntent | None = Field(default=None)


class ExpelRequest(Request):
    """Expel request.

    Attributes:
        reason: kept here, in the event
    """

    reason: str


class FactsRecorded(Answer):
    """Facts recorded.

    Attributes:
        data: in the order of the request
    """

    created: int
    unchanged: int
    refused: int
    data: list[Recorded]


class FactsRequest(Request):
    """Facts request.

    Attributes:
        facts: each is recorded or refused by itself
    """

    facts: list[NewFact | dict[str, Any]]


class FreezeRequest(Request):
    """Freeze request.

    Attributes:
        reason: kept here; the chain gets its keccak-256 hash
    """

    reason: str


class Funding(Answer):
    """Funding."""

    id: str
    amount: Amount
    reference: str
    status: Annotated[Literal["pending", "succeeded", "failed", "canceled"], SkipValidation]
    error: str | None
    created_at: Time


class FundingRequest(Request):
    """Funding request.

    Attributes:
        reference: of the money set aside; counts once
    """

    amount: Amount
    reference: str


class HoldbackRequest(Request):
    """Holdback request.

    Attributes:
        holdback_bps: share of each sale in 1/10,000, no lower than what was agreed on
        signed: of an external seller; without it the refusal says what to sign
    """

    holdback_bps: int
    signed: SignedIntent | None = Field(default=None)


class HolidayRequest(Request):
    """Holiday request.

    Attributes:
        reason: kept here, not on chain
        days: by which the open window ends later
    """

    reason: str
    days: int


class Invoice(Answer):
    """All that a wallet needs to check, show and sign a purchase.

    Attributes:
        order_hash: the EIP-712 hash of the terms, and the nonce to sign
    """

    purchase_id: str
    order_id: str
    merchant: str
    status: str
    chain_id: int
    escrow: str
    coin: str
    amount: Amount
    order_hash: str
    terms: Terms


class Kind(Answer):
    """Kind."""

    x402Version: int
    scheme: str
    network: str
    extra: CoinInfo


class LimitRequest(Request):
    """Limit request.

    Attributes:
        reason: kept here, not on chain
        limit: lower than it is; raised by a new offer alone
    """

    reason: str
    limit: Amount


class LineAction(Answer):
    """Line action.

    Attributes:
        amount: atomic units of a limit and of what is waived (known once done, where it was
            left open), 1/10,000 of a holdback, days of a holiday
    """

    id: str
    credit_line: str
    account: str
    kind: Annotated[
        Literal[
            "suspend", "resume", "limit", "close", "holdback", "holiday", "waive", "charge_off"
        ],
        SkipValidation,
    ]
    amount: str | None
    reason: str | None
    status: Annotated[Literal["pending", "succeeded", "failed", "canceled"], SkipValidation]
    error: str | None
    created_at: Time


class LineEntry(Answer):
    """One log that changed what is owed.

    Attributes:
        kind: `carried`: the record begins with what was owed then
        interest: paid, waived or written off; what accrues has no entry
        order_hash: of the sale that repaid; null: by hand
        interest_after: without the fees, rounded up
    """

    id: int
    kind: Annotated[
        Literal[
            "opened",
            "drawn",
            "repaid",
            "waived",
            "defaulted",
            "charged_off",
            "recovered",
            "carried",
        ],
        SkipValidation,
    ]
    principal: str
    fees: str
    interest: str
    recovered: Amount
    order_hash: str | None
    principal_after: Amount
    fees_after: Amount
    interest_after: Amount
    tx_hash: str
    block_number: int
    block_time: Time


class Live(Answer):
    """Live."""

    status: str


class Manifest(Answer):
    """The deployment as wallet and bridge read it (`<data>/network.json`)."""

    version: Annotated[Literal[1], SkipValidation]
    network: str
    chain_id: int
    genesis_hash: str
    rpc_url: str
    bridge_url: str
    coin: Coin
    contracts: dict[str, DeployedContract]
    roles: dict[str, Role]
    accounts: dict[str, str]


class MembershipRequest(Request):
    """Membership request."""

    member_until: Time
    kinds: list[Literal["buyer", "seller", "lender"]] | None = Field(default=None)


MoveStatus = Literal["pending", "succeeded", "failed", "canceled"]


class NewFact(Request):
    """What a fact says. `kind`, `order_id` and `reference` together name it.

    Attributes:
        reference: what you call the review, cancellation or return
        seller: account id
        score: required for a review, and for nothing else
    """

    kind: Literal["review", "cancellation", "return"]
    order_id: str
    reference: str
    seller: str
    occurred_at: Time
    score: int | None = Field(default=None)


class NewPaymentRequest(Request):
    """New payment request.

    Attributes:
        payee: account id
        memo: public. On chain stand its UTF-8 bytes, or their keccak-256 where there are
            more than 32 (0x and 64 hex digits stand as they are). A payee has one request
            of a memo; without one, the request gets a memo of its own
        reference: what you call it; counts once
        expires_at: on the chain's clock; without it: in 7 days
    """

    payee: str
    amount: Amount
    memo: str | None = Field(default=None)
    reference: str | None = Field(default=None)
    expires_at: Time | None = Field(default=None)


class Offer(Answer):
    """Offer.

    Attributes:
        expires: can be accepted before, on the chain's clock
        signature: the underwriter's
        credit_line: id of the line it opens, or gives new terms
        error: of the last failed operation
        accepted_at: by the chain's clock
        declined_at: by its seller
    """

    id: str
    account: str
    status: Annotated[Literal["offered", "accepted", "declined", "revoked"], SkipValidation]
    limit: Amount
    apr_bps: int
    draw_fee_bps: int
    holdback_bps: int
    term_days: int
    expires: Time
    offer_hash: str
    underwriter: str
    signature: str
    disclosure_hash: str
    model_hash: str
    credit_line: str
    error: str | None
    created_at: Time
    accepted_at: Time | None
    declined_at: Time | None


class OfferRequest(Request):
    """Offer request.

    Attributes:
        account: id of the seller's account
        limit: most principal
        apr_bps: annual rate in 1/10,000
        draw_fee_bps: fee on each draw in 1/10,000
        holdback_bps: share of each sale that repays the line, in 1/10,000
        term_days: days from acceptance to draw in
        accept_within: seconds from now, on the chain's clock
        disclosure_hash: of the disclosure the seller was shown
        model_hash: of the scoring model
    """

    account: str
    limit: Amount
    apr_bps: int
    holdback_bps: int
    term_days: int
    draw_fee_bps: int = Field(default=0)
    accept_within: int = Field(default=2592000)
    disclosure_hash: str = Field(
        default="0x0000000000000000000000000000000000000000000000000000000000000000"
    )
    model_hash: str = Field(
        default="0x0000000000000000000000000000000000000000000000000000000000000000"
    )


OfferStatus = Literal["offered", "accepted", "revoked", "declined"]


class Operation(Answer):
    """Operation.

    Attributes:
        kind: what is to be done, such as `purchase.release`
        ref: what makes the action unique on chain
        attempt: 1, and one more each time a failed one is asked for again
    """

    id: str
    kind: str
    resource_type: str
    resource_id: str
    status: Annotated[
        Literal["queued", "submitted", "done", "failed", "canceled", "conflict"], SkipValidation
    ]
    signer: str
    ref: str
    attempt: int
    error_code: str | None
    error: str | None
    tx_hash: str | None
    block_number: int | None
    created_at: Time
    updated_at: Time


OperationStatus = Literal["queued", "submitted", "done", "failed", "canceled", "conflict"]


class OperationWithAttempts(Answer):
    """Operation with attempts.

    Attributes:
        kind: what is to be done, such as `purchase.release`
        ref: what makes the action unique on chain
        attempt: 1, and one more each time a failed one is asked for again
    """

    id: str
    kind: str
    resource_type: str
    resource_id: str
    status: Annotated[
        Literal["queued", "submitted", "done", "failed", "canceled", "conflict"], SkipValidation
    ]
    signer: str
    ref: str
    attempt: int
    error_code: str | None
    error: str | None
    tx_hash: str | None
    block_number: int | None
    created_at: Time
    updated_at: Time
    attempts: list[OperationAttempt]


class Owed(Answer):
    """Owed.

    Attributes:
        interest: rounded up
    """

    principal: Amount
    fees: Amount
    interest: Amount
    total: Amount


class OwnersCall(Answer):
    """The transaction that the owner of an external account sends itself.

    Attributes:
        data: the call, encoded
    """

    to: str
    amount: Amount
    ref: str
    data: str
    function: Annotated[Literal["redeem(uint256,bytes32)"], SkipValidation] = Field(
        default="redeem(uint256,bytes32)"
    )


class Paid(Answer):
    """Paid.

    Attributes:
        by_sales: part of the total
        by_hand: the rest
    """

    principal: Amount
    fees: Amount
    interest: Amount
    total: Amount
    by_sales: Amount
    by_hand: Amount


class PaidBy(Answer):
    """The transfer that paid the request.

    Attributes:
        amount: at least what was requested
    """

    payer: str
    amount: Amount
    tx_hash: str
    block_number: int
    block_time: Time


class PayRequest(Request):
    """Pay request.

    Attributes:
        payer: account id, or a member's address
        authorization: EIP-3009 TransferWithAuthorization of a payer with a key of its own;
            without it the refusal has the `typed_data` to sign
    """

    payer: str
    authorization: SignedAuthorization | None = Field(default=None)


class PaymentBody(Request):
    """A payment as its payer signed it, and what the server wants to be paid.

    Attributes:
        paymentPayload: PaymentPayload of x402, version 2
        paymentRequirements: PaymentRequirements of x402
    """

    paymentPayload: dict[str, Any]
    paymentRequirements: dict[str, Any]
    x402Version: int = Field(default=2)


class PaymentRequest(Answer):
    """Payment request.

    Attributes:
        memo_word: the memo on chain, which names the request
        nonce: of an EIP-3009 authorization that pays it
        error: of the last failed operation, while it is not paid
        uri: for wallets (EIP-681), while it is open
        url: for browsers and wallets; public
        received: all coin that came with its memo or nonce
        surplus: of it what was not requested, or did not pay the request
        expires_at: on the chain's clock
    """

    id: str
    payee: str
    payee_address: str
    amount: Amount
    memo: str | None
    memo_word: str
    nonce: str
    reference: str | None
    status: Annotated[Literal["open", "paid", "canceled", "expired"], SkipValidation]
    error: str | None
    uri: str | None
    url: str
    received: Amount
    surplus: Amount
    paid: PaidBy | None
    expires_at: Time
    created_at: Time
    canceled_at: Time | None


class PaymentRequestWithPayments(Answer):
    """Payment request with payments.

    Attributes:
        memo_word: the memo on chain, which names the request
        nonce: of an EIP-3009 authorization that pays it
        error: of the last failed operation, while it is not paid
        uri: for wallets (EIP-681), while it is open
        url: for browsers and wallets; public
        received: all coin that came with its memo or nonce
        surplus: of it what was not requested, or did not pay the request
        expires_at: on the chain's clock
        payments: the newest 20 transfers that named it
    """

    id: str
    payee: str
    payee_address: str
    amount: Amount
    memo: str | None
    memo_word: str
    nonce: str
    reference: str | None
    status: Annotated[Literal["open", "paid", "canceled", "expired"], SkipValidation]
    error: str | None
    uri: str | None
    url: str
    received: Amount
    surplus: Amount
    paid: PaidBy | None
    expires_at: Time
    created_at: Time
    canceled_at: Time | None
    payments: list[RequestPayment]


class Plan(Answer):
    """The minimum schedule of a line, should nothing be drawn and nothing be paid before it is
    due. Sales repay by themselves, and what they repay is due no more.

    Attributes:
        payoff: pays the line off now
        past_due: part of the payoff: to be paid at once
        due_now: pays what is past due and what the open window asks
        holdback_bps: share of a sale that repays, now
        total: of all windows; of a defaulted line: all that is owed
        as_of: the chain's time of all this
    """

    credit_line: str
    account: str
    status: str
    payoff: Amount
    past_due: Amount
    past_due_since: Time | None
    due_now: Amount
    holdback_bps: int
    windows: list[PlannedPayment]
    total: Amount
    as_of: Time
    as_of_block: int


class PlannedPayment(Answer):
    """The least payment for one window, if it is made in its last second and those before
    were.

    Attributes:
        due: to be paid before, on the chain's clock
        amount: the least that leaves nothing of the window to pay
        interest: part of it, fees of draws included
        principal: the other part
        net_sales: sales after the marketplace's fee that repay the amount by the holdback
    """

    opens: Time
    due: Time
    amount: Amount
    interest: Amount
    principal: Amount
    principal_after: Amount
    holdback_bps: int
    net_sales: Amount


class Pool(Answer):
    """The lender pool and the credit lines it funds, as of the chain's time now.

    Attributes:
        total_assets: what lenders own: cash and book value
        cash: coin at hand; the most that can be withdrawn or drawn
        book_value: principal, and interest earned, rounded down
        share_price: what 10^12 shares, one coin at first, are worth
        principal: of all lines
        interest: owed by all lines, rounded down
        drawn: this and the following: since the beginning
        loss: of the pool, not recovered yet
        reserve: first-loss reserve, not part of the pool
        reserve_needed: for the present principal
    """

    total_assets: Amount
    cash: Amount
    book_value: Amount
    shares: str
    share_price: Amount
    deposited: Amount
    withdrawn: Amount
    principal: Amount
    interest: Amount
    drawn: Amount
    principal_repaid: Amount
    interest_paid: Amount
    repaid_by_sales: Amount
    waived: Amount
    written_off: Amount
    loss: Amount
    reserve: Amount
    reserve_needed: Amount
    reserve_bps: int
    principal_cap: Amount
    line_cap: Amount
    draws_paused: bool
    as_of: Time


class Position(Answer):
    """Position.

    Attributes:
        value: in coin, now, rounded down
        withdrawable: part of it for which the pool has coin at hand
    """

    account: str
    shares: str
    value: Amount
    withdrawable: Amount


class PublicPaymentRequest(Answer):
    """All that a wallet needs to check, show and pay a payment request.

    Attributes:
        payee: address
        memo_word: the memo of a transferWithMemo that pays it
        nonce: of an EIP-3009 authorization that pays it
        uri: EIP-681, while it is open
        expires_at: on the chain's clock
    """

    id: str
    merchant: str
    status: Annotated[Literal["open", "paid", "canceled", "expired"], SkipValidation]
    chain_id: int
    coin: str
    symbol: str
    decimals: int
    payee: str
    amount: Amount
    memo: str | None
    memo_word: str
    nonce: str
    uri: str | None
    url: str
    expires_at: Time
    paid_tx: str | None


class Purchase(Answer):
    """Purchase.

    Attributes:
        error: of the last failed operation
        pay_url: where the buyer's wallet pays, while it can
        fee: part of what was released
        repayment: another part: to the seller's credit line
        dispute_window: seconds after delivery
        dispute_deadline: from then on it can be released; in a dispute: the end of its
            arbitration
        authorized_at: this and the following: by the chain's clock
    """

    id: str
    order_id: str
    payer: str
    payee: str
    amount: Amount
    fee_bps: int
    status: Annotated[
        Literal[
            "created",
            "authorized",
            "shipped",
            "delivered",
            "released",
            "refunded",
            "voided",
            "reclaimed",
            "disputed",
            "resolved",
        ],
        SkipValidation,
    ]
    error: str | None
    tracking: str | None
    order_hash: str
    pay_url: str | None
    held: Amount
    released: Amount
    fee: Amount
    repayment: Amount
    refunded: Amount
    voided: Amount
    reclaimed: Amount
    dispute_window: int
    authorize_before: Time
    reclaim_after: Time
    dispute_deadline: Time | None
    created_at: Time
    authorized_at: Time | None
    shipped_at: Time | None
    delivered_at: Time | None
    closed_at: Time | None


class PurchasePayment(Request):
    """EIP-3009 ReceiveWithAuthorization from payer to escrow; its nonce is the order hash.

    Attributes:
        signature: 65 bytes r, s, v (27 or 28) as hex
        valid_after: unix seconds, as signed
        valid_before: unix seconds, as signed
    """

    signature: str
    valid_before: int
    valid_after: int = Field(default=0)


class PurchaseRequest(Request):
    """Purchase request.

    Attributes:
        order_id: your order; there is one purchase of it
        payer: account id of the buyer
        payee: account id of the seller
        fee_bps: in 1/10,000; without it: the merchant's
        dispute_window: seconds after delivery; without it: the merchant's
        authorize_within: seconds from now, on the chain's clock
        reclaim_after: seconds from now, from when the buyer may take back what was not
            delivered
        authorize: hold the coin at once; without it: if the node manages the payer's key
    """

    order_id: str
    payer: str
    payee: str
    amount: Amount
    fee_bps: int | None = Field(default=None)
    dispute_window: int | None = Field(default=None)
    authorize_within: int | None = Field(default=None)
    reclaim_after: int | None = Field(default=None)
    authorize: bool | None = Field(default=None)


PurchaseStatus = Literal[
    "created",
    "authorized",
    "shipped",
    "delivered",
    "released",
    "refunded",
    "voided",
    "reclaimed",
    "disputed",
    "resolved",
]


class Ready(Answer):
    """`problems` is empty where the node is ready.

    Attributes:
        heartbeat_age_seconds: of the worker that leads
        drift: differences the last comparison of database and chain found; null before one
        reconciled_block: the block it was of
        last_error: of the worker that leads
        workers: those heard of lately
    """

    status: str
    problems: list[str]
    heartbeat_age_seconds: float | None
    head_block: int | None
    indexed_block: int | None
    chain_block: int | None
    conflicts: int | None
    drift: int | None
    reconciled_block: int | None
    last_error: str | None
    workers: list[WorkerHealth]


class Reason(Answer):
    """Reason."""

    code: str
    text: str


class ReasonIn(Request):
    """Reason in.

    Attributes:
        text: the reason, in words a seller understands
    """

    code: str
    text: str


class ReasonRequest(Request):
    """Reason request.

    Attributes:
        reason: kept here, not on chain
    """

    reason: str


class ReclaimRequest(Request):
    """Empty for a managed payer; the payer's own signature for an external one.

    Attributes:
        signed: without it the refusal says what to sign
    """

    signed: SignedIntent | None = Field(default=None)


class Reconciliation(Answer):
    """Reconciliation.

    Attributes:
        ok: no drift
        checked: how much of what was compared
        unattributed: coin of the escrow that belongs to no order
    """

    ok: bool
    block_number: int
    block_hash: str
    checked: dict[str, int]
    total_supply: str
    minted: str
    burned: str
    held: str
    claimable: str
    unattributed: str
    credit: CreditFigures
    drift: list[Drift]


class Recorded(Answer):
    """What became of one of the facts posted.

    Attributes:
        index: its place in the request, from 0
        code: of a refused one, as in problems
    """

    index: int
    status: Annotated[Literal["created", "unchanged", "refused"], SkipValidation]
    id: str | None
    code: str | None
    param: str | None
    detail: str | None


class Redemption(Answer):
    """Redemption.

    Attributes:
        ref: the reference on chain
        call: what the owner of an external account has to send; null for a managed one
    """

    id: str
    account: str
    amount: Amount
    reference: str
    ref: str
    status: Annotated[Literal["pending", "succeeded", "failed", "canceled"], SkipValidation]
    error: str | None
    call: OwnersCall | None
    created_at: Time


class RedemptionRequest(Request):
    """Redemption request.

    Attributes:
        account: id of the account whose coin is burned
        reference: of the payout; counts once
    """

    account: str
    amount: Amount
    reference: str


class RefundRequest(Request):
    """Refund request.

    Attributes:
        amount: without it: all that can be refunded
        reference: of this refund; counts once for the purchase
        authorization: of an external seller; without it the refusal says what to sign
    """

    reference: str
    amount: Amount | None = Field(default=None)
    authorization: SignedAuthorization | None = Field(default=None)


class RelayedPayment(Request):
    """EIP-3009 TransferWithAuthorization from payer to payee, as `typed_data` has it.

    Attributes:
        signature: 65 bytes r, s, v (27 or 28) as hex
        valid_after: unix seconds, as signed
        valid_before: unix seconds, as signed
    """

    signature: str
    valid_before: int
    payer: str
    valid_after: int = Field(default=0)


class ReleaseRequest(Request):
    """Release request.

    Attributes:
        amount: without it: all that is held
        by: the payer may release at any time, also in a dispute; the operator once the
            dispute window is over
        signed: of an external payer; without it the refusal says what to sign
    """

    amount: Amount | None = Field(default=None)
    by: Literal["operator", "payer"] = Field(default="operator")
    signed: SignedIntent | None = Field(default=None)


class Repayment(Answer):
    """Repayment.

    Attributes:
        account: the seller's
        amount: taken from the payer; what is not owed comes back
        paid: what the line took; known once repaid
    """

    id: str
    credit_line: str
    account: str
    payer: str
    amount: Amount
    paid: Amount | None
    interest_paid: Amount | None
    principal_paid: Amount | None
    reference: str
    status: Annotated[Literal["pending", "succeeded", "failed", "canceled"], SkipValidation]
    error: str | None
    created_at: Time


class RepaymentRequest(Request):
    """Repayment request.

    Attributes:
        amount: what is not owed comes back; without it: all that is owed
        payer: account id; without it the seller's own
        reference: of this repayment; counts once for the line
        authorization: of an external payer; without it the refusal says what to sign
    """

    reference: str
    amount: Amount | None = Field(default=None)
    payer: str | None = Field(default=None)
    authorization: SignedAuthorization | None = Field(default=None)


class ReplaceRequest(Request):
    """Replace request.

    Attributes:
        gas_limit: of the new transaction, with the same call
    """

    gas_limit: int


class Replay(Answer):
    """Replay.

    Attributes:
        after: what is to be queued yet begins after this `seq`
    """

    after: int
    until: int


class ReplayRequest(Request):
    """Replay request.

    Attributes:
        after: the last `seq` not to be sent again
    """

    after: int


class RequestPayment(Answer):
    """A transfer that named the request; its coin is in the payee's balance, whatever it was."""

    id: int
    outcome: Annotated[
        Literal["paid", "underpaid", "paid_again", "paid_late", "paid_after_cancel"], SkipValidation
    ]
    payer: str
    amount: Amount
    tx_hash: str
    block_number: int
    block_time: Time


class ResolveRequest(Request):
    """Resolve request.

    Attributes:
        reference: such as the case number, or the hash of a file
        salt: 32 random bytes, so that nobody can guess the text by its hash
        to_payer: of what is held; the rest is released to the seller
        fee_bps: of what is released, in 1/10,000, inside the signed bounds; without it: the
            purchase's
    """

    text: str
    to_payer: Amount
    reference: str | None = Field(default=None)
    salt: str | None = Field(default=None)
    fee_bps: int | None = Field(default=None)


class Revision(Answer):
    """What a fact said until it was corrected.

    Attributes:
        reason: of the correction
    """

    revision: int
    seller: str
    occurred_at: Time
    score: int | None
    withdrawn: bool
    recorded_at: Time
    replaced_at: Time
    reason: str


class Role(Answer):
    """A role as it was when the manifest was written; the chain says how it is (`plaza
    roles`). `delays` gives the seconds that a member's operations wait, `functions` which
    functions of which contract need the role.
    """

    id: int
    members: list[str]
    delays: dict[str, int] = Field(default_factory=dict)
    functions: dict[str, list[str]] = Field(default_factory=dict)


class RotateRequest(Request):
    """Rotate request.

    Attributes:
        overlap: seconds for which the old secret signs too; without it: a day
    """

    overlap: int = Field(default=86400)


class SalesFact(Answer):
    """Sales fact.

    Attributes:
        revision: 1, and one more with each correction
    """

    id: str
    kind: Annotated[Literal["review", "cancellation", "return"], SkipValidation]
    order_id: str
    reference: str
    seller: str
    occurred_at: Time
    score: int | None
    withdrawn: bool
    revision: int
    created_at: Time
    updated_at: Time


class SalesFactWithHistory(Answer):
    """Sales fact with history.

    Attributes:
        revision: 1, and one more with each correction
        history: newest first
    """

    id: str
    kind: Annotated[Literal["review", "cancellation", "return"], SkipValidation]
    order_id: str
    reference: str
    seller: str
    occurred_at: Time
    score: int | None
    withdrawn: bool
    revision: int
    created_at: Time
    updated_at: Time
    history: list[Revision]


class Score(Answer):
    """Score.

    Attributes:
        reasons: as posted
        valid: whether it is the newest of the account, and not outlived
    """

    id: str
    account: str
    value: str
    grade: Annotated[Literal["A", "B", "C", "D", "E"], SkipValidation]
    model_version: str
    model_hash: str
    features_hash: str
    reasons: list[Reason]
    cutoff: Time
    valid_until: Time
    valid: bool
    created_at: Time


class ScoreRequest(Request):
    """Score request.

    Attributes:
        account: id of the seller's account
        value: a decimal number, as digits
        model_hash: of the model's artifact; goes into offers
        features_hash: of what the model looked at
        reasons: the heaviest first; none for the best
        cutoff: facts before this time were looked at, and no later ones
    """

    account: str
    value: str
    grade: Literal["A", "B", "C", "D", "E"]
    model_version: str
    model_hash: str
    features_hash: str
    reasons: list[ReasonIn]
    cutoff: Time
    valid_until: Time


class Settled(Answer):
    """The outcome of a payment: the same whenever it is asked for again.

    Attributes:
        errorReason: the standard's word; `settlement_pending`: not known yet, ask again
        errorMessage: the same for people
        transaction: its hash; empty where there is none
        amount: atomic units that moved
    """

    success: bool
    transaction: str
    network: str
    errorReason: str | None = Field(default=None)
    errorMessage: str | None = Field(default=None)
    payer: str | None = Field(default=None)
    amount: str | None = Field(default=None)


class ShipRequest(Request):
    """Ship request."""

    tracking: str | None = Field(default=None)


class SignedAttempt(Answer):
    """Bytes signed for the nonce. Whichever is in a block counts."""

    tx_hash: str
    kind: Annotated[Literal["call", "replacement", "cancel"], SkipValidation]
    created_at: Time


class SignedAuthorization(Request):
    """An EIP-3009 authorization a member signed, as far as the request leaves it open.

    Attributes:
        signature: 65 bytes r, s, v (27 or 28) as hex
        valid_after: unix seconds, as signed
        valid_before: unix seconds, as signed
    """

    signature: str
    valid_before: int
    valid_after: int = Field(default=0)


class SignedIntent(Request):
    """An EIP-712 intent a member signed; what it says follows from the request.

    Attributes:
        signature: 65 bytes r, s, v (27 or 28) as hex
        deadline: unix seconds, as signed
    """

    signature: str
    deadline: int


class StaffRequest(Answer):
    """What was asked for. `done` says that the outbox did its part, not what came of it.

    Attributes:
        operation_id: that is to be tried again
        answer: why it was refused
        requested_by: the API key
    """

    id: str
    action: Annotated[Literal["rebroadcast", "cancel", "replace", "retry"], SkipValidation]
    operation_id: str | None
    gas_limit: int | None
    status: Annotated[Literal["pending", "done", "refused"], SkipValidation]
    answer: str | None
    requested_by: str
    created_at: Time
    finished_at: Time | None


class Statement(Answer):
    """One calendar month of a line, in UTC.

    Attributes:
        period: year and month
        ends: not part of it
        final: whether its end is past, so that it will not change
        recovered: of what was written off; no part of the sum
        as_of: of `closing`: the end, or now
    """

    credit_line: str
    account: str
    period: str
    begins: Time
    ends: Time
    final: bool
    opening: Owed
    drawn: Amount
    fees_charged: Amount
    interest_accrued: Amount
    repaid: Paid
    waived: Cut
    written_off: Cut
    recovered: Amount
    closing: Owed
    entries: int
    as_of: Time
    as_of_block: int


class StatusTotal(Answer):
    """Status total."""

    count: int
    amount: Amount


class Supported(Answer):
    """What can be settled here.

    Attributes:
        signers: who sends the transactions
    """

    kinds: list[Kind]
    extensions: list[str]
    signers: dict[str, list[str]]


class Suspension(Answer):
    """Suspension."""

    since: Time
    reason: str


class Terms(Answer):
    """What the buyer's signature binds the money to; named as in the contract."""

    payer: str
    payee: str
    operator: str
    feeReceiver: str
    maxAmount: str
    minFeeBps: int
    maxFeeBps: int
    authorizeBefore: int
    reclaimAfter: int
    disputeWindow: int
    orderRef: str


class TopUp(Answer):
    """Top up.

    Attributes:
        ref: the reference on chain
    """

    id: str
    account: str
    amount: Amount
    reference: str
    ref: str
    status: Annotated[Literal["pending", "succeeded", "failed", "canceled"], SkipValidation]
    error: str | None
    created_at: Time


class TopUpRequest(Request):
    """Top up request.

    Attributes:
        account: id of the account that gets the coin
        reference: of the money received; counts once
    """

    account: str
    amount: Amount
    reference: str


class Totals(Answer):
    """All purchases of the merchant."""

    by_status: dict[str, StatusTotal]
    held: Amount
    released: Amount
    fee: Amount
    repayment: Amount
    refunded: Amount
    voided: Amount
    reclaimed: Amount


class Transfer(Answer):
    """Transfer.

    Attributes:
        from_: account id; null for a payer by x402 who is no account of the merchant
        resource: what an x402 payment was for
        nonce: of the EIP-3009 authorization; else the transaction's hash
    """

    id: str
    from_: str | None = Field(validation_alias="from", serialization_alias="from")
    from_address: str
    to_address: str
    amount: Amount
    memo: str | None
    resource: str | None
    nonce: str
    status: Annotated[Literal["pending", "succeeded", "failed", "canceled"], SkipValidation]
    error: str | None
    created_at: Time


class TransferAuthorization(Request):
    """EIP-3009 TransferWithAuthorization, signed by the owner of an external account.

    Attributes:
        signature: 65 bytes r, s, v (27 or 28) as hex
        valid_after: unix seconds, as signed
        valid_before: unix seconds, as signed
    """

    signature: str
    valid_before: int
    nonce: str
    valid_after: int = Field(default=0)


class TransferRequest(Request):
    """Transfer request.

    Attributes:
        from_: account id
        to: account id, or a member's address
        memo: kept here, not on chain
        authorization: of an external account; without it the refusal says what to sign
        raw_transaction: instead of an authorization: the owner's own EIP-1559 transaction,
            signed, that calls the coin's `transfer` with this receiver and amount
    """

    from_: str = Field(validation_alias="from", serialization_alias="from")
    to: str
    amount: Amount
    memo: str | None = Field(default=None)
    authorization: TransferAuthorization | None = Field(default=None)
    raw_transaction: str | None = Field(default=None)


class TypedData(Answer):
    """For eth_signTypedData_v4, as it is."""

    types: dict[str, list[TypedField]]
    primaryType: Annotated[Literal["TransferWithAuthorization"], SkipValidation]
    domain: dict[str, Any]
    message: dict[str, str]


class TypedField(Answer):
    """Typed field."""

    name: str
    type: str


class Verified(Answer):
    """Whether the coin would move. Nothing is moved or kept.

    Attributes:
        invalidReason: the standard's word
        invalidMessage: the same for people
    """

    isValid: bool
    invalidReason: str | None = Field(default=None)
    invalidMessage: str | None = Field(default=None)
    payer: str | None = Field(default=None)


class VoidRequest(Request):
    """Void request.

    Attributes:
        amount: without it: all that is held
        signed: of an external seller; without it the refusal says what to sign
    """

    amount: Amount | None = Field(default=None)
    by: Literal["operator", "payee"] = Field(default="operator")
    signed: SignedIntent | None = Field(default=None)


class WaiveRequest(Request):
    """Waive request.

    Attributes:
        reason: kept here, not on chain
        amount: without it: all interest owed now
    """

    reason: str
    amount: Amount | None = Field(default=None)


class WebhookDelivery(Answer):
    """Webhook delivery.

    Attributes:
        event: also the `webhook-id`
        status: waiting: behind an earlier one of the resource; failed: given up
        response_status: of the last attempt
        error: why the last attempt had no answer
    """

    id: str
    webhook_endpoint: str
    event: str
    event_seq: int
    event_type: str
    resource_id: str
    status: DeliveryStatus
    attempts: int
    response_status: int | None
    error: str | None
    next_attempt_at: Time | None
    history: list[WebhookAttempt]
    created_at: Time
    finished_at: Time | None


class WebhookEndpoint(Answer):
    """Webhook endpoint.

    Attributes:
        event_types: null: all
        secret: only in the answer that made it
        old_secret_until: until then the old secret signs too
        replay: a replay that is not queued to its end yet
    """

    id: str
    url: str
    event_types: list[str] | None
    description: str | None
    status: EndpointStatus
    disabled_reason: str | None
    secret: str | None
    old_secret_until: Time | None
    replay: Replay | None
    created_at: Time
    updated_at: Time


class WebhookEndpointRequest(Request):
    """Webhook endpoint request.

    Attributes:
        url: https, at a public address; others only where the operator allows them
        event_types: without it: all
    """

    url: str
    event_types: list[str] | None = Field(default=None)
    description: str | None = Field(default=None)


class WebhookEndpointUpdate(Request):
    """What is left out stays as it is.

    Attributes:
        event_types: null: all
    """

    url: str | None = Field(default=None)
    event_types: list[str] | None = Field(default=None)
    description: str | None = Field(default=None)


class Withdrawal(Answer):
    """Withdrawal.

    Attributes:
        amount: known once withdrawn
    """

    id: str
    account: str
    shares: str
    amount: Amount | None
    reference: str
    status: Annotated[Literal["pending", "succeeded", "failed", "canceled"], SkipValidation]
    error: str | None
    created_at: Time


class WithdrawalRequest(Request):
    """Withdrawal request.

    Attributes:
        account: id of the lender's account
        shares: without it: all the account has
        reference: of this withdrawal; counts once for the account
        signed: of an external lender; without it the refusal says what to sign
    """

    account: str
    reference: str
    shares: Amount | None = Field(default=None)
    signed: SignedIntent | None = Field(default=None)


class WorkerHealth(Answer):
    """One worker: the one that leads indexes; the others help, and stand by."""

    name: str
    leads: bool
    started_at: int
    heartbeat_age_seconds: float
    last_error: str | None


class OperationAttempt(Answer):
    """A signed transaction, of this operation or of a batch it is in. The same bytes may be
    sent many times.

    Attributes:
        kind: the last two are for the same nonce, where the platform's staff asked for it
        status: of the nonce: of several attempts at one, one is mined
    """

    tx_hash: str
    kind: Annotated[Literal["call", "replacement", "cancel"], SkipValidation]
    sender: str
    nonce: int
    status: Annotated[
        Literal["signed", "mined", "conflict", "resolved", "replaced"], SkipValidation
    ]
    block_number: int | None
    created_at: Time


class WebhookAttempt(Answer):
    """Webhook attempt.

    Attributes:
        response_status: null: there was no answer
    """

    at: Time
    milliseconds: int
    response_status: int | None
    error: str | None
