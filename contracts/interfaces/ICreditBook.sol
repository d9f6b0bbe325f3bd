// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ISaleHook} from "./ISaleHook.sol";

/// @title Sellers' revolving credit lines, repaid out of sales
/// @notice An underwriter signs an offer, the seller accepts it, draws coin out of the lender pool
///         and repays by a share of each sale (the holdback), by hand, or by anyone for him.
///         Lending moves coin that exists; it never mints.
///
///         Interest is simple, on principal only, actual/365 by the second. It is counted exactly,
///         as principal x basis points x seconds ("bps-seconds"; BPS_YEAR of them are one atomic
///         unit), so that nothing is lost however often a line is touched, and the sum over all
///         lines is exact too. It is rounded once: up, when it is paid.
///
///         A line with debt runs in windows of 60 days from its first draw. Each opens with a
///         minimum: the whole units of interest accrued by then, and an installment of
///         ceil(principal at the last draw / 9), at most the principal. What is not paid when the
///         window ends is past due. After 7 days of grace the line is Delinquent: no draws, and a
///         holdback 10 points higher, at most 35 %. Paying all that is past due cures it. From 90
///         days past due it is Defaulted, as soon as anything touches the line (`touch` is
///         anyone's): interest stops, all is due, and principal is repaid first. From 180 days
///         anyone may charge it off: the loss is the first-loss reserve's, then the lenders'; what
///         is recovered later makes up for it in reverse.
/// @dev Line amounts fit 72 bits (4.7 * 10^21 atomic units). No loop runs over lines or windows.
interface ICreditBook is ISaleHook {
    // ------------------------------------------------------------------ types

    /// @notice What the underwriter offers. Its EIP-712 hash is the offer hash.
    /// @param seller Who may accept it.
    /// @param underwriter Who signs it; holds the UNDERWRITER role when it is accepted.
    /// @param limit Most principal, in atomic units.
    /// @param aprBps Annual rate in 1/10,000. Never above that of a line that has debt.
    /// @param drawFeeBps Fee on each draw in 1/10,000, rounded up, owed as interest at once. A rate
    ///        of 0 and a fee make a fixed-fee advance.
    /// @param holdbackBps Least share of each sale, after the fee, that repays the line.
    /// @param termDays Days after acceptance during which it may be drawn.
    /// @param expires Acceptable while `block.timestamp < expires`.
    /// @param disclosureHash Hash of the disclosure the seller was shown.
    /// @param modelHash Hash of the scoring model that made the offer.
    /// @param nonce The underwriter's own: makes otherwise equal offers differ.
    struct Offer {
        address seller;
        address underwriter;
        uint72 limit;
        uint16 aprBps;
        uint16 drawFeeBps;
        uint16 holdbackBps;
        uint16 termDays;
        uint40 expires;
        bytes32 disclosureHash;
        bytes32 modelHash;
        uint256 nonce;
    }

    /// @notice None: never accepted. Active: by time also Delinquent (`Statement.delinquent`).
    ///         Closed: defaulted and then repaid in full; draws need a new offer.
    ///         ChargedOff: for good.
    enum Status {
        None,
        Active,
        Defaulted,
        Closed,
        ChargedOff
    }

    /// @notice A line as it is stored, or as it is now (`lineOf`).
    /// @param principal Owed on which interest accrues.
    /// @param interest Owed, in bps-seconds, as of `accruedAt`.
    /// @param hasDues Whether a word of `Dues` is kept.
    /// @param windowEnd Due date of the open window; 0 without debt.
    /// @param pastDueSince The due date missed first of what is past due; 0 if nothing is.
    /// @param installment ceil(principal at the last draw / 9).
    /// @param installmentDue What of the open window's installment is not paid yet.
    /// @param holdbackBps Share of each sale chosen by the seller.
    /// @param aprBps Annual rate.
    struct Line {
        uint72 principal;
        uint128 interest;
        uint40 accruedAt;
        Status status;
        bool hasDues;
        uint40 windowEnd;
        uint40 pastDueSince;
        uint72 installment;
        uint72 installmentDue;
        uint16 holdbackBps;
        uint16 aprBps;
    }

    /// @notice Terms of a line that only draws and changes read.
    struct LineTerms {
        uint72 limit;
        uint40 drawUntil;
        uint16 drawFeeBps;
        uint16 agreedHoldbackBps;
    }

    /// @notice Whole units due of interest and principal; what is past due is part of what is owed.
    /// @param interestDue Of the open window.
    struct Dues {
        uint72 interestDue;
        uint72 pastDueInterest;
        uint72 pastDuePrincipal;
    }

    /// @notice What a charged-off line still owes, and to whom it goes: the pool's part first.
    struct Loss {
        uint72 toPool;
        uint72 toReserve;
    }

    /// @notice All lines together.
    /// @param principal Of all lines not charged off.
    /// @param reserve First-loss reserve, held by this contract.
    /// @param principalCap Most principal of all lines together; below 2^64 (InvalidCaps).
    /// @param domainStart When `accountedInterest` was brought up to date: the time of asking.
    /// @param issuanceRate Sum of principal x aprBps of the lines that accrue: bps-seconds a
    ///        second.
    /// @param accountedInterest Owed interest of all lines not charged off, as of domainStart, in
    ///        bps-seconds.
    /// @param reserveBps Least reserve, in 1/10,000 of all principal, at every draw.
    /// @param drawsPaused Whether draws are paused.
    struct Totals {
        uint72 principal;
        uint72 reserve;
        uint72 principalCap;
        uint40 domainStart;
        uint104 issuanceRate;
        uint120 accountedInterest;
        uint16 reserveBps;
        bool drawsPaused;
    }

    /// @notice What a seller is told of a line, now.
    /// @param payoff Pays the line off now: principal and interest, rounded up. For a charged-off
    ///        line what is still to be recovered.
    /// @param pastDue Part of it that is past due (everything, once defaulted).
    /// @param dueInWindow Part of it to be paid by `windowEnd`.
    /// @param available What may be drawn now, as far as the line is concerned.
    /// @param holdbackBps Share of a sale now, with what delinquency adds.
    struct Statement {
        Status status;
        bool delinquent;
        uint40 windowEnd;
        uint40 pastDueSince;
        uint256 principal;
        uint256 interest;
        uint256 payoff;
        uint256 pastDue;
        uint256 dueInWindow;
        uint256 available;
        uint256 holdbackBps;
    }

    // ----------------------------------------------------------------- events

    event OfferAccepted(address indexed seller, bytes32 indexed offerHash, Offer offer);
    event OfferRevoked(address indexed underwriter, bytes32 indexed offerHash);
    event HoldbackSet(address indexed seller, uint16 holdbackBps);
    event LimitLowered(address indexed seller, uint72 limit);
    /// @notice `fee` is owed as interest. `principal` and `windowEnd` are those after the draw.
    event Drawn(
        address indexed seller,
        uint256 amount,
        uint256 fee,
        uint256 principal,
        uint40 windowEnd
    );
    /// @notice A payment: of a sale where `orderHash` is not zero (the payer is then the escrow).
    ///         `amount = interestPaid + principalPaid`; `principal` is what is left.
    event Repaid(
        address indexed seller,
        address indexed payer,
        bytes32 indexed orderHash,
        uint256 interestPaid,
        uint256 principalPaid,
        uint256 principal
    );
    /// @notice A payment on a charged-off line.
    event Recovered(
        address indexed seller,
        address indexed payer,
        bytes32 indexed orderHash,
        uint256 toPool,
        uint256 toReserve
    );
    /// @notice Interest no longer accrues. `interest` is what is owed, rounded up.
    event LineDefaulted(
        address indexed seller,
        uint40 pastDueSince,
        uint256 principal,
        uint256 interest
    );
    /// @notice A line that had defaulted was repaid in full.
    event LineClosed(address indexed seller);
    /// @notice `principal + interest = fromReserve + poolLoss`.
    event LineChargedOff(
        address indexed seller,
        uint256 principal,
        uint256 interest,
        uint256 fromReserve,
        uint256 poolLoss
    );
    event HolidayGranted(address indexed seller, uint40 duration, uint40 windowEnd);
    /// @notice Interest forgiven: a loss of the pool by as much.
    event InterestWaived(address indexed seller, uint256 amount);
    event CapsSet(uint72 lineCap, uint72 principalCap, uint16 reserveBps);
    event DrawsPaused(address account);
    event DrawsUnpaused(address account);
    event ReserveFunded(address indexed from, uint256 amount);
    event ReserveWithdrawn(address indexed to, uint256 amount);
    event SalesSourceSet(address indexed source, bool allowed);

    // ----------------------------------------------------------------- errors

    error InvalidContract(address given);
    error NotAllowed(address caller);
    error InvalidOffer(string reason);
    error OfferExpired(uint40 expires, uint256 nowTime);
    /// @notice Accepted before, or revoked.
    error OfferUsed(bytes32 offerHash);
    error NotAnUnderwriter(address account);
    error InvalidOfferSignature(address underwriter);
    error WrongStatus(address seller, Status actual);
    error RateAboveCurrent(uint16 aprBps, uint16 current);
    error InvalidHoldback(uint16 holdbackBps, uint16 least, uint16 most);
    error InvalidLimit(uint256 limit, uint256 most);
    error InvalidAmount(uint256 amount, uint256 limit);
    error InvalidDuration(uint40 duration, uint40 most);
    error InvalidCaps();
    error DrawsArePaused();
    error DrawsAreNotPaused();
    error DrawTermOver(uint40 drawUntil, uint256 nowTime);
    error PaymentPastDue(address seller, uint40 since);
    error ReserveTooLow(uint256 reserve, uint256 needed);
    error NothingOwed(address seller);
    error NotPastDueLongEnough(uint40 pastDueSince, uint40 needed, uint256 nowTime);
    error NotASalesSource(address caller);

    // ------------------------------------------------------------------ seller

    /// @notice Accept an offer (its seller). Opens a line, or gives an open one new terms: not
    ///         while anything is past due, and what is owed, its due dates and its dues stay as
    ///         they are.
    function accept(Offer calldata offer, bytes calldata underwriterSignature) external;

    /// @notice The same by the seller's intent. EIP-712
    ///         Acceptance(bytes32 offerHash,uint256 nonce,uint256 deadline).
    function acceptWithSignature(
        Offer calldata offer,
        bytes calldata underwriterSignature,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Draw coin on the caller's line: while it is Active with nothing past due, inside its
    ///         limit and term, the cap of all lines and what the reserve allows.
    function draw(uint256 amount) external;

    /// @notice The same by the seller's intent. EIP-712
    ///         Draw(address seller,uint256 amount,uint256 nonce,uint256 deadline).
    function drawWithSignature(
        address seller,
        uint256 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Choose the share of each sale: at least what the offer says, at most
    ///         MAX_HOLDBACK_BPS.
    function setHoldback(uint16 holdbackBps) external;

    /// @notice The same by the seller's intent. EIP-712
    ///         Holdback(address seller,uint16 holdbackBps,uint256 nonce,uint256 deadline).
    function setHoldbackWithSignature(
        address seller,
        uint16 holdbackBps,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    // ----------------------------------------------------------------- payments

    /// @notice Repay a line out of the caller's coin (anyone, having approved this contract): at
    ///         most what pays it off, so any larger amount repays all.
    /// @return paid What was taken.
    /// @dev Past-due interest, past-due principal, interest, principal, in this order; principal
    ///      first once defaulted.
    function repay(address seller, uint256 amount) external returns (uint256 paid);

    /// @notice Repay by a signature of EIP-3009 ReceiveWithAuthorization(from, to = this contract,
    ///         value, validAfter, validBefore, nonce = repaymentNonce(seller, ref)); anyone may
    ///         relay. What the line does not need goes back to `from`.
    function repayWithAuthorization(
        address seller,
        bytes32 ref,
        address from,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external returns (uint256 paid);

    // ---------------------------------------------------------------- servicing

    /// @notice Bring a line up to date (anyone): records a default that has come.
    function touch(address seller) external;

    /// @notice Write off a defaulted line: from 180 days past due anyone, before that the servicer.
    function chargeOff(address seller) external;

    /// @notice Move the open window's end, and the date from which past dues count, later by
    ///         `duration` seconds (servicer). Interest goes on.
    function grantHoliday(address seller, uint40 duration) external;

    /// @notice Forgive up to `amount` of interest owed (servicer).
    /// @return waived What was forgiven, in atomic units, rounded up.
    function waive(address seller, uint256 amount) external returns (uint256 waived);

    /// @notice Lower a line's limit (risk admin); only a new offer raises it.
    function lowerLimit(address seller, uint72 limit) external;

    /// @notice Set the most one line's offer may allow, the most of all lines together, and the
    ///         least reserve in 1/10,000 of all principal (risk admin).
    function setCaps(uint72 lineCap, uint72 principalCap, uint16 reserveBps) external;

    /// @notice Stop draws, and draws only (guardian).
    function pauseDraws() external;

    function unpauseDraws() external;

    /// @notice Void a signed offer that was not accepted (its underwriter).
    function revokeOffer(Offer calldata offer) external;

    /// @notice Add the caller's coin to the first-loss reserve.
    function fundReserve(uint256 amount) external;

    /// @notice Take coin out of the reserve, down to what present principal needs (treasurer).
    function withdrawReserve(address to, uint256 amount) external;

    /// @notice Let an escrow report sales, or no longer (steward).
    function setSalesSource(address source, bool allowed) external;

    // ------------------------------------------------------------------- views

    function coin() external view returns (address);
    function pool() external view returns (address);
    function hashOffer(Offer calldata offer) external view returns (bytes32 offerHash);
    function offerUsed(bytes32 offerHash) external view returns (bool);

    /// @notice keccak256(abi.encode(seller, ref)).
    function repaymentNonce(address seller, bytes32 ref) external pure returns (bytes32);

    /// @notice A line brought up to the present, as `touch` would leave it.
    function lineOf(
        address seller
    )
        external
        view
        returns (Line memory line, LineTerms memory terms, Dues memory dues, Loss memory loss);

    function statementOf(address seller) external view returns (Statement memory);
    function totals() external view returns (Totals memory);
    function lineCap() external view returns (uint72);
    function isSalesSource(address source) external view returns (bool);

    /// @notice What lenders own in lines: principal, and interest earned by now, rounded down.
    function bookValue() external view returns (uint256);

    /// @notice Bps-seconds that make one atomic unit of interest: 10,000 x 365 days.
    function BPS_YEAR() external view returns (uint256);
    function UNDERWRITER_ROLE() external view returns (uint64);
}
