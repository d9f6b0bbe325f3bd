"""x402, version 2: the bridge as a facilitator, for servers that sell by the call.

A buyer's client signs an EIP-3009 authorization for each call, the server hands it on to `verify`
and `settle`. These speak the standard's JSON: what is refused for its content is a 200 with
`invalidReason` or `errorReason`, since the standard's clients read no other answer; problems are
for callers without a key, bodies that are no such request, and trouble of our own.

**A settlement happens once for (coin, payer, nonce)**, however often it is asked for: it is a
transfer, which is stored before it is attempted. **A failure is told only when it is sure.** A
payment that nobody has signed a transaction for when the time is up is called back; one that is on
its way is `settlement_pending`, and asking again gives its outcome.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic import ValidationError as PydanticError
from sqlalchemy import Select, and_, bindparam, func, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.auth import X402Caller
from node.bridge.authorizations import Payment
from node.bridge.context import Context, Ctx
from node.bridge.events import record
from node.bridge.funds import available
from node.bridge.operations import cancel_queued
from node.bridge.problems import Problem, documented
from node.bridge.rows import change, table
from node.bridge.transfers import SEND, calldata_of, queue_transfer
from node.bridge.values import Address, AmountIn, Bytes32, Input, Output
from node.bridge.waiting import last_seq
from node.chain.rpc import RpcError, RpcUnavailable
from node.chain.typed_data import COIN_NAME, COIN_VERSION
from node.outbox.submit import GAS_LIMITS, is_revert
from node.store import models
from node.store.models import MoveStatus, OperationStatus

router = APIRouter(prefix="/x402", tags=["x402"])

VERSION = 2
SCHEME = "exact"
PENDING = "settlement_pending"
MAX_SETTLE_SECONDS = 20  # shorter than what clients wait for a facilitator

_NONCE_USED = "invalid_exact_evm_nonce_already_used"
_REFUSED_BY_CHAIN = "invalid_transaction_state"
_INVALID_PAYLOAD = "invalid_payload"
_INVALID_REQUIREMENTS = "invalid_payment_requirements"
# What the coin refuses, in the standard's words.
_REASONS = {
    "InvalidSignature": "invalid_exact_evm_payload_signature",
    "AuthorizationNotYetValid": "invalid_exact_evm_payload_authorization_valid_after",
    "AuthorizationExpired": "invalid_exact_evm_payload_authorization_valid_before",
    "AuthorizationAlreadyUsed": _NONCE_USED,
    "ERC20InsufficientBalance": "insufficient_funds",
}
_UINT = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)


def _parse_uint(value: Any) -> int:
    if not isinstance(value, str) or not _UINT.fullmatch(value) or int(value) >= 2**256:
        raise ValueError("a number is a string of digits, below 2^256")
    return int(value)


Uint256 = Annotated[int, BeforeValidator(_parse_uint)]
Resource = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,2000}$")]

_REQUIREMENTS: dict[str, Any] = {
    "scheme": SCHEME,
    "network": "eip155:4242",
    "amount": "50000",
    "asset": "0xde709f2102306220921060314715629080e2fb77",
    "payTo": "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "maxTimeoutSeconds": 60,
    "extra": {"name": COIN_NAME, "version": COIN_VERSION},
}


class PaymentBody(Input):
    """A payment as its payer signed it, and what the server wants to be paid."""

    x402Version: int = VERSION
    paymentPayload: dict[str, Any] = Field(description="PaymentPayload of x402, version 2")
    paymentRequirements: dict[str, Any] = Field(description="PaymentRequirements of x402")

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "x402Version": VERSION,
                    "paymentPayload": {
                        "x402Version": VERSION,
                        "resource": {"url": "https://shop.example/scores/17"},
                        "accepted": _REQUIREMENTS,
                        "payload": {
                            "signature": "0x" + "1b" * 65,
                            "authorization": {
                                "from": "0x52908400098527886E0F7030069857D2E4169EE7",
                                "to": "0x27b1fdb04752bbc536007a920d24acb045561c26",
                                "value": "50000",
                                "validAfter": "0",
                                "validBefore": "1769936400",
                                "nonce": "0x" + "3d" * 32,
                            },
                        },
                    },
                    "paymentRequirements": _REQUIREMENTS,
                }
            ]
        },
    )


class Verified(Output):
    """Whether the coin would move. Nothing is moved or kept."""

    isValid: bool
    invalidReason: str | None = Field(default=None, description="the standard's word")
    invalidMessage: str | None = Field(default=None, description="the same for people")
    payer: str | None = None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"isValid": True, "payer": "0x52908400098527886E0F7030069857D2E4169EE7"}]
        },
    )


class Settled(Output):
    """The outcome of a payment: the same whenever it is asked for again."""

    success: bool
    errorReason: str | None = Field(
        default=None,
        description="the standard's word; `settlement_pending`: not known yet, ask again",
    )
    errorMessage: str | None = Field(default=None, description="the same for people")
    payer: str | None = None
    transaction: str = Field(description="its hash; empty where there is none")
    network: str
    amount: str | None = Field(default=None, description="atomic units that moved")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "success": True,
                    "payer": "0x52908400098527886E0F7030069857D2E4169EE7",
                    "transaction": "0x" + "5f" * 32,
                    "network": "eip155:4242",
                    "amount": "50000",
                }
            ]
        },
    )


class CoinInfo(Output):
    """What a server puts into the `extra` of its requirements, and what it needs to price."""

    name: str = Field(description="of the EIP-712 domain")
    version: str = Field(description="of the EIP-712 domain")
    asset: str
    symbol: str
    decimals: int


class Kind(Output):
    x402Version: int
    scheme: str
    network: str
    extra: CoinInfo


class Supported(Output):
    """What can be settled here."""

    kinds: list[Kind]
    extensions: list[str]
    signers: dict[str, list[str]] = Field(description="who sends the transactions")

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "kinds": [
                        {
                            "x402Version": VERSION,
                            "scheme": SCHEME,
                            "network": "eip155:4242",
                            "extra": {
                                "name": COIN_NAME,
                                "version": COIN_VERSION,
                                "asset": "0xde709f2102306220921060314715629080e2fb77",
                                "symbol": "PLZ",
                                "decimals": 6,
                            },
                        }
                    ],
                    "extensions": [],
                    "signers": {"eip155:*": ["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]},
                }
            ]
        },
    )


# ------------------------------------------------------------------------ what was asked for


class _Refused(Exception):
    """A payment that is not valid, in the standard's word and for people."""

    def __init__(self, reason: str, message: str, payer: str | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.payer = payer


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Terms(_Part):
    scheme: str
    network: str


class _Extra(_Part):
    name: str | None = None
    version: str | None = None
    assetTransferMethod: str | None = None


class _Requirements(_Part):
    scheme: str
    network: str
    amount: AmountIn
    asset: Address
    payTo: Address
    maxTimeoutSeconds: int = Field(ge=1, le=2**40)
    extra: _Extra = _Extra()

    def terms(self) -> tuple[Any, ...]:
        return self.scheme, self.network, self.amount, self.asset, self.payTo


class _Authorization(_Part):
    from_: Address = Field(alias="from")
    to: Address
    value: Uint256
    validAfter: Uint256
    validBefore: Uint256
    nonce: Bytes32


class _Signed(_Part):
    # 65 bytes of a key; a smart account's may be longer.
    signature: Annotated[str, StringConstraints(pattern=r"^0x([0-9a-fA-F]{2}){65,1000}$")]
    authorization: _Authorization


class _ResourceInfo(_Part):
    url: Resource


class _Payload(_Part):
    accepted: _Requirements
    payload: _Signed
    resource: _ResourceInfo | None = None


@dataclass(frozen=True)
class X402Payment:
    """A payment that is what the server wants, as far as it says so itself.

    Attributes:
        calldata: the call that carries it out: two payments with the same one are the same.
        resource: what it is for.
        seconds: how long its server waits for it.
    """

    payment: Payment
    calldata: str
    resource: str | None
    seconds: int


def read_payment(context: Context, body: PaymentBody) -> X402Payment:
    """Raises:
    _Refused: it is malformed, or not what the server wants, or not of this network and coin.
    """
    if body.x402Version != VERSION or body.paymentPayload.get("x402Version") != VERSION:
        raise _Refused("invalid_x402_version", f"the version here is {VERSION}")
    terms = _read(_Terms, body.paymentRequirements, _INVALID_REQUIREMENTS)
    if terms.scheme != SCHEME:
        raise _Refused("unsupported_scheme", f"the scheme here is {SCHEME!r}")
    network = network_of(context)
    if terms.network != network:
        raise _Refused("invalid_network", f"the network here is {network!r}")
    wanted = _read(_Requirements, body.paymentRequirements, _INVALID_REQUIREMENTS)
    _refuse_other_coin(context, wanted)
    given = _read(_Payload, body.paymentPayload, _INVALID_PAYLOAD)
    authorization = given.payload.authorization
    payer = authorization.from_
    if given.accepted.terms() != wanted.terms():
        raise _Refused(_INVALID_PAYLOAD, "what was accepted is not what is required", payer)
    if authorization.to != wanted.payTo:
        detail = f"the authorization pays {authorization.to}, not {wanted.payTo}"
        raise _Refused("invalid_exact_evm_payload_recipient_mismatch", detail, payer)
    if authorization.value != wanted.amount:
        detail = f"the authorization is of {authorization.value}, not of {wanted.amount}"
        raise _Refused("invalid_exact_evm_payload_authorization_value", detail, payer)
    if payer == wanted.payTo:
        raise _Refused(_INVALID_PAYLOAD, f"{payer} would pay itself", payer)
    payment = Payment(
        sender=payer,
        to=wanted.payTo,
        amount=wanted.amount,
        nonce=authorization.nonce,
        receive=False,
    )
    return X402Payment(
        payment=payment,
        calldata=calldata_of(
            context,
            payment,
            authorization.validAfter,
            authorization.validBefore,
            given.payload.signature,
        ),
        resource=given.resource.url if given.resource else None,
        seconds=min(wanted.maxTimeoutSeconds, MAX_SETTLE_SECONDS),
    )


_PartRead = TypeVar("_PartRead", bound=_Part)


def _read(model: type[_PartRead], value: dict[str, Any], reason: str) -> _PartRead:
    try:
        return model.model_validate(value)
    except PydanticError as error:
        # The input is not repeated.
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _Refused(reason, f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def _refuse_other_coin(context: Context, wanted: _Requirements) -> None:
    if wanted.asset != context.coin_address:
        detail = f"asset: {wanted.asset} is not the coin, {context.coin_address}"
        raise _Refused(_INVALID_REQUIREMENTS, detail)
    extra = wanted.extra
    if extra.name is None or extra.version is None:
        detail = f"extra: name and version of the coin are {COIN_NAME!r} and {COIN_VERSION!r}"
        raise _Refused("missing_eip712_domain", detail)
    if extra.name != COIN_NAME:
        raise _Refused("invalid_exact_evm_token_name_mismatch", f"extra.name: it is {COIN_NAME!r}")
    if extra.version != COIN_VERSION:
        detail = f"extra.version: it is {COIN_VERSION!r}"
        raise _Refused("invalid_exact_evm_token_version_mismatch", detail)
    if extra.assetTransferMethod not in (None, "eip3009"):
        raise _Refused(_INVALID_REQUIREMENTS, "extra.assetTransferMethod: it is 'eip3009' here")


def network_of(context: Context) -> str:
    """CAIP-2."""
    return f"eip155:{context.manifest.chain_id}"


# ---------------------------------------------------------------------------------- service

_TRANSFERS, _OPERATIONS = table(models.Transfer), table(models.Operation)
_ACCOUNTS, _LEDGER = table(models.Account), table(models.LedgerEntry)
_FIND: Select[Any] = (
    select(
        _TRANSFERS.c.id,
        _TRANSFERS.c.merchant_id,
        _TRANSFERS.c.resource,
        _TRANSFERS.c.status,
        _TRANSFERS.c.error,
        _OPERATIONS.c.status.label("operation_status"),
        _OPERATIONS.c.error_code,
        _OPERATIONS.c.calldata,
        _OPERATIONS.c.tx_hash,
    )
    .join(
        _OPERATIONS,
        and_(
            _OPERATIONS.c.resource_type == "transfer", _OPERATIONS.c.resource_id == _TRANSFERS.c.id
        ),
    )
    .where(
        _TRANSFERS.c.from_address == bindparam("its_sender"),
        _TRANSFERS.c.nonce == bindparam("its_nonce"),
    )
)
_ACCOUNT_AT = select(_ACCOUNTS.c.id).where(
    _ACCOUNTS.c.merchant_id == bindparam("its_merchant"),
    _ACCOUNTS.c.address == bindparam("its_address"),
)
_SENT_BY_OTHERS = select(_LEDGER.c.tx_hash).where(
    _LEDGER.c.address == bindparam("its_receiver"),
    _LEDGER.c.counterparty == bindparam("its_sender"),
    _LEDGER.c.ref == bindparam("its_nonce"),
)
_NEWEST_BLOCK = select(func.max(table(models.Block).c.number))


async def verify_payment(context: Context, merchant_id: str, x402: X402Payment) -> None:
    """Raises:
    _Refused: the coin would not move.
    Problem: chain_unavailable.
    """

    def is_under_way(session: Session) -> bool:
        found = _find(session, x402)
        if found is None:
            _refuse_unless_payable(session, merchant_id, x402)
            return False
        if found.status != MoveStatus.PENDING or not _is_same(found, merchant_id, x402):
            raise _nonce_used(x402)
        return True

    if not await context.store.read(is_under_way):
        await _simulate(context, x402)


async def settle_payment(context: Context, merchant_id: str, x402: X402Payment) -> Settled:
    """Move the coin once, and return how that ended.

    Raises:
        _Refused: nothing was stored for it.
        Problem: chain_unavailable; nothing was stored for it.
    """

    def is_new(session: Session) -> bool:
        if _find(session, x402) is not None:
            return False
        _refuse_unless_payable(session, merchant_id, x402)
        return True

    if await context.store.read(is_new):
        await _simulate(context, x402)
    transfer_id, seq, settled = await context.writer.write_again(
        lambda session: _store_once(session, context, merchant_id, x402)
    )
    if settled is None:
        settled = await context.waiters.wait(
            transfer_id, seq, lambda session: _outcome(session, context, x402), x402.seconds
        )
    if settled is None:
        settled = await context.writer.write(
            lambda session: _call_back(session, context, merchant_id, x402)
        )
    if settled.success or settled.errorReason == PENDING:
        return settled
    return await _failure_for_sure(context, x402, transfer_id, seq)


async def _simulate(context: Context, x402: X402Payment) -> None:
    """Ask the chain whether it would carry the payment out in its next block: signature (of a
    smart account too), time, nonce, balance, and the standing of payer and payee.

    Raises:
        _Refused: no.
        Problem: chain_unavailable.
    """
    call = {
        "from": context.manifest.accounts["operator"],
        "to": context.coin_address,
        "data": x402.calldata,
        "gas": hex(GAS_LIMITS[SEND]),
    }
    try:
        await context.rpc.call("eth_call", call, "pending")
    except RpcUnavailable as error:
        raise Problem("chain_unavailable", f"the payment cannot be checked: {error}") from error
    except RpcError as error:
        if not is_revert(error):
            raise Problem("chain_unavailable", f"the payment cannot be checked: {error}") from error
        refusal = context.coin.decode_error(error.data)
        reason = _REASONS.get(refusal.name, _REFUSED_BY_CHAIN)
        raise _Refused(reason, str(refusal), x402.payment.sender) from error


def _store_once(
    session: Session, context: Context, merchant_id: str, x402: X402Payment
) -> tuple[str, int, Settled | None]:
    """Return the transfer's id, the newest event's seq, and the outcome where there is one.

    Raises:
        _Refused: it cannot be paid, or its nonce was used for something else.
    """
    found = _find(session, x402)
    if found is not None:
        if not _is_same(found, merchant_id, x402):
            raise _nonce_used(x402)
        return found.id, last_seq(session), _outcome(session, context, x402)
    _refuse_unless_payable(session, merchant_id, x402)
    transfer_id = context.ids.new("trf")
    queue_transfer(
        session,
        context,
        merchant_id,
        transfer_id,
        x402.payment,
        x402.calldata,
        account_id=_account_at(session, merchant_id, x402.payment.sender),
        resource=x402.resource,
    )
    return transfer_id, last_seq(session), None


def _refuse_unless_payable(session: Session, merchant_id: str, x402: X402Payment) -> None:
    payment = x402.payment
    if _account_at(session, merchant_id, payment.to) is None:
        detail = f"payTo: {payment.to} is no account of this merchant"
        raise _Refused(_INVALID_REQUIREMENTS, detail, payment.sender)
    has = available(session, payment.sender)
    if has < payment.amount:
        detail = f"{payment.sender} has {max(has, 0)} available, {payment.amount} is needed"
        raise _Refused("insufficient_funds", detail, payment.sender)


def _account_at(session: Session, merchant_id: str, address: str) -> str | None:
    which = {"its_merchant": merchant_id, "its_address": address}
    return session.scalar(_ACCOUNT_AT, which)


def _find(session: Session, x402: X402Payment) -> Row[Any] | None:
    which = {"its_sender": x402.payment.sender, "its_nonce": x402.payment.nonce}
    return session.execute(_FIND, which).one_or_none()


def _is_same(found: Row[Any], merchant_id: str, x402: X402Payment) -> bool:
    """Whether a stored transfer is this payment, for the same thing. Payer and nonce alone are
    public once they are on chain, so the signature belongs to it."""
    return (found.merchant_id, found.calldata, found.resource) == (
        merchant_id,
        x402.calldata,
        x402.resource,
    )


def _nonce_used(x402: X402Payment) -> _Refused:
    payment = x402.payment
    return _Refused(_NONCE_USED, f"the nonce {payment.nonce} was used", payment.sender)


def _outcome(session: Session, context: Context, x402: X402Payment) -> Settled | None:
    """How a stored payment ended; None while it has not."""
    found = _find(session, x402)
    assert found is not None
    if found.status == MoveStatus.PENDING:
        return None
    payer, network = x402.payment.sender, network_of(context)
    if found.status == MoveStatus.SUCCEEDED:
        return Settled(
            success=True,
            payer=payer,
            transaction=_transaction_of(session, found, x402),
            network=network,
            amount=str(x402.payment.amount),
        )
    if found.status == MoveStatus.CANCELED:
        reason, message = "unexpected_settle_error", "called back before it was signed; it is over"
    else:
        reason = _REASONS.get(found.error_code or "", _REFUSED_BY_CHAIN)
        message = found.error or "the chain refused it"
    return Settled(
        success=False,
        errorReason=reason,
        errorMessage=message,
        payer=payer,
        transaction=found.tx_hash or "",
        network=network,
    )


def _transaction_of(session: Session, found: Row[Any], x402: X402Payment) -> str:
    if found.operation_status == OperationStatus.DONE:
        return str(found.tx_hash)
    # Somebody else, such as the payer, was faster with the same authorization.
    payment = x402.payment
    which = {
        "its_receiver": payment.to,
        "its_sender": payment.sender,
        "its_nonce": payment.nonce,
    }
    return str(session.scalars(_SENT_BY_OTHERS, which).first() or "")


def _call_back(session: Session, context: Context, merchant_id: str, x402: X402Payment) -> Settled:
    """The time is up: what nobody has signed a transaction for is canceled, so that it has an
    outcome; else it is pending."""
    ended = _outcome(session, context, x402)
    if ended is not None:
        return ended
    found = _find(session, x402)
    assert found is not None
    if found.operation_status == OperationStatus.QUEUED:
        cancel_queued(session, context, SEND, found.id)
        change(session, models.Transfer, found.id, {"status": MoveStatus.CANCELED})
        data = {"status": MoveStatus.CANCELED, "amount": str(x402.payment.amount)}
        record(session, context, merchant_id, "transfer.canceled", found.id, data)
        ended = _outcome(session, context, x402)
        assert ended is not None
        return ended
    return _pending(context, x402, found.tx_hash)


def _pending(context: Context, x402: X402Payment, tx_hash: str | None) -> Settled:
    return Settled(
        success=False,
        errorReason=PENDING,
        errorMessage="the outcome is not known yet: ask for the same settlement again",
        payer=x402.payment.sender,
        transaction=tx_hash or "",
        network=network_of(context),
    )


async def _failure_for_sure(
    context: Context, x402: X402Payment, transfer_id: str, seq: int
) -> Settled:
    """Return the outcome of a payment of ours that failed, once the indexer has read all that the
    chain has by now: the payer may have sent the authorization by itself, and then it is paid."""
    try:
        head = int(await context.rpc.call("eth_blockNumber"), 16)
    except (RpcError, RpcUnavailable):
        return _pending(context, x402, None)

    def look(session: Session) -> Settled | None:
        if (session.scalar(_NEWEST_BLOCK) or 0) < head:
            return None
        return _outcome(session, context, x402)

    settled = await context.store.read(look)
    if settled is None:
        settled = await context.waiters.wait(transfer_id, seq, look, x402.seconds)
    return settled or _pending(context, x402, None)


# -------------------------------------------------------------------------------- endpoints


@router.post("/verify", response_model=Verified, responses=documented("chain_unavailable"))
async def verify(context: Ctx, caller: X402Caller, body: PaymentBody) -> Response:
    """Whether a payment would succeed now."""
    try:
        x402 = read_payment(context, body)
        await verify_payment(context, caller.merchant_id, x402)
    except _Refused as refused:
        return _answer(
            Verified(
                isValid=False,
                invalidReason=refused.reason,
                invalidMessage=refused.message,
                payer=refused.payer,
            )
        )
    return _answer(Verified(isValid=True, payer=x402.payment.sender))


@router.post("/settle", response_model=Settled, responses=documented("chain_unavailable"))
async def settle(context: Ctx, caller: X402Caller, body: PaymentBody) -> Response:
    """Move the coin, wait until the chain has it, and tell the transaction. Safe to send again:
    the signature counts once, and the answer is the same."""
    try:
        x402 = read_payment(context, body)
        settled = await settle_payment(context, caller.merchant_id, x402)
    except _Refused as refused:
        settled = Settled(
            success=False,
            errorReason=refused.reason,
            errorMessage=refused.message,
            payer=refused.payer,
            transaction="",
            network=network_of(context),
        )
    return _answer(settled)


@router.get("/supported", response_model=Supported)
async def supported(context: Ctx) -> Response:
    """The network, the coin, and who sends the transactions. Public."""
    coin = context.manifest.coin
    kind = Kind(
        x402Version=VERSION,
        scheme=SCHEME,
        network=network_of(context),
        extra=CoinInfo(
            name=COIN_NAME,
            version=COIN_VERSION,
            asset=context.coin_address,
            symbol=coin.symbol,
            decimals=coin.decimals,
        ),
    )
    signers = {"eip155:*": [context.manifest.accounts["operator"]]}
    return _answer(Supported(kinds=[kind], extensions=[], signers=signers))


def _answer(shown: Output) -> Response:
    """The standard leaves out what there is not; some clients refuse a null."""
    return Response(shown.model_dump_json(exclude_none=True), media_type="application/json")
