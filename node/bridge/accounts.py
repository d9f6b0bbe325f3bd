"""Accounts: members of the network as a merchant knows them."""

from __future__ import annotations

from typing import Any, Literal

from eth_utils.crypto import keccak
from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session
from starlette.responses import Response

from node.bridge.answers import answer
from node.bridge.auth import Reader
from node.bridge.context import Context, Ctx
from node.bridge.events import record
from node.bridge.funds import Funds, funds_of
from node.bridge.idempotency import AccountsCommand, Outcome
from node.bridge.operations import Call, queue, reference, refuse_if_pending
from node.bridge.pagination import Listed, ListQuery, page, row_number
from node.bridge.problems import Problem, documented, not_found
from node.bridge.rows import add, change, find, owned, table
from node.bridge.values import (
    MAX_TIME,
    Address,
    Amount,
    Change,
    Input,
    Kind,
    Name,
    Note,
    Output,
    Page,
    Time,
    TimeIn,
    kind_bits,
    kind_names,
)
from node.store import models
from node.store.models import AccountStatus
from node.store.prepared import Prepared

router = APIRouter(prefix="/accounts", tags=["accounts"])

_ACCOUNTS = table(models.Account)
_FIND_PAIR = Prepared(
    owned(models.Account, bindparam("its_merchant")).where(
        or_(_ACCOUNTS.c.id == bindparam("its_payer"), _ACCOUNTS.c.id == bindparam("its_payee"))
    )
)


class AccountRequest(Input):
    reference: Name | None = Field(None, description="what you call it; unique among yours")
    kinds: list[Kind] = Field(min_length=1, max_length=3)
    address: Address | None = Field(
        None, description="of a member with its own key; without it the node manages one"
    )
    member_until: TimeIn | None = Field(None, description="without it: as the network has it")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"reference": "customer-17", "kinds": ["buyer"]},
                {
                    "reference": "seller-4",
                    "kinds": ["seller"],
                    "address": "0x52908400098527886E0F7030069857D2E4169EE7",
                    "member_until": "2030-01-31T00:00:00Z",
                },
            ]
        }
    )


class FreezeRequest(Input):
    reason: Note = Field(description="kept here; the chain gets its keccak-256 hash")

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "chargeback case 7"}]})


class ExpelRequest(Input):
    reason: Note = Field(description="kept here, in the event")

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "shop closed"}]})


class MembershipRequest(Input):
    kinds: list[Kind] | None = Field(None, min_length=1, max_length=3)
    member_until: TimeIn

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"member_until": "2031-01-31T00:00:00Z"}]}
    )


class AccountsQuery(ListQuery):
    reference: str | None = Field(None, max_length=120)


_ACCOUNT_EXAMPLE: dict[str, Any] = {
    "id": "acc_01980ab2c3d47e5f8a9b0c1d2e3f4a5b",
    "reference": "customer-17",
    "address": "0x52908400098527886E0F7030069857D2E4169EE7",
    "custody": "managed",
    "kinds": ["buyer"],
    "member_until": "2036-01-31T00:00:00Z",
    "status": "active",
    "error": None,
    "created_at": "2026-01-31T09:15:00Z",
}
_BALANCE_EXAMPLE: dict[str, Any] = {
    "available": "37500000",
    "held": "12500000",
    "pending": "0",
    "as_of_block": 17,
}


class Account(Output):
    id: str
    reference: str | None
    address: str
    custody: Literal["managed", "external"] = Field(description="who holds the key")
    kinds: list[str]
    member_until: Time
    status: Literal["pending", "active", "frozen", "expired", "failed"]
    error: str | None = Field(description="of the last failed operation")
    created_at: Time

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_ACCOUNT_EXAMPLE]})


class Balance(Output):
    available: Amount = Field(description="can be spent: the balance less what is on its way out")
    held: Amount = Field(description="in escrow for purchases of this account")
    pending: Amount = Field(description="on its way in")
    as_of_block: int

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_BALANCE_EXAMPLE]})


class AccountWithBalance(Account):
    balance: Balance

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{**_ACCOUNT_EXAMPLE, "balance": _BALANCE_EXAMPLE}]},
    )


class Entry(Output):
    """One change of the account's balance on chain."""

    id: int
    kind: str = Field(description="topup, redemption, transfer, authorize, release, fee, …")
    amount: Change
    balance_after: Amount
    counterparty: str = Field(description="address on the other side")
    ref: str | None = Field(description="order hash, nonce, memo or mint reference")
    tx_hash: str
    block_number: int
    block_time: Time

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": 9,
                    "kind": "authorize",
                    "amount": "-12500000",
                    "balance_after": "37500000",
                    "counterparty": "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
                    "ref": "0x" + "9c" * 32,
                    "tx_hash": "0x" + "5f" * 32,
                    "block_number": 17,
                    "block_time": "2026-01-31T09:15:00Z",
                }
            ]
        },
    )


# ---------------------------------------------------------------------------------- service


def create_account(
    session: Session, context: Context, merchant_id: str, request: AccountRequest, now: int
) -> Outcome:
    """Admit a new member, or an address that is one already.

    Args:
        now: the chain's time.

    Raises:
        Problem: reference_taken, address_taken, address_reserved, invalid_request.
    """
    if request.reference is not None:
        _refuse_taken_reference(session, merchant_id, request.reference)
    if request.address is None:
        managed_index, address = _next_managed(session, context)
    else:
        managed_index, address = None, request.address
        _refuse_taken_address(session, context, merchant_id, address)
    kinds, member_until = kind_bits(request.kinds), request.member_until
    if member_until is None:
        member_until = min(now + context.settings.membership_seconds, MAX_TIME)
    _refuse_past(member_until, now)
    account_id = context.ids.new("acc")
    add(
        session,
        models.Account,
        id=account_id,
        merchant_id=merchant_id,
        reference=request.reference,
        address=address,
        managed_index=managed_index,
        kinds=kinds,
        member_until=member_until,
        status=AccountStatus.PENDING,
        error=None,
        created_at=context.wall_now(),
    )
    # An admission replaces what the coin knows: it must not take from a member what another
    # merchant has given it.
    members = table(models.Member)
    member = session.execute(
        select(members.c.kinds, members.c.member_until).where(members.c.address == address)
    ).one_or_none()
    if member is not None:
        kinds, member_until = kinds | member.kinds, max(member_until, member.member_until)
    operation_id = _queue_admission(
        session, context, merchant_id, account_id, address, kinds, member_until
    )
    record(
        session,
        context,
        merchant_id,
        "account.created",
        account_id,
        {"status": AccountStatus.PENDING, "address": address, "reference": request.reference},
    )
    return Outcome("account", account_id, [operation_id])


def change_membership(
    session: Session,
    context: Context,
    merchant_id: str,
    account_id: str,
    request: MembershipRequest,
    now: int,
) -> Outcome:
    """Renew a membership, or admit again: after an expulsion, the end of it, a failed admission.

    Raises:
        Problem: not_found, operation_pending, invalid_request.
    """
    account = find_account(session, merchant_id, account_id)
    refuse_if_pending(session, "account.admit", account_id)
    _refuse_past(request.member_until, now)
    kinds = account.kinds if request.kinds is None else kind_bits(request.kinds)
    values: dict[str, Any] = {"kinds": kinds, "member_until": request.member_until, "error": None}
    if account.status == AccountStatus.FAILED:
        values["status"] = AccountStatus.PENDING
    change(session, models.Account, account_id, values)
    operation_id = _queue_admission(
        session, context, merchant_id, account_id, account.address, kinds, request.member_until
    )
    return Outcome("account", account_id, [operation_id])


def freeze_account(
    session: Session, context: Context, merchant_id: str, account_id: str, request: FreezeRequest
) -> Outcome:
    """Raises:
    Problem: not_found, invalid_state, operation_pending.
    """
    account = find_account(session, merchant_id, account_id)
    if account.status not in (AccountStatus.ACTIVE, AccountStatus.EXPIRED):
        raise _wrong_state(account, "frozen")
    reason_hash = "0x" + keccak(text=request.reason).hex()
    calldata = context.coin.encode("freeze", account.address, reason_hash)
    record(
        session,
        context,
        merchant_id,
        "account.freeze_requested",
        account_id,
        {"status": account.status, "reason": request.reason, "reason_hash": reason_hash},
    )
    return _queue_standing(session, context, merchant_id, account, "account.freeze", calldata)


def unfreeze_account(
    session: Session, context: Context, merchant_id: str, account_id: str
) -> Outcome:
    """Raises:
    Problem: not_found, invalid_state, operation_pending.
    """
    account = find_account(session, merchant_id, account_id)
    if account.status != AccountStatus.FROZEN:
        raise _wrong_state(account, "unfrozen")
    calldata = context.coin.encode("unfreeze", account.address)
    return _queue_standing(session, context, merchant_id, account, "account.unfreeze", calldata)


def expel_account(
    session: Session, context: Context, merchant_id: str, account_id: str, request: ExpelRequest
) -> Outcome:
    """End a membership now. The member keeps its coin, and can do nothing with it.

    Raises:
        Problem: not_found, invalid_state, operation_pending.
    """
    account = find_account(session, merchant_id, account_id)
    if account.status not in (AccountStatus.ACTIVE, AccountStatus.FROZEN):
        raise _wrong_state(account, "expelled")
    calldata = context.coin.encode("expel", account.address)
    outcome = _queue_standing(session, context, merchant_id, account, "account.expel", calldata)
    data = {"status": account.status, "reason": request.reason}
    record(session, context, merchant_id, "account.expulsion_requested", account_id, data)
    return outcome


def find_account(
    session: Session, merchant_id: str, account_id: str, param: str = "id"
) -> Row[Any]:
    return find(session, models.Account, merchant_id, account_id, "account", param)


def find_active(session: Session, merchant_id: str, account_id: str, param: str) -> Row[Any]:
    """Return an account that may send and receive coin.

    Raises:
        Problem: not_found, account_not_active.
    """
    account = find_account(session, merchant_id, account_id, param)
    if account.status != AccountStatus.ACTIVE:
        raise _not_active(account, param)
    return account


def find_active_pair(
    session: Session, merchant_id: str, payer: str, payee: str
) -> tuple[Row[Any], Row[Any]]:
    """`find_active` of who pays and who is paid, in one look.

    Raises:
        Problem: not_found, account_not_active.
    """
    which = {"its_merchant": merchant_id, "its_payer": payer, "its_payee": payee}
    found = {row.id: row for row in _FIND_PAIR.run(session, which)}
    pair = []
    for param, account_id in (("payer", payer), ("payee", payee)):
        account = found.get(account_id)
        if account is None:
            raise not_found("account", account_id, param)
        if account.status != AccountStatus.ACTIVE:
            raise _not_active(account, param)
        pair.append(account)
    return pair[0], pair[1]


def refuse_barred(account: Row[Any], param: str) -> None:
    """Refuse who can neither send nor receive. Whose admission is on its way is not refused.

    Raises:
        Problem: account_not_active.
    """
    if account.status in (AccountStatus.FROZEN, AccountStatus.EXPIRED):
        raise _not_active(account, param)


def _not_active(account: Row[Any], param: str) -> Problem:
    return Problem(
        "account_not_active",
        f"{param}: the account {account.id} is {account.status}, not active",
        param=param,
        retryable=account.status == AccountStatus.PENDING,
        actual=account.status,
    )


def show_account(session: Session, merchant_id: str, account_id: str) -> Account:
    return Account(**_fields(find_account(session, merchant_id, account_id)))


def show_account_with_balance(
    session: Session, merchant_id: str, account_id: str
) -> AccountWithBalance:
    account = find_account(session, merchant_id, account_id)
    return AccountWithBalance(
        **_fields(account), balance=_balance(funds_of(session, account.address))
    )


def show_balance(session: Session, merchant_id: str, account_id: str) -> Balance:
    return _balance(funds_of(session, find_account(session, merchant_id, account_id).address))


def list_accounts(session: Session, merchant_id: str, query: AccountsQuery) -> Page[Account]:
    accounts = table(models.Account)
    statement = owned(models.Account, merchant_id)
    if query.reference is not None:
        statement = statement.where(accounts.c.reference == query.reference)
    return page(session, statement, accounts.c.id, query, lambda row: Account(**_fields(row)))


def list_entries(
    session: Session, merchant_id: str, account_id: str, query: ListQuery
) -> Page[Entry]:
    account = find_account(session, merchant_id, account_id)
    entries = table(models.LedgerEntry)
    statement = select(entries).where(entries.c.address == account.address)
    return page(session, statement, entries.c.id, query, _entry, parse_id=row_number)


def _queue_admission(
    session: Session,
    context: Context,
    merchant_id: str,
    account_id: str,
    address: str,
    kinds: int,
    member_until: int,
) -> str:
    call = Call(
        kind="account.admit",
        ref=reference("plaza/account.admit", account_id),
        signer="operator",
        to=context.coin_address,
        calldata=context.coin.encode("admit", address, kinds, member_until),
    )
    return queue(session, context, merchant_id, account_id, call)


def _queue_standing(
    session: Session,
    context: Context,
    merchant_id: str,
    account: Row[Any],
    kind: str,
    calldata: str,
) -> Outcome:
    refuse_if_pending(session, kind, account.id)
    change(session, models.Account, account.id, {"error": None})
    call = Call(
        kind=kind,
        ref=reference(f"plaza/{kind}", account.id),
        signer="operator",
        to=context.coin_address,
        calldata=calldata,
    )
    return Outcome("account", account.id, [queue(session, context, merchant_id, account.id, call)])


def _next_managed(session: Session, context: Context) -> tuple[int, str]:
    highest = session.scalar(select(func.max(table(models.Account).c.managed_index)))
    index = 0 if highest is None else highest + 1
    return index, context.seed.managed(index).address


def _refuse_taken_reference(session: Session, merchant_id: str, reference_: str) -> None:
    accounts = table(models.Account)
    taken = session.execute(
        owned(models.Account, merchant_id).where(accounts.c.reference == reference_)
    ).one_or_none()
    if taken is not None:
        raise Problem(
            "reference_taken",
            f"the account {taken.id} has the reference {reference_!r}",
            param="reference",
            resource_id=taken.id,
        )


def _refuse_taken_address(
    session: Session, context: Context, merchant_id: str, address: str
) -> None:
    contracts = (contract.address for contract in context.manifest.contracts.values())
    if address in (*contracts, *context.manifest.accounts.values()):
        raise Problem("address_reserved", f"{address} is the platform's own", param="address")
    accounts = table(models.Account)
    taken = session.execute(
        select(accounts.c.id, accounts.c.merchant_id).where(
            accounts.c.address == address,
            # Whose key this node holds is nobody's external account, whichever merchant's it is.
            or_(accounts.c.merchant_id == merchant_id, accounts.c.managed_index.is_not(None)),
        )
    ).first()
    if taken is None:
        return
    if taken.merchant_id != merchant_id:
        raise Problem(
            "address_reserved", f"the key of {address} is managed by the platform", param="address"
        )
    raise Problem(
        "address_taken",
        f"the account {taken.id} has the address {address}",
        param="address",
        resource_id=taken.id,
    )


def _refuse_past(member_until: int, now: int) -> None:
    if member_until <= now:
        raise Problem(
            "invalid_request",
            f"member_until: unix second {member_until} is not after {now}, the chain's time",
            param="member_until",
        )


def _wrong_state(account: Row[Any], wanted: str) -> Problem:
    detail = f"the account {account.id} is {account.status} and cannot be {wanted}"
    return Problem("invalid_state", detail, actual=account.status)


def _fields(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "reference": row.reference,
        "address": row.address,
        "custody": "external" if row.managed_index is None else "managed",
        "kinds": kind_names(row.kinds),
        "member_until": row.member_until,
        "status": row.status,
        "error": row.error,
        "created_at": row.created_at,
    }


def _balance(funds: Funds) -> Balance:
    return Balance(
        available=funds.available,
        held=funds.held,
        pending=funds.pending,
        as_of_block=funds.as_of_block,
    )


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        id=row.id,
        kind=row.kind,
        amount=row.delta,
        balance_after=row.balance_after,
        counterparty=row.counterparty,
        ref=row.ref,
        tx_hash=row.tx_hash,
        block_number=row.block_number,
        block_time=row.block_timestamp,
    )


# -------------------------------------------------------------------------------- endpoints


@router.post(
    "",
    status_code=202,
    response_model=Account,
    responses=documented("reference_taken", "address_taken", "address_reserved"),
)
async def create(body: AccountRequest, command: AccountsCommand) -> Response:
    """Admit a member to the network: with a key the node manages, or with its own address."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: create_account(session, context, merchant_id, body, now),
        lambda session, account_id: show_account(session, merchant_id, account_id),
    )


@router.get("", response_model=Page[Account])
async def list_(context: Ctx, caller: Reader, query: Listed[AccountsQuery]) -> Response:
    return answer(
        await context.store.read(lambda session: list_accounts(session, caller.merchant_id, query))
    )


@router.get("/{account_id}", response_model=AccountWithBalance, responses=documented("not_found"))
async def get(context: Ctx, caller: Reader, account_id: str) -> Response:
    return answer(
        await context.store.read(
            lambda session: show_account_with_balance(session, caller.merchant_id, account_id)
        )
    )


@router.get("/{account_id}/balance", response_model=Balance, responses=documented("not_found"))
async def get_balance(context: Ctx, caller: Reader, account_id: str) -> Response:
    return answer(
        await context.store.read(
            lambda session: show_balance(session, caller.merchant_id, account_id)
        )
    )


@router.get("/{account_id}/entries", response_model=Page[Entry], responses=documented("not_found"))
async def entries(
    context: Ctx, caller: Reader, account_id: str, query: Listed[ListQuery]
) -> Response:
    """The account's ledger: every change of its balance on chain, newest first."""
    return answer(
        await context.store.read(
            lambda session: list_entries(session, caller.merchant_id, account_id, query)
        )
    )


@router.post(
    "/{account_id}/membership",
    status_code=202,
    response_model=Account,
    responses=documented("not_found", "operation_pending"),
)
async def membership(
    account_id: str, body: MembershipRequest, command: AccountsCommand
) -> Response:
    """Renew a membership, admit again who was expelled, or try a failed admission again."""
    context, merchant_id = command.context, command.caller.merchant_id
    now = await context.clock.now()
    return await command.run(
        body,
        lambda session: change_membership(session, context, merchant_id, account_id, body, now),
        lambda session, account_id: show_account(session, merchant_id, account_id),
    )


@router.post(
    "/{account_id}/expel",
    status_code=202,
    response_model=Account,
    responses=documented("not_found", "invalid_state", "operation_pending"),
)
async def expel(account_id: str, body: ExpelRequest, command: AccountsCommand) -> Response:
    """End the membership now; `membership` admits again."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        body,
        lambda session: expel_account(session, context, merchant_id, account_id, body),
        lambda session, account_id: show_account(session, merchant_id, account_id),
    )


@router.post(
    "/{account_id}/freeze",
    status_code=202,
    response_model=Account,
    responses=documented("not_found", "invalid_state", "operation_pending"),
)
async def freeze(account_id: str, body: FreezeRequest, command: AccountsCommand) -> Response:
    """Stop the account from sending and receiving."""
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        body,
        lambda session: freeze_account(session, context, merchant_id, account_id, body),
        lambda session, account_id: show_account(session, merchant_id, account_id),
    )


@router.post(
    "/{account_id}/unfreeze",
    status_code=202,
    response_model=Account,
    responses=documented("not_found", "invalid_state", "operation_pending"),
)
async def unfreeze(account_id: str, command: AccountsCommand) -> Response:
    context, merchant_id = command.context, command.caller.merchant_id
    return await command.run(
        None,
        lambda session: unfreeze_account(session, context, merchant_id, account_id),
        lambda session, account_id: show_account(session, merchant_id, account_id),
    )
