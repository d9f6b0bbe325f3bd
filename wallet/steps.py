"""Sending in steps: sign offline what was built online, send it later, race for a nonce.

The rule stays the same: what is signed is in the journal before its bytes leave this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wallet.addresses import keccak, parse_address
from wallet.client import Sent, Wallet
from wallet.errors import Refused, TermsMismatch, UnknownName, WalletError
from wallet.journal import Entry, NonceTaken, NotReplaceable
from wallet.plans import Plan
from wallet.transactions import SignedTransaction, Transaction, decode_raw, explain_or_show

CANCELLATION_GAS = 21_000
OPEN = ("held", "signed")


# ------------------------------------------------------------------------------ building


def to_transaction(plan: Plan, nonce: int | None = None) -> Transaction:
    """Return a plan as the transaction to sign; with a nonce of one's own where one is given."""
    return Transaction(
        chain_id=plan.network.chain_id,
        sender=plan.sender,
        nonce=plan.nonce if nonce is None else nonce,
        to=plan.to,
        data=plan.data,
        gas=plan.gas,
    )


def build_call(wallet: Wallet, to: str, data: bytes, nonce: int | None = None) -> Transaction:
    """Make a transaction of raw call data, simulated.

    Raises:
        InvalidInput: the address is none.
        WrongChain: the endpoint serves another chain.
        WouldRevert: the contract refuses it.
    """
    to = parse_address(to)
    wallet.check_chain()
    return Transaction(
        chain_id=wallet.network.chain_id,
        sender=wallet.address,
        nonce=wallet._next_nonce() if nonce is None else nonce,
        to=to,
        data=data,
        gas=wallet._estimate_gas(to, data),
    )


def simulate(wallet: Wallet, transaction: Transaction) -> list[str]:
    """Run a transaction of this wallet's address on the chain as it is now.

    Returns:
        What stands in its way though its call succeeds: nonces, gas.

    Raises:
        WrongChain: the endpoint serves another chain.
        WouldRevert: the contract refuses it.
    """
    wallet.check_chain()
    problems = []
    used, next_ = wallet._transaction_count("latest"), wallet._transaction_count("pending")
    if transaction.nonce < used:
        problems.append(f"nonce {transaction.nonce} is used: the chain is at {used}")
    elif transaction.nonce > next_:
        problems.append(
            f"nonce {transaction.nonce} has to wait: the chain is at {next_}, and whatever stands "
            "between has to come first"
        )
    gas = wallet._estimate_gas(transaction.to, transaction.data) * 5 // 6
    if transaction.gas < gas:
        problems.append(f"the gas limit is {transaction.gas}, {gas} is needed")
    return problems


# ------------------------------------------------------------------------------- signing


def signed_before(wallet: Wallet, transaction: Transaction) -> SignedTransaction | None:
    """Return the bytes given out for exactly this transaction before; asks the journal alone.

    Raises:
        Refused: its nonce is signed for with something else, or used.
        TermsMismatch: it is another key's.
    """
    if transaction.sender != wallet.address:
        raise TermsMismatch(f"it is {transaction.sender}'s to sign, this key is {wallet.address}")
    for entry in wallet._journal_open().candidates(transaction.nonce):
        if entry.state in OPEN and decode_raw(entry.raw).transaction == transaction:
            return decode_raw(entry.raw)
        if entry.state in (*OPEN, "confirmed", "reverted"):
            raise Refused(
                f"nonce {transaction.nonce} is signed for already: {entry.hash} ({entry.state}). "
                + (
                    "To put something in its place: `wallet tx replace` or `wallet tx cancel`"
                    if entry.state in OPEN
                    else "Build the transaction anew"
                )
            )
    return None


def sign_offline(
    wallet: Wallet, transaction: Transaction, intent: Mapping[str, str]
) -> SignedTransaction:
    """Sign without asking the chain anything; the journal holds it before the bytes are returned.

    Raises:
        Refused: its nonce is signed for with something else, or used.
        TermsMismatch: it is another key's, or for another chain.
        PasswordError: from the signer.
        JournalError: it cannot be written down; the bytes are not given out.
    """
    if transaction.chain_id != wallet.network.chain_id:
        raise TermsMismatch(
            f"it is for chain {transaction.chain_id}, network {wallet.network.name!r} is chain "
            f"{wallet.network.chain_id}"
        )
    journal = wallet._journal_open()
    tail = journal.tail()
    before = signed_before(wallet, transaction)
    if before is not None:
        return before
    raw = wallet._sign_fields(transaction)
    signed = decode_raw(raw)
    try:
        entry = journal.record(
            tail=tail,
            idempotency_key=f"offline:{signed.hash}",
            intent=intent,
            nonce=transaction.nonce,
            raw=raw,
            transaction_hash=signed.hash,
            now=int(wallet._clock()),
            state="held",
        )
    except NonceTaken as error:
        raise Refused("another transaction was signed meanwhile: try again") from error
    if entry.state not in OPEN:
        raise Refused(f"{entry.hash} was {entry.state} before: build the transaction anew")
    return signed


# ------------------------------------------------------------------------------- sending


def check_sendable(wallet: Wallet, signed: SignedTransaction) -> list[str]:
    """Look at what a signed transaction meets; returns what to warn of.

    Raises:
        WrongChain: the endpoint serves another chain.
        Refused: it can never land, this wallet is replacing it, or something held comes first.
    """
    wallet.check_chain()
    transaction, journal = signed.transaction, wallet._journal_open()
    entry = journal.find_hash(signed.hash)
    if entry is not None and entry.state in ("confirmed", "reverted"):
        return []
    if entry is not None and entry.state in ("superseded", "refused"):
        raise Refused(f"{signed.hash} can never land: it is {entry.state}")
    if entry is not None:
        for rival in journal.candidates(entry.nonce):
            if rival.replaces == entry.hash and rival.state == "signed":
                raise Refused(f"{entry.hash} is being replaced by {rival.hash}")
    on_chain = wallet._rpc.call("eth_getTransactionByHash", signed.hash) is not None
    used = wallet._transaction_count("latest")
    if not on_chain and transaction.nonce < used:
        raise Refused(f"nonce {transaction.nonce} is used: the chain is at {used}")
    wallet.require_no_held(below=transaction.nonce)
    warnings = []
    next_ = wallet._transaction_count("pending")
    if entry is not None:
        next_ = journal.tail().free_nonce(next_)
    if transaction.nonce > next_:
        warnings.append(
            f"nonces {next_} to {transaction.nonce - 1} have to be used first: until then it waits"
        )
    if entry is None:
        warnings += [
            f"{rival.hash} was signed here for the same nonce: only one of the two can land"
            for rival in journal.candidates(transaction.nonce)
            if rival.state in OPEN
        ]
    return warnings


def send_signed(wallet: Wallet, signed: SignedTransaction) -> Sent:
    """Write a signed transaction into the journal, whoever signed it, and only then send it.

    Raises:
        JournalError: it cannot be written down, so it is not sent.
        Refused: the endpoint says the bytes can never be included, or see `check_sendable`.
    """
    journal = wallet._journal_open()
    entry = journal.find_hash(signed.hash)
    if entry is None:
        intent = explain_or_show(wallet.network, signed.transaction, allow_undecoded=True)
        entry = _record_foreign(wallet, signed, intent)
    elif entry.state == "held":
        journal.release(entry.hash)
        entry = replace(entry, state="signed")
    for earlier in journal.unfinished():
        if earlier.nonce < entry.nonce:
            wallet._broadcast(earlier, quietly=True)
    wallet._broadcast(entry)
    return Sent(wallet, entry)


def _record_foreign(wallet: Wallet, signed: SignedTransaction, intent: Mapping[str, str]) -> Entry:
    journal, nonce = wallet._journal_open(), signed.transaction.nonce
    common: dict[str, Any] = {
        "idempotency_key": f"offline:{signed.hash}",
        "intent": intent,
        "raw": signed.raw,
        "transaction_hash": signed.hash,
        "now": int(wallet._clock()),
    }
    while True:
        tail = journal.tail()
        rivals = [entry for entry in journal.candidates(nonce) if entry.state in OPEN]
        try:
            if rivals:
                return journal.record_replacement(rivals[-1], **common)
            return journal.record(tail=tail, nonce=nonce, **common)
        except (NonceTaken, NotReplaceable):
            continue


# -------------------------------------------------------------------------------- racing


def find_open(wallet: Wallet, transaction_hash: str) -> Entry:
    """Return the journal's transaction of a hash, if its nonce is still to be won.

    Raises:
        UnknownName: it was not signed here with this key.
        Refused: it has ended.
    """
    entry = wallet._journal_open().find_hash(transaction_hash)
    if entry is None:
        raise UnknownName(
            f"{transaction_hash} is not in the journal of this key on network "
            f"{wallet.network.name!r}"
        )
    if entry.state in OPEN and wallet._look_up_quietly(entry):
        return entry
    ended = wallet._journal_open().find_hash(transaction_hash) or entry
    raise Refused(f"{transaction_hash} has ended: it is {ended.state}")


def more_gas(entry: Entry, gas: int | None) -> Transaction:
    """Return the same transaction with more gas: as given, else half as much again.

    Raises:
        Refused: that is not more.
    """
    transaction = decode_raw(entry.raw).transaction
    gas = transaction.gas * 3 // 2 if gas is None else gas
    if gas <= transaction.gas:
        raise Refused(f"its gas limit is {transaction.gas}, {gas} is not more")
    return replace(transaction, gas=gas)


def cancellation(entry: Entry) -> Transaction:
    """Return the transaction that uses up the nonce for nothing: empty, and to oneself."""
    transaction = decode_raw(entry.raw).transaction
    return replace(transaction, to=transaction.sender, data=b"", gas=CANCELLATION_GAS)


def race(wallet: Wallet, entry: Entry, transaction: Transaction) -> Sent:
    """Sign a rival for an open transaction's nonce, write it down, and send it.

    From then on this wallet sends the rival alone. Which of them lands is the chain's to say, and
    the journal settles all of them together.

    Raises:
        Refused: the other one ended meanwhile, or the endpoint never takes the rival.
        PasswordError, JournalError: nothing was sent.
    """
    wallet.check_chain()
    if (transaction.sender, transaction.nonce) != (wallet.address, entry.nonce):
        raise WalletError("a rival has the same sender and nonce")
    # The latest of them is the one to displace, whichever of them was named.
    competing = wallet._journal_open().candidates(entry.nonce)
    latest = [rival for rival in competing if rival.state in OPEN]
    raw = wallet._sign_fields(transaction)
    intent = explain_or_show(wallet.network, transaction, allow_undecoded=True)
    same = transaction.data == decode_raw(entry.raw).transaction.data
    transaction_hash = "0x" + keccak(raw).hex()
    try:
        rival = wallet._journal_open().record_replacement(
            latest[-1] if latest else entry,
            # What stands under a key stays there, with whichever bytes it lands.
            idempotency_key=entry.idempotency_key if same else f"cancel:{transaction_hash}",
            intent=entry.intent if same else intent,
            raw=raw,
            transaction_hash=transaction_hash,
            now=int(wallet._clock()),
        )
    except NotReplaceable as error:
        raise Refused(f"{entry.hash} ended meanwhile") from error
    wallet._broadcast(rival)
    return Sent(wallet, rival)


def landed(wallet: Wallet, nonce: int) -> Sent | None:
    """Return which of the transactions signed here for a nonce is on chain."""
    for entry in wallet._journal_open().candidates(nonce):
        if entry.state in ("confirmed", "reverted"):
            return Sent(wallet, entry)
    return None


# ------------------------------------------------------------------------------- looking


@dataclass(frozen=True)
class Sighting:
    """What is known of a transaction: its own fields, and how the chain and the journal see it.

    `status` is confirmed, reverted, pending, or unknown (to the endpoint).
    """

    transaction: Transaction
    hash: str
    status: str
    block: int | None
    journal: Entry | None
    rivals: tuple[Entry, ...]


def look_for(wallet: Wallet, transaction_hash: str) -> Sighting:
    """Find a transaction of any account by hash, in the journal and on chain.

    Raises:
        UnknownName: neither knows it.
    """
    wallet.check_chain()
    entry = wallet._journal_open().find_hash(transaction_hash)
    found = wallet._rpc.call("eth_getTransactionByHash", transaction_hash)
    if entry is None and found is None:
        raise UnknownName(f"neither the chain nor the journal knows {transaction_hash}")
    if entry is not None:
        transaction = decode_raw(entry.raw).transaction
    elif found.get("to") is None:
        raise Refused(f"{transaction_hash} makes a contract: this wallet shows none of that")
    else:
        transaction = Transaction(
            chain_id=wallet.network.chain_id,
            sender=parse_address(found["from"]),
            nonce=int(found["nonce"], 16),
            to=parse_address(found["to"]),
            data=bytes.fromhex(found["input"][2:]),
            gas=int(found["gas"], 16),
        )
    receipt = wallet._rpc.call("eth_getTransactionReceipt", transaction_hash)
    status, block = "unknown" if found is None else "pending", None
    if receipt is not None:
        block = int(receipt["blockNumber"], 16)
        status = "confirmed" if int(receipt["status"], 16) == 1 else "reverted"
    rivals = wallet._journal_open().candidates(transaction.nonce) if entry else []
    return Sighting(
        transaction,
        transaction_hash,
        status,
        block,
        entry,
        tuple(rival for rival in rivals if rival.hash != transaction_hash),
    )


def follow(wallet: Wallet, seen: Sighting) -> Sent:
    """Return a transaction of this wallet's address to wait for.

    Only what is in the journal can be sent again; anything else is asked for by hash alone.
    """
    entry = wallet._journal_open().find_hash(seen.hash)
    if entry is None:
        intent = explain_or_show(wallet.network, seen.transaction, allow_undecoded=True)
        entry = Entry(seen.hash, "", intent, seen.transaction.nonce, b"", "signed", None, 0)
    return Sent(wallet, entry)
