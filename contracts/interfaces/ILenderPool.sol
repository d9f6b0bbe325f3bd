// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";

/// @title What lenders put in, and their shares of it
/// @notice An ERC-4626 vault over the coin. It owns its coin and what the credit book has lent of
///         it, with the interest earned. The first-loss reserve is not part of it. Withdrawals are
///         limited to its coin; the price of a share falls only by a recorded loss.
/// @dev Shares have 6 decimals more than the coin, which makes inflating the first deposit a loss
///      for who tries. They move between members in good standing only: a freeze binds shares as it
///      does coin.
interface ILenderPool is IERC4626 {
    error InvalidContract(address given);
    /// @notice The account is no member in good standing of the coin.
    error NotInGoodStanding(address account);

    /// @notice Deposit by the depositor's signature of EIP-3009 ReceiveWithAuthorization(from, to =
    ///         this contract, value, validAfter, validBefore, nonce); `from` gets the shares;
    ///         anyone may relay.
    function depositWithAuthorization(
        address from,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external returns (uint256 shares);

    /// @notice Redeem by the owner's intent, to the owner. EIP-712
    ///         Redemption(address owner,uint256 shares,uint256 nonce,uint256 deadline).
    function redeemWithSignature(
        address owner,
        uint256 shares,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 assets);

    /// @notice Coin here, which is all that can be withdrawn now.
    function cash() external view returns (uint256);

    function creditBook() external view returns (address);
}
