"""Mnemonics: a key as words on paper (BIP-39), and the path from the words to a key (BIP-32).

The words are never stored. What is kept is the one private key they and a path lead to.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable

from wallet.errors import InvalidInput

DEFAULT_PATH = "m/44'/60'/0'/0/0"
WORD_COUNTS = (12, 15, 18, 21, 24)
MAX_DEPTH = 16

_STEP = re.compile(r"(0|[1-9][0-9]{0,9})('?)", re.ASCII)


def new_mnemonic(words: int = 24, entropy: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Make a mnemonic of English words.

    Args:
        words: 12, 15, 18, 21 or 24.
        entropy: gives that many random bytes, 4 for every 3 words.

    Raises:
        InvalidInput: another number of words.
    """
    if words not in WORD_COUNTS:
        raise InvalidInput(f"a mnemonic has 12, 15, 18, 21 or 24 words, not {words}")

    from eth_account.hdaccount.mnemonic import Mnemonic  # noqa: PLC0415  # takes a second to import

    return Mnemonic().to_mnemonic(entropy(words * 4 // 3))


def tidy(text: str) -> str:
    """Write words as they are hashed: NFKD, in lower case, one space between two."""
    return " ".join(unicodedata.normalize("NFKD", text).lower().split())


def check_mnemonic(text: str) -> str:
    """Return the words tidied, if they are a mnemonic in one of the languages of BIP-39.

    Abbreviated words are not guessed at: they are other words, with another key.

    Raises:
        InvalidInput: they are not; the message says what is wrong, and never repeats all of them.
    """
    mnemonic = tidy(text)
    words = mnemonic.split(" ") if mnemonic else []
    if len(words) not in WORD_COUNTS:
        raise InvalidInput(f"a mnemonic has 12, 15, 18, 21 or 24 words, these are {len(words)}")

    from eth_account.hdaccount.mnemonic import Mnemonic  # noqa: PLC0415  # takes a second to import
    from eth_account.types import Language  # noqa: PLC0415

    # Word lists overlap, so the language cannot always be told; the key does not depend on it.
    lists = [Mnemonic(Language(name)) for name in Mnemonic.list_languages()]
    if any(language.is_mnemonic_valid(mnemonic) for language in lists):
        return mnemonic
    known = [{tidy(word) for word in language.wordlist} for language in lists]
    nearest = max(known, key=lambda listed: sum(word in listed for word in words))
    unknown = [f"{at} ({word!r})" for at, word in enumerate(words, 1) if word not in nearest]
    if unknown:
        raise InvalidInput(f"not a mnemonic: not in the list of words: {', '.join(unknown)}")
    raise InvalidInput(
        "not a mnemonic: its checksum is wrong. One word is another, or two are exchanged"
    )


def check_path(path: str) -> str:
    """Return a derivation path if it is one, as m/44'/60'/0'/0/0.

    Raises:
        InvalidInput: it is not.
    """
    first, *steps = path.split("/")
    found = [_STEP.fullmatch(step) for step in steps]
    if (
        first != "m"
        or len(steps) > MAX_DEPTH
        or any(match is None or int(match[1]) >= 2**31 for match in found)
    ):
        raise InvalidInput(f"{path!r} is not a derivation path such as {DEFAULT_PATH}")
    return path


def derive_key(mnemonic: str, path: str = DEFAULT_PATH, passphrase: str = "") -> bytes:
    """Return the private key that the words, a path and a BIP-39 passphrase lead to.

    Every passphrase leads to some key: a mistyped one is not noticed here.

    Raises:
        InvalidInput: the words are no mnemonic, or the path is none.
    """
    mnemonic, path = check_mnemonic(mnemonic), check_path(path)

    from eth_account.hdaccount import key_from_seed  # noqa: PLC0415
    from eth_account.hdaccount.mnemonic import Mnemonic  # noqa: PLC0415

    return key_from_seed(Mnemonic.to_seed(mnemonic, passphrase), path)
