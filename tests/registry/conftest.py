"""What the tests of the registry share: a deterministic hypothesis, a repository, and an MLflow database to copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from registry.repository import Repository
from tests.registry.making import new_repository

settings.register_profile(
    "registry",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("registry")


@pytest.fixture(autouse=True)
def quick_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the waiting for the disk, which no test here can see; the tests of fsio see the calls."""
    if request.module.__name__.rpartition(".")[2] != "test_fsio":
        monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "dogs")


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that MLflow has migrated once: seconds that not every test needs to pay."""
    from registry.mlflow_store import MlflowStore

    folder = tmp_path_factory.mktemp("template")
    store = MlflowStore(folder, None)
    store.connect()
    return store.file
