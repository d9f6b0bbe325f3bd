// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Plaza Coin, as other contracts, the bridge and wallets call it
/// @notice An ERC-20 of 6 decimals for members only, with EIP-2612 permits, EIP-3009
///         authorizations, memos, minting against a fiat reference and redemption.
/// @dev What ERC-20, EIP-2612 and EIP-5267 define is not repeated here. Every entry point that
///      moves coin checks the parties (both must be current members and not frozen), never the
///      relayer. What moves none (approve, permit, cancelAuthorization) asks no standing.
interface IPlatformCoin {
    // ------------------------------------------------------------------ types

    /// @notice One member's standing.
    /// @param balance Coin held, in atomic units (10^-6 coin).
    /// @param memberUntil Unix time from which the membership has expired: a member while
    ///        `block.timestamp < memberUntil`. 0 for an address never admitted.
    /// @param kinds Bit set of BUYER (1), SELLER (2), LENDER (4), OPERATOR (8), SYSTEM (16).
    /// @param frozen Whether the account is frozen.
    struct Account {
        uint128 balance;
        uint40 memberUntil;
        uint8 kinds;
        bool frozen;
    }

    /// @notice One payment of a batch.
    struct Payment {
        address to;
        uint256 amount;
        bytes32 memo;
    }

    // ----------------------------------------------------------------- events

    event MemberAdmitted(address indexed account, uint8 kinds, uint40 memberUntil);
    event MemberExpelled(address indexed account);
    event AccountFrozen(address indexed account, bytes32 indexed reason);
    event AccountUnfrozen(address indexed account);
    event Paused(address account);
    event Unpaused(address account);
    event Minted(address indexed minter, address indexed to, uint256 amount, bytes32 indexed ref);
    event Redeemed(address indexed account, uint256 amount, bytes32 indexed ref);
    event Seized(address indexed from, address indexed to, uint256 amount, bytes32 indexed ref);
    event TransferMemo(
        address indexed from,
        address indexed to,
        uint256 amount,
        bytes32 indexed memo
    );
    event MintLimitSet(address indexed minter, uint128 capacity, uint128 refillPerSecond);
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
    event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

    // ----------------------------------------------------------------- errors

    /// @notice The account was never admitted, or its membership expired at `memberUntil`.
    error NotAMember(address account, uint40 memberUntil);
    error AccountIsFrozen(address account);
    error AccountNotFrozen(address account);
    /// @notice System members (contracts of the platform) cannot be frozen or seized, and are not
    ///         the registrar's to admit or expel.
    error SystemAccount(address account);
    error NotASystemAccount(address account);
    error CoinPaused();
    error CoinNotPaused();
    /// @notice The kinds are empty or hold an unknown bit.
    error InvalidKinds(uint8 kinds);
    error InvalidMemberUntil(uint40 memberUntil, uint256 nowTime);
    error ReferenceUsed(bytes32 ref);
    error MintLimitExceeded(address minter, uint256 amount, uint256 available);
    error AmountIsZero();
    error AuthorizationNotYetValid(uint256 validAfter, uint256 nowTime);
    error AuthorizationExpired(uint256 validBefore, uint256 nowTime);
    error AuthorizationAlreadyUsed(address authorizer, bytes32 nonce);
    error InvalidSignature(address signer);
    /// @notice Only the receiver itself may use a receive authorization.
    error CallerNotReceiver(address caller, address receiver);

    // ------------------------------------------------------------- membership

    /// @notice Admit or renew a member (registrar). Keeps balance and freeze. Refuses SYSTEM, and
    ///         accounts that are of it.
    function admit(address account, uint8 kinds, uint40 memberUntil) external;

    /// @notice Admit or renew several members with the same kinds and expiry (registrar).
    function admitMany(address[] calldata accounts, uint8 kinds, uint40 memberUntil) external;

    /// @notice End a membership now (registrar). The balance stays, unmovable until readmission.
    ///         Refuses SYSTEM accounts.
    function expel(address account) external;

    /// @notice Admit or renew a contract of the platform as a SYSTEM member (steward): a new
    ///         version of the escrow, say, beside the one it follows.
    /// @dev SYSTEM is for good: such an account can be expelled, but never made one that could be
    ///      seized. And a frozen account cannot become one. Apart from `admit`, because a mistake
    ///      here stops every purchase, or gives a contract the use of `pullWithAuthorization`.
    function admitSystem(address account, uint40 memberUntil) external;

    /// @notice End the membership of a contract of the platform now (steward).
    function expelSystem(address account) external;

    /// @notice Stop an account from sending and receiving (compliance). An account whose
    ///         membership has expired may be frozen too, as its coin may have to be seized.
    /// @param reason Hash or short code of the case, for the books.
    function freeze(address account, bytes32 reason) external;

    function unfreeze(address account) external;

    /// @notice Take coin from a frozen account (enforcement), once per `ref`; works while paused.
    function seize(address from, address to, uint256 amount, bytes32 ref) external;

    /// @notice Stop transfers and minting (guardian). Redemption by members in good standing goes
    ///         on: a pause does not suspend the holders' claim on the money.
    function pause() external;

    function unpause() external;

    function accountOf(address account) external view returns (Account memory);

    /// @notice Whether the account may move coin now: a current member and not frozen.
    function inGoodStanding(address account) external view returns (bool);

    function paused() external view returns (bool);

    // --------------------------------------------------------- money in and out

    /// @notice Mint against money received (minter), once per `ref`, inside the caller's limit.
    function mint(address to, uint256 amount, bytes32 ref) external;

    /// @notice Burn the caller's coin for a payout of money, once per caller and `ref`.
    function redeem(uint256 amount, bytes32 ref) external;

    /// @notice Set a minter's limit: at most `capacity` at once, refilling by `refillPerSecond`.
    ///         A new minter starts with a full allowance; 0 capacity stops it.
    function setMintLimit(address minter, uint128 capacity, uint128 refillPerSecond) external;

    /// @notice A minter's limit as set, and what it may mint now.
    function mintLimitOf(
        address minter
    ) external view returns (uint128 capacity, uint128 refillPerSecond, uint256 available);

    function mintReferenceUsed(bytes32 ref) external view returns (bool);

    function redemptionReferenceUsed(address account, bytes32 ref) external view returns (bool);

    // ---------------------------------------------------------------- transfers

    function transferWithMemo(address to, uint256 amount, bytes32 memo) external returns (bool);

    function transferFromWithMemo(
        address from,
        address to,
        uint256 amount,
        bytes32 memo
    ) external returns (bool);

    /// @notice Pay many from the caller's balance; all or nothing.
    function transferMany(Payment[] calldata payments) external returns (bool);

    /// @notice Pay up to three receivers from the caller's balance, each only if it may receive:
    ///         one that is no member or frozen is passed over, and does not stop the others. An
    ///         amount of 0 counts as paid and moves nothing.
    /// @return firstPaid Whether the first receiver was paid; what was not stays with the caller.
    /// @return secondPaid Whether the second one was.
    /// @return thirdPaid Whether the third one was.
    /// @dev Reverts as `transfer` does for everything that is not a receiver's standing: a pause,
    ///      the caller's own standing, a balance below all amounts together.
    function disburse(
        address first,
        uint256 firstAmount,
        address second,
        uint256 secondAmount,
        address third,
        uint256 thirdAmount
    ) external returns (bool firstPaid, bool secondPaid, bool thirdPaid);

    // ----------------------------------------------------------------- EIP-3009

    /// @notice Execute a transfer signed by `from`: EIP-3009. `validAfter < now < validBefore`.
    /// @dev Nonces are free 32-byte values. They are stored as bitmap words by their upper 248
    ///      bits, so counting nonces share a slot 256 at a time.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice The same with an opaque signature: 65 bytes of an EOA, or whatever the EIP-1271
    ///         contract at `from` accepts.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice As transferWithAuthorization, but only `to` itself may call: nobody can run ahead.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice As receiveWithAuthorization with a signature over the same message, but without
    ///         marking the nonce as used; SYSTEM members only. A nonce that was used or canceled is
    ///         refused.
    /// @dev For callers that store a guard of their own under the nonce, as the escrow does per
    ///      order hash: such a caller must never pull for the same nonce twice. Saves a new storage
    ///      word. Nobody else can use the signature: it names the caller as the receiver.
    ///      Emits Transfer only.
    function pullWithAuthorization(
        address from,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    function cancelAuthorization(
        address authorizer,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    function cancelAuthorization(
        address authorizer,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice Whether the nonce was used or canceled.
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
}
