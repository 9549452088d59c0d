"""States of interrupted trainings: whole or not at all, apart by name and key, never trusted unread."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from registry.errors import BadName
from registry.pending import Pending, StateCorrupt

DATA = bytes(range(256)) * 40


@pytest.fixture
def pending(tmp_path: Path) -> Pending:
    return Pending(tmp_path)


def test_what_was_saved_is_read_back(pending: Pending) -> None:
    pending.save("Rex", "ab12", {"done": 3}, DATA)
    (state,) = pending.all()
    assert (state.name, state.key, state.facts, state.damage) == ("Rex", "ab12", {"done": 3}, "")
    assert pending.load(state) == DATA
    assert state.path.parent.name == "resume"


def test_the_newest_comes_first_and_a_name_is_removed_with_all_its_states(pending: Pending) -> None:
    for key in ("a1", "a2"):
        pending.save("rex", key, {"key": key}, DATA)
    pending.save("tom", "a1", {}, b"")
    os.utime(pending.path("rex", "a1"), (1, 1))
    os.utime(pending.path("tom", "a1"), (2, 2))
    assert [(state.name, state.key) for state in pending.all()] == [("rex", "a2"), ("tom", "a1"), ("rex", "a1")]
    assert pending.remove("rex") == 2
    assert pending.remove("rex") == 0
    assert [state.name for state in pending.all()] == ["tom"]


def test_saving_again_replaces(pending: Pending) -> None:
    for data in (b"one", b"two"):
        pending.save("rex", "a1", {}, data)
    (state,) = pending.all()
    assert pending.load(state) == b"two"
    assert len(list(pending.folder.iterdir())) == 1


def test_without_a_folder_there_are_no_states(pending: Pending) -> None:
    assert pending.all() == []
    assert pending.remove("rex") == 0


def test_a_bad_name_makes_no_file(pending: Pending) -> None:
    with pytest.raises(BadName):
        pending.save("../rex", "a1", {}, DATA)
    assert not pending.folder.exists() or not list(pending.folder.iterdir())


def test_every_flipped_bit_is_seen(pending: Pending) -> None:
    pending.save("rex", "a1", {"done": 3, "images": {"1.png": "ab"}}, DATA[:200])
    path = pending.path("rex", "a1")
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (0, 3, 7):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            (state,) = pending.all()
            with pytest.raises(StateCorrupt):
                pending.load(state)


def test_every_cut_is_seen(pending: Pending) -> None:
    pending.save("rex", "a1", {"done": 3}, DATA[:100])
    path = pending.path("rex", "a1")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        (state,) = pending.all()
        with pytest.raises(StateCorrupt):
            pending.load(state)


def test_a_newer_format_says_so(pending: Pending) -> None:
    pending.save("rex", "a1", {}, DATA)
    path = pending.path("rex", "a1")
    path.write_bytes(path.read_bytes().replace(b"cns-resume 1 ", b"cns-resume 2 "))
    (state,) = pending.all()
    assert state.damage == "was written by a newer version"


def test_what_is_no_plain_file_is_not_followed(pending: Pending, tmp_path: Path) -> None:
    pending.folder.mkdir()
    (tmp_path / "elsewhere").write_bytes(b"secret")
    pending.path("rex", "a1").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(pending.path("tom", "a1"))
    assert all(state.damage for state in pending.all())
    assert len(pending.all()) == 2


def test_foreign_files_are_left_alone(pending: Pending) -> None:
    pending.folder.mkdir()
    (pending.folder / "notes.txt").write_text("mine")
    pending.save("rex", "a1", {}, DATA)
    assert [state.name for state in pending.all()] == ["rex"]
    assert (pending.folder / "notes.txt").exists()


def test_what_a_killed_writer_left_is_swept_and_a_living_one_is_not_disturbed(pending: Pending) -> None:
    pending.folder.mkdir()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (dead, mine, old) = (
        pending.folder / f".tmp-{pid}-ab{k}" for k, pid in enumerate((child, os.getpid(), os.getpid()))
    )
    for path in (dead, mine, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 3600,) * 2)
    pending.save("rex", "a1", {}, DATA)
    assert [path.exists() for path in (dead, mine, old)] == [False, True, False]
