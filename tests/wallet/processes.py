"""Runs the command as a process of its own, forked from one that has loaded everything.

Nothing is different for the command but that its modules are there already: a process, its own
standard streams, its own environment, its exit code. Where that difference matters (what is loaded,
what a terminal sees, what a kill leaves) tests start the console script itself.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# What signing commands load, most of a second each time.
_PRELOADED = [
    "tests.wallet.processes",
    "eth_account",
    "eth_account.hdaccount.mnemonic",
    "eth_keyfile",
    "eth_keys",
    "coincurve",
    "platformdirs",
    "rich.table",
    "segno",
    "wallet.aio",
    "wallet.batches",
    "wallet.cli",
    "wallet.client",
    "wallet.steps",
]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_PRELOADED)


def run_forked(
    arguments: Sequence[str],
    *,
    given: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> tuple[int, str, str]:
    """Run the wallet's command; returns its exit code, and what it wrote to stdout and stderr.

    Args:
        given: what it reads from its standard input, which is no terminal.
        env: its whole environment; this process's own without.

    Raises:
        TimeoutError: it did not end in time, and was killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("in", "out", "err")]
        streams[0].write_text(given)
        process = _context.Process(
            target=_be_the_command,
            args=(
                list(arguments),
                [str(path) for path in streams],
                str(cwd or Path.cwd()),
                dict(os.environ if env is None else env),
            ),
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"wallet {' '.join(arguments)} took more than {timeout} s")
        code, out, err = process.exitcode, streams[1].read_text(), streams[2].read_text()
        process.close()
        return code, out, err


def _be_the_command(
    arguments: list[str], streams: list[str], cwd: str, env: dict[str, str]
) -> None:
    for descriptor, path in enumerate(streams):
        flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = os.fdopen(0, "r", encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["wallet", *arguments]
    from wallet.cli import main  # loaded by the server already

    sys.exit(main())
