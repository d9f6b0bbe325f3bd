// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Intents} from "./Intents.sol";
import {ICreditBook} from "./interfaces/ICreditBook.sol";
import {IPlatformCoin} from "./interfaces/IPlatformCoin.sol";
import {ISaleHook} from "./interfaces/ISaleHook.sol";
import {LineLib} from "./libraries/LineLib.sol";

/// @title Sellers' credit lines; every function is described in ICreditBook
/// @dev Each operation brings its line to the present first, works on it in memory, stores it with
///      the totals and only then moves coin. The coin calls nobody back and signatures are checked
///      by static calls, so nothing can be entered half-way.
///      Draws come out of the pool, and sales are repaid to it, by the allowance it has given.
contract CreditBook is ICreditBook, Intents, AccessManaged {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;
    using SafeCast for int256;
    using LineLib for Line;

    /// @dev All that is kept of a line: two words that every operation uses, and three that few do.
    struct Record {
        Line line;
        LineTerms terms;
        Dues dues;
        Loss loss;
    }

    /// @dev All lines together, in the one word that draws and payments write. Interest is kept as
    ///      it would have been at time 0 had it always run at the present rate: owed of it now is
    ///      `interestAtZero + issuanceRate * block.timestamp`, and no time needs to be stored.
    struct Sums {
        uint64 principal; // at most the cap of all lines
        uint80 issuanceRate; // at most 2,000 times as much
        int112 interestAtZero;
    }

    /// @dev What bounds draws, and the reserve.
    struct Bounds {
        uint72 reserve;
        uint72 principalCap;
        uint72 lineCap;
        uint16 reserveBps;
        bool drawsPaused;
    }

    uint256 public constant BPS_YEAR = LineLib.BPS_YEAR;
    uint64 public constant UNDERWRITER_ROLE = 7;
    uint64 public constant SERVICER_ROLE = 8;
    uint16 public constant MAX_APR_BPS = 2_000;
    uint16 public constant MAX_DRAW_FEE_BPS = 1_000;
    uint16 public constant MAX_HOLDBACK_BPS = 2_500;
    uint40 public constant MIN_HOLIDAY = 1 days;
    uint40 public constant MAX_HOLIDAY = 180 days;
    uint256 private constant CHARGE_OFF_AFTER = 180 days;
    uint256 private constant BPS = LineLib.BPS;

    bytes32 private constant OFFER_TYPEHASH =
        keccak256(
            "Offer(address seller,address underwriter,uint72 limit,uint16 aprBps,uint16 drawFeeBps,"
            "uint16 holdbackBps,uint16 termDays,uint40 expires,bytes32 disclosureHash,"
            "bytes32 modelHash,uint256 nonce)"
        );
    bytes32 private constant ACCEPTANCE_TYPEHASH =
        keccak256("Acceptance(bytes32 offerHash,uint256 nonce,uint256 deadline)");
    bytes32 private constant DRAW_TYPEHASH =
        keccak256("Draw(address seller,uint256 amount,uint256 nonce,uint256 deadline)");
    bytes32 private constant HOLDBACK_TYPEHASH =
        keccak256("Holdback(address seller,uint16 holdbackBps,uint256 nonce,uint256 deadline)");

    address private immutable COIN;
    address private immutable POOL;

    mapping(address seller => Record) private _records;
    Sums private _sums;
    Bounds private _bounds;
    mapping(bytes32 offerHash => bool) private _usedOffers;
    mapping(address source => bool) private _salesSources;

    constructor(
        address coin_,
        address pool_,
        address authority
    ) EIP712("Plaza CreditBook", "1") AccessManaged(authority) {
        if (coin_.code.length == 0) revert InvalidContract(coin_);
        if (pool_ == address(0)) revert InvalidContract(pool_);
        COIN = coin_;
        POOL = pool_;
    }

    // ------------------------------------------------------------------ offers

    /// @inheritdoc ICreditBook
    function accept(Offer calldata offer, bytes calldata underwriterSignature) external {
        if (msg.sender != offer.seller) revert NotAllowed(msg.sender);
        _accept(offer, hashOffer(offer), underwriterSignature);
    }

    /// @inheritdoc ICreditBook
    function acceptWithSignature(
        Offer calldata offer,
        bytes calldata underwriterSignature,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external {
        bytes32 offerHash = hashOffer(offer);
        bytes32 intent = keccak256(abi.encode(ACCEPTANCE_TYPEHASH, offerHash, nonce, deadline));
        _useIntent(offer.seller, intent, nonce, deadline, signature);
        _accept(offer, offerHash, underwriterSignature);
    }

    /// @inheritdoc ICreditBook
    function revokeOffer(Offer calldata offer) external {
        if (msg.sender != offer.underwriter) revert NotAllowed(msg.sender);
        bytes32 offerHash = hashOffer(offer);
        _useOffer(offerHash);
        emit OfferRevoked(offer.underwriter, offerHash);
    }

    function _accept(
        Offer calldata offer,
        bytes32 offerHash,
        bytes calldata underwriterSignature
    ) private {
        _checkOffer(offer);
        _useOffer(offerHash);
        if (!_hasRole(UNDERWRITER_ROLE, offer.underwriter)) {
            revert NotAnUnderwriter(offer.underwriter);
        }
        if (!_isSigned(offer.underwriter, _structHash(offer), underwriterSignature)) {
            revert InvalidOfferSignature(offer.underwriter);
        }

        Record storage record = _records[offer.seller];
        Line memory line = record.line;
        Dues memory dues = _duesOf(record, line);
        _bringUp(offer.seller, line, dues);
        if (line.status == Status.Defaulted || line.status == Status.ChargedOff) {
            revert WrongStatus(offer.seller, line.status);
        }
        if (line.pastDueSince != 0) revert PaymentPastDue(offer.seller, line.pastDueSince);
        if (line.windowEnd != 0) {
            if (offer.aprBps > line.aprBps) revert RateAboveCurrent(offer.aprBps, line.aprBps);
        }
        uint256 rateBefore = line.rate();
        line.status = Status.Active;
        line.aprBps = offer.aprBps;
        line.holdbackBps = offer.holdbackBps;
        record.terms = LineTerms({
            limit: offer.limit,
            drawUntil: (block.timestamp + uint256(offer.termDays) * 1 days).toUint40(),
            drawFeeBps: offer.drawFeeBps,
            agreedHoldbackBps: offer.holdbackBps
        });
        _addToSums(0, _difference(line.rate(), rateBefore), 0);
        _store(record, line, dues);
        emit OfferAccepted(offer.seller, offerHash, offer);
    }

    function _checkOffer(Offer calldata offer) private view {
        if (block.timestamp >= offer.expires) revert OfferExpired(offer.expires, block.timestamp);
        if (offer.limit == 0) revert InvalidOffer("limit is zero");
        uint72 cap = _bounds.lineCap;
        if (offer.limit > cap) revert InvalidLimit(offer.limit, cap);
        if (offer.aprBps > MAX_APR_BPS) revert InvalidOffer("aprBps above 2000");
        if (offer.drawFeeBps > MAX_DRAW_FEE_BPS) revert InvalidOffer("drawFeeBps above 1000");
        if (offer.holdbackBps == 0 || offer.holdbackBps > MAX_HOLDBACK_BPS) {
            revert InvalidHoldback(offer.holdbackBps, 1, MAX_HOLDBACK_BPS);
        }
        if (offer.termDays == 0) revert InvalidOffer("termDays is zero");
    }

    function _useOffer(bytes32 offerHash) private {
        if (_usedOffers[offerHash]) revert OfferUsed(offerHash);
        _usedOffers[offerHash] = true;
    }

    // ------------------------------------------------------------------- draws

    /// @inheritdoc ICreditBook
    function draw(uint256 amount) external {
        _draw(msg.sender, amount);
    }

    /// @inheritdoc ICreditBook
    function drawWithSignature(
        address seller,
        uint256 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external {
        bytes32 intent = keccak256(abi.encode(DRAW_TYPEHASH, seller, amount, nonce, deadline));
        _useIntent(seller, intent, nonce, deadline, signature);
        _draw(seller, amount);
    }

    function _draw(address seller, uint256 amount) private {
        Record storage record = _records[seller];
        Line memory line = record.line;
        Dues memory dues = _duesOf(record, line);
        _bringUp(seller, line, dues);
        if (line.status != Status.Active) revert WrongStatus(seller, line.status);
        if (line.pastDueSince != 0) revert PaymentPastDue(seller, line.pastDueSince);
        LineTerms memory terms = record.terms;
        if (block.timestamp >= terms.drawUntil) {
            revert DrawTermOver(terms.drawUntil, block.timestamp);
        }
        uint256 available = Math.saturatingSub(terms.limit, line.principal);
        if (amount == 0 || amount > available) revert InvalidAmount(amount, available);

        Bounds memory bounds = _bounds;
        if (bounds.drawsPaused) revert DrawsArePaused();
        uint256 drawn = _sums.principal;
        uint256 underCap = Math.saturatingSub(bounds.principalCap, drawn);
        if (amount > underCap) revert InvalidAmount(amount, underCap);
        uint256 needed = _reserveNeeded(drawn + amount, bounds.reserveBps);
        if (bounds.reserve < needed) revert ReserveTooLow(bounds.reserve, needed);

        uint256 fee = Math.ceilDiv(amount * terms.drawFeeBps, BPS);
        line.addDraw(amount, fee, block.timestamp);
        _addToSums(int256(amount), int256(amount * line.aprBps), int256(fee * BPS_YEAR));
        _store(record, line, dues);
        emit Drawn(seller, amount, fee, line.principal, line.windowEnd);
        IERC20(COIN).safeTransferFrom(POOL, seller, amount);
    }

    // ---------------------------------------------------------------- holdback

    /// @inheritdoc ICreditBook
    function setHoldback(uint16 holdbackBps) external {
        _setHoldback(msg.sender, holdbackBps);
    }

    /// @inheritdoc ICreditBook
    function setHoldbackWithSignature(
        address seller,
        uint16 holdbackBps,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external {
        bytes32 intent = keccak256(
            abi.encode(HOLDBACK_TYPEHASH, seller, holdbackBps, nonce, deadline)
        );
        _useIntent(seller, intent, nonce, deadline, signature);
        _setHoldback(seller, holdbackBps);
    }

    function _setHoldback(address seller, uint16 holdbackBps) private {
        Record storage record = _records[seller];
        if (record.line.status == Status.None) revert WrongStatus(seller, Status.None);
        uint16 agreed = record.terms.agreedHoldbackBps;
        if (holdbackBps < agreed || holdbackBps > MAX_HOLDBACK_BPS) {
            revert InvalidHoldback(holdbackBps, agreed, MAX_HOLDBACK_BPS);
        }
        record.line.holdbackBps = holdbackBps;
        emit HoldbackSet(seller, holdbackBps);
    }

    // ---------------------------------------------------------------- payments

    /// @inheritdoc ICreditBook
    function repay(address seller, uint256 amount) external returns (uint256 paid) {
        (uint256 toPool, uint256 toReserve) = _collect(seller, amount, msg.sender);
        if (toPool != 0) IERC20(COIN).safeTransferFrom(msg.sender, POOL, toPool);
        if (toReserve != 0) IERC20(COIN).safeTransferFrom(msg.sender, address(this), toReserve);
        return toPool + toReserve;
    }

    /// @inheritdoc ICreditBook
    function repayWithAuthorization(
        address seller,
        bytes32 ref,
        address from,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external returns (uint256 paid) {
        IPlatformCoin(COIN).receiveWithAuthorization(
            from,
            address(this),
            value,
            validAfter,
            validBefore,
            repaymentNonce(seller, ref),
            signature
        );
        (uint256 toPool, uint256 toReserve) = _collect(seller, value, from);
        paid = toPool + toReserve;
        if (toPool != 0) IERC20(COIN).safeTransfer(POOL, toPool);
        if (paid != value) IERC20(COIN).safeTransfer(from, value - paid);
    }

    /// @inheritdoc ISaleHook
    function onSale(
        address seller,
        bytes32 orderHash,
        uint256 net
    ) external returns (uint256 repayment) {
        // One word tells that most sellers owe nothing.
        Line storage stored = _records[seller].line;
        bool chargedOff = stored.status == Status.ChargedOff;
        if (!chargedOff && stored.principal == 0 && stored.interest == 0) return 0;
        if (!_salesSources[msg.sender]) revert NotASalesSource(msg.sender);

        Record storage record = _records[seller];
        Line memory line = record.line;
        Dues memory dues = _duesOf(record, line);
        _bringUp(seller, line, dues);
        uint256 offered = (net * line.holdback(block.timestamp)) / BPS;
        if (!chargedOff) {
            repayment = Math.min(offered, line.payoff());
            _repayLine(record, line, dues, repayment, seller, msg.sender, orderHash);
            return repayment;
        }
        // A sale makes good the pool or the reserve, not both at once: the escrow pays the pool,
        // which passes the reserve's part on.
        Loss memory loss = record.loss;
        if (loss.toPool != 0) {
            repayment = Math.min(offered, loss.toPool);
            _recover(record, loss, repayment, 0, seller, msg.sender, orderHash);
        } else {
            repayment = Math.min(offered, loss.toReserve);
            if (IERC20(COIN).balanceOf(POOL) < repayment) return 0; // this sale repays nothing
            _recover(record, loss, 0, repayment, seller, msg.sender, orderHash);
            if (repayment != 0) IERC20(COIN).safeTransferFrom(POOL, address(this), repayment);
        }
    }

    /// @dev Take a payment into the books, as much of it as is owed. The caller moves the coin.
    function _collect(
        address seller,
        uint256 offered,
        address payer
    ) private returns (uint256 toPool, uint256 toReserve) {
        Record storage record = _records[seller];
        Line memory line = record.line;
        Dues memory dues = _duesOf(record, line);
        _bringUp(seller, line, dues);
        if (line.status == Status.ChargedOff) {
            Loss memory loss = record.loss;
            _checkPayment(seller, offered, uint256(loss.toPool) + loss.toReserve);
            toPool = Math.min(offered, loss.toPool);
            toReserve = Math.min(offered - toPool, loss.toReserve);
            _recover(record, loss, toPool, toReserve, seller, payer, bytes32(0));
        } else {
            uint256 owed = line.payoff();
            _checkPayment(seller, offered, owed);
            toPool = Math.min(offered, owed);
            _repayLine(record, line, dues, toPool, seller, payer, bytes32(0));
        }
    }

    function _checkPayment(address seller, uint256 offered, uint256 owed) private pure {
        if (owed == 0) revert NothingOwed(seller);
        if (offered == 0) revert InvalidAmount(0, owed);
    }

    /// @dev `amount` is at most what is owed.
    function _repayLine(
        Record storage record,
        Line memory line,
        Dues memory dues,
        uint256 amount,
        address seller,
        address payer,
        bytes32 orderHash
    ) private {
        if (amount == 0) {
            _store(record, line, dues);
            return;
        }
        uint256 rateBefore = line.rate();
        uint256 interestBefore = line.interest;
        (uint256 interestPaid, uint256 principalPaid) = LineLib.applyPayment(line, dues, amount);
        _addToSums(
            -int256(principalPaid),
            _difference(line.rate(), rateBefore),
            _difference(line.interest, interestBefore)
        );
        _store(record, line, dues);
        emit Repaid(seller, payer, orderHash, interestPaid, principalPaid, line.principal);
        if (line.status == Status.Closed) emit LineClosed(seller);
    }

    function _recover(
        Record storage record,
        Loss memory loss,
        uint256 toPool,
        uint256 toReserve,
        address seller,
        address payer,
        bytes32 orderHash
    ) private {
        if (toPool + toReserve == 0) return;
        record.loss = Loss(loss.toPool - uint72(toPool), loss.toReserve - uint72(toReserve));
        if (toReserve != 0) _bounds.reserve += uint72(toReserve);
        emit Recovered(seller, payer, orderHash, toPool, toReserve);
    }

    // --------------------------------------------------------------- servicing

    /// @inheritdoc ICreditBook
    function touch(address seller) external {
        Record storage record = _records[seller];
        Line memory line = record.line;
        Dues memory dues = _duesOf(record, line);
        _bringUp(seller, line, dues);
        _store(record, line, dues);
    }

    /// @inheritdoc ICreditBook
    function chargeOff(address seller) external {
        Record storage record = _records[seller];
        Line memory line = record.line;
        Dues memory dues = _duesOf(record, line);
        _bringUp(seller, line, dues);
        if (line.status != Status.Defaulted) revert WrongStatus(seller, line.status);
        if (
            block.timestamp < line.pastDueSince + CHARGE_OFF_AFTER &&
            !_hasRole(SERVICER_ROLE, msg.sender)
        ) {
            revert NotPastDueLongEnough(
                line.pastDueSince,
                uint40(CHARGE_OFF_AFTER),
                block.timestamp
            );
        }
        uint256 principal = line.principal;
        uint256 interest = line.interestOwed();
        uint256 fromReserve = Math.min(_bounds.reserve, principal + interest);
        uint256 poolLoss = principal + interest - fromReserve;
        _bounds.reserve -= uint72(fromReserve);
        _addToSums(-int256(principal), 0, -int256(uint256(line.interest)));
        line.principal = 0;
        line.interest = 0;
        line.status = Status.ChargedOff;
        record.loss = Loss(poolLoss.toUint72(), uint72(fromReserve));
        _store(record, line, dues);
        emit LineChargedOff(seller, principal, interest, fromReserve, poolLoss);
        if (fromReserve != 0) IERC20(COIN).safeTransfer(POOL, fromReserve);
    }

    /// @inheritdoc ICreditBook
    function grantHoliday(address seller, uint40 duration) external restricted {
        if (duration < MIN_HOLIDAY || duration > MAX_HOLIDAY) {
            revert InvalidDuration(duration, MAX_HOLIDAY);
        }
        Record storage record = _records[seller];
        Line memory line = record.line;
        Dues memory dues = _duesOf(record, line);
        _bringUp(seller, line, dues);
        if (line.status != Status.Active) revert WrongStatus(seller, line.status);
        if (line.windowEnd == 0) revert NothingOwed(seller);
        line.windowEnd += duration;
        if (line.pastDueSince != 0) line.pastDueSince += duration;
        _store(record, line, dues);
        emit HolidayGranted(seller, duration, line.windowEnd);
    }

    /// @inheritdoc ICreditBook
    function waive(address seller, uint256 amount) external restricted returns (uint256 waived) {
        Record storage record = _records[seller];
        Line memory line = record.line;
        Dues memory dues = _duesOf(record, line);
        _bringUp(seller, line, dues);
        if (line.status != Status.Active && line.status != Status.Defaulted) {
            revert WrongStatus(seller, line.status);
        }
        uint256 owed = line.interestOwed();
        _checkPayment(seller, amount, owed);
        waived = Math.min(amount, owed);
        uint256 interestBefore = line.interest;
        LineLib.lowerInterest(line, dues, waived);
        _addToSums(0, 0, _difference(line.interest, interestBefore));
        _store(record, line, dues);
        emit InterestWaived(seller, waived);
        if (line.status == Status.Closed) emit LineClosed(seller);
    }

    /// @inheritdoc ICreditBook
    function lowerLimit(address seller, uint72 limit) external restricted {
        LineTerms storage terms = _records[seller].terms;
        if (limit >= terms.limit) revert InvalidLimit(limit, terms.limit);
        terms.limit = limit;
        emit LimitLowered(seller, limit);
    }

    /// @inheritdoc ICreditBook
    function setCaps(uint72 lineCap_, uint72 principalCap, uint16 reserveBps) external restricted {
        if (reserveBps > BPS || principalCap > type(uint64).max) revert InvalidCaps();
        _bounds.lineCap = lineCap_;
        _bounds.principalCap = principalCap;
        _bounds.reserveBps = reserveBps;
        emit CapsSet(lineCap_, principalCap, reserveBps);
    }

    /// @inheritdoc ICreditBook
    function pauseDraws() external restricted {
        if (_bounds.drawsPaused) revert DrawsArePaused();
        _bounds.drawsPaused = true;
        emit DrawsPaused(msg.sender);
    }

    /// @inheritdoc ICreditBook
    function unpauseDraws() external restricted {
        if (!_bounds.drawsPaused) revert DrawsAreNotPaused();
        _bounds.drawsPaused = false;
        emit DrawsUnpaused(msg.sender);
    }

    /// @inheritdoc ICreditBook
    function fundReserve(uint256 amount) external {
        if (amount == 0) revert InvalidAmount(0, type(uint72).max);
        _bounds.reserve = (_bounds.reserve + amount).toUint72();
        emit ReserveFunded(msg.sender, amount);
        IERC20(COIN).safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc ICreditBook
    function withdrawReserve(address to, uint256 amount) external restricted {
        uint256 needed = _reserveNeeded(_sums.principal, _bounds.reserveBps);
        uint256 free = Math.saturatingSub(_bounds.reserve, needed);
        if (amount == 0 || amount > free) revert InvalidAmount(amount, free);
        _bounds.reserve -= uint72(amount);
        emit ReserveWithdrawn(to, amount);
        IERC20(COIN).safeTransfer(to, amount);
    }

    /// @inheritdoc ICreditBook
    function setSalesSource(address source, bool allowed) external restricted {
        _salesSources[source] = allowed;
        emit SalesSourceSet(source, allowed);
    }

    // ------------------------------------------------------------------- views

    /// @inheritdoc ICreditBook
    function coin() external view returns (address) {
        return COIN;
    }

    /// @inheritdoc ICreditBook
    function pool() external view returns (address) {
        return POOL;
    }

    /// @inheritdoc ISaleHook
    function collector() external view returns (address) {
        return POOL;
    }

    /// @inheritdoc ICreditBook
    function hashOffer(Offer calldata offer) public view returns (bytes32 offerHash) {
        return _hashTypedDataV4(_structHash(offer));
    }

    /// @inheritdoc ICreditBook
    function offerUsed(bytes32 offerHash) external view returns (bool) {
        return _usedOffers[offerHash];
    }

    /// @inheritdoc ICreditBook
    function repaymentNonce(address seller, bytes32 ref) public pure returns (bytes32) {
        return keccak256(abi.encode(seller, ref));
    }

    /// @inheritdoc ICreditBook
    function lineOf(
        address seller
    )
        external
        view
        returns (Line memory line, LineTerms memory terms, Dues memory dues, Loss memory loss)
    {
        Record storage record = _records[seller];
        line = record.line;
        dues = _duesOf(record, line);
        LineLib.advance(line, dues, block.timestamp);
        line.hasDues = _hasDues(dues);
        return (line, record.terms, dues, record.loss);
    }

    /// @inheritdoc ICreditBook
    function statementOf(address seller) external view returns (Statement memory statement) {
        Record storage record = _records[seller];
        Line memory line = record.line;
        Dues memory dues = _duesOf(record, line);
        LineLib.advance(line, dues, block.timestamp);
        statement.status = line.status;
        statement.delinquent = line.delinquent(block.timestamp);
        statement.windowEnd = line.windowEnd;
        statement.pastDueSince = line.pastDueSince;
        if (line.status != Status.None) statement.holdbackBps = line.holdback(block.timestamp);
        if (line.status == Status.ChargedOff) {
            statement.payoff = uint256(record.loss.toPool) + record.loss.toReserve;
            statement.pastDue = statement.payoff;
            return statement;
        }
        statement.principal = line.principal;
        statement.interest = line.interestOwed();
        statement.payoff = line.payoff();
        if (line.status == Status.Defaulted) {
            statement.pastDue = statement.payoff;
        } else {
            statement.pastDue = uint256(dues.pastDueInterest) + dues.pastDuePrincipal;
            statement.dueInWindow = uint256(dues.interestDue) + line.installmentDue;
        }
        if (
            line.status == Status.Active &&
            line.pastDueSince == 0 &&
            block.timestamp < record.terms.drawUntil
        ) {
            statement.available = Math.saturatingSub(record.terms.limit, line.principal);
        }
    }

    /// @inheritdoc ICreditBook
    function totals() external view returns (Totals memory) {
        Sums memory sums = _sums;
        Bounds memory bounds = _bounds;
        return
            Totals({
                principal: sums.principal,
                reserve: bounds.reserve,
                principalCap: bounds.principalCap,
                domainStart: uint40(block.timestamp),
                issuanceRate: sums.issuanceRate,
                accountedInterest: _interestNow(sums).toUint120(),
                reserveBps: bounds.reserveBps,
                drawsPaused: bounds.drawsPaused
            });
    }

    /// @inheritdoc ICreditBook
    function lineCap() external view returns (uint72) {
        return _bounds.lineCap;
    }

    /// @inheritdoc ICreditBook
    function isSalesSource(address source) external view returns (bool) {
        return _salesSources[source];
    }

    /// @inheritdoc ICreditBook
    function bookValue() external view returns (uint256) {
        Sums memory sums = _sums;
        return sums.principal + _interestNow(sums) / BPS_YEAR;
    }

    // ------------------------------------------------------------------ inside

    function _duesOf(
        Record storage record,
        Line memory line
    ) private view returns (Dues memory dues) {
        if (line.hasDues) dues = record.dues;
    }

    /// @dev Bring a line to the present; a default that has come is recorded in the sums. The
    ///      caller stores the line.
    function _bringUp(address seller, Line memory line, Dues memory dues) private {
        if (!LineLib.advance(line, dues, block.timestamp)) return;
        _addToSums(0, -int256(uint256(line.principal) * line.aprBps), 0);
        emit LineDefaulted(seller, line.pastDueSince, line.principal, line.interestOwed());
    }

    function _store(Record storage record, Line memory line, Dues memory dues) private {
        bool had = line.hasDues;
        line.hasDues = _hasDues(dues);
        line.store(record.line);
        if (had || line.hasDues) record.dues = dues;
    }

    function _hasDues(Dues memory dues) private pure returns (bool) {
        return dues.interestDue != 0 || dues.pastDueInterest != 0 || dues.pastDuePrincipal != 0;
    }

    /// @dev Every change of what lenders own in lines, other than by time, is made here. A rate
    ///      that changes now leaves the interest of now as it is, so that of time 0 moves.
    function _addToSums(int256 principal, int256 issuanceRate, int256 interest) private {
        Sums memory sums = _sums;
        uint256 all = (int256(uint256(sums.principal)) + principal).toUint256().toUint64();
        uint256 rate = (int256(uint256(sums.issuanceRate)) + issuanceRate).toUint256().toUint80();
        int112 atZero = (sums.interestAtZero + interest - issuanceRate * int256(block.timestamp))
            .toInt112();
        // Written once, as the struct lies: Solidity would write the word for each member.
        uint256 word = all | (rate << 64) | (uint256(uint112(atZero)) << 144);
        assembly ("memory-safe") {
            sstore(_sums.slot, word)
        }
    }

    function _interestNow(Sums memory sums) private view returns (uint256) {
        int256 sinceZero = int256(sums.issuanceRate * block.timestamp);
        return (sums.interestAtZero + sinceZero).toUint256();
    }

    /// @dev Of two amounts of a line, so far below the limits of the type.
    function _difference(uint256 now_, uint256 before) private pure returns (int256) {
        return int256(now_) - int256(before);
    }

    function _reserveNeeded(uint256 principal, uint256 reserveBps) private pure returns (uint256) {
        return Math.ceilDiv(principal * reserveBps, BPS);
    }

    /// @dev A member whose role has an execution delay cannot use it at once, so not here.
    function _hasRole(uint64 role, address account) private view returns (bool) {
        (bool isMember, uint32 delay) = IAccessManager(authority()).hasRole(role, account);
        return isMember && delay == 0;
    }

    function _structHash(Offer calldata offer) private pure returns (bytes32) {
        return keccak256(abi.encode(OFFER_TYPEHASH, offer));
    }
}
