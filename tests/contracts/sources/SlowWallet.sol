// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @notice A contract account that takes any signature, but only after much work.
contract SlowWallet is IERC1271 {
    uint256 private constant WORK = 250_000; // gas

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        bytes memory work = new bytes(32_000);
        for (uint256 start = gasleft(); start - gasleft() < WORK; ) {
            work[0] = keccak256(work)[0];
        }
        return IERC1271.isValidSignature.selector;
    }
}
