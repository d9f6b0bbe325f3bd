"""A real chain for the wallet's tests: anvil, the platform's contracts, and what sits around it.

Nothing here knows the wallet: contracts are driven by their compiled ABIs.
"""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from eth_abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.utils import get_create_address

import contracts

ROOT = Path(__file__).resolve().parents[2]
ANVIL = ROOT / "node_modules" / ".bin" / "anvil"
CAST = ROOT / "node_modules" / ".bin" / "cast"

CHAIN_ID = 4242
COIN = 10**6
DAY = 86_400
BUYER, SELLER = 1, 2
LENDER = 4
UNDERWRITER_ROLE = 7


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running_anvil() -> Iterator[str]:
    """Yield the URL of an anvil of its own."""
    port = free_port()
    command = [str(ANVIL), "--port", str(port), "--chain-id", str(CHAIN_ID), "--silent"]
    command += ["--base-fee", "0", "--gas-price", "0", "--hardfork", "cancun"]
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                rpc(url, "eth_chainId")
                break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def rpc(url: str, method: str, *params: Any) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["result"]


class Platform:
    """The contracts on a running chain, and the platform's hand on them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.web3 = Web3(HTTPProvider(url))
        self.admin, self.operator, self.fee_receiver = self.web3.eth.accounts[:3]
        manager = self._deploy("AccessManager", self.admin)
        self.coin = self._deploy("PlatformCoin", manager.address)
        # Pool and book name each other, so the book's address is needed before the book is there.
        book = get_create_address(self.admin, self.transaction_count(self.admin) + 1)
        self.pool = self._deploy("LenderPool", self.coin.address, book)
        self.book = self._deploy(
            "CreditBook", self.coin.address, self.pool.address, manager.address
        )
        assert self.book.address == book
        self.escrow = self._deploy("PurchaseEscrow", self.coin.address, book, manager.address)
        self._references = itertools.count(1)
        self.send(self.coin.functions.setMintLimit(self.admin, 10**15, 0))
        ten_years = self.now + 3650 * DAY
        for contract in (self.pool, self.book, self.escrow):
            self.send(self.coin.functions.admitSystem(contract.address, ten_years))
        self.admit(self.fee_receiver, SELLER)
        self.underwriter: LocalAccount = Account.create()
        self.send(manager.functions.grantRole(UNDERWRITER_ROLE, self.underwriter.address, 0))
        self.send(self.book.functions.setSalesSource(self.escrow.address, True))
        self.send(self.book.functions.setCaps(5_000 * COIN, 10**12, 1_000))

    def _deploy(self, name: str, *arguments: Any) -> Contract:
        artifact = contracts.load(name)
        factory = self.web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        sent = factory.constructor(*arguments).transact({"from": self.admin})
        receipt = self.web3.eth.wait_for_transaction_receipt(sent)
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=artifact.abi)

    def send(self, call: Any, sender: str | None = None) -> Any:
        """Send a contract call from an account the chain has unlocked, and return its receipt."""
        free = {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
        sent = call.transact({"from": sender or self.admin, **free})
        receipt = self.web3.eth.wait_for_transaction_receipt(sent)
        assert receipt["status"] == 1
        return receipt

    @property
    def now(self) -> int:
        return int(self.web3.eth.get_block("latest")["timestamp"])

    def admit(self, address: str, kinds: int = BUYER, days: int = 365) -> None:
        self.send(self.coin.functions.admit(address, kinds, self.now + days * DAY))

    def mint(self, address: str, units: int) -> None:
        reference = next(self._references).to_bytes(32, "big")
        self.send(self.coin.functions.mint(address, units, reference))

    def member(self, units: int = 0, kinds: int = BUYER) -> LocalAccount:
        """A new key, admitted and funded."""
        account: LocalAccount = Account.create()
        self.admit(account.address, kinds)
        if units:
            self.mint(account.address, units)
        return account

    def balance(self, address: str) -> int:
        return int(self.coin.functions.balanceOf(address).call())

    def transaction_count(self, address: str) -> int:
        return int(self.web3.eth.get_transaction_count(address))

    def lend(self, units: int = 1_000 * COIN, reserve: int = 200 * COIN) -> str:
        """Fill the lenders' pool and the first-loss reserve; returns the lender's address."""
        lender = str(self.web3.eth.accounts[3])
        self.admit(lender, LENDER)
        self.mint(lender, units + reserve)
        approve = self.coin.functions.approve
        self.send(approve(self.pool.address, units), lender)
        self.send(self.pool.functions.deposit(units, lender), lender)
        self.send(approve(self.book.address, reserve), lender)
        self.send(self.book.functions.fundReserve(reserve), lender)
        return lender

    def offer(self, seller: str, **changes: Any) -> dict[str, Any]:
        """An offer nobody had before and the underwriter's signature, as a file holds them."""
        offer = {
            "seller": seller,
            "underwriter": self.underwriter.address,
            "limit": str(300 * COIN),
            "aprBps": 1_100,
            "drawFeeBps": 50,
            "holdbackBps": 1_500,
            "termDays": 270,
            "expires": self.now + 30 * DAY,
            "disclosureHash": "0x" + "d1" * 32,
            "modelHash": "0x" + "3d" * 32,
            "nonce": str(next(self._references)),
            **changes,
        }
        signature = self.underwriter.unsafe_sign_hash(self.offer_hash(offer)).signature
        return {"offer": offer, "signature": signature.to_0x_hex()}

    def offer_hash(self, offer: dict[str, Any]) -> bytes:
        return bytes(self.book.functions.hashOffer(self.solidity_offer(offer)).call())

    def solidity_offer(self, offer: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(
            bytes.fromhex(value[2:])
            if name in ("disclosureHash", "modelHash")
            else value
            if name in ("seller", "underwriter")
            else int(value)
            for name, value in offer.items()
        )

    def line_of(self, seller: LocalAccount, drawn: int = 0, **changes: Any) -> dict[str, Any]:
        """Open a line for a seller, drawn on; returns the offer."""
        offered = self.offer(seller.address, **changes)
        accept = self.book.functions.accept(
            self.solidity_offer(offered["offer"]), bytes.fromhex(offered["signature"][2:])
        )
        self.acting(seller.address, accept)
        if drawn:
            self.acting(seller.address, self.book.functions.draw(drawn))
        return offered

    def acting(self, address: str, call: Any) -> Any:
        """Send a contract call as if by an address, without its key."""
        self.web3.provider.make_request("anvil_impersonateAccount", [address])
        return self.send(call, address)

    def travel(self, seconds: int) -> None:
        self.web3.provider.make_request("evm_increaseTime", [seconds])
        self.web3.provider.make_request("evm_mine", [])

    def catch_up(self) -> None:
        """Put the clock forward to this machine's: put back, a chain goes on from the snapshot."""
        behind = int(time.time()) - self.web3.eth.get_block("latest")["timestamp"]
        if behind > 0:
            self.travel(0)
            behind = int(time.time()) - self.web3.eth.get_block("latest")["timestamp"]
        if behind > 0:
            self.travel(behind)

    def manifest(self, **changes: Any) -> dict[str, Any]:
        def deployed(contract: Contract) -> dict[str, Any]:
            return {"address": contract.address, "artifact_hash": "0x" + "00" * 32, "block": 1}

        return {
            "version": 1,
            "network": "plaza",
            "chain_id": CHAIN_ID,
            "genesis_hash": self.web3.eth.get_block(0)["hash"].to_0x_hex(),
            "rpc_url": self.url,
            "bridge_url": "http://127.0.0.1:1",
            "coin": {"name": "Plaza Coin", "symbol": "PLZ", "decimals": 6},
            "contracts": {
                "PlatformCoin": deployed(self.coin),
                "PurchaseEscrow": deployed(self.escrow),
                "CreditBook": deployed(self.book),
                "LenderPool": deployed(self.pool),
            },
            "roles": {},
            "accounts": {"operator": self.operator, "fee_receiver": self.fee_receiver},
            **changes,
        }

    def terms(self, payer: str, payee: str, **changes: Any) -> dict[str, Any]:
        """Terms of an order nobody had before, as the bridge writes them."""
        reference = next(self._references).to_bytes(32, "big")
        return {
            "payer": payer,
            "payee": payee,
            "operator": self.operator,
            "feeReceiver": self.fee_receiver,
            "maxAmount": str(12_500_000),
            "minFeeBps": 100,
            "maxFeeBps": 250,
            "authorizeBefore": self.now + DAY,
            "reclaimAfter": self.now + 30 * DAY,
            "disputeWindow": 7 * DAY,
            "orderRef": "0x" + keccak(reference).hex(),
            **changes,
        }

    def solidity_terms(self, terms: dict[str, Any]) -> tuple[Any, ...]:
        return (
            *list(terms.values())[:4],
            int(terms["maxAmount"]),
            *list(terms.values())[5:10],
            bytes.fromhex(terms["orderRef"][2:]),
        )

    def order_hash(self, terms: dict[str, Any]) -> str:
        found = self.escrow.functions.hashTerms(self.solidity_terms(terms)).call()
        return "0x" + bytes(found).hex()

    def order(self, order_hash: str) -> tuple[int, int, int, int]:
        held, refundable, deadline, status = self.escrow.functions.orderOf(order_hash).call()
        return held, refundable, deadline, status

    def request(self, terms: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """The bridge's answer for a purchase with these terms."""
        return {
            "purchase_id": "pur_0192test",
            "order_id": "A-1001",
            "merchant": "Demo shop",
            "status": "created",
            "chain_id": CHAIN_ID,
            "escrow": self.escrow.address,
            "coin": self.coin.address,
            "amount": terms["maxAmount"],
            "order_hash": self.order_hash(terms),
            "terms": terms,
            **changes,
        }

    def payment_request(self, payee: str, **changes: Any) -> dict[str, Any]:
        """The bridge's answer for an open payment request that nobody had before."""
        request_id = changes.pop("id", f"prq_{next(self._references):032x}")
        nonce = "0x" + keccak(encode(["string"] * 2, ["plaza/payment_request", request_id])).hex()
        memo = changes.get("memo", f"invoice {next(self._references)}")
        word = nonce if memo is None else "0x" + memo.encode().ljust(32, b"\0").hex()
        amount = changes.get("amount", "12500000")
        expires_at = datetime.fromtimestamp(self.now + DAY, UTC)
        return {
            "id": request_id,
            "merchant": "Demo shop",
            "status": "open",
            "chain_id": CHAIN_ID,
            "coin": self.coin.address,
            "symbol": "PLZ",
            "decimals": 6,
            "payee": payee,
            "amount": amount,
            "memo": memo,
            "memo_word": word,
            "nonce": nonce,
            "uri": f"ethereum:{self.coin.address}@{CHAIN_ID}/transferWithMemo"
            f"?address={payee}&uint256={amount}&bytes32={word}",
            "url": f"http://127.0.0.1:1/v1/pay/requests/{request_id}",
            "expires_at": f"{expires_at:%Y-%m-%dT%H:%M:%SZ}",
            "paid_tx": None,
            **changes,
        }

    def relay_transfer(self, request: dict[str, Any], body: dict[str, Any]) -> None:
        """Send a payer's authorization, as a bridge does."""
        function = self.coin.get_function_by_signature(
            "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
        )
        call = function(
            body["payer"],
            request["payee"],
            int(request["amount"]),
            body["valid_after"],
            body["valid_before"],
            request["nonce"],
            body["signature"],
        )
        self.send(call, self.operator)


@dataclass
class Bridge:
    """The three public endpoints of a bridge, over a real socket."""

    manifest: dict[str, Any]
    url: str = ""
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    signatures: list[dict[str, Any]] = field(default_factory=list)
    on_signature: Callable[[dict[str, Any], dict[str, Any]], None] = lambda request, body: None

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/v1/network":
            return 200, self.manifest
        request = self.requests.get(path.rpartition("/")[2])
        if request is None or not path.startswith("/v1/pay/"):
            return 404, {"title": "Not Found", "detail": "no such purchase", "code": "not_found"}
        return 200, request

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        status, request = self.get(path)
        if status != 200:
            return status, request
        self.signatures.append(body)
        self.on_signature(request, body)
        return 202, request


@contextmanager
def serving(answer: Callable[[str, str, bytes], tuple[int, bytes]]) -> Iterator[str]:
    """Serve HTTP on a free port of this machine; `answer(method, path, body)` answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, text = answer(self.command, self.path, body)
            except ConnectionAbortedError:  # the answer is to be lost
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = _respond

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running_bridge(platform: Platform) -> Iterator[Bridge]:
    bridge = Bridge(platform.manifest())

    def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        status, value = bridge.get(path) if method == "GET" else bridge.post(path, json.loads(body))
        return status, json.dumps(value).encode()

    with serving(answer) as url:
        bridge.url = url
        bridge.manifest["bridge_url"] = url
        yield bridge


class Proxy:
    """A JSON-RPC endpoint in front of the chain that can go wrong at chosen methods.

    `before[method]` runs before a call is passed on, `after[method]` before its answer is; each may
    block, or raise ConnectionAbortedError to lose what it holds. `sent` are the raw transactions
    that came by.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.url = ""
        self.before: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[], None]] = {}
        self.sent: list[str] = []

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        call = json.loads(body)
        if call["method"] == "eth_sendRawTransaction":
            self.sent.append(call["params"][0])
        self.before.get(call["method"], lambda: None)()
        request = urllib.request.Request(self._upstream, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
        self.after.get(call["method"], lambda: None)()
        return 200, text


@contextmanager
def running_proxy(upstream: str) -> Iterator[Proxy]:
    proxy = Proxy(upstream)
    with serving(proxy.answer) as url:
        proxy.url = url
        yield proxy


def lose() -> None:
    """For Proxy: the connection breaks here."""
    raise ConnectionAbortedError


def missing() -> str | None:
    """Why the wallet's tests cannot run here, None if they can."""
    if not ANVIL.exists():
        return "anvil is not installed (make setup)"
    if shutil.which("node") is None:
        return "node is not installed"
    return None
