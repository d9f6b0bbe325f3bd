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
        assets = _redeem(owner, owner, owner, shares);
    }

    // ------------------------------------------------------------------- ERC-4626

    /// @inheritdoc IERC4626
    /// @dev `maxDeposit` is not asked first: whatever makes it zero is refused where it is checked,
    ///      with its own reason. So it is with the other three.
    function deposit(
        uint256 assets,
        address receiver
    ) public override(ERC4626, IERC4626) returns (uint256 shares) {
        shares = previewDeposit(assets);
        _deposit(msg.sender, receiver, assets, shares);
    }

    /// @inheritdoc IERC4626
    function mint(
        uint256 shares,
        address receiver
    ) public override(ERC4626, IERC4626) returns (uint256 assets) {
        assets = previewMint(shares);
        _deposit(msg.sender, receiver, assets, shares);
    }

    /// @inheritdoc IERC4626
    function withdraw(
        uint256 assets,
        address receiver,
        address owner
    ) public override(ERC4626, IERC4626) returns (uint256 shares) {
        uint256 here = cash();
        shares = Math.mulDiv(assets, _parts(), _assetsWith(here) + 1, Math.Rounding.Ceil);
        // These shares are more than the owner's exactly when the assets are worth more than his.
        if (assets > here || shares > balanceOf(owner)) {
            revert ERC4626ExceededMaxWithdraw(owner, assets, maxWithdraw(owner));
        }
        _withdraw(msg.sender, receiver, owner, assets, shares);
    }

    /// @inheritdoc IERC4626
    function redeem(
        uint256 shares,
        address receiver,
        address owner
    ) public override(ERC4626, IERC4626) returns (uint256 assets) {
        return _redeem(msg.sender, receiver, owner, shares);
    }

    function _redeem(
        address caller,
        address receiver,
        address owner,
        uint256 shares
    ) private returns (uint256 assets) {
        uint256 here = cash();
        assets = Math.mulDiv(shares, _assetsWith(here) + 1, _parts());
        if (assets > here || shares > balanceOf(owner)) {
            revert ERC4626ExceededMaxRedeem(owner, shares, maxRedeem(owner));
        }
        _withdraw(caller, receiver, owner, assets, shares);
    }

    /// @inheritdoc IERC4626
    function totalAssets() public view override(ERC4626, IERC4626) returns (uint256) {
        return _assetsWith(cash());
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
        uint256 shares = balanceOf(owner);
        uint256 here = cash();
        uint256 assets = _assetsWith(here);
        if (Math.mulDiv(shares, assets + 1, _parts()) <= here) return shares;
        // Rounded down, so that what is redeemed is worth no more than the coin that is here.
        return Math.mulDiv(here, _parts(), assets + 1);
    }

    function _mayMove(address account) private view returns (bool) {
        IPlatformCoin coin = IPlatformCoin(asset());
        return coin.inGoodStanding(account) && !coin.paused();
    }

    function _assetsWith(uint256 here) private view returns (uint256) {
        return here + ICreditBook(BOOK).bookValue();
    }

    /// @dev The shares, and the virtual ones that own one unit of assets beside them.
    function _parts() private view returns (uint256) {
        return totalSupply() + 10 ** _decimalsOffset();
    }

    // Shares are bound as coin is: they pass between members in good standing only, and come to and
    // leave nobody else. Whose coin moves with them is asked by the coin itself, and not again.

    function _update(address from, address to, uint256 shares) internal override {
        if (from != address(0) && to != address(0)) {
            _requireStanding(from);
            _requireStanding(to);
        }
        super._update(from, to, shares);
    }

    function _deposit(
        address caller,
        address receiver,
        uint256 assets,
        uint256 shares
    ) internal override {
        if (receiver != caller) _requireStanding(receiver);
        super._deposit(caller, receiver, assets, shares);
    }

    function _withdraw(
        address caller,
        address receiver,
        address owner,
        uint256 assets,
        uint256 shares
    ) internal override {
        if (owner != receiver) _requireStanding(owner);
        super._withdraw(caller, receiver, owner, assets, shares);
    }

    function _requireStanding(address account) private view {
        if (!IPlatformCoin(asset()).inGoodStanding(account)) {
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
