"""How what checks found is shown: a line each as it is found, or all of it as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wallet.cli.options import Settings
from wallet.network_check import Finding

_TITLES = {"ok": "OK", "warning": "Warning", "problem": "Problem"}
_WIDTH = 13


def show_findings(
    settings: Settings, findings: Iterable[Finding], value: dict[str, Any]
) -> list[Finding]:
    """Show findings as they come, and answer with `value` and all of them."""
    found = []
    for finding in findings:
        found.append(finding)
        if not settings.json:
            settings.say(_as_text(finding))
    counts = {status: sum(f.status == status for f in found) for status in _TITLES}
    settings.answer(
        {**value, "ok": not counts["problem"], "findings": [_as_json(f) for f in found]},
        f"{_counted(counts['problem'], 'problem')}, {_counted(counts['warning'], 'warning')}",
    )
    return found


def _as_text(finding: Finding) -> str:
    # What a bridge or a coin calls itself is theirs to choose: it must not look like more lines.
    message = finding.message.replace("\n", "\N{REPLACEMENT CHARACTER}")
    line = f"{_TITLES[finding.status]:<7}  {finding.check:<{_WIDTH}}  {message}"
    if finding.status == "ok" or finding.advice is None:
        return line
    return f"{line}\n{'':<{9 + _WIDTH}}  → {finding.advice}"


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _as_json(finding: Finding) -> dict[str, str | None]:
    return {
        "check": finding.check,
        "status": finding.status,
        "message": finding.message,
        "advice": finding.advice,
    }
