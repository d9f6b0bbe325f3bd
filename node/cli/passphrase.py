"""`plaza passphrase`."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.common import data_option, json_option, print_json, read_settings


@click.command()
@data_option
@click.argument("new_file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def passphrase(data: Path, new_file: Path, as_json: bool) -> None:
    """Seal the seed with another passphrase: that in NEW_FILE, or a random one put there.

    The passphrase of now is read from PLAZA_PASSPHRASE_FILE, or `passphrase` in the data folder;
    its file is left as it is. Keys and addresses stay what they are. A node that runs meanwhile
    goes on, and needs NEW_FILE at its next start. Where the command was cut off, run it again.

    \b
    Examples:
      plaza passphrase /root/plaza-passphrase-2
      PLAZA_PASSPHRASE_FILE=/root/plaza-passphrase plaza passphrase /root/plaza-passphrase-2
    """
    from node.keys import SealedSeed, SeedError
    from node.up import (
        UpError,
        make_passphrase,
        passphrase_file_of,
        read_passphrase,
    )

    settings = read_settings(data, {})
    old_file, seed_file = passphrase_file_of(settings), data / "seed.json"
    if new_file.resolve() == old_file.resolve():
        raise click.UsageError(f"{new_file} has the passphrase of now: name another file")
    try:
        old = read_passphrase(old_file)
        SealedSeed.open(seed_file, old)
        is_done = False
    except (UpError, SeedError) as error:
        if not (new_file.exists() and _opens(seed_file, new_file)):
            raise click.ClickException(str(error)) from error
        is_done = True  # an earlier run has done it and was cut off, or this one is a repetition
    try:
        if not is_done:
            if not new_file.exists():
                make_passphrase(new_file)
            SealedSeed.reseal(seed_file, old, read_passphrase(new_file))
    except (UpError, SeedError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json({"seed": str(seed_file), "passphrase_file": str(new_file)})
        return
    click.echo(f"{seed_file} opens with the passphrase in {new_file}.")
    click.echo(f"At the next start: PLAZA_PASSPHRASE_FILE={new_file}, or move it to {old_file}.")


def _opens(seed_file: Path, passphrase_file: Path) -> bool:
    from node.keys import SealedSeed, SeedError
    from node.up import UpError, read_passphrase

    try:
        SealedSeed.open(seed_file, read_passphrase(passphrase_file))
    except (UpError, SeedError):
        return False
    return True
