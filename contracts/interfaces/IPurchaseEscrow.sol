// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Escrowed purchases: authorize, deliver, release; or void, refund, reclaim, dispute
/// @notice One order at one seller. The buyer's single signature binds the money to exactly the
///         terms it was shown; every held coin has a way out that needs no operator.
/// @dev Terms travel as calldata with every call; storage keeps one word per order.
///      No two operations of one order can count the same coin: held and refundable are set
///      before coin moves.
///      The escrow never reads its own balance. Coin that a stranger transfers to it belongs to no
///      order and to nobody's claimable, and no call can pay it out: the balance is what all orders
///      hold and all accounts may claim, plus such gifts.
interface IPurchaseEscrow {
    // ------------------------------------------------------------------ types

    /// @notice What the buyer agrees to. Its EIP-712 hash (with chain and this contract) is the
    ///         order hash, and the EIP-3009 nonce of the buyer's payment.
    /// @param payer The buyer.
    /// @param payee The seller.
    /// @param operator The marketplace's key: confirms delivery, releases, voids, charges.
    /// @param feeReceiver Who receives the fee.
    /// @param maxAmount The most that may be authorized, in atomic units.
    /// @param minFeeBps Least fee, in 1/10,000 of the released amount.
    /// @param maxFeeBps Highest fee; also the fee of a release the operator does not make.
    /// @param authorizeBefore Authorization is possible while `block.timestamp < authorizeBefore`.
    /// @param reclaimAfter From this time the payer may reclaim what was not delivered.
    /// @param disputeWindow Seconds between confirmed delivery and the moment anyone may release.
    ///        0 permits `charge`, that is payment without escrow.
    /// @param orderRef 32 bytes of the marketplace's own: makes otherwise equal orders differ.
    struct Terms {
        address payer;
        address payee;
        address operator;
        address feeReceiver;
        uint96 maxAmount;
        uint16 minFeeBps;
        uint16 maxFeeBps;
        uint40 authorizeBefore;
        uint40 reclaimAfter;
        uint32 disputeWindow;
        bytes32 orderRef;
    }

    enum Status {
        None,
        Authorized,
        Delivered,
        Closed,
        Disputed
    }

    /// @notice The one word kept per order.
    /// @param held Coin still in escrow.
    /// @param refundable Coin released to the seller and not yet refunded.
    /// @param deadline While Delivered the end of the dispute window, while Disputed that of the
    ///        arbitration; 0 before delivery is confirmed.
    /// @param status Closed once nothing is held any more (refunds may still follow a release).
    struct Order {
        uint96 held;
        uint96 refundable;
        uint40 deadline;
        Status status;
    }

    /// @notice One signed purchase of a batch: the arguments of authorizeWithSignature.
    struct SignedPurchase {
        Terms terms;
        uint256 amount;
        uint256 validAfter;
        uint256 validBefore;
        bytes signature;
    }

    /// @notice One release of a batch: the arguments of release.
    struct Release {
        Terms terms;
        uint256 amount;
        uint16 feeBps;
    }

    /// @notice One release of a batch that its payer has signed: the arguments of
    ///         releaseWithSignature.
    struct SignedRelease {
        Terms terms;
        uint256 amount;
        uint256 nonce;
        uint256 deadline;
        bytes signature;
    }

    // ----------------------------------------------------------------- events

    /// @notice The only place where the terms are written out in full.
    event PurchaseAuthorized(
        bytes32 indexed orderHash,
        address indexed payer,
        address indexed payee,
        uint256 amount,
        Terms terms
    );
    event DeliveryConfirmed(bytes32 indexed orderHash, uint40 disputeDeadline);
    /// @notice `amount = fee + repayment + paid`, to the unit. `repayment` goes to the seller's
    ///         credit line.
    event PurchaseReleased(
        bytes32 indexed orderHash,
        uint256 amount,
        uint256 fee,
        uint256 repayment,
        uint256 paid
    );
    event PurchaseVoided(bytes32 indexed orderHash, uint256 amount);
    event PurchaseRefunded(bytes32 indexed orderHash, uint256 amount, bytes32 indexed refundRef);
    event PurchaseReclaimed(bytes32 indexed orderHash, uint256 amount);
    /// @notice A receiver could not take its coin (frozen or expired): it waits here.
    event ClaimableCredited(address indexed account, bytes32 indexed orderHash, uint256 amount);
    event ClaimableWithdrawn(address indexed account, uint256 amount);
    event DisputeOpened(
        bytes32 indexed orderHash,
        bytes32 indexed evidenceHash,
        uint40 arbitrationDeadline
    );
    event EvidenceSubmitted(
        bytes32 indexed orderHash,
        address indexed party,
        bytes32 indexed evidenceHash
    );
    /// @notice The arbiter has decided; PurchaseVoided and PurchaseReleased say the same as books.
    event DisputeResolved(
        bytes32 indexed orderHash,
        uint256 toPayer,
        uint256 released,
        bytes32 indexed decisionHash
    );
    /// @notice No decision came in time: all that was held went to the payer.
    event DisputeDefaulted(bytes32 indexed orderHash, uint256 toPayer);
    /// @notice An item of a batch failed, with the revert data of its error; the others stand.
    event BatchItemFailed(uint256 indexed index, bytes32 indexed orderHash, bytes reason);
    /// @notice The credit book failed or answered nonsense; the seller was paid in full.
    event SaleHookFailed(bytes32 indexed orderHash);

    // ----------------------------------------------------------------- errors

    /// @notice There is no contract at the address given as the coin.
    error InvalidCoin(address coin);
    error InvalidTerms(string reason);
    error InvalidAmount(uint256 amount, uint256 limit);
    error InvalidFee(uint16 feeBps, uint16 minFeeBps, uint16 maxFeeBps);
    error WrongStatus(bytes32 orderHash, Status actual);
    error AuthorizationWindowClosed(uint40 authorizeBefore, uint256 nowTime);
    error DisputeWindowOpen(uint40 disputeDeadline, uint256 nowTime);
    error DisputeWindowClosed(uint40 disputeDeadline, uint256 nowTime);
    error ArbitrationOpen(uint40 arbitrationDeadline, uint256 nowTime);
    error ArbitrationOver(uint40 arbitrationDeadline, uint256 nowTime);
    /// @notice The collector of the credit book is this contract or nobody.
    error InvalidSaleHook(address saleHook);
    /// @notice Too little gas is left to let the credit book do its work: a caller must not be able
    ///         to starve it.
    error InsufficientGas(uint256 left, uint256 needed);
    error ReclaimTooEarly(uint40 reclaimAfter, uint256 nowTime);
    /// @notice The signed terms ask for escrow (a dispute window), so they cannot be charged.
    error ChargeNotAllowed(uint32 disputeWindow);
    error NotAllowed(address caller);
    error NothingToClaim(address account);

    // -------------------------------------------------------------- operations

    /// @notice Hold the caller's coin for an order; the caller is the payer and has approved this
    ///         contract for `amount`.
    function authorize(Terms calldata terms, uint256 amount) external returns (bytes32 orderHash);

    /// @notice Hold the payer's coin by the payer's signature; anyone may relay.
    /// @param signature Of EIP-3009 ReceiveWithAuthorization(from = payer, to = this contract,
    ///        value = amount, validAfter, validBefore, nonce = order hash).
    function authorizeWithSignature(
        Terms calldata terms,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external returns (bytes32 orderHash);

    /// @notice Authorize and release at once (operator), where the signed terms have no dispute
    ///         window. Emits PurchaseAuthorized and PurchaseReleased.
    /// @dev Whoever sees the signature may spend it in authorizeWithSignature first. The operator
    ///      then gets to the same end by confirmDelivery and release.
    function charge(
        Terms calldata terms,
        uint256 amount,
        uint16 feeBps,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external returns (bytes32 orderHash);

    /// @notice Record delivery and open the dispute window (operator). After `reclaimAfter` too,
    ///         until the payer has reclaimed: goods that come late are delivered goods, and the
    ///         operator's word on delivery is what the payer agreed to either way.
    function confirmDelivery(Terms calldata terms) external;

    /// @notice Pay the seller out of escrow.
    ///         The payer may release at any time. The operator may once the dispute window of a
    ///         confirmed delivery is over, any part and any fee inside the bounds. After the window
    ///         anyone else may release all that is held. Who is not the operator must name
    ///         maxFeeBps.
    /// @dev A receiver that may not receive (frozen, expired) does not stop the others: its part
    ///      becomes claimable. The same holds for the payer in void, refund and reclaim. While the
    ///      whole coin is paused, everything that moves coin reverts.
    function release(Terms calldata terms, uint256 amount, uint16 feeBps) external;

    /// @notice Release by the payer's intent, at maxFeeBps; anyone may relay. EIP-712
    ///         Release(bytes32 orderHash,uint256 amount,uint256 nonce,uint256 deadline).
    function releaseWithSignature(
        Terms calldata terms,
        uint256 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Give held coin back to the payer (operator or payee), before it is released; in a
    ///         dispute too, where it settles what it gives back.
    function void(Terms calldata terms, uint256 amount) external;

    /// @notice The same by the payee's intent. EIP-712
    ///         Void(bytes32 orderHash,uint256 amount,uint256 nonce,uint256 deadline).
    function voidWithSignature(
        Terms calldata terms,
        uint256 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Pay released coin back to the payer out of the caller's balance; the caller is the
    ///         payee and has approved this contract for `amount`.
    function refund(Terms calldata terms, uint256 amount, bytes32 refundRef) external;

    /// @notice The same by the payee's signature of EIP-3009 ReceiveWithAuthorization(from = payee,
    ///         to = this contract, value = amount, nonce = refundNonce(orderHash, refundRef)).
    function refundWithSignature(
        Terms calldata terms,
        uint256 amount,
        bytes32 refundRef,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature
    ) external;

    /// @notice Take back all that is held (payer) from `reclaimAfter` on, while delivery was not
    ///         confirmed.
    function reclaim(Terms calldata terms) external;

    /// @notice The same by the payer's intent. EIP-712
    ///         Reclaim(bytes32 orderHash,uint256 nonce,uint256 deadline).
    function reclaimWithSignature(
        Terms calldata terms,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Pay an account what was credited to it while it could not receive (anyone; the coin
    ///         goes to the account itself).
    function claim(address account) external returns (uint256 amount);

    // ---------------------------------------------------------------- disputes

    /// @notice Dispute what is still held (payer) while the dispute window of a confirmed delivery
    ///         is open. From now on only a decision moves it, or a party that gives in: the payer
    ///         by release, the payee (or operator) by void.
    /// @param evidenceHash Hash of the complaint and its evidence, which stay off chain.
    function dispute(Terms calldata terms, bytes32 evidenceHash) external;

    /// @notice The same by the payer's intent. EIP-712
    ///         Dispute(bytes32 orderHash,bytes32 evidenceHash,uint256 nonce,uint256 deadline).
    function disputeWithSignature(
        Terms calldata terms,
        bytes32 evidenceHash,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Add evidence to an open dispute (payer, payee or operator).
    function submitEvidence(Terms calldata terms, bytes32 evidenceHash) external;

    /// @notice The same by the intent of payer or payee. EIP-712 Evidence(address party,
    ///         bytes32 orderHash,bytes32 evidenceHash,uint256 nonce,uint256 deadline).
    function submitEvidenceWithSignature(
        Terms calldata terms,
        address party,
        bytes32 evidenceHash,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Decide a dispute (arbiter) before its deadline: `toPayer` of what is held goes back,
    ///         the rest is released at `feeBps`, inside the signed bounds.
    function resolve(
        Terms calldata terms,
        uint256 toPayer,
        uint16 feeBps,
        bytes32 decisionHash
    ) external;

    /// @notice End a dispute that was not decided in time (anyone): the payer gets back all that is
    ///         held. The arbiter is the marketplace, and so is who confirmed the delivery: its
    ///         silence must not decide for the side it has spoken for already.
    function expireDispute(Terms calldata terms) external;

    // ------------------------------------------------------------------- batches

    /// @notice Authorize several signed purchases; who fails is reported and does not undo the
    ///         others. Anyone may relay.
    ///         (Calldata that encodes no items at all reverts as a whole.)
    /// @return done Per item, whether it was authorized.
    function authorizeMany(SignedPurchase[] calldata items) external returns (bool[] memory done);

    /// @notice Release several orders in the caller's right; who fails is reported and does not
    ///         undo the others.
    /// @return done Per item, whether it was released.
    function releaseMany(Release[] calldata items) external returns (bool[] memory done);

    /// @notice Release several orders, each by its payer's intent; who fails is reported, keeps its
    ///         nonce and does not undo the others. Anyone may relay.
    ///         (Calldata that encodes no items at all reverts as a whole.)
    /// @return done Per item, whether it was released.
    function releaseManyWithSignatures(
        SignedRelease[] calldata items
    ) external returns (bool[] memory done);

    // ------------------------------------------------------------------- views

    function coin() external view returns (address);

    /// @notice The credit book told of each sale, or zero.
    function saleHook() external view returns (address);

    /// @notice Seconds between the opening of a dispute and the end of its arbitration.
    function ARBITRATION_WINDOW() external view returns (uint40);

    /// @notice EIP-712 hash of the terms with this chain and contract.
    function hashTerms(Terms calldata terms) external view returns (bytes32 orderHash);

    /// @notice keccak256(abi.encode(orderHash, refundRef)).
    function refundNonce(bytes32 orderHash, bytes32 refundRef) external pure returns (bytes32);

    function orderOf(bytes32 orderHash) external view returns (Order memory);

    function claimable(address account) external view returns (uint256);
}
