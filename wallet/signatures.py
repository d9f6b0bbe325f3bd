"""Signatures that send nothing: what they would mean, how they are made, and whose they are.

A signer is not believed: a signature is accepted only if it is one of the hash computed here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from wallet.abi import WORD
from wallet.addresses import keccak
from wallet.amounts import MAX_UNITS, format_units
from wallet.errors import RpcError, TermsMismatch, WalletError
from wallet.intents import signer_of
from wallet.networks import Network
from wallet.rpc import Rpc
from wallet.signer import Signer
from wallet.typed_data import TypedData, Types

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1

# What of the coin's own can be signed, and so moves or frees to move the coin (EIP-2612, EIP-3009).
_TRANSFER = (
    ("from", "address"),
    ("to", "address"),
    ("value", "uint256"),
    ("validAfter", "uint256"),
    ("validBefore", "uint256"),
    ("nonce", "bytes32"),
)
_COIN_TYPES: Types = {
    "Permit": (
        ("owner", "address"),
        ("spender", "address"),
        ("value", "uint256"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    ),
    "TransferWithAuthorization": _TRANSFER,
    "ReceiveWithAuthorization": _TRANSFER,
    "CancelAuthorization": (("authorizer", "address"), ("nonce", "bytes32")),
}


@dataclass(frozen=True)
class Meaning:
    """What a signature of typed data would do on a network, as far as this wallet can read it.

    `moves` is a sentence if it moves this network's coin, or lets others move it.
    """

    moves: str | None
    warnings: tuple[str, ...]


def explain(
    typed: TypedData, network: Network | None, signer: str, allow_other_chain: bool = False
) -> Meaning:
    """Say what typed data means to a network's contracts if `signer` signs it.

    Args:
        network: the one to compare with; None if none is known.
        allow_other_chain: only warn of another chain than the network's.

    Raises:
        TermsMismatch: it is for another chain, or about another account's coin, so that this
            signature would be worth nothing.
    """
    warnings = []
    chain_id = typed.domain.get("chainId")
    contract = typed.domain.get("verifyingContract")
    if chain_id is None:
        warnings.append("the domain names no chain: the signature counts on every one")
    elif network is None:
        warnings.append(f"no network is stored here: chain {chain_id} is not compared with any")
    elif chain_id != network.chain_id:
        other = f"it is for chain {chain_id}, and {network.name} is chain {network.chain_id}"
        if not allow_other_chain:
            raise TermsMismatch(f"{other}: sign it nevertheless with --allow-other-chain")
        warnings.append(other)
    if contract is None:
        warnings.append("the domain names no contract: any may use the signature")
    if network is None:
        return Meaning(None, tuple(warnings))

    if contract == network.coin:
        if typed.types[typed.primary_type] != _COIN_TYPES.get(typed.primary_type):
            warnings.append(
                f"it is for the coin's contract, and this wallet does not know {typed.primary_type}"
            )
            return Meaning(None, tuple(warnings))
        return Meaning(_explain_coin(typed, network, signer), tuple(warnings))
    known = {
        network.escrow: "escrow",
        network.credit_book: "credit book",
        network.lender_pool: "lender pool",
    }
    if contract is not None and contract in known:
        warnings.append(
            f"it instructs this network's {known[contract]}, which may move money: "
            f"{typed.primary_type}"
        )
    return Meaning(None, tuple(warnings))


def _explain_coin(typed: TypedData, network: Network, signer: str) -> str:
    message = typed.message
    owner = message.get("owner") or message.get("from") or message.get("authorizer")
    if owner != signer:
        raise TermsMismatch(f"it is about the coin of {owner}, and this key is {signer}")
    if typed.primary_type == "CancelAuthorization":
        return f"This takes back the authorization 0x{message['nonce'].hex()}."
    value = message["value"]
    amount = (
        "ALL PRESENT AND FUTURE COIN"
        if value > MAX_UNITS
        else f"{format_units(value)} {network.symbol}"
    )
    if typed.primary_type == "Permit":
        return (
            f"This lets {message['spender']} take up to {amount} from this account, until that is "
            f"taken back. The signature can be used until {_time(message['deadline'])}."
        )
    sender = "anyone" if typed.primary_type == "TransferWithAuthorization" else "the recipient"
    return (
        f"This pays {amount} to {message['to']} as soon as {sender} sends it, "
        f"from {_time(message['validAfter'])} until {_time(message['validBefore'])}."
    )


def _time(seconds: int) -> str:
    if seconds >= 253_402_300_800:  # the year 10000
        return "the end of time"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


# --------------------------------------------------------------------- signing and verifying


def message_digest(message: bytes) -> bytes:
    """The 32 bytes that are signed of a message for people (EIP-191, version E)."""
    return keccak(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


def sign_typed_data(signer: Signer, typed: TypedData) -> bytes:
    """Sign typed data; 65 bytes, r s v.

    Raises:
        PasswordError, CannotSign: from the signer.
        WalletError: what came back is not its signature of this.
    """
    return _checked(signer, typed.digest(), signer.sign_typed_data(typed.to_json()))


def sign_message(signer: Signer, message: bytes) -> bytes:
    """Sign a message for people; raises as `sign_typed_data`."""
    return _checked(signer, message_digest(message), signer.sign_message(message))


def _checked(signer: Signer, digest: bytes, signature: bytes) -> bytes:
    actual = signer_of(digest, signature)
    if actual != signer.address:
        raise WalletError(f"the signature is one of {actual}, not of {signer.address}")
    return signature


def recover_signer(digest: bytes, signature: bytes) -> str | None:
    """Return whose signature of a digest this is; None if of nobody's, as contracts see it.

    With s in the upper half, it is another signature made of somebody's: contracts refuse those.
    """
    s = int.from_bytes(signature[32:64], "big")
    return signer_of(digest, signature) if s <= ORDER // 2 else None


def is_signed_by_contract(rpc: Rpc, address: str, digest: bytes, signature: bytes) -> bool | None:
    """Ask a contract account whether it takes a signature for its own (EIP-1271).

    Returns:
        None if there is no contract at the address.

    Raises:
        NetworkError: the chain does not answer.
    """
    if rpc.call("eth_getCode", address, "latest") == "0x":
        return None
    magic = "1626ba7e"
    padded = signature + b"\0" * (-len(signature) % WORD)
    head = digest + (2 * WORD).to_bytes(WORD, "big") + len(signature).to_bytes(WORD, "big")
    data = "0x" + magic + (head + padded).hex()
    try:
        answer = rpc.call("eth_call", {"to": address, "data": data}, "latest")
    except RpcError:  # a contract that reverts does not take it
        return False
    return bool(answer[: 2 + 2 * WORD] == "0x" + magic.ljust(2 * WORD, "0"))
