// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Signed intents: EIP-712, each with a nonce of its signer and a deadline
/// @notice A nonce is a key (upper 192 bits, the signer's choice) and a counter (lower 64 bits):
///         intents of one key are used in order, those of different keys independently.
///         `nonces(owner, key)` gives the next. An intent is valid while
///         `block.timestamp < deadline`. 65 bytes of an EOA's signature, or what the EIP-1271
///         account accepts.
interface IIntents {
    event IntentsCanceled(address indexed signer, uint256 nextNonce);

    error IntentExpired(uint256 deadline, uint256 nowTime);
    error InvalidIntentSignature(address signer);

    /// @notice Use up the caller's next nonce of a key: what was signed with it is void.
    function cancelIntents(uint192 key) external;

    /// @notice The next nonce of a key, with the key in its upper bits.
    function nonces(address owner, uint192 key) external view returns (uint256);
}
