// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {ICreditBook} from "../interfaces/ICreditBook.sol";

/// @title The arithmetic of one credit line: interest, windows, payments
/// @dev Pure functions over a line in memory; the clock is passed in. ICreditBook says what they
///      mean.
library LineLib {
    using SafeCast for uint256;

    uint256 internal constant BPS = 10_000;
    /// @dev Bps-seconds in one atomic unit of interest: simple interest, actual/365.
    uint256 internal constant BPS_YEAR = BPS * 365 days;
    uint256 internal constant WINDOW = 60 days;
    uint256 internal constant GRACE = 7 days;
    uint256 internal constant DEFAULT_AFTER = 90 days;
    uint256 internal constant INSTALLMENTS = 9;
    uint256 internal constant DELINQUENT_HOLDBACK_BPS = 1_000; // added to the holdback
    uint256 internal constant MAX_DELINQUENT_HOLDBACK_BPS = 3_500;

    // ---------------------------------------------------------------- what is owed

    /// @notice Whole units of interest owed, rounded up.
    function interestOwed(ICreditBook.Line memory line) internal pure returns (uint256) {
        return Math.ceilDiv(line.interest, BPS_YEAR);
    }

    /// @notice What pays a line off that is not charged off.
    function payoff(ICreditBook.Line memory line) internal pure returns (uint256) {
        return line.principal + interestOwed(line);
    }

    /// @notice Bps-seconds that the line earns in a second.
    function rate(ICreditBook.Line memory line) internal pure returns (uint256) {
        bool accrues = line.status == ICreditBook.Status.Active;
        return accrues ? uint256(line.principal) * line.aprBps : 0;
    }

    function delinquent(
        ICreditBook.Line memory line,
        uint256 nowTime
    ) internal pure returns (bool) {
        return
            line.status == ICreditBook.Status.Active &&
            line.pastDueSince != 0 &&
            nowTime >= line.pastDueSince + GRACE;
    }

    /// @notice Share of a sale that goes to the line, in 1/10,000.
    function holdback(
        ICreditBook.Line memory line,
        uint256 nowTime
    ) internal pure returns (uint256) {
        if (line.status == ICreditBook.Status.Active && !delinquent(line, nowTime)) {
            return line.holdbackBps;
        }
        return Math.min(line.holdbackBps + DELINQUENT_HOLDBACK_BPS, MAX_DELINQUENT_HOLDBACK_BPS);
    }

    // --------------------------------------------------------------------- storage

    /// @notice Write a line, each of its two words once.
    /// @dev As the struct lies, from the low end of each word: Solidity would read and write the
    ///      words again for most of the members.
    function store(ICreditBook.Line memory line, ICreditBook.Line storage place) internal {
        uint256 debt = uint256(line.principal) |
            (uint256(line.interest) << 72) |
            (uint256(line.accruedAt) << 200) |
            (uint256(line.status) << 240) |
            (uint256(line.hasDues ? 1 : 0) << 248);
        uint256 schedule = uint256(line.windowEnd) |
            (uint256(line.pastDueSince) << 40) |
            (uint256(line.installment) << 80) |
            (uint256(line.installmentDue) << 152) |
            (uint256(line.holdbackBps) << 224) |
            (uint256(line.aprBps) << 240);
        assembly ("memory-safe") {
            sstore(place.slot, debt)
            sstore(add(place.slot, 1), schedule)
        }
    }

    // ------------------------------------------------------------------------ time

    /// @notice Bring a line to `nowTime`: close the windows that have ended, accrue, default.
    /// @return defaulted Whether it has defaulted just now.
    function advance(
        ICreditBook.Line memory line,
        ICreditBook.Dues memory dues,
        uint256 nowTime
    ) internal pure returns (bool defaulted) {
        // Only an open window has debt that accrues.
        if (line.windowEnd == 0) return false;
        if (nowTime >= line.windowEnd) _closeWindows(line, dues, nowTime);
        line.interest = _interestAt(line, nowTime).toUint128();
        line.accruedAt = nowTime.toUint40();
        if (line.pastDueSince == 0 || nowTime < line.pastDueSince + DEFAULT_AFTER) return false;
        line.status = ICreditBook.Status.Defaulted;
        _closeSchedule(line, dues);
        return true;
    }

    function _interestAt(
        ICreditBook.Line memory line,
        uint256 time
    ) private pure returns (uint256) {
        return line.interest + rate(line) * (time - line.accruedAt);
    }

    /// @dev All windows that ended by `nowTime` at once: nothing was paid in them, or the line
    ///      would have been brought up to date by the payment. The first one closes with what is
    ///      kept of it; each further one leaves all interest that had accrued when it opened, and
    ///      one more installment.
    function _closeWindows(
        ICreditBook.Line memory line,
        ICreditBook.Dues memory dues,
        uint256 nowTime
    ) private pure {
        uint256 firstEnd = line.windowEnd;
        uint256 further = (nowTime - firstEnd) / WINDOW;
        uint256 opening = firstEnd + further * WINDOW; // of the window that is open now

        uint256 pastDueInterest = uint256(dues.pastDueInterest) + dues.interestDue;
        uint256 pastDuePrincipal = uint256(dues.pastDuePrincipal) + line.installmentDue;
        uint256 since = line.pastDueSince;
        if (since == 0 && pastDueInterest + pastDuePrincipal != 0) since = firstEnd;
        if (further != 0) {
            pastDueInterest = _interestAt(line, opening - WINDOW) / BPS_YEAR;
            pastDuePrincipal = Math.min(
                line.principal,
                pastDuePrincipal + further * line.installment
            );
            if (since == 0 && pastDueInterest + pastDuePrincipal != 0) since = firstEnd + WINDOW;
        }

        dues.pastDueInterest = pastDueInterest.toUint72();
        dues.pastDuePrincipal = pastDuePrincipal.toUint72();
        dues.interestDue = (_interestAt(line, opening) / BPS_YEAR - pastDueInterest).toUint72();
        line.installmentDue = uint72(
            Math.min(line.installment, line.principal - pastDuePrincipal) // at most 72 bits
        );
        line.pastDueSince = since.toUint40();
        line.windowEnd = (opening + WINDOW).toUint40();
    }

    // ---------------------------------------------------------------- draws, payments

    /// @notice Add a draw and its fee to a line that was brought to `nowTime`.
    function addDraw(
        ICreditBook.Line memory line,
        uint256 amount,
        uint256 fee,
        uint256 nowTime
    ) internal pure {
        uint256 principal = line.principal + amount;
        uint256 installment = Math.ceilDiv(principal, INSTALLMENTS);
        if (line.windowEnd == 0) {
            line.accruedAt = nowTime.toUint40();
            line.windowEnd = (nowTime + WINDOW).toUint40();
            line.installmentDue = installment.toUint72();
        } else {
            // The open window asks for a ninth of the new principal, less what was paid in it.
            line.installmentDue = Math
                .saturatingSub(line.installmentDue + installment, line.installment)
                .toUint72();
        }
        line.installment = installment.toUint72();
        line.principal = principal.toUint72();
        line.interest = (line.interest + fee * BPS_YEAR).toUint128();
    }

    /// @notice Apply a payment of at most the payoff amount to a line brought up to date.
    /// @return interestPaid Past-due and current interest, in atomic units.
    /// @return principalPaid The rest.
    function applyPayment(
        ICreditBook.Line memory line,
        ICreditBook.Dues memory dues,
        uint256 amount
    ) internal pure returns (uint256 interestPaid, uint256 principalPaid) {
        if (line.status == ICreditBook.Status.Defaulted) {
            principalPaid = Math.min(amount, line.principal);
            interestPaid = amount - principalPaid;
        } else {
            uint256 pastDueInterest = Math.min(amount, dues.pastDueInterest);
            uint256 left = amount - pastDueInterest;
            uint256 pastDuePrincipal = Math.min(left, dues.pastDuePrincipal);
            left -= pastDuePrincipal;
            uint256 interest = Math.min(left, interestOwed(line) - pastDueInterest);
            left -= interest;
            interestPaid = pastDueInterest + interest;
            principalPaid = pastDuePrincipal + left;
            // No cast below cuts: each amount is at most the 72 bits it is taken from.
            dues.pastDuePrincipal -= uint72(pastDuePrincipal);
            line.installmentDue = uint72(Math.saturatingSub(line.installmentDue, left));
        }
        line.principal -= uint72(principalPaid);
        lowerInterest(line, dues, interestPaid);
    }

    /// @notice Take whole units off the interest owed and off what is due of it, the oldest first;
    ///         then see what that settles.
    function lowerInterest(
        ICreditBook.Line memory line,
        ICreditBook.Dues memory dues,
        uint256 units
    ) internal pure {
        line.interest = uint128(Math.saturatingSub(line.interest, units * BPS_YEAR));
        uint256 pastDue = Math.min(units, dues.pastDueInterest);
        dues.pastDueInterest -= uint72(pastDue);
        dues.interestDue = uint72(Math.saturatingSub(dues.interestDue, units - pastDue));
        if (line.principal == 0 && line.interest == 0) {
            if (line.status == ICreditBook.Status.Defaulted) {
                line.status = ICreditBook.Status.Closed;
            }
            line.pastDueSince = 0;
            _closeSchedule(line, dues);
        } else if (
            line.status == ICreditBook.Status.Active &&
            dues.pastDueInterest == 0 &&
            dues.pastDuePrincipal == 0
        ) {
            line.pastDueSince = 0;
        }
    }

    function _closeSchedule(
        ICreditBook.Line memory line,
        ICreditBook.Dues memory dues
    ) private pure {
        line.windowEnd = 0;
        line.installment = 0;
        line.installmentDue = 0;
        dues.interestDue = 0;
        dues.pastDueInterest = 0;
        dues.pastDuePrincipal = 0;
    }
}
