// SPDX-License-Identifier: Apache-2.0
// solhint-disable one-contract-per-file
pragma solidity ^0.8.28;

import {ERC20 as ERC20ByOpenZeppelin} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {
    ERC20TransferAuthorization
} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20TransferAuthorization.sol";
import {
    ERC4626 as ERC4626ByOpenZeppelin
} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ERC20 as ERC20BySolady} from "solady/src/tokens/ERC20.sol";
import {ERC4626 as ERC4626BySolady} from "solady/src/tokens/ERC4626.sol";


// What scripts/gas.py compares our contracts with: the libraries' own code, as abstract contracts
// of theirs demand it to be completed, and a mint open to everybody. All bear the name of our coin,
// so that the same signature helpers serve all of them.

contract OpenZeppelinCoin is ERC20Permit {
    constructor() ERC20ByOpenZeppelin("Plaza Coin", "PLZ") ERC20Permit("Plaza Coin") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @notice EIP-3009 with nonces in any order, each in a storage word of its own.
contract OpenZeppelinAuthorizationCoin is ERC3009 {
    constructor() ERC20ByOpenZeppelin("Plaza Coin", "PLZ") EIP712("Plaza Coin", "1") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @notice EIP-3009 with keyed nonces, those of one key in order.
contract OpenZeppelinKeyedCoin is ERC20TransferAuthorization {
    constructor() ERC20ByOpenZeppelin("Plaza Coin", "PLZ") EIP712("Plaza Coin", "1") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

contract OpenZeppelinVault is ERC4626ByOpenZeppelin {
    constructor(
        IERC20 asset_
    ) ERC20ByOpenZeppelin("Plaza Pool", "vPLZ") ERC4626ByOpenZeppelin(asset_) {}
}

contract SoladyCoin is ERC20BySolady {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function name() public pure override returns (string memory) {
        return "Plaza Coin";
    }

    function symbol() public pure override returns (string memory) {
        return "PLZ";
    }

    // Solady's own advice for a name that never changes.
    function _constantNameHash() internal pure override returns (bytes32) {
        return keccak256("Plaza Coin");
    }
}

contract SoladyVault is ERC4626BySolady {
    address private immutable _ASSET;

    constructor(address asset_) {
        _ASSET = asset_;
    }

    function asset() public view override returns (address) {
        return _ASSET;
    }

    function name() public pure override returns (string memory) {
        return "Plaza Pool";
    }

    function symbol() public pure override returns (string memory) {
        return "vPLZ";
    }
}
