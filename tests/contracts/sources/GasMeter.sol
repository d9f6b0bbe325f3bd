// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Forwards a call with just so much gas, and does not mind when it fails.
contract GasMeter {
    function forward(address to, bytes calldata data, uint256 gasLimit) external returns (bool ok) {
        // solhint-disable-next-line avoid-low-level-calls
        (ok, ) = to.call{gas: gasLimit}(data);
    }
}
