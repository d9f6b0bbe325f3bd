"""The wallet as a library: plan what to do, look at the plan, submit it, wait for its end.

It never prompts, never prints, and keeps no state but the journal in the wallet's home.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wallet.abi import describe_revert, encode_call
from wallet.accounts import Account, check_chain, read_account, read_words
from wallet.addresses import ZERO_ADDRESS, keccak, look_alike, parse_address, parse_memo
from wallet.amounts import format_units
from wallet.bridge_requests import RequestActions, RequestPlan
from wallet.contacts import known_parties
from wallet.credit_actions import CreditActions, RepaymentPlan
from wallet.dispute_actions import DisputeActions
from wallet.errors import (
    IdempotencyConflict,
    InsufficientFunds,
    InvalidInput,
    NetworkError,
    Refused,
    RpcError,
    Superseded,
    TermsMismatch,
    WalletError,
    WouldRevert,
)
from wallet.files import default_home, private_folder
from wallet.history import Movement, earlier_recipients, read_movements
from wallet.intents import Intent, ReceiveAuthorization, signer_of
from wallet.journal import Entry, Journal, NonceTaken
from wallet.networks import Network, Networks
from wallet.plans import (
    Confirmed,
    Outcome,
    PaymentPlan,
    Plan,
    Reverted,
    StillPending,
    decode_intent,
)
from wallet.purchases import PaymentRequest, Purchase, fetch_request, find_terms, read_order
from wallet.rpc import Rpc, post_json
from wallet.signer import Signer
from wallet.transactions import Transaction

# What an endpoint says of bytes it already has, or whose nonce is used: ask by hash.
_SEEN_BEFORE = ("already known", "already imported", "known transaction", "nonce too low")
# What it says of bytes that can never be included as they are.
_IMPOSSIBLE = (
    "intrinsic gas",
    "exceeds block gas limit",
    "insufficient funds for gas",
    "less than block base fee",
    "invalid chain id",
)


class Sent:
    """A transaction in the journal. The same bytes are sent again as long as it is not on chain."""

    def __init__(self, wallet: Wallet, entry: Entry) -> None:
        self._wallet = wallet
        self._entry = entry

    @property
    def hash(self) -> str:
        return self._entry.hash

    @property
    def intent(self) -> Mapping[str, str]:
        return self._entry.intent

    @property
    def nonce(self) -> int:
        return self._entry.nonce

    @property
    def signed_at(self) -> int:
        """Unix seconds."""
        return self._entry.signed_at

    @property
    def idempotency_key(self) -> str:
        return self._entry.idempotency_key

    def look(self) -> Confirmed | Reverted | None:
        """Ask the chain by hash, once; None while it is not on chain.

        Raises:
            Superseded: another transaction took the nonce, so this one can never land.
        """
        return self._wallet._look_up(self._entry)

    def wait(self, timeout: float = 30.0) -> Outcome:
        """Wait until it is on chain, sending the same bytes again where the endpoint lost them.

        Raises:
            Superseded: another transaction took the nonce, so this one can never land.
            Refused: the endpoint says the bytes can never be included.
        """
        deadline = time.monotonic() + timeout
        pause, problem = 0.02, None
        while True:
            try:
                outcome = self.look()
                if outcome is not None:
                    return outcome
                problem = self._wallet._broadcast(self._entry)
            except (NetworkError, RpcError) as error:
                problem = str(error)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return StillPending(self.hash, problem)
            time.sleep(min(pause, remaining))
            pause = min(pause * 1.5, 1.0)


class Wallet(CreditActions, DisputeActions, RequestActions):
    """One key on one network. Use it as a context manager, or close it."""

    def __init__(
        self,
        network: Network,
        home: Path,
        signer: Signer | None = None,
        clock: Callable[[], float] = time.time,
        timeout: float = 10.0,
    ) -> None:
        self.network = network
        self._home = home
        self._signer = signer
        self._clock = clock
        self._rpc = Rpc(network.rpc_url, timeout)
        self._journal: Journal | None = None

    @classmethod
    def open(
        cls,
        network: str | None = None,
        *,
        signer: Signer | None = None,
        home: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Wallet:
        """Open the wallet on a stored network, the default one without a name.

        Raises:
            UnknownName: there is no such network.
        """
        home = home or default_home()
        return cls(Networks(home).get(network), home, signer, clock)

    def __enter__(self) -> Wallet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._rpc.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    @property
    def address(self) -> str:
        """The signer's address."""
        return self._require_signer().address

    # -------------------------------------------------------------------- reading

    def check_chain(self) -> None:
        """Raises WrongChain unless the endpoint serves the profile's chain."""
        check_chain(self.network, self._rpc)

    def account(self, address: str | None = None) -> Account:
        """Read an account's balance and standing, the signer's without an address."""
        return read_account(self.network, self._rpc, address or self.address)

    def is_paused(self) -> bool:
        """Whether the platform has paused all transfers of the coin."""
        return bool(self._read(self.network.coin, encode_call("paused"))[0])

    def history(self) -> Iterator[Movement]:
        """Yield the movements of the signer's coin, newest first."""
        return read_movements(self.network, self._rpc, self.address)

    def earlier_recipients(self) -> dict[str, int]:
        """Count the payments this key made, by recipient."""
        return earlier_recipients(self.network, self._rpc, self.address)

    def find_look_alikes(self, to: str, earlier: Mapping[str, int]) -> list[str]:
        """Say which known address `to` only looks like: paid before, a contact's or one's own.

        Args:
            earlier: the payments made before, by recipient.
        """
        if to == self.address:
            return []
        known = dict.fromkeys(earlier, "which was paid before")
        known |= {other: party.title for other, party in known_parties(self._home).items()}
        return [
            f"{to} begins and ends like {other}, {what}, and is another address"
            for other, what in known.items()
            if look_alike(to, other)
        ]

    def unfinished(self) -> list[Sent]:
        """What was signed here and is not known to have ended, by nonce."""
        return [Sent(self, entry) for entry in self._journal_open().unfinished()]

    def require_no_held(self, below: int | None = None) -> None:
        """Raises Refused if a nonce is signed for and not sent: what comes after it would wait.

        It is not sent either: who signed it into a file decides when.

        Args:
            below: look at the nonces below this one alone.
        """
        for entry in self._journal_open().held():
            if (below is None or entry.nonce < below) and self._look_up_quietly(entry):
                raise Refused(
                    f"nonce {entry.nonce} is taken by {entry.hash}, which was signed and is not "
                    f"sent: whatever comes after it would wait for it. Send it with `wallet tx "
                    f"broadcast {entry.hash}`, or give it up with `wallet tx cancel {entry.hash}`"
                )

    def find(self, idempotency_key: str) -> Sent | None:
        """Return what was submitted under an idempotency key."""
        entry = self._journal_open().find(idempotency_key)
        return None if entry is None else Sent(self, entry)

    def purchase(self, reference: str) -> Purchase:
        """Read an order by purchase id, URL or order hash.

        Raises:
            UnknownName, InvalidInput, TermsMismatch, NetworkError: see `purchases.find_terms`.
        """
        terms, order_hash = find_terms(self.network, self._rpc, reference)
        return Purchase(order_hash, terms, read_order(self.network, self._rpc, order_hash))

    def is_signed_by_contract(self, address: str, digest: bytes, signature: bytes) -> bool | None:
        """Ask a contract account whether a signature is its own; None if there is no contract.

        Raises:
            NetworkError, WrongChain: the network's chain does not answer.
        """
        from wallet.signatures import is_signed_by_contract  # noqa: PLC0415  # seldom asked

        self.check_chain()
        return is_signed_by_contract(self._rpc, address, digest, signature)

    # ------------------------------------------------------------------- planning

    def plan_transfer(
        self,
        to: str,
        units: int,
        memo: str | bytes | None = None,
        allow_unusual: bool = False,
        idempotency_key: str | None = None,
        earlier: Mapping[str, int] | None = None,
    ) -> Plan:
        """Plan a payment of `units` to an address.

        Args:
            memo: up to 32 bytes of text, or 32 bytes; public and indexed on chain.
            allow_unusual: permit the zero address, the coin's contract and oneself.
            idempotency_key: what `submit` knows the plan by: the same key, the same transaction.
            earlier: the payments made before, by recipient, where the caller has read them.

        Raises:
            InvalidInput: the address, amount or memo cannot be meant.
            Refused: a rule of the platform forbids it now.
            InsufficientFunds: the balance does not cover it.
            WouldRevert: the contract refuses it for another reason.
        """
        to = parse_address(to)
        unusual = {
            ZERO_ADDRESS: "the zero address",
            self.network.coin: "the coin's own contract",
            self.address: "the sender itself",
        }
        if to in unusual and not allow_unusual:
            raise InvalidInput(f"{to} is {unusual[to]}: coin is not sent there")
        if units <= 0:
            raise InvalidInput("the amount is zero")
        if memo is None:
            data = encode_call("transfer", to, units)
        else:
            if isinstance(memo, str):
                memo = parse_memo(memo)
            data = encode_call("transferWithMemo", to, units, memo)
        self.check_chain()
        sender = self._check_standing(units, to)
        if earlier is None:
            earlier = self.earlier_recipients()
        warnings = self.find_look_alikes(to, earlier)
        return self._plan(
            self.network.coin,
            data,
            balance=sender.units,
            balance_after=sender.units - (0 if to == self.address else units),
            warnings=warnings,
            earlier_payments=earlier.get(to, 0),
            first_time=to not in earlier and to != self.address,
            idempotency_key=idempotency_key,
        )

    def payment_request(self, reference: str) -> PaymentRequest:
        """Fetch and verify what is to be paid: a purchase id of the bridge, or the URL of one.

        Raises:
            TermsMismatch, InvalidInput, NetworkError: see `purchases.fetch_request`.
        """
        return fetch_request(self.network, reference)

    def plan_payment(
        self, request: PaymentRequest, *, idempotency_key: str | None = None
    ) -> PaymentPlan:
        """Plan to pay a purchase.

        Raises:
            TermsMismatch: another key is to pay it.
            Refused: it is paid already, its time is over, or a rule forbids it now.
            InsufficientFunds: the balance does not cover it.
        """
        terms = request.terms
        if terms.payer != self.address:
            raise TermsMismatch(
                f"the payment is to be made by {terms.payer}, this key is {self.address}"
            )
        self.check_chain()
        now = self._next_block_time()
        order = read_order(self.network, self._rpc, request.order_hash)
        if order.status != "none":
            raise Refused(f"the purchase is paid already: the escrow has it as {order.status}")
        if now >= terms.authorize_before:
            raise Refused(
                f"it could be paid until {_utc(terms.authorize_before)}, it is {_utc(now)}"
            )
        sender = self._check_standing(request.amount)
        warnings = []
        payee_obstacle = self.account(terms.payee).obstacle
        if payee_obstacle:
            warnings.append(f"the seller {terms.payee} {payee_obstacle}")
        if self.network.operators and terms.operator not in self.network.operators:
            warnings.append(
                f"the operator {terms.operator} is not this network's,"
                f" {' or '.join(self.network.operators)}"
            )
        if self.network.bridge_url and not request.url.startswith(self.network.bridge_url + "/"):
            warnings.append(f"{request.url} is not at this network's bridge")
        return PaymentPlan(
            intent={
                "kind": "payment",
                "order_hash": "0x" + request.order_hash.hex(),
                "to": terms.payee,
                "amount": str(request.amount),
            },
            network=self.network,
            request=request,
            authorization=ReceiveAuthorization(
                payer=self.address,
                to=self.network.escrow,
                value=request.amount,
                valid_after=0,
                valid_before=terms.authorize_before,
                nonce=request.order_hash,
            ),
            nonce=self._next_nonce(),
            balance=sender.units,
            balance_after=sender.units - request.amount,
            warnings=tuple(warnings),
            idempotency_key=idempotency_key,
        )

    def plan_release(self, purchase: Purchase, *, idempotency_key: str | None = None) -> Plan:
        """Plan the buyer's confirmation: everything held goes to the seller, less the highest fee.

        Raises:
            Refused: not this key's purchase, or nothing is held.
            WouldRevert: the contract refuses it for another reason.
        """
        self._check_holding(purchase)
        data = encode_call(
            "release", *purchase.terms.words(), purchase.order.held, purchase.terms.max_fee_bps
        )
        return self._plan_for_order(purchase, data, 0, idempotency_key)

    def plan_reclaim(self, purchase: Purchase, *, idempotency_key: str | None = None) -> Plan:
        """Plan to take back what was not delivered in time.

        Raises:
            Refused: not this key's purchase, nothing is held, it was delivered, or it is too early.
            WouldRevert: the contract refuses it for another reason.
        """
        self._check_holding(purchase)
        now, terms = self._next_block_time(), purchase.terms
        if purchase.order.status == "delivered":
            raise Refused("delivery was confirmed: the purchase can be released, not reclaimed")
        if purchase.order.status == "disputed":
            raise Refused("the purchase is in dispute: the arbiter decides, or a party gives in")
        if now < terms.reclaim_after:
            raise Refused(
                f"the money can be reclaimed from {_utc(terms.reclaim_after)} on, it is {_utc(now)}"
            )
        data = encode_call("reclaim", *terms.words())
        return self._plan_for_order(purchase, data, purchase.order.held, idempotency_key)

    def _check_holding(self, purchase: Purchase) -> None:
        self.check_chain()
        if purchase.terms.payer != self.address:
            raise Refused(f"the purchase is {purchase.terms.payer}'s, this key is {self.address}")
        if not purchase.order.held:
            raise Refused(f"the escrow holds nothing for the order: it is {purchase.order.status}")

    def _plan_for_order(
        self, purchase: Purchase, data: bytes, gained: int, idempotency_key: str | None
    ) -> Plan:
        sender = self._check_standing(0)
        return self._plan(
            self.network.escrow,
            data,
            balance=sender.units,
            balance_after=sender.units + gained,
            amount=purchase.order.held,
            idempotency_key=idempotency_key,
        )

    def _plan(
        self,
        to: str,
        data: bytes,
        *,
        balance: int,
        balance_after: int,
        warnings: list[str] | None = None,
        amount: int | None = None,
        earlier_payments: int = 0,
        first_time: bool = False,
        idempotency_key: str | None = None,
    ) -> Plan:
        return Plan(
            intent=decode_intent(self.network, data, amount),
            network=self.network,
            sender=self.address,
            to=to,
            data=data,
            gas=self._estimate_gas(to, data),
            nonce=self._next_nonce(),
            balance=balance,
            balance_after=balance_after,
            warnings=tuple(warnings or ()),
            earlier_payments=earlier_payments,
            first_time=first_time,
            idempotency_key=idempotency_key,
        )

    def _check_standing(self, units: int, recipient: str | None = None) -> Account:
        """Say in words what the contract would only say as an error."""
        if self.is_paused():
            raise Refused("transfers of the coin are paused by the platform")
        sender = self.account()
        if sender.obstacle:
            raise Refused(f"{sender.address} (this key) {sender.obstacle}")
        if recipient is not None and recipient != sender.address:
            obstacle = self.account(recipient).obstacle
            if obstacle:
                raise Refused(f"{recipient} (the recipient) {obstacle}")
        if sender.units < units:
            raise InsufficientFunds(
                f"the balance is {format_units(sender.units)} {self.network.symbol}, "
                f"{format_units(units)} is needed"
            )
        return sender

    # ------------------------------------------------------------------- signing

    def sign_payment(self, plan: PaymentPlan) -> bytes:
        """Sign the authorization of a payment; whoever has it can pay exactly this order, once.

        Raises:
            PasswordError: from the signer.
            WalletError: what came back is not this key's signature of what was planned.
        """
        return self.sign_intent(plan.authorization.intent)

    def sign_intent(self, intent: Intent) -> bytes:
        """Sign something for a contract of this network; 65 bytes, r s v.

        Raises:
            WrongChain: the endpoint serves another chain than the profile names.
            Refused: another address has to sign it, or the network has no such contract.
            PasswordError: from the signer.
            WalletError: what came back is not this key's signature of it.
        """
        if intent.signer not in (None, self.address):
            raise Refused(
                f"the {intent.kind} is for {intent.signer} to sign, this key is {self.address}"
            )
        contract, chain_id = self.network.contract(intent.contract), self.network.chain_id
        self.check_chain()
        signature = self._require_signer().sign_typed_data(intent.typed_data(chain_id, contract))
        actual = signer_of(intent.digest(chain_id, contract), signature)
        if actual != self.address:
            raise WalletError(f"the signature is one of {actual}, not of {self.address}")
        return signature

    def relay(self, plan: PaymentPlan, signature: bytes) -> None:
        """Hand a signed authorization to the bridge, which sends it.

        Raises:
            NetworkError: the bridge did not take it; it may be handed over again.
        """
        post_json(
            plan.request.url,
            {
                "signature": "0x" + signature.hex(),
                "valid_after": plan.authorization.valid_after,
                "valid_before": plan.authorization.valid_before,
            },
        )

    def wait_until_authorized(self, plan: PaymentPlan, timeout: float = 30.0) -> bool:
        """Wait until the escrow holds the purchase; whether it does by then."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                order = read_order(self.network, self._rpc, plan.request.order_hash)
                if order.status != "none":
                    return True
            except (NetworkError, RpcError):
                pass  # asked again until the time is over
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)

    def submit(
        self,
        plan: Plan | PaymentPlan | RepaymentPlan | RequestPlan,
        idempotency_key: str | None = None,
    ) -> Sent:
        """Sign, write into the journal, and only then send.

        The same idempotency key gives the same transaction, across restarts and processes. What
        the endpoint answers to the sending does not decide anything: `wait` asks by hash.

        Raises:
            JournalError: it cannot be written down, so nothing is sent.
            IdempotencyConflict: the key was used for something else.
            PasswordError: from the signer.
            WouldRevert: of a payment or repayment, only now simulated with its signature.
            Refused: the endpoint says the bytes can never be included.
        """
        entry = self._record(plan, idempotency_key)
        for earlier in self._journal_open().unfinished():
            # A lower nonce that never arrived would hold this one up.
            if earlier.nonce < entry.nonce:
                self._broadcast(earlier, quietly=True)
        self._broadcast(entry)
        return Sent(self, entry)

    def _record(
        self, plan: Plan | PaymentPlan | RepaymentPlan | RequestPlan, idempotency_key: str | None
    ) -> Entry:
        """Sign and write into the journal; what the key stands for already is left as it is."""
        journal = self._journal_open()
        key = idempotency_key or plan.idempotency_key or f"auto-{secrets.token_hex(16)}"
        entry = journal.find(key)
        if entry is None:
            self.require_no_held()
            if not isinstance(plan, Plan):
                plan = self._with_signature(plan)
            entry = self._sign(plan, key)
        if not _same_intent(entry.intent, plan.intent):
            raise IdempotencyConflict(
                f"the idempotency key {key!r} was used for {entry.intent}, not {dict(plan.intent)}"
            )
        return entry

    def _with_signature(self, plan: PaymentPlan | RepaymentPlan | RequestPlan) -> Plan:
        signature = self.sign_intent(plan.authorization.intent)
        signed = self._plan(
            plan.contract,
            plan.call(signature),
            balance=plan.balance,
            balance_after=plan.balance_after,
        )
        if signed.intent != plan.intent:
            raise WalletError(f"the call says {signed.intent}, planned was {plan.intent}")
        return signed

    def _sign(self, plan: Plan, idempotency_key: str) -> Entry:
        journal = self._journal_open()
        while True:
            self.check_chain()
            # The journal first: what it calls ended by then, the chain's count includes.
            tail = journal.tail()
            nonce = tail.free_nonce(self._transaction_count("pending"))
            raw = self._sign_fields(
                Transaction(
                    self.network.chain_id, self.address, nonce, plan.to, plan.data, plan.gas
                )
            )
            try:
                return journal.record(
                    tail=tail,
                    idempotency_key=idempotency_key,
                    intent=plan.intent,
                    nonce=nonce,
                    raw=raw,
                    transaction_hash="0x" + keccak(raw).hex(),
                    now=int(self._clock()),
                )
            except NonceTaken:
                continue

    def _sign_fields(self, transaction: Transaction) -> bytes:
        fields = transaction.fields()
        raw = self._require_signer().sign_transaction(fields)
        check_signed(raw, fields, self.address)
        return raw

    # ------------------------------------------------------------ sending and asking

    def _broadcast(self, entry: Entry, quietly: bool = False) -> str | None:
        """Send an entry's bytes; return what the endpoint complains of, if it does.

        No answer and most errors leave it open whether the bytes arrived, so they are not failures.
        What is held in a file, or is being replaced by another, is not sent.
        """
        if not self._journal_open().is_to_be_sent(entry.hash):
            return "it is not being sent from here"
        try:
            self._rpc.call("eth_sendRawTransaction", "0x" + entry.raw.hex())
        except NetworkError as error:
            return str(error)
        except RpcError as error:
            said = error.message.lower()
            if any(phrase in said for phrase in _SEEN_BEFORE):
                return None
            if any(phrase in said for phrase in _IMPOSSIBLE):
                self._journal_open().finish(entry.hash, "refused")
                if not quietly:
                    raise Refused(f"the chain refuses the transaction: {error.message}") from error
            return error.message
        return None

    def _look_up(self, entry: Entry) -> Confirmed | Reverted | None:
        receipt = self._rpc.call("eth_getTransactionReceipt", entry.hash)
        if receipt is None:
            if self._rpc.call("eth_getTransactionByHash", entry.hash) is not None:
                return None
            if self._transaction_count("latest") <= entry.nonce:
                return None
            # The nonce is used. By this very transaction, if it landed since the first question.
            receipt = self._rpc.call("eth_getTransactionReceipt", entry.hash)
            if receipt is None:
                winner = self._settle_rivals(entry)
                self._journal_open().finish(entry.hash, "superseded")
                raise Superseded(
                    f"{entry.hash} can no longer land: another transaction used nonce {entry.nonce}"
                    + (f", {winner}" if winner else "")
                )
        block = int(receipt["blockNumber"], 16)
        if int(receipt["status"], 16) == 1:
            self._journal_open().finish(entry.hash, "confirmed", block)
            return Confirmed(entry.hash, block, int(receipt["gasUsed"], 16))
        self._journal_open().finish(entry.hash, "reverted", block)
        return Reverted(entry.hash, block, self._revert_reason(entry, block))

    def _settle_rivals(self, entry: Entry) -> str | None:
        """Find which of those signed here for the same nonce landed; the hash of that one."""
        for rival in self._journal_open().candidates(entry.nonce):
            receipt = self._rpc.call("eth_getTransactionReceipt", rival.hash)
            if receipt is not None:
                state = "confirmed" if int(receipt["status"], 16) == 1 else "reverted"
                self._journal_open().finish(rival.hash, state, int(receipt["blockNumber"], 16))
                return rival.hash
        return None

    def _look_up_quietly(self, entry: Entry) -> bool:
        """Whether a transaction is still open, after asking the chain."""
        try:
            return self._look_up(entry) is None
        except Superseded:
            return False

    def _revert_reason(self, entry: Entry, block: int) -> str:
        """Run the call again on the block it failed in; the nearest there is to its reason."""
        transaction = self._rpc.call("eth_getTransactionByHash", entry.hash)
        call = {"from": self.address, "to": transaction["to"], "data": transaction["input"]}
        try:
            self._rpc.call("eth_call", call, hex(block))
        except RpcError as error:
            return describe_revert(error.data)
        return "no reason given"

    def _estimate_gas(self, to: str, data: bytes) -> int:
        """The gas limit, a fifth above the estimate; the estimate is also the simulation."""
        call = {"from": self.address, "to": to, "data": "0x" + data.hex()}
        try:
            estimate = int(self._rpc.call("eth_estimateGas", call), 16)
        except RpcError as error:
            if error.data is None and "revert" not in error.message.lower():
                raise
            raise WouldRevert(
                f"the transaction would be reverted: {describe_revert(error.data)}"
            ) from error
        return estimate * 6 // 5

    def _next_nonce(self) -> int:
        return self._journal_open().tail().free_nonce(self._transaction_count("pending"))

    def _transaction_count(self, block: str) -> int:
        return int(self._rpc.call("eth_getTransactionCount", self.address, block), 16)

    def _next_block_time(self) -> int:
        """What the contracts will take for now: the time of the block being built."""
        block = self._rpc.call("eth_getBlockByNumber", "pending", False)
        if block is None:
            block = self._rpc.call("eth_getBlockByNumber", "latest", False)
        return int(block["timestamp"], 16)

    def _read(self, contract: str, data: bytes, block: str = "latest") -> list[int]:
        return read_words(self.network, self._rpc, contract, data, block)

    def _journal_open(self) -> Journal:
        if self._journal is None:
            private_folder(self._home / "journal")
            self._journal = Journal(
                self._home / "journal" / "journal.sqlite", self.network.identity, self.address
            )
        return self._journal

    def _require_signer(self) -> Signer:
        if self._signer is None:
            raise WalletError("this wallet was opened without a key")
        return self._signer


def check_signed(raw: bytes, fields: Mapping[str, Any], sender: str) -> None:
    """Raises WalletError unless the raw transaction is the sender's signature of these fields."""
    from eth_account import Account as Signing  # noqa: PLC0415  # loaded by then: it just signed
    from eth_account.typed_transactions.typed_transaction import TypedTransaction  # noqa: PLC0415
    from hexbytes import HexBytes  # noqa: PLC0415

    signed = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    expected = {
        **fields,
        "to": bytes.fromhex(fields["to"][2:]),
        "data": bytes.fromhex(fields["data"][2:]),
        "accessList": (),
    }
    actual = {name: signed.get(name) for name in expected}
    actual["to"], actual["data"] = bytes(signed["to"]), bytes(signed["data"])
    actual["accessList"] = tuple(signed.get("accessList", ()))
    if actual != expected:
        raise WalletError(f"the signer signed {actual}, not {expected}")
    if Signing.recover_transaction(raw) != sender:
        raise WalletError(f"the transaction is not signed by {sender}")


def _same_intent(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two intents are for the same thing. "All" is the same whatever it comes to by now."""
    if one.get("meant") == other.get("meant") == "all":
        one, other = {**one, "amount": ""}, {**other, "amount": ""}
    return dict(one) == dict(other)


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
