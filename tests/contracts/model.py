"""What the contracts must do, told again in Python: the oracle of the state machine.

Written from the interfaces, not from the contracts. It counts in its own way: interest is a
Fraction of a unit, accrued step by step; windows are closed one by one in a loop; every sum is
taken anew.

An operation collects all the reasons that speak against it. If there are any, nothing happens, and
the contract must have refused for one of them: which one comes first is no part of the contract.
Accounts are names; `World.now` is the time of the block.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

DAY = 86_400
YEAR = 365 * DAY
BPS = 10_000
BPS_YEAR = BPS * YEAR
WINDOW = 60 * DAY
GRACE = 7 * DAY
DEFAULT_AFTER = 90 * DAY
CHARGE_OFF_AFTER = 180 * DAY
ARBITRATION = 30 * DAY
MAX_HOLIDAY = 180 * DAY
MAX_APR_BPS, MAX_DRAW_FEE_BPS, MAX_HOLDBACK_BPS = 2_000, 1_000, 2_500
PENALTY_BPS, MOST_WITH_PENALTY_BPS = 1_000, 3_500
UNLIMITED = 2**256 - 1
SYSTEM = 16
VIRTUAL_SHARES, VIRTUAL_ASSETS = 10**6, 1

# Status of an order, and of a line.
NONE, AUTHORIZED, DELIVERED, CLOSED, DISPUTED = range(5)
NO_LINE, ACTIVE, DEFAULTED, LINE_CLOSED, CHARGED_OFF = range(5)


class Refused(Exception):
    """The operation must revert, with one of `errors`."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = frozenset(errors)
        super().__init__(", ".join(sorted(self.errors)))


def share_of(amount: int, bps: int) -> int:
    return floor(Fraction(amount * bps, BPS))


# ------------------------------------------------------------------------ lines of credit


@dataclass
class Line:
    """One seller's line, as it was left at `accrued_at`."""

    status: int = NO_LINE
    principal: int = 0
    interest: Fraction = Fraction(0)  # in atomic units
    accrued_at: int = 0
    window_end: int = 0
    past_due_since: int = 0
    installment: int = 0
    installment_due: int = 0
    interest_due: int = 0
    past_due_interest: int = 0
    past_due_principal: int = 0
    holdback: int = 0
    apr: int = 0
    limit: int = 0
    draw_until: int = 0
    draw_fee: int = 0
    agreed_holdback: int = 0
    loss_pool: int = 0
    loss_reserve: int = 0
    # Its books from the beginning, for the invariants.
    drawn: int = 0
    principal_paid: int = 0
    principal_lost: int = 0
    written_off: int = 0
    recovered: int = 0

    # ------------------------------------------------------------------- reading

    @property
    def interest_owed(self) -> int:
        return ceil(self.interest)

    @property
    def has_debt(self) -> bool:
        return self.principal > 0 or self.interest > 0

    @property
    def payoff(self) -> int:
        if self.status == CHARGED_OFF:
            return self.loss_pool + self.loss_reserve
        return self.principal + self.interest_owed

    @property
    def is_past_due(self) -> bool:
        return self.past_due_interest > 0 or self.past_due_principal > 0

    @property
    def past_due(self) -> int:
        if self.status in (DEFAULTED, CHARGED_OFF):
            return self.payoff
        return self.past_due_interest + self.past_due_principal

    def delinquent(self, now: int) -> bool:
        since = self.past_due_since
        return self.status == ACTIVE and since > 0 and now >= since + GRACE

    def holdback_now(self, now: int) -> int:
        if self.delinquent(now) or self.status in (DEFAULTED, CHARGED_OFF):
            return min(self.holdback + PENALTY_BPS, MOST_WITH_PENALTY_BPS)
        return self.holdback

    def available(self, now: int) -> int:
        if self.status != ACTIVE or self.is_past_due or now >= self.draw_until:
            return 0
        return max(0, self.limit - self.principal)

    # ---------------------------------------------------------------------- time

    def at(self, now: int) -> Line:
        """As `touch` would leave it."""
        line = copy.copy(self)
        line.touch(now)
        return line

    def touch(self, now: int) -> None:
        if self.status != ACTIVE:
            return
        while self.window_end and now >= self.window_end:
            self._accrue(self.window_end)
            self._next_window()
        self._accrue(now)
        if self.past_due_since and now >= self.past_due_since + DEFAULT_AFTER:
            self.status = DEFAULTED
            self._drop_dues()

    def _accrue(self, until: int) -> None:
        # The later of several touches in one block, or none since the line was opened.
        seconds = until - self.accrued_at
        self.interest += Fraction(self.principal * self.apr * seconds, BPS_YEAR)
        self.accrued_at = until

    def _next_window(self) -> None:
        self.past_due_interest += self.interest_due
        self.past_due_principal += self.installment_due
        if self.is_past_due and not self.past_due_since:
            self.past_due_since = self.window_end
        self.interest_due = floor(self.interest) - self.past_due_interest
        self.installment_due = min(self.installment, self.principal - self.past_due_principal)
        self.window_end += WINDOW

    def _drop_dues(self) -> None:
        self.window_end = self.installment = self.installment_due = self.interest_due = 0
        self.past_due_interest = self.past_due_principal = 0

    # ---------------------------------------------------------------------- debt

    def draw(self, amount: int, now: int) -> None:
        first = not self.has_debt
        self.principal += amount
        self.drawn += amount
        self.interest += ceil(Fraction(amount * self.draw_fee, BPS))
        installment = ceil(Fraction(self.principal, 9))
        if first:
            self.window_end = now + WINDOW
            self.installment_due = installment
        else:
            self.installment_due = max(0, self.installment_due + installment - self.installment)
        self.installment = installment

    def pay(self, amount: int) -> tuple[int, int]:
        """(interest, principal) paid; for a charged-off line (to the pool, to the reserve)."""
        assert 0 < amount <= self.payoff
        if self.status == CHARGED_OFF:
            to_pool = min(amount, self.loss_pool)
            self.loss_pool -= to_pool
            self.loss_reserve -= amount - to_pool
            self.recovered += amount
            return to_pool, amount - to_pool
        of_interest, of_principal = "interest", "principal"
        order = [
            (of_interest, lambda: self.past_due_interest),
            (of_principal, lambda: self.past_due_principal),
            (of_interest, lambda: self.interest_owed),
            (of_principal, lambda: self.principal),
        ]
        if self.status == DEFAULTED:
            order = [order[3], order[2]]
        paid = {of_interest: 0, of_principal: 0}
        for kind, owed in order:
            part = min(amount, owed())
            (self._pay_interest if kind == of_interest else self._pay_principal)(part)
            paid[kind] += part
            amount -= part
        assert amount == 0
        self._settled()
        return paid[of_interest], paid[of_principal]

    def forgive(self, amount: int) -> int:
        waived = min(amount, self.interest_owed)
        self._pay_interest(waived)
        self._settled()
        return waived

    def _pay_interest(self, amount: int) -> None:
        self.interest = max(Fraction(0), self.interest - amount)
        of_past_due = min(amount, self.past_due_interest)
        self.past_due_interest -= of_past_due
        self.interest_due = max(0, self.interest_due - (amount - of_past_due))

    def _pay_principal(self, amount: int) -> None:
        self.principal -= amount
        self.principal_paid += amount
        of_past_due = min(amount, self.past_due_principal)
        self.past_due_principal -= of_past_due
        self.installment_due = max(0, self.installment_due - (amount - of_past_due))

    def _settled(self) -> None:
        if self.status == ACTIVE and not self.is_past_due:
            self.past_due_since = 0
        if not self.has_debt:
            self._drop_dues()
            self.past_due_since = 0
            if self.status == DEFAULTED:
                self.status = LINE_CLOSED


# --------------------------------------------------------------------------------- orders


@dataclass
class Order:
    """A purchase: its terms, and what has happened to its coin."""

    payer: str
    payee: str
    operator: str
    fee_receiver: str
    max_amount: int
    min_fee: int
    max_fee: int
    authorize_before: int
    reclaim_after: int
    dispute_window: int
    status: int = NONE
    deadline: int = 0
    authorized: int = 0
    released: int = 0
    voided: int = 0
    refunded: int = 0

    @property
    def held(self) -> int:
        return self.authorized - self.released - self.voided

    @property
    def refundable(self) -> int:
        return self.released - self.refunded


@dataclass(frozen=True)
class Signed:
    """A signature, as far as the model cares: is it of the right hand over the right words?"""

    good: bool
    nonce: Any  # of an intent: (key, counter); of a payment: 32 bytes
    after: int = 0
    before: int = UNLIMITED  # deadline of an intent, validBefore of a payment


# ---------------------------------------------------------------------------- everything


@dataclass
class World:
    """Coin, escrow, credit book and pool. Methods are the operations, in the contracts' order."""

    now: int
    roles: dict[str, str]  # role -> its holder

    # The coin.
    balances: dict[str, int] = field(default_factory=dict)
    member_until: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    paused: bool = False
    minted: int = 0
    burned: int = 0
    allowances: dict[tuple[str, str], int] = field(default_factory=dict)
    used_nonces: set[tuple[str, bytes]] = field(default_factory=set)
    permits: dict[str, int] = field(default_factory=dict)
    references: set[Any] = field(default_factory=set)
    # (capacity, refill a second, available at, that time)
    mint_limits: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)

    # The escrow.
    orders: dict[Any, Order] = field(default_factory=dict)
    claimable: dict[str, int] = field(default_factory=dict)

    # The credit book.
    lines: dict[str, Line] = field(default_factory=dict)
    reserve: int = 0
    reserve_bps: int = 0
    principal_cap: int = 0
    line_cap: int = 0
    draws_paused: bool = False
    book_broken: bool = False  # other code stands in its place
    sales_sources: set[str] = field(default_factory=set)
    used_offers: set[Any] = field(default_factory=set)

    # The pool.
    shares: dict[str, int] = field(default_factory=dict)
    share_allowances: dict[tuple[str, str], int] = field(default_factory=dict)

    # (contract, signer, key) -> next counter
    intents: dict[tuple[str, str, int], int] = field(default_factory=dict)

    # What the last operation did that no balance shows.
    hook_failures: int = 0
    recorded_losses: int = 0
    reserve_losses: int = 0
    recovered_to_reserve: int = 0
    gifts: dict[str, int] = field(default_factory=dict)  # coin sent to a contract, unasked
    _against: set[str] = field(default_factory=set)

    # ---------------------------------------------------------------- attempting

    def attempt(self, operation: Callable[[], Any]) -> Any:
        """Do the operation.

        Raises:
            Refused: it must revert; nothing has changed.
        """
        before, outer = self._save(), self._against
        self._against = set()
        try:
            result = operation()
            self._stop()
        except Refused:
            vars(self).update(before)
            self._against = outer
            raise
        self._against = outer
        return result

    def _save(self) -> dict[str, Any]:
        saved = {
            name: value.copy() if isinstance(value, dict | set) else value
            for name, value in vars(self).items()
        }
        for name in ("orders", "lines"):
            saved[name] = {key: copy.copy(value) for key, value in saved[name].items()}
        return saved

    def _need(self, condition: bool, *errors: str) -> None:
        if not condition:
            self._against.update(errors)

    def _stop(self) -> None:
        """Go no further if something speaks against the operation already."""
        if self._against:
            raise Refused(self._against)

    def _need_role(self, role: str, caller: str) -> None:
        self._need(self.roles[role] == caller, "AccessManagedUnauthorized")

    def _use_intent(self, contract: str, signer: str, signed: Signed) -> None:
        key, counter = signed.nonce
        self._need(self.now < signed.before, "IntentExpired")
        self._need(counter == self.intents.get((contract, signer, key), 0), "InvalidAccountNonce")
        self._need(signed.good, "InvalidIntentSignature")
        self.intents[contract, signer, key] = counter + 1

    def cancel_intents(self, contract: str, signer: str, key: int) -> None:
        self.intents[contract, signer, key] = self.intents.get((contract, signer, key), 0) + 1

    # --------------------------------------------------------------- the coin: who

    def in_good_standing(self, name: str) -> bool:
        return self.now < self.member_until.get(name, 0) and name not in self.frozen

    def _need_standing(self, name: str) -> None:
        self._need(self.now < self.member_until.get(name, 0), "NotAMember")
        self._need(name not in self.frozen, "AccountIsFrozen")

    def admit(self, caller: str, name: str, kinds: int, until: int) -> None:
        self._need_role("REGISTRAR", caller)
        self._need(0 < kinds < SYSTEM, "InvalidKinds", "SystemAccount")
        self._need(until > self.now, "InvalidMemberUntil")
        self._need(not self.kinds.get(name, 0) & SYSTEM, "SystemAccount")
        self.kinds[name], self.member_until[name] = kinds, until

    def expel(self, caller: str, name: str) -> None:
        self._need_role("REGISTRAR", caller)
        self._need(self.now < self.member_until.get(name, 0), "NotAMember")
        self._need(not self.kinds.get(name, 0) & SYSTEM, "SystemAccount")
        self.member_until[name] = self.now

    def admit_many(self, caller: str, names: list[str], kinds: int, until: int) -> None:
        self._need_role("REGISTRAR", caller)
        for name in names:
            self.admit(caller, name, kinds, until)

    def admit_system(self, caller: str, name: str, until: int) -> None:
        self._need_role("STEWARD", caller)
        self._need(until > self.now, "InvalidMemberUntil")
        self.kinds[name], self.member_until[name] = SYSTEM, until

    def expel_system(self, caller: str, name: str) -> None:
        self._need_role("STEWARD", caller)
        self._need(bool(self.kinds.get(name, 0) & SYSTEM), "NotASystemAccount")
        self._need(self.now < self.member_until.get(name, 0), "NotAMember", "NotASystemAccount")
        self.member_until[name] = self.now

    def freeze(self, caller: str, name: str) -> None:
        self._need_role("COMPLIANCE", caller)
        self._need(name in self.kinds, "NotAMember")
        self._need(not self.kinds.get(name, 0) & SYSTEM, "SystemAccount")
        self._need(name not in self.frozen, "AccountIsFrozen")
        self.frozen.add(name)

    def unfreeze(self, caller: str, name: str) -> None:
        self._need_role("COMPLIANCE", caller)
        self._need(name in self.frozen, "AccountNotFrozen")
        self.frozen.discard(name)

    def seize(self, caller: str, from_: str, to: str, amount: int, ref: bytes) -> None:
        self._need_role("ENFORCER", caller)
        self._need(amount > 0, "AmountIsZero")
        self._use_reference("seizure", ref)
        self._need(not self.kinds.get(from_, 0) & SYSTEM, "SystemAccount")
        self._need(from_ in self.frozen, "AccountNotFrozen")
        self._need_standing(to)
        self._need(amount <= self.balances.get(from_, 0), "ERC20InsufficientBalance")
        self._add(from_, -amount)
        self._add(to, amount)

    def pause(self, caller: str) -> None:
        self._need_role("GUARDIAN", caller)
        self._need(not self.paused, "CoinPaused")
        self.paused = True

    def unpause(self, caller: str) -> None:
        self._need_role("GUARDIAN", caller)
        self._need(self.paused, "CoinNotPaused")
        self.paused = False

    # ------------------------------------------------------- the coin: in and out

    @property
    def supply(self) -> int:
        return sum(self.balances.values())

    def mintable(self, minter: str) -> int:
        capacity, refill, available, at = self.mint_limits.get(minter, (0, 0, 0, 0))
        return min(capacity, available + refill * (self.now - at))

    def mint(self, caller: str, to: str, amount: int, ref: bytes) -> None:
        self._need_role("MINTER", caller)
        self._need(amount > 0, "AmountIsZero")
        self._use_reference("mint", ref)
        available = self.mintable(caller)
        self._need(amount <= available, "MintLimitExceeded")
        self._need(not self.paused, "CoinPaused")
        self._need_standing(to)
        capacity, refill, *_ = self.mint_limits.get(caller, (0, 0, 0, 0))
        self.mint_limits[caller] = (capacity, refill, available - amount, self.now)
        self._add(to, amount)
        self.minted += amount

    def redeem(self, caller: str, amount: int, ref: bytes) -> None:
        self._need(amount > 0, "AmountIsZero")
        self._use_reference(caller, ref)
        self._need_standing(caller)
        self._need(amount <= self.balances.get(caller, 0), "ERC20InsufficientBalance")
        self._add(caller, -amount)
        self.burned += amount

    def set_mint_limit(self, caller: str, minter: str, capacity: int, refill: int) -> None:
        self._need_role("TREASURER", caller)
        known = minter in self.mint_limits
        available = self.mintable(minter) if known else capacity
        self.mint_limits[minter] = (capacity, refill, min(available, capacity), self.now)

    def _use_reference(self, scope: str, ref: bytes) -> None:
        self._need((scope, ref) not in self.references, "ReferenceUsed")
        self.references.add((scope, ref))

    # ---------------------------------------------------------- the coin: transfers

    def _add(self, name: str, amount: int) -> None:
        self.balances[name] = self.balances.get(name, 0) + amount

    def _move(self, from_: str, to: str, amount: int) -> None:
        self._need(not self.paused, "CoinPaused")
        self._need_standing(from_)
        self._need_standing(to)
        self._need(amount <= self.balances.get(from_, 0), "ERC20InsufficientBalance")
        self._add(from_, -amount)
        self._add(to, amount)

    def _move_from(self, spender: str, from_: str, to: str, amount: int) -> None:
        allowed = self.allowances.get((from_, spender), 0)
        self._need(amount <= allowed, "ERC20InsufficientAllowance")
        if allowed != UNLIMITED:
            self.allowances[from_, spender] = allowed - amount
        self._move(from_, to, amount)

    def _move_signed(
        self, from_: str, to: str, amount: int, signed: Signed, *, marks: bool = True
    ) -> None:
        self._need(signed.good, "InvalidSignature")
        self._need(self.now > signed.after, "AuthorizationNotYetValid")
        self._need(self.now < signed.before, "AuthorizationExpired")
        used = (from_, signed.nonce) in self.used_nonces
        self._need(not used, "AuthorizationAlreadyUsed")
        if marks:
            self.used_nonces.add((from_, signed.nonce))
        self._move(from_, to, amount)

    def transfer(self, caller: str, to: str, amount: int) -> None:
        self._move(caller, to, amount)
        if self.kinds.get(to, 0) & SYSTEM:
            self.gifts[to] = self.gifts.get(to, 0) + amount

    def transfer_from(self, caller: str, from_: str, to: str, amount: int) -> None:
        self._move_from(caller, from_, to, amount)

    def transfer_many(self, caller: str, payments: list[tuple[str, int]]) -> None:
        for to, amount in payments:
            self._move(caller, to, amount)

    def disburse(self, caller: str, payouts: list[tuple[str, int]]) -> tuple[bool, ...]:
        self._need(not self.paused, "CoinPaused")
        self._need_standing(caller)
        paid = []
        for to, amount in payouts:
            done = amount == 0 or self.in_good_standing(to)
            if done and amount:
                self._move(caller, to, amount)
            paid.append(done)
        return tuple(paid)

    def approve(self, caller: str, spender: str, amount: int) -> None:
        self.allowances[caller, spender] = amount

    def permit(self, owner: str, spender: str, amount: int, signed: Signed) -> None:
        # EIP-2612 is valid at its deadline still.
        self._need(self.now <= signed.before, "ERC2612ExpiredSignature")
        right = signed.good and signed.nonce == self.permits.get(owner, 0)
        self._need(right, "ERC2612InvalidSigner")
        self.permits[owner] = self.permits.get(owner, 0) + 1
        self.allowances[owner, spender] = amount

    def transfer_signed(self, from_: str, to: str, amount: int, signed: Signed) -> None:
        self._move_signed(from_, to, amount, signed)

    def receive_signed(self, caller: str, from_: str, to: str, amount: int, signed: Signed) -> None:
        self._need(caller == to, "CallerNotReceiver")
        self._move_signed(from_, to, amount, signed)

    def pull(self, caller: str, from_: str, amount: int, signed: Signed) -> None:
        is_system = bool(self.kinds.get(caller, 0) & SYSTEM) and self.in_good_standing(caller)
        self._need(is_system, "NotASystemAccount")
        self._move_signed(from_, caller, amount, signed, marks=False)

    def cancel_authorization(self, authorizer: str, signed: Signed) -> None:
        self._need(signed.good, "InvalidSignature")
        used = (authorizer, signed.nonce) in self.used_nonces
        self._need(not used, "AuthorizationAlreadyUsed")
        self.used_nonces.add((authorizer, signed.nonce))

    # ------------------------------------------------------------------ the escrow

    def authorize(self, caller: str, key: Any, amount: int) -> None:
        order = self.orders[key]
        self._need(caller == order.payer, "NotAllowed")
        self._open(order, amount)
        self._move_from("escrow", order.payer, "escrow", amount)

    def authorize_signed(self, key: Any, amount: int, signed: Signed) -> None:
        order = self.orders[key]
        self._open(order, amount)
        self.pull("escrow", order.payer, amount, signed)

    def charge(self, caller: str, key: Any, amount: int, fee: int, signed: Signed) -> None:
        order = self.orders[key]
        self._need(caller == order.operator, "NotAllowed")
        self._need(order.dispute_window == 0, "ChargeNotAllowed")
        self._need(order.min_fee <= fee <= order.max_fee, "InvalidFee")
        self.authorize_signed(key, amount, signed)
        self._stop()
        self._settle(order, amount, fee)

    def confirm_delivery(self, caller: str, key: Any) -> None:
        order = self.orders[key]
        self._need(caller == order.operator, "NotAllowed")
        self._need(order.status == AUTHORIZED, "WrongStatus")
        order.status, order.deadline = DELIVERED, self.now + order.dispute_window

    def release(self, caller: str, key: Any, amount: int, fee: int) -> None:
        order = self.orders[key]
        by_payer, by_operator = caller == order.payer, caller == order.operator
        if by_payer:
            holding = order.status in (AUTHORIZED, DELIVERED, DISPUTED)
            self._need(holding, "WrongStatus")
        else:
            self._need(order.status == DELIVERED, "WrongStatus")
            self._need(self.now >= order.deadline, "DisputeWindowOpen")
            self._need(by_operator or amount == order.held, "InvalidAmount")
        least = order.min_fee if by_operator else order.max_fee
        self._need(least <= fee <= order.max_fee, "InvalidFee")
        self._need(0 < amount <= order.held, "InvalidAmount")
        self._stop()
        self._settle(order, amount, fee)

    def release_signed(self, key: Any, amount: int, signed: Signed) -> None:
        order = self.orders[key]
        self._use_intent("escrow", order.payer, signed)
        self.release(order.payer, key, amount, order.max_fee)

    def void(self, caller: str, key: Any, amount: int) -> None:
        order = self.orders[key]
        self._need(caller in (order.operator, order.payee), "NotAllowed")
        self._need(order.status in (AUTHORIZED, DELIVERED, DISPUTED), "WrongStatus")
        self._need(0 < amount <= order.held, "InvalidAmount")
        self._give_back(order, amount)

    def void_signed(self, key: Any, amount: int, signed: Signed) -> None:
        payee = self.orders[key].payee
        self._use_intent("escrow", payee, signed)
        self.void(payee, key, amount)

    def refund(self, caller: str, key: Any, amount: int) -> None:
        order = self.orders[key]
        self._need(caller == order.payee, "NotAllowed")
        self._take_refundable(order, amount)
        self._move_from("escrow", order.payee, "escrow", amount)
        self._pay(order.payer, amount)

    def refund_signed(self, key: Any, amount: int, signed: Signed) -> None:
        order = self.orders[key]
        self._take_refundable(order, amount)
        self._move_signed(order.payee, "escrow", amount, signed)
        self._pay(order.payer, amount)

    def reclaim(self, caller: str, key: Any) -> None:
        order = self.orders[key]
        self._need(caller == order.payer, "NotAllowed")
        self._need(order.status == AUTHORIZED, "WrongStatus")
        self._need(self.now >= order.reclaim_after, "ReclaimTooEarly")
        self._stop()
        self._give_back(order, order.held)

    def reclaim_signed(self, key: Any, signed: Signed) -> None:
        payer = self.orders[key].payer
        self._use_intent("escrow", payer, signed)
        self.reclaim(payer, key)

    def claim(self, name: str) -> int:
        amount = self.claimable.get(name, 0)
        self._need(amount > 0, "NothingToClaim")
        self._stop()
        self.claimable[name] = 0
        self._move("escrow", name, amount)
        return amount

    def dispute(self, caller: str, key: Any) -> None:
        order = self.orders[key]
        self._need(caller == order.payer, "NotAllowed")
        self._need(order.status == DELIVERED, "WrongStatus")
        self._need(self.now < order.deadline, "DisputeWindowClosed")
        order.status, order.deadline = DISPUTED, self.now + ARBITRATION

    def dispute_signed(self, key: Any, signed: Signed) -> None:
        payer = self.orders[key].payer
        self._use_intent("escrow", payer, signed)
        self.dispute(payer, key)

    def submit_evidence(self, caller: str, key: Any) -> None:
        order = self.orders[key]
        self._need(caller in (order.payer, order.payee, order.operator), "NotAllowed")
        self._need(order.status == DISPUTED, "WrongStatus")
        self._need(self.now < order.deadline, "ArbitrationOver")

    def submit_evidence_signed(self, party: str, key: Any, signed: Signed) -> None:
        order = self.orders[key]
        self._need(party in (order.payer, order.payee), "NotAllowed")
        self._use_intent("escrow", party, signed)
        self.submit_evidence(party, key)

    def resolve(self, caller: str, key: Any, to_payer: int, fee: int) -> None:
        order = self.orders[key]
        self._need_role("ARBITER", caller)
        self._need(order.status == DISPUTED, "WrongStatus")
        self._need(self.now < order.deadline, "ArbitrationOver")
        self._need(to_payer <= order.held, "InvalidAmount")
        self._need(order.min_fee <= fee <= order.max_fee, "InvalidFee")
        self._stop()
        rest = order.held - to_payer
        if to_payer:
            self._give_back(order, to_payer)
        if rest:
            self._settle(order, rest, fee)

    def expire_dispute(self, key: Any) -> None:
        order = self.orders[key]
        self._need(order.status == DISPUTED, "WrongStatus")
        self._need(self.now >= order.deadline, "ArbitrationOpen")
        self._stop()
        self._give_back(order, order.held)

    def _open(self, order: Order, amount: int) -> None:
        self._need(0 < amount <= order.max_amount, "InvalidAmount")
        self._need(self.now < order.authorize_before, "AuthorizationWindowClosed")
        self._need(order.status == NONE, "WrongStatus")
        self._stop()
        order.status, order.authorized = AUTHORIZED, amount

    def _settle(self, order: Order, amount: int, fee_bps: int) -> None:
        fee = share_of(amount, fee_bps)
        net = amount - fee
        order.released += amount
        if order.held == 0:
            order.status = CLOSED
        # The book is not asked about a sale of which nothing is left after the fee.
        repayment = self._sale("escrow", order.payee, net) if net else 0
        self._pay(order.fee_receiver, fee)
        self._pay(order.payee, net - repayment)
        self._pay("pool", repayment)

    def _give_back(self, order: Order, amount: int) -> None:
        order.voided += amount
        if order.held == 0:
            order.status = CLOSED
        self._pay(order.payer, amount)

    def _take_refundable(self, order: Order, amount: int) -> None:
        self._need(order.status != NONE, "WrongStatus")
        self._need(0 < amount <= order.refundable, "InvalidAmount")
        self._stop()
        order.refunded += amount

    def _pay(self, name: str, amount: int) -> None:
        if amount == 0:
            return
        self._need(not self.paused, "CoinPaused")
        self._need_standing("escrow")
        if self.in_good_standing(name):
            self._move("escrow", name, amount)
        else:
            self.claimable[name] = self.claimable.get(name, 0) + amount

    # ------------------------------------------------------------- the credit book

    def line(self, seller: str) -> Line:
        """The line brought up to date, as each operation on it begins."""
        line = self.lines.setdefault(seller, Line())
        line.touch(self.now)
        return line

    @property
    def total_principal(self) -> int:
        return sum(line.principal for line in self.lines.values())

    @property
    def total_interest(self) -> Fraction:
        """Owed now by all lines not charged off, rounded nowhere."""
        return sum((line.at(self.now).interest for line in self.lines.values()), Fraction(0))

    @property
    def issuance_rate(self) -> int:
        lines = self.lines.values()
        return sum(line.principal * line.apr for line in lines if line.status == ACTIVE)

    @property
    def book_value(self) -> int:
        return self.total_principal + floor(self.total_interest)

    def reserve_needed(self, principal: int) -> int:
        return ceil(Fraction(principal * self.reserve_bps, BPS))

    def accept(self, caller: str, offer: dict[str, Any], key: Any, signature_good: bool) -> None:
        seller = offer["seller"]
        self._need(caller == seller, "NotAllowed")
        self._need(self.now < offer["expires"], "OfferExpired")
        self._need(key not in self.used_offers, "OfferUsed")
        is_underwriter = self.roles["UNDERWRITER"] == offer["underwriter"]
        self._need(is_underwriter, "NotAnUnderwriter")
        self._need(signature_good, "InvalidOfferSignature")
        self._need(offer["aprBps"] <= MAX_APR_BPS, "InvalidOffer")
        self._need(offer["drawFeeBps"] <= MAX_DRAW_FEE_BPS, "InvalidOffer")
        self._need(0 < offer["holdbackBps"] <= MAX_HOLDBACK_BPS, "InvalidHoldback")
        self._need(offer["limit"] > 0, "InvalidOffer")
        self._need(offer["limit"] <= self.line_cap, "InvalidLimit")
        line = self.line(seller)
        self._need(line.status in (NO_LINE, ACTIVE, LINE_CLOSED), "WrongStatus")
        self._need(not line.is_past_due, "PaymentPastDue")
        if line.has_debt:
            self._need(offer["aprBps"] <= line.apr, "RateAboveCurrent")
        self.used_offers.add(key)
        if line.status != ACTIVE:
            line.status, line.accrued_at = ACTIVE, self.now
            line.holdback = 0
        line.holdback = offer["holdbackBps"]
        line.apr = offer["aprBps"]
        line.limit = offer["limit"]
        line.draw_until = self.now + offer["termDays"] * DAY
        line.draw_fee = offer["drawFeeBps"]
        line.agreed_holdback = offer["holdbackBps"]

    def accept_signed(
        self, offer: dict[str, Any], key: Any, signature_good: bool, signed: Signed
    ) -> None:
        self._use_intent("book", offer["seller"], signed)
        self.accept(offer["seller"], offer, key, signature_good)

    def revoke_offer(self, caller: str, offer: dict[str, Any], key: Any) -> None:
        self._need(caller == offer["underwriter"], "NotAllowed")
        self._need(key not in self.used_offers, "OfferUsed")
        self.used_offers.add(key)

    def draw(self, seller: str, amount: int) -> None:
        line = self.line(seller)
        self._need(not self.draws_paused, "DrawsArePaused")
        self._need(line.status == ACTIVE, "WrongStatus")
        self._need(amount > 0, "InvalidAmount")
        self._need(line.principal + amount <= line.limit, "InvalidAmount")
        self._need(self.now < line.draw_until, "DrawTermOver")
        self._need(not line.is_past_due, "PaymentPastDue")
        total = self.total_principal + amount
        self._need(total <= self.principal_cap, "InvalidAmount")
        self._need(self.reserve >= self.reserve_needed(total), "ReserveTooLow")
        self._move("pool", seller, amount)
        self._stop()
        line.draw(amount, self.now)

    def draw_signed(self, seller: str, amount: int, signed: Signed) -> None:
        self._use_intent("book", seller, signed)
        self.draw(seller, amount)

    def set_holdback(self, seller: str, bps: int) -> None:
        line = self.lines.setdefault(seller, Line())
        self._need(line.status != NO_LINE, "WrongStatus")
        self._need(line.agreed_holdback <= bps <= MAX_HOLDBACK_BPS, "InvalidHoldback")
        line.holdback = bps

    def set_holdback_signed(self, seller: str, bps: int, signed: Signed) -> None:
        self._use_intent("book", seller, signed)
        self.set_holdback(seller, bps)

    def repay(self, caller: str, seller: str, amount: int) -> int:
        line = self.line(seller)
        self._need(amount > 0, "InvalidAmount")
        self._need(line.payoff > 0, "NothingOwed", "WrongStatus")
        self._stop()
        paid = min(amount, line.payoff)
        to_reserve = self._apply(line, paid)
        if paid > to_reserve:
            self._move_from("book", caller, "pool", paid - to_reserve)
        if to_reserve:
            self._move_from("book", caller, "book", to_reserve)
        return paid

    def repay_signed(self, seller: str, from_: str, value: int, signed: Signed) -> int:
        line = self.line(seller)
        self._need(value > 0, "InvalidAmount")
        self._need(line.payoff > 0, "NothingOwed", "WrongStatus")
        self._move_signed(from_, "book", value, signed)
        self._stop()
        paid = min(value, line.payoff)
        to_reserve = self._apply(line, paid)
        if paid > to_reserve:
            self._move("book", "pool", paid - to_reserve)
        if value > paid:
            self._move("book", from_, value - paid)
        return paid

    def _apply(self, line: Line, paid: int) -> int:
        """Pay a line; returns what of it is the reserve's."""
        charged_off = line.status == CHARGED_OFF
        _, second = line.pay(paid)
        to_reserve = second if charged_off else 0
        self.reserve += to_reserve
        self.recovered_to_reserve += to_reserve
        return to_reserve

    def _sale(self, source: str, seller: str, net: int) -> int:
        """What a sale repays. The book may fail; a sale may not."""
        if self.book_broken:
            self.hook_failures += 1
            return 0
        stored = self.lines.get(seller, Line())
        if not stored.has_debt and stored.status != CHARGED_OFF:
            return 0
        if source not in self.sales_sources:
            self.hook_failures += 1
            return 0
        line = self.line(seller)
        owed = line.payoff
        if line.status == CHARGED_OFF:
            # A sale makes good the pool, or else the reserve, not both at once.
            owed = line.loss_pool or line.loss_reserve
        repayment = min(share_of(net, line.holdback_now(self.now)), owed)
        # The sale's coin comes after the pool has passed the reserve's part on.
        for_reserve = line.status == CHARGED_OFF and line.loss_pool == 0
        if repayment == 0 or (for_reserve and repayment > self.cash):
            return 0
        standing = self.in_good_standing("pool") and self.in_good_standing("book")
        if for_reserve and not standing:
            self.hook_failures += 1
            return 0
        to_reserve = self._apply(line, repayment)
        if to_reserve:
            self._move("pool", "book", to_reserve)
        return repayment

    def touch(self, seller: str) -> None:
        self.line(seller)

    def charge_off(self, caller: str, seller: str) -> None:
        line = self.line(seller)
        self._need(line.status == DEFAULTED, "WrongStatus")
        self._stop()
        if self.roles["SERVICER"] != caller:
            old = self.now >= line.past_due_since + CHARGE_OFF_AFTER
            self._need(old, "NotPastDueLongEnough")
        self._stop()
        loss = line.payoff
        from_reserve = min(self.reserve, loss)
        line.status = CHARGED_OFF
        line.principal_lost += line.principal
        line.written_off += loss
        line.principal, line.interest = 0, Fraction(0)
        line.loss_pool, line.loss_reserve = loss - from_reserve, from_reserve
        self.reserve -= from_reserve
        self.reserve_losses += from_reserve
        if loss > from_reserve:
            self.recorded_losses += 1
        if from_reserve:
            self._move("book", "pool", from_reserve)

    def grant_holiday(self, caller: str, seller: str, seconds: int) -> None:
        self._need_role("SERVICER", caller)
        line = self.line(seller)
        self._need(DAY <= seconds <= MAX_HOLIDAY, "InvalidDuration")
        self._need(line.status == ACTIVE, "WrongStatus")
        self._need(line.has_debt, "NothingOwed", "WrongStatus")
        line.window_end += seconds
        if line.past_due_since:
            line.past_due_since += seconds

    def waive(self, caller: str, seller: str, amount: int) -> int:
        self._need_role("SERVICER", caller)
        line = self.line(seller)
        self._need(line.status in (ACTIVE, DEFAULTED), "WrongStatus")
        self._need(amount > 0, "InvalidAmount")
        self._need(line.interest > 0, "NothingOwed", "InvalidAmount")
        self._stop()
        self.recorded_losses += 1
        return line.forgive(amount)

    def lower_limit(self, caller: str, seller: str, limit: int) -> None:
        self._need_role("RISK", caller)
        line = self.lines.setdefault(seller, Line())
        self._need(line.status != NO_LINE, "WrongStatus", "InvalidLimit")
        self._need(limit < line.limit, "InvalidLimit")
        line.limit = limit

    def set_caps(self, caller: str, line_cap: int, principal_cap: int, reserve_bps: int) -> None:
        self._need_role("CAPS", caller)
        self._need(reserve_bps <= BPS and principal_cap < 2**64, "InvalidCaps")
        self.line_cap, self.principal_cap = line_cap, principal_cap
        self.reserve_bps = reserve_bps

    def pause_draws(self, caller: str) -> None:
        self._need_role("GUARDIAN", caller)
        self._need(not self.draws_paused, "DrawsArePaused")
        self.draws_paused = True

    def unpause_draws(self, caller: str) -> None:
        self._need_role("GUARDIAN", caller)
        self._need(self.draws_paused, "DrawsAreNotPaused")
        self.draws_paused = False

    def fund_reserve(self, caller: str, amount: int) -> None:
        self._need(amount > 0, "InvalidAmount")
        self._move_from("book", caller, "book", amount)
        self.reserve += amount

    def withdraw_reserve(self, caller: str, to: str, amount: int) -> None:
        self._need_role("TREASURER", caller)
        self._need(amount > 0, "InvalidAmount")
        enough = self.reserve - amount >= self.reserve_needed(self.total_principal)
        self._need(enough, "ReserveTooLow", "InvalidAmount")
        self._stop()
        self.reserve -= amount
        self._move("book", to, amount)

    def set_sales_source(self, caller: str, source: str, allowed: bool) -> None:
        self._need_role("STEWARD", caller)
        (self.sales_sources.add if allowed else self.sales_sources.discard)(source)

    # -------------------------------------------------------------------- the pool

    @property
    def cash(self) -> int:
        return self.balances.get("pool", 0)

    @property
    def total_assets(self) -> int:
        return self.cash + self.book_value

    @property
    def share_supply(self) -> int:
        return sum(self.shares.values())

    @property
    def share_price(self) -> Fraction:
        assets, shares = self.total_assets + VIRTUAL_ASSETS, self.share_supply + VIRTUAL_SHARES
        return Fraction(assets, shares)

    def assets_of(self, shares: int) -> Fraction:
        return shares * self.share_price

    def shares_of(self, assets: int) -> Fraction:
        return assets / self.share_price

    def deposit(self, caller: str, assets: int, receiver: str) -> int:
        shares = floor(self.shares_of(assets))
        self._lend(caller, assets, receiver, shares)
        return shares

    def mint_shares(self, caller: str, shares: int, receiver: str) -> int:
        assets = ceil(self.assets_of(shares))
        self._lend(caller, assets, receiver, shares)
        return assets

    def _lend(self, caller: str, assets: int, receiver: str, shares: int) -> None:
        over = ("ERC4626ExceededMaxDeposit", "ERC4626ExceededMaxMint")
        self._need_pool_standing(receiver, *over)
        self._need(not self.paused, *over)
        self._move_from("pool", caller, "pool", assets)
        self.shares[receiver] = self.shares.get(receiver, 0) + shares

    def deposit_signed(self, from_: str, assets: int, signed: Signed) -> int:
        shares = floor(self.shares_of(assets))
        self._need_pool_standing(from_, "ERC4626ExceededMaxDeposit")
        self._move_signed(from_, "pool", assets, signed)
        self.shares[from_] = self.shares.get(from_, 0) + shares
        return shares

    def withdraw(self, caller: str, assets: int, receiver: str, owner: str) -> int:
        shares = ceil(self.shares_of(assets))
        most = min(self.cash, floor(self.assets_of(self.shares.get(owner, 0))))
        self._need(assets <= most, "ERC4626ExceededMaxWithdraw")
        self._take_out(caller, assets, receiver, owner, shares)
        return shares

    def redeem_shares(self, caller: str, shares: int, receiver: str, owner: str) -> int:
        assets = floor(self.assets_of(shares))
        enough = shares <= self.shares.get(owner, 0) and assets <= self.cash
        self._need(enough, "ERC4626ExceededMaxRedeem")
        self._take_out(caller, assets, receiver, owner, shares)
        return assets

    def redeem_signed(self, owner: str, shares: int, signed: Signed) -> int:
        self._use_intent("pool", owner, signed)
        return self.redeem_shares(owner, shares, owner, owner)

    def _take_out(self, caller: str, assets: int, receiver: str, owner: str, shares: int) -> None:
        over = ("ERC4626ExceededMaxWithdraw", "ERC4626ExceededMaxRedeem")
        self._need_pool_standing(owner, *over)
        self._need_pool_standing("pool", *over)
        self._need(not self.paused, "CoinPaused", *over)
        if caller != owner:
            allowed = self.share_allowances.get((owner, caller), 0)
            self._need(shares <= allowed, "ERC20InsufficientAllowance")
            if allowed != UNLIMITED:
                self.share_allowances[owner, caller] = allowed - shares
        self._stop()
        self.shares[owner] = self.shares.get(owner, 0) - shares
        self._move("pool", receiver, assets)

    def approve_shares(self, caller: str, spender: str, shares: int) -> None:
        self.share_allowances[caller, spender] = shares

    def transfer_shares(self, caller: str, to: str, shares: int) -> None:
        self._need_pool_standing(caller)
        self._need_pool_standing(to)
        self._need(shares <= self.shares.get(caller, 0), "ERC20InsufficientBalance")
        self._stop()
        self.shares[caller] = self.shares.get(caller, 0) - shares
        self.shares[to] = self.shares.get(to, 0) + shares

    def _need_pool_standing(self, name: str, *others: str) -> None:
        if not self.in_good_standing(name):
            self._need(False, "NotInGoodStanding", "NotAMember", "AccountIsFrozen", *others)
