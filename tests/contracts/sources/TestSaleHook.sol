// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ISaleHook} from "../../../contracts/interfaces/ISaleHook.sol";

/// @notice A credit book that takes half of each sale, or does what no credit book should.
contract TestSaleHook is ISaleHook {
    enum Behaviour {
        Repay,
        AnswerNothing,
        AnswerAll,
        AnswerMore,
        AnswerTwoWords,
        AnswerHalfAWord,
        AnswerNoWord,
        AnswerAtLength,
        Fail,
        FailAtLength,
        Panic,
        BurnAllGas,
        Reenter,
        LookAround,
        NeedAllItsGas
    }

    uint256 private constant LENGTH = 300_000;
    // Of the 300,000 it is promised, less what it takes to get to the check.
    uint256 private constant NEEDED = 299_000;

    address public collector;
    Behaviour private _behaviour;
    address private _target;
    bytes private _call;
    /// @notice What the last call from within was answered.
    bool public succeeded;
    bytes public answer;

    error TooLittleGas(uint256 left);

    constructor(address collector_) {
        collector = collector_;
    }

    function behave(Behaviour behaviour) external {
        _behaviour = behaviour;
    }

    /// @notice What to call in Reenter, which fails as the call does, and in LookAround.
    function aim(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function onSale(address, bytes32, uint256 net) external returns (uint256) {
        uint256 gasAtStart = gasleft();
        Behaviour behaviour = _behaviour;
        if (behaviour == Behaviour.AnswerNothing) return 0;
        if (behaviour == Behaviour.AnswerAll) return net;
        if (behaviour == Behaviour.AnswerMore) return net + 1;
        if (behaviour == Behaviour.AnswerTwoWords) _answer(0x40);
        if (behaviour == Behaviour.AnswerHalfAWord) _answer(0x10);
        if (behaviour == Behaviour.AnswerNoWord) _answer(0);
        if (behaviour == Behaviour.AnswerAtLength) _answer(LENGTH);
        if (behaviour == Behaviour.Fail) revert TooLittleGas(0);
        if (behaviour == Behaviour.FailAtLength) _fail(LENGTH);
        if (behaviour == Behaviour.Panic) assert(net == 0);
        if (behaviour == Behaviour.BurnAllGas) _burn();
        if (behaviour == Behaviour.Reenter || behaviour == Behaviour.LookAround) {
            // solhint-disable-next-line avoid-low-level-calls
            (succeeded, answer) = _target.call(_call);
            if (behaviour == Behaviour.Reenter && !succeeded) revert TooLittleGas(gasleft());
        }
        if (behaviour == Behaviour.NeedAllItsGas && gasAtStart < NEEDED) {
            revert TooLittleGas(gasAtStart);
        }
        return net / 2;
    }

    function _answer(uint256 size) private pure {
        assembly ("memory-safe") {
            return(0, size)
        }
    }

    function _fail(uint256 size) private pure {
        assembly ("memory-safe") {
            revert(0, size)
        }
    }

    function _burn() private pure {
        assembly ("memory-safe") {
            invalid()
        }
    }
}
