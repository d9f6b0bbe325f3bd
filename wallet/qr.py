"""QR codes of short texts, for a terminal and as pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from wallet.errors import AlreadyExists, InvalidInput
from wallet.files import sync_folder, write_private

if TYPE_CHECKING:
    from segno import QRCode

MAX_TEXT = 2_000  # bytes; more makes a code that few cameras read
SCALE = 8  # pixels of a picture for each square
KINDS = (".svg", ".png")


def draw_code(text: str) -> str:
    """Return a code as lines of block characters, two squares high, light on a dark terminal.

    Raises:
        InvalidInput: the text is empty or too long.
    """
    drawing = io.StringIO()
    _encode(text).terminal(drawing, compact=True)
    return drawing.getvalue().rstrip("\n")


def check_picture(path: Path) -> None:
    """Raises InvalidInput unless the name ends in a kind of picture, AlreadyExists if it is taken.

    `write_picture` looks again; this is for saying so before anything else happens.
    """
    if path.suffix.lower() not in KINDS:
        raise InvalidInput(f"{path} is no picture: the name ends in {' or '.join(KINDS)}")
    if path.exists() or path.is_symlink():
        raise AlreadyExists(f"{path} exists already")


def write_picture(path: Path, text: str) -> Path:
    """Write a code into a new picture file, of the kind its name says.

    Raises:
        InvalidInput: the text is empty or too long, or the name is not that of a picture.
        AlreadyExists: there is a file of that name; it is left as it is.
    """
    check_picture(path)
    content = io.BytesIO()
    _encode(text).save(content, kind=path.suffix.lower()[1:], scale=SCALE)
    try:
        write_private(path, content.getvalue())
    except FileExistsError as error:
        raise AlreadyExists(f"{path} exists already") from error
    sync_folder(path.parent)
    return path


def _encode(text: str) -> QRCode:
    import segno  # noqa: PLC0415  # only to draw

    size = len(text.encode("utf-8"))
    if not 0 < size <= MAX_TEXT:
        raise InvalidInput(f"the text has {size} bytes, a code holds 1 to {MAX_TEXT} here")
    return segno.make_qr(text, error="m")
