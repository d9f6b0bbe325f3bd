"""Keys at rest: the file, its rights, and that other programs read it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from tests.wallet.chain import CAST
from tests.wallet.conftest import PASSWORD, WALLET
from tests.wallet.processes import run_forked
from wallet import Keystore
from wallet.errors import AlreadyExists, InvalidInput, PasswordError, UnknownName
from wallet.keys import check_cost, decrypt

KEY = bytes.fromhex("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")
ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

needs_cast = pytest.mark.skipif(not CAST.exists(), reason="cast is not installed (make setup)")


def wallet(home: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    if not options:
        words = [*arguments, "--home", str(home)]
        return subprocess.CompletedProcess(words, *run_forked(words))
    return subprocess.run(
        [WALLET, *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **{"stdin": subprocess.DEVNULL, **options},
    )


def password_file(tmp_path: Path, password: str = PASSWORD) -> str:
    (tmp_path / "password").write_text(password + "\n")
    return str(tmp_path / "password")


def test_a_key_reads_back_under_its_password_alone(keystore: Keystore) -> None:
    key = keystore.create("main", KEY, PASSWORD)
    assert (key.name, key.address) == ("main", ADDRESS)
    assert keystore.unlock("main", PASSWORD) == KEY
    with pytest.raises(PasswordError, match="wrong password"):
        keystore.unlock("main", PASSWORD + " ")


def test_the_file_is_for_its_owner_alone(keystore: Keystore) -> None:
    old = os.umask(0)
    try:
        path = keystore.create("main", KEY, PASSWORD).path
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert KEY.hex() not in path.read_text()
    assert list(path.parent.iterdir()) == [path], "no temporary file stays"


def test_a_file_others_may_read_is_not_used(keystore: Keystore) -> None:
    keystore.create("main", KEY, PASSWORD).path.chmod(0o640)
    with pytest.raises(InvalidInput, match="chmod 600"):
        keystore.get("main")


def test_a_key_is_never_overwritten(keystore: Keystore) -> None:
    path = keystore.create("main", KEY, PASSWORD).path
    before = path.read_bytes()
    with pytest.raises(AlreadyExists):
        keystore.create("main", b"\x01" * 32, PASSWORD)
    assert path.read_bytes() == before


def test_a_name_that_appears_meanwhile_is_not_overwritten(
    keystore: Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = keystore.create("other", KEY, PASSWORD).path.with_name("main.json")
    real_link = os.link

    def slower(source: Path, target: Path) -> None:
        path.write_text("somebody else's")
        real_link(source, target)

    monkeypatch.setattr(os, "link", slower)
    with pytest.raises(AlreadyExists):
        keystore.create("main", KEY, PASSWORD)
    assert path.read_text() == "somebody else's"


def test_a_short_password_is_refused(keystore: Keystore) -> None:
    with pytest.raises(PasswordError):
        keystore.create("main", KEY, "1234567")
    assert keystore.names() == []


@pytest.mark.parametrize("name", ["", "Main", "../x", "a/b", ".a", "0xabc", "a" * 33, "ä", "-a"])
def test_names_are_plain(keystore: Keystore, name: str) -> None:
    with pytest.raises(InvalidInput):
        keystore.create(name, KEY, PASSWORD)


@pytest.mark.parametrize("key", [b"", b"\x01" * 31, b"\0" * 32, b"\xff" * 32])
def test_what_is_no_private_key_is_refused(keystore: Keystore, key: bytes) -> None:
    with pytest.raises(InvalidInput):
        keystore.create("main", key, PASSWORD)


def test_a_file_that_names_another_address_is_refused(keystore: Keystore) -> None:
    path = keystore.create("main", KEY, PASSWORD).path
    content = json.loads(path.read_text())
    content["address"] = "11" * 20
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match="holds the key of " + ADDRESS):
        keystore.unlock("main", PASSWORD)


def scrypt(n: int, r: int, p: int, dklen: int = 32) -> dict[str, Any]:
    parameters = {"n": n, "r": r, "p": p, "dklen": dklen, "salt": "00"}
    return {"version": 3, "crypto": {"kdf": "scrypt", "kdfparams": parameters}}


def test_the_usual_costs_are_accepted() -> None:
    check_cost(scrypt(262_144, 8, 1))  # geth's standard
    check_cost(scrypt(8_192, 8, 1))  # cast's
    check_cost(scrypt(4_096, 8, 6))  # geth's light
    check_cost(
        {"version": 3, "crypto": {"kdf": "pbkdf2", "kdfparams": {"c": 262_144, "dklen": 32}}}
    )


@pytest.mark.parametrize(
    "content",
    [
        scrypt(2**30, 8, 1),
        scrypt(262_144, 1024, 1),
        scrypt(262_144, 8, 10_000),
        scrypt(262_143, 8, 1),
        scrypt(-2, 8, 1),
        scrypt(2, 8, 1, dklen=10**9),
        {"version": 3, "crypto": {"kdf": "pbkdf2", "kdfparams": {"c": 10**10, "dklen": 32}}},
        {"version": 3, "crypto": {"kdf": "argon9", "kdfparams": {"dklen": 32}}},
        {"version": 3, "crypto": {"kdf": "scrypt"}},
        {"version": 4, "crypto": {}},
        {},
    ],
)
def test_a_foreign_file_cannot_ask_for_any_cost(content: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        decrypt(content, PASSWORD)


def test_an_unknown_key_is_said_with_those_there_are(keystore: Keystore) -> None:
    keystore.create("main", KEY, PASSWORD)
    with pytest.raises(UnknownName, match="there are: main"):
        keystore.get("other")


# ------------------------------------------------------------------ the command


def test_key_new_makes_a_standard_keystore_that_others_open(tmp_path: Path) -> None:
    done = wallet(
        tmp_path / "home",
        "key",
        "new",
        "main",
        "--random",
        "--json",
        "--password-file",
        password_file(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    content = json.loads(Path(made["path"]).read_text())
    parameters = content["crypto"]["kdfparams"]
    assert content["version"] == 3
    assert (content["crypto"]["kdf"], parameters["n"]) == ("scrypt", 262_144)
    assert Account.from_key(Account.decrypt(content, PASSWORD)).address == made["address"]


def test_every_new_key_is_another(tmp_path: Path) -> None:
    for name in ("a", "b"):
        wallet(tmp_path, "key", "new", name, "--random", "--password-file", password_file(tmp_path))
    listed = json.loads(wallet(tmp_path, "key", "list", "--json").stdout)["keys"]
    assert [key["name"] for key in listed] == ["a", "b"]
    assert listed[0]["address"] != listed[1]["address"]
    assert [key["default"] for key in listed] == [True, False]


@needs_cast
def test_cast_opens_what_we_make_and_we_open_what_cast_makes(
    tmp_path: Path, keystore: Keystore
) -> None:
    ours = keystore.create("main", KEY, PASSWORD).path
    cast = [str(CAST), "wallet"]
    shown = subprocess.run(
        [*cast, "address", "--keystore", str(ours), "--password", PASSWORD],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == ADDRESS

    made = subprocess.run(
        [
            *(*cast, "import", "theirs", "--keystore-dir", str(tmp_path)),
            *("--private-key", "0x" + KEY.hex(), "--unsafe-password", PASSWORD),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    done = wallet(
        tmp_path / "other",
        *("key", "import", "main", "--keystore", str(tmp_path / "theirs"), "--json"),
        *("--password-file", password_file(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["address"] == ADDRESS


@needs_cast
def test_cast_signs_with_what_we_export_and_what_it_makes_is_a_backup(
    tmp_path: Path, keystore: Keystore
) -> None:
    keystore.create("main", KEY, PASSWORD)
    copy = keystore.export("main", PASSWORD, tmp_path / "copy", "another password")
    message = "order 8841"
    by_cast = subprocess.run(
        [
            *(str(CAST), "wallet", "sign", message, "--keystore", str(copy)),
            *("--password", "another password"),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    ours = wallet(
        tmp_path / "home",
        *("sign", "--message", message, "--yes", "--json"),
        *("--password-file", password_file(tmp_path)),
    )
    assert json.loads(ours.stdout)["signature"] == by_cast

    subprocess.run(
        [
            *(str(CAST), "wallet", "import", "theirs", "--keystore-dir", str(tmp_path)),
            *("--private-key", "0x" + KEY.hex(), "--unsafe-password", PASSWORD),
        ],
        capture_output=True,
        check=True,
    )
    done = wallet(
        tmp_path / "home",
        *("key", "verify-backup", "main", "--keystore", str(tmp_path / "theirs"), "--json"),
        *("--password-file", password_file(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["backup_verified_at"]


@needs_cast
def test_words_lead_cast_to_the_same_key(tmp_path: Path) -> None:
    done = wallet(
        tmp_path / "home",
        *("key", "new", "main", "--mnemonic-file", str(tmp_path / "words"), "--json"),
        *("--password-file", password_file(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    words = (tmp_path / "words").read_text().strip()
    theirs = subprocess.check_output(
        [str(CAST), "wallet", "address", "--mnemonic", words], text=True
    ).strip()
    assert theirs == json.loads(done.stdout)["address"]


def test_a_keystore_of_eth_account_is_imported(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps(Account.encrypt(KEY, PASSWORD, "pbkdf2", 1000)))
    done = wallet(
        tmp_path / "home",
        *("key", "import", "main", "--keystore", str(foreign)),
        *("--password-file", password_file(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    assert Keystore(tmp_path / "home").unlock("main", PASSWORD) == KEY


def test_a_key_is_imported_from_its_digits(tmp_path: Path) -> None:
    (tmp_path / "digits").write_text("0x" + KEY.hex() + "\n")
    done = wallet(
        tmp_path / "home",
        *("key", "import", "main", "--private-key-file", str(tmp_path / "digits"), "--json"),
        *("--password-file", password_file(tmp_path)),
    )
    assert json.loads(done.stdout)["address"] == ADDRESS
    assert KEY.hex() not in done.stdout + done.stderr


def test_a_wrong_password_for_a_keystore_imports_nothing(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps(Account.encrypt(KEY, PASSWORD, "pbkdf2", 1000)))
    done = wallet(
        tmp_path / "home",
        *("key", "import", "main", "--keystore", str(foreign)),
        *("--password-file", password_file(tmp_path, "another password")),
    )
    assert done.returncode == 4
    assert Keystore(tmp_path / "home").names() == []


def test_off_a_terminal_a_new_key_needs_a_password_flag(tmp_path: Path) -> None:
    done = wallet(tmp_path, "key", "new", "main")
    assert done.returncode == 4
    assert "--password-file" in done.stderr


def test_show_names_the_file_and_never_the_key(keystore: Keystore, tmp_path: Path) -> None:
    key = keystore.create("main", KEY, PASSWORD)
    done = wallet(tmp_path / "home", "key", "show")
    assert (ADDRESS in done.stdout, str(key.path) in done.stdout) == (True, True)
    assert KEY.hex() not in done.stdout


def test_no_command_takes_a_password_or_key_as_an_argument() -> None:
    keys = [["key", verb] for verb in ("new", "import", "export", "passwd", "verify-backup")]
    for verb in (*keys, ["send"], ["pay"], ["purchase", "confirm"], ["sign"]):
        text = subprocess.check_output([WALLET, *verb, "--help"], text=True)
        assert "--password-file" in text
        assert "--password " not in text
        assert "--new-password " not in text
        assert "--private-key " not in text
        assert "--mnemonic " not in text or "asked for" in text, "a flag without a value"
