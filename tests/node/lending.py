"""Credit on a test platform, by transactions straight to the chain, as wallets and the desk's own
tools send them."""

from __future__ import annotations

import itertools
from typing import Any

from node.chain import typed_data
from node.chain.codec import ContractCodec
from node.keys import LocalSigner
from node.store.models import Account, Purchase
from tests.node.platform import COIN, DAY, SELLER, START, Platform, Shop, Worker, word

LENDER = 4
APR_BPS = 1_200
HOLDBACK_BPS = 2_000
GAS = 1_500_000


class Lending:
    """A lender, a reserve, and sellers with lines."""

    def __init__(self, platform: Platform, shop: Shop, worker: Worker) -> None:
        self.platform = platform
        self.shop = shop
        self.worker = worker
        self.book = ContractCodec("CreditBook")
        self.pool = ContractCodec("LenderPool")
        self._number = itertools.count(1)

    @property
    def book_address(self) -> str:
        return self.platform.manifest.contracts["CreditBook"].address

    @property
    def pool_address(self) -> str:
        return self.platform.manifest.contracts["LenderPool"].address

    async def tell_book(self, signer: LocalSigner, function: str, *args: Any) -> None:
        data = self.book.encode(function, *args)
        await self.platform.send(signer, self.book_address, data, gas=GAS)

    async def desk(self, key: str, function: str, *args: Any) -> None:
        """A call of the book by a key of the platform that the worker does not sign for."""
        await self.tell_book(self.platform.seed.platform(key), function, *args)

    async def approve(self, signer: LocalSigner, spender: str) -> None:
        data = self.platform.coin.encode("approve", spender, 2**255)
        await self.platform.send(signer, self.platform.coin_address, data)

    async def fund(self, deposit: int = 100 * COIN, reserve: int = 10 * COIN) -> Account:
        """A lender's deposit, and a reserve before it; return the lender."""
        lender, sponsor = self.shop.account(LENDER), self.shop.account(LENDER)
        self.shop.top_up(lender, deposit)
        self.shop.top_up(sponsor, reserve)
        await self.worker.settle()
        signer = self.shop.signer(lender)
        await self.approve(signer, self.pool_address)
        data = self.pool.encode("deposit", deposit, lender.address)
        await self.platform.send(signer, self.pool_address, data)
        # Not the treasury's own: the worker signs for that.
        await self.approve(self.shop.signer(sponsor), self.book_address)
        await self.tell_book(self.shop.signer(sponsor), "fundReserve", reserve)
        return lender

    async def seller(self, limit: int = 20 * COIN, coin: int = 0, **terms: Any) -> Account:
        """A seller who has accepted an offer."""
        seller = self.shop.account(SELLER)
        if coin:
            self.shop.top_up(seller, coin)
        await self.worker.settle()
        await self.accept(seller, limit=limit, **terms)
        return seller

    async def accept(self, seller: Account, **terms: Any) -> str:
        """Have a seller accept an offer; return the offer's hash."""
        underwriter = self.platform.seed.platform("underwriter")
        offer = {
            "seller": seller.address,
            "underwriter": underwriter.address,
            "limit": 20 * COIN,
            "aprBps": APR_BPS,
            "drawFeeBps": 0,
            "holdbackBps": HOLDBACK_BPS,
            "termDays": 3_650,
            "expires": START + 3_650 * DAY,
            "disclosureHash": word("disclosure"),
            "modelHash": word("model"),
            "nonce": next(self._number),
            **terms,
        }
        hash_ = typed_data.offer_hash(
            chain_id=self.platform.manifest.chain_id, book=self.book_address, offer=offer
        )
        signature = underwriter.sign_hash(bytes.fromhex(hash_[2:]))
        await self.tell_book(self.shop.signer(seller), "accept", offer, signature)
        return hash_

    async def draw(self, seller: Account, amount: int) -> None:
        await self.tell_book(self.shop.signer(seller), "draw", amount)

    async def touch(self, seller: Account) -> None:
        await self.tell_book(self.shop.signer(seller), "touch", seller.address)

    async def repay(self, seller: Account, amount: int) -> None:
        """By the seller, who has approved the book."""
        await self.tell_book(self.shop.signer(seller), "repay", seller.address, amount)

    async def sell(self, buyer: Account, seller: Account, amount: int) -> Purchase:
        """A purchase from order to payout; the buyer confirms by releasing at once."""
        purchase = self.shop.purchase(buyer, seller, amount, **await self._terms_now())
        self.shop.authorize(purchase)
        await self.worker.settle()
        terms = purchase.terms
        data = self.platform.escrow.encode("release", terms, amount, terms["maxFeeBps"])
        signer = self.shop.signer(buyer)
        await self.platform.send(signer, self.platform.escrow_address, data, gas=GAS)
        return purchase

    async def _terms_now(self) -> dict[str, int]:
        now = await self.platform.engine.now()
        return {"authorizeBefore": now + 100 * DAY, "reclaimAfter": now + 200 * DAY}

    async def travel(self, days: float) -> None:
        """Let time pass; the next block has it."""
        engine = self.platform.engine
        await engine.set_time(await engine.now() + int(days * DAY))

    async def index(self) -> None:
        await self.worker.index()
