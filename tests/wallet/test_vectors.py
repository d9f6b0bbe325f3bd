"""Published test vectors: those of other implementations, so that ours cannot agree with itself.

They come with the npm package of ethers' test cases and the sources of `mnemonic` on PyPI, as
`make setup` installs them; none of them is kept here.
"""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.wallet.chain import ROOT
from wallet.addresses import parse_address, to_checksum
from wallet.errors import InvalidInput
from wallet.keys import address_of_key, decrypt
from wallet.mnemonics import check_mnemonic, derive_key, new_mnemonic
from wallet.signatures import sign_typed_data
from wallet.signer import MnemonicSigner
from wallet.testing import MemorySigner
from wallet.typed_data import TypedData

ETHERS = ROOT / "node_modules" / "@ethersproject" / "testcases" / "testcases"
SOURCES = ROOT / ".make" / "vectors"


def of_ethers(name: str) -> list[dict[str, Any]]:
    path = ETHERS / f"{name}.json.gz"
    if not path.is_file():
        pytest.skip("@ethersproject/testcases is not installed (make setup)")
    cases: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return cases


def of_mnemonic() -> dict[str, list[list[str]]]:
    found = sorted(SOURCES.glob("mnemonic-*.tar.gz"))
    if not found:
        pytest.skip("the sources of `mnemonic` are not here (make setup, with a network)")
    with tarfile.open(found[-1]) as archive:
        file = archive.extractfile(f"{Path(found[-1].stem).stem}/vectors.json")
        assert file is not None
        vectors: dict[str, list[list[str]]] = json.load(file)
    return vectors


def test_bip_39_in_english() -> None:
    vectors = of_mnemonic()["english"]
    assert len(vectors) == 24
    from eth_account.hdaccount.mnemonic import Mnemonic

    for entropy, mnemonic, seed, _ in vectors:
        raw = bytes.fromhex(entropy)
        assert new_mnemonic(len(mnemonic.split()), lambda size, raw=raw: raw[:size]) == mnemonic
        assert check_mnemonic(mnemonic.upper()) == mnemonic
        assert Mnemonic.to_seed(mnemonic, "TREZOR").hex() == seed


def test_bip_39_in_other_languages() -> None:
    """Those whose words eth-account has; Portuguese it has not, and it is refused."""
    vectors = of_mnemonic()
    from eth_account.hdaccount.mnemonic import Mnemonic

    known = set(vectors) & set(Mnemonic.list_languages())
    assert len(known) >= 9
    for language in known:
        for _, mnemonic, seed, _ in vectors[language]:
            assert Mnemonic.to_seed(check_mnemonic(mnemonic), "TREZOR").hex() == seed


def test_hd_paths() -> None:
    checked = 0
    for case in of_ethers("hdnode"):
        for node in case["hdnodes"]:
            key = derive_key(case["mnemonic"], node["path"], case.get("password", ""))
            assert "0x" + key.hex() == node["privateKey"], case["name"]
            assert address_of_key(key).lower() == node["address"]
            checked += 1
        if checked > 401:
            break
    assert checked > 401


def test_the_default_path_is_that_of_other_wallets() -> None:
    (axic,) = (case for case in of_ethers("hdnode") if case["name"] == "axic")
    (node,) = axic["hdnodes"]
    assert MnemonicSigner(axic["mnemonic"]).address.lower() == node["address"]


def test_keystores_of_others() -> None:
    cases = [case for case in of_ethers("wallets") if case["type"] == "secret-storage"]
    assert len(cases) == 7
    for case in cases:
        key = decrypt(json.loads(case["json"]), case["password"])
        assert "0x" + key.hex() == case["privateKey"], case["name"]
        assert address_of_key(key).lower() == case["address"].lower()


def test_eip_712() -> None:
    cases = of_ethers("eip712")
    assert len(cases) == 1025
    for case in cases:
        typed = TypedData.from_json(
            {
                "types": case["types"],
                "primaryType": case["primaryType"],
                "domain": case["domain"],
                "message": case["data"],
            }
        )
        assert "0x" + typed.digest().hex() == case["digest"], case["name"]
        assert TypedData.from_json(typed.to_json()) == typed
        if "signature" in case:
            signer = MemorySigner(bytes.fromhex(case["privateKey"][2:]))
            assert "0x" + sign_typed_data(signer, typed).hex() == case["signature"]


def test_eip_55() -> None:
    cases = of_ethers("accounts")
    assert len(cases) == 1038
    for case in cases:
        good = case["checksumAddress"]
        assert to_checksum(case["address"]) == parse_address(case["address"].lower()) == good
        mistyped = good.swapcase().replace("X", "x", 1)
        if mistyped[2:] not in (mistyped[2:].lower(), mistyped[2:].upper()):
            with pytest.raises(InvalidInput, match="checksum"):
                parse_address(mistyped)
