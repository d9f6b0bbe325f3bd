"""Operations of one kind, coalesced into one call of the contract.

The arguments of a call and an item of its batch are the same words in the same order, so a batch is
put together out of the stored calldata as it is: nothing is decoded, and encoded again, for each
operation.

| call | batch | what of it fails |
|---|---|---|
| `authorizeWithSignature` | `authorizeMany` | each item by itself (`BatchItemFailed`) |
| `release` | `releaseMany` | each item by itself |
| `releaseWithSignature` | `releaseManyWithSignatures` | each item by itself |
| `admit` | `admitMany` | all or nothing; of one kind of member, until one time |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.chain.codec import ContractCodec

MAX_ITEMS = 50  # of one batch
# What a batch may use of a block: several of them, and whatever others send, fit beside it.
BLOCK_SHARE = 4

_WORD = 64  # hex digits
_SELECTOR = 10  # "0x" and four bytes


@dataclass(frozen=True, slots=True)
class BatchKind:
    """How calls of one function become one call.

    Attributes:
        selector: first four bytes of the calldata of the batch, as 0x-prefixed hex.
        item_gas: what one item may need.
        spare_gas: that must be left beside the items'.
        all_or_nothing: the batch fails as a whole, and answers nothing.
    """

    selector: str
    item_gas: int
    spare_gas: int
    all_or_nothing: bool
    fits: Callable[[str], bool]
    shared: Callable[[str], str]
    join: Callable[[Sequence[str]], str]

    def gas(self, items: int) -> int:
        """The gas limit of a batch of so many."""
        return self.spare_gas + items * self.item_gas

    def most(self, block_gas_limit: int) -> int:
        """How many items a batch may have on a chain with such blocks; below 2, none."""
        room = block_gas_limit // BLOCK_SHARE - self.spare_gas
        return min(MAX_ITEMS, room // self.item_gas)

    def encode(self, calldatas: Sequence[str]) -> str:
        """The calldata of the batch of these calls."""
        return self.selector + self.join([calldata[_SELECTOR:] for calldata in calldatas])

    def read(self, answer: str, items: int) -> list[bool] | None:
        """Which items a simulated batch has done; None if it did not answer that."""
        if self.all_or_nothing:
            return [True] * items if answer == "0x" else None
        words = [answer[at : at + _WORD] for at in range(2, len(answer), _WORD)]
        if len(words) != 2 + items or int(words[1], 16) != items:
            return None
        return [int(word, 16) == 1 for word in words[2:]]


def _word(value: int) -> str:
    return f"{value:064x}"


def _join_static(items: Sequence[str]) -> str:
    """An array of structs of words."""
    return _word(32) + _word(len(items)) + "".join(items)


def _fits_signed(arguments: str) -> bool:
    """Whether these are terms, three words, and a signature right behind them."""
    return len(arguments) > 16 * _WORD and arguments[14 * _WORD : 15 * _WORD] == _word(15 * 32)


def _join_dynamic(items: Sequence[str]) -> str:
    """An array of structs that have a length of their own: offsets, then the structs."""
    offsets, at = [], len(items) * _WORD // 2
    for item in items:
        offsets.append(_word(at))
        at += len(item) // 2
    return _word(32) + _word(len(items)) + "".join(offsets) + "".join(items)


def _join_admissions(items: Sequence[str]) -> str:
    """The accounts as an array, then kinds and time, which all have in common."""
    accounts = "".join(item[:_WORD] for item in items)
    return _word(3 * 32) + items[0][_WORD:] + _word(len(items)) + accounts


def _share_nothing(_arguments: str) -> str:
    return ""


def find_batch_kinds() -> dict[str, BatchKind]:
    """The calls that have a batch, by the selector of the single call."""
    escrow, coin = ContractCodec("PurchaseEscrow"), ContractCodec("PlatformCoin")
    return {
        # A payment takes up to 70,000; the spare gas is for a member's smart-contract wallet, which
        # checks its signature by itself.
        escrow.selector("authorizeWithSignature"): BatchKind(
            escrow.selector("authorizeMany"),
            item_gas=150_000,
            spare_gas=1_000_000,
            all_or_nothing=False,
            fits=_fits_signed,
            shared=_share_nothing,
            join=_join_dynamic,
        ),
        # Up to 300,000 are the credit book's. The escrow wants 310,000 to be there for it, and a
        # call passes 63/64 on: the spare gas is for the last item.
        escrow.selector("release"): BatchKind(
            escrow.selector("releaseMany"),
            item_gas=450_000,
            spare_gas=500_000,
            all_or_nothing=False,
            fits=lambda arguments: len(arguments) == 13 * _WORD,
            shared=_share_nothing,
            join=_join_static,
        ),
        # As a release, with up to 135,000 of its own: a nonce and the signature, and three parties
        # whose coin has to wait for them. The escrow wants the 310,000 before it looks at the
        # signature, too; the spare gas is for that of the last item, and as much again for members'
        # smart-contract wallets. One that is short of it nevertheless goes alone.
        escrow.selector("releaseWithSignature"): BatchKind(
            escrow.selector("releaseManyWithSignatures"),
            item_gas=450_000,
            spare_gas=1_000_000,
            all_or_nothing=False,
            fits=_fits_signed,
            shared=_share_nothing,
            join=_join_dynamic,
        ),
        coin.selector("admit"): BatchKind(
            coin.selector("admitMany"),
            item_gas=60_000,
            spare_gas=100_000,
            all_or_nothing=True,
            fits=lambda arguments: len(arguments) == 3 * _WORD,
            shared=lambda arguments: arguments[_WORD:],
            join=_join_admissions,
        ),
    }
