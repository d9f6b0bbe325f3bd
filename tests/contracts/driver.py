"""Contracts and model side by side: each operation is done on both, and everything compared.

What a view of a contract returns depends on the storage it reads and, for some, on the time. So a
view is run again only when a slot it has read was written, or (for those of the second kind) when
its turn comes; every other view stands as it was and is compared all the same. That makes it
affordable to compare the whole state after every operation.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from coincurve import PrivateKey
from eth_abi import encode
from eth_utils import keccak, to_canonical_address
from eth_utils.abi import collapse_if_tuple, function_abi_to_4byte_selector

from tests.contracts.chain import CHAIN_ID
from tests.contracts.fastchain import FastChain
from tests.contracts.model import Refused, Signed, World
from tests.contracts.system import START, Cast, System, deploy

DOMAINS = {
    "coin": "Plaza Coin",
    "escrow": "Plaza PurchaseEscrow",
    "book": "Plaza CreditBook",
    "pool": "Plaza LenderPool",
}
_PAYMENT = (
    "(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)
_INTENT = "uint256 nonce,uint256 deadline)"
TYPES = {
    "Transfer": f"TransferWithAuthorization{_PAYMENT}",
    "Receive": f"ReceiveWithAuthorization{_PAYMENT}",
    "Cancel": "CancelAuthorization(address authorizer,bytes32 nonce)",
    "Permit": "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)",
    "Terms": "Terms(address payer,address payee,address operator,address feeReceiver,"
    "uint96 maxAmount,uint16 minFeeBps,uint16 maxFeeBps,uint40 authorizeBefore,"
    "uint40 reclaimAfter,uint32 disputeWindow,bytes32 orderRef)",
    "Offer": "Offer(address seller,address underwriter,uint72 limit,uint16 aprBps,"
    "uint16 drawFeeBps,uint16 holdbackBps,uint16 termDays,uint40 expires,"
    "bytes32 disclosureHash,bytes32 modelHash,uint256 nonce)",
    "Release": f"Release(bytes32 orderHash,uint256 amount,{_INTENT}",
    "Void": f"Void(bytes32 orderHash,uint256 amount,{_INTENT}",
    "Reclaim": f"Reclaim(bytes32 orderHash,{_INTENT}",
    "Dispute": f"Dispute(bytes32 orderHash,bytes32 evidenceHash,{_INTENT}",
    "Evidence": f"Evidence(address party,bytes32 orderHash,bytes32 evidenceHash,{_INTENT}",
    "Acceptance": f"Acceptance(bytes32 offerHash,{_INTENT}",
    "Draw": f"Draw(address seller,uint256 amount,{_INTENT}",
    "Holdback": f"Holdback(address seller,uint16 holdbackBps,{_INTENT}",
    "Redemption": f"Redemption(address owner,uint256 shares,{_INTENT}",
}
_TYPEHASHES = {name: keccak(text=text) for name, text in TYPES.items()}
_DOMAIN_TYPEHASH = keccak(
    text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_PURCHASE_RELEASED = keccak(text="PurchaseReleased(bytes32,uint256,uint256,uint256,uint256)")
_SALE_HOOK_FAILED = keccak(text="SaleHookFailed(bytes32)")


class Mismatch(AssertionError):
    """Contract and model do not agree, or an invariant does not hold."""


def word(value: int | bytes) -> bytes:
    """One ABI word: a number, 32 bytes, or an address (20 bytes)."""
    return value.rjust(32, b"\0") if isinstance(value, bytes) else value.to_bytes(32)


def struct_hash(name: str, *members: int | bytes) -> bytes:
    return keccak(_TYPEHASHES[name] + b"".join(map(word, members)))


@dataclass
class View:
    """A view of a contract, what it must return by the model, and what it returned last."""

    name: str
    to: bytes
    data: bytes
    expected: Callable[[], tuple[int, ...]]
    pick: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None
    words: tuple[int, ...] = ()
    timed: bool = False
    seen_at: int = -1


@dataclass
class Call:
    """A transaction, and what it does in the model."""

    by: str
    contract: str
    function: str
    args: tuple[Any, ...]
    expect: Callable[[], Any]


class Driver:
    """Does operations on both sides. `world` is the model."""

    def __init__(self) -> None:
        self.cast = Cast.derive()
        self.chain = FastChain(START)
        self.system: System = deploy(self.chain, self.cast)
        contracts = self.system.contracts()
        self.address: dict[str, bytes] = {
            name: to_canonical_address(contract.address) for name, contract in contracts.items()
        }
        self.keys: dict[str, PrivateKey] = {}
        for name in vars(self.cast):
            account = getattr(self.cast, name)
            self.address[name] = to_canonical_address(account.address)
            self.keys[name] = PrivateKey(bytes(account.key))
        self.names = {address: name for name, address in self.address.items()}
        self._functions = {
            (name, item["name"], len(item["inputs"])): (
                function_abi_to_4byte_selector(item),
                [collapse_if_tuple(part) for part in item["inputs"]],
            )
            for name, contract in contracts.items()
            for item in contract.abi
            if item["type"] == "function"
        }
        self._errors = {selector: item["name"] for selector, item in self.chain._errors.items()}
        self.world = World(self.chain.time, {})
        self.views: dict[str, View] = {}
        self._readers: dict[tuple[bytes, int], set[str]] = {}
        self._timed: list[str] = []
        self._turn = 0
        self.silent: set[bytes] = set()  # contracts whose views are not asked now
        self.calls = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.journal: list[str] = []
        self.logs: list[tuple[bytes, list[int], bytes]] = []

    # -------------------------------------------------------------- going back

    def save(self) -> Any:
        views = {name: copy.copy(view) for name, view in self.views.items()}
        readers = {slot: set(names) for slot, names in self._readers.items()}
        return self.chain.snapshot(), copy.deepcopy(self.world), views, readers

    def restore(self, saved: Any) -> None:
        chain, world, views, readers = saved
        self.chain.revert_to(chain)
        # In place: what is expected of a view asks this very object.
        vars(self.world).update(vars(copy.deepcopy(world)))
        self.views = {name: copy.copy(view) for name, view in views.items()}
        self._readers = {slot: set(names) for slot, names in readers.items()}
        self._timed = [name for name, view in self.views.items() if view.timed]
        self.chain.accounts.writes.clear()
        self.journal.clear()

    # --------------------------------------------------------------- signatures

    @cache  # noqa: B019 (drivers live as long as the process)
    def _domain(self, contract: str, flaw: str) -> bytes:
        chain_id = CHAIN_ID + (flaw == "chain")
        other = "book" if contract == "escrow" else "escrow"
        address = self.address[other if flaw == "contract" else contract]
        name = keccak(text=DOMAINS[contract])
        members = (name, keccak(text="1"), chain_id, address)
        return keccak(_DOMAIN_TYPEHASH + b"".join(map(word, members)))

    def digest(self, contract: str, hashed: bytes, flaw: str = "") -> bytes:
        return keccak(b"\x19\x01" + self._domain(contract, flaw) + hashed)

    def sign(self, signer: str, contract: str, hashed: bytes, flaw: str = "") -> bytes:
        """65 bytes over a struct hash; `flaw` may be "signer", "chain" or "contract"."""
        if flaw == "signer":
            signer = "stranger" if signer != "stranger" else "operator"
        digest = self.digest(contract, hashed, flaw)
        signature = self.keys[signer].sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([27 + signature[64]])

    # -------------------------------------------------------------------- doing

    def calldata(self, contract: str, function: str, args: tuple[Any, ...]) -> bytes:
        selector, types = self._functions[contract, function, len(args)]
        return selector + encode(types, args)

    def do(self, call: Call) -> bool:
        """Do it on both sides and compare; whether it went through.

        Raises:
            Mismatch: they do not agree.
        """
        chain, world = self.chain, self.world
        world.now = chain.time
        failures = world.hook_failures
        expected: frozenset[str] = frozenset()
        result = None
        try:
            result = world.attempt(call.expect)
        except Refused as refused:
            expected = refused.errors
        data = self.calldata(call.contract, call.function, call.args)
        self.calls += 1
        self.journal.append(f"{world.now - START:>10}  {self._told(call)}")
        computation = chain.execute(self.address[call.by], self.address[call.contract], data)
        output = bytes(computation.output)
        self.logs = []
        world.now = chain.time
        if computation.is_error:
            error = self._errors.get(output[:4], output.hex() or type(computation.error).__name__)
            self.outcomes[call.function, error] += 1
            self.journal[-1] += f"  -> {error}"
            if not expected:
                raise Mismatch(f"{self._told(call)} reverted with {error}, which it should not")
            if error not in expected:
                raise Mismatch(f"{self._told(call)} reverted with {error}, not {set(expected)}")
            return False
        self.outcomes[call.function, "ok"] += 1
        self.journal[-1] += "  -> ok"
        if expected:
            raise Mismatch(f"{self._told(call)} went through, despite {set(expected)}")
        self.logs = list(computation.get_log_entries())
        self._compare_output(call, result, output)
        self._check_releases(world.hook_failures - failures)
        return True

    def _compare_output(self, call: Call, result: Any, output: bytes) -> None:
        words = [int.from_bytes(output[i : i + 32]) for i in range(0, len(output), 32)]
        if isinstance(result, list | tuple):
            words = words[-len(result) :] if result else []
            result = [int(item) for item in result]
        elif isinstance(result, int):
            result = [result]
        else:
            return
        if words != result:
            raise Mismatch(f"{self._told(call)} returned {words}, not {result}")

    def _check_releases(self, hook_failures: int) -> None:
        """Invariant 6: fee + repayment + paid = amount, to the unit."""
        failed = 0
        for address, topics, data in self.logs:
            if address != self.address["escrow"]:
                continue
            failed += word(topics[0]) == _SALE_HOOK_FAILED
            if word(topics[0]) == _PURCHASE_RELEASED:
                amount, *parts = (int.from_bytes(data[i : i + 32]) for i in range(0, 128, 32))
                if amount != sum(parts):
                    raise Mismatch(f"6: a release of {amount} was split into {parts}")
        if failed != hook_failures:
            raise Mismatch(f"the hook failed {failed} times, not {hook_failures}")

    def _told(self, call: Call) -> str:
        args = ", ".join(self._tell(arg) for arg in call.args)
        return f"{call.by}: {call.contract}.{call.function}({args})"

    def _tell(self, arg: Any) -> str:
        if isinstance(arg, bytes):
            return self.names.get(arg, arg.hex()[:8])
        if isinstance(arg, tuple | list):
            return "(" + ", ".join(map(self._tell, arg)) + ")"
        return "max" if arg == 2**256 - 1 else str(arg)

    # ------------------------------------------------------------------ looking

    def watch(
        self,
        name: str,
        contract: str,
        function: str,
        args: tuple[Any, ...],
        expected: Callable[[], tuple[int, ...]],
        pick: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None,
    ) -> None:
        """Compare what this view returns with what the model expects, from now on."""
        data = self.calldata(contract, function, args)
        self.views[name] = View(name, self.address[contract], data, expected, pick)
        self._run(self.views[name])
        if self.views[name].timed:
            self._timed.append(name)

    def unwatch(self, name: str) -> None:
        view = self.views.pop(name)
        if view.timed:
            self._timed.remove(name)

    def _run(self, view: View) -> None:
        computation, reads, timed = self.chain.trace(view.to, view.data)
        if computation.is_error:
            raise Mismatch(f"the view {view.name} reverted")
        output = bytes(computation.output)
        words = tuple(int.from_bytes(output[i : i + 32]) for i in range(0, len(output), 32))
        view.words, view.timed, view.seen_at = words, timed, self.chain.time
        for slot in reads:
            self._readers.setdefault(slot, set()).add(view.name)

    def look(self, name: str) -> tuple[int, ...]:
        """What a view returns now."""
        view = self.views[name]
        if view.timed and view.seen_at != self.chain.time:
            self._run(view)
        return view.words

    def compare(self, *, everything: bool = False) -> None:
        """Compare every view with the model: those that can have changed are run again."""
        self.world.now = self.chain.time
        writes, stale = self.chain.accounts.writes, set()
        for slot in writes:
            stale |= self._readers.get(slot, set())
        writes.clear()
        if self._timed:
            self._turn += 1
            stale.add(self._timed[self._turn % len(self._timed)])
        if everything:
            stale.update(self._timed)
        for name, view in self.views.items():
            if view.to in self.silent:
                continue
            if name in stale:
                self._run(view)
            elif view.timed:
                continue
            seen = view.pick(view.words) if view.pick else view.words
            expected = view.expected()
            if seen != expected:
                raise Mismatch(f"{name} is {seen}, not {expected}")

    # ------------------------------------------------------- signatures in calls

    def intent(
        self,
        contract: str,
        signer: str,
        kind: str,
        members: tuple[int | bytes, ...],
        *,
        flaw: str = "",
        key: int = 0,
        life: int = 1_000,
        tampered: tuple[int | bytes, ...] | None = None,
    ) -> tuple[int, int, bytes, Signed]:
        """(nonce, deadline, signature, what the model knows of it) of an intent.

        `flaw`: "" none, "signer", "chain", "contract", "expired" (the deadline is this very
        moment), "nonce" (not the next one), "tampered" (signed for other members).
        """
        now = self.chain.time
        counter = self.world.intents.get((contract, signer, key), 0) + (flaw == "nonce")
        nonce = (key << 64) | counter
        deadline = now if flaw == "expired" else now + life
        signed = tampered if flaw == "tampered" and tampered else members
        signature = self.sign(signer, contract, struct_hash(kind, *signed, nonce, deadline), flaw)
        good = signed is members and flaw not in ("signer", "chain", "contract")
        return nonce, deadline, signature, Signed(good, (key, counter), 0, deadline)

    def payment(
        self,
        from_: str,
        to: str,
        value: int,
        nonce: bytes,
        *,
        kind: str = "Receive",
        flaw: str = "",
    ) -> tuple[int, int, bytes, Signed]:
        """(validAfter, validBefore, signature, what the model knows of it): EIP-3009.

        `flaw` as in `intent`; "early" is valid only after this moment.
        """
        now = self.chain.time
        after = now if flaw == "early" else now - 1
        # Some for this very second, others for long: those can be tried again later.
        before = now if flaw == "expired" else now + (1 if value % 3 == 0 else 10_000_000)
        signed = value + 1 if flaw == "tampered" else value
        hashed = struct_hash(
            kind, self.address[from_], self.address[to], signed, after, before, nonce
        )
        signature = self.sign(from_, "coin", hashed, flaw)
        good = flaw not in ("signer", "chain", "contract", "tampered")
        return after, before, signature, Signed(good, nonce, after, before)
