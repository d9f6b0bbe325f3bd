"""The journal of a replay: whole or not at all, and never another replay's."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.market.journal import Journal, JournalError


def journal() -> Journal:
    return Journal(
        replay_id="abc",
        supply=2**100 + 1,
        escrowed=7,
        fees=0,
        done_until=86_400,
        shift=-5,
        failed={"A-1": "release: 409 invalid_state: closed"},
        postponed=["A-2"],
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "replay.json"

    journal().save(path)

    assert Journal.load(path, "abc") == journal()
    assert [each.name for each in path.parent.iterdir()] == ["replay.json"]


def test_another_replay_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "replay.json"
    journal().save(path)

    with pytest.raises(JournalError, match="is of replay abc, this one is xyz: resume with the"):
        Journal.load(path, "xyz")


def test_without_a_journal_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no replay to resume"):
        Journal.load(tmp_path / "replay.json", "abc")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"[]", "is not a journal of version 2"),
        (b'{"version":1,"replay_id":"abc"}', "is not a journal of version 2"),
        (b'{"version":2,"replay_id":"abc"}', "is damaged"),
        (
            b'{"version":2,"replay_id":"abc","supply":"1","escrowed":"x","fees":"0"}',
            "is damaged",
        ),
        (
            b'{"version":2,"replay_id":"abc","supply":"1","escrowed":"1","fees":"0","more":1}',
            "is damaged",
        ),
    ],
)
def test_a_damaged_journal_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "replay.json"
    path.write_bytes(content)

    with pytest.raises(JournalError, match=reason):
        Journal.load(path, "abc")
