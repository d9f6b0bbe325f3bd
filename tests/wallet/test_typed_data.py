"""wallet sign and verify: what is shown is what is hashed, and what is hashed is what counts."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from tests.wallet.chain import CAST, CHAIN_ID, COIN, Platform, free_port
from tests.wallet.conftest import Home
from tests.wallet.test_keys import needs_cast
from wallet import TypedData
from wallet.errors import InvalidInput
from wallet.signatures import ORDER, message_digest, recover_signer
from wallet.testing import MemorySigner

ALICE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
BOB = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
TRANSFER = (
    "address from, address to, uint256 value, "
    "uint256 validAfter, uint256 validBefore, bytes32 nonce"
)
# All that a member signs for the platform's contracts.
COIN_TYPES = {
    "Permit": "address owner, address spender, uint256 value, uint256 nonce, uint256 deadline",
    "TransferWithAuthorization": TRANSFER,
    "ReceiveWithAuthorization": TRANSFER,
    "CancelAuthorization": "address authorizer, bytes32 nonce",
}
TYPES = {
    **COIN_TYPES,
    "Release": "bytes32 orderHash, uint256 amount, uint256 nonce, uint256 deadline",
    "Void": "bytes32 orderHash, uint256 amount, uint256 nonce, uint256 deadline",
    "Reclaim": "bytes32 orderHash, uint256 nonce, uint256 deadline",
    "Dispute": "bytes32 orderHash, bytes32 evidenceHash, uint256 nonce, uint256 deadline",
    "Acceptance": "bytes32 offerHash, uint256 nonce, uint256 deadline",
    "Draw": "address seller, uint256 amount, uint256 nonce, uint256 deadline",
    "Holdback": "address seller, uint16 holdbackBps, uint256 nonce, uint256 deadline",
}


def typed(
    name: str, contract: str = BOB, chain_id: int = CHAIN_ID, **values: Any
) -> dict[str, Any]:
    """Typed data of one of the platform's types; values not given are made up."""
    members = [member.split() for member in TYPES[name].split(", ")]
    made_up = {"address": ALICE, "bytes32": "0x" + "ab" * 32, "uint256": "7", "uint16": 7}
    domain = {
        "name": "Plaza Coin",
        "version": "1",
        "chainId": chain_id,
        "verifyingContract": contract,
    }
    kinds = {"chainId": "uint256", "verifyingContract": "address"}
    return {
        "types": {
            "EIP712Domain": [{"name": key, "type": kinds.get(key, "string")} for key in domain],
            name: [{"name": member, "type": kind} for kind, member in members],
        },
        "primaryType": name,
        "domain": domain,
        "message": {member: made_up[kind] for kind, member in members} | values,
    }


MAIL: dict[str, Any] = {
    "types": {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "chainId", "type": "uint256"},
        ],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallets", "type": "address[]"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person[2]"},
            {"name": "urgent", "type": "bool"},
            {"name": "cents", "type": "int16"},
            {"name": "code", "type": "bytes4"},
            {"name": "body", "type": "bytes"},
            {"name": "contents", "type": "string"},
        ],
        "Unused": [{"name": "x", "type": "uint8"}],
    },
    "primaryType": "Mail",
    "domain": {"name": "Post", "chainId": CHAIN_ID},
    "message": {
        "from": {"name": "Alice", "wallets": [ALICE, BOB]},
        "to": [{"name": "Bob", "wallets": []}, {"name": "Carol\nto: Eve", "wallets": [BOB]}],
        "urgent": True,
        "cents": -5,
        "code": "0x01020304",
        "body": "0x",
        "contents": "Hello, Böb!",
    },
}


def changed(path: str, value: Any, source: dict[str, Any] = MAIL) -> dict[str, Any]:
    """A copy of typed data with one value replaced."""
    whole = copy.deepcopy(source)
    *steps, last = path.split("/")
    inner: Any = whole
    for step in steps:
        inner = inner[int(step) if step.isdigit() else step]
    inner[int(last) if last.isdigit() else last] = value
    return whole


# ------------------------------------------------------------------------------ hashing


def digest_of_eth_account(value: dict[str, Any]) -> bytes:
    signable = encode_typed_data(full_message=value)
    return bytes(keccak(b"\x19" + signable.version + signable.header + signable.body))


def test_what_is_nested_is_hashed_as_others_hash_it() -> None:
    read = TypedData.from_json(MAIL)
    assert read.digest() == digest_of_eth_account(read.to_json())
    assert set(read.types) == {"EIP712Domain", "Person", "Mail"}, "what is not hashed is left out"


@given(
    st.lists(st.integers(-(2**255), 2**255 - 1), min_size=3, max_size=3),
    st.lists(st.lists(st.booleans(), min_size=2, max_size=2), max_size=3),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(max_size=70),
)
def test_what_is_read_strictly_is_hashed_as_others_hash_it(
    numbers: list[int], flags: list[list[bool]], text: str, raw: bytes
) -> None:
    kinds = {"numbers": "int256[3]", "flags": "bool[2][]", "text": "string", "raw": "bytes"}
    value = {
        "types": {
            "EIP712Domain": [{"name": "name", "type": "string"}],
            "Every": [{"name": name, "type": kind} for name, kind in kinds.items()],
        },
        "primaryType": "Every",
        "domain": {"name": text},
        "message": {"numbers": numbers, "flags": flags, "text": text, "raw": "0x" + raw.hex()},
    }
    assert TypedData.from_json(value).digest() == digest_of_eth_account(value)
    as_text = changed("message/numbers", [str(number) for number in numbers], value)
    assert TypedData.from_json(as_text).digest() == TypedData.from_json(value).digest()


@needs_cast
@pytest.mark.parametrize("name", TYPES)
def test_cast_signs_the_same_of_every_type_of_the_platform(name: str) -> None:
    value, signer = typed(name), MemorySigner(b"\x07" * 32)
    by_cast = subprocess.check_output(
        [
            *(str(CAST), "wallet", "sign", "--data", json.dumps(value)),
            *("--private-key", "0x" + "07" * 32),
        ],
        text=True,
    ).strip()
    read = TypedData.from_json(value)
    assert "0x" + signer.sign_typed_data(read.to_json()).hex() == by_cast
    assert recover_signer(read.digest(), bytes.fromhex(by_cast[2:])) == signer.address


def test_the_type_of_the_domain_may_be_left_out() -> None:
    without = copy.deepcopy(MAIL)
    del without["types"]["EIP712Domain"]
    assert TypedData.from_json(without) == TypedData.from_json(MAIL)


# ------------------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        # eth-account takes these for something else.
        ("message/urgent", "no", "message.urgent is 'no', not bool"),
        ("message/urgent", 1, "not bool"),
        ("message/extra", "unseen", "has 'extra', which Mail does not know"),
        ("message/from", {"name": "Alice"}, "message.from lacks wallets"),
        ("message/from", None, "not Person"),
        ("message/to", [], r"not Person\[2\]"),
        ("message/to", {"0": 1}, r"not Person\[2\]"),
        ("message/to/1/name", 5, r"message.to\[1\].name is 5, not string"),
        ("message/to/1/name", "\ud800", "not string"),
        ("message/cents", 32_768, "not int16"),
        ("message/cents", -32_769, "not int16"),
        ("message/cents", 5.0, "not int16"),
        ("message/cents", True, "not int16"),
        ("message/cents", "5 ", "not int16"),
        ("message/cents", "05", "not int16"),
        ("message/cents", None, "not int16"),
        ("message/code", "0x010203", "not bytes4"),
        ("message/code", "01020304", "not bytes4"),
        ("message/body", "0x0", "not bytes"),
        ("message/body", "text", "not bytes"),
        ("message/from/wallets", [ALICE[:-1]], "not address"),
        ("message/from/wallets", [ALICE.replace("C", "c")], "checksum"),
        ("domain/version", "1", "domain has 'version'"),
        ("domain", {"name": "Post"}, "domain lacks chainId"),
        ("domain", "Post", "not EIP712Domain"),
        ("types/EIP712Domain/1/type", "uint8", "the domain is of"),
        ("types/EIP712Domain/1/name", "chain", "the domain is of"),
        ("types/Mail/2/type", "boolean", "Mail.urgent is of the type 'boolean'"),
        ("types/Mail/2/type", "uint", "not known"),
        ("types/Mail/2/type", "bool[0]", "not known"),
        ("types/Mail/2/name", "from", "twice"),
        ("types/Mail/2/name", "a,b c", "cannot name a member"),
        ("types/Mail/2", {"name": "urgent", "type": "bool", "also": 1}, "a name and a type"),
        ("types/uint8", [], "cannot name a type"),
        ("types/bytes33", [], "cannot name a type"),
        ("types/Mail(x)", [], "cannot name a type"),
        ("types", [], "not an object"),
        ("primaryType", "Letter", "not among the types"),
        ("primaryType", "EIP712Domain", "nothing in it"),
        ("note", "unseen", "exactly the fields"),
    ],
)
def test_what_is_not_of_its_type_is_refused(path: str, value: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        TypedData.from_json(changed(path, value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "deep"),
        ('{"": "\\"[", "": ' * 1000, "deep"),
        ("5", "exactly the fields"),
        ('{"message": {"to": 1, "to": 2}}', "twice"),
        (" " * 1_048_577, "more than"),
    ],
)
def test_what_is_no_typed_data_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        TypedData.from_text(text)


def test_what_contains_itself_has_an_end() -> None:
    inner: dict[str, Any] = {"inner": []}
    value = {
        "types": {"Box": [{"name": "inner", "type": "Box[]"}]},
        "primaryType": "Box",
        "domain": {"name": "x"},
        "message": {"inner": [inner]},
    }
    TypedData.from_json(value).digest()
    for _ in range(40):
        inner["inner"] = [{"inner": []}]
        inner = inner["inner"][0]
    with pytest.raises(InvalidInput, match="deep"):
        TypedData.from_json(value)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([ALICE, "0x01020304", "bool", "Person[]", "Mail", "uint256", "[]", "-1"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
places = st.sampled_from(
    [
        *("types", "domain", "message", "primaryType", "types/Mail", "types/Mail/2"),
        *("types/Mail/2/type", "types/Mail/2/name", "types/Person", "types/EIP712Domain"),
        *("types/New", "domain/chainId", "domain/name", "message/from", "message/from/wallets"),
        *("message/from/wallets/0", "message/to", "message/to/1", "message/urgent"),
        *("message/cents", "message/code", "message/body", "message/contents", "message/new"),
    ]
)


@given(places, anything)
def test_whatever_is_put_somewhere_is_refused_in_words_or_hashed_as_others_hash_it(
    path: str, value: Any
) -> None:
    try:
        read = TypedData.from_json(changed(path, value))
    except InvalidInput:
        return
    assert read.lines()
    assert read.digest() == digest_of_eth_account(read.to_json())


def test_every_value_is_shown_on_a_line_of_its_own() -> None:
    assert TypedData.from_json(MAIL).lines() == [
        "Domain",
        '  name: "Post"',
        f"  chainId: {CHAIN_ID}",
        "Mail",
        "  from (Person)",
        '    name: "Alice"',
        "    wallets (address[])",
        f"      [0]: {ALICE}",
        f"      [1]: {BOB}",
        "  to (Person[2])",
        "    [0] (Person)",
        '      name: "Bob"',
        "      wallets (address[])",
        "    [1] (Person)",
        r'      name: "Carol\nto: Eve"',
        "      wallets (address[])",
        f"        [0]: {BOB}",
        "  urgent: true",
        "  cents: -5",
        "  code: 0x01020304",
        "  body: 0x",
        '  contents: "Hello, Böb!"',
    ]


def test_the_other_half_of_s_is_nobodys_signature() -> None:
    signer, digest = MemorySigner(), message_digest(b"x")
    signature = signer.sign_message(b"x")
    s = ORDER - int.from_bytes(signature[32:64], "big")
    twin = signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])
    assert recover_signer(digest, signature) == signer.address
    assert recover_signer(digest, twin) is None
    for broken in (b"", signature[:64], signature + b"\0", b"\0" * 64 + b"\x1b", b"\xff" * 65):
        assert recover_signer(digest, broken) is None


# -------------------------------------------------------------------------- the command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "typed.json"


def sign(home: Home, file: Path, value: dict[str, Any], *arguments: str) -> Any:
    file.write_text(json.dumps(value))
    return home.confirmed("sign", "--typed", str(file), "--json", *arguments)


def test_a_permit_is_shown_as_what_it_is_and_counts(
    platform: Platform, home: Home, file: Path
) -> None:
    permit = typed(
        *("Permit", platform.coin.address),
        owner=home.account.address,
        spender=BOB,
        value=12_500_000,
        nonce=0,
        deadline=platform.now + 86_400,
    )
    done = sign(home, file, permit)
    assert done.code == 0, done.err
    assert f"This lets {BOB} take up to 12.50 PLZ from this account" in done.err
    assert done.json["moves_coin"] in done.err
    assert "  value: 12500000" in done.err
    raw = bytes.fromhex(done.json["signature"][2:])
    platform.send(
        platform.coin.functions.permit(
            *(home.account.address, BOB, 12_500_000, permit["message"]["deadline"]),
            *(raw[64], raw[:32], raw[32:64]),
        )
    )
    assert platform.coin.functions.allowance(home.account.address, BOB).call() == 12_500_000


def test_a_transfer_by_signature_is_shown_as_a_payment_and_counts(
    platform: Platform, home: Home, file: Path
) -> None:
    to = platform.member().address
    message = {"from": home.account.address, "to": to, "value": COIN, "validAfter": 0}
    message |= {"validBefore": 2**256 - 1, "nonce": "0x" + "07" * 32}
    transfer = typed("TransferWithAuthorization", platform.coin.address, **message)
    done = sign(home, file, transfer)
    assert done.code == 0, done.err
    assert (
        f"This pays 1.00 PLZ to {to} as soon as anyone sends it, "
        "from 1970-01-01 00:00:00 UTC until the end of time." in done.err
    )
    raw = bytes.fromhex(done.json["signature"][2:])
    call = platform.coin.functions.transferWithAuthorization(*message.values(), raw)
    platform.send(call)
    assert platform.balance(to) == COIN


@pytest.mark.parametrize("name", COIN_TYPES)
def test_what_moves_coin_is_said_and_needs_the_confirmation(
    platform: Platform, home: Home, file: Path, name: str
) -> None:
    owner = {"Permit": "owner", "CancelAuthorization": "authorizer"}.get(name, "from")
    value = typed(name, platform.coin.address, **{owner: home.account.address})
    if "value" in value["message"]:
        value["message"]["value"] = 2**256 - 1
    file.write_text(json.dumps(value))
    unasked = home.run("sign", "--typed", str(file), "--json")
    assert (unasked.code, "--yes" in unasked.err) == (5, True)
    done = sign(home, file, value)
    assert done.json["moves_coin"].startswith("This ")
    assert ("ALL PRESENT AND FUTURE COIN" in done.err) == (name != "CancelAuthorization")

    others = sign(home, file, typed(name, platform.coin.address))
    assert (others.code, others.json["error"]["code"]) == (1, "terms_mismatch")
    assert f"the coin of {ALICE}" in others.err


def test_what_is_said_to_the_coin_and_not_known_is_warned_of(
    platform: Platform, home: Home, file: Path
) -> None:
    unknown = sign(home, file, typed("Release", platform.coin.address))
    assert (unknown.code, unknown.json["moves_coin"]) == (0, None)
    assert "does not know Release" in unknown.err
    like = typed("Permit", platform.coin.address)
    like["types"]["Permit"][2]["type"] = "uint128"
    assert "does not know Permit" in sign(home, file, like).err


def test_an_instruction_to_the_escrow_is_warned_of(
    platform: Platform, home: Home, file: Path
) -> None:
    done = sign(home, file, typed("Release", platform.escrow.address))
    assert done.json["warnings"] == [
        "it instructs this network's escrow, which may move money: Release"
    ]


def test_another_chain_is_refused_unless_it_is_meant(home: Home, file: Path) -> None:
    other = typed("Release", chain_id=1)
    refused = sign(home, file, other)
    assert (refused.code, refused.json["error"]["code"]) == (1, "terms_mismatch")
    assert "it is for chain 1, and plaza is chain 4242" in refused.err
    done = sign(home, file, other, "--allow-other-chain")
    assert done.code == 0
    assert "Warning  it is for chain 1" in done.err


def test_a_domain_without_chain_or_contract_is_warned_of(home: Home, file: Path) -> None:
    value = typed("Release")
    value["types"].pop("EIP712Domain")
    value["domain"] = {"name": "Anything"}
    first, second = sign(home, file, value).json["warnings"]
    assert "counts on every one" in first
    assert "names no contract" in second


def test_without_a_network_nothing_is_compared_and_that_is_said(home: Home, file: Path) -> None:
    (home.path / "network").unlink()
    done = sign(home, file, typed("Release"))
    assert done.code == 0, done.err
    assert "no network is stored" in done.err


def test_typed_data_that_is_not_strict_is_not_signed(home: Home, file: Path) -> None:
    done = sign(home, file, changed("message/urgent", "no"))
    assert (done.code, done.json["error"]["code"]) == (1, "invalid_input")
    file.write_text("{}")
    assert home.run("verify", "0x00", "--typed", str(file), "--json").code == 1
    file.write_bytes(b"\xff\xfe")
    done = home.confirmed("sign", "--typed", str(file), "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "invalid_input")
    assert home.run("verify", "0x00", "--message", "\udcff").code == 2


@pytest.mark.parametrize(
    "arguments", [[], ["--typed", "-", "--message", "x"], ["--typed", "/none"]]
)
def test_one_thing_is_signed_at_a_time(home: Home, arguments: list[str]) -> None:
    assert home.confirmed("sign", *arguments, "--json").code == 2
    assert home.run("verify", "0x00", *arguments, "--json").code == 2


# ---------------------------------------------------------------------------- verifying


def test_a_signed_message_names_its_signer(home: Home) -> None:
    signature = home.confirmed("sign", "--message", "order 8841", "--json").json["signature"]
    address = home.account.address
    assert Account.recover_message(encode_message("order 8841"), signature=signature) == address, (
        "others read it too"
    )

    verify = ("verify", signature, "--message")
    assert home.run(*verify, "order 8841", "--json").json == {
        "valid": True,
        "signer": address,
        "by": None,
        "method": "key",
        "digest": "0x" + message_digest(b"order 8841").hex(),
    }
    assert home.run(*verify, "order 8841", "--by", "main").code == 0
    other = home.run(*verify, "order 8842", "--by", "main", "--json")
    assert (other.code, other.json["valid"]) == (1, False)
    assert other.json["signer"] != address
    text = home.run(*verify, "order 8841", "--by", ALICE)
    assert text.code == 1
    assert f"Not signed by {ALICE}, but by {address}" in text.out
    assert home.run("verify", "0x" + "00" * 65, "--message", "x").code == 1
    for broken in ("0x", "0xzz", signature[2:], ""):
        assert home.run("verify", broken, "--message", "x").code == 2


def encode_message(text: str) -> Any:
    from eth_account.messages import encode_defunct

    return encode_defunct(text=text)


def test_signed_typed_data_names_its_signer_without_a_chain(home: Home, file: Path) -> None:
    signature = sign(home, file, MAIL).json["signature"]
    (home.path / "network").unlink()
    verify = ("verify", signature, "--typed", str(file), "--json")
    assert home.run(*verify, "--by", home.account.address).json["valid"] is True
    other = home.run(*verify, "--by", ALICE)
    assert (other.code, "no contract was asked" in other.err) == (1, True)


def contract_that_takes(digest: bytes, signature: bytes) -> str:
    """The code of a contract account that takes one signature of one digest (EIP-1271).

    It compares the hash of the call it gets with that of the one call it takes.
    """
    head = digest + (64).to_bytes(32, "big") + len(signature).to_bytes(32, "big")
    call = bytes.fromhex("1626ba7e") + head + signature + b"\0" * (-len(signature) % 32)
    return "0x365f5f37365f207f" + keccak(call).hex() + "14631626ba7e60e01b025f5260205ff3"


def test_a_contract_account_is_asked(platform: Platform, home: Home) -> None:
    account = Account.create().address
    signature = b"not even 65 bytes"

    def verify(text: str) -> Any:
        return home.run(
            "verify", "0x" + signature.hex(), "--message", text, "--by", account, "--json"
        )

    assert verify("order 8841").json["method"] == "key", "there is no contract yet"
    code = contract_that_takes(message_digest(b"order 8841"), signature)
    platform.web3.provider.make_request("anvil_setCode", [account, code])
    done = verify("order 8841")
    assert done.code == 0, done.err
    assert (done.json["valid"], done.json["signer"]) == (True, account)
    assert done.json["method"] == "contract"
    other = verify("order 8842")
    assert (other.code, other.json["valid"], other.json["signer"]) == (1, False, None)
    for refusing in ("0x5f5ffd", "0xfe", "0x00"):  # reverts, burns all gas, answers nothing
        platform.web3.provider.make_request("anvil_setCode", [account, refusing])
        assert verify("order 8841").code == 1


def test_a_contract_that_cannot_be_asked_is_no_answer(platform: Platform, home: Home) -> None:
    home.add_network(platform.manifest(), rpc_url=f"http://127.0.0.1:{free_port()}")
    done = home.run("verify", "0x" + "11" * 65, "--message", "x", "--by", ALICE, "--json")
    assert (done.code, done.json["error"]["code"]) == (7, "network")
    home.add_network(platform.manifest(chain_id=1))
    done = home.run("verify", "0x" + "11" * 65, "--message", "x", "--by", ALICE, "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "wrong_chain")
