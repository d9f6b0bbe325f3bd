"""Transfers: coin from an account of the merchant to any member."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.accounts import find_account, find_active, refuse_barred
from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.authorizations import Payment, authorization_for
from node.bridge.context import Context, Ctx
from node.bridge.events import record
from node.bridge.funds import refuse_unless_available
from node.bridge.idempotency import MoneyCommand, Outcome
from node.bridge.operations import Call, queue, reference
from node.bridge.pagination import Listed, ListQuery, page
from node.bridge.problems import Problem, documented
from node.bridge.raw_transfers import (
    RawTransfer,
    queue_raw,
    read_raw_transfer,
    refuse_nonce,
    refuse_other,
)
from node.bridge.rows import add, find, owned, table
from node.bridge.values import (
    Amount,
    AmountIn,
    Bytes32,
    Input,
    Note,
    Output,
    Page,
    Party,
    SignedAuthorization,
    Time,
)
from node.settings import DAY
from node.store import models
from node.store.models import MoveStatus

router = APIRouter(prefix="/transfers", tags=["money in and out"])

SEND = "transfer.send"
TRANSFER_BY_BYTES = (
    "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
)


class TransferAuthorization(SignedAuthorization):
    """EIP-3009 TransferWithAuthorization, signed by the owner of an external account."""

    nonce: Bytes32


class TransferRequest(Input):
    from_: str = Field(alias="from", description="account id")
    to: Party
    amount: AmountIn
    memo: Note | None = Field(None, description="kept here, not on chain")
    authorization: TransferAuthorization | None = Field(
        None, description="of an external account; without it the refusal says what to sign"
    )
    raw_transaction: (
        Annotated[str, StringConstraints(pattern=r"^0x([0-9a-fA-F]{2}){1,2048}$")] | None
    ) = Field(
        None,
        description="instead of an authorization: the owner's own EIP-1559 transaction, signed,"
        " that calls the coin's `transfer` with this receiver and amount",
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "to": "acc_01980ab2c3d57e5f8a9b0c1d2e3f4a5b",
                    "amount": "1000000",
                    "memo": "shared lunch",
                },
                {
                    "from": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "to": "0x52908400098527886E0F7030069857D2E4169EE7",
                    "amount": "1000000",
                    "authorization": {
                        "signature": "0x" + "1b" * 65,
                        "valid_after": 0,
                        "valid_before": 1769936400,
                        "nonce": "0x" + "3d" * 32,
                    },
                },
            ]
        }
    )


class TransfersQuery(ListQuery):
    status: MoveStatus | None = None


class Transfer(Output):
    id: str
    from_: str | None = Field(
        alias="from",
        serialization_alias="from",
        description="account id; null for a payer by x402 who is no account of the merchant",
    )
    from_address: str
    to_address: str
    amount: Amount
    memo: str | None
    resource: str | None = Field(description="what an x402 payment was for")
    nonce: str = Field(description="of the EIP-3009 authorization; else the transaction's hash")
    status: Literal["pending", "succeeded", "failed", "canceled"]
    error: str | None
    created_at: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "trf_01980ab2c3d07aaa8a9b0c1d2e3f4a5b",
                    "from": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
                    "from_address": "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
                    "to_address": "0x52908400098527886E0F7030069857D2E4169EE7",
                    "amount": "1000000",
                    "memo": "shared lunch",
                    "resource": None,
                    "nonce": "0x" + "3d" * 32,
                    "status": "pending",
                    "error": None,
                    "created_at": "2026-01-31T09:15:00Z",
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


def create_transfer(
    session: Session,
    context: Context,
    merchant_id: str,
    request: TransferRequest,
    now: int,
    raw: RawTransfer | None = None,
) -> Outcome:
    """Send coin: by an authorization, made here for a managed account, or by the transaction that
    came with the request.

    Args:
        raw: that transaction.

    Raises:
        Problem: not_found, account_not_active, address_reserved, insufficient_funds,
            signature_required, signature_invalid, reference_taken (a nonce used before),
            invalid_request, transaction_invalid, nonce_taken.
    """
    sender = find_active(session, merchant_id, request.from_, "from")
    to_address = _receiver(session, context, merchant_id, request.to)
    transfer_id = context.ids.new("trf")
    given = request.authorization
    if raw is not None:
        if sender.managed_index is not None or given is not None:
            raise Problem(
                "invalid_request",
                "raw_transaction: is for an external account, and instead of an authorization",
                param="raw_transaction",
            )
        refuse_other(sender, to_address, request.amount, raw)
        nonce = raw.hash  # it names the transfer, as the nonce of an authorization does
    elif given is not None:
        nonce = given.nonce
    else:
        nonce = reference("plaza/transfer", transfer_id)
    payment = Payment(
        sender=sender.address, to=to_address, amount=request.amount, nonce=nonce, receive=False
    )
    means: str | RawTransfer
    if raw is not None:
        _refuse_taken_nonce(session, merchant_id, sender.address, nonce, "raw_transaction")
        refuse_nonce(session, raw)
        means = raw
    else:
        signed = authorization_for(context, sender, payment, given, valid_before=now + DAY, now=now)
        if given is not None:
            _refuse_taken_nonce(session, merchant_id, sender.address, nonce, "authorization.nonce")
        means = calldata_of(
            context, payment, signed.valid_after, signed.valid_before, signed.signature
        )
    refuse_unless_available(session, sender.address, request.amount)
    operation_id = queue_transfer(
        session,
        context,
        merchant_id,
        transfer_id,
        payment,
        means,
        account_id=sender.id,
        memo=request.memo,
    )
    return Outcome("transfer", transfer_id, [operation_id])


def calldata_of(
    context: Context, payment: Payment, valid_after: int, valid_before: int, signature: str
) -> str:
    """The coin's transferWithAuthorization for a signed payment."""
    return context.coin.encode(
        TRANSFER_BY_BYTES,
        payment.sender,
        payment.to,
        payment.amount,
        valid_after,
        valid_before,
        payment.nonce,
        signature,
    )


def queue_transfer(
    session: Session,
    context: Context,
    merchant_id: str,
    transfer_id: str,
    payment: Payment,
    means: str | RawTransfer,
    *,
    account_id: str | None,
    memo: str | None = None,
    resource: str | None = None,
) -> str:
    """Store a transfer and the intention to send it; return the operation's id.

    Args:
        means: the coin's calldata for the operator to send, or the owner's own transaction.
        account_id: of the sender, where it is an account of the merchant.
        resource: what an x402 payment is for.
    """
    add(
        session,
        models.Transfer,
        id=transfer_id,
        merchant_id=merchant_id,
        from_account_id=account_id,
        from_address=payment.sender,
        to_address=payment.to,
        amount=payment.amount,
        memo=memo,
        resource=resource,
        nonce=payment.nonce,
        status=MoveStatus.PENDING,
        error=None,
        created_at=context.wall_now(),
    )
    if isinstance(means, str):
        call = Call(
            kind=SEND,
            ref=payment.nonce,
            signer="operator",
            to=context.coin_address,
            calldata=means,
            debit=(payment.sender, payment.amount),
            credit=(payment.to, payment.amount),
        )
        operation_id = queue(session, context, merchant_id, transfer_id, call)
    else:
        operation_id = queue_raw(session, context, merchant_id, transfer_id, means)
    data = {"status": MoveStatus.PENDING, "amount": str(payment.amount), "to": payment.to}
    if resource is not None:
        data["resource"] = resource
    record(session, context, merchant_id, "transfer.created", transfer_id, data)
    return operation_id


def show_transfer(session: Session, merchant_id: str, transfer_id: str) -> Transfer:
    return _show(find(session, models.Transfer, merchant_id, transfer_id, "transfer"))


def list_transfers(session: Session, merchant_id: str, query: TransfersQuery) -> Page[Transfer]:
    transfers = table(models.Transfer)
    statement = owned(models.Transfer, merchant_id)
    if query.status is not None:
        statement = statement.where(transfers.c.status == query.status)
    return page(session, statement, transfers.c.id, query, _show)


def _receiver(session: Session, context: Context, merchant_id: str, to: str) -> str:
    if not to.startswith("0x"):
        receiver = find_account(session, merchant_id, to, "to")
        refuse_barred(receiver, "to")
        return str(receiver.address)
    if to in (contract.address for contract in context.manifest.contracts.values()):
        # Coin sent to a contract of the platform belongs to no order and never comes out again.
        raise Problem("address_reserved", f"to: {to} is a contract of the platform", param="to")
    return to


def _refuse_taken_nonce(
    session: Session, merchant_id: str, sender: str, nonce: str, param: str
) -> None:
    transfers = table(models.Transfer)
    taken = session.execute(
        select(transfers.c.id, transfers.c.merchant_id, transfers.c.status).where(
            transfers.c.from_address == sender, transfers.c.nonce == nonce
        )
    ).one_or_none()
    if taken is not None:
        named = f" by {taken.id} ({taken.status})" if taken.merchant_id == merchant_id else ""
        raise Problem(
            "reference_taken",
            f"{param}: {nonce} was used{named}",
            param=param,
            resource_id=taken.id if named else None,
        )


def _show(row: Row[Any]) -> Transfer:
    return Transfer(
        **{"from": row.from_account_id},
        id=row.id,
        from_address=row.from_address,
        to_address=row.to_address,
        amount=row.amount,
        memo=row.memo,
        resource=row.resource,
        nonce=row.nonce,
        status=row.status,
        error=row.error,
        created_at=row.created_at,
    )


# -------------------------------------------------------------------------------- endpoints


@router.post(
    "",
    status_code=202,
    response_model=Transfer,
    responses=documented(
        "not_found",
        "account_not_active",
        "address_reserved",
        "insufficient_funds",
        "signature_required",
        "signature_invalid",
        "reference_taken",
        "transaction_invalid",
        "nonce_taken",
    ),
)
async def create(body: TransferRequest, command: MoneyCommand) -> Response:
    """Send coin: signed by the managed key, or with an external owner's authorization or
    transaction."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    raw = None
    if body.raw_transaction is not None:
        raw = await read_raw_transfer(context, body.raw_transaction)
    return await command.run(
        body,
        lambda session: create_transfer(session, context, merchant_id, body, now, raw),
        lambda session, transfer_id: show_transfer(session, merchant_id, transfer_id),
    )


@router.get("", response_model=Page[Transfer])
async def list_(context: Ctx, caller: Reader, query: Listed[TransfersQuery]) -> Response:
    return answer(
        await context.store.read(lambda session: list_transfers(session, caller.merchant_id, query))
    )


@router.get("/{transfer_id}", response_model=Transfer, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, transfer_id: str) -> Response:
    return answer(
        await context.store.read(
            lambda session: show_transfer(session, caller.merchant_id, transfer_id)
        )
    )
