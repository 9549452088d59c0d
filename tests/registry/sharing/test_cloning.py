"""A clone is whole or not there, and one that broke goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry import locks
from registry.errors import AlreadyARegistry, LockBusy, RegistryError
from registry.layout import FOLDER, remove_abandoned
from registry.objects import Base
from registry.refs import HEADS
from registry.repository import Repository
from registry.sharing import cloning, outgoing, pack, remotes
from registry.sharing.cloning import BUILDING, clone, main_branch
from registry.sharing.folder import FolderRemote
from registry.sharing.remote import RemoteUnavailable
from tests.registry.making import add
from tests.registry.sharing.making import WHO, Breaking, damage, lineage, objects, push


def here(_base: Base) -> str:
    return "emoji-64"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    push(lineage(tmp_path / "ann"), FolderRemote(tmp_path / "shared"))
    return tmp_path / "shared"


def test_a_clone_equals_what_was_pushed(shared: Path, tmp_path: Path) -> None:
    source = Repository(tmp_path / "ann")
    made, fetched = clone(str(shared), tmp_path / "bob", here, **WHO)
    assert (made.head().branch, made.head().commit) == ("main", source.branches()["main"])
    assert objects(made) == {one: objects(source)[one] for one in objects(made)}
    assert fetched.objects == len(objects(made))
    assert made.branches() == {"main": source.branches()["main"]}
    assert made.tags() == source.tags()
    assert made.resolve("origin/dev") == source.branches()["dev"]
    assert damage(made) == []
    assert [move.message for move in made.reflog()] == [f"clone: from {shared}"]
    assert sorted(os.listdir(tmp_path / "bob")) == [FOLDER]


def test_settings_are_made_here(shared: Path, tmp_path: Path) -> None:
    made, _ = clone(str(shared), tmp_path / "bob", here, **WHO)
    assert made.config.keys() == {"base", "remote"}
    assert made.config["base"] == {"source": "emoji-64"}
    assert remotes.get(made).address == str(shared)
    add(made, "kim")
    assert outgoing.push(
        made, FolderRemote(shared), "origin", {HEADS + "main": made.head().commit}, **WHO
    ).moved  # and it is a registry like any other


def test_a_clone_that_broke_goes_on(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(pack, "PACK_BYTES", 1500)
    push(lineage(tmp_path / "ann"), FolderRemote(tmp_path / "shared"))
    breaking = Breaking(tmp_path / "shared", after=2)
    monkeypatch.setattr(cloning, "open_remote", lambda address: breaking)
    with pytest.raises(ConnectionResetError):
        clone(str(tmp_path / "shared"), tmp_path / "bob", here, **WHO)
    assert os.listdir(tmp_path / "bob") == [BUILDING]
    whole = Breaking(tmp_path / "shared")
    monkeypatch.setattr(cloning, "open_remote", lambda address: whole)
    made, _ = clone(str(tmp_path / "shared"), tmp_path / "bob", here, **WHO)
    assert not set(breaking.packs_moved) & set(whole.packs_moved)
    assert breaking.packs_moved
    assert damage(made) == []
    assert os.listdir(tmp_path / "bob") == [FOLDER]


def test_a_clone_of_another_address_begins_anew(shared: Path, tmp_path: Path) -> None:
    def nowhere(_base: Base) -> str:
        raise RegistryError("no such base")

    other = lineage(tmp_path / "other")
    add(other, "kim")
    push(other, FolderRemote(tmp_path / "elsewhere"))
    with pytest.raises(RegistryError):
        clone(str(tmp_path / "elsewhere"), tmp_path / "bob", nowhere, **WHO)
    made, _ = clone(str(shared), tmp_path / "bob", here, **WHO)
    assert not made.objects.has(other.head().commit)


def test_a_base_that_cannot_be_found_costs_no_second_transfer(shared: Path, tmp_path: Path) -> None:
    def nowhere(_base: Base) -> str:
        raise RegistryError("no such base")

    with pytest.raises(RegistryError, match="no such base"):
        clone(str(shared), tmp_path / "bob", nowhere, **WHO)
    assert not (tmp_path / "bob" / FOLDER).exists()
    made, fetched = clone(str(shared), tmp_path / "bob", here, **WHO)
    assert fetched.packs == 0
    assert damage(made) == []


def test_what_is_there_is_not_touched(shared: Path, tmp_path: Path) -> None:
    made, _ = clone(str(shared), tmp_path / "bob", here, **WHO)
    with pytest.raises(AlreadyARegistry):
        clone(str(shared), tmp_path / "bob", here, **WHO)
    assert damage(made) == []


def test_two_clones_into_one_folder_do_not_meet(shared: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "bob" / BUILDING).mkdir(parents=True)
    with locks.hold(tmp_path / "bob" / BUILDING / "lock"), pytest.raises(LockBusy):
        clone(str(shared), tmp_path / "bob", here, **WHO)


def test_an_empty_remote_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(RemoteUnavailable, match="no branch yet"):
        clone(str(tmp_path / "none"), tmp_path / "bob", here, **WHO)
    assert not (tmp_path / "bob").exists()


def test_what_a_broken_clone_left_is_removed_in_time(shared: Path, tmp_path: Path) -> None:
    building = tmp_path / "bob" / BUILDING
    building.mkdir(parents=True)
    assert remove_abandoned(tmp_path / "bob") == []
    os.utime(building, (0, 0))
    assert remove_abandoned(tmp_path / "bob") == [building]


@pytest.mark.parametrize(
    ("heads", "chosen"), [(["dev", "main"], "main"), (["dev"], "dev"), (["trunk", "dev"], "trunk")]
)
def test_head_is_on_main_or_on_what_was_pushed_first(heads: list[str], chosen: str) -> None:
    assert main_branch(heads) == chosen


def names_below(folder: Path) -> Iterator[str]:
    return (str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_remote_is_only_read(shared: Path, tmp_path: Path) -> None:
    before = sorted(names_below(shared))
    clone(str(shared), tmp_path / "bob", here, **WHO)
    assert sorted(names_below(shared)) == before
