"""The one way of commands that send one transaction: finish, plan, preview, confirm, submit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from wallet.cli.options import Settings
from wallet.cli.sending import finish_earlier, preview, submit
from wallet.client import Wallet

if TYPE_CHECKING:
    from wallet.credit_actions import RepaymentPlan
    from wallet.plans import PaymentPlan, Plan
    from wallet.signer import KeystoreSigner

P = TypeVar("P", "Plan", "PaymentPlan", "RepaymentPlan")


def act(  # each is one step's
    settings: Settings,
    wallet: Wallet,
    signer: KeystoreSigner,
    *,
    wanted: Mapping[str, str | None],
    make_plan: Callable[[], P],
    lines: Callable[[P], list[str]],
    question: str,
    dry_run: bool,
    timeout: float,
    idempotency_key: str | None = None,
    before_sending: Callable[[], None] = lambda: None,
) -> int:
    """Carry a command out, and return its exit code.

    Args:
        wanted: the parts of an intent that say an unfinished transaction is the one asked for.
        before_sending: runs once it is confirmed, before anything is signed.
    """
    if not dry_run:
        code = finish_earlier(settings, wallet, wanted, timeout, idempotency_key)
        if code is not None:
            return code
        signer.prepare()
    plan = make_plan()
    preview(settings, plan, lines(plan))
    if dry_run:
        settings.answer(plan.to_dict(), "Nothing was signed or sent.")
        return 0
    settings.confirm(question)
    before_sending()
    return submit(settings, wallet, plan, timeout, idempotency_key)
