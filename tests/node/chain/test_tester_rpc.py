"""The tester's JSON-RPC, as other programs meet it: protocol, shapes, cast and viem."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from eth_account import Account

from node.chain.codec import ContractCodec
from node.chain.deployment import Manifest, deploy
from node.chain.engine import Engine, open_engine
from node.chain.rpc import RpcError
from node.chain.tester import MAX_BODY_BYTES, MAX_CALLS
from tests.node.chain.support import (
    BINARIES,
    NO_ANVIL,
    has_anvil,
    kinds,
    mined,
    raw_transaction,
    seed,
    send,
    settings_in,
)

STRANGER = seed.managed(9).address


async def post(engine: Engine, body: bytes) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(engine.rpc_url, data=body) as answer,
    ):
        text = await answer.read()
        return answer.status, orjson.loads(text) if answer.status == 200 else None


def request(method: Any, params: Any = (), request_id: Any = 7) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


# ------------------------------------------------------------------------ the protocol


async def test_an_unknown_method_is_minus_32601(tester: Engine) -> None:
    _, answer = await post(tester, orjson.dumps(request("eth_mining")))
    assert answer["error"]["code"] == -32601
    assert "eth_mining" in answer["error"]["message"]
    assert answer["id"] == 7


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"id": 1'])
async def test_bad_json_is_minus_32700(tester: Engine, body: bytes) -> None:
    _, answer = await post(tester, body)
    assert answer["error"]["code"] == -32700
    assert answer["id"] is None


@pytest.mark.parametrize(
    "body",
    [
        [],
        5,
        "text",
        None,
        {},
        {"id": 1},
        request(5),
        request("eth_chainId", "text"),
    ],
)
async def test_what_is_no_request_is_minus_32600(tester: Engine, body: Any) -> None:
    _, answer = await post(tester, orjson.dumps(body))
    assert answer["error"]["code"] == -32600


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_getBalance", []),
        ("eth_getBalance", [STRANGER, "latest", 5]),
        ("eth_getBalance", ["0x12", "latest"]),
        ("eth_getBalance", ["zz", "latest"]),
        ("eth_getBalance", [None, "latest"]),
        ("eth_getBalance", [STRANGER, "newest"]),
        ("eth_getBalance", [STRANGER, 5]),
        ("eth_getBlockByNumber", ["0xzz", False]),
        ("eth_getBlockByNumber", ["latest", "yes"]),
        ("eth_getBlockByHash", ["0x12", False]),
        ("eth_getTransactionReceipt", [5]),
        ("eth_getTransactionByHash", ["0x" + "00" * 31]),
        ("eth_call", ["0x12"]),
        ("eth_call", [{"to": "0x12"}]),
        ("eth_call", [{"to": STRANGER, "data": "12"}]),
        ("eth_call", [{"to": STRANGER, "value": "-0x1"}]),
        ("eth_getStorageAt", [STRANGER, "0x" + "ff" * 33, "latest"]),
        ("eth_getLogs", [[]]),
        ("eth_getLogs", [{"address": 5}]),
        ("eth_getLogs", [{"topics": [5]}]),
        ("eth_getLogs", [{"topics": "0x12"}]),
        ("eth_sendRawTransaction", ["12"]),
        ("eth_sendRawTransaction", [None]),
        ("evm_setNextBlockTimestamp", ["soon"]),
        ("evm_setNextBlockTimestamp", [1]),
        ("eth_feeHistory", ["0x1", "latest", 5]),
    ],
)
async def test_bad_parameters_are_minus_32602(
    tester: Engine, method: str, params: list[Any]
) -> None:
    _, answer = await post(tester, orjson.dumps(request(method, params)))
    assert answer["error"]["code"] == -32602, answer


@pytest.mark.parametrize("raw", ["0x", "0x02", "0x02c0", "0xc0", "0x03c0", "0x" + "ff" * 100])
async def test_bytes_that_are_no_transaction_are_refused(tester: Engine, raw: str) -> None:
    with pytest.raises(RpcError) as refused:
        await tester.rpc.call("eth_sendRawTransaction", raw)
    assert refused.value.code == -32000


async def test_a_batch_is_answered_in_order_with_each_its_own_outcome(tester: Engine) -> None:
    calls = [request("eth_chainId", request_id="a"), request("nothing"), request("net_version"), 5]
    _, answers = await post(tester, orjson.dumps(calls))
    assert [answer["id"] for answer in answers] == ["a", 7, 7, None]
    assert answers[0]["result"] == "0x1092"
    assert answers[1]["error"]["code"] == -32601
    assert answers[2]["result"] == "4242"
    assert answers[3]["error"]["code"] == -32600


async def test_a_batch_has_a_bound(tester: Engine) -> None:
    calls = [request("eth_chainId")] * (MAX_CALLS + 1)
    _, answer = await post(tester, orjson.dumps(calls))
    assert answer["error"]["code"] == -32600


async def test_a_body_has_a_bound(tester: Engine) -> None:
    status, _ = await post(tester, b" " * (MAX_BODY_BYTES + 1))
    assert status == 413


async def test_in_process_and_over_http_the_answers_are_the_same(tester: Engine) -> None:
    await send(tester, seed.managed(0))
    params: list[Any] = ["latest", True]
    _, answer = await post(tester, orjson.dumps(request("eth_getBlockByNumber", params)))
    assert answer["result"] == await tester.rpc.call("eth_getBlockByNumber", *params)


# --------------------------------------------------------------------- sending, as geth


async def test_a_second_transaction_with_a_waiting_nonce_is_underpriced(tester: Engine) -> None:
    signer = seed.managed(0)
    await tester.rpc.call("eth_sendRawTransaction", raw_transaction(signer, 1))
    with pytest.raises(RpcError, match="replacement transaction underpriced"):
        await tester.rpc.call("eth_sendRawTransaction", raw_transaction(signer, 1, data="0x01"))
    with pytest.raises(RpcError, match="already known"):
        await tester.rpc.call("eth_sendRawTransaction", raw_transaction(signer, 1))


async def test_legacy_and_access_list_transactions_are_taken(tester: Engine) -> None:
    account = Account.from_key(b"\x11" * 32)
    fields = {"chainId": 4242, "gas": 50_000, "gasPrice": 0, "to": STRANGER, "value": 0}
    plain = account.sign_transaction({**fields, "nonce": 0}).raw_transaction
    listed = account.sign_transaction(
        {**fields, "nonce": 1, "accessList": [{"address": STRANGER, "storageKeys": [1]}]}
    ).raw_transaction
    for raw, kind in ((plain, "0x0"), (listed, "0x1")):
        sent = await tester.rpc.call("eth_sendRawTransaction", "0x" + raw.hex())
        assert (await mined(tester, sent))["type"] == kind
    transaction = await tester.rpc.call("eth_getTransactionByHash", sent)
    assert transaction["accessList"][0]["storageKeys"] == ["0x" + "00" * 31 + "01"]


async def test_a_transaction_for_any_chain_is_refused(tester: Engine) -> None:
    account = Account.from_key(b"\x11" * 32)
    fields = {"nonce": 0, "gas": 50_000, "gasPrice": 0, "to": STRANGER, "value": 0}
    unprotected = account.sign_transaction(fields).raw_transaction
    with pytest.raises(RpcError, match="invalid chain id"):
        await tester.rpc.call("eth_sendRawTransaction", "0x" + unprotected.hex())


async def test_a_mined_block_without_transactions_moves_time(tester: Engine) -> None:
    now = await tester.now()
    await tester.rpc.call("evm_setNextBlockTimestamp", now + 60)
    await tester.rpc.call("evm_mine")
    block = await tester.rpc.call("eth_getBlockByNumber", "latest", False)
    assert int(block["timestamp"], 16) == now + 60
    assert (block["number"], block["transactions"]) == ("0x1", [])


async def test_the_state_of_an_earlier_block_can_be_read(tester: Engine) -> None:
    signer = seed.managed(0)
    for _ in range(3):
        first = await send(tester, signer)
    counts = [
        await tester.rpc.call("eth_getTransactionCount", signer.address, block)
        for block in ("earliest", "0x1", {"blockNumber": "0x2"}, {"blockHash": first["blockHash"]})
    ]
    assert counts == ["0x0", "0x1", "0x2", "0x3"]
    with pytest.raises(RpcError, match="header not found"):
        await tester.rpc.call("eth_getBalance", signer.address, "0x4")


# -------------------------------------------------------------- the same shapes as anvil


@pytest.fixture
async def anvil(tmp_path: Path) -> AsyncIterator[Engine]:
    if not has_anvil():
        pytest.skip(NO_ANVIL)
    engine = open_engine(settings_in(tmp_path / "beside", chain="anvil"), time.time)
    await engine.start()
    yield engine
    await engine.stop()


async def conversation(engine: Engine) -> dict[str, Any]:
    """The same transactions and questions on any engine; what it answers by question."""
    codec, admin = ContractCodec("AccessManager"), seed.platform("admin")
    creation = codec.encode_constructor(admin.address)
    created = await send(engine, admin, to=None, data=creation, gas=5_000_000)
    manager = created["contractAddress"]
    labelled = await send(engine, admin, to=manager, data=codec.encode("labelRole", 5, "GUARDIAN"))
    failed = await send(
        engine, seed.managed(1), to=manager, data=codec.encode("labelRole", 5, "GUARDIAN")
    )
    waiting = await engine.rpc.call(
        "eth_sendRawTransaction", raw_transaction(seed.managed(2), 5, to=manager)
    )
    call = {"to": manager, "data": codec.encode("hasRole", 0, admin.address)}
    questions: dict[str, tuple[str, list[Any]]] = {
        "chain id": ("eth_chainId", []),
        "network": ("net_version", []),
        "client": ("web3_clientVersion", []),
        "height": ("eth_blockNumber", []),
        "syncing": ("eth_syncing", []),
        "gas price": ("eth_gasPrice", []),
        "accounts": ("eth_accounts", []),
        "block by number": ("eth_getBlockByNumber", ["0x2", False]),
        "full block": ("eth_getBlockByNumber", ["latest", True]),
        "genesis": ("eth_getBlockByNumber", ["earliest", False]),
        "no block": ("eth_getBlockByNumber", ["0xffff", False]),
        "block by hash": ("eth_getBlockByHash", [labelled["blockHash"], False]),
        "no block by hash": ("eth_getBlockByHash", ["0x" + "11" * 32, False]),
        "creation": ("eth_getTransactionByHash", [created["transactionHash"]]),
        "transaction": ("eth_getTransactionByHash", [labelled["transactionHash"]]),
        "waiting transaction": ("eth_getTransactionByHash", [waiting]),
        "no transaction": ("eth_getTransactionByHash", ["0x" + "11" * 32]),
        "receipt of a creation": ("eth_getTransactionReceipt", [created["transactionHash"]]),
        "receipt": ("eth_getTransactionReceipt", [labelled["transactionHash"]]),
        "receipt of a failure": ("eth_getTransactionReceipt", [failed["transactionHash"]]),
        "no receipt": ("eth_getTransactionReceipt", [waiting]),
        "count": ("eth_getTransactionCount", [admin.address, "latest"]),
        "pending count": ("eth_getTransactionCount", [admin.address, "pending"]),
        "balance": ("eth_getBalance", [admin.address, "latest"]),
        "code": ("eth_getCode", [manager, "latest"]),
        "no code": ("eth_getCode", [STRANGER, "latest"]),
        "storage": ("eth_getStorageAt", [manager, "0x0", "latest"]),
        "call": ("eth_call", [call, "latest"]),
        "call of nothing": ("eth_call", [{"to": STRANGER, "data": "0x12"}, "latest"]),
        "logs": ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "latest"}]),
        "no logs": ("eth_getLogs", [{"fromBlock": "0x0", "address": STRANGER}]),
        "fee history": ("eth_feeHistory", ["0x2", "latest", [50]]),
    }
    answers = await engine.rpc.batch(list(questions.values()))
    return dict(zip(questions, answers, strict=True))


# Values that must be equal, not only alike: the two chains ran the same transactions.
EQUAL = (
    "chain id",
    "network",
    "height",
    "syncing",
    "gas price",
    "accounts",
    "no block",
    "no block by hash",
    "no transaction",
    "no receipt",
    "count",
    "pending count",
    "balance",
    "code",
    "no code",
    "storage",
    "call",
    "call of nothing",
    "no logs",
    "waiting transaction",
)


@pytest.mark.anvil
async def test_every_answer_has_the_shape_of_anvils(tester: Engine, anvil: Engine) -> None:
    ours, theirs = await conversation(tester), await conversation(anvil)
    for question in theirs:
        if question.startswith("receipt"):
            del theirs[question]["blockTimestamp"]  # anvil's own, and as a number
        assert kinds(ours[question]) == kinds(theirs[question]), question
    for question in EQUAL:
        assert ours[question] == theirs[question], question
    for receipt in ("receipt of a creation", "receipt", "receipt of a failure"):
        for field in ("status", "gasUsed", "cumulativeGasUsed", "contractAddress", "logsBloom"):
            assert ours[receipt][field] == theirs[receipt][field], (receipt, field)
    assert [log["data"] for log in ours["logs"]][1] == [log["data"] for log in theirs["logs"]][1]


# ----------------------------------------------------------------- cast, viem and ethers


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=BINARIES.parents[1],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode().strip()


@pytest.fixture
async def deployed(engine: Engine, tmp_path: Path) -> Manifest:
    return await deploy(engine, seed, settings_in(tmp_path), bridge_url="http://127.0.0.1:1")


@pytest.mark.skipif(not (BINARIES / "cast").exists(), reason="no cast: run `make setup`")
async def test_cast_reads_and_writes_the_chain(engine: Engine, deployed: Manifest) -> None:
    coin, url = deployed.contracts["PlatformCoin"].address, engine.rpc_url

    async def cast(*arguments: str) -> str:
        return await run(str(BINARIES / "cast"), *arguments, "--rpc-url", url)

    assert await cast("chain-id") == "4242"
    assert await cast("block-number") == "6"
    assert await cast("balance", STRANGER) == "0"
    assert await cast("call", coin, "symbol()(string)") == '"PLZ"'
    assert await cast("call", coin, "totalSupply()(uint256)") == "0"
    assert "timestamp" in await cast("block", "latest")
    key = "0x" + "11" * 32
    approved = await cast(
        *("send", coin, "approve(address,uint256)", STRANGER, "5"),
        *("--private-key", key, "--gas-price", "0", "--priority-gas-price", "0", "--json"),
    )
    assert orjson.loads(approved)["status"] == "0x1"
    owner = Account.from_key(key).address
    allowance = await cast("call", coin, "allowance(address,address)(uint256)", owner, STRANGER)
    assert allowance == "5"


VIEM = """
import { createPublicClient, createWalletClient, defineChain, http, parseAbi } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
const [url, coin, stranger] = process.argv.slice(-3)
const chain = defineChain({
  id: 4242, name: 'Plaza', nativeCurrency: { name: 'none', symbol: 'NONE', decimals: 18 },
  rpcUrls: { default: { http: [url] } },
})
const transport = http(url, { batch: true })
const reader = createPublicClient({ chain, transport })
const account = privateKeyToAccount('0x' + '22'.repeat(32))
const wallet = createWalletClient({ chain, transport, account })
const abi = parseAbi([
  'function symbol() view returns (string)',
  'function approve(address spender, uint256 value) returns (bool)',
  'function allowance(address owner, address spender) view returns (uint256)',
  'function pause()',
  'error AccessManagedUnauthorized(address caller)',
  'event Approval(address indexed owner, address indexed spender, uint256 value)',
])
const [id, block, symbol, balance] = await Promise.all([
  reader.getChainId(), reader.getBlock({ includeTransactions: true }),
  reader.readContract({ address: coin, abi, functionName: 'symbol' }),
  reader.getBalance({ address: stranger }),
])
const hash = await wallet.writeContract({
  address: coin, abi, functionName: 'approve', args: [stranger, 7n],
  maxFeePerGas: 0n, maxPriorityFeePerGas: 0n,
})
const receipt = await reader.waitForTransactionReceipt({ hash, pollingInterval: 20 })
const allowance = await reader.readContract({
  address: coin, abi, functionName: 'allowance', args: [account.address, stranger],
})
const events = await reader.getContractEvents({
  address: coin, abi, eventName: 'Approval', args: { spender: stranger }, fromBlock: 0n,
})
const refused = await reader
  .simulateContract({ address: coin, abi, functionName: 'pause', account })
  .then(() => 'allowed', (error) => error.walk((e) => e.data?.errorName)?.data.errorName)
console.log(JSON.stringify({
  id, symbol, balance: String(balance), transactions: block.transactions.length,
  status: receipt.status, allowance: String(allowance), events: events.length, refused,
}))
"""


@pytest.mark.skipif(
    not (BINARIES.parent / "viem").exists() or shutil.which("node") is None,
    reason="no viem or no node: run `make setup`",
)
async def test_viem_reads_and_writes_the_chain(engine: Engine, deployed: Manifest) -> None:
    coin = deployed.contracts["PlatformCoin"].address
    printed = await run(
        "node", "--input-type=module", "-e", VIEM, "--", engine.rpc_url, coin, STRANGER
    )
    assert orjson.loads(printed) == {
        "id": 4242,
        "symbol": "PLZ",
        "balance": "0",
        "transactions": 1,
        "status": "success",
        "allowance": "7",
        "events": 1,
        "refused": "AccessManagedUnauthorized",
    }
