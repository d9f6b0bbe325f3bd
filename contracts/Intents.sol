// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {NoncesKeyed} from "@openzeppelin/contracts/utils/NoncesKeyed.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IIntents} from "./interfaces/IIntents.sol";

/// @title What members sign so that anyone may send it for them
/// @dev Every intent ends with `uint256 nonce,uint256 deadline` and names, itself or by an order
///      hash or offer hash, the member it is of: one owner's two contract accounts (EIP-1271)
///      cannot be taken for each other. Signature checks are static calls, so no signer can
///      re-enter.
abstract contract Intents is IIntents, EIP712, NoncesKeyed {
    /// @inheritdoc IIntents
    function cancelIntents(uint192 key) external {
        _useNonce(msg.sender, key);
        emit IntentsCanceled(msg.sender, nonces(msg.sender, key));
    }

    /// @inheritdoc IIntents
    function nonces(
        address owner,
        uint192 key
    ) public view override(IIntents, NoncesKeyed) returns (uint256) {
        return super.nonces(owner, key);
    }

    /// @dev Check an intent and use its nonce up. `structHash` is of the whole intent.
    function _useIntent(
        address signer,
        bytes32 structHash,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) internal {
        if (block.timestamp >= deadline) revert IntentExpired(deadline, block.timestamp);
        _useCheckedNonce(signer, nonce);
        if (!_isSigned(signer, structHash, signature)) revert InvalidIntentSignature(signer);
    }

    function _isSigned(
        address signer,
        bytes32 structHash,
        bytes calldata signature
    ) internal view returns (bool) {
        return
            SignatureChecker.isValidSignatureNowCalldata(
                signer,
                _hashTypedDataV4(structHash),
                signature
            );
    }
}
