"""Transfers that come as a transaction their owner has signed: looked at, kept, and sent on.

The bytes are the owner's, so the node can send them and nothing else: it signs nothing anew. They
are stored in the transaction that makes the transfer, and the outbox sends what is stored until a
block holds it, or the owner has used the nonce for something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.orm import Session

from node.bridge.context import Context
from node.bridge.operations import Call, queue
from node.bridge.problems import Problem
from node.bridge.rows import table
from node.chain.rpc import RpcError, RpcUnavailable
from node.store import models
from node.store.models import OWNER, AttemptKind, ChainTxStatus, OperationStatus

_ADDRESS_WORD = 12  # leading zero bytes of an address in calldata
_CHAIN_TXS = table(models.ChainTx)
_OPERATIONS = table(models.Operation)


@dataclass(frozen=True)
class RawTransfer:
    """A signed transaction, and what the chain says of its sender.

    Attributes:
        next_mined, next_pending: the sender's next nonce by mined and by all known transactions.
    """

    raw: str
    hash: str
    sender: str
    nonce: int
    to: str
    amount: int
    next_mined: int
    next_pending: int


async def read_raw_transfer(context: Context, raw: str) -> RawTransfer:
    """Return what a signed transaction does, if it is a transfer of coin on this chain.

    Args:
        raw: an EIP-1559 transaction as hex, which calls the coin's `transfer`.

    Raises:
        Problem: transaction_invalid, chain_unavailable.
    """
    try:
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        sender = str(Account.recover_transaction(raw))
    except Exception as error:  # whatever rlp, the decoder or the curve finds wrong
        raise _invalid(f"cannot be read as a signed EIP-1559 transaction: {error}") from None
    if fields.get("type") != 2:
        raise _invalid("is not of the type 2 (EIP-1559)")
    chain_id = context.manifest.chain_id
    if fields["chainId"] != chain_id:
        raise _invalid(f"is for the chain {fields['chainId']}, and this is {chain_id}")
    target, coin = to_checksum_address(fields["to"] or b"\0" * 20), context.coin_address
    if target != coin or fields["value"]:
        raise _invalid(f"is a call of {target} with {fields['value']} wei, not of the coin, {coin}")
    to, amount = _arguments_of(context, bytes(fields["data"]))
    calls = [
        ("eth_getTransactionCount", [sender, "latest"]),
        ("eth_getTransactionCount", [sender, "pending"]),
        ("eth_getBalance", [sender, "latest"]),
    ]
    numbers = []
    try:
        for answer in await context.rpc.batch(calls):
            if isinstance(answer, RpcError):
                raise answer
            numbers.append(int(answer, 16))
    except (RpcError, RpcUnavailable) as error:
        detail = f"the nonce of {sender} is not known: {error}"
        raise Problem("chain_unavailable", detail) from error
    next_mined, next_pending, wei = numbers
    if fields["gas"] * fields["maxFeePerGas"] > wei:
        raise _invalid(f"may cost more than the {wei} wei of {sender}; gas costs nothing here")
    return RawTransfer(
        raw=raw.lower(),
        hash="0x" + keccak(hexstr=raw).hex(),
        sender=sender,
        nonce=fields["nonce"],
        to=to,
        amount=amount,
        next_mined=next_mined,
        next_pending=next_pending,
    )


def refuse_other(account: Row[Any], to: str, amount: int, raw: RawTransfer) -> None:
    """Refuse a transaction that does something else than the request says.

    Raises:
        Problem: transaction_invalid.
    """
    if raw.sender != account.address:
        raise _invalid(f"is signed by {raw.sender}, not by {account.address}")
    if (raw.to, raw.amount) != (to, amount):
        raise _invalid(f"sends {raw.amount} to {raw.to}, not {amount} to {to}")


def refuse_nonce(session: Session, raw: RawTransfer) -> None:
    """Refuse a nonce that is used or promised already, or that others have to come before.

    Raises:
        Problem: nonce_taken.
    """
    waiting = session.scalar(
        select(func.max(_CHAIN_TXS.c.nonce)).where(
            _CHAIN_TXS.c.sender == raw.sender, _CHAIN_TXS.c.status == ChainTxStatus.SIGNED
        )
    )
    expected = max(raw.next_pending, -1 if waiting is None else waiting + 1)
    promised = session.scalar(
        select(_CHAIN_TXS.c.id).where(
            _CHAIN_TXS.c.sender == raw.sender, _CHAIN_TXS.c.nonce == raw.nonce
        )
    )
    if promised is not None or not raw.next_mined <= raw.nonce <= expected:
        raise Problem(
            "nonce_taken",
            f"raw_transaction: has the nonce {raw.nonce}, and the next of {raw.sender} is"
            f" {expected}",
            param="raw_transaction",
            expected=expected,
        )


def queue_raw(
    session: Session, context: Context, merchant_id: str, transfer_id: str, raw: RawTransfer
) -> str:
    """Store a transaction that is signed already, for the outbox to send; return the operation."""
    call = Call(
        kind="transfer.send_raw",
        ref=raw.hash,
        signer=OWNER,
        to=context.coin_address,
        calldata="0x",  # it is in the bytes
        debit=(raw.sender, raw.amount),
        credit=(raw.to, raw.amount),
    )
    operation_id = queue(session, context, merchant_id, transfer_id, call)
    session.execute(
        update(_OPERATIONS)
        .where(_OPERATIONS.c.id == operation_id)
        .values(status=OperationStatus.SUBMITTED, tx_hash=raw.hash)
    )
    chain_tx_id = session.scalar(
        insert(_CHAIN_TXS)
        .values(sender=raw.sender, nonce=raw.nonce, status=ChainTxStatus.SIGNED, tx_hash=raw.hash)
        .returning(_CHAIN_TXS.c.id)
    )
    session.execute(
        insert(table(models.ChainTxOperation)).values(
            chain_tx_id=chain_tx_id, position=0, operation_id=operation_id
        )
    )
    session.execute(
        insert(table(models.TxAttempt)).values(
            hash=raw.hash,
            chain_tx_id=chain_tx_id,
            kind=AttemptKind.CALL,
            raw=raw.raw,
            created_at=context.wall_now(),
        )
    )
    return operation_id


def _arguments_of(context: Context, data: bytes) -> tuple[str, int]:
    """Receiver and amount of a call of the coin's `transfer(address,uint256)`."""
    selector, arguments = data[:4], data[4:]
    if "0x" + selector.hex() != context.coin.selector("transfer") or len(arguments) != 64:
        raise _invalid("calls something else of the coin than transfer(address,uint256)")
    if any(arguments[:_ADDRESS_WORD]):
        raise _invalid("names no address to send to")
    return str(to_checksum_address(arguments[_ADDRESS_WORD:32])), int.from_bytes(arguments[32:])


def _invalid(what: str) -> Problem:
    return Problem("transaction_invalid", f"raw_transaction: {what[:300]}", param="raw_transaction")
