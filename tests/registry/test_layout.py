"""The lock of a registry: who takes it after a killed holder makes durable what that one left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from registry import fsio, layout
from registry.errors import DiskFailed, NameTaken
from registry.repository import Repository
from tests.torture.injection import dies_at


def synced_while_held(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the folders that taking the lock syncs, relative to the registry's own."""
    seen: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(fsio, "sync_folder", seen.append)
        with layout.locked(repository.folder):
            pass
    return {os.path.relpath(folder, repository.folder) for folder in seen}


def test_lock_costs_no_fsync(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    assert synced_while_held(repository, monkeypatch) == set()
    assert not (repository.folder / layout.UNFINISHED).exists()


def test_folders_are_synced_after_a_holder_was_killed(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    def hold() -> None:
        with repository.locked():
            os._exit(137)

    assert dies_at(10_000, False, hold)
    assert (repository.folder / layout.UNFINISHED).exists()
    expected = {"..", ".", "refs", "refs/heads", "logs", "logs/refs", "logs/refs/heads"}
    assert synced_while_held(repository, monkeypatch) == expected
    assert synced_while_held(repository, monkeypatch) == set()


def test_mark_stays_after_an_error_until_somebody_has_synced(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(folder: Path) -> None:
        raise DiskFailed("fsync", folder, OSError(errno.EIO, "lost"))

    with monkeypatch.context() as patch:
        patch.setattr(fsio, "sync_folder", fails)
        with pytest.raises(DiskFailed):
            repository.create_branch("dev")
    assert (repository.folder / layout.UNFINISHED).exists()
    assert "refs/heads" in synced_while_held(repository, monkeypatch)


def test_refused_command_leaves_a_mark_that_does_no_harm(repository: Repository) -> None:
    with pytest.raises(NameTaken):
        repository.create_branch("main")
    assert (repository.folder / layout.UNFINISHED).exists()
    repository.create_branch("dev")
    assert not (repository.folder / layout.UNFINISHED).exists()


def test_new_registry_has_no_mark(repository: Repository) -> None:
    assert not (repository.folder / layout.UNFINISHED).exists()
