// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title A member's balance and standing in one storage word
/// @dev From the low end: balance (128 bits), kinds (8), memberUntil (40), unfrozen (1).
///      The balance lies lowest, so it is changed by plain addition to the word; who adds must know
///      that it stays within 128 bits, who subtracts that it stays above zero. The unfrozen bit
///      lies above memberUntil, so that one comparison tells both: a word never written, an
///      expired member and a frozen one all compare as too small.
type AccountWord is uint256;

using AccountWordLib for AccountWord global;

library AccountWordLib {
    uint256 private constant UNFROZEN_BIT = 1 << 176;
    uint256 private constant MEMBERSHIP_BITS = ((1 << 48) - 1) << 128;

    /// @notice Whether this is a current member that is not frozen.
    function inGoodStanding(AccountWord word) internal view returns (bool) {
        return (AccountWord.unwrap(word) >> 136) > (block.timestamp | (1 << 40));
    }

    function balance(AccountWord word) internal pure returns (uint256) {
        return uint128(AccountWord.unwrap(word));
    }

    function kinds(AccountWord word) internal pure returns (uint8) {
        return uint8(AccountWord.unwrap(word) >> 128);
    }

    function memberUntil(AccountWord word) internal pure returns (uint40) {
        return uint40(AccountWord.unwrap(word) >> 136);
    }

    function frozen(AccountWord word) internal pure returns (bool) {
        return isKnown(word) && AccountWord.unwrap(word) < UNFROZEN_BIT;
    }

    /// @notice Whether the account was ever admitted.
    function isKnown(AccountWord word) internal pure returns (bool) {
        return AccountWord.unwrap(word) != 0;
    }

    function add(AccountWord word, uint256 amount) internal pure returns (AccountWord) {
        unchecked {
            return AccountWord.wrap(AccountWord.unwrap(word) + amount);
        }
    }

    function sub(AccountWord word, uint256 amount) internal pure returns (AccountWord) {
        unchecked {
            return AccountWord.wrap(AccountWord.unwrap(word) - amount);
        }
    }

    /// @notice Admitted for the first time (and then not frozen) or again.
    function withMembership(
        AccountWord word,
        uint8 newKinds,
        uint40 newMemberUntil
    ) internal pure returns (AccountWord) {
        uint256 old = isKnown(word) ? AccountWord.unwrap(word) : UNFROZEN_BIT;
        uint256 membership = (uint256(newKinds) << 128) | (uint256(newMemberUntil) << 136);
        return AccountWord.wrap((old & ~MEMBERSHIP_BITS) | membership);
    }

    function withFrozen(AccountWord word, bool isFrozen) internal pure returns (AccountWord) {
        uint256 old = AccountWord.unwrap(word);
        return AccountWord.wrap(isFrozen ? old & ~UNFROZEN_BIT : old | UNFROZEN_BIT);
    }
}
