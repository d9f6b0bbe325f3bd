"""wallet doctor: everything that could be wrong, and what to do about it."""

from __future__ import annotations

import time

import click

from wallet.cli.findings import show_findings
from wallet.cli.options import Command, Settings
from wallet.doctor import diagnose


@click.command("doctor", cls=Command)
@click.pass_obj
def command(settings: Settings) -> int:
    """Look at files, keys, networks, journal, clock and packages, and say what is wrong.

    It asks for no password, changes nothing, and ends with 1 if there is a problem. Warnings can
    be lived with.

    \b
    Example:
      wallet doctor
    """
    findings = diagnose(settings.folder, time.time(), settings.network)
    found = show_findings(settings, findings, {"home": str(settings.folder)})
    return int(any(finding.status == "problem" for finding in found))
