// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IPlatformCoin} from "./interfaces/IPlatformCoin.sol";
import {IPurchaseEscrow} from "./interfaces/IPurchaseEscrow.sol";
import {ISaleHook} from "./interfaces/ISaleHook.sol";
import {Intents} from "./Intents.sol";
import {OrderWord, OrderWordLib} from "./libraries/OrderWord.sol";

/// @title Escrowed purchases; every function is described in IPurchaseEscrow
/// @dev Reads in the order an order lives. State is set before the credit book is told and before
///      coin moves, and no operation can be entered again while one runs.
contract PurchaseEscrow is IPurchaseEscrow, Intents, AccessManaged, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    bytes32 private constant TERMS_TYPEHASH =
        keccak256(
            "Terms(address payer,address payee,address operator,address feeReceiver,"
            "uint96 maxAmount,uint16 minFeeBps,uint16 maxFeeBps,uint40 authorizeBefore,"
            "uint40 reclaimAfter,uint32 disputeWindow,bytes32 orderRef)"
        );
    bytes32 private constant RELEASE_TYPEHASH =
        keccak256("Release(bytes32 orderHash,uint256 amount,uint256 nonce,uint256 deadline)");
    bytes32 private constant VOID_TYPEHASH =
        keccak256("Void(bytes32 orderHash,uint256 amount,uint256 nonce,uint256 deadline)");
    bytes32 private constant RECLAIM_TYPEHASH =
        keccak256("Reclaim(bytes32 orderHash,uint256 nonce,uint256 deadline)");
    bytes32 private constant DISPUTE_TYPEHASH =
        keccak256(
            "Dispute(bytes32 orderHash,bytes32 evidenceHash,uint256 nonce,uint256 deadline)"
        );
    bytes32 private constant EVIDENCE_TYPEHASH =
        keccak256(
            "Evidence(address party,bytes32 orderHash,bytes32 evidenceHash,"
            "uint256 nonce,uint256 deadline)"
        );

    uint256 private constant BPS = 10_000;
    /// @inheritdoc IPurchaseEscrow
    uint40 public constant ARBITRATION_WINDOW = 30 days;
    // What the credit book gets; and what must be left for that, as a call passes on at most 63/64
    // (304,762 of which are 300,000) and itself costs up to 2,600.
    uint256 private constant HOOK_GAS = 300_000;
    uint256 private constant GAS_BEFORE_HOOK = 310_000;

    address private immutable COIN;
    address private immutable SALE_HOOK;
    // Where the credit book takes repayments; zero without one.
    address private immutable COLLECTOR;

    /// @dev A struct of one member, so that it is read and written through one computed slot.
    struct Slot {
        OrderWord word;
    }
    mapping(bytes32 orderHash => Slot) private _orders;
    mapping(address account => uint256) private _claimable;

    modifier onlyBy(address account) {
        if (msg.sender != account) revert NotAllowed(msg.sender);
        _;
    }

    constructor(
        address coin_,
        address saleHook_,
        address authority
    ) EIP712("Plaza PurchaseEscrow", "1") AccessManaged(authority) {
        if (coin_.code.length == 0) revert InvalidCoin(coin_);
        COIN = coin_;
        SALE_HOOK = saleHook_;
        if (saleHook_ == address(0)) return;
        if (saleHook_.code.length == 0) revert InvalidSaleHook(saleHook_);
        COLLECTOR = ISaleHook(saleHook_).collector();
        if (COLLECTOR == address(0) || COLLECTOR == address(this)) {
            revert InvalidSaleHook(saleHook_);
        }
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
        return _authorizeSigned(terms, amount, validAfter, validBefore, signature);
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
        orderHash = _authorizeSigned(terms, amount, validAfter, validBefore, signature);
        Slot storage slot = _orders[orderHash];
        _settle(orderHash, slot, slot.word, terms, amount, feeBps);
    }

    /// @inheritdoc IPurchaseEscrow
    function confirmDelivery(Terms calldata terms) external nonReentrant onlyBy(terms.operator) {
        (bytes32 orderHash, Slot storage slot, OrderWord order) = _findIn(
            Status.Authorized,
            terms
        );
        uint40 deadline = SafeCast.toUint40(block.timestamp + terms.disputeWindow);
        slot.word = order.advance(Status.Delivered, deadline);
        emit DeliveryConfirmed(orderHash, deadline);
    }

    /// @inheritdoc IPurchaseEscrow
    function release(Terms calldata terms, uint256 amount, uint16 feeBps) external nonReentrant {
        _release(hashTerms(terms), terms, amount, feeBps, msg.sender);
    }

    /// @inheritdoc IPurchaseEscrow
    function releaseWithSignature(
        Terms calldata terms,
        uint256 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external nonReentrant {
        _releaseSigned(terms, amount, nonce, deadline, signature);
    }

    /// @inheritdoc IPurchaseEscrow
    function void(Terms calldata terms, uint256 amount) external nonReentrant {
        if (msg.sender != terms.operator && msg.sender != terms.payee) {
            revert NotAllowed(msg.sender);
        }
        _void(hashTerms(terms), terms, amount);
    }

    /// @inheritdoc IPurchaseEscrow
    function voidWithSignature(
        Terms calldata terms,
        uint256 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external nonReentrant {
        bytes32 orderHash = hashTerms(terms);
        bytes32 intent = keccak256(abi.encode(VOID_TYPEHASH, orderHash, amount, nonce, deadline));
        _useIntent(terms.payee, intent, nonce, deadline, signature);
        _void(orderHash, terms, amount);
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
    /// @dev The coin itself marks the nonce as used here: one refund does not close the order, so
    ///      the order's word is no guard against the second use of a refund's signature.
    function refundWithSignature(
        Terms calldata terms,
        uint256 amount,
        bytes32 refundRef,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external nonReentrant {
        bytes32 orderHash = _takeFromRefundable(terms, amount, refundRef);
        IPlatformCoin(COIN).receiveWithAuthorization(
            terms.payee,
            address(this),
            amount,
            validAfter,
            validBefore,
            refundNonce(orderHash, refundRef),
            signature
        );
        _pay(orderHash, terms.payer, amount);
    }

    /// @inheritdoc IPurchaseEscrow
    function reclaim(Terms calldata terms) external nonReentrant onlyBy(terms.payer) {
        _reclaim(terms);
    }

    /// @inheritdoc IPurchaseEscrow
    function reclaimWithSignature(
        Terms calldata terms,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external nonReentrant {
        bytes32 intent = keccak256(
            abi.encode(RECLAIM_TYPEHASH, hashTerms(terms), nonce, deadline)
        );
        _useIntent(terms.payer, intent, nonce, deadline, signature);
        _reclaim(terms);
    }

    /// @inheritdoc IPurchaseEscrow
    function claim(address account) external nonReentrant returns (uint256 amount) {
        amount = _claimable[account];
        if (amount == 0) revert NothingToClaim(account);
        delete _claimable[account];
        emit ClaimableWithdrawn(account, amount);
        IERC20(COIN).safeTransfer(account, amount);
    }

    // ---------------------------------------------------------------- disputes

    /// @inheritdoc IPurchaseEscrow
    function dispute(
        Terms calldata terms,
        bytes32 evidenceHash
    ) external nonReentrant onlyBy(terms.payer) {
        _dispute(terms, evidenceHash);
    }

    /// @inheritdoc IPurchaseEscrow
    function disputeWithSignature(
        Terms calldata terms,
        bytes32 evidenceHash,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external nonReentrant {
        bytes32 intent = keccak256(
            abi.encode(DISPUTE_TYPEHASH, hashTerms(terms), evidenceHash, nonce, deadline)
        );
        _useIntent(terms.payer, intent, nonce, deadline, signature);
        _dispute(terms, evidenceHash);
    }

    /// @inheritdoc IPurchaseEscrow
    function submitEvidence(Terms calldata terms, bytes32 evidenceHash) external nonReentrant {
        if (
            msg.sender != terms.payer && msg.sender != terms.payee && msg.sender != terms.operator
        ) revert NotAllowed(msg.sender);
        (bytes32 orderHash, , ) = _findOpenDispute(terms);
        emit EvidenceSubmitted(orderHash, msg.sender, evidenceHash);
    }

    /// @inheritdoc IPurchaseEscrow
    function submitEvidenceWithSignature(
        Terms calldata terms,
        address party,
        bytes32 evidenceHash,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external nonReentrant {
        if (party != terms.payer && party != terms.payee) revert NotAllowed(party);
        (bytes32 orderHash, , ) = _findOpenDispute(terms);
        bytes32 intent = keccak256(
            abi.encode(EVIDENCE_TYPEHASH, party, orderHash, evidenceHash, nonce, deadline)
        );
        _useIntent(party, intent, nonce, deadline, signature);
        emit EvidenceSubmitted(orderHash, party, evidenceHash);
    }

    /// @inheritdoc IPurchaseEscrow
    function resolve(
        Terms calldata terms,
        uint256 toPayer,
        uint16 feeBps,
        bytes32 decisionHash
    ) external nonReentrant restricted {
        (bytes32 orderHash, Slot storage slot, OrderWord order) = _findOpenDispute(terms);
        _checkFee(feeBps, terms.minFeeBps, terms.maxFeeBps);
        if (toPayer > order.held()) revert InvalidAmount(toPayer, order.held());
        uint256 released = order.held() - toPayer;
        emit DisputeResolved(orderHash, toPayer, released, decisionHash);
        if (toPayer != 0) {
            order = order.void(toPayer);
            slot.word = order;
            emit PurchaseVoided(orderHash, toPayer);
        }
        if (released != 0) _settle(orderHash, slot, order, terms, released, feeBps);
        if (toPayer != 0) _pay(orderHash, terms.payer, toPayer);
    }

    /// @inheritdoc IPurchaseEscrow
    function expireDispute(Terms calldata terms) external nonReentrant {
        (bytes32 orderHash, Slot storage slot, OrderWord order) = _findIn(Status.Disputed, terms);
        if (block.timestamp < order.deadline()) {
            revert ArbitrationOpen(order.deadline(), block.timestamp);
        }
        uint256 amount = order.held();
        slot.word = order.void(amount);
        emit DisputeDefaulted(orderHash, amount);
        _pay(orderHash, terms.payer, amount);
    }

    // ----------------------------------------------------------------- batches

    /// @inheritdoc IPurchaseEscrow
    function authorizeMany(
        SignedPurchase[] calldata items
    ) external nonReentrant returns (bool[] memory done) {
        done = new bool[](items.length);
        for (uint256 i = 0; i < items.length; ++i) {
            try this.authorizeBatchItem(items[i]) {
                done[i] = true;
            } catch (bytes memory reason) {
                emit BatchItemFailed(i, hashTerms(items[i].terms), reason);
            }
        }
    }

    /// @inheritdoc IPurchaseEscrow
    function releaseMany(
        Release[] calldata items
    ) external nonReentrant returns (bool[] memory done) {
        done = new bool[](items.length);
        for (uint256 i = 0; i < items.length; ++i) {
            Release calldata item = items[i];
            done[i] = _tryRelease(item);
            if (done[i]) continue;
            bytes memory reason = _returnData();
            emit BatchItemFailed(i, hashTerms(item.terms), reason);
        }
    }

    /// @inheritdoc IPurchaseEscrow
    function releaseManyWithSignatures(
        SignedRelease[] calldata items
    ) external nonReentrant returns (bool[] memory done) {
        done = new bool[](items.length);
        for (uint256 i = 0; i < items.length; ++i) {
            try this.releaseSignedBatchItem(items[i]) {
                done[i] = true;
            } catch (bytes memory reason) {
                emit BatchItemFailed(i, hashTerms(items[i].terms), reason);
            }
        }
    }

    /// @notice One purchase of authorizeMany, which alone may call this.
    function authorizeBatchItem(SignedPurchase calldata item) external onlyBy(address(this)) {
        _authorizeSigned(
            item.terms,
            item.amount,
            item.validAfter,
            item.validBefore,
            item.signature
        );
    }

    /// @notice One release of releaseMany, which alone may call this; `caller` is who called that.
    function releaseBatchItem(
        Release calldata item,
        address caller
    ) external onlyBy(address(this)) {
        _release(hashTerms(item.terms), item.terms, item.amount, item.feeBps, caller);
    }

    /// @notice One release of releaseManyWithSignatures, which alone may call this.
    /// @dev An item that the others have left too little gas says so at once. Later, a contract
    ///      account short of gas would look like one that does not know its signature.
    function releaseSignedBatchItem(SignedRelease calldata item) external onlyBy(address(this)) {
        if (SALE_HOOK != address(0) && gasleft() < GAS_BEFORE_HOOK) {
            revert InsufficientGas(gasleft(), GAS_BEFORE_HOOK);
        }
        _releaseSigned(item.terms, item.amount, item.nonce, item.deadline, item.signature);
    }

    /// @dev `try this.releaseBatchItem(item, msg.sender)`, but for the thirteen static words of an
    ///      item being passed on as they lie in the calldata: Solidity would decode and encode each
    ///      (1,200 gas). A malformed word fails its own item, as it is decoded there.
    function _tryRelease(Release calldata item) private returns (bool success) {
        bytes4 selector = this.releaseBatchItem.selector;
        assembly ("memory-safe") {
            let data := mload(0x40) // free memory, used before anything else can be
            mstore(data, selector)
            calldatacopy(add(data, 0x04), item, 0x1a0)
            mstore(add(data, 0x1a4), caller())
            success := call(gas(), address(), 0, data, 0x1c4, 0, 0)
        }
    }

    /// @dev What the last call answered.
    function _returnData() private pure returns (bytes memory data) {
        assembly ("memory-safe") {
            data := mload(0x40)
            let size := returndatasize()
            mstore(data, size)
            returndatacopy(add(data, 0x20), 0, size)
            mstore(0x40, add(data, and(add(size, 0x3f), not(0x1f))))
        }
    }

    // ------------------------------------------------------------------- views

    /// @inheritdoc IPurchaseEscrow
    function coin() external view returns (address) {
        return COIN;
    }

    /// @inheritdoc IPurchaseEscrow
    function saleHook() external view returns (address) {
        return SALE_HOOK;
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
        OrderWord order = _orders[orderHash].word;
        return
            Order({
                held: uint96(order.held()),
                refundable: uint96(order.refundable()),
                deadline: order.deadline(),
                status: order.status()
            });
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

    // ---------------------------------- what several operations have in common

    /// @dev Only this contract can use the authorization, and only for this order: nobody can spend
    ///      the signature in another way first. The coin does not mark its nonce, the order hash,
    ///      as used: `_open` passes each hash once, and nothing else pulls.
    function _authorizeSigned(
        Terms calldata terms,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) private returns (bytes32 orderHash) {
        orderHash = _open(terms, amount);
        IPlatformCoin(COIN).pullWithAuthorization(
            terms.payer,
            amount,
            validAfter,
            validBefore,
            orderHash,
            signature
        );
    }

    function _releaseSigned(
        Terms calldata terms,
        uint256 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) private {
        bytes32 orderHash = hashTerms(terms);
        bytes32 intent = keccak256(
            abi.encode(RELEASE_TYPEHASH, orderHash, amount, nonce, deadline)
        );
        _useIntent(terms.payer, intent, nonce, deadline, signature);
        _release(orderHash, terms, amount, terms.maxFeeBps, terms.payer);
    }

    function _release(
        bytes32 orderHash,
        Terms calldata terms,
        uint256 amount,
        uint16 feeBps,
        address caller
    ) private {
        Slot storage slot = _orders[orderHash];
        OrderWord order = slot.word;
        bool byPayer = caller == terms.payer;
        bool byOperator = caller == terms.operator;
        if (byPayer) {
            _checkHolding(orderHash, order);
        } else {
            if (order.status() != Status.Delivered) revert WrongStatus(orderHash, order.status());
            if (block.timestamp < order.deadline()) {
                revert DisputeWindowOpen(order.deadline(), block.timestamp);
            }
        }
        _checkFee(feeBps, byOperator ? terms.minFeeBps : terms.maxFeeBps, terms.maxFeeBps);
        _checkAmount(amount, order.held());
        // Otherwise a stranger could split a release into dust, whose fee rounds to nothing.
        if (!byPayer && !byOperator && amount != order.held()) {
            revert InvalidAmount(amount, order.held());
        }
        _settle(orderHash, slot, order, terms, amount, feeBps);
    }

    function _void(bytes32 orderHash, Terms calldata terms, uint256 amount) private {
        Slot storage slot = _orders[orderHash];
        OrderWord order = slot.word;
        _checkHolding(orderHash, order);
        _checkAmount(amount, order.held());
        slot.word = order.void(amount);
        emit PurchaseVoided(orderHash, amount);
        _pay(orderHash, terms.payer, amount);
    }

    function _reclaim(Terms calldata terms) private {
        (bytes32 orderHash, Slot storage slot, OrderWord order) = _findIn(
            Status.Authorized,
            terms
        );
        if (block.timestamp < terms.reclaimAfter) {
            revert ReclaimTooEarly(terms.reclaimAfter, block.timestamp);
        }
        uint256 amount = order.held();
        slot.word = order.void(amount);
        emit PurchaseReclaimed(orderHash, amount);
        _pay(orderHash, terms.payer, amount);
    }

    function _dispute(Terms calldata terms, bytes32 evidenceHash) private {
        (bytes32 orderHash, Slot storage slot, OrderWord order) = _findIn(Status.Delivered, terms);
        if (block.timestamp >= order.deadline()) {
            revert DisputeWindowClosed(order.deadline(), block.timestamp);
        }
        uint40 deadline = SafeCast.toUint40(block.timestamp + ARBITRATION_WINDOW);
        slot.word = order.advance(Status.Disputed, deadline);
        emit DisputeOpened(orderHash, evidenceHash, deadline);
    }

    // ---------------------------------------------------------- state of orders

    function _findIn(
        Status status,
        Terms calldata terms
    ) private view returns (bytes32 orderHash, Slot storage slot, OrderWord order) {
        orderHash = hashTerms(terms);
        slot = _orders[orderHash];
        order = slot.word;
        if (order.status() != status) revert WrongStatus(orderHash, order.status());
    }

    function _findOpenDispute(
        Terms calldata terms
    ) private view returns (bytes32 orderHash, Slot storage slot, OrderWord order) {
        (orderHash, slot, order) = _findIn(Status.Disputed, terms);
        if (block.timestamp >= order.deadline()) {
            revert ArbitrationOver(order.deadline(), block.timestamp);
        }
    }

    function _checkHolding(bytes32 orderHash, OrderWord order) private pure {
        Status status = order.status();
        if (status == Status.None || status == Status.Closed) {
            revert WrongStatus(orderHash, status);
        }
    }

    /// @dev The only way out of Status.None, which no order ever returns to: a hash is authorized
    ///      at most once. Terms are checked here alone: later calls must hash to an opened order.
    function _open(Terms calldata terms, uint256 amount) private returns (bytes32 orderHash) {
        _checkTerms(terms);
        _checkAmount(amount, terms.maxAmount);
        if (block.timestamp >= terms.authorizeBefore) {
            revert AuthorizationWindowClosed(terms.authorizeBefore, block.timestamp);
        }
        Slot storage slot;
        (orderHash, slot, ) = _findIn(Status.None, terms);
        slot.word = OrderWordLib.opened(uint96(amount)); // at most maxAmount
        emit PurchaseAuthorized(orderHash, terms.payer, terms.payee, amount, terms);
    }

    function _takeFromRefundable(
        Terms calldata terms,
        uint256 amount,
        bytes32 refundRef
    ) private returns (bytes32 orderHash) {
        orderHash = hashTerms(terms);
        Slot storage slot = _orders[orderHash];
        OrderWord order = slot.word;
        if (order.status() == Status.None) revert WrongStatus(orderHash, Status.None);
        _checkAmount(amount, order.refundable());
        slot.word = order.refund(amount);
        emit PurchaseRefunded(orderHash, amount, refundRef);
    }

    // ----------------------------------------------------------- coin movements

    /// @dev `amount` was checked to be within what is held. The fee is rounded down and the seller
    ///      is paid the difference, so the parts add up to the unit.
    function _settle(
        bytes32 orderHash,
        Slot storage slot,
        OrderWord order,
        Terms calldata terms,
        uint256 amount,
        uint16 feeBps
    ) private {
        slot.word = order.release(amount);
        uint256 fee = (amount * feeBps) / BPS;
        uint256 repayment = _tellCreditBook(orderHash, terms.payee, amount - fee);
        uint256 paid = amount - fee - repayment;
        emit PurchaseReleased(orderHash, amount, fee, repayment, paid);
        _payAll(orderHash, terms.payee, paid, terms.feeReceiver, fee, COLLECTOR, repayment);
    }

    /// @dev Whatever the credit book does, the sale goes on: it gets a bounded amount of gas, of
    ///      which no caller can keep it short, one word of its answer is read and no more, and a
    ///      failure or an answer that cannot be counts as no repayment.
    function _tellCreditBook(
        bytes32 orderHash,
        address seller,
        uint256 net
    ) private returns (uint256 repayment) {
        address hook = SALE_HOOK;
        if (hook == address(0) || net == 0) return 0;
        if (gasleft() < GAS_BEFORE_HOOK) revert InsufficientGas(gasleft(), GAS_BEFORE_HOOK);
        bytes memory data = abi.encodeCall(ISaleHook.onSale, (seller, orderHash, net));
        bool answered;
        assembly ("memory-safe") {
            answered := call(HOOK_GAS, hook, 0, add(data, 0x20), mload(data), 0x00, 0x20)
            answered := and(answered, eq(returndatasize(), 0x20))
            repayment := mload(0x00)
        }
        if (!answered || repayment > net) {
            emit SaleHookFailed(orderHash);
            return 0;
        }
    }

    /// @dev Pays `to`, or keeps the coin claimable where `to` may not receive.
    function _pay(bytes32 orderHash, address to, uint256 amount) private {
        _payAll(orderHash, to, amount, address(0), 0, address(0), 0);
    }

    /// @dev The coin itself says who may not receive. All else (a pause, the end of this contract's
    ///      own membership) reverts, and is not taken for a receiver's freeze.
    function _payAll(
        bytes32 orderHash,
        address first,
        uint256 firstAmount,
        address second,
        uint256 secondAmount,
        address third,
        uint256 thirdAmount
    ) private {
        (bool firstPaid, bool secondPaid, bool thirdPaid) = IPlatformCoin(COIN).disburse(
            first,
            firstAmount,
            second,
            secondAmount,
            third,
            thirdAmount
        );
        if (!firstPaid) _keepClaimable(orderHash, first, firstAmount);
        if (!secondPaid) _keepClaimable(orderHash, second, secondAmount);
        if (!thirdPaid) _keepClaimable(orderHash, third, thirdAmount);
    }

    function _keepClaimable(bytes32 orderHash, address account, uint256 amount) private {
        _claimable[account] += amount;
        emit ClaimableCredited(account, orderHash, amount);
    }
}
