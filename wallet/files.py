"""Private files: 0600 in 0700 folders, created and never opened over something else."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from wallet.errors import InvalidInput

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)


def checked_name(name: str, what: str) -> str:
    """Return the name of a key or network if it can be one (it becomes a file's name).

    Raises:
        InvalidInput: it cannot, or it looks like an address.
    """
    if not _NAME.fullmatch(name) or name.startswith("0x"):
        raise InvalidInput(
            f"{name!r} cannot name a {what}: up to 32 of a-z, 0-9, - and _, "
            "beginning with a letter or digit, and not with 0x"
        )
    return name


def default_home() -> Path:
    """Return the folder wallets live in unless told otherwise, by the habits of the system."""
    import platformdirs  # noqa: PLC0415  # only where no folder was named

    return platformdirs.user_data_path("plaza-wallet", appauthor=False)


def private_folder(folder: Path) -> Path:
    """Create one of the wallet's own folders for its owner alone, or make it so."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the wallet's home, or its place
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def write_private(path: Path, content: str | bytes) -> Path:
    """Create a file that only its owner may read, write it through to the disk, and return it.

    Raises:
        FileExistsError: there is one (or a link) of that name.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    return path


def sync_folder(folder: Path) -> None:
    """Make created and renamed names of a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_name(path: Path) -> str | None:
    """Read a file that holds one name; None where there is no file, or nothing in it.

    Raises:
        InvalidInput: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidInput: the file cannot be read or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as JSON: {error}") from error
    return parse_json(text, str(path))


def parse_json(text: str, where: str) -> dict[str, Any]:
    """Read a JSON object out of text; `where` it stood is for the message. Raises InvalidInput."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} holds {type(value).__name__}, not a JSON object")
    return value
