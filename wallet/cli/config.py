"""wallet config: the defaults that commands take where their flags do not say."""

from __future__ import annotations

from typing import Any

import click

from wallet.cli.names import complete_settings
from wallet.cli.options import Command, Settings
from wallet.config import Config, Setting
from wallet.errors import UnknownName


@click.group("config")
def command() -> None:
    """Show and set defaults: the key, the network, how long to wait.

    No setting answers a confirmation, and none holds a secret.
    """


@command.command("list", cls=Command)
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the settings.

    \b
    Example:
      wallet config list
    """
    config = Config(settings.folder)
    found = config.all()
    width = max(len(setting.name) for setting in found)
    settings.answer(
        {"path": str(config.path), "settings": [_as_json(setting) for setting in found]},
        "\n".join(
            f"{setting.name:<{width}}  {_shown(setting)}"
            + ("  (default)" if setting.is_default and setting.value is not None else "")
            for setting in found
        ),
    )


@command.command(cls=Command)
@click.argument("name", shell_complete=complete_settings)
@click.pass_obj
def get(settings: Settings, name: str) -> None:
    """Show the value of the setting NAME: key, network or timeout.

    \b
    Example:
      wallet config get timeout
    """
    setting = Config(settings.folder).get(name)
    if setting.value is None:
        raise UnknownName(f"no default {name} is set: `wallet {name} use NAME` sets it")
    settings.answer(_as_json(setting), _shown(setting))


@command.command("set", cls=Command)
@click.argument("name", shell_complete=complete_settings)
@click.argument("value")
@click.pass_obj
def set_(settings: Settings, name: str, value: str) -> None:
    """Set NAME to VALUE.

    \b
    key      the key to use, as `wallet key use`
    network  the network to use, as `wallet network use`
    timeout  seconds to wait until a transaction is on chain

    \b
    Example:
      wallet config set timeout 60
    """
    setting = Config(settings.folder).set(name, value)
    settings.answer(_as_json(setting), f"{setting.name}  {_shown(setting)}")


@command.command(cls=Command)
@click.argument("name", shell_complete=complete_settings)
@click.pass_obj
def unset(settings: Settings, name: str) -> None:
    """Go back to the default of the setting NAME.

    \b
    Example:
      wallet config unset timeout
    """
    setting = Config(settings.folder).unset(name)
    settings.answer(_as_json(setting), f"{setting.name}  {_shown(setting)}")


@command.command(cls=Command)
@click.pass_obj
def path(settings: Settings) -> None:
    """Show where the settings file is, or would be.

    \b
    Example:
      $EDITOR "$(wallet config path)"
    """
    file = Config(settings.folder).path
    settings.answer({"path": str(file), "exists": file.exists()}, str(file))


def _shown(setting: Setting) -> str:
    return "-" if setting.value is None else str(setting.value)


def _as_json(setting: Setting) -> dict[str, Any]:
    return {"name": setting.name, "value": setting.value, "default": setting.is_default}
