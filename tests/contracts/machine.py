"""What can happen on the platform: every operation of every contract, by the right hand or a wrong
one, at any time, well signed or not.

An action is a method of `Plaza` that takes a source of randomness and does one or a few operations
on contracts and model. The same actions are driven by Hypothesis (test_invariants.py, which shrinks
what fails) and by a plain random generator (scripts/fuzz.py, for many more of them).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random
from typing import Any

from eth_utils import keccak

from tests.contracts.driver import Call, Driver, Mismatch, struct_hash
from tests.contracts.model import (
    ACTIVE,
    AUTHORIZED,
    BPS,
    BPS_YEAR,
    CHARGE_OFF_AFTER,
    CHARGED_OFF,
    CLOSED,
    DAY,
    DEFAULT_AFTER,
    DEFAULTED,
    DELIVERED,
    DISPUTED,
    GRACE,
    LINE_CLOSED,
    MOST_WITH_PENALTY_BPS,
    NONE,
    SYSTEM,
    UNLIMITED,
    YEAR,
    Line,
    Order,
    Refused,
    Signed,
)
from tests.contracts.system import (
    COIN,
    FOREVER,
    MINT_CAPACITY,
    MINT_REFILL_PER_SECOND,
    ROLES,
)

BUYERS = ["buyer", "buyer2"]
SELLERS = ["seller", "seller2", "seller3"]
LENDERS = ["lender", "lender2"]
TRADERS = [*BUYERS, *SELLERS, *LENDERS, "fee_receiver"]
CONTRACTS = ["escrow", "book", "pool"]
FLAWS = ["signer", "chain", "contract", "expired", "nonce", "tampered"]
ORDERS_IN_PLAY = 6
WINDOWS = [0, 0, 1, 3 * DAY, 7 * DAY, 30 * DAY, 30 * DAY]  # of orders, to dispute
LONGEST_WAIT = 2 * YEAR

LINE_STATUS = ["None", "Active", "Defaulted", "Closed", "ChargedOff"]
ORDER_STATUS = ["None", "Authorized", "Delivered", "Closed", "Disputed"]

# What may lower a debt (invariant 10).
PAYMENTS = {
    "repay", "repayWithAuthorization", "waive", "chargeOff", "release", "releaseWithSignature",
    "releaseMany", "releaseManyWithSignatures", "charge", "resolve",
}  # fmt: skip


class Plaza(Driver):
    """The system with members, coin, lenders and open lines; its actions and its invariants."""

    def __init__(self) -> None:
        super().__init__()
        self.terms: dict[bytes, tuple[Any, ...]] = {}
        self.offers: list[tuple[dict[str, Any], bytes]] = []
        self.replayable: list[Call] = []
        self.serial = 0
        self.rules: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self._set_up()
        self._start = self.save()
        self._begin_episode()

    # ------------------------------------------------------------------- the start

    def _set_up(self) -> None:
        world, system = self.world, self.system
        world.roles = {role: self._name_of_holder(role) for role in ROLES}
        for name in CONTRACTS:
            world.kinds[name], world.member_until[name] = SYSTEM, FOREVER
        for name in vars(self.cast):
            account = self.chain.call(
                system.coin.functions.accountOf(getattr(self.cast, name).address)
            )
            if account.kinds:
                world.kinds[name], world.member_until[name] = account.kinds, account.memberUntil
        limit = (MINT_CAPACITY, MINT_REFILL_PER_SECOND, MINT_CAPACITY, self.chain.time - 1)
        world.mint_limits["treasury"] = limit
        world.sales_sources = {"escrow"}
        self._watch_all()
        self.compare(everything=True)

        for name in [*TRADERS, "treasurer"]:
            amount = 1_000_000 * COIN if name in LENDERS else 100_000 * COIN
            self._mint("treasury", name, amount)
        for name in [*TRADERS, "treasurer"]:
            for spender in CONTRACTS:
                self.approve_by(name, spender, UNLIMITED)
        self._send("risk", "book", "setCaps", 200_000 * COIN, 500_000 * COIN, 500)
        self._send("treasurer", "book", "fundReserve", 5_000 * COIN)
        for lender in LENDERS:
            self._deposit(lender, 400_000 * COIN, lender)
        for seller in SELLERS[:2]:
            self._accept(Random(seller), seller, honest=True)
            self._draw(seller, 20_000 * COIN + 7)
        self.compare(everything=True)

    def _name_of_holder(self, role: str) -> str:
        holder = self.cast.holder_of(role)
        return next(name for name in vars(self.cast) if getattr(self.cast, name) is holder)

    def reset(self) -> None:
        """Back to the start of a sequence."""
        self.restore(self._start)
        self._begin_episode()

    def _begin_episode(self) -> None:
        self.terms.clear()
        self.offers.clear()
        self.replayable.clear()
        self.closed: set[bytes] = set()
        self.serial = 0
        self.calls_at_start = self.calls
        self._remember()

    # -------------------------------------------------------------- what is compared

    def _watch_all(self) -> None:
        world = self.world
        for name in [*vars(self.cast), *CONTRACTS]:
            self.watch(
                f"coin of {name}", "coin", "accountOf", (self.address[name],),
                lambda name=name: (
                    world.balances.get(name, 0),
                    world.member_until.get(name, 0),
                    world.kinds.get(name, 0),
                    int(name in world.frozen),
                ),
            )  # fmt: skip
        for name in [*TRADERS, "pool"]:
            self.watch(
                f"claimable of {name}", "escrow", "claimable", (self.address[name],),
                lambda name=name: (world.claimable.get(name, 0),),
            )  # fmt: skip
        for name in [*LENDERS, "buyer"]:
            self.watch(
                f"shares of {name}", "pool", "balanceOf", (self.address[name],),
                lambda name=name: (world.shares.get(name, 0),),
            )  # fmt: skip
        self.watch("supply", "coin", "totalSupply", (), lambda: (world.supply,))
        self.watch("paused", "coin", "paused", (), lambda: (int(world.paused),))
        self.watch(
            "mint limit", "coin", "mintLimitOf", (self.address["treasury"],),
            lambda: (*world.mint_limits["treasury"][:2], world.mintable("treasury")),
        )  # fmt: skip
        self.watch("shares", "pool", "totalSupply", (), lambda: (world.share_supply,))
        self.watch("assets", "pool", "totalAssets", (), lambda: (world.total_assets,))
        self.watch("book value", "book", "bookValue", (), lambda: (world.book_value,))
        self.watch("line cap", "book", "lineCap", (), lambda: (world.line_cap,))
        self.watch("totals", "book", "totals", (), self._expected_totals, self._pick_totals)
        for seller in SELLERS:
            self.watch(
                f"line of {seller}", "book", "lineOf", (self.address[seller],),
                lambda seller=seller: self._expected_line(seller), self._pick_line,
            )  # fmt: skip
            self.watch(
                f"statement of {seller}", "book", "statementOf", (self.address[seller],),
                lambda seller=seller: self._expected_statement(seller), self._pick_statement,
            )  # fmt: skip

    def _expected_totals(self) -> tuple[int, ...]:
        world = self.world
        interest = world.total_interest * BPS_YEAR
        return (
            world.total_principal,
            world.reserve,
            world.principal_cap,
            world.issuance_rate,
            int(interest),
            world.reserve_bps,
            int(world.draws_paused),
        )

    def _pick_totals(self, seen: tuple[int, ...]) -> tuple[int, ...]:
        principal, reserve, cap, start, rate, interest, bps, paused = seen
        interest += rate * (self.chain.time - start)
        return principal, reserve, cap, rate, interest, bps, paused

    def _expected_line(self, seller: str) -> tuple[int, ...]:
        line = self.world.lines.get(seller, Line()).at(self.world.now)
        dues = line.status == ACTIVE and line.has_debt
        return (
            line.principal,
            int(line.interest * BPS_YEAR),
            line.status,
            line.window_end,
            line.past_due_since if line.status == ACTIVE else 0,
            line.installment if dues else 0,
            line.installment_due,
            line.holdback,
            line.apr,
            line.limit,
            line.draw_until,
            line.draw_fee,
            line.agreed_holdback,
            line.interest_due,
            line.past_due_interest,
            line.past_due_principal,
            line.loss_pool,
            line.loss_reserve,
        )

    def _pick_line(self, seen: tuple[int, ...]) -> tuple[int, ...]:
        """Leaves out when it was touched, how its dues are kept, and what has no meaning now."""
        principal, interest, _, status, _, window_end, since, installment, *rest = seen
        active = status == ACTIVE
        return (
            principal,
            interest,
            status,
            window_end,
            since if active else 0,
            installment if active and (principal or interest) else 0,
            *rest,
        )

    def _expected_statement(self, seller: str) -> tuple[int, ...]:
        now = self.world.now
        line = self.world.lines.get(seller, Line()).at(now)
        return (
            line.status,
            int(line.delinquent(now)),
            line.window_end,
            line.past_due_since,
            line.principal,
            line.interest_owed,
            line.payoff,
            line.past_due,
            line.interest_due + line.installment_due,
            line.available(now),
            line.holdback_now(now) if line.status != LINE_CLOSED else 0,
        )

    def _pick_statement(self, seen: tuple[int, ...]) -> tuple[int, ...]:
        """Of a line without debt that can have none any more, the share of a sale is nothing."""
        return seen if seen[0] != LINE_CLOSED else (*seen[:-1], 0)

    def _watch_order(self, key: bytes) -> None:
        def expected() -> tuple[int, ...]:
            order = self.world.orders[key]
            deadline = order.deadline if order.status in (DELIVERED, DISPUTED) else 0
            return order.held, order.refundable, deadline, order.status

        def pick(seen: tuple[int, ...]) -> tuple[int, ...]:
            held, refundable, deadline, status = seen
            return held, refundable, deadline if status in (DELIVERED, DISPUTED) else 0, status

        self.watch(f"order {key.hex()[:8]}", "escrow", "orderOf", (key,), expected, pick)

    # ------------------------------------------------------------------- operations

    def _do(self, by: str, contract: str, function: str, args: Any, expect: Any) -> bool:
        call = Call(by, contract, function, tuple(args), expect)
        self.last = call
        self._remember()
        done = self.do(call)
        if done and function.endswith(("WithSignature", "WithAuthorization")):
            self.replayable = [*self.replayable[-11:], call]
        self.compare()
        self._check_all()
        return done

    def _send(self, by: str, contract: str, function: str, *args: Any) -> bool:
        """A call whose operation in the model has the same name and arguments."""
        name = "".join("_" + c.lower() if c.isupper() else c for c in function)
        operation = getattr(self.world, name)
        encoded = [self.address.get(arg, arg) if isinstance(arg, str) else arg for arg in args]
        return self._do(by, contract, function, encoded, lambda: operation(by, *args))

    def _reference(self) -> bytes:
        self.serial += 1
        return keccak(text=f"reference {self.serial}")

    # ------------------------------------------------------------------ choices

    def pick(self, r: Random, items: Sequence[Any]) -> Any:
        return items[r.randrange(len(items))]

    def part(self, r: Random, whole: int) -> int:
        """Of what there is: mostly some or all, at times nothing, dust, or one unit too much."""
        dice = r.randrange(100)
        if dice < 50 and whole > 0:
            return r.randint(1, whole)
        if dice < 75:
            return whole
        if dice < 83:
            return 1
        return 0 if dice < 88 else whole + 1

    def size(self, r: Random, most: int) -> int:
        """An amount of any magnitude up to `most`."""
        return r.randint(1, min(most, 10 ** r.randint(1, 12)))

    def hand(self, r: Random, right: str) -> str:
        """Mostly the hand that may."""
        wrong = [*TRADERS, "stranger", "operator", "guardian"]
        return right if r.randrange(10) else self.pick(r, wrong)

    def flaw(self, r: Random) -> str:
        return "" if r.randrange(4) else self.pick(r, FLAWS)

    def member(self, r: Random) -> str:
        return "stranger" if r.randrange(25) == 0 else self.pick(r, TRADERS)

    def order(self, r: Random, *wanted: int) -> bytes | None:
        """An order in play, mostly in one of these states."""
        orders = self.world.orders
        keys = list(self.terms)
        if wanted and r.randrange(12):
            keys = [key for key in keys if orders[key].status in wanted]
        return self.pick(r, keys) if keys else None

    def relayer(self, r: Random) -> str:
        return self.pick(r, ["stranger", "operator", *TRADERS])

    # ----------------------------------------------------------------------- time

    def wait(self, r: Random) -> None:
        """From a second to two years; mostly days, or lines would only ever default."""
        seconds = 2 ** r.randint(0, 26 if r.randrange(12) == 0 else 21)
        self._travel(self.chain.time + min(LONGEST_WAIT, seconds + r.randint(0, 99)))

    def _travel(self, to: int) -> None:
        self.chain.travel_to(to)
        self.compare(everything=to % 4 == 0)
        self._check_all()

    def strike(self, r: Random) -> None:
        """To the second of a deadline, or one before or after, and do what depends on it."""
        world, edges = self.world, []
        for key in self.terms:
            order = world.orders[key]
            if order.status == NONE:
                edges.append((order.authorize_before, lambda key=key: self.authorize(r, key)))
            if order.status == AUTHORIZED:
                edges.append((order.reclaim_after, lambda key=key: self.reclaim(r, key)))
            if order.status == DELIVERED:
                action = self.pick(r, [self.release, self.dispute])
                edges.append((order.deadline, lambda key=key, act=action: act(r, key)))
            if order.status == DISPUTED:
                action = self.pick(r, [self.expire_dispute, self.resolve])
                edges.append((order.deadline, lambda key=key, act=action: act(r, key)))
        for seller, stored in world.lines.items():
            line = stored.at(world.now)
            on_line = [self.draw, self.repay, self.touch, self.holiday, self.accept, self.waive]
            action = self.pick(r, on_line)
            if line.window_end:
                edges.append((line.window_end, lambda s=seller, act=action: act(r, s)))
            if line.past_due_since:
                for after in (GRACE, DEFAULT_AFTER):
                    at = line.past_due_since + after
                    edges.append((at, lambda s=seller, act=action: act(r, s)))
                at = line.past_due_since + CHARGE_OFF_AFTER
                edges.append((at, lambda s=seller: self.charge_off(r, s)))
            if line.status == ACTIVE:
                edges.append((line.draw_until, lambda s=seller: self.draw(r, s)))
        name = self.pick(r, TRADERS)
        edges.append((world.member_until.get(name, 0), lambda: self.transfer(r, name)))
        # Orders live for days and lines for months: near deadlines first, mostly.
        if r.randrange(8):
            soon = [edge for edge in edges if 1 < edge[0] - self.chain.time < 40 * DAY]
            edges = soon or edges
        ahead = [edge for edge in edges if 1 < edge[0] - self.chain.time < LONGEST_WAIT]
        if not ahead:
            return self.wait(r)
        at, action = self.pick(r, ahead)
        self._travel(at + self.pick(r, [-1, 0, 0, 1]))
        return action()

    # ----------------------------------------------------------------- the coin

    def transfer(self, r: Random, by: str | None = None) -> None:
        by = by or self.member(r)
        to = self.pick(r, CONTRACTS) if r.randrange(12) == 0 else self.member(r)
        balance = self.world.balances.get(by, 0)
        amount = self.part(r, balance) if r.randrange(4) == 0 else self.size(r, balance + 1)
        memo = (self._reference(),) if r.randrange(4) == 0 else ()
        name = "transferWithMemo" if memo else "transfer"
        args = (self.address[to], amount, *memo)
        self._do(by, "coin", name, args, lambda: self.world.transfer(by, to, amount))

    def transfer_many(self, r: Random) -> None:
        by = self.member(r)
        most = self.world.balances.get(by, 0) // 2 + 1
        items = [(self.member(r), self.size(r, most)) for _ in range(r.randint(0, 3))]
        args = ([(self.address[to], amount, self._reference()) for to, amount in items],)
        expect = lambda: self.world.transfer_many(by, items)  # noqa: E731
        self._do(by, "coin", "transferMany", args, expect)

    def transfer_from(self, r: Random) -> None:
        by, from_, to = self.member(r), self.member(r), self.member(r)
        allowed = self.world.allowances.get((from_, by), 0)
        amount = self.part(r, min(allowed, self.world.balances.get(from_, 0)))
        memo = (self._reference(),) if r.randrange(4) == 0 else ()
        name = "transferFromWithMemo" if memo else "transferFrom"
        args = (self.address[from_], self.address[to], amount, *memo)
        expect = lambda: self.world.transfer_from(by, from_, to, amount)  # noqa: E731
        self._do(by, "coin", name, args, expect)

    def disburse(self, r: Random) -> None:
        by = self.member(r)
        third = self.world.balances.get(by, 0) // 3
        payouts = [(self.member(r), self.size(r, third + 1)) for _ in range(3)]
        args = [part for to, amount in payouts for part in (self.address[to], amount)]
        expect = lambda: self.world.disburse(by, payouts)  # noqa: E731
        self._do(by, "coin", "disburse", args, expect)

    def approve(self, r: Random) -> None:
        by = self.pick(r, TRADERS)
        if r.randrange(3):
            self.approve_by(by, self.pick(r, TRADERS), self.size(r, 10**12))
        else:
            # Mostly so much that work goes on.
            amount = UNLIMITED if r.randrange(4) else self.size(r, 10**12)
            self.approve_by(by, self.pick(r, CONTRACTS), amount)

    def approve_by(self, by: str, spender: str, amount: int) -> None:
        args = (self.address[spender], amount)
        expect = lambda: self.world.approve(by, spender, amount)  # noqa: E731
        self._do(by, "coin", "approve", args, expect)

    def permit(self, r: Random) -> None:
        owner, spender = self.pick(r, TRADERS), self.pick(r, TRADERS)
        amount, flaw = self.size(r, 10**12), self.flaw(r)
        # EIP-2612: valid at the deadline still, so one second later it has expired.
        deadline = self.chain.time - (flaw == "expired")
        nonce = self.world.permits.get(owner, 0) + (flaw == "nonce")
        members = (self.address[owner], self.address[spender], amount + (flaw == "tampered"))
        signature = self.sign(
            owner, "coin", struct_hash("Permit", *members, nonce, deadline), self._known(flaw)
        )
        good = flaw not in ("signer", "chain", "contract", "tampered")
        signed = Signed(good, nonce, 0, deadline)
        r_, s, v = signature[:32], signature[32:64], signature[64]
        args = (self.address[owner], self.address[spender], amount, deadline, v, r_, s)
        expect = lambda: self.world.permit(owner, spender, amount, signed)  # noqa: E731
        self._do(self.relayer(r), "coin", "permit", args, expect)

    def _known(self, flaw: str) -> str:
        return flaw if flaw in ("signer", "chain", "contract") else ""

    def transfer_signed(self, r: Random) -> None:
        """EIP-3009 in all four forms."""
        from_, to = self.pick(r, TRADERS), self.member(r)
        amount = self.size(r, self.world.balances.get(from_, 0) + 1)
        flaw = self.pick(r, [*FLAWS, "early"]) if r.randrange(4) == 0 else ""
        receive = r.randrange(2) == 0
        by = to if receive and r.randrange(5) else self.relayer(r)
        kind = "Receive" if receive else "Transfer"
        used = [nonce for name, nonce in sorted(self.world.used_nonces) if name == from_]
        again = flaw == "nonce" and used
        nonce = self.pick(r, used) if again else self._reference()
        after, before, signature, signed = self.payment(
            from_, to, amount, nonce, kind=kind, flaw=flaw
        )
        last = (signature,)
        if r.randrange(2):
            last = (signature[64], signature[:32], signature[32:64])
        args = (self.address[from_], self.address[to], amount, after, before, nonce, *last)
        if receive:
            expect = lambda: self.world.receive_signed(by, from_, to, amount, signed)  # noqa: E731
        else:
            expect = lambda: self.world.transfer_signed(from_, to, amount, signed)  # noqa: E731
        name = "receiveWithAuthorization" if receive else "transferWithAuthorization"
        self._do(by, "coin", name, args, expect)

    def pull(self, r: Random) -> None:
        """What only contracts of the platform may: everybody else is refused."""
        by, from_ = self.member(r), self.pick(r, TRADERS)
        amount = self.size(r, self.world.balances.get(from_, 0) + 1)
        after, before, signature, signed = self.payment(from_, by, amount, self._reference())
        args = (self.address[from_], amount, after, before, signed.nonce, signature)
        expect = lambda: self.world.pull(by, from_, amount, signed)  # noqa: E731
        self._do(by, "coin", "pullWithAuthorization", args, expect)

    def cancel_authorization(self, r: Random) -> None:
        by, flaw = self.pick(r, TRADERS), self.flaw(r)
        # The nonce of a payment for an order, at times: that signature is void then.
        key = self.order(r, NONE)
        nonce = key if key and r.randrange(3) == 0 else self._reference()
        if key == nonce:
            by = self.world.orders[key].payer
        known = self._known(flaw)
        hashed = struct_hash("Cancel", self.address[by], nonce)
        signature = self.sign(by, "coin", hashed, known)
        signed = Signed(not known, nonce)
        args = (self.address[by], nonce, signature)
        expect = lambda: self.world.cancel_authorization(by, signed)  # noqa: E731
        self._do(self.relayer(r), "coin", "cancelAuthorization", args, expect)

    def mint(self, r: Random) -> None:
        available = self.world.mintable("treasury")
        edge = self.pick(r, [available, available + 1, self.part(r, available)])
        amount = edge if r.randrange(4) == 0 else self.size(r, 10**11)
        to = self.pick(r, LENDERS) if r.randrange(3) == 0 else self.member(r)
        self._mint(self.hand(r, "treasury"), to, amount, again=r.randrange(12) == 0)

    def _mint(self, by: str, to: str, amount: int, *, again: bool = False) -> None:
        if not again:
            self._reference()
        ref = keccak(text=f"mint {self.serial}")
        args = (self.address[to], amount, ref)
        self._do(by, "coin", "mint", args, lambda: self.world.mint(by, to, amount, ref))

    def redeem(self, r: Random) -> None:
        by = self.member(r)
        balance = self.world.balances.get(by, 0)
        amount = self.part(r, balance) if r.randrange(5) == 0 else self.size(r, balance + 1)
        ref = keccak(text="a redemption") if r.randrange(6) == 0 else self._reference()
        self._do(by, "coin", "redeem", (amount, ref), lambda: self.world.redeem(by, amount, ref))

    def freeze(self, r: Random) -> None:
        names = TRADERS if r.randrange(4) else [*CONTRACTS, "stranger", "operator"]
        name, by = self.pick(r, names), self.hand(r, "compliance")
        if name in self.world.frozen:
            return self._unfreeze(by, name)
        args = (self.address[name], bytes(32))
        self._do(by, "coin", "freeze", args, lambda: self.world.freeze(by, name))
        return None

    def _unfreeze(self, by: str, name: str) -> None:
        args = (self.address[name],)
        self._do(by, "coin", "unfreeze", args, lambda: self.world.unfreeze(by, name))

    def seize(self, r: Random) -> None:
        frozen = sorted(self.world.frozen)
        from_ = self.pick(r, frozen) if frozen and r.randrange(5) else self.member(r)
        if r.randrange(10) == 0:
            from_ = self.pick(r, CONTRACTS)
        to, by = self.member(r), self.hand(r, "enforcer")
        amount = self.part(r, self.world.balances.get(from_, 0))
        ref = keccak(text="a seizure") if r.randrange(6) == 0 else self._reference()
        args = (self.address[from_], self.address[to], amount, ref)
        expect = lambda: self.world.seize(by, from_, to, amount, ref)  # noqa: E731
        self._do(by, "coin", "seize", args, expect)

    def pause(self, r: Random) -> None:
        by = self.hand(r, "guardian")
        if self.world.paused != (r.randrange(8) == 0):
            self._do(by, "coin", "unpause", (), lambda: self.world.unpause(by))
        else:
            self._do(by, "coin", "pause", (), lambda: self.world.pause(by))

    def admit(self, r: Random) -> None:
        names = TRADERS if r.randrange(5) else ["stranger", *CONTRACTS]
        name, by = self.pick(r, names), self.hand(r, "registrar")
        kinds = self.pick(r, [1, 2, 4, 8, 15, 15, 15, 15, 0, 16, 31, 32])
        until = self.chain.time + self.pick(r, [0, 1, DAY, 90 * DAY, YEAR, 3 * YEAR, 3 * YEAR])
        self._admit(by, name, kinds, until)

    def _admit(self, by: str, name: str, kinds: int, until: int) -> None:
        args = (self.address[name], kinds, until)
        expect = lambda: self.world.admit(by, name, kinds, until)  # noqa: E731
        self._do(by, "coin", "admit", args, expect)

    def admit_many(self, r: Random) -> None:
        by, until = self.hand(r, "registrar"), self.chain.time + self.pick(r, [YEAR, 3 * YEAR, 0])
        names = [self.pick(r, TRADERS) for _ in range(r.randint(0, 3))]
        if names and r.randrange(6) == 0:
            names[-1] = self.pick(r, CONTRACTS)
        args = ([self.address[name] for name in names], 15, until)
        expect = lambda: self.world.admit_many(by, names, 15, until)  # noqa: E731
        if names:
            self._do(by, "coin", "admitMany", args, expect)

    def system_member(self, r: Random) -> None:
        """A contract is expelled by the steward, or admitted again."""
        by, name = self.hand(r, "steward"), self.pick(r, [*CONTRACTS, *CONTRACTS, "buyer"])
        if name == "buyer" or self.world.in_good_standing(name):
            args = (self.address[name],)
            expect = lambda: self.world.expel_system(by, name)  # noqa: E731
            self._do(by, "coin", "expelSystem", args, expect)
        else:
            self._admit_system(by, name, FOREVER if r.randrange(4) else self.chain.time)

    def _admit_system(self, by: str, name: str, until: int) -> None:
        args = (self.address[name], until)
        expect = lambda: self.world.admit_system(by, name, until)  # noqa: E731
        self._do(by, "coin", "admitSystem", args, expect)

    def expel(self, r: Random) -> None:
        names = TRADERS if r.randrange(5) else ["stranger", *CONTRACTS]
        name, by = self.pick(r, names), self.hand(r, "registrar")
        args = (self.address[name],)
        self._do(by, "coin", "expel", args, lambda: self.world.expel(by, name))

    def set_mint_limit(self, r: Random) -> None:
        by, capacity = self.hand(r, "treasurer"), 10 ** r.randint(9, 13)
        args = (self.address["treasury"], capacity, self.pick(r, [1, COIN, 10 * COIN]))
        expect = lambda: self.world.set_mint_limit(by, "treasury", *args[1:])  # noqa: E731
        self._do(by, "coin", "setMintLimit", args, expect)

    def heal(self, r: Random) -> None:
        """Undo something that keeps work from going on."""
        world, ills = self.world, []
        if world.paused:
            ills.append(lambda: self._send("guardian", "coin", "unpause"))
        if world.draws_paused:
            ills.append(lambda: self._send("guardian", "book", "unpauseDraws"))
        if "escrow" not in world.sales_sources:
            ills.append(lambda: self._sales_source("steward", "escrow", True))
        ills += [
            lambda name=name: self._admit_system("steward", name, FOREVER)
            for name in CONTRACTS
            if not world.in_good_standing(name)
        ]
        for name in TRADERS:
            if name in world.frozen:
                ills.append(lambda name=name: self._unfreeze("compliance", name))
            elif not world.in_good_standing(name):
                until = self.chain.time + 3 * YEAR
                ills.append(
                    lambda name=name, until=until: self._admit("registrar", name, 15, until)
                )
        for name in TRADERS:
            ills.extend(
                lambda name=name, to=spender: self.approve_by(name, to, UNLIMITED)
                for spender in CONTRACTS
                if world.allowances.get((name, spender), 0) != UNLIMITED
            )
        if ills:
            self.pick(r, ills)()
        else:
            self._mint("treasury", self.pick(r, TRADERS), self.size(r, 10**11))

    # -------------------------------------------------------------- the escrow

    def new_order(
        self, r: Random, keep: Collection[bytes] = (), windows: Sequence[int] = WINDOWS
    ) -> bytes:
        if len(self.terms) >= ORDERS_IN_PLAY:
            empty = [key for key in self.terms if self.world.orders[key].held == 0]
            over = [key for key in empty if key not in keep]
            # Not out of the books: only out of sight, unless it holds coin.
            for key in over[: len(self.terms) - ORDERS_IN_PLAY + 1]:
                del self.terms[key]
                self.unwatch(f"order {key.hex()[:8]}")
        now = self.chain.time
        authorize_before = now + self.pick(r, [0, 1, DAY, DAY, 30 * DAY, 30 * DAY])
        low, high = sorted(self.pick(r, [0, 0, 1, 100, 250, 1_000, BPS]) for _ in range(2))
        order = Order(
            payer=self.pick(r, BUYERS),
            payee=self.pick(r, SELLERS),
            operator="operator",
            fee_receiver="fee_receiver",
            max_amount=self.size(r, 10**10),
            min_fee=low,
            max_fee=high,
            authorize_before=authorize_before,
            reclaim_after=authorize_before + self.pick(r, [0, 1, DAY, 30 * DAY]),
            dispute_window=self.pick(r, windows),
        )
        terms = (
            *(self.address[name] for name in (order.payer, order.payee, order.operator)),
            self.address[order.fee_receiver],
            order.max_amount,
            order.min_fee,
            order.max_fee,
            order.authorize_before,
            order.reclaim_after,
            order.dispute_window,
            self._reference(),
        )
        key = self.digest("escrow", struct_hash("Terms", *terms))
        self.world.orders[key] = order
        self.terms[key] = terms
        self._watch_order(key)
        return key

    def authorize(self, r: Random, key: bytes | None = None) -> None:
        key = key or (self.order(r, NONE) if r.randrange(3) == 0 else None) or self.new_order(r)
        order, world = self.world.orders[key], self.world
        amount = self.part(r, order.max_amount)
        if r.randrange(3) == 0:
            by = self.hand(r, order.payer)
            args = (self.terms[key], amount)
            expect = lambda: world.authorize(by, key, amount)  # noqa: E731
            self._do(by, "escrow", "authorize", args, expect)
            return
        *payment, signed = self.payment(order.payer, "escrow", amount, key, flaw=self.flaw(r))
        args = (self.terms[key], amount, *payment)
        expect = lambda: world.authorize_signed(key, amount, signed)  # noqa: E731
        self._do(self.relayer(r), "escrow", "authorizeWithSignature", args, expect)

    def authorize_many(self, r: Random) -> None:
        items, expects, chosen = [], [], set()
        for _ in range(r.randint(0, 3)):
            key = self.order(r) if r.randrange(3) == 0 else None
            key = key or self.new_order(r, chosen)
            chosen.add(key)
            order = self.world.orders[key]
            amount = self.part(r, order.max_amount)
            *payment, signed = self.payment(order.payer, "escrow", amount, key, flaw=self.flaw(r))
            items.append((self.terms[key], amount, *payment))
            expects.append(
                lambda key=key, amount=amount, signed=signed: self.world.authorize_signed(
                    key, amount, signed
                )
            )
        expect = lambda: self._each(expects)  # noqa: E731
        self._do(self.relayer(r), "escrow", "authorizeMany", (items,), expect)

    def _each(self, operations: Sequence[Callable[[], Any]]) -> list[bool]:
        """A batch: who fails does not undo the others."""
        done = []
        for operation in operations:
            try:
                self.world.attempt(operation)
                done.append(True)
            except Refused:
                done.append(False)
        return done

    def charge(self, r: Random) -> None:
        key = self.order(r, NONE) if r.randrange(3) == 0 else None
        key = key or self.new_order(r, windows=WINDOWS if r.randrange(5) == 0 else [0])
        order = self.world.orders[key]
        amount, fee, by = (
            self.part(r, order.max_amount),
            self.fee(r, order),
            self.hand(r, "operator"),
        )
        *payment, signed = self.payment(order.payer, "escrow", amount, key, flaw=self.flaw(r))
        args = (self.terms[key], amount, fee, *payment)
        expect = lambda: self.world.charge(by, key, amount, fee, signed)  # noqa: E731
        self._do(by, "escrow", "charge", args, expect)

    def fee(self, r: Random, order: Order, *, most: bool = False) -> int:
        if r.randrange(12) == 0:
            return self.pick(r, [order.max_fee + 1, max(0, order.min_fee - 1)])
        return order.max_fee if most else r.randint(order.min_fee, order.max_fee)

    def deliver(self, r: Random) -> None:
        key = self.order(r, AUTHORIZED)
        if key is None:
            return self.authorize(r)
        by = self.hand(r, "operator")
        args = (self.terms[key],)
        expect = lambda: self.world.confirm_delivery(by, key)  # noqa: E731
        self._do(by, "escrow", "confirmDelivery", args, expect)
        return None

    def _releaser(self, r: Random, order: Order) -> str:
        return self.pick(r, [order.payer, order.payer, "operator", "operator", "stranger"])

    def release(self, r: Random, key: bytes | None = None) -> None:
        key = key or self.order(r, DELIVERED, AUTHORIZED, DISPUTED)
        if key is None:
            return self.authorize(r)
        order, world = self.world.orders[key], self.world
        amount = self.part(r, order.held)
        if r.randrange(3) == 0:
            members = (key, amount)
            *intent, signed = self._intent(r, "escrow", order.payer, "Release", members, 1)
            args = (self.terms[key], amount, *intent)
            expect = lambda: world.release_signed(key, amount, signed)  # noqa: E731
            self._do(self.relayer(r), "escrow", "releaseWithSignature", args, expect)
            return None
        by = self._releaser(r, order)
        if by == "stranger" and r.randrange(3):
            amount = order.held
        fee = self.fee(r, order, most=by != "operator")
        args = (self.terms[key], amount, fee)
        expect = lambda: world.release(by, key, amount, fee)  # noqa: E731
        self._do(by, "escrow", "release", args, expect)
        return None

    def release_many(self, r: Random) -> None:
        if not self.terms:
            return self.authorize(r)
        by = self.pick(r, ["operator", "operator", *BUYERS, "stranger"])
        items, expects = [], []
        for _ in range(r.randint(0, 3)):
            key = self.order(r, DELIVERED, AUTHORIZED) or self.pick(r, list(self.terms))
            order = self.world.orders[key]
            amount, fee = self.part(r, order.held), self.fee(r, order, most=by != "operator")
            items.append((self.terms[key], amount, fee))
            expects.append(
                lambda key=key, amount=amount, fee=fee: self.world.release(by, key, amount, fee)
            )
        self._do(by, "escrow", "releaseMany", (items,), lambda: self._each(expects))
        return None

    def release_many_signed(self, r: Random) -> None:
        if not self.terms:
            return self.authorize(r)
        items, expects = [], []
        for _ in range(r.randint(0, 3)):
            key = self.order(r, DELIVERED, AUTHORIZED, DISPUTED) or self.pick(r, list(self.terms))
            order = self.world.orders[key]
            amount = self.part(r, order.held)
            # Intents of one key, all made with the nonce that is next now: the first one is used.
            *intent, signed = self._intent(r, "escrow", order.payer, "Release", (key, amount), 1)
            items.append((self.terms[key], amount, *intent))
            expects.append(
                lambda key=key, amount=amount, signed=signed: self.world.release_signed(
                    key, amount, signed
                )
            )
            if r.randrange(6) == 0:  # the same one again
                items.append(items[-1])
                expects.append(expects[-1])
        done: list[bool] = []

        def expect() -> list[bool]:
            done[:] = self._each(expects)
            return done

        relayer = self.relayer(r)
        if self._do(relayer, "escrow", "releaseManyWithSignatures", (items,), expect):
            self.replayable += [
                Call(relayer, "escrow", "releaseWithSignature", item, single)
                for item, single, well in zip(items, expects, done, strict=True)
                if well
            ]
        return None

    def void(self, r: Random) -> None:
        key = self.order(r, AUTHORIZED, DELIVERED, DISPUTED)
        if key is None:
            return self.authorize(r)
        order, world = self.world.orders[key], self.world
        amount = self.part(r, order.held)
        if r.randrange(2):
            *intent, signed = self._intent(r, "escrow", order.payee, "Void", (key, amount), 1)
            args = (self.terms[key], amount, *intent)
            expect = lambda: world.void_signed(key, amount, signed)  # noqa: E731
            self._do(self.relayer(r), "escrow", "voidWithSignature", args, expect)
            return None
        by = self.hand(r, self.pick(r, ["operator", order.payee]))
        args = (self.terms[key], amount)
        self._do(by, "escrow", "void", args, lambda: world.void(by, key, amount))
        return None

    def refund(self, r: Random) -> None:
        refundable = [key for key in self.terms if self.world.orders[key].refundable]
        key = self.pick(r, refundable) if refundable else self.order(r)
        if key is None:
            return self.authorize(r)
        order, world, ref = self.world.orders[key], self.world, self._reference()
        amount = self.part(r, order.refundable)
        if r.randrange(2):
            nonce = keccak(key + ref)
            *payment, signed = self.payment(order.payee, "escrow", amount, nonce, flaw=self.flaw(r))
            args = (self.terms[key], amount, ref, *payment)
            expect = lambda: world.refund_signed(key, amount, signed)  # noqa: E731
            self._do(self.relayer(r), "escrow", "refundWithSignature", args, expect)
            return None
        by = self.hand(r, order.payee)
        args = (self.terms[key], amount, ref)
        self._do(by, "escrow", "refund", args, lambda: world.refund(by, key, amount))
        return None

    def reclaim(self, r: Random, key: bytes | None = None) -> None:
        key = key or self.order(r, AUTHORIZED)
        if key is None:
            return self.authorize(r)
        order, world = self.world.orders[key], self.world
        if r.randrange(2):
            *intent, signed = self._intent(r, "escrow", order.payer, "Reclaim", (key,), 0)
            args = (self.terms[key], *intent)
            expect = lambda: world.reclaim_signed(key, signed)  # noqa: E731
            self._do(self.relayer(r), "escrow", "reclaimWithSignature", args, expect)
            return None
        by = self.hand(r, order.payer)
        args = (self.terms[key],)
        self._do(by, "escrow", "reclaim", args, lambda: world.reclaim(by, key))
        return None

    def claim(self, r: Random) -> None:
        waiting = [name for name, amount in self.world.claimable.items() if amount]
        name = self.pick(r, waiting) if waiting and r.randrange(6) else self.pick(r, TRADERS)
        args = (self.address[name],)
        self._do(self.relayer(r), "escrow", "claim", args, lambda: self.world.claim(name))

    def dispute(self, r: Random, key: bytes | None = None) -> None:
        orders, now = self.world.orders, self.chain.time
        open_ = [
            k for k in self.terms if orders[k].status == DELIVERED and orders[k].deadline > now
        ]
        key = key or (self.pick(r, open_) if open_ and r.randrange(6) else self.order(r, DELIVERED))
        if key is None:
            return self.deliver(r)
        order, world, evidence = self.world.orders[key], self.world, self._reference()
        if r.randrange(2):
            members = (key, evidence)
            *intent, signed = self._intent(r, "escrow", order.payer, "Dispute", members, 1)
            args = (self.terms[key], evidence, *intent)
            expect = lambda: world.dispute_signed(key, signed)  # noqa: E731
            self._do(self.relayer(r), "escrow", "disputeWithSignature", args, expect)
            return None
        by = self.hand(r, order.payer)
        args = (self.terms[key], evidence)
        self._do(by, "escrow", "dispute", args, lambda: world.dispute(by, key))
        return None

    def evidence(self, r: Random) -> None:
        key = self.order(r, DISPUTED)
        if key is None:
            return self.dispute(r)
        order, world, evidence = self.world.orders[key], self.world, self._reference()
        if r.randrange(2):
            party = self.pick(r, [order.payer, order.payee])
            members = (self.address[party], key, evidence)
            *intent, signed = self._intent(r, "escrow", party, "Evidence", members, 2)
            args = (self.terms[key], self.address[party], evidence, *intent)
            expect = lambda: world.submit_evidence_signed(party, key, signed)  # noqa: E731
            self._do(self.relayer(r), "escrow", "submitEvidenceWithSignature", args, expect)
            return None
        by = self.pick(r, [order.payer, order.payee, "operator", "stranger"])
        args = (self.terms[key], evidence)
        self._do(by, "escrow", "submitEvidence", args, lambda: world.submit_evidence(by, key))
        return None

    def resolve(self, r: Random, key: bytes | None = None) -> None:
        key = key or self.order(r, DISPUTED)
        if key is None:
            return self.dispute(r)
        order, by = self.world.orders[key], self.hand(r, "arbiter")
        to_payer = self.part(r, order.held)
        # Where nothing is released, the fee is nobody's.
        fee = order.max_fee if to_payer == order.held else self.fee(r, order)
        args = (self.terms[key], to_payer, fee, self._reference())
        expect = lambda: self.world.resolve(by, key, to_payer, fee)  # noqa: E731
        self._do(by, "escrow", "resolve", args, expect)
        return None

    def expire_dispute(self, r: Random, key: bytes | None = None) -> None:
        key = key or self.order(r, DISPUTED)
        if key is None:
            return self.dispute(r)
        args = (self.terms[key],)
        by = self.relayer(r)
        expect = lambda: self.world.expire_dispute(key)  # noqa: E731
        self._do(by, "escrow", "expireDispute", args, expect)
        return None

    def broken_book(self, r: Random) -> None:
        """Invariant 15: whatever the book does, a release, a refund and a reclaim go through."""
        loop, word_of_ones = "5b600056", "5f19"
        hostile = {
            "reverts": "5f5ffd",
            "burns all gas": "fe",
            "never ends": loop,
            "answers too much": word_of_ones + "5f5260205ff3",
            "answers nothing": "00",
            "answers a megabyte": "62100000" + "5ff3",
            "reverts with a megabyte": "62100000" + "5ffd",
        }
        keys = [key for key in self.terms if self.world.orders[key].held]
        if not keys:
            return self.authorize(r)
        way, key = self.pick(r, list(hostile)), self.pick(r, keys)
        world = self.world
        code = self.chain.replace_code(self.address["book"], bytes.fromhex(hostile[way]))
        # Book and pool have nothing to tell meanwhile.
        self.silent = {self.address["book"], self.address["pool"]}
        world.book_broken = True
        try:
            action = self.pick(r, [self._release_all, self._release_all, self.reclaim, self.refund])
            if action == self.refund:
                self.refund(r)
            else:
                action(r, key)
        finally:
            world.book_broken = False
            self.silent = set()
            self.chain.replace_code(self.address["book"], code)
        self.states[f"book {way}"] += 1
        self.compare(everything=True)
        return None

    def _release_all(self, r: Random, key: bytes) -> None:
        order = self.world.orders[key]
        args = (self.terms[key], order.held, order.max_fee)
        expect = lambda: self.world.release(order.payer, key, *args[1:])  # noqa: E731
        self._do(order.payer, "escrow", "release", args, expect)

    def cancel_intents(self, r: Random) -> None:
        by, contract = self.pick(r, TRADERS), self.pick(r, CONTRACTS)
        key = r.randrange(3)
        expect = lambda: self.world.cancel_intents(contract, by, key)  # noqa: E731
        self._do(by, contract, "cancelIntents", (key,), expect)

    def replay(self, r: Random) -> None:
        """Invariant 14: what was signed once and used, again."""
        if not self.replayable:
            return self.transfer_signed(r)
        call = self.pick(r, self.replayable)
        by = call.by if call.function == "receiveWithAuthorization" else self.relayer(r)
        if self._do(by, call.contract, call.function, call.args, call.expect):
            raise Mismatch(f"14: {call.function} was used twice")
        return None

    def _intent(
        self,
        r: Random,
        contract: str,
        signer: str,
        kind: str,
        members: tuple[Any, ...],
        tamper: int,
    ) -> tuple[Any, ...]:
        """An intent, at times flawed; if tampered with, in the member at `tamper`."""
        changed = members[tamper]
        other = keccak(changed) if isinstance(changed, bytes) else changed + 1
        tampered = (*members[:tamper], other, *members[tamper + 1 :])
        flaw, key = self.flaw(r), r.randrange(3)
        return self.intent(contract, signer, kind, members, flaw=flaw, key=key, tampered=tampered)

    # --------------------------------------------------------------- the credit book

    def _offer(self, r: Random, seller: str, honest: bool) -> tuple[dict[str, Any], bytes]:
        odd = 0 if honest else r.randrange(24)
        cap = self.world.line_cap
        line = self.world.lines.get(seller, Line())
        rate = r.randint(0, min(2_000, line.apr)) if line.has_debt else r.randint(0, 2_000)
        offer = {
            "seller": seller,
            "underwriter": "stranger" if odd == 1 else "underwriter",
            "limit": cap + 1 if odd == 2 else max(1, self.size(r, cap) if odd == 3 else cap),
            "aprBps": 2_001 if odd == 4 else r.randint(0, 2_000) if odd in (5, 9, 10) else rate,
            "drawFeeBps": 1_001 if odd == 6 else self.pick(r, [0, 0, 1, 150, 1_000]),
            "holdbackBps": self.pick(r, [0, 2_501])
            if odd == 7
            else self.pick(r, [1, 800, 1_500, 2_500]),
            "termDays": self.pick(r, [30, 365, 365, 3_650]),
            "expires": self.chain.time + (0 if odd == 8 else self.pick(r, [1, DAY, 30 * DAY])),
            "disclosureHash": keccak(text="disclosure"),
            "modelHash": keccak(text="model"),
            "nonce": int.from_bytes(self._reference()),
        }
        return offer, struct_hash("Offer", *self._offer_members(offer))

    def _offer_members(self, offer: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(self.address.get(v, v) if isinstance(v, str) else v for v in offer.values())

    def accept(self, r: Random, seller: str | None = None) -> None:
        self._accept(r, seller or self.pick(r, SELLERS))

    def _accept(self, r: Random, seller: str, *, honest: bool = False) -> None:
        world = self.world
        if self.offers and not honest and r.randrange(5) == 0:
            offer, hashed = self.pick(r, self.offers)
            seller = offer["seller"]
        else:
            offer, hashed = self._offer(r, seller, honest)
            self.offers = [*self.offers[-5:], (offer, hashed)]
        bad = self.pick(r, ["signer", "chain", "contract"])
        bad = bad if not honest and r.randrange(10) == 0 else ""
        by_underwriter = self.sign(offer["underwriter"], "book", hashed, bad)
        good, key = not bad, hashed
        members = self._offer_members(offer)
        if r.randrange(2) and not honest:
            digest = self.digest("book", hashed)
            *intent, signed = self._intent(r, "book", seller, "Acceptance", (digest,), 0)
            args = (members, by_underwriter, *intent)
            expect = lambda: world.accept_signed(offer, key, good, signed)  # noqa: E731
            self._do(self.relayer(r), "book", "acceptWithSignature", args, expect)
            return
        by = seller if honest else self.hand(r, seller)
        expect = lambda: world.accept(by, offer, key, good)  # noqa: E731
        self._do(by, "book", "accept", (members, by_underwriter), expect)

    def revoke_offer(self, r: Random) -> None:
        if self.offers and r.randrange(3) == 0:
            offer, hashed = self.pick(r, self.offers)
        else:
            offer, hashed = self._offer(r, self.pick(r, SELLERS), honest=True)
            self.offers = [*self.offers[-5:], (offer, hashed)]
        by = self.hand(r, offer["underwriter"])
        expect = lambda: self.world.revoke_offer(by, offer, hashed)  # noqa: E731
        self._do(by, "book", "revokeOffer", (self._offer_members(offer),), expect)

    def draw(self, r: Random, seller: str | None = None) -> None:
        seller, world = seller or self.pick(r, SELLERS), self.world
        line = world.lines.get(seller, Line()).at(self.chain.time)
        room = max(0, line.limit - line.principal)
        amount = self.part(r, room) if r.randrange(2) else self.size(r, room + 1)
        if r.randrange(2):
            members = (self.address[seller], amount)
            *intent, signed = self._intent(r, "book", seller, "Draw", members, 1)
            args = (self.address[seller], amount, *intent)
            expect = lambda: world.draw_signed(seller, amount, signed)  # noqa: E731
            self._do(self.relayer(r), "book", "drawWithSignature", args, expect)
            return
        self._draw(seller if r.randrange(20) else "stranger", amount)

    def _draw(self, by: str, amount: int) -> None:
        expect = lambda: self.world.draw(by, amount)  # noqa: E731
        self._do(by, "book", "draw", (amount,), expect)

    def set_holdback(self, r: Random) -> None:
        seller, world = self.pick(r, SELLERS), self.world
        bps = self.pick(r, [0, 799, 800, 1_500, 2_000, 2_500, 2_500, 2_501])
        if r.randrange(2):
            members = (self.address[seller], bps)
            *intent, signed = self._intent(r, "book", seller, "Holdback", members, 1)
            args = (self.address[seller], bps, *intent)
            expect = lambda: world.set_holdback_signed(seller, bps, signed)  # noqa: E731
            self._do(self.relayer(r), "book", "setHoldbackWithSignature", args, expect)
            return
        expect = lambda: world.set_holdback(seller, bps)  # noqa: E731
        self._do(seller, "book", "setHoldback", (bps,), expect)

    def repay(self, r: Random, seller: str | None = None) -> None:
        seller, world = seller or self.pick(r, SELLERS), self.world
        line = world.lines.get(seller, Line()).at(self.chain.time)
        whole = self.pick(r, [line.payoff, line.past_due, line.past_due_interest + 1])
        amount = 2**255 if r.randrange(15) == 0 else self.part(r, whole)
        if r.randrange(2):
            ref = self._reference()
            from_ = self.pick(r, [seller, seller, *TRADERS])
            amount = min(amount, world.balances.get(from_, 0) + 1)
            nonce = keccak(self.address[seller].rjust(32, b"\0") + ref)
            *payment, signed = self.payment(from_, "book", amount, nonce, flaw=self.flaw(r))
            args = (self.address[seller], ref, self.address[from_], amount, *payment)
            expect = lambda: world.repay_signed(seller, from_, amount, signed)  # noqa: E731
            self._do(self.relayer(r), "book", "repayWithAuthorization", args, expect)
            return
        by = self.pick(r, [seller, seller, *TRADERS])
        args = (self.address[seller], amount)
        self._do(by, "book", "repay", args, lambda: world.repay(by, seller, amount))

    def touch(self, r: Random, seller: str | None = None) -> None:
        seller = seller or self.pick(r, SELLERS)
        args = (self.address[seller],)
        self._do(self.relayer(r), "book", "touch", args, lambda: self.world.touch(seller))

    def charge_off(self, r: Random, seller: str | None = None) -> None:
        lines = self.world.lines
        bad = [name for name in lines if lines[name].at(self.chain.time).status == DEFAULTED]
        seller = seller or self.pick(r, bad or SELLERS)
        by = self.pick(r, ["stranger", "servicer"])
        if self.world.paused:
            by = "stranger"
        args = (self.address[seller],)
        expect = lambda: self.world.charge_off(by, seller)  # noqa: E731
        self._do(by, "book", "chargeOff", args, expect)

    def holiday(self, r: Random, seller: str | None = None) -> None:
        seller, by = seller or self.pick(r, SELLERS), self.hand(r, "servicer")
        seconds = self.pick(r, [DAY - 1, DAY, 30 * DAY, r.randint(DAY, 180 * DAY), 180 * DAY])
        seconds += r.randrange(12) == 0
        args = (self.address[seller], seconds)
        expect = lambda: self.world.grant_holiday(by, seller, seconds)  # noqa: E731
        self._do(by, "book", "grantHoliday", args, expect)

    def waive(self, r: Random, seller: str | None = None) -> None:
        seller, by = seller or self.pick(r, SELLERS), self.hand(r, "servicer")
        line = self.world.lines.get(seller, Line()).at(self.chain.time)
        amount = self.part(r, line.interest_owed)
        args = (self.address[seller], amount)
        expect = lambda: self.world.waive(by, seller, amount)  # noqa: E731
        self._do(by, "book", "waive", args, expect)

    def lower_limit(self, r: Random) -> None:
        seller, by = self.pick(r, SELLERS), self.hand(r, "risk")
        limit = self.world.lines.get(seller, Line()).limit
        lower = self.pick(r, [limit + 1, limit, max(0, limit - 1), limit // 2, r.randint(0, limit)])
        args = (self.address[seller], lower)
        expect = lambda: self.world.lower_limit(by, seller, lower)  # noqa: E731
        self._do(by, "book", "lowerLimit", args, expect)

    def set_caps(self, r: Random) -> None:
        by = self.hand(r, "risk")
        line_cap = self.pick(r, [100 * COIN, 200_000 * COIN, 200_000 * COIN])
        cap = self.pick(r, [300_000 * COIN, 500_000 * COIN, 2**64 - 1, 2**64])
        reserve = self.pick(r, [0, 500, 500, 1_000, BPS, BPS + 1])
        args = (line_cap, cap, reserve)
        self._do(by, "book", "setCaps", args, lambda: self.world.set_caps(by, *args))

    def pause_draws(self, r: Random) -> None:
        by = self.hand(r, "guardian")
        if self.world.draws_paused != (r.randrange(8) == 0):
            self._send(by, "book", "unpauseDraws")
        else:
            self._send(by, "book", "pauseDraws")

    def fund_reserve(self, r: Random) -> None:
        by = self.pick(r, ["treasurer", *TRADERS])
        balance = self.world.balances.get(by, 0)
        self._send(by, "book", "fundReserve", self.part(r, min(balance, 10_000 * COIN)))

    def withdraw_reserve(self, r: Random) -> None:
        world, by, to = self.world, self.hand(r, "treasurer"), self.member(r)
        world.now = self.chain.time
        free = world.reserve - world.reserve_needed(world.total_principal)
        amount = self.part(r, max(0, free)) if r.randrange(3) else self.size(r, 10**9)
        self._send(by, "book", "withdrawReserve", to, amount)

    def sales_source(self, r: Random) -> None:
        by, source = self.hand(r, "steward"), self.pick(r, ["escrow", "stranger"])
        self._sales_source(by, source, source not in self.world.sales_sources)

    def _sales_source(self, by: str, source: str, allowed: bool) -> None:
        args = (self.address[source], allowed)
        expect = lambda: self.world.set_sales_source(by, source, allowed)  # noqa: E731
        self._do(by, "book", "setSalesSource", args, expect)

    def false_sale(self, r: Random) -> None:
        """A sale reported by who is no source of sales, though it may be a member."""
        by = self.pick(r, ["buyer", "operator", "lender", "seller"])
        args = (self.address[self.pick(r, SELLERS)], self._reference(), self.size(r, 10**9))

        seller = self.names[args[0]]

        def expect() -> None:
            line = self.world.lines.get(seller, Line())
            if line.has_debt or line.status == CHARGED_OFF:
                raise Refused({"NotASalesSource"})

        self._do(by, "book", "onSale", args, expect)

    # ------------------------------------------------------------------- the pool

    def lend(self, r: Random) -> None:
        world, by = self.world, self.pick(r, [*LENDERS, *LENDERS, "buyer", "stranger"])
        to = by if by in LENDERS and r.randrange(4) else self.pick(r, [*LENDERS, "buyer"])
        world.now = self.chain.time
        balance = world.balances.get(by, 0)
        assets = self.part(r, balance) if r.randrange(4) == 0 else self.size(r, balance + 1)
        way = r.randrange(3)
        if way == 0:
            self._deposit(by, assets, to)
        elif way == 1:
            shares = int(world.shares_of(assets))
            args = (shares, self.address[to])
            expect = lambda: world.mint_shares(by, shares, to)  # noqa: E731
            self._do(by, "pool", "mint", args, expect)
        else:
            from_, nonce = self.pick(r, [*LENDERS, "buyer"]), self._reference()
            *payment, signed = self.payment(from_, "pool", assets, nonce, flaw=self.flaw(r))
            args = (self.address[from_], assets, *payment[:2], nonce, payment[2])
            expect = lambda: world.deposit_signed(from_, assets, signed)  # noqa: E731
            self._do(self.relayer(r), "pool", "depositWithAuthorization", args, expect)

    def _deposit(self, by: str, assets: int, to: str) -> None:
        args = (assets, self.address[to])
        expect = lambda: self.world.deposit(by, assets, to)  # noqa: E731
        self._do(by, "pool", "deposit", args, expect)

    def take_out(self, r: Random) -> None:
        world, owner = self.world, self.pick(r, [*LENDERS, "buyer"])
        world.now = self.chain.time
        by = owner if r.randrange(4) else self.pick(r, TRADERS)
        to = owner if r.randrange(3) else self.member(r)
        shares = world.shares.get(owner, 0)
        # Mostly not so much that nothing is left to lend.
        if r.randrange(3):
            shares = shares // 50
        shares = self.part(r, shares)
        way = r.randrange(3)
        if way == 0:
            most = int(world.assets_of(shares))
            assets = most if r.randrange(4) else self.part(r, world.cash)
            args = (assets, self.address[to], self.address[owner])
            expect = lambda: world.withdraw(by, assets, to, owner)  # noqa: E731
            self._do(by, "pool", "withdraw", args, expect)
        elif way == 1:
            args = (shares, self.address[to], self.address[owner])
            expect = lambda: world.redeem_shares(by, shares, to, owner)  # noqa: E731
            self._do(by, "pool", "redeem", args, expect)
        else:
            members = (self.address[owner], shares)
            *intent, signed = self._intent(r, "pool", owner, "Redemption", members, 1)
            args = (self.address[owner], shares, *intent)
            expect = lambda: world.redeem_signed(owner, shares, signed)  # noqa: E731
            self._do(self.relayer(r), "pool", "redeemWithSignature", args, expect)

    def approve_shares(self, r: Random) -> None:
        by, spender = self.pick(r, LENDERS), self.pick(r, TRADERS)
        shares = self.part(r, self.world.shares.get(by, 0))
        args = (self.address[spender], shares)
        expect = lambda: self.world.approve_shares(by, spender, shares)  # noqa: E731
        self._do(by, "pool", "approve", args, expect)

    def transfer_shares(self, r: Random) -> None:
        if self.world.paused:
            return  # whether shares move while the coin is paused is left open
        by, to = (self.pick(r, [*LENDERS, "buyer"]) for _ in range(2))
        shares = self.part(r, self.world.shares.get(by, 0))
        args = (self.address[to], shares)
        expect = lambda: self.world.transfer_shares(by, to, shares)  # noqa: E731
        self._do(by, "pool", "transfer", args, expect)

    # ------------------------------------------------------------- the invariants

    def _remember(self) -> None:
        """What the invariants compare the next state with."""
        world = self.world
        world.now = self.chain.time
        self.before = {
            "coin": self._coin(),
            "standing": {name: world.in_good_standing(name) for name in world.balances},
            "debt": {name: line.at(world.now).payoff for name, line in world.lines.items()},
            "price": world.share_price,
            "waiting": world.claimable.get("pool", 0),
            "losses": world.recorded_losses,
        }

    def _coin(self) -> dict[str, int]:
        """Balances as the contract tells them."""
        return {
            name[len("coin of ") :]: view.words[0]
            for name, view in self.views.items()
            if name.startswith("coin of ")
        }

    def _check_all(self) -> None:
        for name in INVARIANTS:
            getattr(self, name)()
        self._note_states()

    def require(self, number: int, holds: bool, told: str) -> None:
        if not holds:
            raise Mismatch(f"invariant {number}: {told}")

    def invariant_1_supply(self) -> None:
        world = self.world
        supply = self.look("supply")[0]
        self.require(1, supply == sum(self._coin().values()), "supply is not the sum of balances")
        self.require(1, supply == world.minted - world.burned, "supply is not minted - burned")

    def invariant_2_standing(self) -> None:
        """No balance of an account without standing changes, but by seizure."""
        seizing = self.calls and self.last.function == "seize"
        for name, balance in self._coin().items():
            if balance != self.before["coin"].get(name):
                allowed = self.before["standing"].get(name) or self.world.in_good_standing(name)
                self.require(2, allowed or seizing, f"the balance of {name} has changed")
                system = name in CONTRACTS
                fell = balance < self.before["coin"].get(name, 0)
                self.require(2, not (seizing and system and fell), f"{name} was seized")

    def invariant_3_escrow(self) -> None:
        held = sum(self.views[f"order {key.hex()[:8]}"].words[0] for key in self.terms)
        waiting = sum(self.views[f"claimable of {name}"].words[0] for name in [*TRADERS, "pool"])
        coin = self.views["coin of escrow"].words[0] - self.world.gifts.get("escrow", 0)
        self.require(3, coin == held + waiting, f"{coin} is not {held} + {waiting}")

    def invariant_4_orders(self) -> None:
        for key in self.terms:
            order = self.world.orders[key]
            held, refundable, *_ = self.views[f"order {key.hex()[:8]}"].words
            whole = held + order.released + order.voided
            self.require(4, whole == order.authorized, "the parts are not the whole")
            self.require(4, order.authorized <= order.max_amount, "more than was signed")
            right = refundable == order.released - order.refunded >= 0
            self.require(4, right, "refunded more than released")

    def invariant_5_terminal_states(self) -> None:
        for key in self.terms:
            held, _, _, status = self.views[f"order {key.hex()[:8]}"].words
            if key in self.closed:
                self.require(5, status == CLOSED and held == 0, "a closed order lives again")
            if status == CLOSED:
                self.closed.add(key)

    def invariant_8_principal(self) -> None:
        lines = self.world.lines
        owed = sum(
            line.drawn - line.principal_paid - line.principal_lost for line in lines.values()
        )
        self.require(8, self.look_totals()[0] == owed, "principal is not drawn - repaid - lost")
        book = self.world.book_value
        self.require(8, self.world.total_assets == self.world.cash + book, "assets")

    def look_totals(self) -> tuple[int, ...]:
        """As last seen: what does not depend on the time."""
        return self.views["totals"].words

    def invariant_9_draws(self) -> None:
        if not (self.logs and self.last.function in ("draw", "drawWithSignature")):
            return
        world = self.world
        seller = self.last.by if self.last.function == "draw" else self.names[self.last.args[0]]
        line = world.lines[seller]
        self.require(9, line.principal <= line.limit, "principal is above the limit")
        self.require(9, not line.is_past_due and line.status == ACTIVE, "not in good standing")
        enough = world.reserve >= world.reserve_needed(world.total_principal)
        self.require(9, enough, "the reserve does not suffice")

    def invariant_10_debt(self) -> None:
        """Debt falls only by payment, waiver or write-off."""
        for name, line in self.world.lines.items():
            debt, before = line.at(self.world.now).payoff, self.before["debt"].get(name, 0)
            allowed = debt >= before or self.last.function in PAYMENTS
            self.require(10, allowed, f"the debt of {name} fell from {before} to {debt}")

    def invariant_11_repayments(self) -> None:
        for address, topics, data in self.logs:
            if address == self.address["escrow"] and topics[0] == _RELEASED:
                amount, fee, repayment, _ = (
                    int.from_bytes(data[i : i + 32]) for i in range(0, 128, 32)
                )
                most = (amount - fee) * MOST_WITH_PENALTY_BPS // BPS
                self.require(11, repayment <= most, "more than the most that was agreed")
                self.require(11, repayment <= sum(self.before["debt"].values()), "over payoff")

    def invariant_12_aggregates(self) -> None:
        """The book's sum of interest is that of its lines, to the bps-second."""
        names = [f"line of {seller}" for seller in SELLERS]
        seen = [self.views[name] for name in (*names, "totals")]
        if any(view.seen_at != self.chain.time for view in seen):
            return
        total = self._pick_totals(seen[-1].words)[4]
        lines = sum(view.words[1] for view in seen[:-1])
        self.require(12, total == lines, f"{total} is not the sum of the lines, {lines}")

    def invariant_13_losses(self) -> None:
        world = self.world
        self.require(13, world.reserve >= 0, "the reserve lost more than it had")
        reserve = self.views["coin of book"].words[0] - world.gifts.get("book", 0)
        self.require(13, reserve == world.reserve, "the reserve is not the book's coin")
        repaid = world.recovered_to_reserve <= world.reserve_losses
        self.require(13, repaid, "more recovered than lost")
        for line in world.lines.values():
            self.require(13, line.recovered <= line.written_off, "more recovered than written off")
        fell = world.share_price < self.before["price"]
        lost = world.recorded_losses > self.before["losses"]
        # A sale repaid while the pool is no member: its coin waits in the escrow, to be claimed.
        lost |= world.claimable.get("pool", 0) > self.before["waiting"]
        self.require(13, lost or not fell, "a share's price fell without a loss")

    def every_coin_leaves(self) -> None:
        """Invariant 7: after its deadlines, without operator and arbiter."""
        world = self.world
        self._send("guardian", "coin", "unpause") if world.paused else None
        for name in TRADERS:
            if name in world.frozen:
                self._unfreeze("compliance", name)
        for name in CONTRACTS:
            if not world.in_good_standing(name):
                self._admit_system("steward", name, FOREVER)
        orders = [world.orders[key] for key in self.terms if world.orders[key].held]
        if orders:
            last = max(max(order.reclaim_after, order.deadline) for order in orders)
            self.chain.travel_to(max(self.chain.time, last))
        for name in TRADERS:
            if not world.in_good_standing(name) or world.member_until[name] < self.chain.time + DAY:
                self._admit("registrar", name, 15, self.chain.time + YEAR)
        for key in self.terms:
            self._way_out(key)
        for name in [*TRADERS, "pool"]:
            if world.claimable.get(name, 0):
                args = (self.address[name],)
                expect = lambda name=name: world.claim(name)  # noqa: E731
                self._do("stranger", "escrow", "claim", args, expect)
        self.compare(everything=True)
        left = self.views["coin of escrow"].words[0] - world.gifts.get("escrow", 0)
        self.require(7, left == 0, f"{left} cannot leave the escrow")

    def _way_out(self, key: bytes) -> None:
        """Take out what an order holds: its buyer, or anybody."""
        world, order = self.world, self.world.orders[key]
        terms = self.terms[key]
        if order.status == AUTHORIZED:
            expect = lambda: world.reclaim(order.payer, key)  # noqa: E731
            self._do(order.payer, "escrow", "reclaim", (terms,), expect)
        elif order.status == DELIVERED:
            args = (terms, order.held, order.max_fee)
            expect = lambda: world.release("stranger", key, *args[1:])  # noqa: E731
            self._do("stranger", "escrow", "release", args, expect)
        elif order.status == DISPUTED:
            expect = lambda: world.expire_dispute(key)  # noqa: E731
            self._do("stranger", "escrow", "expireDispute", (terms,), expect)

    # ------------------------------------------------------------------- coverage

    def _note_states(self) -> None:
        now = self.world.now
        for stored in self.world.lines.values():
            line = stored.at(now)
            self.states[f"line {LINE_STATUS[line.status]}"] += 1
            if line.delinquent(now):
                self.states["line delinquent"] += 1
            elif line.past_due_since and line.status == ACTIVE:
                self.states["line in grace"] += 1
            if line.status == CHARGED_OFF and line.recovered:
                self.states["line recovering"] += 1
            if line.loss_reserve:
                self.states["line owes the reserve"] += 1
        for key in self.terms:
            self.states[f"order {ORDER_STATUS[self.world.orders[key].status]}"] += 1
        for state, there in (
            ("coin paused", self.world.paused),
            ("draws paused", self.world.draws_paused),
            ("coin claimable", any(self.world.claimable.values())),
            ("somebody frozen", bool(self.world.frozen)),
            ("a contract expelled", not all(map(self.world.in_good_standing, CONTRACTS))),
            ("escrow no source of sales", not self.world.sales_sources),
        ):
            self.states[state] += there

    # ---------------------------------------------------------------------- running

    def act(self, name: str, r: Random) -> None:
        self.rules[name] += 1
        getattr(self, name)(r)

    def run(self, steps: Iterable[tuple[str, int]]) -> None:
        """A sequence from the start: actions, each with the seed of its choices.

        Raises:
            Mismatch: contract and model do not agree, or an invariant does not hold.
        """
        self.reset()
        for name, seed in steps:
            self.act(name, Random(seed))
        self.every_coin_leaves()


def random_steps(r: Random, length: int) -> list[tuple[str, int]]:
    names = r.choices(list(ACTIONS), list(ACTIONS.values()), k=length)
    return [(name, r.getrandbits(32)) for name in names]


_RELEASED = int.from_bytes(keccak(text="PurchaseReleased(bytes32,uint256,uint256,uint256,uint256)"))

# How often each action is chosen, of the sum.
ACTIONS: dict[str, int] = {
    "wait": 25,
    "strike": 35,
    "heal": 40,
    "transfer": 15,
    "transfer_many": 4,
    "transfer_from": 6,
    "disburse": 5,
    "approve": 6,
    "permit": 6,
    "transfer_signed": 15,
    "cancel_authorization": 5,
    "mint": 8,
    "redeem": 6,
    "freeze": 9,
    "seize": 6,
    "pause": 3,
    "admit": 4,
    "expel": 3,
    "admit_many": 3,
    "system_member": 3,
    "pull": 3,
    "set_mint_limit": 2,
    "authorize": 35,
    "authorize_many": 8,
    "charge": 12,
    "deliver": 30,
    "release": 35,
    "release_many": 8,
    "release_many_signed": 8,
    "void": 10,
    "refund": 12,
    "reclaim": 10,
    "claim": 7,
    "dispute": 22,
    "evidence": 9,
    "resolve": 11,
    "expire_dispute": 5,
    "broken_book": 5,
    "cancel_intents": 4,
    "replay": 14,
    "accept": 16,
    "revoke_offer": 4,
    "draw": 30,
    "set_holdback": 7,
    "repay": 34,
    "touch": 10,
    "charge_off": 4,
    "holiday": 6,
    "waive": 6,
    "lower_limit": 3,
    "set_caps": 4,
    "pause_draws": 3,
    "fund_reserve": 8,
    "withdraw_reserve": 5,
    "sales_source": 3,
    "false_sale": 3,
    "lend": 16,
    "take_out": 16,
    "approve_shares": 4,
    "transfer_shares": 6,
}

INVARIANTS = [name for name in vars(Plaza) if name.startswith("invariant_")]
