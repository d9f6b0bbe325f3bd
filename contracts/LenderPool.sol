// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {IERC4626} from "@openzeppelin/contracts/interfaces/IERC4626.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Intents} from "./Intents.sol";
import {ICreditBook} from "./interfaces/ICreditBook.sol";
import {ILenderPool} from "./interfaces/ILenderPool.sol";
import {IPlatformCoin} from "./interfaces/IPlatformCoin.sol";

/// @title The lenders' vault; what it adds to ERC-4626 is described in ILenderPool
contract LenderPool is ILenderPool, ERC4626, Intents {
    bytes32 private constant REDEMPTION_TYPEHASH =
        keccak256("Redemption(address owner,uint256 shares,uint256 nonce,uint256 deadline)");

    address private immutable BOOK;

    /// @param creditBook_ May be deployed after this contract: the two name each other.
    constructor(
        address coin_,
        address creditBook_
    )
        ERC20("Plaza Lender Pool", "poolPLZ")
        ERC4626(IERC20(coin_))
        EIP712("Plaza LenderPool", "1")
    {
        if (coin_.code.length == 0) revert InvalidContract(coin_);
        if (creditBook_ == address(0)) revert InvalidContract(creditBook_);
        BOOK = creditBook_;
        // The book lends the coin out, and passes on to the reserve what a late recovery restores.
        IERC20(coin_).approve(creditBook_, type(uint256).max);
    }

    // -------------------------------------------------------------- signed forms

    /// @inheritdoc ILenderPool
    function depositWithAuthorization(
        address from,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external returns (uint256 shares) {
        // Counted before the coin comes, which would count it twice.
        shares = previewDeposit(value);
        IPlatformCoin(asset()).receiveWithAuthorization(
            from,
            address(this),
            value,
            validAfter,
            validBefore,
            nonce,
            signature
        );
        _mint(from, shares);
        emit Deposit(from, from, value, shares);
    }

    /// @inheritdoc ILenderPool
    function redeemWithSignature(
        address owner,
        uint256 shares,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 assets) {
        bytes32 intent = keccak256(abi.encode(REDEMPTION_TYPEHASH, owner, shares, nonce, deadline));
        _useIntent(owner, intent, nonce, deadline, signature);
        uint256 most = maxRedeem(owner);
        if (shares > most) revert ERC4626ExceededMaxRedeem(owner, shares, most);
        assets = previewRedeem(shares);
        _withdraw(owner, owner, owner, assets, shares);
    }

    // ------------------------------------------------------------------- ERC-4626

    /// @inheritdoc IERC4626
    function totalAssets() public view override(ERC4626, IERC4626) returns (uint256) {
        return cash() + ICreditBook(BOOK).bookValue();
    }

    /// @inheritdoc IERC4626
    function maxDeposit(
        address receiver
    ) public view override(ERC4626, IERC4626) returns (uint256) {
        return _mayMove(receiver) ? type(uint256).max : 0;
    }

    /// @inheritdoc IERC4626
    function maxMint(address receiver) public view override(ERC4626, IERC4626) returns (uint256) {
        return maxDeposit(receiver);
    }

    /// @inheritdoc IERC4626
    function maxWithdraw(address owner) public view override(ERC4626, IERC4626) returns (uint256) {
        if (!_mayMove(owner)) return 0;
        return Math.min(previewRedeem(balanceOf(owner)), cash());
    }

    /// @inheritdoc IERC4626
    function maxRedeem(address owner) public view override(ERC4626, IERC4626) returns (uint256) {
        if (!_mayMove(owner)) return 0;
        // Rounded down, so that what is redeemed is worth no more than the coin that is here.
        return Math.min(balanceOf(owner), _convertToShares(cash(), Math.Rounding.Floor));
    }

    function _mayMove(address account) private view returns (bool) {
        IPlatformCoin coin = IPlatformCoin(asset());
        return coin.inGoodStanding(account) && !coin.paused();
    }

    /// @dev Shares are bound as coin is: they pass between members in good standing only, and come
    ///      to and leave nobody else.
    function _update(address from, address to, uint256 shares) internal override {
        _requireStanding(from);
        _requireStanding(to);
        super._update(from, to, shares);
    }

    function _requireStanding(address account) private view {
        if (account != address(0) && !IPlatformCoin(asset()).inGoodStanding(account)) {
            revert NotInGoodStanding(account);
        }
    }

    /// @dev Makes one coin 10^6 * 10^6 shares at first: who inflates the price to rob the second
    ///      depositor loses about 10^6 times what can be won.
    function _decimalsOffset() internal pure override returns (uint8) {
        return 6;
    }

    // ------------------------------------------------------------------- views

    /// @inheritdoc ILenderPool
    function cash() public view returns (uint256) {
        return IERC20(asset()).balanceOf(address(this));
    }

    /// @inheritdoc ILenderPool
    function creditBook() external view returns (address) {
        return BOOK;
    }
}
