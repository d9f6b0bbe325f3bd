"""wallet request and wallet qr: what they print, draw and write, and that they ask no network."""

from __future__ import annotations

import stat
import struct
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import segno
from eth_account import Account

from tests.wallet.chain import Platform, free_port
from tests.wallet.conftest import PASSWORD, Home
from tests.wallet.test_uris import COIN, MEMO, TO
from wallet.addresses import ZERO_ADDRESS
from wallet.contacts import Contact, Contacts
from wallet.qr import MAX_TEXT, draw_code


@pytest.fixture
def local(tmp_path: Path) -> Home:
    """A home with a key and a network, whose chain is not there."""
    home = Home(tmp_path / "local", Account.create(), tmp_path / "password")
    home.password_file.write_text(PASSWORD + "\n")
    home.add_key("main", home.account)
    contract = {"address": COIN, "block": 1}
    home.add_network(
        {
            "version": 1,
            "chain_id": 4242,
            "genesis_hash": "0x" + "00" * 32,
            "rpc_url": f"http://127.0.0.1:{free_port()}",
            "coin": {"symbol": "PLZ", "decimals": 6},
            "contracts": {
                "PlatformCoin": contract,
                "PurchaseEscrow": {**contract, "address": "0x" + "11" * 20},
            },
        }
    )
    return home


def read_drawing(drawing: str) -> list[list[int]]:
    """The squares of a drawing, 1 for dark, without the light border."""
    halves = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}
    rows: list[list[int]] = []
    for line in drawing.splitlines():
        rows += [[halves[c][at] for c in line] for at in (0, 1)]
    dark = [at for at, row in enumerate(rows[:-1]) if any(row)]
    columns = [at for at in range(len(rows[0])) if any(row[at] for row in rows[: dark[-1] + 1])]
    inside = slice(columns[0], columns[-1] + 1)
    return [row[inside] for row in rows[dark[0] : dark[-1] + 1]]


def squares_of(text: str) -> list[list[int]]:
    return [list(row) for row in segno.make_qr(text, error="m").matrix]


# --------------------------------------------------------------------------- asking


def test_a_request_is_a_uri_for_ones_own_key(local: Home) -> None:
    done = local.run("request", "12.50")
    assert done.code == 0, done.err
    to = local.account.address
    assert done.out == f"ethereum:{COIN}@4242/transfer?address={to}&uint256=12500000\n"
    assert f"To       main     {to}  (your own key)\nAmount   12.50 PLZ\n" in done.err


def test_a_request_with_a_memo_as_json(local: Home) -> None:
    Contacts(local.path).add(Contact("baker", TO))
    asked = local.run(
        "request", "0.000001", "--memo", "invoice 2026-0117", "--to", "baker", "--json"
    )
    assert asked.json == {
        "uri": f"ethereum:{COIN}@4242/transferWithMemo?address={TO}&uint256=1&bytes32={MEMO}",
        "network": "plaza",
        "chain_id": 4242,
        "coin": COIN,
        "symbol": "PLZ",
        "to": TO,
        "name": "baker",
        "is_own_key": False,
        "amount": "1",
        "memo": MEMO,
        "memo_text": "invoice 2026-0117",
        "file": None,
    }
    assert "not one of your own keys" in asked.err
    parsed = local.run("qr", "parse", asked.json["uri"], "--json").json
    assert parsed == {name: asked.json[name] for name in parsed}


def test_a_request_is_drawn_and_written(local: Home, tmp_path: Path) -> None:
    for name in ("code.svg", "code.PNG"):
        file = tmp_path / name
        done = local.run("request", "5", "--qr", "--out", str(file))
        assert done.code == 0, done.err
        drawing, uri = done.out.rstrip("\n").rpartition("\n")[::2]
        assert uri.startswith("ethereum:")
        assert read_drawing(drawing) == squares_of(uri)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        side = (len(squares_of(uri)) + 2 * 4) * 8
        if name == "code.svg":
            assert ET.parse(file).getroot().get("width") == str(side)
        else:
            content = file.read_bytes()
            assert content[:8] == b"\x89PNG\r\n\x1a\n"
            assert struct.unpack(">II", content[16:24]) == (side, side)
    done = local.run("request", "5", "--qr", "--json")
    assert done.json["file"] is None
    assert "█" in done.err


def test_a_picture_is_never_written_over_a_file(local: Home, tmp_path: Path) -> None:
    file = tmp_path / "code.svg"
    file.write_text("mine")
    (tmp_path / "link.svg").symlink_to(tmp_path / "nowhere.svg")
    for name in ("code.svg", "link.svg"):
        for verb in (("request", "5"), ("qr", "show", "main")):
            done = local.run(*verb, "--out", str(tmp_path / name), "--json")
            assert (done.code, done.json["error"]["code"]) == (1, "already_exists")
    assert file.read_text() == "mine"
    assert not (tmp_path / "nowhere.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("0",), 1, "the amount is zero"),
        (("1,50",), 2, "write digits with a point"),
        (("1e3",), 2, "write digits with a point"),
        (("0x10",), 2, "write digits with a point"),
        (("5", "--memo", "é" * 17), 2, "at most 32 fit"),
        (("5", "--to", "nobody"), 2, "no key 'nobody'"),
        (("5", "--to", TO[:-1]), 2, "is not an address"),
        (("5", "--to", ZERO_ADDRESS), 1, "coin is not sent there"),
        (("5", "--to", COIN), 1, "coin is not sent there"),
        (("5", "--out", "code.jpg"), 1, "ends in .svg or .png"),
        (("5", "--network", "other"), 1, "no network 'other'"),
    ],
)
def test_what_cannot_be_asked_for(
    local: Home, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = local.run("request", *arguments, "--json")
    assert done.code == code, done.err
    assert message in done.json["error"]["message"]


# --------------------------------------------------------------------------- showing


def test_addresses_names_and_texts_are_drawn(local: Home) -> None:
    Contacts(local.path).add(Contact("baker", TO))
    text = "https://shop.example/pay?x=1"
    for given, drawn in (
        ("main", local.account.address),
        ("baker", TO),
        (local.account.address.lower(), local.account.address),
        (text, text),
        (f"ethereum:{TO}@1", f"ethereum:{TO}@1"),
    ):
        done = local.run("qr", "show", given)
        assert done.code == 0, done.err
        drawing, shown = done.out.rstrip("\n").rpartition("\n")[::2]
        assert shown == drawn
        assert read_drawing(drawing) == squares_of(drawn)
    assert local.run("qr", "show", "main", "--json").json == {
        "text": local.account.address,
        "file": None,
    }


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("nobody", 2, "no key 'nobody'"),
        ("hello there", 2, "cannot name"),
        ("0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed", 2, "bad checksum"),
        ("ethereum:hello there", 1, "is not written as"),
        ("note:" + "x" * MAX_TEXT, 1, "a code holds"),
    ],
)
def test_what_is_not_drawn(local: Home, text: str, code: int, message: str) -> None:
    done = local.run("qr", "show", text, "--json")
    assert done.code == code
    assert message in done.json["error"]["message"]


def test_the_longest_text_is_drawn() -> None:
    text = "x" * MAX_TEXT
    assert read_drawing(draw_code(text)) == squares_of(text)


# --------------------------------------------------------------------------- parsing


def test_a_uri_is_said_in_words_without_paying(local: Home) -> None:
    Contacts(local.path).add(Contact("baker", TO))
    uri = f"ethereum:pay-{COIN}@4242/transferWithMemo?address={TO}&uint256=12.5e6&bytes32={MEMO}"
    assert local.run("qr", "parse", uri).out == (
        f"To       baker     {TO}  (your contact)\n"
        "Amount   12.50 PLZ    Memo  invoice 2026-0117 (public)\n"
        "Network  plaza (chain 4242)\n"
    )


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("hello", "begins with ethereum:"),
        (f"ethereum:{TO}?value=2.014e18", "native coin"),
        (f"ethereum:{COIN}@1/transfer?address={TO}&uint256=1", "it is for chain 1"),
        (f"ethereum:{COIN}@4242/transfer?address=bob.eth&uint256=1", "is a name"),
    ],
)
def test_what_a_uri_cannot_ask_for_is_said_in_words(local: Home, uri: str, message: str) -> None:
    done = local.run("qr", "parse", uri, "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "invalid_input")
    assert message in done.json["error"]["message"]


def test_a_request_is_paid_by_another_wallet(platform: Platform, home: Home, local: Home) -> None:
    platform.admit(local.account.address)
    local.add_network(platform.manifest())
    uri = local.run("request", "3", "--memo", "lunch").out.strip()
    done = home.confirmed("pay", uri, "--allow-new-recipient", "--json")
    assert done.code == 0, done.err
    assert platform.balance(local.account.address) == 3_000_000
    assert local.run("history").out.rstrip().endswith("lunch")
