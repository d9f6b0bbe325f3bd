"""wallet send, off a terminal, on a real chain."""

from __future__ import annotations

from tests.wallet.chain import Platform
from tests.wallet.conftest import Home


def test_coin_arrives_with_its_memo(platform: Platform, home: Home) -> None:
    to = platform.member().address
    done = home.confirmed(
        "send", to, "12.50", "--memo", "order 8841", "--allow-new-recipient", "--json"
    )
    assert done.code == 0, done.err
    assert platform.balance(to) == 12_500_000
    assert platform.balance(home.account.address) == 87_500_000
    answer = done.json
    assert answer["status"] == "confirmed"
    assert answer["intent"] == {
        "kind": "transfer",
        "to": to,
        "amount": "12500000",
        "memo": "0x" + b"order 8841".ljust(32, b"\0").hex(),
    }
    transaction = platform.web3.eth.get_transaction(answer["hash"])
    assert (transaction["type"], transaction["gasPrice"]) == (2, 0)
    receipt = platform.web3.eth.get_transaction_receipt(answer["hash"])
    assert receipt["blockNumber"] == answer["block"]
    (noted,) = platform.coin.events.TransferMemo().process_receipt({"logs": [receipt["logs"][1]]})
    assert noted["args"]["memo"].rstrip(b"\0") == b"order 8841"
