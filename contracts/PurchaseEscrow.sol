// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IPlatformCoin} from "./interfaces/IPlatformCoin.sol";
import {IPurchaseEscrow} from "./interfaces/IPurchaseEscrow.sol";

/// @title Escrowed purchases; every function is described in IPurchaseEscrow
/// @dev Reads in the order an order lives. State is set before coin moves, and no operation can be
///      entered again while one runs.
contract PurchaseEscrow is IPurchaseEscrow, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    bytes32 private constant TERMS_TYPEHASH =
        keccak256(
            "Terms(address payer,address payee,address operator,address feeReceiver,"
            "uint96 maxAmount,uint16 minFeeBps,uint16 maxFeeBps,uint40 authorizeBefore,"
            "uint40 reclaimAfter,uint32 disputeWindow,bytes32 orderRef)"
        );
    uint256 private constant BPS = 10_000;

    address private immutable COIN;

    mapping(bytes32 orderHash => Order) private _orders;
    mapping(address account => uint256) private _claimable;

    modifier onlyBy(address account) {
        if (msg.sender != account) revert NotAllowed(msg.sender);
        _;
    }

    constructor(address coin_) EIP712("Plaza PurchaseEscrow", "1") {
        if (coin_.code.length == 0) revert InvalidCoin(coin_);
        COIN = coin_;
    }

    // -------------------------------------------------------------- operations

    /// @inheritdoc IPurchaseEscrow
    function authorize(
        Terms calldata terms,
        uint256 amount
    ) external nonReentrant onlyBy(terms.payer) returns (bytes32 orderHash) {
        orderHash = _open(terms, amount);
        IERC20(COIN).safeTransferFrom(terms.payer, address(this), amount);
    }

    /// @inheritdoc IPurchaseEscrow
    function authorizeWithSignature(
        Terms calldata terms,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external nonReentrant returns (bytes32 orderHash) {
        orderHash = _open(terms, amount);
        _pull(terms.payer, amount, validAfter, validBefore, orderHash, signature);
    }

    /// @inheritdoc IPurchaseEscrow
    function charge(
        Terms calldata terms,
        uint256 amount,
        uint16 feeBps,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external nonReentrant onlyBy(terms.operator) returns (bytes32 orderHash) {
        if (terms.disputeWindow != 0) revert ChargeNotAllowed(terms.disputeWindow);
        _checkFee(feeBps, terms.minFeeBps, terms.maxFeeBps);
        orderHash = _open(terms, amount);
        _pull(terms.payer, amount, validAfter, validBefore, orderHash, signature);
        _settle(orderHash, _orders[orderHash], terms, amount, feeBps);
    }

    /// @inheritdoc IPurchaseEscrow
    function confirmDelivery(Terms calldata terms) external nonReentrant onlyBy(terms.operator) {
        (bytes32 orderHash, Order memory order) = _find(terms);
        if (order.status != Status.Authorized) revert WrongStatus(orderHash, order.status);
        order.status = Status.Delivered;
        order.disputeDeadline = SafeCast.toUint40(block.timestamp + terms.disputeWindow);
        _orders[orderHash] = order;
        emit DeliveryConfirmed(orderHash, order.disputeDeadline);
    }

    /// @inheritdoc IPurchaseEscrow
    function release(Terms calldata terms, uint256 amount, uint16 feeBps) external nonReentrant {
        (bytes32 orderHash, Order memory order) = _find(terms);
        _checkHolding(orderHash, order);
        bool byPayer = msg.sender == terms.payer;
        bool byOperator = msg.sender == terms.operator;
        if (!byPayer) {
            if (order.status != Status.Delivered) revert WrongStatus(orderHash, order.status);
            if (block.timestamp < order.disputeDeadline) {
                revert DisputeWindowOpen(order.disputeDeadline, block.timestamp);
            }
        }
        _checkFee(feeBps, byOperator ? terms.minFeeBps : terms.maxFeeBps, terms.maxFeeBps);
        _checkAmount(amount, order.held);
        // Otherwise a stranger could split a release into dust, whose fee rounds to nothing.
        if (!byPayer && !byOperator && amount != order.held) {
            revert InvalidAmount(amount, order.held);
        }
        _settle(orderHash, order, terms, amount, feeBps);
    }

    /// @inheritdoc IPurchaseEscrow
    function void(Terms calldata terms, uint256 amount) external nonReentrant {
        if (msg.sender != terms.operator && msg.sender != terms.payee) {
            revert NotAllowed(msg.sender);
        }
        (bytes32 orderHash, Order memory order) = _find(terms);
        _checkHolding(orderHash, order);
        _checkAmount(amount, order.held);
        _takeFromHeld(orderHash, order, amount);
        emit PurchaseVoided(orderHash, amount);
        _pay(orderHash, terms.payer, amount);
    }

    /// @inheritdoc IPurchaseEscrow
    function refund(
        Terms calldata terms,
        uint256 amount,
        bytes32 refundRef
    ) external nonReentrant onlyBy(terms.payee) {
        bytes32 orderHash = _takeFromRefundable(terms, amount, refundRef);
        IERC20(COIN).safeTransferFrom(terms.payee, address(this), amount);
        _pay(orderHash, terms.payer, amount);
    }

    /// @inheritdoc IPurchaseEscrow
    function refundWithSignature(
        Terms calldata terms,
        uint256 amount,
        bytes32 refundRef,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external nonReentrant {
        bytes32 orderHash = _takeFromRefundable(terms, amount, refundRef);
        bytes32 nonce = refundNonce(orderHash, refundRef);
        _pull(terms.payee, amount, validAfter, validBefore, nonce, signature);
        _pay(orderHash, terms.payer, amount);
    }

    /// @inheritdoc IPurchaseEscrow
    function reclaim(Terms calldata terms) external nonReentrant onlyBy(terms.payer) {
        (bytes32 orderHash, Order memory order) = _find(terms);
        if (order.status != Status.Authorized) revert WrongStatus(orderHash, order.status);
        if (block.timestamp < terms.reclaimAfter) {
            revert ReclaimTooEarly(terms.reclaimAfter, block.timestamp);
        }
        uint256 amount = order.held;
        _takeFromHeld(orderHash, order, amount);
        emit PurchaseReclaimed(orderHash, amount);
        _pay(orderHash, terms.payer, amount);
    }

    /// @inheritdoc IPurchaseEscrow
    function claim() external nonReentrant returns (uint256 amount) {
        amount = _claimable[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        delete _claimable[msg.sender];
        emit ClaimableWithdrawn(msg.sender, amount);
        IERC20(COIN).safeTransfer(msg.sender, amount);
    }

    // ------------------------------------------------------------------- views

    /// @inheritdoc IPurchaseEscrow
    function coin() external view returns (address) {
        return COIN;
    }

    /// @inheritdoc IPurchaseEscrow
    /// @dev Eleven static words lie in calldata just as EIP-712 encodes them, so they are hashed as
    ///      they lie (900 gas less than abi.encode). A word with bits beyond its type makes another
    ///      hash, which no order can have: `_open` logs every member, and Solidity refuses to read
    ///      such a word.
    function hashTerms(Terms calldata terms) public view returns (bytes32 orderHash) {
        bytes32 typehash = TERMS_TYPEHASH;
        bytes32 structHash;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let data := mload(0x40) // free memory, used before anything else can be
            mstore(data, typehash)
            calldatacopy(add(data, 0x20), terms, 0x160)
            structHash := keccak256(data, 0x180)
        }
        return _hashTypedDataV4(structHash);
    }

    /// @inheritdoc IPurchaseEscrow
    function refundNonce(bytes32 orderHash, bytes32 refundRef) public pure returns (bytes32) {
        return keccak256(abi.encode(orderHash, refundRef));
    }

    /// @inheritdoc IPurchaseEscrow
    function orderOf(bytes32 orderHash) external view returns (Order memory) {
        return _orders[orderHash];
    }

    /// @inheritdoc IPurchaseEscrow
    function claimable(address account) external view returns (uint256) {
        return _claimable[account];
    }

    // ------------------------------------------------------------------ checks

    function _checkTerms(Terms calldata terms) private view {
        if (terms.payer == address(0)) revert InvalidTerms("payer is zero");
        if (terms.payee == address(0)) revert InvalidTerms("payee is zero");
        if (terms.operator == address(0)) revert InvalidTerms("operator is zero");
        if (terms.feeReceiver == address(0)) revert InvalidTerms("feeReceiver is zero");
        if (terms.payer == terms.payee) revert InvalidTerms("payer is payee");
        if (
            terms.payer == address(this) ||
            terms.payee == address(this) ||
            terms.operator == address(this) ||
            terms.feeReceiver == address(this)
        ) revert InvalidTerms("escrow is a party");
        if (terms.maxAmount == 0) revert InvalidTerms("maxAmount is zero");
        if (terms.minFeeBps > terms.maxFeeBps) revert InvalidTerms("minFeeBps above maxFeeBps");
        if (terms.maxFeeBps > BPS) revert InvalidTerms("maxFeeBps above 10000");
        if (terms.authorizeBefore > terms.reclaimAfter) {
            revert InvalidTerms("authorizeBefore after reclaimAfter");
        }
    }

    function _checkAmount(uint256 amount, uint256 limit) private pure {
        if (amount == 0 || amount > limit) revert InvalidAmount(amount, limit);
    }

    function _checkFee(uint16 feeBps, uint16 minFeeBps, uint16 maxFeeBps) private pure {
        if (feeBps < minFeeBps || feeBps > maxFeeBps) {
            revert InvalidFee(feeBps, minFeeBps, maxFeeBps);
        }
    }

    function _checkHolding(bytes32 orderHash, Order memory order) private pure {
        if (order.status != Status.Authorized && order.status != Status.Delivered) {
            revert WrongStatus(orderHash, order.status);
        }
    }

    // ---------------------------------------------------------- state of orders

    function _find(
        Terms calldata terms
    ) private view returns (bytes32 orderHash, Order memory order) {
        orderHash = hashTerms(terms);
        order = _orders[orderHash];
    }

    /// @dev The only way out of Status.None, which no order ever returns to: a hash is authorized
    ///      at most once. Terms are checked here alone: later calls must hash to an opened order.
    function _open(Terms calldata terms, uint256 amount) private returns (bytes32 orderHash) {
        _checkTerms(terms);
        _checkAmount(amount, terms.maxAmount);
        if (block.timestamp >= terms.authorizeBefore) {
            revert AuthorizationWindowClosed(terms.authorizeBefore, block.timestamp);
        }
        Order memory order;
        (orderHash, order) = _find(terms);
        if (order.status != Status.None) revert WrongStatus(orderHash, order.status);
        order.held = uint96(amount); // at most maxAmount
        order.status = Status.Authorized;
        _orders[orderHash] = order;
        emit PurchaseAuthorized(orderHash, terms.payer, terms.payee, amount, terms);
    }

    /// @dev `amount` was checked to be within `order.held`.
    function _takeFromHeld(bytes32 orderHash, Order memory order, uint256 amount) private {
        order.held -= uint96(amount);
        if (order.held == 0) order.status = Status.Closed;
        _orders[orderHash] = order;
    }

    function _takeFromRefundable(
        Terms calldata terms,
        uint256 amount,
        bytes32 refundRef
    ) private returns (bytes32 orderHash) {
        Order memory order;
        (orderHash, order) = _find(terms);
        if (order.status == Status.None) revert WrongStatus(orderHash, order.status);
        _checkAmount(amount, order.refundable);
        order.refundable -= uint96(amount); // at most refundable
        _orders[orderHash] = order;
        emit PurchaseRefunded(orderHash, amount, refundRef);
    }

    // ----------------------------------------------------------- coin movements

    /// @dev `amount` was checked to be within `order.held`. The fee is rounded down and the
    ///      seller is paid the difference, so the parts add up to the unit.
    function _settle(
        bytes32 orderHash,
        Order memory order,
        Terms calldata terms,
        uint256 amount,
        uint16 feeBps
    ) private {
        order.refundable += uint96(amount);
        _takeFromHeld(orderHash, order, amount);
        uint256 fee = (amount * feeBps) / BPS;
        uint256 paid = amount - fee;
        emit PurchaseReleased(orderHash, amount, fee, 0, paid);
        _pay(orderHash, terms.feeReceiver, fee);
        _pay(orderHash, terms.payee, paid);
    }

    /// @dev Only this contract can use the authorization, and only with this nonce: nobody can
    ///      spend the signature in another way first.
    function _pull(
        address from,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) private {
        IPlatformCoin(COIN).receiveWithAuthorization(
            from,
            address(this),
            amount,
            validAfter,
            validBefore,
            nonce,
            signature
        );
    }

    /// @dev Pays `to`, or keeps the coin claimable where `to` itself may not receive. Its standing
    ///      decides, not the mere failure: a pause of the coin, or the end of this contract's own
    ///      membership, must not be taken for a receiver's freeze.
    function _pay(bytes32 orderHash, address to, uint256 amount) private {
        if (amount == 0 || IERC20(COIN).trySafeTransfer(to, amount)) return;
        if (IPlatformCoin(COIN).paused() || IPlatformCoin(COIN).inGoodStanding(to)) {
            // Once more, for the coin's own reason.
            IERC20(COIN).safeTransfer(to, amount);
        } else {
            _claimable[to] += amount;
            emit ClaimableCredited(to, orderHash, amount);
        }
    }
}
