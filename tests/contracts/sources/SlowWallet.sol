// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @notice A contract account that takes any signature, but only after much work.
contract SlowWallet is IERC1271 {
    uint256 private constant WORK = 100_000; // gas

    function isValidSignature(bytes32 hash, bytes calldata) external view returns (bytes4) {
        bytes32 work = hash;
        for (uint256 start = gasleft(); start - gasleft() < WORK; ) {
            work = keccak256(abi.encode(work));
        }
        return work == 0 ? bytes4(0) : IERC1271.isValidSignature.selector;
    }
}
