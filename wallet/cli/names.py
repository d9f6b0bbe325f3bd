"""What the shell completes: names that are files here. No network, no password, nothing heavy.

An error is no completion: nobody asked for anything yet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wallet.cli.options import Settings


def key_names(home: Path) -> list[str]:
    from wallet.keys import Keystore  # noqa: PLC0415

    return Keystore(home).names()


def network_names(home: Path) -> list[str]:
    from wallet.networks import Networks  # noqa: PLC0415

    return Networks(home).names()


def recipient_names(home: Path) -> list[str]:
    """Whatever stands for an address where one is asked for."""
    return key_names(home) + contact_names(home)


def contact_names(home: Path) -> list[str]:
    from wallet.contacts import Contacts  # noqa: PLC0415

    return [contact.name for contact in Contacts(home).all()]


def setting_names(home: Path) -> list[str]:
    from wallet.config import DEFAULTS  # noqa: PLC0415

    return list(DEFAULTS)


def _completing(
    find: Callable[[Path], list[str]],
) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from wallet.cli.options import Settings  # noqa: PLC0415  # which itself completes names

        try:
            settings: Settings = ctx.ensure_object(Settings)
            return [name for name in find(settings.folder) if name.startswith(incomplete)]
        except Exception:  # whatever is wrong, the command itself will say it
            return []

    return complete


complete_keys = _completing(key_names)
complete_networks = _completing(network_names)
complete_recipients = _completing(recipient_names)
complete_contacts = _completing(contact_names)
complete_settings = _completing(setting_names)
