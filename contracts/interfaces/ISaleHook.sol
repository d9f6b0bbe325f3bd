// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What the escrow tells a credit book of each sale
interface ISaleHook {
    /// @notice A sale is about to be paid out. Returns what of `net` goes to the seller's line.
    /// @param net What the seller would get, after the fee, in atomic units.
    /// @return repayment At most `net`. The caller pays it to `collector()`.
    /// @dev The escrow calls with a bounded amount of gas, ignores a failure, and takes an answer
    ///      above `net` for 0: nothing done here can stop a release.
    function onSale(
        address seller,
        bytes32 orderHash,
        uint256 net
    ) external returns (uint256 repayment);

    /// @notice Where repayments are paid. Never changes.
    function collector() external view returns (address);
}
