// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IPurchaseEscrow} from "../interfaces/IPurchaseEscrow.sol";

/// @title An order in one storage word
/// @dev From the low end, as IPurchaseEscrow.Order: held (96 bits), refundable (96), deadline (40),
///      status (8). Amounts are changed by plain addition to the word; who subtracts must know that
///      they stay above zero. What is held and what is refundable are at most what was authorized
///      together, so neither outgrows its bits.
type OrderWord is uint256;

using OrderWordLib for OrderWord global;

library OrderWordLib {
    uint256 private constant DEADLINE_AND_STATUS = ((1 << 48) - 1) << 192;
    uint256 private constant STATUS = 0xff << 232;

    /// @notice A new order that holds `amount`.
    function opened(uint96 amount) internal pure returns (OrderWord) {
        return OrderWord.wrap(amount).withStatus(IPurchaseEscrow.Status.Authorized);
    }

    function held(OrderWord order) internal pure returns (uint256) {
        return uint96(OrderWord.unwrap(order));
    }

    function refundable(OrderWord order) internal pure returns (uint256) {
        return uint96(OrderWord.unwrap(order) >> 96);
    }

    function deadline(OrderWord order) internal pure returns (uint40) {
        return uint40(OrderWord.unwrap(order) >> 192);
    }

    function status(OrderWord order) internal pure returns (IPurchaseEscrow.Status) {
        return IPurchaseEscrow.Status(OrderWord.unwrap(order) >> 232);
    }

    /// @notice `amount` of what is held goes back to the payer.
    function void(OrderWord order, uint256 amount) internal pure returns (OrderWord) {
        unchecked {
            return _closedIfEmpty(OrderWord.wrap(OrderWord.unwrap(order) - amount));
        }
    }

    /// @notice `amount` of what is held goes to the seller, who may refund it.
    function release(OrderWord order, uint256 amount) internal pure returns (OrderWord) {
        unchecked {
            return
                _closedIfEmpty(OrderWord.wrap(OrderWord.unwrap(order) + (amount << 96) - amount));
        }
    }

    /// @notice The seller has refunded `amount`.
    function refund(OrderWord order, uint256 amount) internal pure returns (OrderWord) {
        unchecked {
            return OrderWord.wrap(OrderWord.unwrap(order) - (amount << 96));
        }
    }

    /// @notice The next step of an order, with the end of its window.
    function advance(
        OrderWord order,
        IPurchaseEscrow.Status newStatus,
        uint40 newDeadline
    ) internal pure returns (OrderWord) {
        uint256 step = (uint256(newStatus) << 232) | (uint256(newDeadline) << 192);
        return OrderWord.wrap((OrderWord.unwrap(order) & ~DEADLINE_AND_STATUS) | step);
    }

    function withStatus(
        OrderWord order,
        IPurchaseEscrow.Status newStatus
    ) internal pure returns (OrderWord) {
        return OrderWord.wrap((OrderWord.unwrap(order) & ~STATUS) | (uint256(newStatus) << 232));
    }

    function _closedIfEmpty(OrderWord order) private pure returns (OrderWord) {
        return order.held() == 0 ? order.withStatus(IPurchaseEscrow.Status.Closed) : order;
    }
}
