"""What a seller does with a credit line, as plans: `Wallet.plan_accept`, `plan_draw`, …

Each is checked first, and what the credit book would only say as an error is said in words.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wallet.abi import encode_call, words_of
from wallet.amounts import format_units
from wallet.credit import (
    DAY,
    MAX_HOLDBACK_BPS,
    CreditLine,
    Lending,
    SignedOffer,
    decode_credit_call,
    parse_offer,
    read_line,
    repayment_nonce,
    repayment_reference,
)
from wallet.errors import InvalidInput, Refused, WalletError
from wallet.intents import Intent, ReceiveAuthorization, lone_nonce
from wallet.parts import WalletParts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wallet.networks import Network
    from wallet.plans import Plan

# Interest runs on until the transaction is in a block: all is repaid if that takes no longer.
SLACK_SECONDS = 3_600


@dataclass(frozen=True)
class RepaymentPlan:
    """A repayment checked and ready to be signed for.

    Its one signature is `authorization`, for `amount`; what the line does not need of it comes back
    in the same transaction, which can only be built, and simulated, once it is signed.
    """

    network: Network
    authorization: ReceiveAuthorization
    reference: bytes
    seller: str
    owed: int
    nonce: int
    balance: int
    balance_after: int
    warnings: tuple[str, ...] = ()
    idempotency_key: str | None = None

    @property
    def intent(self) -> Mapping[str, str]:
        """What it is for, decoded from the call data, in which only the signature is missing."""
        words = words_of(self.call(bytes(65))[4:])
        return decode_credit_call(self.network, "repayWithAuthorization", words)

    @property
    def contract(self) -> str:
        """The contract that is called."""
        return self.authorization.to

    @property
    def sender(self) -> str:
        return self.authorization.payer

    def call(self, signature: bytes) -> bytes:
        """The call data, once it is signed."""
        authorization = self.authorization
        return encode_call(
            "repayWithAuthorization",
            self.seller,
            self.reference,
            authorization.payer,
            authorization.value,
            authorization.valid_after,
            authorization.valid_before,
            tail=signature,
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON, amounts as strings of atomic units."""
        return {
            "intent": dict(self.intent),
            "network": self.network.name,
            "chain_id": self.network.chain_id,
            "from": self.sender,
            "to": self.authorization.to,
            "owed": str(self.owed),
            "valid_before": self.authorization.valid_before,
            "nonce": self.nonce,
            "balance": str(self.balance),
            "balance_after": str(self.balance_after),
            "warnings": list(self.warnings),
        }


class CreditActions(WalletParts):
    """The part of `Wallet` that is about credit lines."""

    # -------------------------------------------------------------------- reading

    def credit_line(self, seller: str | None = None) -> CreditLine:
        """Read a credit line as it is now, the signer's without an address.

        Raises:
            Refused: the network has no credit lines.
        """
        return read_line(self.network, self._rpc, seller or self.address)

    def credit_offer(self, value: Any) -> SignedOffer:
        """Read and check an offer made to this key; raises as `credit.parse_offer`."""
        return parse_offer(self.network, self.address, value)

    def is_underwriter(self, address: str) -> bool:
        """Whether the chain lets an address underwrite credit lines now."""
        book = self.network.contract("credit_book")
        (authority,) = self._read(book, encode_call("authority"))
        (role,) = self._read(book, encode_call("UNDERWRITER_ROLE"))
        has_role = encode_call("hasRole", role, address)
        holds, delay = self._read(f"0x{authority:040x}", has_role)
        return bool(holds) and delay == 0

    def lending(self) -> Lending:
        """Read what bounds the draws of all lines together."""
        principal, reserve, cap, _, _, _, reserve_bps, paused = self._read(
            self.network.contract("credit_book"), encode_call("totals")
        )
        pool = self.account(self.network.contract("lender_pool"))
        return Lending(principal, cap, reserve, reserve_bps, bool(paused), pool.units)

    # ------------------------------------------------------------------- planning

    def plan_accept(self, offer: SignedOffer, *, idempotency_key: str | None = None) -> Plan:
        """Plan to accept an offer, which opens the line or gives it new terms.

        Raises:
            Refused: the offer is over, used, above the caps or not by an underwriter, or the line
                is not in order.
            WouldRevert: the contract refuses it for another reason.
        """
        self.check_offer(offer)
        sender = self._check_standing(0)
        data = encode_call("accept", *offer.intent.words(), tail=offer.signature)
        plan = self._plan(
            self.network.contract("credit_book"),
            data,
            balance=sender.units,
            balance_after=sender.units,
            idempotency_key=idempotency_key,
        )
        # The hash is decoded from the call: it is of the very terms that are shown.
        if plan.intent["offer_hash"] != "0x" + offer.offer_hash.hex():
            raise WalletError(f"the call accepts {plan.intent['offer_hash']}, another offer")
        return plan

    def sign_acceptance(self, offer: SignedOffer, *, valid_for: int = DAY) -> tuple[bytes, int]:
        """Sign the acceptance of an offer for others to send; the signature and its deadline.

        Its nonce is the one the bridge expects, so the shop can hand both over.

        Raises:
            Refused: as `plan_accept`.
            PasswordError: from the signer.
        """
        self.check_offer(offer)
        self._check_standing(0)
        deadline = min(self._next_block_time() + valid_for, offer.number("expires"))
        message: dict[str, int | str | bytes] = {
            "offerHash": offer.offer_hash,
            "nonce": lone_nonce(offer.offer_hash),
            "deadline": deadline,
        }
        return self.sign_intent(Intent("Acceptance", message)), deadline

    def check_offer(self, offer: SignedOffer) -> None:
        """Say in words why an offer could not be accepted now. Raises Refused."""
        self.check_chain()
        book, now = self.network.contract("credit_book"), self._next_block_time()
        line, apr = self.credit_line(), offer.number("aprBps")
        (line_cap,) = self._read(book, encode_call("lineCap"))
        if now >= offer.number("expires"):
            raise Refused(
                f"the offer could be accepted until {_utc(offer.number('expires'))}, "
                f"it is {_utc(now)}"
            )
        if self._read(book, encode_call("offerUsed", offer.offer_hash))[0]:
            raise Refused("the offer was accepted before, or taken back by its underwriter")
        if not self.is_underwriter(offer.underwriter):
            raise Refused(f"{offer.underwriter}, who signed the offer, is not an underwriter here")
        if offer.number("limit") > line_cap:
            raise Refused(
                f"the offer's limit is {format_units(offer.number('limit'))}, "
                f"a credit line may have {format_units(line_cap)} at most"
            )
        if line.status in ("defaulted", "charged_off") or line.past_due_since:
            raise Refused(f"{line.obstacle}; until then it takes no new terms")
        if line.window_end and apr > line.apr_bps:
            raise Refused(
                f"the offer's rate of {apr} basis points is above the {line.apr_bps} of what is "
                "owed already"
            )

    def plan_draw(self, units: int, *, idempotency_key: str | None = None) -> Plan:
        """Plan to draw `units` on the signer's line.

        Raises:
            InvalidInput: the amount is zero.
            Refused: the line, the reserve or the pool does not permit it now.
            WouldRevert: the contract refuses it for another reason.
        """
        if units <= 0:
            raise InvalidInput("the amount is zero")
        self.check_chain()
        line = self.credit_line()
        if line.obstacle:
            raise Refused(line.obstacle)
        if units > line.available:
            raise Refused(
                f"{format_units(line.available)} can be drawn: the limit is "
                f"{format_units(line.limit)}, and {format_units(line.principal)} is drawn already"
            )
        obstacle = self.lending().obstacle(units)
        if obstacle:
            raise Refused(obstacle)
        sender = self._check_standing(0)
        return self._plan(
            self.network.contract("credit_book"),
            encode_call("draw", units),
            balance=sender.units,
            balance_after=sender.units + units,
            idempotency_key=idempotency_key,
        )

    def plan_holdback(self, holdback_bps: int, *, idempotency_key: str | None = None) -> Plan:
        """Plan to choose the share of each sale that repays the line, in 1/10,000.

        Raises:
            Refused: there is no line, or the share is below the agreed one or above the most.
        """
        self.check_chain()
        line = self.credit_line()
        if line.status == "none":
            raise Refused(str(line.obstacle))
        if not line.agreed_holdback_bps <= holdback_bps <= MAX_HOLDBACK_BPS:
            raise Refused(
                f"the holdback can be {line.agreed_holdback_bps} to {MAX_HOLDBACK_BPS} basis "
                f"points, not {holdback_bps}"
            )
        sender = self._check_standing(0)
        return self._plan(
            self.network.contract("credit_book"),
            encode_call("setHoldback", holdback_bps),
            balance=sender.units,
            balance_after=sender.units,
            idempotency_key=idempotency_key,
        )

    def plan_repay(
        self,
        units: int | None,
        *,
        seller: str | None = None,
        idempotency_key: str | None = None,
    ) -> RepaymentPlan:
        """Plan to repay a line, the signer's own without a `seller`; None repays all.

        One signature moves the coin and names the repayment it is for, so nothing stays allowed
        afterwards, and a relayed or repeated one is taken once. As interest runs on until a block
        holds it, "all" is signed for an hour's interest more than is owed; what is not needed comes
        back in the same transaction.

        Raises:
            InvalidInput: the amount is zero.
            Refused: there is no line, nothing is owed, or a rule forbids it now.
            InsufficientFunds: the balance does not cover it.
        """
        if units is not None and units <= 0:
            raise InvalidInput("the amount is zero")
        self.check_chain()
        seller = seller or self.address
        line, now = self.credit_line(seller), self._next_block_time()
        if line.status == "none":
            raise Refused(str(line.obstacle))
        if not line.payoff:
            raise Refused("nothing is owed on the credit line")
        owed = line.payoff_by(now)
        sender = self._check_standing(owed if units is None else units)
        amount = units
        if amount is None:
            amount = min(line.payoff_by(now + SLACK_SECONDS), sender.units)
        seed = secrets.token_bytes(32) if idempotency_key is None else idempotency_key.encode()
        reference = repayment_reference(seed, everything=units is None)
        return RepaymentPlan(
            network=self.network,
            authorization=ReceiveAuthorization(
                payer=self.address,
                to=self.network.contract("credit_book"),
                value=amount,
                valid_after=0,
                valid_before=now + DAY,
                nonce=repayment_nonce(seller, reference),
            ),
            reference=reference,
            seller=seller,
            owed=owed,
            nonce=self._next_nonce(),
            balance=sender.units,
            balance_after=sender.units - min(amount, owed),
            warnings=()
            if amount <= owed or units is None
            else (f"{format_units(owed)} is owed: the rest comes back",),
            idempotency_key=idempotency_key,
        )


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
