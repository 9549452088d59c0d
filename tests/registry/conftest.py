"""What the tests of the registry share: a repository, and an MLflow database to copy."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.repository import Repository
from tests.registry.making import new_repository


@pytest.fixture(autouse=True)
def quick_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the waiting for the disk, which no test here can see; the tests of fsio see the calls."""
    if request.module.__name__.rpartition(".")[2] != "test_fsio":
        monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder in memory where there is one: MLflow waits for the disk at each of its many small transactions."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**28
    with tempfile.TemporaryDirectory(prefix="cns-tests-", dir=memory if roomy else None) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path(scratch: Path) -> Iterator[Path]:
    """A folder of each test's own, gone after it."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        yield Path(folder)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "dogs")


@pytest.fixture(scope="session")
def mlflow_template(scratch: Path) -> Path:
    """A database that MLflow has migrated once: seconds that not every test needs to pay."""
    from registry.mirror.server import MlflowStore

    folder = Path(tempfile.mkdtemp(dir=scratch))
    store = MlflowStore(folder, None)
    store.connect()
    return store.file
