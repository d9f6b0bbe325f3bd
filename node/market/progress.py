"""What people see while a replay runs, on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

LINE_SECONDS = 5.0


class Reporter(Protocol):
    """Told how a replay goes."""

    def begin(self, purchases: int, done: int) -> None:
        """It starts, with so many purchases done by an earlier run."""
        ...

    def tick(self, simulated: int, done: int) -> None:
        """A tick is finished; `done` purchases have reached their end."""
        ...

    def say(self, line: str) -> None:
        """Something people should know."""
        ...

    def end(self) -> None: ...


def reporter(stream: TextIO = sys.stderr) -> Reporter:
    """The reporter for a stream."""
    return _Bar(Console(file=stream)) if stream.isatty() else _Lines(stream)


class _Pace:
    """Purchases per second since the beginning, and what that means for the rest."""

    def __init__(self, total: int, done: int) -> None:
        self.total = total
        self._first = done
        self._started = time.monotonic()

    def words(self, done: int) -> str:
        seconds = time.monotonic() - self._started
        rate = (done - self._first) / seconds if seconds else 0.0
        if rate <= 0:
            return "no pace yet"
        left = timedelta(seconds=round((self.total - done) / rate))
        return f"{rate:.1f}/s, {left} left"


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pace = _Pace(0, 0)
        self._last = float("-inf")

    def begin(self, purchases: int, done: int) -> None:
        self._pace = _Pace(purchases, done)

    def tick(self, simulated: int, done: int) -> None:
        if time.monotonic() - self._last < LINE_SECONDS and done < self._pace.total:
            return
        self._last = time.monotonic()
        self.say(
            f"{_day(simulated)}  {done}/{self._pace.total} purchases, {self._pace.words(done)}"
        )

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def end(self) -> None:
        pass


class _Bar:
    def __init__(self, console: Console) -> None:
        self._pace = _Pace(0, 0)
        self._task: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("purchases  {task.fields[pace]}"),
            console=console,
            transient=True,
        )

    def begin(self, purchases: int, done: int) -> None:
        self._pace = _Pace(purchases, done)
        self._task = self._progress.add_task("", total=purchases, completed=done, pace="")
        self._progress.start()

    def tick(self, simulated: int, done: int) -> None:
        assert self._task is not None
        self._progress.update(
            self._task,
            description=_day(simulated),
            completed=done,
            pace=self._pace.words(done),
        )

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)

    def end(self) -> None:
        self._progress.stop()


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
