// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Escrowed purchases: authorize, deliver, release; or void, refund, reclaim
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
        Closed
    }

    /// @notice The one word kept per order.
    /// @param held Coin still in escrow.
    /// @param refundable Coin released to the seller and not yet refunded.
    /// @param disputeDeadline End of the dispute window; 0 before delivery is confirmed.
    /// @param status Closed once nothing is held any more (refunds may still follow a release).
    struct Order {
        uint96 held;
        uint96 refundable;
        uint40 disputeDeadline;
        Status status;
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

    // ----------------------------------------------------------------- errors

    /// @notice There is no contract at the address given as the coin.
    error InvalidCoin(address coin);
    error InvalidTerms(string reason);
    error InvalidAmount(uint256 amount, uint256 limit);
    error InvalidFee(uint16 feeBps, uint16 minFeeBps, uint16 maxFeeBps);
    error WrongStatus(bytes32 orderHash, Status actual);
    error AuthorizationWindowClosed(uint40 authorizeBefore, uint256 nowTime);
    error DisputeWindowOpen(uint40 disputeDeadline, uint256 nowTime);
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

    /// @notice Give held coin back to the payer (operator or payee), before it is released.
    function void(Terms calldata terms, uint256 amount) external;

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

    /// @notice Withdraw what was credited to the caller while it could not receive.
    function claim() external returns (uint256 amount);

    // ------------------------------------------------------------------- views

    function coin() external view returns (address);

    /// @notice EIP-712 hash of the terms with this chain and contract.
    function hashTerms(Terms calldata terms) external view returns (bytes32 orderHash);

    /// @notice keccak256(abi.encode(orderHash, refundRef)).
    function refundNonce(bytes32 orderHash, bytes32 refundRef) external pure returns (bytes32);

    function orderOf(bytes32 orderHash) external view returns (Order memory);

    function claimable(address account) external view returns (uint256);
}
