"""A platform for tests of outbox and indexer: a deployed chain, a migrated store, and a shop that
writes resources and operations as the bridge does."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.chain import typed_data
from node.chain.codec import ContractCodec
from node.chain.deployment import Manifest, deploy
from node.chain.engine import Engine, open_engine
from node.chain.rpc import Rpc
from node.index.indexer import Indexer
from node.keys import LocalSigner, SealedSeed
from node.outbox import Broadcaster, Submitter
from node.settings import Settings
from node.store import Store
from node.store.ids import Ids
from node.store.models import (
    Account,
    AccountStatus,
    Block,
    Merchant,
    MoveStatus,
    Operation,
    OperationStatus,
    Purchase,
    PurchaseStatus,
    Redemption,
    TopUp,
    Transfer,
)
from tests import databases

START = 1_500_000_000
DAY = 86_400
COIN = 10**6
BUYER, SELLER = 1, 2
FEE_BPS = 250
DISPUTE_WINDOW = 7 * DAY
MEMBER_UNTIL = START + 3650 * DAY

TRANSFER_WITH_AUTHORIZATION = (
    "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
)


def settings_in(folder: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {"data": folder, "rpc_port": 0, "genesis_time": START}
    return Settings(**{**values, **changes})


class WithRpc:
    """An engine whose connection is another: slow, deaf, forgetful."""

    def __init__(self, engine: Engine, rpc: Rpc) -> None:
        self._engine = engine
        self.rpc = rpc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


class Worker:
    """Outbox and indexer, stepped by hand: what `run_worker` runs, without its pauses."""

    def __init__(self, platform: Platform, store: Store, engine: Any, **changes: Any) -> None:
        ids = Ids()
        self.store = store
        self.indexer = Indexer(
            engine.rpc,
            store,
            platform.manifest,
            finality_depth=changes.get("finality_depth", 0),
            clock=platform.clock,
            ids=ids,
        )
        self.broadcaster = Broadcaster(engine, store, clock=platform.clock)
        self.submitter = Submitter(
            engine.rpc,
            store,
            platform.seed,
            platform.manifest.chain_id,
            changes.get("broadcast", self.broadcaster.send),
            owner=changes.get("owner", f"worker-{id(self)}"),
            clock=platform.clock,
            ids=ids,
        )

    async def index(self) -> None:
        """Index up to the chain's head."""
        while True:
            found = await self.indexer.round()
            if found.rolled_back:
                self.broadcaster.everything_is_due()
            elif not found.applied and found.indexed == found.head.number:
                return

    async def settle(self) -> None:
        """Work until no operation is queued or submitted and the chain's head is indexed."""
        deadline = time.monotonic() + 60
        while True:
            await self.broadcaster.resend_due()
            await self.submitter.round()
            await self.index()
            open_ = await self.store.read(_count_open)
            if not open_:
                return
            assert time.monotonic() < deadline, f"{open_} operations did not settle"
            await asyncio.sleep(0.005)


def _count_open(session: Session) -> int:
    statuses = (OperationStatus.QUEUED, OperationStatus.SUBMITTED)
    return session.scalar(select(func.count()).where(Operation.status.in_(statuses))) or 0


@dataclass
class Platform:
    engine: Engine
    settings: Settings
    seed: SealedSeed
    manifest: Manifest
    store: Store
    coin: ContractCodec = field(default_factory=lambda: ContractCodec("PlatformCoin"))
    escrow: ContractCodec = field(default_factory=lambda: ContractCodec("PurchaseEscrow"))
    wall_time: float | None = None  # None: the real one

    def clock(self) -> float:
        return time.time() if self.wall_time is None else self.wall_time

    @property
    def coin_address(self) -> str:
        return self.manifest.contracts["PlatformCoin"].address

    @property
    def escrow_address(self) -> str:
        return self.manifest.contracts["PurchaseEscrow"].address

    async def worker(self, **changes: Any) -> Worker:
        """A new worker, as after a start of the process."""
        store = changes.pop("store", self.store)
        engine = changes.pop("engine", self.engine)
        worker = Worker(self, store, engine, **changes)
        await worker.indexer.start()
        return worker

    def new_store(self, folder: Path) -> Store:
        """Over a database of its own."""
        folder.mkdir()
        return Store(databases.new_url(folder))

    async def call(self, codec: ContractCodec, function: str, *args: Any) -> Any:
        address = self.manifest.contracts[codec.contract].address
        data = codec.encode(function, *args)
        answer = await self.engine.rpc.call("eth_call", {"to": address, "data": data}, "latest")
        return codec.decode_result(function, answer)

    async def balance(self, address: str) -> int:
        return int(await self.call(self.coin, "balanceOf", address))

    async def send(self, signer: LocalSigner, to: str, data: str, *, gas: int = 1_000_000) -> str:
        """A transaction straight to the chain, as a wallet sends it; waits until it is mined."""
        rpc = self.engine.rpc
        nonce = int(await rpc.call("eth_getTransactionCount", signer.address, "latest"), 16)
        signed = signer.sign_transaction(
            {"chainId": self.manifest.chain_id, "nonce": nonce, "to": to, "data": data, "gas": gas}
        )
        await rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
        for _ in range(500):
            if await rpc.call("eth_getTransactionReceipt", signed.hash) is not None:
                return signed.hash
            await asyncio.sleep(0.01)
        raise AssertionError(f"{signed.hash} was not mined")


@asynccontextmanager
async def open_platform(folder: Path, chain: str, **changes: Any) -> AsyncIterator[Platform]:
    settings = settings_in(folder, chain=chain, **changes)
    engine = open_engine(settings, time.time)
    await engine.start()
    seed = SealedSeed(b"\x05" * 32)
    manifest = await deploy(engine, seed, settings, bridge_url="http://127.0.0.1:8400")
    settings = settings.model_copy(update={"database_url": databases.new_url(folder)})
    store = Store(settings.store_url)
    try:
        yield Platform(engine, settings, seed, manifest, store)
    finally:
        store.close()
        await engine.stop()


def word(text: str) -> str:
    return "0x" + keccak(text=text).hex()


class Shop:
    """Writes what the bridge writes: a resource and the operation that carries it out."""

    def __init__(self, platform: Platform, store: Store | None = None) -> None:
        self.platform = platform
        self.store = store or platform.store
        self.ids = Ids()
        self._index = itertools.count()
        self._number = itertools.count(1)
        self.merchant_id = "mer_test"

        def found(session: Session) -> None:
            if session.get(Merchant, self.merchant_id) is None:
                session.add(
                    Merchant(
                        id=self.merchant_id,
                        name="Demo shop",
                        fee_bps=FEE_BPS,
                        dispute_window=DISPUTE_WINDOW,
                        created_at=START,
                    )
                )

        self.store.write_now(found)

    def add(self, *rows: Any) -> None:
        def write(session: Session) -> None:
            for row in rows:
                session.add(row)
                session.flush()

        self.store.write_now(write)

    def get(self, model: Any, key: Any) -> Any:
        return self.store.read_now(lambda session: session.get_one(model, key))

    def operation(
        self, kind: str, ref: str, resource: Any, calldata: str, **more: Any
    ) -> Operation:
        escrow = kind.startswith("purchase.")
        platform = self.platform
        values: dict[str, Any] = {
            "id": self.ids.new("op"),
            "merchant_id": self.merchant_id,
            "kind": kind,
            "ref": ref,
            "resource_type": kind.partition(".")[0],
            "resource_id": resource.id,
            "signer": "operator",
            "to_address": platform.escrow_address if escrow else platform.coin_address,
            "calldata": calldata,
            "status": OperationStatus.QUEUED,
            "created_at": int(platform.clock()),
            "updated_at": int(platform.clock()),
        }
        return Operation(**{**values, **more})

    # ------------------------------------------------------------------------- resources

    def account(self, kinds: int = BUYER | SELLER, **more: Any) -> Account:
        """A managed account, its admission queued."""
        index = next(self._index)
        signer = self.platform.seed.managed(index)
        account = Account(
            id=self.ids.new("acc"),
            merchant_id=self.merchant_id,
            address=signer.address,
            managed_index=index,
            kinds=kinds,
            member_until=more.get("member_until", MEMBER_UNTIL),
            status=AccountStatus.PENDING,
            created_at=START,
        )
        self.add(account, self.admission(account))
        return account

    def admission(self, account: Account, attempt: int = 1) -> Operation:
        calldata = self.platform.coin.encode(
            "admit", account.address, account.kinds, account.member_until
        )
        return self.operation(
            "account.admit", word(f"{account.id}/{attempt}"), account, calldata, attempt=attempt
        )

    def act_on_account(self, account: Account, action: str) -> Operation:
        arguments = (account.address, word("case")) if action == "freeze" else (account.address,)
        operation = self.operation(
            f"account.{action}",
            word(f"{account.id}/{action}/{next(self._number)}"),
            account,
            self.platform.coin.encode(action, *arguments),
        )
        self.add(operation)
        return operation

    def signer(self, account: Account) -> LocalSigner:
        assert account.managed_index is not None
        return self.platform.seed.managed(account.managed_index)

    def top_up(self, account: Account, amount: int, reference: str | None = None) -> TopUp:
        reference = reference or f"bank {next(self._number)}"
        ref = word(f"plaza/topup/{self.merchant_id}/{reference}")
        top_up = TopUp(
            id=self.ids.new("top"),
            merchant_id=self.merchant_id,
            account_id=account.id,
            amount=amount,
            reference=reference,
            ref=ref,
            status=MoveStatus.PENDING,
            created_at=START,
        )
        calldata = self.platform.coin.encode("mint", account.address, amount, ref)
        self.add(
            top_up,
            self.operation(
                "topup.mint",
                ref,
                top_up,
                calldata,
                signer="treasury",
                credit_address=account.address,
                credit_amount=amount,
            ),
        )
        return top_up

    def redemption(self, account: Account, amount: int) -> Redemption:
        reference = f"payout {next(self._number)}"
        ref = word(f"plaza/redemption/{self.merchant_id}/{reference}")
        redemption = Redemption(
            id=self.ids.new("red"),
            merchant_id=self.merchant_id,
            account_id=account.id,
            amount=amount,
            reference=reference,
            ref=ref,
            status=MoveStatus.PENDING,
            created_at=START,
        )
        calldata = self.platform.coin.encode("redeem", amount, ref)
        self.add(
            redemption,
            self.operation(
                "redemption.burn",
                ref,
                redemption,
                calldata,
                signer=f"managed:{account.managed_index}",
                debit_address=account.address,
                debit_amount=amount,
            ),
        )
        return redemption

    def transfer(self, sender: Account, to: str, amount: int) -> Transfer:
        nonce = word(f"transfer {next(self._number)} of {self.merchant_id}")
        valid_before = START + 3650 * DAY
        digest = typed_data.transfer_authorization_digest(
            chain_id=self.platform.manifest.chain_id,
            coin=self.platform.coin_address,
            sender=sender.address,
            to=to,
            value=amount,
            valid_after=0,
            valid_before=valid_before,
            nonce=nonce,
        )
        signature = self.signer(sender).sign_hash(digest)
        transfer = Transfer(
            id=self.ids.new("tra"),
            merchant_id=self.merchant_id,
            from_account_id=sender.id,
            from_address=sender.address,
            to_address=to,
            amount=amount,
            nonce=nonce,
            status=MoveStatus.PENDING,
            created_at=START,
        )
        calldata = self.platform.coin.encode(
            TRANSFER_WITH_AUTHORIZATION,
            sender.address,
            to,
            amount,
            0,
            valid_before,
            nonce,
            signature,
        )
        self.add(transfer, self.operation("transfer.send", nonce, transfer, calldata))
        return transfer

    # ------------------------------------------------------------------------- purchases

    def purchase(self, payer: Account, payee: Account, amount: int, **more: Any) -> Purchase:
        order_id = f"A-{next(self._number)}"
        terms = {
            "payer": payer.address,
            "payee": payee.address,
            "operator": self.platform.manifest.accounts["operator"],
            "feeReceiver": self.platform.manifest.accounts["fee_receiver"],
            "maxAmount": amount,
            "minFeeBps": FEE_BPS,
            "maxFeeBps": FEE_BPS,
            "authorizeBefore": START + 100 * DAY,
            "reclaimAfter": START + 200 * DAY,
            "disputeWindow": DISPUTE_WINDOW,
            "orderRef": word(order_id),
            **more,
        }
        order_hash = typed_data.order_hash(
            chain_id=self.platform.manifest.chain_id,
            escrow=self.platform.escrow_address,
            terms=terms,
        )
        purchase = Purchase(
            id=self.ids.new("pur"),
            merchant_id=self.merchant_id,
            order_id=order_id,
            payer_account_id=payer.id,
            payee_account_id=payee.id,
            amount=amount,
            fee_bps=FEE_BPS,
            terms=terms,
            order_hash=order_hash,
            status=PurchaseStatus.CREATED,
            created_at=START,
        )
        self.add(purchase)
        return purchase

    def pull_signature(self, account: Account, amount: int, nonce: str, before: int) -> bytes:
        digest = typed_data.receive_authorization_digest(
            chain_id=self.platform.manifest.chain_id,
            coin=self.platform.coin_address,
            sender=account.address,
            to=self.platform.escrow_address,
            value=amount,
            valid_after=0,
            valid_before=before,
            nonce=nonce,
        )
        return self.signer(account).sign_hash(digest)

    def authorize(self, purchase: Purchase) -> Operation:
        payer = self.get(Account, purchase.payer_account_id)
        before = purchase.terms["authorizeBefore"]
        signature = self.pull_signature(payer, purchase.amount, purchase.order_hash, before)
        calldata = self.platform.escrow.encode(
            "authorizeWithSignature", purchase.terms, purchase.amount, 0, before, signature
        )
        return self._act(purchase, "authorize", purchase.order_hash, calldata)

    def deliver(self, purchase: Purchase) -> Operation:
        calldata = self.platform.escrow.encode("confirmDelivery", purchase.terms)
        return self._act(purchase, "deliver", purchase.order_hash, calldata)

    def release(self, purchase: Purchase, amount: int, so_far: int = 0) -> Operation:
        calldata = self.platform.escrow.encode("release", purchase.terms, amount, FEE_BPS)
        ref = word(f"{purchase.order_hash}/release/{so_far}")
        return self._act(purchase, "release", ref, calldata)

    def confirm(self, purchase: Purchase, amount: int) -> Operation:
        """The payer's own release: signed, and relayed by the operator."""
        payer = self.get(Account, purchase.payer_account_id)
        fields = {"orderHash": purchase.order_hash, "amount": amount}
        intent = self._intent(payer, "Release", fields)
        calldata = self.platform.escrow.encode(
            "releaseWithSignature", purchase.terms, amount, *intent
        )
        ref = word(f"{purchase.order_hash}/confirm/{intent[0]}")
        return self._act(purchase, "release", ref, calldata)

    def void(self, purchase: Purchase, amount: int, so_far: int = 0) -> Operation:
        calldata = self.platform.escrow.encode("void", purchase.terms, amount)
        return self._act(purchase, "void", word(f"{purchase.order_hash}/void/{so_far}"), calldata)

    def refund(self, purchase: Purchase, amount: int) -> Operation:
        payee = self.get(Account, purchase.payee_account_id)
        refund_ref = word(f"refund {next(self._number)}")
        nonce = typed_data.refund_nonce(purchase.order_hash, refund_ref)
        before = START + 3650 * DAY
        signature = self.pull_signature(payee, amount, nonce, before)
        calldata = self.platform.escrow.encode(
            "refundWithSignature", purchase.terms, amount, refund_ref, 0, before, signature
        )
        return self._act(purchase, "refund", nonce, calldata)

    def dispute(self, purchase: Purchase, evidence_hash: str) -> Operation:
        payer = self.get(Account, purchase.payer_account_id)
        fields = {"orderHash": purchase.order_hash, "evidenceHash": evidence_hash}
        intent = self._intent(payer, "Dispute", fields)
        calldata = self.platform.escrow.encode(
            "disputeWithSignature", purchase.terms, evidence_hash, *intent
        )
        return self._act(purchase, "dispute", word(f"{purchase.order_hash}/dispute"), calldata)

    def evidence(self, purchase: Purchase, party: Account, evidence_hash: str) -> Operation:
        fields = {
            "party": party.address,
            "orderHash": purchase.order_hash,
            "evidenceHash": evidence_hash,
        }
        intent = self._intent(party, "Evidence", fields)
        calldata = self.platform.escrow.encode(
            "submitEvidenceWithSignature", purchase.terms, party.address, evidence_hash, *intent
        )
        ref = word(f"{purchase.order_hash}/{evidence_hash}")
        return self._act(purchase, "evidence", ref, calldata)

    def resolve(self, purchase: Purchase, to_payer: int, decision_hash: str) -> Operation:
        calldata = self.platform.escrow.encode(
            "resolve", purchase.terms, to_payer, FEE_BPS, decision_hash
        )
        ref = word(f"{purchase.order_hash}/resolve")
        return self._act(purchase, "resolve", ref, calldata, signer="arbiter")

    def _intent(self, account: Account, kind: str, fields: Any) -> tuple[int, int, bytes]:
        nonce, deadline = next(self._number) << 64, START + 3650 * DAY
        digest = typed_data.intent_digest(
            chain_id=self.platform.manifest.chain_id,
            contract=self.platform.escrow_address,
            kind=kind,
            message={**fields, "nonce": nonce, "deadline": deadline},
        )
        return nonce, deadline, self.signer(account).sign_hash(digest)

    def _act(
        self, purchase: Purchase, action: str, ref: str, calldata: str, **more: Any
    ) -> Operation:
        operation = self.operation(f"purchase.{action}", ref, purchase, calldata, **more)
        self.add(operation)
        return operation

    def ship(self, purchase: Purchase) -> None:
        """The shop's word, as the bridge writes it."""

        def write(session: Session) -> None:
            row = session.get_one(Purchase, purchase.id)
            row.shipped_at = START + 1
            row.status = PurchaseStatus.SHIPPED

        self.store.write_now(write)


def newest_block(session: Session) -> int:
    return session.scalar(select(func.max(Block.number))) or 0
