"""A folder as a remote: a log that only grows, a writer that is first, and nothing believed that others put there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from registry import canonical, fsio
from registry.errors import BadValue
from registry.sharing.folder import FolderRemote
from registry.sharing.logremote import decode_move, encode_move
from registry.sharing.remote import Move, RemoteReadOnly, RemoteUnavailable, fold
from tests.registry.making import DIGEST, OTHER, new_repository
from tests.registry.sharing.making import fetch, lineage, push
from tests.registry.sharing.racing import race

MAIN = "refs/heads/main"


def move(old: str | None, new: str | None, number: int = 0, ref: str = MAIN) -> Move:
    return Move(ref, old, new, "ann", 5, "push", f"{number:032x}")


@pytest.fixture
def remote(tmp_path: Path) -> FolderRemote:
    return FolderRemote(tmp_path / "shared")


def test_of_two_moves_from_one_place_the_second_does_not_count(remote: FolderRemote) -> None:
    other = FolderRemote(remote.folder)
    assert remote.append(move(None, DIGEST, 1))
    assert not other.append(move(None, OTHER, 2))
    assert other.append(move(DIGEST, OTHER, 3))
    assert not remote.append(move(DIGEST, None, 4))
    assert remote.moves() == [move(None, DIGEST, 1), move(DIGEST, OTHER, 3)]
    assert fold(remote.moves()) == ({MAIN: OTHER}, {f"{1:032x}", f"{3:032x}"})


def test_moves_of_different_refs_do_not_refuse_each_other(remote: FolderRemote) -> None:
    other = FolderRemote(remote.folder)
    assert other.moves() == []
    assert remote.append(move(None, DIGEST, 1))
    assert other.append(move(None, OTHER, 2, "refs/tags/v1"))
    assert fold(remote.moves())[0] == {MAIN: DIGEST, "refs/tags/v1": OTHER}


def test_a_move_that_was_asked_for_twice_counts_once(remote: FolderRemote) -> None:
    assert remote.append(move(None, DIGEST, 1))
    assert FolderRemote(remote.folder).append(move(None, DIGEST, 1))
    assert len(remote.moves()) == 1


def test_the_loser_of_a_race_for_a_number_takes_the_next(remote: FolderRemote, monkeypatch: Any) -> None:
    class Late(FolderRemote):
        def _create(self, path: str, data: bytes) -> bool:
            if path == "log/00000001":
                super()._create(path, encode_move(move(None, OTHER, 7, "refs/tags/v1")))
            return super()._create(path, data)

    assert Late(remote.folder).append(move(None, DIGEST, 1))
    assert [one.ref for one in remote.moves()] == ["refs/tags/v1", MAIN]


def test_where_a_second_writer_can_overwrite_nothing_is_written(tmp_path: Path) -> None:
    class Overwriting(FolderRemote):
        def _create(self, path: str, data: bytes) -> bool:
            self._write(path, data)
            return True

    remote = Overwriting(tmp_path / "shared")
    repository = lineage(tmp_path / "dogs")
    with pytest.raises(RemoteReadOnly, match="read-only"):
        push(repository, remote)
    with pytest.raises(RemoteReadOnly):
        remote.append(move(None, DIGEST))
    assert fsio.files_in(tmp_path / "shared" / "packs") == []
    assert fsio.files_in(tmp_path / "shared" / "log") == []


def test_a_probe_leaves_nothing(remote: FolderRemote) -> None:
    remote.append(move(None, DIGEST))
    assert os.listdir(remote.folder / "probes") == []


def test_a_name_appears_with_its_content_or_not_at_all(remote: FolderRemote, monkeypatch: Any) -> None:
    """A kill between the making of a file and its content would leave an empty move."""
    linked: list[bytes] = []
    link = os.link

    def watched(source: Any, target: Any) -> None:
        linked.append(Path(source).read_bytes())
        link(source, target)

    monkeypatch.setattr(os, "link", watched)
    remote.append(move(None, DIGEST))
    assert linked[-1] == encode_move(move(None, DIGEST))
    assert os.listdir(remote.folder / "log") == ["00000001"]


def test_a_gap_in_the_log_is_an_error(remote: FolderRemote) -> None:
    for number in range(1, 4):
        remote.append(move(None, DIGEST, number, f"refs/tags/v{number}"))
    (remote.folder / "log" / "00000002").unlink()
    with pytest.raises(RemoteUnavailable, match="gaps"):
        FolderRemote(remote.folder).moves()


def test_moves_that_are_gone_are_an_error(remote: FolderRemote) -> None:
    remote.append(move(None, DIGEST))
    (remote.folder / "log" / "00000001").unlink()
    with pytest.raises(RemoteUnavailable, match="are gone"):
        remote.moves()


HARM = [
    {"ref": "refs/evaluations/x"},
    {"ref": "refs/heads/../x"},
    {"ref": "HEAD"},
    {"ref": 5},
    {"old": "x"},
    {"new": DIGEST[:-1]},
    {"author": None},
    {"message": 5},
    {"time": -1},
    {"time": 10**15},
    {"time": True},
    {"nonce": "x"},
    {"more": 1},
]


@pytest.mark.parametrize("harm", HARM, ids=str)
def test_a_move_that_is_none_is_refused(harm: dict[str, Any], tmp_path: Path) -> None:
    data = {"ref": MAIN, "old": None, "new": DIGEST, "author": "a", "message": "m", "time": 5, "nonce": "0" * 32}
    assert decode_move(canonical.encode(data)).new == DIGEST
    content = canonical.encode(data | harm)
    with pytest.raises(BadValue):
        decode_move(content)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "00000001").write_bytes(content)
    with pytest.raises(RemoteUnavailable, match="00000001"):
        FolderRemote(tmp_path).moves()


def test_a_log_entry_that_is_a_link_or_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    entry = tmp_path / "log" / "00000001"
    entry.symlink_to("/dev/zero")
    with pytest.raises(RemoteUnavailable, match="symbolic link"):
        FolderRemote(tmp_path).moves()
    entry.unlink()
    entry.write_bytes(b" " * 100_000)
    with pytest.raises(RemoteUnavailable, match="100,000 bytes"):
        FolderRemote(tmp_path).moves()


def test_a_registry_is_not_taken_for_a_remote(tmp_path: Path) -> None:
    new_repository(tmp_path)
    with pytest.raises(RemoteUnavailable, match="it holds a registry") as refused:
        FolderRemote(tmp_path)
    assert refused.value.hint.startswith("cns push")


def test_a_pack_without_its_index_does_not_count(remote: FolderRemote, tmp_path: Path) -> None:
    repository = lineage(tmp_path / "dogs")
    push(repository, remote)
    (index,) = (remote.folder / "packs").glob("*.idx")
    index.unlink()
    assert remote.packs() == []
    assert push(repository, remote).packs == 1
    assert len(list((remote.folder / "packs").iterdir())) == 2  # the same name: nothing lies there twice


def test_a_pack_that_is_removed_is_gone(remote: FolderRemote, tmp_path: Path) -> None:
    push(lineage(tmp_path / "dogs"), remote)
    for pack in remote.packs():
        remote.remove(pack)
    assert os.listdir(remote.folder / "packs") == []


def test_two_who_push_at_once_lose_nothing(tmp_path: Path) -> None:
    merges = race(tmp_path, str(tmp_path / "shared"), 25, os.environ)
    assert merges > 0  # else they took turns, and nothing was tried


def test_a_folder_that_is_not_there_is_an_empty_remote(tmp_path: Path) -> None:
    assert fetch(new_repository(tmp_path / "dogs"), FolderRemote(tmp_path / "none")).heads == {}
