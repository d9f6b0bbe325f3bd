from tests.contracts.conftest import BALANCE, COIN


def test_a_transfer_moves_coin(chain, coin, accounts):
    receipt = chain.send(coin.functions.transfer(accounts.seller.address, COIN), by=accounts.buyer)
    print(receipt.gas_used)
    assert receipt.event(coin, "Transfer") == {
        "from": accounts.buyer.address,
        "to": accounts.seller.address,
        "value": COIN,
    }
    assert chain.call(coin.functions.balanceOf(accounts.seller.address)) == BALANCE + COIN


def test_a_second(chain, coin, accounts):
    assert chain.call(coin.functions.balanceOf(accounts.seller.address)) == BALANCE
    print(chain.call(coin.functions.accountOf(accounts.seller.address)))
    chain.reverts(
        coin.functions.transfer(accounts.stranger.address, COIN),
        accounts.buyer,
        "NotAMember",
        account=accounts.stranger.address,
        memberUntil=0,
    )
