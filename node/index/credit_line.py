"""The arithmetic of a credit line, as the credit book has it (contracts/libraries/LineLib.sol).

The book tells what was drawn and paid, not what time does to a line: interest accrues, windows
close, a line comes to be past due or defaulted. All of that follows from the line's events and the
clock, and is computed here, exactly: interest is counted in principal x basis points x seconds
("bps-seconds"), of which BPS_YEAR are one atomic unit. The reconciler compares the outcome with
the chain, field by field.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.store.models import LineStatus

BPS = 10_000
BPS_YEAR = BPS * 365 * 86_400  # bps-seconds in one atomic unit of interest
WINDOW = 60 * 86_400
GRACE = 7 * 86_400
DEFAULT_AFTER = 90 * 86_400
INSTALLMENTS = 9
LATE_HOLDBACK_BPS = 1_000  # added to the holdback of a line that is late
MAX_LATE_HOLDBACK_BPS = 3_500


@dataclass(slots=True)
class Line:
    """A line as of `accrued_at`. Amounts are atomic units, interest bps-seconds, times UTC seconds.

    Attributes:
        window_end: due date of the open window; 0 without a schedule.
        past_due_since: the due date missed first of what is past due; 0 if nothing is.
        installment: a ninth of the principal at the last draw, rounded up.
        installment_due, interest_due: of the open window, not paid yet.
    """

    status: LineStatus
    principal: int
    interest: int
    accrued_at: int
    apr_bps: int
    holdback_bps: int
    window_end: int
    past_due_since: int
    installment: int
    installment_due: int
    interest_due: int
    past_due_interest: int
    past_due_principal: int

    @property
    def interest_owed(self) -> int:
        """Whole units, rounded up."""
        return -(-self.interest // BPS_YEAR)

    @property
    def payoff(self) -> int:
        """What pays off a line that is not charged off."""
        return self.principal + self.interest_owed

    @property
    def rate(self) -> int:
        """Bps-seconds earned in a second."""
        return self.principal * self.apr_bps if self.status is LineStatus.ACTIVE else 0

    @property
    def due(self) -> int:
        """The least payment now after which nothing of the open window, or of those before, is left
        to pay. Interest goes before installments, so it takes all that is owed of it with it."""
        if self.status is not LineStatus.ACTIVE:
            return self.payoff
        if self.installment_due:
            return self.interest_owed + self.past_due_principal + self.installment_due
        return self.past_due_interest + self.past_due_principal + self.interest_due

    def split(self, amount: int) -> tuple[int, int]:
        """How a payment of at most the payoff is taken: interest and principal."""
        if self.status is not LineStatus.ACTIVE:
            principal = min(amount, self.principal)
            return amount - principal, principal
        past_due_interest = min(amount, self.past_due_interest)
        left = amount - past_due_interest
        past_due_principal = min(left, self.past_due_principal)
        left -= past_due_principal
        interest = min(left, self.interest_owed - past_due_interest)
        return past_due_interest + interest, past_due_principal + left - interest

    def delinquent(self, now: int) -> bool:
        """Whether a line brought to `now` is past due beyond the days of grace."""
        return (
            self.status is LineStatus.ACTIVE
            and self.past_due_since != 0
            and now >= self.past_due_since + GRACE
        )

    def holdback_at(self, now: int) -> int:
        """The share of a sale that goes to the line, in 1/10,000."""
        if self.status is LineStatus.ACTIVE and not self.delinquent(now):
            return self.holdback_bps
        return min(self.holdback_bps + LATE_HOLDBACK_BPS, MAX_LATE_HOLDBACK_BPS)

    def advance(self, now: int) -> bool:
        """Bring the line to a later time: close windows, accrue, default.

        Returns:
            Whether it has defaulted by that.
        """
        if self.window_end == 0:  # only an open window has debt that accrues
            return False
        if now >= self.window_end:
            self._close_windows(now)
        self.interest = self._interest_at(now)
        self.accrued_at = now
        if self.past_due_since == 0 or now < self.past_due_since + DEFAULT_AFTER:
            return False
        self.status = LineStatus.DEFAULTED
        self._close_schedule()
        return True

    def draw(self, amount: int, fee: int, now: int) -> None:
        """Add a draw to a line brought to `now`."""
        self.principal += amount
        installment = -(-self.principal // INSTALLMENTS)
        if self.window_end == 0:
            self.accrued_at = now
            self.window_end = now + WINDOW
            self.installment_due = installment
        else:
            # The open window asks for a ninth of the new principal, less what was paid in it.
            self.installment_due = max(self.installment_due + installment - self.installment, 0)
        self.installment = installment
        self.interest += fee * BPS_YEAR

    def pay(self, interest_paid: int, principal_paid: int) -> None:
        """Take a payment, split as the book split it, off a line brought to its time."""
        if self.status is LineStatus.ACTIVE:
            past_due = min(principal_paid, self.past_due_principal)
            self.past_due_principal -= past_due
            self.installment_due = max(self.installment_due - (principal_paid - past_due), 0)
        self.principal -= principal_paid
        self.lower_interest(interest_paid)

    def lower_interest(self, units: int) -> None:
        """Take whole units off the interest, and off what is due of it, the oldest first."""
        self.interest = max(self.interest - units * BPS_YEAR, 0)
        past_due = min(units, self.past_due_interest)
        self.past_due_interest -= past_due
        self.interest_due = max(self.interest_due - (units - past_due), 0)
        if self.principal == 0 and self.interest == 0:
            if self.status is LineStatus.DEFAULTED:
                self.status = LineStatus.CLOSED
            self.past_due_since = 0
            self._close_schedule()
        elif (
            self.status is LineStatus.ACTIVE
            and self.past_due_interest == 0
            and self.past_due_principal == 0
        ):
            self.past_due_since = 0

    def write_off(self) -> None:
        """Charge a defaulted line off: nothing is owed any more, only to be recovered."""
        self.principal = 0
        self.interest = 0
        self.status = LineStatus.CHARGED_OFF

    def postpone(self, seconds: int) -> None:
        """Grant a payment holiday; interest goes on."""
        self.window_end += seconds
        if self.past_due_since:
            self.past_due_since += seconds

    def _interest_at(self, time: int) -> int:
        return self.interest + self.rate * (time - self.accrued_at)

    def _close_windows(self, now: int) -> None:
        """All windows that ended by `now` at once: nothing was paid in them.

        The first closes with what is kept of it. Each further one leaves all interest that had
        accrued when it opened, and one more installment.
        """
        first_end = self.window_end
        further = (now - first_end) // WINDOW
        opening = first_end + further * WINDOW  # of the window that is open now
        past_due_interest = self.past_due_interest + self.interest_due
        past_due_principal = self.past_due_principal + self.installment_due
        since = self.past_due_since
        if not since and past_due_interest + past_due_principal:
            since = first_end
        if further:
            past_due_interest = self._interest_at(opening - WINDOW) // BPS_YEAR
            past_due_principal = min(
                self.principal, past_due_principal + further * self.installment
            )
            if not since and past_due_interest + past_due_principal:
                since = first_end + WINDOW
        self.past_due_interest = past_due_interest
        self.past_due_principal = past_due_principal
        self.interest_due = self._interest_at(opening) // BPS_YEAR - past_due_interest
        self.installment_due = min(self.installment, self.principal - past_due_principal)
        self.past_due_since = since
        self.window_end = opening + WINDOW

    def _close_schedule(self) -> None:
        self.window_end = 0
        self.installment = 0
        self.installment_due = 0
        self.interest_due = 0
        self.past_due_interest = 0
        self.past_due_principal = 0
