// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IPlatformCoin} from "./interfaces/IPlatformCoin.sol";
import {AccountWord} from "./libraries/AccountWord.sol";

/// @title Plaza Coin
/// @dev ERC-20, EIP-2612 and EIP-5267 are OpenZeppelin's; what is replaced is where balances live.
///      Where balances change, and the whole policy of who may send and receive, stands in one
///      place, at the end. Approvals, permits and cancellations move no coin and ask nothing of the
///      account's standing.
contract PlatformCoin is IPlatformCoin, ERC20Permit, AccessManaged {
    using SafeCast for uint256;

    /// @dev Structs of one member, so that it is read and written through one computed slot.
    struct Slot {
        AccountWord word;
    }
    struct NonceSlot {
        uint256 word;
    }

    /// @param available What could be minted at `updatedAt`.
    struct MintLimit {
        uint128 capacity;
        uint128 refillPerSecond;
        uint128 available;
        uint40 updatedAt;
    }

    uint8 private constant SYSTEM = 16;
    uint8 private constant ALL_KINDS = 31;

    bytes32 private constant TRANSFER_WITH_AUTHORIZATION_TYPEHASH =
        keccak256(
            "TransferWithAuthorization(address from,address to,uint256 value,"
            "uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
    bytes32 private constant RECEIVE_WITH_AUTHORIZATION_TYPEHASH =
        keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,"
            "uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
    bytes32 private constant CANCEL_AUTHORIZATION_TYPEHASH =
        keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");

    // One word per account, so that a transfer learns standing and balance from the same slot.
    // OpenZeppelin's own balances and total supply stay empty.
    mapping(address account => Slot) private _accounts;
    // The sum of all balances: because it fits 128 bits, so does every balance.
    uint128 private _supply;
    bool private _paused;

    mapping(address minter => MintLimit) private _mintLimits;
    mapping(bytes32 ref => bool) private _mintReferences;
    mapping(bytes32 ref => bool) private _seizureReferences;
    mapping(address account => mapping(bytes32 ref => bool)) private _redemptionReferences;
    // 256 nonces a word: the word by the nonce's upper 248 bits, the bit by its low 8.
    mapping(address authorizer => mapping(uint248 position => NonceSlot)) private _usedNonces;

    constructor(
        address authority
    ) ERC20("Plaza Coin", "PLZ") ERC20Permit("Plaza Coin") AccessManaged(authority) {}

    // ------------------------------------------------------------- membership

    function admit(address account, uint8 kinds, uint40 memberUntil) external restricted {
        _admit(account, kinds, memberUntil);
    }

    function admitMany(
        address[] calldata accounts,
        uint8 kinds,
        uint40 memberUntil
    ) external restricted {
        for (uint256 i = 0; i < accounts.length; ++i) _admit(accounts[i], kinds, memberUntil);
    }

    function expel(address account) external restricted {
        if (_isSystem(account)) revert SystemAccount(account);
        _expel(account);
    }

    function admitSystem(address account, uint40 memberUntil) external restricted {
        // Else a frozen account could be put out of the reach of seizure.
        if (_accounts[account].word.frozen()) revert AccountIsFrozen(account);
        _setMembership(account, SYSTEM, memberUntil);
    }

    function expelSystem(address account) external restricted {
        if (!_isSystem(account)) revert NotASystemAccount(account);
        _expel(account);
    }

    function _admit(address account, uint8 kinds, uint40 memberUntil) private {
        if (kinds == 0 || kinds > ALL_KINDS) revert InvalidKinds(kinds);
        // SYSTEM is the steward's to give, and is never taken: else the coin of a contract could be
        // brought into the reach of seizure.
        if (kinds & SYSTEM != 0 || _isSystem(account)) revert SystemAccount(account);
        _setMembership(account, kinds, memberUntil);
    }

    function _setMembership(address account, uint8 kinds, uint40 memberUntil) private {
        if (account == address(0)) revert ERC20InvalidReceiver(account);
        if (memberUntil <= block.timestamp) revert InvalidMemberUntil(memberUntil, block.timestamp);
        Slot storage slot = _accounts[account];
        slot.word = slot.word.withMembership(kinds, memberUntil);
        emit MemberAdmitted(account, kinds, memberUntil);
    }

    function _expel(address account) private {
        Slot storage slot = _accounts[account];
        AccountWord member = slot.word;
        if (block.timestamp >= member.memberUntil()) {
            revert NotAMember(account, member.memberUntil());
        }
        slot.word = member.withMembership(member.kinds(), block.timestamp.toUint40());
        emit MemberExpelled(account);
    }

    /// @dev Whether it was ever admitted as a contract of the platform, expelled or not.
    function _isSystem(address account) private view returns (bool) {
        return _accounts[account].word.kinds() & SYSTEM != 0;
    }

    function freeze(address account, bytes32 reason) external restricted {
        Slot storage slot = _accounts[account];
        AccountWord member = slot.word;
        // An expired member may be frozen: its coin may still have to be seized.
        if (!member.isKnown()) revert NotAMember(account, 0);
        if (member.kinds() & SYSTEM != 0) revert SystemAccount(account);
        if (member.frozen()) revert AccountIsFrozen(account);
        slot.word = member.withFrozen(true);
        emit AccountFrozen(account, reason);
    }

    function unfreeze(address account) external restricted {
        Slot storage slot = _accounts[account];
        AccountWord member = slot.word;
        if (!member.frozen()) revert AccountNotFrozen(account);
        slot.word = member.withFrozen(false);
        emit AccountUnfrozen(account);
    }

    function seize(address from, address to, uint256 amount, bytes32 ref) external restricted {
        if (amount == 0) revert AmountIsZero();
        _useReference(_seizureReferences, ref);
        _debit(from, amount, true);
        if (!_credit(from, to, amount)) _revertReceiver(to);
        emit Seized(from, to, amount, ref);
    }

    function pause() external restricted {
        if (_paused) revert CoinPaused();
        _paused = true;
        emit Paused(msg.sender);
    }

    function unpause() external restricted {
        if (!_paused) revert CoinNotPaused();
        _paused = false;
        emit Unpaused(msg.sender);
    }

    function accountOf(address account) external view returns (Account memory) {
        AccountWord member = _accounts[account].word;
        return
            Account({
                balance: uint128(member.balance()),
                memberUntil: member.memberUntil(),
                kinds: member.kinds(),
                frozen: member.frozen()
            });
    }

    function inGoodStanding(address account) external view returns (bool) {
        return _accounts[account].word.inGoodStanding();
    }

    function paused() external view returns (bool) {
        return _paused;
    }

    // --------------------------------------------------------- money in and out

    function mint(address to, uint256 amount, bytes32 ref) external restricted {
        if (amount == 0) revert AmountIsZero();
        _useReference(_mintReferences, ref);
        MintLimit storage limit = _mintLimits[msg.sender];
        uint256 available = _available(limit);
        if (amount > available) revert MintLimitExceeded(msg.sender, amount, available);
        limit.available = (available - amount).toUint128();
        limit.updatedAt = block.timestamp.toUint40();
        _mint(to, amount);
        emit Minted(msg.sender, to, amount, ref);
    }

    function redeem(uint256 amount, bytes32 ref) external {
        if (amount == 0) revert AmountIsZero();
        _useReference(_redemptionReferences[msg.sender], ref);
        _burn(msg.sender, amount);
        emit Redeemed(msg.sender, amount, ref);
    }

    function setMintLimit(
        address minter,
        uint128 capacity,
        uint128 refillPerSecond
    ) external restricted {
        MintLimit storage limit = _mintLimits[minter];
        // Only a minter never seen starts full: setting a limit again must not hand out a second
        // allowance.
        uint256 available = limit.updatedAt == 0 ? capacity : _available(limit);
        _mintLimits[minter] = MintLimit({
            capacity: capacity,
            refillPerSecond: refillPerSecond,
            available: Math.min(available, capacity).toUint128(),
            updatedAt: block.timestamp.toUint40()
        });
        emit MintLimitSet(minter, capacity, refillPerSecond);
    }

    function mintLimitOf(
        address minter
    ) external view returns (uint128 capacity, uint128 refillPerSecond, uint256 available) {
        MintLimit storage limit = _mintLimits[minter];
        return (limit.capacity, limit.refillPerSecond, _available(limit));
    }

    function mintReferenceUsed(bytes32 ref) external view returns (bool) {
        return _mintReferences[ref];
    }

    function redemptionReferenceUsed(address account, bytes32 ref) external view returns (bool) {
        return _redemptionReferences[account][ref];
    }

    function _available(MintLimit storage limit) private view returns (uint256) {
        uint256 refilled = (block.timestamp - limit.updatedAt) * limit.refillPerSecond;
        return Math.min(limit.capacity, limit.available + refilled);
    }

    function _useReference(mapping(bytes32 ref => bool) storage used, bytes32 ref) private {
        if (used[ref]) revert ReferenceUsed(ref);
        used[ref] = true;
    }

    // ---------------------------------------------------------------- transfers

    function transferWithMemo(address to, uint256 amount, bytes32 memo) external returns (bool) {
        _pass(msg.sender, to, amount);
        emit TransferMemo(msg.sender, to, amount, memo);
        return true;
    }

    function transferFromWithMemo(
        address from,
        address to,
        uint256 amount,
        bytes32 memo
    ) external returns (bool) {
        _spendAllowance(from, msg.sender, amount);
        _pass(from, to, amount);
        emit TransferMemo(from, to, amount, memo);
        return true;
    }

    function transferMany(Payment[] calldata payments) external returns (bool) {
        for (uint256 i = 0; i < payments.length; ++i) {
            Payment calldata payment = payments[i];
            _pass(msg.sender, payment.to, payment.amount);
            emit TransferMemo(msg.sender, payment.to, payment.amount, payment.memo);
        }
        return true;
    }

    function disburse(
        address first,
        uint256 firstAmount,
        address second,
        uint256 secondAmount,
        address third,
        uint256 thirdAmount
    ) external returns (bool firstPaid, bool secondPaid, bool thirdPaid) {
        _requireNotPaused();
        // All amounts in one write; what a receiver may not take is given back.
        _debit(msg.sender, firstAmount + secondAmount + thirdAmount, false);
        firstPaid = _creditIfAny(msg.sender, first, firstAmount);
        secondPaid = _creditIfAny(msg.sender, second, secondAmount);
        thirdPaid = _creditIfAny(msg.sender, third, thirdAmount);
        if (firstPaid && secondPaid && thirdPaid) return (true, true, true);
        Slot storage slot = _accounts[msg.sender];
        AccountWord sender = slot.word;
        if (!firstPaid) sender = sender.add(firstAmount);
        if (!secondPaid) sender = sender.add(secondAmount);
        if (!thirdPaid) sender = sender.add(thirdAmount);
        slot.word = sender;
    }

    // ----------------------------------------------------------------- EIP-3009

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
    ) external {
        bytes32 digest = _authorizationDigest(TRANSFER_WITH_AUTHORIZATION_TYPEHASH);
        _requireSigned(from, digest, v, r, s);
        _transferAuthorized(from, to, value, validAfter, validBefore, nonce);
    }

    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        bytes32 digest = _authorizationDigest(TRANSFER_WITH_AUTHORIZATION_TYPEHASH);
        _requireSigned(from, digest, signature);
        _transferAuthorized(from, to, value, validAfter, validBefore, nonce);
    }

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
    ) external {
        if (msg.sender != to) revert CallerNotReceiver(msg.sender, to);
        bytes32 digest = _authorizationDigest(RECEIVE_WITH_AUTHORIZATION_TYPEHASH);
        _requireSigned(from, digest, v, r, s);
        _transferAuthorized(from, to, value, validAfter, validBefore, nonce);
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        if (msg.sender != to) revert CallerNotReceiver(msg.sender, to);
        bytes32 digest = _authorizationDigest(RECEIVE_WITH_AUTHORIZATION_TYPEHASH);
        _requireSigned(from, digest, signature);
        _transferAuthorized(from, to, value, validAfter, validBefore, nonce);
    }

    function pullWithAuthorization(
        address from,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        if (!_isSystem(msg.sender)) revert NotASystemAccount(msg.sender);
        _requireNow(validAfter, validBefore);
        if (authorizationState(from, nonce)) revert AuthorizationAlreadyUsed(from, nonce);
        bytes32 typehash = RECEIVE_WITH_AUTHORIZATION_TYPEHASH;
        bytes32 structHash;
        // As in _authorizationDigest, but for `to`, which is not among the arguments.
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, typehash)
            mstore(add(start, 0x20), from)
            mstore(add(start, 0x40), caller())
            calldatacopy(add(start, 0x60), 0x24, 0x80)
            structHash := keccak256(start, 0xe0)
        }
        _requireSigned(from, _hashTypedDataV4(structHash), signature);
        _pass(from, msg.sender, value);
    }

    function cancelAuthorization(
        address authorizer,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        _requireSigned(authorizer, _cancelDigest(authorizer, nonce), v, r, s);
        _useNonce(authorizer, nonce);
        emit AuthorizationCanceled(authorizer, nonce);
    }

    function cancelAuthorization(
        address authorizer,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        _requireSigned(authorizer, _cancelDigest(authorizer, nonce), signature);
        _useNonce(authorizer, nonce);
        emit AuthorizationCanceled(authorizer, nonce);
    }

    function authorizationState(address authorizer, bytes32 nonce) public view returns (bool) {
        (NonceSlot storage slot, uint256 bit) = _nonceSlot(authorizer, nonce);
        return slot.word & bit != 0;
    }

    function _transferAuthorized(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce
    ) private {
        _requireNow(validAfter, validBefore);
        _useNonce(from, nonce);
        emit AuthorizationUsed(from, nonce);
        _pass(from, to, value);
    }

    function _requireNow(uint256 validAfter, uint256 validBefore) private view {
        if (block.timestamp <= validAfter) {
            revert AuthorizationNotYetValid(validAfter, block.timestamp);
        }
        if (block.timestamp >= validBefore) {
            revert AuthorizationExpired(validBefore, block.timestamp);
        }
    }

    function _useNonce(address authorizer, bytes32 nonce) private {
        (NonceSlot storage slot, uint256 bit) = _nonceSlot(authorizer, nonce);
        uint256 word = slot.word;
        if (word & bit != 0) revert AuthorizationAlreadyUsed(authorizer, nonce);
        slot.word = word | bit;
    }

    function _nonceSlot(
        address authorizer,
        bytes32 nonce
    ) private view returns (NonceSlot storage slot, uint256 bit) {
        slot = _usedNonces[authorizer][uint248(uint256(nonce) >> 8)];
        bit = 1 << (uint256(nonce) & 0xff);
    }

    /// @dev The digest of the authorization in the calldata: the arguments of each of the four
    ///      functions begin with the members of the signed struct, in its order.
    function _authorizationDigest(bytes32 typehash) private view returns (bytes32) {
        bytes32 structHash;
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, typehash)
            calldatacopy(add(start, 0x20), 0x04, 0xc0)
            structHash := keccak256(start, 0xe0)
        }
        return _hashTypedDataV4(structHash);
    }

    function _cancelDigest(address authorizer, bytes32 nonce) private view returns (bytes32) {
        return
            _hashTypedDataV4(
                keccak256(abi.encode(CANCEL_AUTHORIZATION_TYPEHASH, authorizer, nonce))
            );
    }

    function _requireSigned(
        address signer,
        bytes32 digest,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) private pure {
        (address recovered, , ) = ECDSA.tryRecover(digest, v, r, s);
        // A failed recovery is the zero address, which must not pass for a signer.
        if (recovered != signer || recovered == address(0)) revert InvalidSignature(signer);
    }

    function _requireSigned(
        address signer,
        bytes32 digest,
        bytes calldata signature
    ) private view {
        // The key first: for a plain account that spares the look at its code.
        (address recovered, , ) = ECDSA.tryRecoverCalldata(digest, signature);
        if (recovered == signer && recovered != address(0)) return;
        if (!SignatureChecker.isValidERC1271SignatureNowCalldata(signer, digest, signature)) {
            revert InvalidSignature(signer);
        }
    }

    // ----------------------------------------------------- ERC-20 over the word

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function totalSupply() public view override returns (uint256) {
        return _supply;
    }

    function balanceOf(address account) public view override returns (uint256) {
        return _accounts[account].word.balance();
    }

    function transfer(address to, uint256 amount) public override(ERC20) returns (bool) {
        _pass(msg.sender, to, amount);
        return true;
    }

    function transferFrom(
        address from,
        address to,
        uint256 amount
    ) public override(ERC20) returns (bool) {
        _spendAllowance(from, msg.sender, amount);
        _pass(from, to, amount);
        return true;
    }

    /// @dev What is left of OpenZeppelin's own ways to move coin: a mint when `from` is zero, a
    ///      burn when `to` is.
    function _update(address from, address to, uint256 amount) internal override {
        if (from == address(0)) {
            _requireNotPaused();
            _supply = (_supply + amount).toUint128();
            if (!_credit(from, to, amount)) _revertReceiver(to);
        } else if (to == address(0)) {
            _debit(from, amount, false);
            unchecked {
                // The sender had the amount, and the supply is the sum of all balances.
                _supply -= uint128(amount);
            }
            emit Transfer(from, to, amount);
        } else {
            _pass(from, to, amount);
        }
    }

    // ------------------------------------------- where balances change, and when
    //
    // The rules, all of them. Who sends is a current member and not frozen, or is being seized:
    // frozen and not of the system. Who receives is a current member and not frozen. Nothing moves
    // while paused, but seizures and burns.
    //
    // No balance changes but in `_debit` and `_credit`. The receiver's word is read after the
    // sender's was written, so that paying oneself changes nothing.

    function _pass(address from, address to, uint256 amount) private {
        _requireNotPaused();
        _debit(from, amount, false);
        if (!_credit(from, to, amount)) _revertReceiver(to);
    }

    function _requireNotPaused() private view {
        if (_paused) revert CoinPaused();
    }

    function _debit(address from, uint256 amount, bool seizing) private {
        Slot storage slot = _accounts[from];
        AccountWord sender = slot.word;
        if (seizing) {
            if (sender.kinds() & SYSTEM != 0) revert SystemAccount(from);
            if (!sender.frozen()) revert AccountNotFrozen(from);
        } else {
            if (!sender.inGoodStanding()) _revertStanding(from, sender);
        }
        uint256 balance = sender.balance();
        if (amount > balance) revert ERC20InsufficientBalance(from, balance, amount);
        slot.word = sender.sub(amount);
    }

    /// @dev Changes nothing and says so where the receiver may not receive. `amount` was taken from
    ///      the sender or added to the supply: all balances together fit 128 bits.
    function _credit(address from, address to, uint256 amount) private returns (bool received) {
        Slot storage slot = _accounts[to];
        AccountWord receiver = slot.word;
        if (!receiver.inGoodStanding()) return false;
        slot.word = receiver.add(amount);
        emit Transfer(from, to, amount);
        return true;
    }

    function _creditIfAny(address from, address to, uint256 amount) private returns (bool) {
        return amount == 0 || _credit(from, to, amount);
    }

    function _revertReceiver(address to) private view {
        if (to == address(0)) revert ERC20InvalidReceiver(to);
        _revertStanding(to, _accounts[to].word);
    }

    function _revertStanding(address account, AccountWord member) private view {
        if (block.timestamp >= member.memberUntil()) {
            revert NotAMember(account, member.memberUntil());
        }
        revert AccountIsFrozen(account);
    }
}
