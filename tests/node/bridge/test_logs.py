"""What the node writes into its logs holds no secret, whatever happens."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from sqlalchemy import text

from node.bridge.app import create_app
from node.bridge.serve import configure_logging
from node.chain.typed_data import transfer_authorization_digest
from node.keys import LocalSigner, SealedSeed
from tests.node.bridge.market import ALICE, PRICE, Market
from tests.node.bridge.support import Client, Desk

PLATFORM_SIGNERS = ("admin", "treasury", "operator", "enforcer", "fee_receiver", "underwriter")


class Log:
    """Everything that went through structlog or the standard library, as it would be written."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "log"
        self._stream = self._file.open("wb", buffering=0)
        self._handler = logging.FileHandler(folder / "stdlib.log")
        self._stdlib = folder / "stdlib.log"

    def start(self) -> None:
        configure_logging("debug")  # as a bridge of its own does …
        structlog.configure(  # … into a file, and for loggers made before
            logger_factory=structlog.BytesLoggerFactory(self._stream),
            cache_logger_on_first_use=False,
        )
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(logging.DEBUG)
        for ours in ("httpx", "httpcore"):  # the tests' own client
            logging.getLogger(ours).setLevel(logging.WARNING)

    def stop(self) -> None:
        logging.getLogger().removeHandler(self._handler)
        for name in (None, "httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING if name is None else logging.NOTSET)
        self._handler.close()
        self._stream.close()
        structlog.reset_defaults()

    @property
    def text(self) -> str:
        return self._file.read_text() + self._stdlib.read_text()

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self._file.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path)
    log.start()
    yield log
    log.stop()


def keys_of(seed: SealedSeed) -> list[str]:
    """The private keys of the platform and of its managed accounts, as hex and as a number."""
    signers = [seed.platform(name) for name in PLATFORM_SIGNERS]
    signers += [seed.managed(index) for index in range(4)]
    secrets = [signer._key.secret for signer in signers]
    return [secret.hex() for secret in secrets] + [
        str(int.from_bytes(secret)) for secret in secrets
    ]


def assert_absent(secrets: list[str], logged: str) -> None:
    lowered = logged.lower()
    for secret in secrets:
        assert len(secret) > 8
        assert secret.lower().removeprefix("0x") not in lowered, secret[:12]


async def test_a_full_flow_leaves_no_secret_in_the_logs(log: Log, market: Market) -> None:
    """Keys made and used, payments signed here and elsewhere, refusals, failures and a crash."""
    shop = market.shop
    secret = str(shop.http.headers["authorization"]).removeprefix("Bearer ")
    made = await shop.ok("/v1/api_keys", {"name": "books", "scopes": ["read"]}, key="idem-key-7731")
    await Client(shop.app, made["secret"]).get("/v1/accounts")
    await Client(shop.app, made["secret"]).post("/v1/accounts", {"kinds": ["buyer"]})
    await Client(shop.app, "plz_this-is-nobodys-key").get("/v1/accounts")
    buyer = await market.member(topup=2 * PRICE, reference="Jane Doe 4711")
    seller = await market.member("seller")
    alice = await market.member(address=ALICE.address, topup=PRICE)
    purchase = await market.delivered(buyer, seller)
    await market.act(purchase, "release")

    manifest = market.platform.manifest
    nonce = "0x" + "77" * 32
    digest = transfer_authorization_digest(
        chain_id=manifest.chain_id,
        coin=market.platform.coin_address,
        sender=ALICE.address,
        to=seller["address"],
        value=5,
        valid_after=0,
        valid_before=2_000_000_000,
        nonce=nonce,
    )
    authorization = {
        "signature": "0x" + ALICE.sign_hash(digest).hex(),
        "valid_after": 0,
        "valid_before": 2_000_000_000,
        "nonce": nonce,
    }
    transfer = {"from": alice["id"], "to": seller["id"], "amount": "5"}
    await shop.post("/v1/transfers", {**transfer, "amount": "6", "authorization": authorization})
    sent = await shop.ok("/v1/transfers", {**transfer, "authorization": authorization}, wait=30)
    assert sent["status"] == "succeeded"
    request = await shop.ok(
        "/v1/payment_requests", {"payee": seller["id"], "amount": "7", "memo": "for Jane Doe 4711"}
    )
    await shop.ok(f"/v1/payment_requests/{request['id']}/pay", {"payer": buyer["id"]}, wait=30)
    await shop.http.post("/v1/topups", content=b'{"password": "open-sesame-99"')
    await shop.http.get("/v1/accounts?reference=Jane%20Doe%204711&api_key=plz_in-the-query")
    await shop.post("/v1/topups", {"account": buyer["id"], "amount": "x", "reference": secret})
    # An operation that the chain refuses, and one that nobody foresaw.
    await shop.ok(f"/v1/accounts/{buyer['id']}/freeze", {"reason": "case 88123"}, wait=30)
    market.platform.store.write_now(lambda s: s.execute(text("DROP TABLE transfers")))
    body = {"from": seller["id"], "to": alice["id"], "amount": "5", "memo": "for Jane Doe 4711"}
    crashed = await shop.http.post(
        "/v1/transfers", json=body, headers={"Idempotency-Key": "idem-key-7732"}
    )
    assert (crashed.status_code, crashed.json()["code"]) == (500, "internal_error")

    logged = log.text
    seed = market.platform.seed
    assert_absent(
        [
            secret,
            made["secret"],
            "plz_this-is-nobodys-key",
            "plz_in-the-query",
            "open-sesame-99",
            "Jane Doe 4711",
            "idem-key-7731",
            "idem-key-7732",
            (b"\x05" * 32).hex(),
            authorization["signature"],
            authorization["signature"][2:66],
            authorization["signature"][66:130],
            (b"\x11" * 32).hex(),
            *keys_of(seed),
        ],
        logged,
    )
    assert re.search("Bearer|Authorization", logged) is None
    # It did log: every request, and the crash with its statement, though not what it was given.
    requests = [entry for entry in log.entries if entry["event"] == "request"]
    assert len(requests) > 20
    assert {"method", "path", "status", "milliseconds", "request_id", "merchant_id"} <= set(
        requests[0]
    )
    assert re.search("no such table|does not exist", json.dumps(log.entries))
    assert any(entry["path"] == "/v1/transfers" for entry in requests)


async def test_the_search_finds_what_is_logged(log: Log) -> None:
    """The same search, of a log with a key in it."""
    key = LocalSigner(b"\x07" * 32)
    structlog.get_logger("test").info("signed", key="0x" + key._key.secret.hex())
    with pytest.raises(AssertionError):
        assert_absent([(b"\x07" * 32).hex()], log.text)
    logging.getLogger("some.library").debug("the seed is %s", "5eed" * 16)
    with pytest.raises(AssertionError):
        assert_absent(["5eed" * 16], log.text)


async def test_a_secret_in_the_path_is_not_repeated(log: Log, desk: Desk) -> None:
    """Somebody pasted a key where an id belongs."""
    await desk.shop.get(f"/v1/accounts/{desk.shop_key.secret}")
    await desk.shop.http.get("/v1/accounts/whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
    assert_absent([desk.shop_key.secret, "C2FVsBQIhrscChlQIMV"], log.text)
    paths = [entry["path"] for entry in log.entries if entry["event"] == "request"]
    assert paths == ["/v1/accounts/plz_…", "/v1/accounts/whsec_…"]


async def test_the_metrics_token_and_the_passphrase_are_in_no_log(
    log: Log, desk: Desk, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("token-of-the-metrics-12")
    settings = desk.settings.model_copy(update={"metrics_token_file": token})
    app = create_app(
        settings,
        desk.new_app().state.context.store,
        desk.manifest,
        SealedSeed.create(tmp_path / "seed.json", "a passphrase of some words", b"\x09" * 32),
        desk.rpc,
    )
    headers = {"Authorization": "Bearer token-of-the-metrics-12"}
    answer = await Client(app, None).get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert (await Client(app, None).get("/metrics")).status_code == 401
    secrets = ["token-of-the-metrics-12", "a passphrase of some words", (b"\x09" * 32).hex()]
    assert_absent(secrets, log.text)
    assert_absent(secrets, answer.text)
