"""Child processes that do not outlive the node."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def dies_with_us(number: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """What a child does before it becomes its program: asks the kernel for a signal when the
    thread that started it dies, even by SIGKILL. For `preexec_fn`; None where not on Linux.

    Start such a child from the thread that lives as long as the node: the main thread.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: a forked child must not
    parent = os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # the parent died before the signal was set
            os._exit(1)

    return before_exec
