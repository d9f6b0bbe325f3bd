"""What the chain says of accounts. Apart from `client`, so that a balance is read at once."""

from __future__ import annotations

from dataclasses import dataclass

from wallet.abi import encode_call, words_of
from wallet.errors import WrongChain
from wallet.networks import Network
from wallet.rpc import Rpc

KINDS = {1: "buyer", 2: "seller", 4: "lender", 8: "operator", 16: "system"}


@dataclass(frozen=True)
class Account:
    """A member's balance and standing. `member_until` is unix seconds, 0 if never admitted."""

    address: str
    units: int
    kinds: tuple[str, ...]
    member_until: int
    frozen: bool
    as_of_block: int
    as_of_time: int

    @property
    def obstacle(self) -> str | None:
        """Why the account may not move coin, in words; None if it may."""
        if self.member_until == 0:
            return "is not a member of this network"
        if self.as_of_time >= self.member_until:
            return "is no longer a member of this network: its membership has expired"
        return "is frozen" if self.frozen else None


def check_chain(network: Network, rpc: Rpc) -> None:
    """Raises WrongChain unless the endpoint serves the profile's chain."""
    actual = int(rpc.call("eth_chainId"), 16)
    if actual != network.chain_id:
        raise WrongChain(
            f"{network.rpc_url} serves chain {actual}, "
            f"network {network.name!r} is chain {network.chain_id}"
        )


def read_account(network: Network, rpc: Rpc, address: str) -> Account:
    """Read an account's balance and standing.

    Raises:
        WrongChain: there is no coin where the profile says.
        NetworkError, RpcError: from the endpoint.
    """
    block = rpc.call("eth_getBlockByNumber", "latest", False)
    words = read_words(
        network, rpc, network.coin, encode_call("accountOf", address), block["number"]
    )
    balance, member_until, kinds, frozen = words
    return Account(
        address=address,
        units=balance,
        kinds=tuple(name for bit, name in KINDS.items() if kinds & bit),
        member_until=member_until,
        frozen=bool(frozen),
        as_of_block=int(block["number"], 16),
        as_of_time=int(block["timestamp"], 16),
    )


def read_words(
    network: Network, rpc: Rpc, contract: str, data: bytes, block: str = "latest"
) -> list[int]:
    """Call a contract, and return the words of its answer. Raises as `read_account`."""
    result = rpc.call("eth_call", {"to": contract, "data": "0x" + data.hex()}, block)
    words = words_of(bytes.fromhex(result[2:]))
    if not words:
        raise WrongChain(
            f"{network.rpc_url} has no contract at {contract}: "
            f"network {network.name!r} was deployed on another chain"
        )
    return words
