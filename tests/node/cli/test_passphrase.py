"""`plaza passphrase`: the seed under another passphrase, and never under none that is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli import main
from node.keys import SCRYPT_N, SealedSeed, SeedError
from node.settings import Settings
from node.up import open_seed

SEED = b"\x05" * 32
ADMIN = SealedSeed(SEED).platform("admin").address


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    SealedSeed.create(data / "seed.json", "words", SEED, scrypt_n=2)
    (data / "passphrase").write_text("words\n")
    return data


def run(data: Path, *arguments: object, **environment: str) -> Result:
    words = ["passphrase", "--data", str(data), *map(str, arguments)]
    return CliRunner().invoke(main, words, env=environment)


def test_the_seed_opens_with_the_new_passphrase_alone(data: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    done = run(data, new, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "seed": str(data / "seed.json"),
        "passphrase_file": str(new),
    }
    assert new.stat().st_mode & 0o777 == 0o600
    assert (data / "seed.json").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in data.iterdir()) == ["passphrase", "seed.json"]
    assert json.loads((data / "seed.json").read_bytes())["crypto"]["kdfparams"]["n"] == SCRYPT_N

    opened = open_seed(Settings(data=data, passphrase_file=new))
    assert opened.platform("admin").address == ADMIN
    with pytest.raises(SeedError, match="passphrase"):
        open_seed(Settings(data=data))
    new.replace(data / "passphrase")  # the other way that it names
    assert open_seed(Settings(data=data)).platform("admin").address == ADMIN


def test_a_passphrase_of_ones_own_is_taken(data: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (data / "passphrase").rename(old)
    new.write_text("  correct horse \n")
    done = run(data, new, PLAZA_PASSPHRASE_FILE=str(old))
    assert done.exit_code == 0, done.output
    assert f"PLAZA_PASSPHRASE_FILE={new}" in done.output
    assert "correct horse" not in done.output
    assert SealedSeed.open(data / "seed.json", "correct horse").platform("admin").address == ADMIN


def test_run_again_it_changes_nothing(data: Path, tmp_path: Path) -> None:
    """After it was cut off: before the seed was sealed anew, or after."""
    new = tmp_path / "new"
    new.write_text("made, but not used yet")
    assert run(data, new).exit_code == 0
    sealed = (data / "seed.json").read_bytes()
    again = run(data, new)
    assert again.exit_code == 0, again.output
    assert (data / "seed.json").read_bytes() == sealed


def test_a_write_that_fails_leaves_the_seed_as_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = (data / "seed.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    (tmp_path / "new").write_text("other words")
    refused = run(data, tmp_path / "new")
    assert refused.exit_code == 1
    assert "No space left" in refused.output
    assert (data / "seed.json").read_bytes() == sealed
    assert sorted(path.name for path in data.iterdir()) == ["passphrase", "seed.json"]


@pytest.mark.parametrize(
    ("spoil", "exit_code", "words"),
    [
        (lambda data, new: (data / "passphrase").write_text("wrong"), 1, "is wrong"),
        (lambda data, new: (data / "passphrase").unlink(), 1, "cannot be read"),
        (lambda data, new: (data / "passphrase").write_text(" \n"), 1, "is empty"),
        (lambda data, new: (data / "seed.json").unlink(), 1, "no sealed seed"),
        (lambda data, new: new.write_text(""), 1, "is empty"),
        (lambda data, new: new.symlink_to(data / "passphrase"), 2, "name another file"),
        (lambda data, new: new.mkdir(), 2, "is a directory"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    data: Path, tmp_path: Path, spoil: object, exit_code: int, words: str
) -> None:
    new = tmp_path / "new"
    spoil(data, new)  # type: ignore[operator]
    before = {path: path.read_bytes() for path in data.iterdir()}
    refused = run(data, new)
    assert (refused.exit_code, words in refused.output) == (exit_code, True), refused.output
    assert {path: path.read_bytes() for path in data.iterdir()} == before
