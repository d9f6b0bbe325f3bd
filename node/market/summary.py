"""What a replay did, as one JSON document and as tables for people.

Amounts in the document are strings of atomic units; times of the data are UTC days.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import mean, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from node.market.credit import CreditRecord
from node.market.orders import ATOMIC_UNITS_PER_COIN, OrderBook
from node.market.plan import Outcome, Plan, StepKind
from node.market.reconciliation import Comparison, expected
from node.market.replay import Run

SHOWN_DAYS = 10  # of the first and of the last days
SHOWN_NAME = 12  # characters of a seller's id
SHOWN_SELLERS = 10
SHOWN_NAME = 24
SHOWN_BAD = 20
SHOWN_DIFFERENCES = 20

_DAY_SUMS = ("purchases", "paid", "shipped", "delivered", "released", "fees", "returned")


def summarise(plan: Plan, run: Run, comparison: Comparison) -> dict[str, Any]:
    """The whole outcome as one document of JSON values."""
    sums = expected(plan, comparison.credit)
    return {
        "source": plan.book.source,
        "generated": plan.book.generated,
        "replay_id": plan.replay_id(),
        "orders": len(plan.book.orders),
        "purchases": len(plan.purchases),
        "buyers": len({purchase.buyer for purchase in plan.purchases}),
        "sellers": len({purchase.seller for purchase in plan.purchases}),
        "terms": {
            "tick_seconds": plan.terms.tick,
            "fee_bps": plan.terms.fee_bps,
            "dispute_window_seconds": plan.terms.dispute_window,
            "credit_lines": plan.terms.credit,
        },
        **read_report(plan.book),
        "by_state": {
            outcome.value: {
                "count": sums.counts[outcome],
                "amount": str(sums.amounts[outcome]),
            }
            for outcome in Outcome
        },
        "coin": {
            "topped_up": str(sums.topped_up),
            "held": str(sums.held),
            "released": str(sums.released),
            "fees": str(sums.fees),
            "voided": str(sums.voided),
            "refunded": str(sums.refunded),
        },
        "credit": _credit(plan, comparison),
        "by_day": _by_day(plan),
        "by_seller": _by_seller(plan, comparison.credit),
        "run": {
            "resumed": run.resumed,
            "clock_moved": run.can_travel,
            "ticks": run.ticks,
            "seconds": round(run.seconds, 3),
            "purchases": run.purchases,
            "purchases_per_second": round(run.purchases / run.seconds, 2) if run.seconds else 0.0,
            "outages": run.outages,
            "steps": {str(action): _times(times) for action, times in run.latencies.items()},
        },
        "errors": dict(run.errors),
        "reconciliation": {
            "ok": comparison.ok,
            "block": comparison.block,
            "figures_compared": comparison.checked,
            "differences": [
                {
                    "where": difference.where,
                    "what": difference.what,
                    "expected": difference.expected,
                    "actual": difference.actual,
                }
                for difference in comparison.differences
            ],
            "node": dict(comparison.node),
        },
    }


def _credit(plan: Plan, comparison: Comparison) -> dict[str, Any]:
    """The credit lines by our own record, and the pool as the bridge tells it."""
    record, pool = comparison.credit, comparison.pool
    sums = ("drawn", "by_sales", "by_hand", "interest_paid", "principal")
    lines = []
    for line in plan.lines:
        own = record.lines[line.seller]
        lines.append(
            {"seller": line.seller, "limit": str(line.limit)}
            | {name: str(getattr(own, name)) for name in sums}
        )
    shown = ("cash", "book_value", "total_assets", "share_price", "reserve", "interest")
    return {
        "lines": len(plan.lines),
        **{name: str(record.total(name)) for name in sums},
        "pool": {name: pool[name] for name in shown} if pool else None,
        "by_line": lines,
    }


def read_report(book: OrderBook) -> dict[str, Any]:
    """What reading the orders left out, and what it kept although it looks odd."""
    return {
        "bad_rows": [
            {"file": bad.file, "line": bad.line, "reason": bad.reason} for bad in book.bad_rows
        ],
        "quirks": dict(book.quirks),
    }


def _by_day(plan: Plan) -> list[dict[str, Any]]:
    days: dict[str, Counter[str]] = defaultdict(Counter)
    for purchase in plan.purchases:
        for step in purchase.steps:
            sums = days[datetime.fromtimestamp(step.due, UTC).strftime("%Y-%m-%d")]
            match step.kind:
                case StepKind.PURCHASE:
                    sums["purchases"] += 1
                    sums["paid"] += purchase.amount
                case StepKind.SHIP:
                    sums["shipped"] += 1
                case StepKind.DELIVER:
                    sums["delivered"] += 1
                case StepKind.RELEASE:
                    sums["released"] += purchase.amount
                    sums["fees"] += purchase.fee
                case StepKind.VOID | StepKind.REFUND:
                    sums["returned"] += purchase.amount
    counts = ("purchases", "shipped", "delivered")
    return [
        {"day": day}
        | {name: sums[name] if name in counts else str(sums[name]) for name in _DAY_SUMS}
        for day, sums in sorted(days.items())
    ]


def _by_seller(plan: Plan, credit: CreditRecord) -> list[dict[str, Any]]:
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for purchase in plan.purchases:
        seller = sums[purchase.seller]
        seller["purchases"] += 1
        seller["sold"] += purchase.amount
        if purchase.outcome is Outcome.RELEASED:
            holdback = credit.holdback(purchase.seller, purchase.order_id)
            seller["received"] += purchase.amount - purchase.fee - holdback
            seller["holdback"] += holdback
            seller["fees"] += purchase.fee
    best = sorted(sums.items(), key=lambda item: (-item[1]["sold"], item[0]))
    return [
        {
            "seller": name,
            "purchases": seller["purchases"],
            "sold": str(seller["sold"]),
            "received": str(seller["received"]),
            "fees": str(seller["fees"]),
            "holdback": str(seller["holdback"]),
        }
        for name, seller in best
    ]


def _times(seconds: Sequence[float]) -> dict[str, Any]:
    """Milliseconds; the percentiles of a single value are that value."""
    cuts = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 19
    return {
        "count": len(seconds),
        "mean_ms": round(mean(seconds) * 1000, 1),
        "p50_ms": round(cuts[9] * 1000, 1),
        "p95_ms": round(cuts[18] * 1000, 1),
    }


# ------------------------------------------------------------------------------ for people


def print_summary(document: Mapping[str, Any], console: Console) -> None:
    """Print the document as tables."""
    kind = "GENERATED orders, not real ones" if document["generated"] else "genuine orders"
    console.print(
        f"\n{document['orders']} orders as {document['purchases']} purchases of"
        f" {document['buyers']} buyers at {document['sellers']} sellers: {kind}",
        f"({document['source']})",
        markup=False,
        highlight=False,
    )
    _print_bad_rows(document, console)
    _print_states(document, console)
    if document["credit"]["lines"]:
        _print_credit(document["credit"], console)
    _print_days(document["by_day"], console)
    _print_sellers(document["by_seller"], console)
    _print_run(document["run"], console)
    _print_verdict(document, console)


def _table(title: str, *columns: str) -> Table:
    # Without lines, so that it fits 80 columns: a number cut short would say something else.
    table = Table(title=f"\n{title}", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _coins(amount: str) -> str:
    """Atomic units as coins, exact, with two decimals or more: "12500000" → "12.50"."""
    whole, fraction = divmod(int(amount), ATOMIC_UNITS_PER_COIN)
    return f"{whole:,}.{f'{fraction:06d}'.rstrip('0').ljust(2, '0')}"


def _short(name: str) -> str:
    """The end tells generated names apart, and the beginning hashes: keep both."""
    return name if len(name) <= SHOWN_NAME else f"{name[:9]}…{name[-(SHOWN_NAME - 10) :]}"


def _print_bad_rows(document: Mapping[str, Any], console: Console) -> None:
    bad = document["bad_rows"]
    for row in bad[:SHOWN_BAD]:
        console.print(
            f"skipped  {row['file']}:{row['line']}: {row['reason']}", markup=False, highlight=False
        )
    if len(bad) > SHOWN_BAD:
        console.print(f"         … and {len(bad) - SHOWN_BAD} more bad rows (all with --json)")
    for quirk, count in document["quirks"].items():
        console.print(f"kept     {count} orders: {quirk}", markup=False, highlight=False)


def _print_states(document: Mapping[str, Any], console: Console) -> None:
    table = _table("Purchases by state", "state", "purchases", "coin")
    for state, total in document["by_state"].items():
        table.add_row(state, str(total["count"]), _coins(total["amount"]))
    console.print(table)
    table = _table("Coin", "what became of it", "coin")
    for name, amount in document["coin"].items():
        table.add_row(name.replace("_", " "), _coins(amount))
    console.print(table)


def _print_credit(credit: Mapping[str, Any], console: Console) -> None:
    names = {
        "drawn": "drawn",
        "by_sales": "repaid by holdback",
        "by_hand": "repaid by hand",
        "interest_paid": "of these interest",
        "principal": "principal outstanding",
    }
    table = _table(f"{credit['lines']} credit lines", "what", "coin")
    for name, words in names.items():
        table.add_row(words, _coins(credit[name]))
    pool = credit["pool"]
    table.add_row("interest outstanding", _coins(pool["interest"]))
    table.add_row("cash of the pool", _coins(pool["cash"]))
    table.add_row("worth of the pool", _coins(pool["total_assets"]))
    table.add_row("worth of a share of 1", _coins(pool["share_price"]))
    table.add_row("first-loss reserve", _coins(pool["reserve"]))
    console.print(table)
    table = _table("Credit lines", "seller", "drawn", "by holdback", "by hand", "left")
    for line in credit["by_line"][:SHOWN_SELLERS]:
        amounts = ("drawn", "by_sales", "by_hand", "principal")
        table.add_row(_short(line["seller"]), *(_coins(line[name]) for name in amounts))
    console.print(table)


def _print_days(days: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = _table("By day of the data", "day", *_DAY_SUMS)
    cut = len(days) > 2 * SHOWN_DAYS
    shown = [*days[:SHOWN_DAYS], None, *days[-SHOWN_DAYS:]] if cut else days
    for day in shown:
        if day is None:
            table.add_row("…", *("" for _ in _DAY_SUMS))
            continue
        cells = (day[name] for name in _DAY_SUMS)
        table.add_row(
            day["day"], *(_coins(cell) if isinstance(cell, str) else str(cell) for cell in cells)
        )
    console.print(table)


def _print_sellers(sellers: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = _table("Best sellers", "seller", "purchases", "sold", "received", "fees")
    for row in sellers[:SHOWN_SELLERS]:
        table.add_row(
            _short(row["seller"]),
            str(row["purchases"]),
            *(_coins(row[name]) for name in ("sold", "received", "fees")),
        )
    console.print(table)


def _print_run(run: Mapping[str, Any], console: Console) -> None:
    table = _table("Time per step, from request to settled", "step", "count", "mean", "p50", "p95")
    for action, times in run["steps"].items():
        table.add_row(
            action,
            str(times["count"]),
            *(f"{times[name]:.0f} ms" for name in ("mean_ms", "p50_ms", "p95_ms")),
        )
    console.print(table)
    resumed = ", resumed from an earlier run" if run["resumed"] else ""
    console.print(
        f"{run['purchases']} purchases in {run['seconds']:.1f} s:"
        f" {run['purchases_per_second']:.1f} a second end to end{resumed}",
        highlight=False,
    )


def _print_verdict(document: Mapping[str, Any], console: Console) -> None:
    for order_id, reason in document["errors"].items():
        console.print(f"FAILED   order {order_id}: {reason}", markup=False, highlight=False)
    result = document["reconciliation"]
    where = f"{result['figures_compared']} figures compared at block {result['block']}"
    if result["ok"]:
        console.print(
            f"Input, bridge and chain agree to the unit: {where}.", markup=False, highlight=False
        )
        return
    differences = result["differences"]
    for row in differences[:SHOWN_DIFFERENCES]:
        console.print(
            f"DIFFERS  {row['where']}: {row['what']}: expected {row['expected']},"
            f" is {row['actual']}",
            markup=False,
            highlight=False,
        )
    console.print(
        f"{len(differences)} DIFFERENCES between input, bridge and chain: {where}.",
        markup=False,
        highlight=False,
    )
