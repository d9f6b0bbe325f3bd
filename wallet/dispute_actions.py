"""What a party does in a dispute, as plans: `Wallet.plan_dispute` and `plan_evidence`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from wallet.abi import encode_call
from wallet.disputes import Dispute, Statement, keep_statement, read_dispute
from wallet.errors import InvalidInput, Refused
from wallet.intents import Intent, lone_nonce, name_reference
from wallet.parts import WalletParts
from wallet.purchases import Purchase

if TYPE_CHECKING:
    from wallet.plans import Plan

DAY = 86_400


class DisputeActions(WalletParts):
    """The part of `Wallet` that is about disputes."""

    def dispute(self, purchase: Purchase) -> Dispute | None:
        """Read what the chain tells of a purchase's dispute; None if there was none."""
        payer, status = purchase.terms.payer, purchase.order.status
        return read_dispute(self.network, self._rpc, self._home, purchase.order_hash, payer, status)

    def keep(self, statement: Statement) -> Path:
        """Write a statement down before its hash is sent: nobody can make the text from it."""
        return keep_statement(self._home, statement)

    def plan_dispute(
        self, purchase: Purchase, statement: Statement, *, idempotency_key: str | None = None
    ) -> Plan:
        """Plan to dispute what is held of a delivered purchase. Keep the statement first.

        Raises:
            Refused: not this key's purchase, nothing is held, it is not delivered yet, the time
                for it is over, or it is in dispute already.
            WouldRevert: the contract refuses it for another reason.
        """
        self._check_disputable(purchase)
        self._check_statement(purchase, statement)
        sender = self._check_standing(0)
        return self._plan(
            self.network.escrow,
            encode_call("dispute", *purchase.terms.words(), statement.hash()),
            balance=sender.units,
            balance_after=sender.units,
            amount=purchase.order.held,
            idempotency_key=idempotency_key,
        )

    def plan_evidence(
        self, purchase: Purchase, statement: Statement, *, idempotency_key: str | None = None
    ) -> Plan:
        """Plan to add evidence to an open dispute. Keep the statement first.

        Raises:
            Refused: this key is no party, there is no open dispute, the time for it is over, or the
                same was said before.
            WouldRevert: the contract refuses it for another reason.
        """
        self._check_arguable(purchase, statement)
        self._check_statement(purchase, statement)
        sender = self._check_standing(0)
        return self._plan(
            self.network.escrow,
            encode_call("submitEvidence", *purchase.terms.words(), statement.hash()),
            balance=sender.units,
            balance_after=sender.units,
            idempotency_key=idempotency_key,
        )

    def sign_statement(
        self, purchase: Purchase, statement: Statement, *, valid_for: int = DAY
    ) -> tuple[bytes, int]:
        """Sign a dispute or evidence for the bridge to send; the signature and its deadline.

        The bridge keeps the text, so the arbiter can read it. Its nonce is the one it expects.

        Raises:
            Refused: as `plan_dispute` and `plan_evidence`.
            PasswordError: from the signer.
        """
        order_hash, said = "0x" + purchase.order_hash.hex(), statement.hash()
        message: dict[str, int | str | bytes] = {
            "orderHash": purchase.order_hash,
            "evidenceHash": said,
        }
        if statement.kind == "complaint":
            kind = "Dispute"
            self._check_disputable(purchase)
            reference = name_reference("plaza/dispute", order_hash)
        else:
            kind = "Evidence"
            self._check_arguable(purchase, statement)
            if self.address not in (purchase.terms.payer, purchase.terms.payee):
                raise Refused("the operator's evidence is a transaction of its own")
            message["party"] = self.address
            reference = name_reference("plaza/evidence", order_hash, "0x" + said.hex())
        self._check_statement(purchase, statement)
        deadline = self._next_block_time() + valid_for
        message |= {"nonce": lone_nonce(reference), "deadline": deadline}
        return self.sign_intent(Intent(kind, message)), deadline

    def _check_statement(self, purchase: Purchase, statement: Statement) -> None:
        if (statement.order_hash, statement.party) != (purchase.order_hash, self.address):
            raise InvalidInput("the statement is another party's, or of another order")

    def _check_disputable(self, purchase: Purchase) -> None:
        if purchase.order.status == "disputed":
            raise Refused("the purchase is in dispute already: evidence can be added")
        self._check_holding(purchase)
        if purchase.order.status == "authorized":
            raise Refused(
                "delivery is not confirmed yet: from "
                f"{_utc(purchase.terms.reclaim_after)} on the money can be reclaimed"
            )
        now = self._next_block_time()
        if now >= purchase.order.dispute_deadline:
            raise Refused(
                f"the purchase could be disputed until {_utc(purchase.order.dispute_deadline)}, "
                f"it is {_utc(now)}"
            )

    def _check_arguable(self, purchase: Purchase, statement: Statement) -> None:
        self.check_chain()
        terms, order = purchase.terms, purchase.order
        if self.address not in (terms.payer, terms.payee, terms.operator):
            raise Refused(f"the purchase is between others, this key is {self.address}")
        if order.status != "disputed":
            raise Refused(f"there is no open dispute: the order is {order.status}")
        now = self._next_block_time()
        if now >= order.dispute_deadline:
            raise Refused(
                f"evidence could be given until {_utc(order.dispute_deadline)}, it is {_utc(now)}"
            )
        dispute, said = self.dispute(purchase), "0x" + statement.hash().hex()
        if dispute and any(r.hash == said and r.party == self.address for r in dispute.remarks):
            raise Refused(f"the same was said before: {said}")


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
