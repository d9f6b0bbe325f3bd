"""Words on a terminal: shown once on a screen of their own, and typed in again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from wallet.cli.options import ConfirmationRequired, Declined, Settings
from wallet.mnemonics import tidy

ATTEMPTS = 3


@contextmanager
def _aside() -> Iterator[None]:
    """A second screen of the terminal: what was on it is gone with it, also from scrolling back."""
    click.echo("\x1b[?1049h\x1b[2J\x1b[H", err=True, nl=False)
    try:
        yield
    finally:
        click.echo("\x1b[2J\x1b[H\x1b[?1049l", err=True, nl=False)


def show_and_retype(mnemonic: str) -> None:
    """Show words once, and have all of them typed in again from paper.

    Raises:
        Declined: they were not, three times.
    """
    words = mnemonic.split(" ")
    rows = -(-len(words) // 3)
    with _aside():
        click.echo(
            f"These {len(words)} words are the key. Write them down, in order, on paper.\n"
            "Whoever has them has the money. They are shown this once.\n",
            err=True,
        )
        for row in range(rows):
            cells = [f"{at + 1:>2} {words[at]:<10}" for at in range(row, len(words), rows)]
            click.echo("  ".join(cells).rstrip(), err=True)
        click.prompt(
            "\nPress Enter when they are written down", default="", show_default=False, err=True
        )
    with _aside():
        for _ in range(ATTEMPTS):
            typed = _ask_words(f"Type the {len(words)} words from the paper").split(" ")
            if typed == words:
                return
            wrong = [str(at) for at, word in enumerate(words, 1) if typed[at - 1 : at] != [word]]
            click.echo(
                f"Not the same: there are {len(typed)} words."
                if len(typed) != len(words)
                else f"Not the same: {', '.join(wrong)}.",
                err=True,
            )
    raise Declined("the words were not typed as they were shown: no key was made")


def ask_words(settings: Settings) -> str:
    """Ask for a mnemonic, on a screen that is gone afterwards."""
    if not settings.on_terminal:
        raise ConfirmationRequired("not on a terminal: give the words with --mnemonic-file")
    with _aside():
        return _ask_words("Type the words")


def _ask_words(question: str) -> str:
    return tidy(click.prompt(question, err=True))
