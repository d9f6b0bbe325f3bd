// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice Moves no coin, but calls back whenever it is asked to, and remembers the answer.
contract HostileCoin {
    address private _target;
    bytes private _attack;
    /// @notice The error the last attack met (0 when it went through), and all it was answered.
    bytes4 public answer;
    bytes public seen;
    uint256 public attacks;

    function arm(address target, bytes calldata attack) external {
        (_target, _attack) = (target, attack);
        (answer, attacks) = (0, 0);
    }

    function transfer(address, uint256) external returns (bool) {
        return _strike();
    }

    function transferFrom(address, address, uint256) external returns (bool) {
        return _strike();
    }

    function disburse(
        address,
        uint256,
        address,
        uint256,
        address,
        uint256
    ) external returns (bool firstPaid, bool secondPaid, bool thirdPaid) {
        _strike();
        return (true, true, true);
    }

    function pullWithAuthorization(
        address,
        uint256,
        uint256,
        uint256,
        bytes32,
        bytes calldata
    ) external {
        _strike();
    }

    function receiveWithAuthorization(
        address,
        address,
        uint256,
        uint256,
        uint256,
        bytes32,
        bytes calldata
    ) external {
        _strike();
    }

    function _strike() private returns (bool) {
        if (_target == address(0)) return true;
        ++attacks;
        // solhint-disable-next-line avoid-low-level-calls
        (bool ok, bytes memory returned) = _target.call(_attack);
        answer = ok ? bytes4(0) : bytes4(returned);
        seen = returned;
        return true;
    }
}
