"""The bridge's operations, by resource.

Written by scripts/generate_client.py from the OpenAPI document: change the bridge, not this file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Literal, Protocol, TypeVar, cast

from node.client.calls import Call, new_key, segment
from node.client.models import (
    AcceptRequest,
    Account,
    AccountRequest,
    AccountWithBalance,
    ApiKey,
    ApiKeyRequest,
    AuthorizeRequest,
    Balance,
    ChainTransaction,
    ChainTransactionWithDetails,
    ChainTxStatus,
    Correction,
    CreditLine,
    DeclineRequest,
    DeliveryStatus,
    Deposit,
    DepositRequest,
    Dispute,
    DisputeRequest,
    Draw,
    DrawRequest,
    Entry,
    Event,
    Events,
    EvidenceRequest,
    ExpelRequest,
    FactsRecorded,
    FactsRequest,
    FreezeRequest,
    Funding,
    FundingRequest,
    HoldbackRequest,
    HolidayRequest,
    Invoice,
    LimitRequest,
    LineAction,
    LineEntry,
    Live,
    Manifest,
    MembershipRequest,
    MoveStatus,
    NewPaymentRequest,
    Offer,
    OfferRequest,
    OfferStatus,
    Operation,
    OperationStatus,
    OperationWithAttempts,
    PaymentBody,
    PaymentRequest,
    PaymentRequestWithPayments,
    PayRequest,
    Plan,
    Pool,
    Position,
    PublicPaymentRequest,
    Purchase,
    PurchasePayment,
    PurchaseRequest,
    PurchaseStatus,
    Ready,
    ReasonRequest,
    ReclaimRequest,
    Reconciliation,
    Redemption,
    RedemptionRequest,
    RefundRequest,
    RelayedPayment,
    ReleaseRequest,
    Repayment,
    RepaymentRequest,
    ReplaceRequest,
    ReplayRequest,
    RequestPayment,
    ResolveRequest,
    RotateRequest,
    SalesFact,
    SalesFactWithHistory,
    Score,
    ScoreRequest,
    Settled,
    ShipRequest,
    Statement,
    Supported,
    TopUp,
    TopUpRequest,
    Totals,
    Transfer,
    TransferRequest,
    TypedData,
    Verified,
    VoidRequest,
    WaiveRequest,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEndpointRequest,
    WebhookEndpointUpdate,
    Withdrawal,
    WithdrawalRequest,
)
from node.client.values import Answer, Page, Time

MOST = 100  # of a page
Shape = TypeVar("Shape")
Item = TypeVar("Item", bound=Answer)


class Sender(Protocol):
    def send(self, call: Call[Shape]) -> Shape: ...


class AsyncSender(Protocol):
    async def send(self, call: Call[Shape]) -> Shape: ...


def pages(sender: Sender, call: Call[Page[Item]]) -> Iterator[Item]:
    while True:
        page = sender.send(call)
        yield from page.data
        if not page.has_more:
            return
        call = call.after(page.next_cursor)


async def async_pages(sender: AsyncSender, call: Call[Page[Item]]) -> AsyncIterator[Item]:
    while True:
        page = await sender.send(call)
        for item in page.data:
            yield item
        if not page.has_more:
            return
        call = call.after(page.next_cursor)


class PurchasesApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(
        self, body: PurchaseRequest, *, key: str | None = None, wait: int | None = None
    ) -> Purchase:
        """Open a purchase; 202 when the coin is being held, 201 when the buyer has to pay …"""
        return self._sender.send(
            Call("POST", "/v1/purchases", Purchase, body=body, key=key or new_key(), wait=wait)
        )

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: PurchaseStatus | None = None,
        order_id: str | None = None,
    ) -> Page[Purchase]:
        """Purchases: list."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/purchases",
                Page[Purchase],
                query={"limit": limit, "cursor": cursor, "status": status, "order_id": order_id},
            )
        )

    def all(
        self, *, status: PurchaseStatus | None = None, order_id: str | None = None
    ) -> Iterator[Purchase]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                "/v1/purchases",
                Page[Purchase],
                query={"status": status, "order_id": order_id, "limit": MOST},
            ),
        )

    def totals(self) -> Totals:
        """Purchases and coin by state."""
        return self._sender.send(Call("GET", "/v1/purchases/totals", Totals))

    def get(self, purchase_id: str) -> Purchase:
        """Purchases: get."""
        return self._sender.send(Call("GET", f"/v1/purchases/{segment(purchase_id)}", Purchase))

    def authorize(
        self,
        purchase_id: str,
        body: AuthorizeRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Purchase:
        """Hold the buyer's coin: again after a failure, or by an external buyer's signature."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/authorize",
                Purchase,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def ship(
        self, purchase_id: str, body: ShipRequest | None = None, *, key: str | None = None
    ) -> Purchase:
        """Note that the goods are on their way."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/ship",
                Purchase,
                body=body,
                key=key or new_key(),
            )
        )

    def deliver(
        self, purchase_id: str, *, key: str | None = None, wait: int | None = None
    ) -> Purchase:
        """Confirm the delivery, which opens the dispute window."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/deliver",
                Purchase,
                key=key or new_key(),
                wait=wait,
            )
        )

    def release(
        self,
        purchase_id: str,
        body: ReleaseRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Purchase:
        """Pay the seller: once the dispute window is over, or whenever the payer wants to."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/release",
                Purchase,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def void(
        self,
        purchase_id: str,
        body: VoidRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Purchase:
        """Give held coin back to the buyer, also in a dispute."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/void",
                Purchase,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def reclaim(
        self,
        purchase_id: str,
        body: ReclaimRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Purchase:
        """Take back what was not delivered in time, for the buyer."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/reclaim",
                Purchase,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def refund(
        self,
        purchase_id: str,
        body: RefundRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Purchase:
        """Pay the buyer back out of the seller's account, after a release."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/refund",
                Purchase,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )


class EventsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def list(self, *, after: int | None = None, limit: int | None = None) -> Events:
        """What happened after a `seq`, oldest first."""
        return self._sender.send(
            Call("GET", "/v1/events", Events, query={"after": after, "limit": limit})
        )

    def get(self, event_id: str) -> Event:
        """Events: get."""
        return self._sender.send(Call("GET", f"/v1/events/{segment(event_id)}", Event))


class AccountsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(
        self, body: AccountRequest, *, key: str | None = None, wait: int | None = None
    ) -> Account:
        """Admit a member to the network: with a key the node manages, or with its own address."""
        return self._sender.send(
            Call("POST", "/v1/accounts", Account, body=body, key=key or new_key(), wait=wait)
        )

    def list(
        self, *, limit: int | None = None, cursor: str | None = None, reference: str | None = None
    ) -> Page[Account]:
        """Accounts: list."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/accounts",
                Page[Account],
                query={"limit": limit, "cursor": cursor, "reference": reference},
            )
        )

    def all(self, *, reference: str | None = None) -> Iterator[Account]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET", "/v1/accounts", Page[Account], query={"reference": reference, "limit": MOST}
            ),
        )

    def get(self, account_id: str) -> AccountWithBalance:
        """Accounts: get."""
        return self._sender.send(
            Call("GET", f"/v1/accounts/{segment(account_id)}", AccountWithBalance)
        )

    def get_balance(self, account_id: str) -> Balance:
        """Accounts: get balance."""
        return self._sender.send(
            Call("GET", f"/v1/accounts/{segment(account_id)}/balance", Balance)
        )

    def entries(
        self, account_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Entry]:
        """The account's ledger: every change of its balance on chain, newest first."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/accounts/{segment(account_id)}/entries",
                Page[Entry],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_entries(self, account_id: str) -> Iterator[Entry]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                f"/v1/accounts/{segment(account_id)}/entries",
                Page[Entry],
                query={"limit": MOST},
            ),
        )

    def membership(
        self,
        account_id: str,
        body: MembershipRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Account:
        """Renew a membership, admit again who was expelled, or try a failed admission again."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/accounts/{segment(account_id)}/membership",
                Account,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def expel(
        self,
        account_id: str,
        body: ExpelRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Account:
        """End the membership now; `membership` admits again."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/accounts/{segment(account_id)}/expel",
                Account,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def freeze(
        self,
        account_id: str,
        body: FreezeRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Account:
        """Stop the account from sending and receiving."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/accounts/{segment(account_id)}/freeze",
                Account,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def unfreeze(
        self, account_id: str, *, key: str | None = None, wait: int | None = None
    ) -> Account:
        """Accounts: unfreeze."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/accounts/{segment(account_id)}/unfreeze",
                Account,
                key=key or new_key(),
                wait=wait,
            )
        )


class TopupsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(
        self, body: TopUpRequest, *, key: str | None = None, wait: int | None = None
    ) -> TopUp:
        """Mint coin against money received."""
        return self._sender.send(
            Call("POST", "/v1/topups", TopUp, body=body, key=key or new_key(), wait=wait)
        )

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        reference: str | None = None,
        status: MoveStatus | None = None,
    ) -> Page[TopUp]:
        """Topups: list."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/topups",
                Page[TopUp],
                query={"limit": limit, "cursor": cursor, "reference": reference, "status": status},
            )
        )

    def all(
        self, *, reference: str | None = None, status: MoveStatus | None = None
    ) -> Iterator[TopUp]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                "/v1/topups",
                Page[TopUp],
                query={"reference": reference, "status": status, "limit": MOST},
            ),
        )

    def get(self, topup_id: str) -> TopUp:
        """Topups: get."""
        return self._sender.send(Call("GET", f"/v1/topups/{segment(topup_id)}", TopUp))

    def cancel(self, topup_id: str, *, key: str | None = None) -> TopUp:
        """Take a top-up back, which is possible until its transaction is signed."""
        return self._sender.send(
            Call("POST", f"/v1/topups/{segment(topup_id)}/cancel", TopUp, key=key or new_key())
        )


class RedemptionsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(
        self, body: RedemptionRequest, *, key: str | None = None, wait: int | None = None
    ) -> Redemption:
        """Burn coin for a payout."""
        return self._sender.send(
            Call("POST", "/v1/redemptions", Redemption, body=body, key=key or new_key(), wait=wait)
        )

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        reference: str | None = None,
        status: MoveStatus | None = None,
    ) -> Page[Redemption]:
        """Redemptions: list."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/redemptions",
                Page[Redemption],
                query={"limit": limit, "cursor": cursor, "reference": reference, "status": status},
            )
        )

    def all(
        self, *, reference: str | None = None, status: MoveStatus | None = None
    ) -> Iterator[Redemption]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                "/v1/redemptions",
                Page[Redemption],
                query={"reference": reference, "status": status, "limit": MOST},
            ),
        )

    def get(self, redemption_id: str) -> Redemption:
        """Redemptions: get."""
        return self._sender.send(
            Call("GET", f"/v1/redemptions/{segment(redemption_id)}", Redemption)
        )

    def cancel(self, redemption_id: str, *, key: str | None = None) -> Redemption:
        """Take a redemption back, which is possible until its transaction is signed."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/redemptions/{segment(redemption_id)}/cancel",
                Redemption,
                key=key or new_key(),
            )
        )


class TransfersApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(
        self, body: TransferRequest, *, key: str | None = None, wait: int | None = None
    ) -> Transfer:
        """Send coin: signed by the managed key, or with an external owner's authorization or …"""
        return self._sender.send(
            Call("POST", "/v1/transfers", Transfer, body=body, key=key or new_key(), wait=wait)
        )

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: MoveStatus | None = None,
    ) -> Page[Transfer]:
        """Transfers: list."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/transfers",
                Page[Transfer],
                query={"limit": limit, "cursor": cursor, "status": status},
            )
        )

    def all(self, *, status: MoveStatus | None = None) -> Iterator[Transfer]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call("GET", "/v1/transfers", Page[Transfer], query={"status": status, "limit": MOST}),
        )

    def get(self, transfer_id: str) -> Transfer:
        """Transfers: get."""
        return self._sender.send(Call("GET", f"/v1/transfers/{segment(transfer_id)}", Transfer))


class PaymentRequestsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(
        self, body: NewPaymentRequest, *, key: str | None = None
    ) -> PaymentRequestWithPayments:
        """Ask for a payment."""
        return self._sender.send(
            Call(
                "POST",
                "/v1/payment_requests",
                PaymentRequestWithPayments,
                body=body,
                key=key or new_key(),
            )
        )

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: Literal["open", "paid", "canceled", "expired"] | None = None,
        payee: str | None = None,
        reference: str | None = None,
    ) -> Page[PaymentRequest]:
        """Payment requests: list."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/payment_requests",
                Page[PaymentRequest],
                query={
                    "limit": limit,
                    "cursor": cursor,
                    "status": status,
                    "payee": payee,
                    "reference": reference,
                },
            )
        )

    def all(
        self,
        *,
        status: Literal["open", "paid", "canceled", "expired"] | None = None,
        payee: str | None = None,
        reference: str | None = None,
    ) -> Iterator[PaymentRequest]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                "/v1/payment_requests",
                Page[PaymentRequest],
                query={"status": status, "payee": payee, "reference": reference, "limit": MOST},
            ),
        )

    def get(self, request_id: str) -> PaymentRequestWithPayments:
        """A payment request, and the newest transfers that named it."""
        return self._sender.send(
            Call("GET", f"/v1/payment_requests/{segment(request_id)}", PaymentRequestWithPayments)
        )

    def payments(
        self, request_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[RequestPayment]:
        """Every transfer that named the request, newest first."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/payment_requests/{segment(request_id)}/payments",
                Page[RequestPayment],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_payments(self, request_id: str) -> Iterator[RequestPayment]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                f"/v1/payment_requests/{segment(request_id)}/payments",
                Page[RequestPayment],
                query={"limit": MOST},
            ),
        )

    def pay(
        self, request_id: str, body: PayRequest, *, key: str | None = None, wait: int | None = None
    ) -> PaymentRequestWithPayments:
        """Pay from an account whose key the node manages, or with the owner's authorization."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/payment_requests/{segment(request_id)}/pay",
                PaymentRequestWithPayments,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def cancel(self, request_id: str, *, key: str | None = None) -> PaymentRequestWithPayments:
        """Ask for it no longer."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/payment_requests/{segment(request_id)}/cancel",
                PaymentRequestWithPayments,
                key=key or new_key(),
            )
        )

    def qr_svg(
        self,
        request_id: str,
        *,
        form: Literal["uri", "url"] | None = None,
        scale: int | None = None,
    ) -> bytes:
        """A QR code of `uri` or `url`."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/payment_requests/{segment(request_id)}/qr.svg",
                bytes,
                query={"form": form, "scale": scale},
            )
        )

    def qr_png(
        self,
        request_id: str,
        *,
        form: Literal["uri", "url"] | None = None,
        scale: int | None = None,
    ) -> bytes:
        """A QR code of `uri` or `url`."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/payment_requests/{segment(request_id)}/qr.png",
                bytes,
                query={"form": form, "scale": scale},
            )
        )


class DisputesApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def open(
        self,
        purchase_id: str,
        body: DisputeRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Dispute:
        """Dispute what is held of a delivered purchase, for its payer, while the window is …"""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/disputes",
                Dispute,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def get(self, purchase_id: str) -> Dispute:
        """The dispute of a purchase: what was said, until when it can be decided, how it …"""
        return self._sender.send(
            Call("GET", f"/v1/purchases/{segment(purchase_id)}/disputes", Dispute)
        )

    def evidence(
        self,
        purchase_id: str,
        body: EvidenceRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Dispute:
        """Add evidence of payer, seller or operator to an open dispute."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/disputes/evidence",
                Dispute,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def resolve(
        self,
        purchase_id: str,
        body: ResolveRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Dispute:
        """Decide a dispute, signed by the platform's arbiter."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/disputes/resolve",
                Dispute,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def expire(
        self, purchase_id: str, *, key: str | None = None, wait: int | None = None
    ) -> Dispute:
        """Give all back to the payer where no decision came in time."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/disputes/expire",
                Dispute,
                key=key or new_key(),
                wait=wait,
            )
        )


class SalesFactsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def record(self, body: FactsRequest) -> FactsRecorded:
        """Say what became of orders, up to 1,000 at once."""
        return self._sender.send(Call("POST", "/v1/sales_facts", FactsRecorded, body=body))

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        seller: str | None = None,
        kind: Literal["review", "cancellation", "return"] | None = None,
        order_id: str | None = None,
        occurred_from: Time | None = None,
        occurred_before: Time | None = None,
    ) -> Page[SalesFact]:
        """The facts as they now stand, newest posted first."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/sales_facts",
                Page[SalesFact],
                query={
                    "limit": limit,
                    "cursor": cursor,
                    "seller": seller,
                    "kind": kind,
                    "order_id": order_id,
                    "occurred_from": occurred_from,
                    "occurred_before": occurred_before,
                },
            )
        )

    def all(
        self,
        *,
        seller: str | None = None,
        kind: Literal["review", "cancellation", "return"] | None = None,
        order_id: str | None = None,
        occurred_from: Time | None = None,
        occurred_before: Time | None = None,
    ) -> Iterator[SalesFact]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                "/v1/sales_facts",
                Page[SalesFact],
                query={
                    "seller": seller,
                    "kind": kind,
                    "order_id": order_id,
                    "occurred_from": occurred_from,
                    "occurred_before": occurred_before,
                    "limit": MOST,
                },
            ),
        )

    def get(self, fact_id: str) -> SalesFactWithHistory:
        """A fact, and what it said before its corrections."""
        return self._sender.send(
            Call("GET", f"/v1/sales_facts/{segment(fact_id)}", SalesFactWithHistory)
        )

    def correct(
        self, fact_id: str, body: Correction, *, key: str | None = None
    ) -> SalesFactWithHistory:
        """Say it otherwise, or take it back."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/sales_facts/{segment(fact_id)}/corrections",
                SalesFactWithHistory,
                body=body,
                key=key or new_key(),
            )
        )


class CreditOffersApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(self, body: OfferRequest, *, key: str | None = None) -> Offer:
        """Offer a seller a credit line, signed by the underwriter."""
        return self._sender.send(
            Call("POST", "/v1/credit_lines/offers", Offer, body=body, key=key or new_key())
        )

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        account: str | None = None,
        status: OfferStatus | None = None,
    ) -> Page[Offer]:
        """Credit offers: list."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/credit_lines/offers",
                Page[Offer],
                query={"limit": limit, "cursor": cursor, "account": account, "status": status},
            )
        )

    def all(
        self, *, account: str | None = None, status: OfferStatus | None = None
    ) -> Iterator[Offer]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                "/v1/credit_lines/offers",
                Page[Offer],
                query={"account": account, "status": status, "limit": MOST},
            ),
        )

    def get(self, offer_id: str) -> Offer:
        """Credit offers: get."""
        return self._sender.send(Call("GET", f"/v1/credit_lines/offers/{segment(offer_id)}", Offer))

    def accept(
        self,
        offer_id: str,
        body: AcceptRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Offer:
        """Accept an offer for its seller, which opens the credit line or gives it new terms."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/offers/{segment(offer_id)}/accept",
                Offer,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def decline(
        self,
        offer_id: str,
        body: DeclineRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Offer:
        """Decline an offer for its seller, for good."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/offers/{segment(offer_id)}/decline",
                Offer,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def revoke(self, offer_id: str, *, key: str | None = None, wait: int | None = None) -> Offer:
        """Take an offer back that nobody has accepted yet."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/offers/{segment(offer_id)}/revoke",
                Offer,
                key=key or new_key(),
                wait=wait,
            )
        )


class CreditLinesApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Page[CreditLine]:
        """Lines of your sellers, as of now; newest account first."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/credit_lines",
                Page[CreditLine],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all(self) -> Iterator[CreditLine]:
        """The same, through all pages."""
        return pages(
            self._sender, Call("GET", "/v1/credit_lines", Page[CreditLine], query={"limit": MOST})
        )

    def get(self, line_id: str) -> CreditLine:
        """A line's statement, as of now: what is owed, what is due when, what may be drawn."""
        return self._sender.send(Call("GET", f"/v1/credit_lines/{segment(line_id)}", CreditLine))

    def draw(
        self, line_id: str, body: DrawRequest, *, key: str | None = None, wait: int | None = None
    ) -> Draw:
        """Draw coin out of the lender pool, to the seller's account."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/draws",
                Draw,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def draws(
        self, line_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Draw]:
        """Credit lines: draws."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/draws",
                Page[Draw],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_draws(self, line_id: str) -> Iterator[Draw]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/draws",
                Page[Draw],
                query={"limit": MOST},
            ),
        )

    def repay(
        self,
        line_id: str,
        body: RepaymentRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Repayment:
        """Pay on a line by hand: past-due amounts first, then interest, then principal."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/repayments",
                Repayment,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def repayments(
        self, line_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Repayment]:
        """Repayments by hand; what sales repaid is in `repaid_by_sales` and on the purchases."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/repayments",
                Page[Repayment],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_repayments(self, line_id: str) -> Iterator[Repayment]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/repayments",
                Page[Repayment],
                query={"limit": MOST},
            ),
        )


class LineActionsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def suspend(self, line_id: str, body: ReasonRequest, *, key: str | None = None) -> LineAction:
        """Draw nothing on the line until it is resumed."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/suspend",
                LineAction,
                body=body,
                key=key or new_key(),
            )
        )

    def resume(self, line_id: str, body: ReasonRequest, *, key: str | None = None) -> LineAction:
        """Let a suspended line be drawn on again."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/resume",
                LineAction,
                body=body,
                key=key or new_key(),
            )
        )

    def limit(
        self, line_id: str, body: LimitRequest, *, key: str | None = None, wait: int | None = None
    ) -> LineAction:
        """Lower the limit on chain, for good: only a new offer raises it."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/limit",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def holiday(
        self, line_id: str, body: HolidayRequest, *, key: str | None = None, wait: int | None = None
    ) -> LineAction:
        """Let the open window end later."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/holiday",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def waive(
        self, line_id: str, body: WaiveRequest, *, key: str | None = None, wait: int | None = None
    ) -> LineAction:
        """Take interest off the line, at the cost of the pool."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/waive",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def write_off(
        self, line_id: str, body: ReasonRequest, *, key: str | None = None, wait: int | None = None
    ) -> LineAction:
        """Write a defaulted line off."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/charge_off",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def close(
        self, line_id: str, body: ReasonRequest, *, key: str | None = None, wait: int | None = None
    ) -> LineAction:
        """Close a line on which nothing is owed."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/close",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def holdback(
        self,
        line_id: str,
        body: HoldbackRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> LineAction:
        """Repay by more of each sale than was agreed on, or by that again: the seller's …"""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/holdback",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def actions(
        self, line_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[LineAction]:
        """What was decided about the line, by whom it concerns, and why."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/actions",
                Page[LineAction],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_actions(self, line_id: str) -> Iterator[LineAction]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/actions",
                Page[LineAction],
                query={"limit": MOST},
            ),
        )


class LineRecordsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def plan(self, line_id: str) -> Plan:
        """What is to be repaid by when, and the sales that would do it, as of now."""
        return self._sender.send(Call("GET", f"/v1/credit_lines/{segment(line_id)}/plan", Plan))

    def statements(
        self, line_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Statement]:
        """What was owed, drawn, charged and repaid month by month, newest first."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/statements",
                Page[Statement],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_statements(self, line_id: str) -> Iterator[Statement]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/statements",
                Page[Statement],
                query={"limit": MOST},
            ),
        )

    def statements_csv(self, line_id: str) -> str:
        """All statements as a table, oldest first."""
        return self._sender.send(
            Call("GET", f"/v1/credit_lines/{segment(line_id)}/statements.csv", str)
        )

    def entries(
        self, line_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[LineEntry]:
        """The line's ledger: every log that changed what is owed, newest first."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/entries",
                Page[LineEntry],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_entries(self, line_id: str) -> Iterator[LineEntry]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/entries",
                Page[LineEntry],
                query={"limit": MOST},
            ),
        )


class ScoresApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def post(self, body: ScoreRequest, *, key: str | None = None) -> Score:
        """Say what a model thinks of a seller."""
        return self._sender.send(Call("POST", "/v1/scores", Score, body=body, key=key or new_key()))

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        account: str | None = None,
        grade: Literal["A", "B", "C", "D", "E"] | None = None,
    ) -> Page[Score]:
        """All that was posted, newest first; of one account with `account`."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/scores",
                Page[Score],
                query={"limit": limit, "cursor": cursor, "account": account, "grade": grade},
            )
        )

    def all(
        self, *, account: str | None = None, grade: Literal["A", "B", "C", "D", "E"] | None = None
    ) -> Iterator[Score]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                "/v1/scores",
                Page[Score],
                query={"account": account, "grade": grade, "limit": MOST},
            ),
        )

    def get(self, score_id: str) -> Score:
        """Scores: get."""
        return self._sender.send(Call("GET", f"/v1/scores/{segment(score_id)}", Score))

    def latest(self, account_id: str) -> Score:
        """The newest score of an account."""
        return self._sender.send(Call("GET", f"/v1/accounts/{segment(account_id)}/score", Score))


class PoolApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def get(self) -> Pool:
        """The pool, its reserve and all credit lines in sum, as of now."""
        return self._sender.send(Call("GET", "/v1/pool", Pool))

    def positions(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Position]:
        """What your accounts have in the pool."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/pool/positions",
                Page[Position],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_positions(self) -> Iterator[Position]:
        """The same, through all pages."""
        return pages(
            self._sender, Call("GET", "/v1/pool/positions", Page[Position], query={"limit": MOST})
        )

    def deposit(
        self, body: DepositRequest, *, key: str | None = None, wait: int | None = None
    ) -> Deposit:
        """Put coin into the pool, for shares at their present price."""
        return self._sender.send(
            Call("POST", "/v1/pool/deposits", Deposit, body=body, key=key or new_key(), wait=wait)
        )

    def deposits(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Deposit]:
        """Pool: deposits."""
        return self._sender.send(
            Call(
                "GET", "/v1/pool/deposits", Page[Deposit], query={"limit": limit, "cursor": cursor}
            )
        )

    def all_deposits(self) -> Iterator[Deposit]:
        """The same, through all pages."""
        return pages(
            self._sender, Call("GET", "/v1/pool/deposits", Page[Deposit], query={"limit": MOST})
        )

    def withdraw(
        self, body: WithdrawalRequest, *, key: str | None = None, wait: int | None = None
    ) -> Withdrawal:
        """Give shares back for coin, at their present price."""
        return self._sender.send(
            Call(
                "POST",
                "/v1/pool/withdrawals",
                Withdrawal,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def withdrawals(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Withdrawal]:
        """Pool: withdrawals."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/pool/withdrawals",
                Page[Withdrawal],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_withdrawals(self) -> Iterator[Withdrawal]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call("GET", "/v1/pool/withdrawals", Page[Withdrawal], query={"limit": MOST}),
        )

    def fund(
        self, body: FundingRequest, *, key: str | None = None, wait: int | None = None
    ) -> Funding:
        """Set the platform's own money aside for first losses: it is minted, and paid in."""
        return self._sender.send(
            Call("POST", "/v1/pool/reserve", Funding, body=body, key=key or new_key(), wait=wait)
        )

    def fundings(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Funding]:
        """What was set aside for first losses."""
        return self._sender.send(
            Call("GET", "/v1/pool/reserve", Page[Funding], query={"limit": limit, "cursor": cursor})
        )

    def all_fundings(self) -> Iterator[Funding]:
        """The same, through all pages."""
        return pages(
            self._sender, Call("GET", "/v1/pool/reserve", Page[Funding], query={"limit": MOST})
        )


class OperationsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: OperationStatus | None = None,
        resource_id: str | None = None,
    ) -> Page[Operation]:
        """What is to be done, is under way, or was done on chain; newest first."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/operations",
                Page[Operation],
                query={
                    "limit": limit,
                    "cursor": cursor,
                    "status": status,
                    "resource_id": resource_id,
                },
            )
        )

    def all(
        self, *, status: OperationStatus | None = None, resource_id: str | None = None
    ) -> Iterator[Operation]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                "/v1/operations",
                Page[Operation],
                query={"status": status, "resource_id": resource_id, "limit": MOST},
            ),
        )

    def get(self, operation_id: str) -> OperationWithAttempts:
        """One operation, and the transactions signed for it."""
        return self._sender.send(
            Call("GET", f"/v1/operations/{segment(operation_id)}", OperationWithAttempts)
        )


class WebhooksApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(self, body: WebhookEndpointRequest, *, key: str | None = None) -> WebhookEndpoint:
        """Have events posted to a URL, from now on."""
        return self._sender.send(
            Call("POST", "/v1/webhook_endpoints", WebhookEndpoint, body=body, key=key or new_key())
        )

    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Page[WebhookEndpoint]:
        """Webhooks: list."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/webhook_endpoints",
                Page[WebhookEndpoint],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all(self) -> Iterator[WebhookEndpoint]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call("GET", "/v1/webhook_endpoints", Page[WebhookEndpoint], query={"limit": MOST}),
        )

    def get(self, endpoint_id: str) -> WebhookEndpoint:
        """Webhooks: get."""
        return self._sender.send(
            Call("GET", f"/v1/webhook_endpoints/{segment(endpoint_id)}", WebhookEndpoint)
        )

    def update(
        self, endpoint_id: str, body: WebhookEndpointUpdate, *, key: str | None = None
    ) -> WebhookEndpoint:
        """Change URL, event types or description; what is left out stays as it is."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}",
                WebhookEndpoint,
                body=body,
                key=key or new_key(),
            )
        )

    def enable(self, endpoint_id: str, *, key: str | None = None) -> WebhookEndpoint:
        """Go on with what is open, and with what happens from now on."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/enable",
                WebhookEndpoint,
                key=key or new_key(),
            )
        )

    def disable(self, endpoint_id: str, *, key: str | None = None) -> WebhookEndpoint:
        """Post nothing, and queue nothing new; what is open stays so."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/disable",
                WebhookEndpoint,
                key=key or new_key(),
            )
        )

    def delete(self, endpoint_id: str, *, key: str | None = None) -> WebhookEndpoint:
        """End an endpoint for good."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/delete",
                WebhookEndpoint,
                key=key or new_key(),
            )
        )

    def rotate(
        self, endpoint_id: str, body: RotateRequest | None = None, *, key: str | None = None
    ) -> WebhookEndpoint:
        """Make a new secret, shown this once."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/rotate_secret",
                WebhookEndpoint,
                body=body,
                key=key or new_key(),
            )
        )

    def test(self, endpoint_id: str, *, key: str | None = None, wait: int | None = None) -> Event:
        """Send an event `webhook_endpoint.test` to this endpoint alone; the answer is the …"""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/test",
                Event,
                key=key or new_key(),
                wait=wait,
            )
        )

    def replay(
        self,
        endpoint_id: str,
        body: ReplayRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> WebhookEndpoint:
        """Send all events after a `seq` once more, under their old `webhook-id`s."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/replay",
                WebhookEndpoint,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def deliveries(
        self,
        endpoint_id: str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: DeliveryStatus | None = None,
        event: str | None = None,
    ) -> Page[WebhookDelivery]:
        """What was posted and what will be, newest first; finished ones are kept for a time."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/deliveries",
                Page[WebhookDelivery],
                query={"limit": limit, "cursor": cursor, "status": status, "event": event},
            )
        )

    def all_deliveries(
        self, endpoint_id: str, *, status: DeliveryStatus | None = None, event: str | None = None
    ) -> Iterator[WebhookDelivery]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/deliveries",
                Page[WebhookDelivery],
                query={"status": status, "event": event, "limit": MOST},
            ),
        )

    def get_delivery(self, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
        """Webhooks: get delivery."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/deliveries/{segment(delivery_id)}",
                WebhookDelivery,
            )
        )

    def redeliver(
        self, endpoint_id: str, delivery_id: str, *, key: str | None = None, wait: int | None = None
    ) -> WebhookDelivery:
        """Send it once more, under its old `webhook-id`: at once, or behind what is open for …"""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/deliveries/{segment(delivery_id)}/redeliver",
                WebhookDelivery,
                key=key or new_key(),
                wait=wait,
            )
        )


class ApiKeysApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(self, body: ApiKeyRequest, *, key: str | None = None) -> ApiKey:
        """Make a key."""
        return self._sender.send(
            Call("POST", "/v1/api_keys", ApiKey, body=body, key=key or new_key())
        )

    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Page[ApiKey]:
        """Api keys: list."""
        return self._sender.send(
            Call("GET", "/v1/api_keys", Page[ApiKey], query={"limit": limit, "cursor": cursor})
        )

    def all(self) -> Iterator[ApiKey]:
        """The same, through all pages."""
        return pages(self._sender, Call("GET", "/v1/api_keys", Page[ApiKey], query={"limit": MOST}))

    def get(self, key_id: str) -> ApiKey:
        """Api keys: get."""
        return self._sender.send(Call("GET", f"/v1/api_keys/{segment(key_id)}", ApiKey))

    def revoke(self, key_id: str, *, key: str | None = None) -> ApiKey:
        """End a key: at once in this process, within two seconds in others."""
        return self._sender.send(
            Call("POST", f"/v1/api_keys/{segment(key_id)}/revoke", ApiKey, key=key or new_key())
        )


class ReconciliationApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def get(self) -> Reconciliation:
        """Compare every balance, order and total with the chain, at the newest block indexed."""
        return self._sender.send(Call("GET", "/v1/reconciliation", Reconciliation))


class NetworkApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def get(self) -> Manifest:
        """Chain id, JSON-RPC, contract addresses and roles: the manifest of the deployment."""
        return self._sender.send(Call("GET", "/v1/network", Manifest))


class PayRequestsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def get(self, request_id: str) -> PublicPaymentRequest:
        """What is to be paid, to whom, and whether it was."""
        return self._sender.send(
            Call("GET", f"/v1/pay/requests/{segment(request_id)}", PublicPaymentRequest)
        )

    def relay(
        self, request_id: str, body: RelayedPayment, *, wait: int | None = None
    ) -> PublicPaymentRequest:
        """Relay the payer's signature."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/pay/requests/{segment(request_id)}",
                PublicPaymentRequest,
                body=body,
                wait=wait,
            )
        )

    def typed_data(self, request_id: str, *, payer: str) -> TypedData:
        """What a payer signs so that somebody else can send its payment."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/pay/requests/{segment(request_id)}/typed_data",
                TypedData,
                query={"payer": payer},
            )
        )

    def qr_svg(
        self,
        request_id: str,
        *,
        form: Literal["uri", "url"] | None = None,
        scale: int | None = None,
    ) -> bytes:
        """A QR code of `uri` or `url`."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/pay/requests/{segment(request_id)}/qr.svg",
                bytes,
                query={"form": form, "scale": scale},
            )
        )

    def qr_png(
        self,
        request_id: str,
        *,
        form: Literal["uri", "url"] | None = None,
        scale: int | None = None,
    ) -> bytes:
        """A QR code of `uri` or `url`."""
        return self._sender.send(
            Call(
                "GET",
                f"/v1/pay/requests/{segment(request_id)}/qr.png",
                bytes,
                query={"form": form, "scale": scale},
            )
        )


class PayApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def get(self, purchase_id: str) -> Invoice:
        """What is to be paid, to whom, and on what terms."""
        return self._sender.send(Call("GET", f"/v1/pay/{segment(purchase_id)}", Invoice))

    def relay(self, purchase_id: str, body: PurchasePayment, *, wait: int | None = None) -> Invoice:
        """Relay the buyer's signature."""
        return self._sender.send(
            Call("POST", f"/v1/pay/{segment(purchase_id)}", Invoice, body=body, wait=wait)
        )


class ChainTransactionsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: ChainTxStatus | None = None,
        sender: str | None = None,
    ) -> Page[ChainTransaction]:
        """The transactions signed for all merchants, newest first."""
        return self._sender.send(
            Call(
                "GET",
                "/v1/chain_transactions",
                Page[ChainTransaction],
                query={"limit": limit, "cursor": cursor, "status": status, "sender": sender},
            )
        )

    def all(
        self, *, status: ChainTxStatus | None = None, sender: str | None = None
    ) -> Iterator[ChainTransaction]:
        """The same, through all pages."""
        return pages(
            self._sender,
            Call(
                "GET",
                "/v1/chain_transactions",
                Page[ChainTransaction],
                query={"status": status, "sender": sender, "limit": MOST},
            ),
        )

    def get(self, chain_tx_id: str) -> ChainTransactionWithDetails:
        """One transaction: what it carries out, all that was signed for its nonce, what was …"""
        return self._sender.send(
            Call(
                "GET", f"/v1/chain_transactions/{segment(chain_tx_id)}", ChainTransactionWithDetails
            )
        )

    def rebroadcast(
        self, chain_tx_id: str, *, key: str | None = None, wait: int | None = None
    ) -> ChainTransactionWithDetails:
        """Send the stored bytes again at once, instead of within seconds."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/chain_transactions/{segment(chain_tx_id)}/rebroadcast",
                ChainTransactionWithDetails,
                key=key or new_key(),
                wait=wait,
            )
        )

    def cancel(
        self, chain_tx_id: str, *, key: str | None = None, wait: int | None = None
    ) -> ChainTransactionWithDetails:
        """Use the nonce up for nothing."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/chain_transactions/{segment(chain_tx_id)}/cancel",
                ChainTransactionWithDetails,
                key=key or new_key(),
                wait=wait,
            )
        )

    def replace(
        self,
        chain_tx_id: str,
        body: ReplaceRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> ChainTransactionWithDetails:
        """Sign the same call for the same nonce with another gas limit."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/chain_transactions/{segment(chain_tx_id)}/replace",
                ChainTransactionWithDetails,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    def retry(
        self, operation_id: str, *, key: str | None = None, wait: int | None = None
    ) -> OperationWithAttempts:
        """Sign an operation in conflict anew, for another nonce; of whichever merchant it is."""
        return self._sender.send(
            Call(
                "POST",
                f"/v1/operations/{segment(operation_id)}/retry",
                OperationWithAttempts,
                key=key or new_key(),
                wait=wait,
            )
        )


class X402Api:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def verify(self, body: PaymentBody) -> Verified:
        """Whether a payment would succeed now."""
        return self._sender.send(Call("POST", "/x402/verify", Verified, body=body))

    def settle(self, body: PaymentBody) -> Settled:
        """Move the coin, wait until the chain has it, and tell the transaction."""
        return self._sender.send(Call("POST", "/x402/settle", Settled, body=body))

    def supported(self) -> Supported:
        """The network, the coin, and who sends the transactions."""
        return self._sender.send(Call("GET", "/x402/supported", Supported))


class HealthApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def live(self) -> Live:
        """The bridge answers."""
        return self._sender.send(Call("GET", "/health/live", Live))

    def ready(self) -> Ready:
        """The whole node works: database, worker, index and chain, and the books agree."""
        return self._sender.send(Call("GET", "/health/ready", Ready))


class MetricsApi:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def metrics(self) -> str:
        """For Prometheus."""
        return self._sender.send(Call("GET", "/metrics", str))


class Resources:
    """All of them, for blocking clients."""

    def __init__(self) -> None:
        sender = cast(Sender, self)
        self.purchases = PurchasesApi(sender)
        self.events = EventsApi(sender)
        self.accounts = AccountsApi(sender)
        self.topups = TopupsApi(sender)
        self.redemptions = RedemptionsApi(sender)
        self.transfers = TransfersApi(sender)
        self.payment_requests = PaymentRequestsApi(sender)
        self.disputes = DisputesApi(sender)
        self.sales_facts = SalesFactsApi(sender)
        self.credit_offers = CreditOffersApi(sender)
        self.credit_lines = CreditLinesApi(sender)
        self.line_actions = LineActionsApi(sender)
        self.line_records = LineRecordsApi(sender)
        self.scores = ScoresApi(sender)
        self.pool = PoolApi(sender)
        self.operations = OperationsApi(sender)
        self.webhooks = WebhooksApi(sender)
        self.api_keys = ApiKeysApi(sender)
        self.reconciliation = ReconciliationApi(sender)
        self.network = NetworkApi(sender)
        self.pay_requests = PayRequestsApi(sender)
        self.pay = PayApi(sender)
        self.chain_transactions = ChainTransactionsApi(sender)
        self.x402 = X402Api(sender)
        self.health = HealthApi(sender)
        self.metrics = MetricsApi(sender)


class AsyncPurchasesApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(
        self, body: PurchaseRequest, *, key: str | None = None, wait: int | None = None
    ) -> Purchase:
        """Open a purchase; 202 when the coin is being held, 201 when the buyer has to pay …"""
        return await self._sender.send(
            Call("POST", "/v1/purchases", Purchase, body=body, key=key or new_key(), wait=wait)
        )

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: PurchaseStatus | None = None,
        order_id: str | None = None,
    ) -> Page[Purchase]:
        """Purchases: list."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/purchases",
                Page[Purchase],
                query={"limit": limit, "cursor": cursor, "status": status, "order_id": order_id},
            )
        )

    def all(
        self, *, status: PurchaseStatus | None = None, order_id: str | None = None
    ) -> AsyncIterator[Purchase]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                "/v1/purchases",
                Page[Purchase],
                query={"status": status, "order_id": order_id, "limit": MOST},
            ),
        )

    async def totals(self) -> Totals:
        """Purchases and coin by state."""
        return await self._sender.send(Call("GET", "/v1/purchases/totals", Totals))

    async def get(self, purchase_id: str) -> Purchase:
        """Purchases: get."""
        return await self._sender.send(
            Call("GET", f"/v1/purchases/{segment(purchase_id)}", Purchase)
        )

    async def authorize(
        self,
        purchase_id: str,
        body: AuthorizeRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Purchase:
        """Hold the buyer's coin: again after a failure, or by an external buyer's signature."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/authorize",
                Purchase,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def ship(
        self, purchase_id: str, body: ShipRequest | None = None, *, key: str | None = None
    ) -> Purchase:
        """Note that the goods are on their way."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/ship",
                Purchase,
                body=body,
                key=key or new_key(),
            )
        )

    async def deliver(
        self, purchase_id: str, *, key: str | None = None, wait: int | None = None
    ) -> Purchase:
        """Confirm the delivery, which opens the dispute window."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/deliver",
                Purchase,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def release(
        self,
        purchase_id: str,
        body: ReleaseRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Purchase:
        """Pay the seller: once the dispute window is over, or whenever the payer wants to."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/release",
                Purchase,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def void(
        self,
        purchase_id: str,
        body: VoidRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Purchase:
        """Give held coin back to the buyer, also in a dispute."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/void",
                Purchase,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def reclaim(
        self,
        purchase_id: str,
        body: ReclaimRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Purchase:
        """Take back what was not delivered in time, for the buyer."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/reclaim",
                Purchase,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def refund(
        self,
        purchase_id: str,
        body: RefundRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Purchase:
        """Pay the buyer back out of the seller's account, after a release."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/refund",
                Purchase,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )


class AsyncEventsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def list(self, *, after: int | None = None, limit: int | None = None) -> Events:
        """What happened after a `seq`, oldest first."""
        return await self._sender.send(
            Call("GET", "/v1/events", Events, query={"after": after, "limit": limit})
        )

    async def get(self, event_id: str) -> Event:
        """Events: get."""
        return await self._sender.send(Call("GET", f"/v1/events/{segment(event_id)}", Event))


class AsyncAccountsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(
        self, body: AccountRequest, *, key: str | None = None, wait: int | None = None
    ) -> Account:
        """Admit a member to the network: with a key the node manages, or with its own address."""
        return await self._sender.send(
            Call("POST", "/v1/accounts", Account, body=body, key=key or new_key(), wait=wait)
        )

    async def list(
        self, *, limit: int | None = None, cursor: str | None = None, reference: str | None = None
    ) -> Page[Account]:
        """Accounts: list."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/accounts",
                Page[Account],
                query={"limit": limit, "cursor": cursor, "reference": reference},
            )
        )

    def all(self, *, reference: str | None = None) -> AsyncIterator[Account]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET", "/v1/accounts", Page[Account], query={"reference": reference, "limit": MOST}
            ),
        )

    async def get(self, account_id: str) -> AccountWithBalance:
        """Accounts: get."""
        return await self._sender.send(
            Call("GET", f"/v1/accounts/{segment(account_id)}", AccountWithBalance)
        )

    async def get_balance(self, account_id: str) -> Balance:
        """Accounts: get balance."""
        return await self._sender.send(
            Call("GET", f"/v1/accounts/{segment(account_id)}/balance", Balance)
        )

    async def entries(
        self, account_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Entry]:
        """The account's ledger: every change of its balance on chain, newest first."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/accounts/{segment(account_id)}/entries",
                Page[Entry],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_entries(self, account_id: str) -> AsyncIterator[Entry]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                f"/v1/accounts/{segment(account_id)}/entries",
                Page[Entry],
                query={"limit": MOST},
            ),
        )

    async def membership(
        self,
        account_id: str,
        body: MembershipRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Account:
        """Renew a membership, admit again who was expelled, or try a failed admission again."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/accounts/{segment(account_id)}/membership",
                Account,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def expel(
        self,
        account_id: str,
        body: ExpelRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Account:
        """End the membership now; `membership` admits again."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/accounts/{segment(account_id)}/expel",
                Account,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def freeze(
        self,
        account_id: str,
        body: FreezeRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Account:
        """Stop the account from sending and receiving."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/accounts/{segment(account_id)}/freeze",
                Account,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def unfreeze(
        self, account_id: str, *, key: str | None = None, wait: int | None = None
    ) -> Account:
        """Accounts: unfreeze."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/accounts/{segment(account_id)}/unfreeze",
                Account,
                key=key or new_key(),
                wait=wait,
            )
        )


class AsyncTopupsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(
        self, body: TopUpRequest, *, key: str | None = None, wait: int | None = None
    ) -> TopUp:
        """Mint coin against money received."""
        return await self._sender.send(
            Call("POST", "/v1/topups", TopUp, body=body, key=key or new_key(), wait=wait)
        )

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        reference: str | None = None,
        status: MoveStatus | None = None,
    ) -> Page[TopUp]:
        """Topups: list."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/topups",
                Page[TopUp],
                query={"limit": limit, "cursor": cursor, "reference": reference, "status": status},
            )
        )

    def all(
        self, *, reference: str | None = None, status: MoveStatus | None = None
    ) -> AsyncIterator[TopUp]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                "/v1/topups",
                Page[TopUp],
                query={"reference": reference, "status": status, "limit": MOST},
            ),
        )

    async def get(self, topup_id: str) -> TopUp:
        """Topups: get."""
        return await self._sender.send(Call("GET", f"/v1/topups/{segment(topup_id)}", TopUp))

    async def cancel(self, topup_id: str, *, key: str | None = None) -> TopUp:
        """Take a top-up back, which is possible until its transaction is signed."""
        return await self._sender.send(
            Call("POST", f"/v1/topups/{segment(topup_id)}/cancel", TopUp, key=key or new_key())
        )


class AsyncRedemptionsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(
        self, body: RedemptionRequest, *, key: str | None = None, wait: int | None = None
    ) -> Redemption:
        """Burn coin for a payout."""
        return await self._sender.send(
            Call("POST", "/v1/redemptions", Redemption, body=body, key=key or new_key(), wait=wait)
        )

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        reference: str | None = None,
        status: MoveStatus | None = None,
    ) -> Page[Redemption]:
        """Redemptions: list."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/redemptions",
                Page[Redemption],
                query={"limit": limit, "cursor": cursor, "reference": reference, "status": status},
            )
        )

    def all(
        self, *, reference: str | None = None, status: MoveStatus | None = None
    ) -> AsyncIterator[Redemption]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                "/v1/redemptions",
                Page[Redemption],
                query={"reference": reference, "status": status, "limit": MOST},
            ),
        )

    async def get(self, redemption_id: str) -> Redemption:
        """Redemptions: get."""
        return await self._sender.send(
            Call("GET", f"/v1/redemptions/{segment(redemption_id)}", Redemption)
        )

    async def cancel(self, redemption_id: str, *, key: str | None = None) -> Redemption:
        """Take a redemption back, which is possible until its transaction is signed."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/redemptions/{segment(redemption_id)}/cancel",
                Redemption,
                key=key or new_key(),
            )
        )


class AsyncTransfersApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(
        self, body: TransferRequest, *, key: str | None = None, wait: int | None = None
    ) -> Transfer:
        """Send coin: signed by the managed key, or with an external owner's authorization or …"""
        return await self._sender.send(
            Call("POST", "/v1/transfers", Transfer, body=body, key=key or new_key(), wait=wait)
        )

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: MoveStatus | None = None,
    ) -> Page[Transfer]:
        """Transfers: list."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/transfers",
                Page[Transfer],
                query={"limit": limit, "cursor": cursor, "status": status},
            )
        )

    def all(self, *, status: MoveStatus | None = None) -> AsyncIterator[Transfer]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call("GET", "/v1/transfers", Page[Transfer], query={"status": status, "limit": MOST}),
        )

    async def get(self, transfer_id: str) -> Transfer:
        """Transfers: get."""
        return await self._sender.send(
            Call("GET", f"/v1/transfers/{segment(transfer_id)}", Transfer)
        )


class AsyncPaymentRequestsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(
        self, body: NewPaymentRequest, *, key: str | None = None
    ) -> PaymentRequestWithPayments:
        """Ask for a payment."""
        return await self._sender.send(
            Call(
                "POST",
                "/v1/payment_requests",
                PaymentRequestWithPayments,
                body=body,
                key=key or new_key(),
            )
        )

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: Literal["open", "paid", "canceled", "expired"] | None = None,
        payee: str | None = None,
        reference: str | None = None,
    ) -> Page[PaymentRequest]:
        """Payment requests: list."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/payment_requests",
                Page[PaymentRequest],
                query={
                    "limit": limit,
                    "cursor": cursor,
                    "status": status,
                    "payee": payee,
                    "reference": reference,
                },
            )
        )

    def all(
        self,
        *,
        status: Literal["open", "paid", "canceled", "expired"] | None = None,
        payee: str | None = None,
        reference: str | None = None,
    ) -> AsyncIterator[PaymentRequest]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                "/v1/payment_requests",
                Page[PaymentRequest],
                query={"status": status, "payee": payee, "reference": reference, "limit": MOST},
            ),
        )

    async def get(self, request_id: str) -> PaymentRequestWithPayments:
        """A payment request, and the newest transfers that named it."""
        return await self._sender.send(
            Call("GET", f"/v1/payment_requests/{segment(request_id)}", PaymentRequestWithPayments)
        )

    async def payments(
        self, request_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[RequestPayment]:
        """Every transfer that named the request, newest first."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/payment_requests/{segment(request_id)}/payments",
                Page[RequestPayment],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_payments(self, request_id: str) -> AsyncIterator[RequestPayment]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                f"/v1/payment_requests/{segment(request_id)}/payments",
                Page[RequestPayment],
                query={"limit": MOST},
            ),
        )

    async def pay(
        self, request_id: str, body: PayRequest, *, key: str | None = None, wait: int | None = None
    ) -> PaymentRequestWithPayments:
        """Pay from an account whose key the node manages, or with the owner's authorization."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/payment_requests/{segment(request_id)}/pay",
                PaymentRequestWithPayments,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def cancel(
        self, request_id: str, *, key: str | None = None
    ) -> PaymentRequestWithPayments:
        """Ask for it no longer."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/payment_requests/{segment(request_id)}/cancel",
                PaymentRequestWithPayments,
                key=key or new_key(),
            )
        )

    async def qr_svg(
        self,
        request_id: str,
        *,
        form: Literal["uri", "url"] | None = None,
        scale: int | None = None,
    ) -> bytes:
        """A QR code of `uri` or `url`."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/payment_requests/{segment(request_id)}/qr.svg",
                bytes,
                query={"form": form, "scale": scale},
            )
        )

    async def qr_png(
        self,
        request_id: str,
        *,
        form: Literal["uri", "url"] | None = None,
        scale: int | None = None,
    ) -> bytes:
        """A QR code of `uri` or `url`."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/payment_requests/{segment(request_id)}/qr.png",
                bytes,
                query={"form": form, "scale": scale},
            )
        )


class AsyncDisputesApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def open(
        self,
        purchase_id: str,
        body: DisputeRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Dispute:
        """Dispute what is held of a delivered purchase, for its payer, while the window is …"""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/disputes",
                Dispute,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def get(self, purchase_id: str) -> Dispute:
        """The dispute of a purchase: what was said, until when it can be decided, how it …"""
        return await self._sender.send(
            Call("GET", f"/v1/purchases/{segment(purchase_id)}/disputes", Dispute)
        )

    async def evidence(
        self,
        purchase_id: str,
        body: EvidenceRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Dispute:
        """Add evidence of payer, seller or operator to an open dispute."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/disputes/evidence",
                Dispute,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def resolve(
        self,
        purchase_id: str,
        body: ResolveRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Dispute:
        """Decide a dispute, signed by the platform's arbiter."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/disputes/resolve",
                Dispute,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def expire(
        self, purchase_id: str, *, key: str | None = None, wait: int | None = None
    ) -> Dispute:
        """Give all back to the payer where no decision came in time."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/purchases/{segment(purchase_id)}/disputes/expire",
                Dispute,
                key=key or new_key(),
                wait=wait,
            )
        )


class AsyncSalesFactsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def record(self, body: FactsRequest) -> FactsRecorded:
        """Say what became of orders, up to 1,000 at once."""
        return await self._sender.send(Call("POST", "/v1/sales_facts", FactsRecorded, body=body))

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        seller: str | None = None,
        kind: Literal["review", "cancellation", "return"] | None = None,
        order_id: str | None = None,
        occurred_from: Time | None = None,
        occurred_before: Time | None = None,
    ) -> Page[SalesFact]:
        """The facts as they now stand, newest posted first."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/sales_facts",
                Page[SalesFact],
                query={
                    "limit": limit,
                    "cursor": cursor,
                    "seller": seller,
                    "kind": kind,
                    "order_id": order_id,
                    "occurred_from": occurred_from,
                    "occurred_before": occurred_before,
                },
            )
        )

    def all(
        self,
        *,
        seller: str | None = None,
        kind: Literal["review", "cancellation", "return"] | None = None,
        order_id: str | None = None,
        occurred_from: Time | None = None,
        occurred_before: Time | None = None,
    ) -> AsyncIterator[SalesFact]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                "/v1/sales_facts",
                Page[SalesFact],
                query={
                    "seller": seller,
                    "kind": kind,
                    "order_id": order_id,
                    "occurred_from": occurred_from,
                    "occurred_before": occurred_before,
                    "limit": MOST,
                },
            ),
        )

    async def get(self, fact_id: str) -> SalesFactWithHistory:
        """A fact, and what it said before its corrections."""
        return await self._sender.send(
            Call("GET", f"/v1/sales_facts/{segment(fact_id)}", SalesFactWithHistory)
        )

    async def correct(
        self, fact_id: str, body: Correction, *, key: str | None = None
    ) -> SalesFactWithHistory:
        """Say it otherwise, or take it back."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/sales_facts/{segment(fact_id)}/corrections",
                SalesFactWithHistory,
                body=body,
                key=key or new_key(),
            )
        )


class AsyncCreditOffersApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(self, body: OfferRequest, *, key: str | None = None) -> Offer:
        """Offer a seller a credit line, signed by the underwriter."""
        return await self._sender.send(
            Call("POST", "/v1/credit_lines/offers", Offer, body=body, key=key or new_key())
        )

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        account: str | None = None,
        status: OfferStatus | None = None,
    ) -> Page[Offer]:
        """Credit offers: list."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/credit_lines/offers",
                Page[Offer],
                query={"limit": limit, "cursor": cursor, "account": account, "status": status},
            )
        )

    def all(
        self, *, account: str | None = None, status: OfferStatus | None = None
    ) -> AsyncIterator[Offer]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                "/v1/credit_lines/offers",
                Page[Offer],
                query={"account": account, "status": status, "limit": MOST},
            ),
        )

    async def get(self, offer_id: str) -> Offer:
        """Credit offers: get."""
        return await self._sender.send(
            Call("GET", f"/v1/credit_lines/offers/{segment(offer_id)}", Offer)
        )

    async def accept(
        self,
        offer_id: str,
        body: AcceptRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Offer:
        """Accept an offer for its seller, which opens the credit line or gives it new terms."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/offers/{segment(offer_id)}/accept",
                Offer,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def decline(
        self,
        offer_id: str,
        body: DeclineRequest | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Offer:
        """Decline an offer for its seller, for good."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/offers/{segment(offer_id)}/decline",
                Offer,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def revoke(
        self, offer_id: str, *, key: str | None = None, wait: int | None = None
    ) -> Offer:
        """Take an offer back that nobody has accepted yet."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/offers/{segment(offer_id)}/revoke",
                Offer,
                key=key or new_key(),
                wait=wait,
            )
        )


class AsyncCreditLinesApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def list(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[CreditLine]:
        """Lines of your sellers, as of now; newest account first."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/credit_lines",
                Page[CreditLine],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all(self) -> AsyncIterator[CreditLine]:
        """The same, through all pages."""
        return async_pages(
            self._sender, Call("GET", "/v1/credit_lines", Page[CreditLine], query={"limit": MOST})
        )

    async def get(self, line_id: str) -> CreditLine:
        """A line's statement, as of now: what is owed, what is due when, what may be drawn."""
        return await self._sender.send(
            Call("GET", f"/v1/credit_lines/{segment(line_id)}", CreditLine)
        )

    async def draw(
        self, line_id: str, body: DrawRequest, *, key: str | None = None, wait: int | None = None
    ) -> Draw:
        """Draw coin out of the lender pool, to the seller's account."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/draws",
                Draw,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def draws(
        self, line_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Draw]:
        """Credit lines: draws."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/draws",
                Page[Draw],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_draws(self, line_id: str) -> AsyncIterator[Draw]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/draws",
                Page[Draw],
                query={"limit": MOST},
            ),
        )

    async def repay(
        self,
        line_id: str,
        body: RepaymentRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> Repayment:
        """Pay on a line by hand: past-due amounts first, then interest, then principal."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/repayments",
                Repayment,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def repayments(
        self, line_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Repayment]:
        """Repayments by hand; what sales repaid is in `repaid_by_sales` and on the purchases."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/repayments",
                Page[Repayment],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_repayments(self, line_id: str) -> AsyncIterator[Repayment]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/repayments",
                Page[Repayment],
                query={"limit": MOST},
            ),
        )


class AsyncLineActionsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def suspend(
        self, line_id: str, body: ReasonRequest, *, key: str | None = None
    ) -> LineAction:
        """Draw nothing on the line until it is resumed."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/suspend",
                LineAction,
                body=body,
                key=key or new_key(),
            )
        )

    async def resume(
        self, line_id: str, body: ReasonRequest, *, key: str | None = None
    ) -> LineAction:
        """Let a suspended line be drawn on again."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/resume",
                LineAction,
                body=body,
                key=key or new_key(),
            )
        )

    async def limit(
        self, line_id: str, body: LimitRequest, *, key: str | None = None, wait: int | None = None
    ) -> LineAction:
        """Lower the limit on chain, for good: only a new offer raises it."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/limit",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def holiday(
        self, line_id: str, body: HolidayRequest, *, key: str | None = None, wait: int | None = None
    ) -> LineAction:
        """Let the open window end later."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/holiday",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def waive(
        self, line_id: str, body: WaiveRequest, *, key: str | None = None, wait: int | None = None
    ) -> LineAction:
        """Take interest off the line, at the cost of the pool."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/waive",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def write_off(
        self, line_id: str, body: ReasonRequest, *, key: str | None = None, wait: int | None = None
    ) -> LineAction:
        """Write a defaulted line off."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/charge_off",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def close(
        self, line_id: str, body: ReasonRequest, *, key: str | None = None, wait: int | None = None
    ) -> LineAction:
        """Close a line on which nothing is owed."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/close",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def holdback(
        self,
        line_id: str,
        body: HoldbackRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> LineAction:
        """Repay by more of each sale than was agreed on, or by that again: the seller's …"""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/credit_lines/{segment(line_id)}/holdback",
                LineAction,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def actions(
        self, line_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[LineAction]:
        """What was decided about the line, by whom it concerns, and why."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/actions",
                Page[LineAction],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_actions(self, line_id: str) -> AsyncIterator[LineAction]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/actions",
                Page[LineAction],
                query={"limit": MOST},
            ),
        )


class AsyncLineRecordsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def plan(self, line_id: str) -> Plan:
        """What is to be repaid by when, and the sales that would do it, as of now."""
        return await self._sender.send(
            Call("GET", f"/v1/credit_lines/{segment(line_id)}/plan", Plan)
        )

    async def statements(
        self, line_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Statement]:
        """What was owed, drawn, charged and repaid month by month, newest first."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/statements",
                Page[Statement],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_statements(self, line_id: str) -> AsyncIterator[Statement]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/statements",
                Page[Statement],
                query={"limit": MOST},
            ),
        )

    async def statements_csv(self, line_id: str) -> str:
        """All statements as a table, oldest first."""
        return await self._sender.send(
            Call("GET", f"/v1/credit_lines/{segment(line_id)}/statements.csv", str)
        )

    async def entries(
        self, line_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[LineEntry]:
        """The line's ledger: every log that changed what is owed, newest first."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/entries",
                Page[LineEntry],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_entries(self, line_id: str) -> AsyncIterator[LineEntry]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                f"/v1/credit_lines/{segment(line_id)}/entries",
                Page[LineEntry],
                query={"limit": MOST},
            ),
        )


class AsyncScoresApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def post(self, body: ScoreRequest, *, key: str | None = None) -> Score:
        """Say what a model thinks of a seller."""
        return await self._sender.send(
            Call("POST", "/v1/scores", Score, body=body, key=key or new_key())
        )

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        account: str | None = None,
        grade: Literal["A", "B", "C", "D", "E"] | None = None,
    ) -> Page[Score]:
        """All that was posted, newest first; of one account with `account`."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/scores",
                Page[Score],
                query={"limit": limit, "cursor": cursor, "account": account, "grade": grade},
            )
        )

    def all(
        self, *, account: str | None = None, grade: Literal["A", "B", "C", "D", "E"] | None = None
    ) -> AsyncIterator[Score]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                "/v1/scores",
                Page[Score],
                query={"account": account, "grade": grade, "limit": MOST},
            ),
        )

    async def get(self, score_id: str) -> Score:
        """Scores: get."""
        return await self._sender.send(Call("GET", f"/v1/scores/{segment(score_id)}", Score))

    async def latest(self, account_id: str) -> Score:
        """The newest score of an account."""
        return await self._sender.send(
            Call("GET", f"/v1/accounts/{segment(account_id)}/score", Score)
        )


class AsyncPoolApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def get(self) -> Pool:
        """The pool, its reserve and all credit lines in sum, as of now."""
        return await self._sender.send(Call("GET", "/v1/pool", Pool))

    async def positions(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Position]:
        """What your accounts have in the pool."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/pool/positions",
                Page[Position],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_positions(self) -> AsyncIterator[Position]:
        """The same, through all pages."""
        return async_pages(
            self._sender, Call("GET", "/v1/pool/positions", Page[Position], query={"limit": MOST})
        )

    async def deposit(
        self, body: DepositRequest, *, key: str | None = None, wait: int | None = None
    ) -> Deposit:
        """Put coin into the pool, for shares at their present price."""
        return await self._sender.send(
            Call("POST", "/v1/pool/deposits", Deposit, body=body, key=key or new_key(), wait=wait)
        )

    async def deposits(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Deposit]:
        """Pool: deposits."""
        return await self._sender.send(
            Call(
                "GET", "/v1/pool/deposits", Page[Deposit], query={"limit": limit, "cursor": cursor}
            )
        )

    def all_deposits(self) -> AsyncIterator[Deposit]:
        """The same, through all pages."""
        return async_pages(
            self._sender, Call("GET", "/v1/pool/deposits", Page[Deposit], query={"limit": MOST})
        )

    async def withdraw(
        self, body: WithdrawalRequest, *, key: str | None = None, wait: int | None = None
    ) -> Withdrawal:
        """Give shares back for coin, at their present price."""
        return await self._sender.send(
            Call(
                "POST",
                "/v1/pool/withdrawals",
                Withdrawal,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def withdrawals(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Withdrawal]:
        """Pool: withdrawals."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/pool/withdrawals",
                Page[Withdrawal],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all_withdrawals(self) -> AsyncIterator[Withdrawal]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call("GET", "/v1/pool/withdrawals", Page[Withdrawal], query={"limit": MOST}),
        )

    async def fund(
        self, body: FundingRequest, *, key: str | None = None, wait: int | None = None
    ) -> Funding:
        """Set the platform's own money aside for first losses: it is minted, and paid in."""
        return await self._sender.send(
            Call("POST", "/v1/pool/reserve", Funding, body=body, key=key or new_key(), wait=wait)
        )

    async def fundings(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Funding]:
        """What was set aside for first losses."""
        return await self._sender.send(
            Call("GET", "/v1/pool/reserve", Page[Funding], query={"limit": limit, "cursor": cursor})
        )

    def all_fundings(self) -> AsyncIterator[Funding]:
        """The same, through all pages."""
        return async_pages(
            self._sender, Call("GET", "/v1/pool/reserve", Page[Funding], query={"limit": MOST})
        )


class AsyncOperationsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: OperationStatus | None = None,
        resource_id: str | None = None,
    ) -> Page[Operation]:
        """What is to be done, is under way, or was done on chain; newest first."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/operations",
                Page[Operation],
                query={
                    "limit": limit,
                    "cursor": cursor,
                    "status": status,
                    "resource_id": resource_id,
                },
            )
        )

    def all(
        self, *, status: OperationStatus | None = None, resource_id: str | None = None
    ) -> AsyncIterator[Operation]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                "/v1/operations",
                Page[Operation],
                query={"status": status, "resource_id": resource_id, "limit": MOST},
            ),
        )

    async def get(self, operation_id: str) -> OperationWithAttempts:
        """One operation, and the transactions signed for it."""
        return await self._sender.send(
            Call("GET", f"/v1/operations/{segment(operation_id)}", OperationWithAttempts)
        )


class AsyncWebhooksApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(
        self, body: WebhookEndpointRequest, *, key: str | None = None
    ) -> WebhookEndpoint:
        """Have events posted to a URL, from now on."""
        return await self._sender.send(
            Call("POST", "/v1/webhook_endpoints", WebhookEndpoint, body=body, key=key or new_key())
        )

    async def list(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[WebhookEndpoint]:
        """Webhooks: list."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/webhook_endpoints",
                Page[WebhookEndpoint],
                query={"limit": limit, "cursor": cursor},
            )
        )

    def all(self) -> AsyncIterator[WebhookEndpoint]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call("GET", "/v1/webhook_endpoints", Page[WebhookEndpoint], query={"limit": MOST}),
        )

    async def get(self, endpoint_id: str) -> WebhookEndpoint:
        """Webhooks: get."""
        return await self._sender.send(
            Call("GET", f"/v1/webhook_endpoints/{segment(endpoint_id)}", WebhookEndpoint)
        )

    async def update(
        self, endpoint_id: str, body: WebhookEndpointUpdate, *, key: str | None = None
    ) -> WebhookEndpoint:
        """Change URL, event types or description; what is left out stays as it is."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}",
                WebhookEndpoint,
                body=body,
                key=key or new_key(),
            )
        )

    async def enable(self, endpoint_id: str, *, key: str | None = None) -> WebhookEndpoint:
        """Go on with what is open, and with what happens from now on."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/enable",
                WebhookEndpoint,
                key=key or new_key(),
            )
        )

    async def disable(self, endpoint_id: str, *, key: str | None = None) -> WebhookEndpoint:
        """Post nothing, and queue nothing new; what is open stays so."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/disable",
                WebhookEndpoint,
                key=key or new_key(),
            )
        )

    async def delete(self, endpoint_id: str, *, key: str | None = None) -> WebhookEndpoint:
        """End an endpoint for good."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/delete",
                WebhookEndpoint,
                key=key or new_key(),
            )
        )

    async def rotate(
        self, endpoint_id: str, body: RotateRequest | None = None, *, key: str | None = None
    ) -> WebhookEndpoint:
        """Make a new secret, shown this once."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/rotate_secret",
                WebhookEndpoint,
                body=body,
                key=key or new_key(),
            )
        )

    async def test(
        self, endpoint_id: str, *, key: str | None = None, wait: int | None = None
    ) -> Event:
        """Send an event `webhook_endpoint.test` to this endpoint alone; the answer is the …"""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/test",
                Event,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def replay(
        self,
        endpoint_id: str,
        body: ReplayRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> WebhookEndpoint:
        """Send all events after a `seq` once more, under their old `webhook-id`s."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/replay",
                WebhookEndpoint,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def deliveries(
        self,
        endpoint_id: str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: DeliveryStatus | None = None,
        event: str | None = None,
    ) -> Page[WebhookDelivery]:
        """What was posted and what will be, newest first; finished ones are kept for a time."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/deliveries",
                Page[WebhookDelivery],
                query={"limit": limit, "cursor": cursor, "status": status, "event": event},
            )
        )

    def all_deliveries(
        self, endpoint_id: str, *, status: DeliveryStatus | None = None, event: str | None = None
    ) -> AsyncIterator[WebhookDelivery]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/deliveries",
                Page[WebhookDelivery],
                query={"status": status, "event": event, "limit": MOST},
            ),
        )

    async def get_delivery(self, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
        """Webhooks: get delivery."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/deliveries/{segment(delivery_id)}",
                WebhookDelivery,
            )
        )

    async def redeliver(
        self, endpoint_id: str, delivery_id: str, *, key: str | None = None, wait: int | None = None
    ) -> WebhookDelivery:
        """Send it once more, under its old `webhook-id`: at once, or behind what is open for …"""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/webhook_endpoints/{segment(endpoint_id)}/deliveries/{segment(delivery_id)}/redeliver",
                WebhookDelivery,
                key=key or new_key(),
                wait=wait,
            )
        )


class AsyncApiKeysApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def create(self, body: ApiKeyRequest, *, key: str | None = None) -> ApiKey:
        """Make a key."""
        return await self._sender.send(
            Call("POST", "/v1/api_keys", ApiKey, body=body, key=key or new_key())
        )

    async def list(self, *, limit: int | None = None, cursor: str | None = None) -> Page[ApiKey]:
        """Api keys: list."""
        return await self._sender.send(
            Call("GET", "/v1/api_keys", Page[ApiKey], query={"limit": limit, "cursor": cursor})
        )

    def all(self) -> AsyncIterator[ApiKey]:
        """The same, through all pages."""
        return async_pages(
            self._sender, Call("GET", "/v1/api_keys", Page[ApiKey], query={"limit": MOST})
        )

    async def get(self, key_id: str) -> ApiKey:
        """Api keys: get."""
        return await self._sender.send(Call("GET", f"/v1/api_keys/{segment(key_id)}", ApiKey))

    async def revoke(self, key_id: str, *, key: str | None = None) -> ApiKey:
        """End a key: at once in this process, within two seconds in others."""
        return await self._sender.send(
            Call("POST", f"/v1/api_keys/{segment(key_id)}/revoke", ApiKey, key=key or new_key())
        )


class AsyncReconciliationApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def get(self) -> Reconciliation:
        """Compare every balance, order and total with the chain, at the newest block indexed."""
        return await self._sender.send(Call("GET", "/v1/reconciliation", Reconciliation))


class AsyncNetworkApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def get(self) -> Manifest:
        """Chain id, JSON-RPC, contract addresses and roles: the manifest of the deployment."""
        return await self._sender.send(Call("GET", "/v1/network", Manifest))


class AsyncPayRequestsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def get(self, request_id: str) -> PublicPaymentRequest:
        """What is to be paid, to whom, and whether it was."""
        return await self._sender.send(
            Call("GET", f"/v1/pay/requests/{segment(request_id)}", PublicPaymentRequest)
        )

    async def relay(
        self, request_id: str, body: RelayedPayment, *, wait: int | None = None
    ) -> PublicPaymentRequest:
        """Relay the payer's signature."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/pay/requests/{segment(request_id)}",
                PublicPaymentRequest,
                body=body,
                wait=wait,
            )
        )

    async def typed_data(self, request_id: str, *, payer: str) -> TypedData:
        """What a payer signs so that somebody else can send its payment."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/pay/requests/{segment(request_id)}/typed_data",
                TypedData,
                query={"payer": payer},
            )
        )

    async def qr_svg(
        self,
        request_id: str,
        *,
        form: Literal["uri", "url"] | None = None,
        scale: int | None = None,
    ) -> bytes:
        """A QR code of `uri` or `url`."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/pay/requests/{segment(request_id)}/qr.svg",
                bytes,
                query={"form": form, "scale": scale},
            )
        )

    async def qr_png(
        self,
        request_id: str,
        *,
        form: Literal["uri", "url"] | None = None,
        scale: int | None = None,
    ) -> bytes:
        """A QR code of `uri` or `url`."""
        return await self._sender.send(
            Call(
                "GET",
                f"/v1/pay/requests/{segment(request_id)}/qr.png",
                bytes,
                query={"form": form, "scale": scale},
            )
        )


class AsyncPayApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def get(self, purchase_id: str) -> Invoice:
        """What is to be paid, to whom, and on what terms."""
        return await self._sender.send(Call("GET", f"/v1/pay/{segment(purchase_id)}", Invoice))

    async def relay(
        self, purchase_id: str, body: PurchasePayment, *, wait: int | None = None
    ) -> Invoice:
        """Relay the buyer's signature."""
        return await self._sender.send(
            Call("POST", f"/v1/pay/{segment(purchase_id)}", Invoice, body=body, wait=wait)
        )


class AsyncChainTransactionsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: ChainTxStatus | None = None,
        sender: str | None = None,
    ) -> Page[ChainTransaction]:
        """The transactions signed for all merchants, newest first."""
        return await self._sender.send(
            Call(
                "GET",
                "/v1/chain_transactions",
                Page[ChainTransaction],
                query={"limit": limit, "cursor": cursor, "status": status, "sender": sender},
            )
        )

    def all(
        self, *, status: ChainTxStatus | None = None, sender: str | None = None
    ) -> AsyncIterator[ChainTransaction]:
        """The same, through all pages."""
        return async_pages(
            self._sender,
            Call(
                "GET",
                "/v1/chain_transactions",
                Page[ChainTransaction],
                query={"status": status, "sender": sender, "limit": MOST},
            ),
        )

    async def get(self, chain_tx_id: str) -> ChainTransactionWithDetails:
        """One transaction: what it carries out, all that was signed for its nonce, what was …"""
        return await self._sender.send(
            Call(
                "GET", f"/v1/chain_transactions/{segment(chain_tx_id)}", ChainTransactionWithDetails
            )
        )

    async def rebroadcast(
        self, chain_tx_id: str, *, key: str | None = None, wait: int | None = None
    ) -> ChainTransactionWithDetails:
        """Send the stored bytes again at once, instead of within seconds."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/chain_transactions/{segment(chain_tx_id)}/rebroadcast",
                ChainTransactionWithDetails,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def cancel(
        self, chain_tx_id: str, *, key: str | None = None, wait: int | None = None
    ) -> ChainTransactionWithDetails:
        """Use the nonce up for nothing."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/chain_transactions/{segment(chain_tx_id)}/cancel",
                ChainTransactionWithDetails,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def replace(
        self,
        chain_tx_id: str,
        body: ReplaceRequest,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> ChainTransactionWithDetails:
        """Sign the same call for the same nonce with another gas limit."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/chain_transactions/{segment(chain_tx_id)}/replace",
                ChainTransactionWithDetails,
                body=body,
                key=key or new_key(),
                wait=wait,
            )
        )

    async def retry(
        self, operation_id: str, *, key: str | None = None, wait: int | None = None
    ) -> OperationWithAttempts:
        """Sign an operation in conflict anew, for another nonce; of whichever merchant it is."""
        return await self._sender.send(
            Call(
                "POST",
                f"/v1/operations/{segment(operation_id)}/retry",
                OperationWithAttempts,
                key=key or new_key(),
                wait=wait,
            )
        )


class AsyncX402Api:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def verify(self, body: PaymentBody) -> Verified:
        """Whether a payment would succeed now."""
        return await self._sender.send(Call("POST", "/x402/verify", Verified, body=body))

    async def settle(self, body: PaymentBody) -> Settled:
        """Move the coin, wait until the chain has it, and tell the transaction."""
        return await self._sender.send(Call("POST", "/x402/settle", Settled, body=body))

    async def supported(self) -> Supported:
        """The network, the coin, and who sends the transactions."""
        return await self._sender.send(Call("GET", "/x402/supported", Supported))


class AsyncHealthApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def live(self) -> Live:
        """The bridge answers."""
        return await self._sender.send(Call("GET", "/health/live", Live))

    async def ready(self) -> Ready:
        """The whole node works: database, worker, index and chain, and the books agree."""
        return await self._sender.send(Call("GET", "/health/ready", Ready))


class AsyncMetricsApi:
    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def metrics(self) -> str:
        """For Prometheus."""
        return await self._sender.send(Call("GET", "/metrics", str))


class AsyncResources:
    """All of them, for Async clients."""

    def __init__(self) -> None:
        sender = cast(AsyncSender, self)
        self.purchases = AsyncPurchasesApi(sender)
        self.events = AsyncEventsApi(sender)
        self.accounts = AsyncAccountsApi(sender)
        self.topups = AsyncTopupsApi(sender)
        self.redemptions = AsyncRedemptionsApi(sender)
        self.transfers = AsyncTransfersApi(sender)
        self.payment_requests = AsyncPaymentRequestsApi(sender)
        self.disputes = AsyncDisputesApi(sender)
        self.sales_facts = AsyncSalesFactsApi(sender)
        self.credit_offers = AsyncCreditOffersApi(sender)
        self.credit_lines = AsyncCreditLinesApi(sender)
        self.line_actions = AsyncLineActionsApi(sender)
        self.line_records = AsyncLineRecordsApi(sender)
        self.scores = AsyncScoresApi(sender)
        self.pool = AsyncPoolApi(sender)
        self.operations = AsyncOperationsApi(sender)
        self.webhooks = AsyncWebhooksApi(sender)
        self.api_keys = AsyncApiKeysApi(sender)
        self.reconciliation = AsyncReconciliationApi(sender)
        self.network = AsyncNetworkApi(sender)
        self.pay_requests = AsyncPayRequestsApi(sender)
        self.pay = AsyncPayApi(sender)
        self.chain_transactions = AsyncChainTransactionsApi(sender)
        self.x402 = AsyncX402Api(sender)
        self.health = AsyncHealthApi(sender)
        self.metrics = AsyncMetricsApi(sender)
