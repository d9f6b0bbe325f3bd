"""How far a replay has come: one small file, replaced whole after every tick.

Nothing about money is kept here. Every request has an idempotency key that follows from the replay,
the order and the step, so a tick of which only a part was done is simply done again.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

VERSION = 2
_AMOUNTS = ("supply", "escrowed", "fees", "pool", "book", "reserve")


class JournalError(Exception):
    """The journal does not fit what is asked; the message is for people."""


@dataclass(slots=True)
class Journal:
    """The progress of one replay.

    Attributes:
        replay_id: of the orders and the terms.
        done_until: time of the last tick that is finished; None before the first.
        shift: seconds by which the chain's clock runs ahead of the data's.
        failed: purchases given up on, with the reason.
        postponed: purchases with a release that came before the chain's own deadline.
        supply, escrowed, fees: what coin, escrow and fee receiver held before the first tick.
        pool, book: what lender pool and credit book held.
        reserve: what this replay sets aside for the draws of its lines.
    """

    replay_id: str
    supply: int
    escrowed: int
    fees: int
    pool: int = 0
    book: int = 0
    reserve: int = 0
    done_until: int | None = None
    shift: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    postponed: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Replace the file; a crash leaves the old one or the new one."""
        record = {"version": VERSION, **asdict(self)}
        for name in _AMOUNTS:
            record[name] = str(record[name])  # may pass 64 bits
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".new")
        with draft.open("wb") as file:
            file.write(orjson.dumps(record, option=orjson.OPT_INDENT_2))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    @classmethod
    def load(cls, path: Path, replay_id: str) -> Journal:
        """Read the journal of this very replay.

        Raises:
            JournalError: there is none, it cannot be read, or it is another replay's.
        """
        try:
            record = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            raise JournalError(f"there is no replay to resume: no {path}") from None
        except (OSError, orjson.JSONDecodeError) as error:
            raise JournalError(f"{path} cannot be read: {error}") from None
        if not isinstance(record, dict) or record.pop("version", None) != VERSION:
            raise JournalError(f"{path} is not a journal of version {VERSION}")
        if record.get("replay_id") != replay_id:
            raise JournalError(
                f"{path} is of replay {record.get('replay_id')}, this one is {replay_id}: resume"
                " with the same orders, limit, seed, tick, fee, dispute window and"
                " number of credit lines"
            )
        try:
            for name in _AMOUNTS:
                record[name] = int(record[name])
            return cls(**record)
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(f"{path} is damaged: {error}") from None
