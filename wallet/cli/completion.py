"""wallet completion: what a shell runs to complete the command's words with Tab."""

from __future__ import annotations

import click

from wallet.cli.options import Command, Settings

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_obj
def command(settings: Settings, shell: str) -> None:
    """Print the script that makes Tab complete commands, flags and names in SHELL.

    \b
    For bash, in ~/.bashrc:
      eval "$(wallet completion bash)"
    For zsh, in ~/.zshrc, after compinit:
      eval "$(wallet completion zsh)"
    For fish, once:
      wallet completion fish > ~/.config/fish/completions/wallet.fish
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    from wallet.cli import COMPLETION, root  # noqa: PLC0415  # which has this command in it

    complete = get_completion_class(shell)
    assert complete is not None, "click knows all of SHELLS"
    script = complete(root, {}, "wallet", COMPLETION).source()
    settings.answer({"shell": shell, "script": script}, script)
