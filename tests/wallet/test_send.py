"""wallet send, off a terminal, on a real chain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account import Account

from tests.wallet.chain import COIN, DAY, Platform, Proxy, free_port
from tests.wallet.conftest import Home
from wallet.addresses import ZERO_ADDRESS

NEW = "--allow-new-recipient"


def test_coin_arrives_with_its_memo(platform: Platform, home: Home) -> None:
    to = platform.member().address
    done = home.confirmed("send", to, "12.50", "--memo", "order 8841", NEW, "--json")
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


def test_a_memo_may_be_32_bytes_of_hex(platform: Platform, home: Home) -> None:
    memo = "0x" + "ab" * 32
    done = home.confirmed("send", platform.member().address, "1", "--memo", memo, NEW, "--json")
    assert done.json["intent"]["memo"] == memo


def test_a_recipient_may_be_the_name_of_an_own_key_and_is_never_new(
    platform: Platform, home: Home
) -> None:
    savings = platform.member()
    home.add_key("savings", savings)
    done = home.confirmed("send", "savings", "3")
    assert done.code == 0, done.err
    assert platform.balance(savings.address) == 3 * COIN
    assert "your own key" in done.out


def test_flags_may_stand_before_the_verb(platform: Platform, home: Home) -> None:
    other = platform.member(5 * COIN)
    home.add_key("other", other)
    done = home.run("--json", "--key", "other", "send", "main", "1", "--dry-run")
    assert done.json["from"] == other.address


def test_a_dry_run_shows_the_plan_and_signs_nothing(platform: Platform, home: Home) -> None:
    to = platform.member().address
    done = home.run("send", to, "2", "--dry-run", "--json")
    assert done.code == 0, done.err
    plan = done.json
    assert plan["simulation"] == "OK"
    assert plan["first_time_recipient"] is True
    assert (plan["balance"], plan["balance_after"]) == ("100000000", "98000000")
    assert f"To       {to}" in done.err
    assert platform.transaction_count(home.account.address) == 0


def test_the_preview_is_decoded_from_the_call_that_is_signed(
    platform: Platform, home: Home
) -> None:
    to = platform.member().address
    done = home.run("send", to, "0.000001", "--memo", "m", "--dry-run", "--json")
    function, arguments = platform.coin.decode_function_input(done.json["data"])
    assert function.fn_name == "transferWithMemo"
    assert arguments == {"to": to, "amount": 1, "memo": b"m".ljust(32, b"\0")}
    assert "Amount   0.000001 PLZ    Memo  m (public)" in done.err


# --------------------------------------------------------------------- nobody to ask


def test_without_a_terminal_and_without_yes_it_ends_at_once(
    make_home: Callable[..., Home],
) -> None:
    home = make_home(rpc_url=f"http://127.0.0.1:{free_port()}")  # no question is asked of it
    done = home.run("send", "main", "1")
    assert done.code == 5
    assert "--yes" in done.err


def test_no_environment_variable_confirms(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WALLET_YES", "WALLET_SEND_YES", "PLAZA_WALLET_YES", "YES", "CI"):
        monkeypatch.setenv(name, "1")
    assert home.run("send", "main", "1").code == 5


def test_without_a_terminal_a_password_must_come_from_a_flag(home: Home) -> None:
    done = home.run("send", "main", "1", "--yes")
    assert done.code == 4
    assert "--password-file" in done.err


def test_without_a_terminal_a_new_recipient_must_be_allowed(platform: Platform, home: Home) -> None:
    to = platform.member().address
    done = home.confirmed("send", to, "1")
    assert done.code == 5
    assert "--allow-new-recipient" in done.err
    assert platform.balance(to) == 0


def test_a_recipient_paid_before_is_not_new(platform: Platform, home: Home) -> None:
    to = platform.member().address
    assert home.confirmed("send", to, "1", NEW).code == 0
    again = home.confirmed("send", to, "1")
    assert again.code == 0, again.err
    assert "1 earlier payment)" in again.out


def test_a_transfer_of_nothing_does_not_make_a_recipient_known(
    platform: Platform, home: Home
) -> None:
    poisoner = platform.member()
    # Anyone may "transfer" nothing out of anyone's account, and so appear in its history.
    platform.web3.provider.make_request("anvil_impersonateAccount", [poisoner.address])
    platform.send(
        platform.coin.functions.transferFrom(home.account.address, poisoner.address, 0),
        poisoner.address,
    )
    assert home.confirmed("send", poisoner.address, "1").code == 5


def test_a_wrong_password_sends_nothing(platform: Platform, home: Home, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("not the password\n")
    to = platform.member().address
    wrong = str(tmp_path / "wrong")
    done = home.run("send", to, "1", "--yes", NEW, "--password-file", wrong, "--json")
    assert done.code == 4
    assert done.json["error"] == {"code": "password", "message": "wrong password"}
    assert platform.balance(to) == 0


def test_a_password_may_come_from_a_file_descriptor(platform: Platform, home: Home) -> None:
    to = platform.member().address
    with home.password_file.open() as file:
        descriptor = file.fileno()
        flags = ("--yes", "--password-fd", str(descriptor))
        done = home.run("send", to, "1", NEW, *flags, pass_fds=(descriptor,))
    assert done.code == 0, done.err


# --------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "amount", ["1,5", "1e3", "1.0000001", "0x10", "-1", "+1", "", " 1", "1_000", "NaN", ".5", "٣"]
)
def test_what_is_not_a_plain_decimal_is_a_usage_error(home: Home, amount: str) -> None:
    done = home.run("send", "main", "--json", "--yes", "--", amount)
    assert done.code == 2
    assert done.json["error"]["code"] == "usage"


def test_an_amount_of_zero_is_refused(platform: Platform, home: Home) -> None:
    assert home.confirmed("send", platform.member().address, "0", NEW).code == 1


def test_a_bad_checksum_is_refused_whatever_is_flagged(platform: Platform, home: Home) -> None:
    good = platform.member().address
    digit = next(i for i in range(2, 42) if good[i].isalpha())
    bad = good[:digit] + good[digit].swapcase() + good[digit + 1 :]
    done = home.confirmed("send", bad, "1", NEW, "--allow-unusual-recipient")
    assert done.code == 2
    assert "checksum" in done.err


def test_an_unknown_name_is_a_usage_error(home: Home) -> None:
    assert home.confirmed("send", "nobody", "1").code == 2


def test_a_memo_of_33_bytes_is_a_usage_error(home: Home) -> None:
    assert home.confirmed("send", "main", "1", "--memo", "é" * 17).code == 2


def test_zero_the_coin_and_oneself_are_refused(platform: Platform, home: Home) -> None:
    for to in (ZERO_ADDRESS, platform.coin.address, home.account.address):
        done = home.confirmed("send", to, "1", NEW)
        assert done.code == 1, to
        assert "coin is not sent there" in done.err


def test_oneself_may_be_paid_when_flagged(platform: Platform, home: Home) -> None:
    done = home.confirmed("send", "main", "1", "--allow-unusual-recipient")
    assert done.code == 0, done.err
    assert platform.balance(home.account.address) == 100 * COIN


def test_too_little_coin_is_said_before_anything_is_signed(platform: Platform, home: Home) -> None:
    done = home.confirmed("send", platform.member().address, "100.000001", NEW, "--json")
    assert done.code == 9
    assert done.json["error"]["message"] == ("the balance is 100.00 PLZ, 100.000001 is needed")


def test_a_recipient_that_is_no_member_is_said_in_words(home: Home) -> None:
    stranger = Account.create().address
    done = home.confirmed("send", stranger, "1", NEW)
    assert done.code == 1
    assert f"{stranger} (the recipient) is not a member" in done.err


def test_a_frozen_sender_is_said_in_words(platform: Platform, home: Home) -> None:
    platform.send(platform.coin.functions.freeze(home.account.address, b"\0" * 32))
    done = home.confirmed("send", platform.member().address, "1", NEW)
    assert done.code == 1
    assert "(this key) is frozen" in done.err


def test_an_expired_membership_is_said_in_words(rewound: Platform, home: Home) -> None:
    rewound.web3.provider.make_request("evm_increaseTime", [366 * DAY])
    rewound.web3.provider.make_request("evm_mine", [])
    done = home.confirmed("send", rewound.fee_receiver, "1", NEW)
    assert done.code == 1
    assert "its membership has expired" in done.err


def test_a_pause_is_said_in_words(rewound: Platform, home: Home) -> None:
    to = rewound.member().address
    rewound.send(rewound.coin.functions.pause())
    done = home.confirmed("send", to, "1", NEW)
    assert done.code == 1
    assert "paused" in done.err


def test_another_chain_is_refused_before_signing(
    platform: Platform, home: Home, tmp_path: Path
) -> None:
    home.add_network(platform.manifest(chain_id=1))
    done = home.confirmed("send", platform.fee_receiver, "1", NEW, "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == "wrong_chain"


def test_a_chain_without_the_contracts_is_refused(platform: Platform, home: Home) -> None:
    manifest = platform.manifest()
    manifest["contracts"]["PlatformCoin"]["address"] = Account.create().address
    home.add_network(manifest)
    done = home.confirmed("send", platform.fee_receiver, "1", NEW, "--json")
    assert done.json["error"]["code"] == "wrong_chain"


def test_no_endpoint_is_a_network_error(platform: Platform, home: Home) -> None:
    home.add_network(platform.manifest(), rpc_url=f"http://127.0.0.1:{free_port()}")
    assert home.confirmed("send", platform.fee_receiver, "1", NEW).code == 7


# ------------------------------------------------------------------ how it may end


def test_a_revert_on_chain_is_reported_with_its_reason(
    rewound: Platform, make_home: Callable[..., Home], proxy: Proxy
) -> None:
    home = make_home(rpc_url=proxy.url)
    to = rewound.member().address
    # Frozen between the simulation and the block.
    proxy.before["eth_sendRawTransaction"] = lambda: rewound.send(
        rewound.coin.functions.freeze(to, b"\0" * 32)
    )
    done = home.confirmed("send", to, "1", NEW, "--json")
    assert done.code == 6
    assert done.json["status"] == "reverted"
    assert done.json["reason"] == f"{to.lower()} is frozen"


def test_what_is_not_mined_in_time_is_pending_and_names_its_hash(
    rewound: Platform, home: Home
) -> None:
    to = rewound.member().address
    rewound.web3.provider.make_request("evm_setAutomine", [False])
    try:
        done = home.confirmed("send", to, "1", NEW, "--timeout", "0.3", "--json")
        assert done.code == 8
        pending = done.json["hash"]
        assert done.json["status"] == "pending"
        assert pending in done.err

        # Asking again waits for the same transaction and builds no other.
        again = home.confirmed("send", to, "1", NEW, "--timeout", "0.3", "--json")
        assert (again.code, again.json["hash"]) == (8, pending)
        rewound.web3.provider.make_request("evm_mine", [])
    finally:
        rewound.web3.provider.make_request("evm_setAutomine", [True])
    last = home.confirmed("send", to, "1", NEW, "--json")
    assert (last.code, last.json["hash"], last.json["resumed"]) == (0, pending, True)
    assert rewound.balance(to) == 1 * COIN


def test_the_same_idempotency_key_sends_once(platform: Platform, home: Home) -> None:
    to = platform.member().address
    arguments = ("send", to, "60", NEW, "--idempotency-key", "invoice-7", "--json")
    first, second = home.confirmed(*arguments), home.confirmed(*arguments)
    assert (first.code, second.code) == (0, 0), second.err
    assert first.json["hash"] == second.json["hash"]
    assert platform.balance(to) == 60 * COIN


def test_an_idempotency_key_is_not_used_for_something_else(platform: Platform, home: Home) -> None:
    to = platform.member().address
    assert home.confirmed("send", to, "1", NEW, "--idempotency-key", "a").code == 0
    done = home.confirmed("send", to, "2", NEW, "--idempotency-key", "a", "--json")
    assert done.code == 1
    assert done.json["error"]["code"] == "idempotency_conflict"
    assert platform.balance(to) == 1 * COIN
