"""Bringing the contracts onto a chain, and the manifest that says where they are.

Six transactions of the admin, with the nonces 0 to 5:

0. `AccessManager(admin)`
1. `PlatformCoin(AccessManager)`
2. `LenderPool(PlatformCoin, CreditBook)`
3. `CreditBook(PlatformCoin, LenderPool, AccessManager)`
4. `PurchaseEscrow(PlatformCoin, CreditBook, AccessManager)`
5. the constitution (`node.chain.constitution`): members, limits, caps, roles and delays, as one
   multicall of the AccessManager, so that it is in force whole or not at all.

Addresses follow from the admin's address and the nonce, so pool and book can name each other, and
each step looks at the chain first. A deployment that was interrupted anywhere goes on where it was,
and one that is complete sends nothing. What an administrator changes later (a role revoked, a limit
lowered) is not put back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

import contracts
from node.chain.bytecode import contract_address, is_code_of
from node.chain.codec import ContractCodec
from node.chain.constitution import ADMIN_ROLE, founding_calls
from node.chain.engine import Engine
from node.chain.files import replace_file
from node.chain.roles import read_authority
from node.chain.rpc import Rpc, RpcError
from node.keys import PLATFORM_KEYS, Signer, operator_name
from node.settings import Settings

COIN_DECIMALS = 6

# Contract -> what its constructor takes, in the order of the admin's nonces.
CONTRACTS: dict[str, tuple[str, ...]] = {
    "AccessManager": ("admin",),
    "PlatformCoin": ("AccessManager",),
    "LenderPool": ("PlatformCoin", "CreditBook"),
    "CreditBook": ("PlatformCoin", "LenderPool", "AccessManager"),
    "PurchaseEscrow": ("PlatformCoin", "CreditBook", "AccessManager"),
}
CONSTITUTION_NONCE = len(CONTRACTS)

# Contract -> the getters of its immutable addresses, which its code on chain holds for good. (Who
# its authority is may change, through the AccessManager.)
IMMUTABLES: dict[str, dict[str, str]] = {
    "LenderPool": {"asset": "PlatformCoin", "creditBook": "CreditBook"},
    "CreditBook": {"coin": "PlatformCoin", "pool": "LenderPool"},
    "PurchaseEscrow": {"coin": "PlatformCoin", "saleHook": "CreditBook"},
}

# Fixed rather than estimated, so that a step tried again is the same signed transaction.
DEPLOY_GAS = 10_000_000
RECEIPT_SECONDS = 120

log = structlog.get_logger(__name__)


class DeploymentError(Exception):
    """The chain or the manifest is not what it must be; the message is for people."""


class _Part(BaseModel):
    # Fields that a later version added do not concern this one.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Coin(_Part):
    """What the coin calls itself."""

    name: str
    symbol: str
    decimals: int


class DeployedContract(_Part):
    """Where a contract is, what it was compiled to, and the block that holds its creation."""

    address: str
    artifact_hash: str
    block: int


class Role(_Part):
    """A role as it was when the manifest was written; the chain says how it is (`plaza roles`).

    `delays` gives the seconds that a member's operations wait, `functions` which functions of which
    contract need the role.
    """

    id: int
    members: list[str]
    delays: dict[str, int] = {}
    functions: dict[str, list[str]] = {}


class Manifest(_Part):
    """The deployment as wallet and bridge read it (`<data>/network.json`)."""

    version: Literal[1]
    network: str
    chain_id: int
    genesis_hash: str
    rpc_url: str
    bridge_url: str
    coin: Coin
    contracts: dict[str, DeployedContract]
    roles: dict[str, Role]
    accounts: dict[str, str]

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            DeploymentError: there is none, or it is not one this version understands.
        """
        try:
            manifest = cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise DeploymentError(
                f"there is no manifest at {path}: nothing was deployed from this data folder"
            ) from None
        except (OSError, ValidationError) as error:
            raise DeploymentError(f"the manifest {path} cannot be used: {error}") from error
        if missing := [name for name in CONTRACTS if name not in manifest.contracts]:
            raise DeploymentError(
                f"the manifest {path} is of an earlier set of contracts, without"
                f" {' and '.join(missing)}. Contracts are not changed in place: use a new data"
                " folder, or the earlier version of this program"
            )
        return manifest

    def save(self, path: Path) -> None:
        """Write the manifest, whole or not at all."""
        replace_file(path, (self.model_dump_json(indent=2) + "\n").encode())


class PlatformSigners(Protocol):
    """Gives the signers of the platform by name; `node.keys.SealedSeed` is one."""

    def platform(self, name: str) -> Signer: ...


async def deploy(
    engine: Engine, signers: PlatformSigners, settings: Settings, *, bridge_url: str
) -> Manifest:
    """Deploy what is missing on a started chain, check what is there, and write the manifest.

    Returns:
        The manifest, as written to `settings.manifest_path`. Run again, it sends nothing; the file
        is written again only if something in it has changed, such as a URL.

    Raises:
        DeploymentError: the manifest is of another chain, other code stands where a contract should
            be, the admin's key was used for something else, or a transaction failed.
        RpcError, RpcUnavailable: the chain refused or did not answer; running again resumes.
    """
    previous = Manifest.load(settings.manifest_path) if settings.manifest_path.exists() else None
    genesis = await engine.rpc.call("eth_getBlockByNumber", "0x0", False)
    if previous is not None:
        _check_same_chain(previous, engine.chain_id, genesis["hash"], settings.manifest_path)
    deployment = _Deployment(engine.rpc, engine.chain_id, signers)
    operators = [operator_name(number) for number in range(1, settings.operators)]
    accounts = {
        # Operators that are no longer given new purchases still serve those they have.
        **({} if previous is None else _operators_of(previous)),
        **deployment.accounts,
        **{name: signers.platform(name).address for name in operators},
    }
    found = {name: await deployment.contract(name) for name in CONTRACTS}
    if previous is not None:
        found = {name: _keep_block(one, previous.contracts[name]) for name, one in found.items()}
    await deployment.constitute(settings)
    manifest = Manifest(
        version=1,
        network=settings.network,
        chain_id=engine.chain_id,
        genesis_hash=genesis["hash"],
        rpc_url=engine.rpc_url,
        bridge_url=bridge_url,
        coin=await deployment.coin(),
        contracts=found,
        roles=await deployment.roles(found["AccessManager"].block),
        accounts=accounts,
    )
    if manifest != previous:
        manifest.save(settings.manifest_path)
        log.info("manifest written", path=str(settings.manifest_path))
    return manifest


async def check_same_chain(rpc: Rpc, url: str, manifest: Manifest) -> None:
    """Check that a chain is the one of a manifest.

    Raises:
        DeploymentError: it is another one.
        RpcError, RpcUnavailable: it refused or did not answer.
    """
    chain_id = int(await rpc.call("eth_chainId"), 16)
    genesis = await rpc.call("eth_getBlockByNumber", "0x0", False)
    if (chain_id, genesis["hash"]) != (manifest.chain_id, manifest.genesis_hash):
        raise DeploymentError(
            f"{url} is another chain (id {chain_id}, genesis block {genesis['hash']}) than the"
            f" manifest's (id {manifest.chain_id}, {manifest.genesis_hash})"
        )


class _Deployment:
    """The steps, each of which looks first and sends only what is missing."""

    def __init__(self, rpc: Rpc, chain_id: int, signers: PlatformSigners) -> None:
        self._rpc = rpc
        self._chain_id = chain_id
        self._admin = signers.platform("admin")
        self._manager_codec = ContractCodec("AccessManager")
        self._coin_codec = ContractCodec("PlatformCoin")
        self.accounts = {name: signers.platform(name).address for name in PLATFORM_KEYS}
        self._addresses = {
            name: contract_address(self._admin.address, nonce)
            for nonce, name in enumerate(CONTRACTS)
        }

    async def contract(self, name: str) -> DeployedContract:
        """Create a contract unless it is there; either way its code is the artifact's."""
        artifact = contracts.load(name)
        address, nonce = self._addresses[name], list(CONTRACTS).index(name)
        arguments = [self._addresses.get(one) or self.accounts[one] for one in CONTRACTS[name]]
        codec = ContractCodec(name)
        transaction = self._transaction(nonce, None, codec.encode_constructor(*arguments))
        block = 0
        code = await self._rpc.call("eth_getCode", address, "latest")
        if code == "0x":
            receipt = await self._send(f"create {name}", transaction)
            block = int(receipt["blockNumber"], 16)
            code = await self._rpc.call("eth_getCode", address, "latest")
        else:
            created = self._admin.sign_transaction(transaction)
            receipt = await self._rpc.call("eth_getTransactionReceipt", created.hash)
            if receipt is not None:
                block = int(receipt["blockNumber"], 16)
        if not is_code_of(code, artifact.runtime_bytecode):
            raise DeploymentError(
                f"the code at {address} is not that of {name} (artifact {artifact.hash}): it was"
                " deployed from another version of the contracts"
            )
        for getter, other in IMMUTABLES.get(name, {}).items():
            value = await self._read(codec, getter)
            if value != self._addresses[other]:
                raise DeploymentError(
                    f"{name} at {address} has {value} as its {getter}, not"
                    f" {self._addresses[other]}: it was not deployed as part of this set"
                )
        return DeployedContract(address=address, artifact_hash=artifact.hash, block=block)

    async def constitute(self, settings: Settings) -> None:
        """Put the constitution in force, unless the coin's functions have their roles already."""
        mint = self._coin_codec.selector("mint")
        role = await self._read(self._manager_codec, "getTargetFunctionRole", self._coin, mint)
        if role != ADMIN_ROLE:
            return
        calls = founding_calls(settings, self._addresses, self.accounts)
        transaction = self._transaction(
            CONSTITUTION_NONCE,
            self._addresses["AccessManager"],
            self._manager_codec.encode("multicall", calls),
        )
        await self._send("put the constitution in force", transaction)

    async def coin(self) -> Coin:
        name = await self._read(self._coin_codec, "name")
        symbol = await self._read(self._coin_codec, "symbol")
        return Coin(name=name, symbol=symbol, decimals=COIN_DECIMALS)

    async def roles(self, first_block: int) -> dict[str, Role]:
        """Who has which role now."""
        authority = await read_authority(
            self._rpc, self._addresses, self.accounts, first_block=first_block
        )
        roles = {}
        for role in authority.roles.values():
            holders = authority.effective(role.id)
            functions: dict[str, list[str]] = {}
            for rule in authority.rules:
                if rule.role == role.id and rule.selector is not None:
                    functions.setdefault(rule.contract, []).append(rule.function)
            roles[role.label] = Role(
                id=role.id,
                members=[holder.address for holder in holders],
                delays={holder.address: holder.delay for holder in holders},
                functions=functions,
            )
        return roles

    @property
    def _coin(self) -> str:
        return self._addresses["PlatformCoin"]

    async def _read(self, codec: ContractCodec, function: str, *arguments: Any) -> Any:
        address = self._addresses[codec.contract]
        call = {"to": address, "data": codec.encode(function, *arguments)}
        return codec.decode_result(function, await self._rpc.call("eth_call", call, "latest"))

    def _transaction(self, nonce: int, to: str | None, data: str) -> dict[str, Any]:
        return {
            "chainId": self._chain_id,
            "nonce": nonce,
            "gas": DEPLOY_GAS,
            "data": data,
            **({"to": to} if to else {}),
        }

    async def _send(self, step: str, transaction: Mapping[str, Any]) -> Mapping[str, str]:
        """Send a step and return its receipt, once mined and successful."""
        nonce = transaction["nonce"]
        used = int(
            await self._rpc.call("eth_getTransactionCount", self._admin.address, "latest"), 16
        )
        if used > nonce:
            raise DeploymentError(
                f"cannot {step}: the admin {self._admin.address} has sent {used} transactions, and"
                f" number {nonce} was not this one. Its key must be of this network alone"
            )
        await self._rehearse(step, transaction)
        signed = self._admin.sign_transaction(transaction)
        log.info("deploying", step=step, transaction=signed.hash)
        try:
            await self._rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
        except RpcError as error:
            # An earlier run may have sent it already.
            if await self._rpc.call("eth_getTransactionByHash", signed.hash) is None:
                raise DeploymentError(f"cannot {step}: {error}") from error
        receipt = await self._receipt(step, signed.hash)
        if receipt["status"] != "0x1":
            raise DeploymentError(f"cannot {step}: transaction {signed.hash} failed")
        return receipt

    async def _receipt(self, step: str, transaction_hash: str) -> Mapping[str, str]:
        deadline = time.monotonic() + RECEIPT_SECONDS
        pause = 0.02
        while True:
            receipt: Mapping[str, str] | None
            receipt = await self._rpc.call("eth_getTransactionReceipt", transaction_hash)
            if receipt is not None:
                return receipt
            if time.monotonic() > deadline:
                raise DeploymentError(
                    f"cannot {step}: transaction {transaction_hash} was not mined in"
                    f" {RECEIPT_SECONDS} s; run again to go on waiting"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def _rehearse(self, step: str, transaction: Mapping[str, Any]) -> None:
        """A step that fails would use up its nonce, and with it the address it stands for."""
        call = {key: transaction[key] for key in ("to", "data") if key in transaction}
        try:
            await self._rpc.call("eth_call", {**call, "from": self._admin.address}, "latest")
        except RpcError as error:
            reason = self._manager_codec.decode_error(error.data) if error.data else error
            raise DeploymentError(f"cannot {step}: {reason}") from error


def _check_same_chain(manifest: Manifest, chain_id: int, genesis_hash: str, path: Path) -> None:
    if manifest.chain_id != chain_id:
        raise DeploymentError(
            f"the manifest {path} is of chain {manifest.chain_id}, this is chain {chain_id}"
        )
    if manifest.genesis_hash != genesis_hash:
        raise DeploymentError(
            f"the manifest {path} is of another chain with the same id: its genesis block is"
            f" {manifest.genesis_hash}, here it is {genesis_hash}. A chain in memory is lost when"
            " its node stops: start it with a new data folder"
        )


def _operators_of(manifest: Manifest) -> dict[str, str]:
    return {
        name: address for name, address in manifest.accounts.items() if name.startswith("operator:")
    }


def _keep_block(contract: DeployedContract, earlier: DeployedContract) -> DeployedContract:
    """A chain that keeps only recent receipts cannot say again when the contract was created."""
    if contract.block or contract.address != earlier.address:
        return contract
    return contract.model_copy(update={"block": earlier.block})
