"""`plaza conformance`: check a running deployment through HTTP alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from node.cli.common import json_option, print_json

if TYPE_CHECKING:
    from node.conformance.suite import Finding


@click.command()
@click.option("--target", required=True, metavar="URL", help="Of the bridge.")
@click.option("--key", required=True, envvar="PLAZA_API_KEY", help="API key of a merchant.")
@click.option(
    "--other-key",
    envvar="PLAZA_OTHER_API_KEY",
    help="Of another merchant, to check that the two are kept apart.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Only these, or those that begin so.")
@click.option("--list", "only_list", is_flag=True, help="Say what is checked, and check nothing.")
@json_option
def conformance(
    target: str,
    key: str,
    other_key: str | None,
    only: tuple[str, ...],
    only_list: bool,
    as_json: bool,
) -> None:
    """Check that a running bridge keeps the rules of the API.

    Makes members, orders and references with names of its own, and moves small sums that it tops up
    by itself; all of it stays in the books. What the key lacks the scope for is skipped. Exit 0: no
    rule is broken. 1: one is. 2: there was nothing to check, such as no bridge.

    \b
    Examples:
      plaza conformance --target http://127.0.0.1:8400 --key plz_...
      PLAZA_API_KEY=plz_... plaza conformance --target https://pay.shop.example --json
      plaza conformance --target http://127.0.0.1:8400 --key plz_... --only idempotency
    """
    import secrets

    from node.conformance.checks import CHECKS
    from node.conformance.suite import Outcome, Unusable, run_checks

    checks = [check for check in CHECKS if not only or check.name.startswith(only)]
    if not checks:
        raise click.UsageError(f"no check begins with any of: {', '.join(only)}")
    if only_list:
        for check in checks:
            click.echo(f"{check.name}\n    {check.proves}\n    Specification: {check.words}")
        return
    try:
        tell = (lambda finding: None) if as_json else _tell
        findings = run_checks(
            checks, target.rstrip("/"), key, other_key, secrets.token_hex(4), tell
        )
    except Unusable as unusable:
        click.echo(f"Error: {unusable}", err=True)
        sys.exit(2)
    counts = {
        outcome.value: sum(finding.outcome is outcome for finding in findings)
        for outcome in Outcome
    }
    if as_json:
        print_json({"target": target, **counts, "checks": findings})
    else:
        click.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    sys.exit(1 if counts["failed"] else 0)


def _tell(finding: Finding) -> None:
    click.echo(f"{finding.outcome:<8}{finding.name:<30}{finding.seconds:>7.2f} s")
    if finding.reason is not None:
        click.echo(f"        {finding.reason}")
        click.echo(f"        Should be: {finding.proves}")
