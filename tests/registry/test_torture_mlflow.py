"""R10, quick: MLflow broken in ways that need no other process. `nox -s torture -- R10 --size full` has the others."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.errors import MlflowUnavailable
from registry.mirror.mirror import MlflowMirror
from registry.mirror.server import MlflowStore
from registry.repository import Repository
from tests.registry.making import add, new_repository, snapshot
from tests.torture.brokenmlflow import Mirrored, try_way
from tests.torture.brokenmlflow_outside import server_in
from tests.torture.brokenmlflow_ways import HARMLESS, SLOW, WAYS

# By test_mlflow_mirror, in quicker ways.
COVERED = {"database empty", "database is text", "database cut in half", "no such kind of server"}


@pytest.fixture(scope="module")
def mirrored(scratch: Path, mlflow_template: Path) -> Iterator[Mirrored]:
    """A mirrored registry; MLflow's migrations, seconds each time, are a copy of the template here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowStore, "_make_database", lambda store: shutil.copy(mlflow_template, store.file))
        yield Mirrored(scratch / "broken")


@pytest.mark.parametrize("name", [name for name in WAYS if name not in SLOW | COVERED])
def test_commit_stands_and_sync_repairs(mirrored: Mirrored, name: str) -> None:
    said = try_way(mirrored, name)
    assert ("cns mlflow sync" in said) == (name not in HARMLESS)


def test_database_of_an_older_mlflow_is_brought_up_to_date(tmp_path: Path, mlflow_template: Path) -> None:
    """Of an older release, whose newest migration is not there yet: made by undoing it."""
    from alembic import command
    from mlflow.store.db import utils
    from sqlalchemy import create_engine

    repository = new_repository(tmp_path / "dogs")
    database = shutil.copy(mlflow_template, repository.folder / "mlflow.db")
    engine = create_engine(f"sqlite:///{database}")
    config = utils._get_alembic_config(f"sqlite:///{database}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
    engine.dispose()
    assert version(database) != utils._get_latest_schema_revision()
    done = add(repository, "rex")
    assert MlflowMirror(repository).sync().commits[-1] == done.id
    assert version(database) == utils._get_latest_schema_revision()
    assert not list(repository.folder.glob(".tmp-*"))


def test_database_of_a_newer_mlflow_is_left_alone(tmp_path: Path, mlflow_template: Path) -> None:
    repository = new_repository(tmp_path / "dogs")
    database = shutil.copy(mlflow_template, repository.folder / "mlflow.db")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00000000000'")
    connection.close()
    before = database.read_bytes()
    with pytest.raises(MlflowUnavailable, match="newer MLflow") as caught:
        MlflowMirror(repository).sync()
    assert caught.value.hint == "pip install --upgrade mlflow; then: cns mlflow sync"
    assert database.read_bytes() == before


@pytest.mark.slow
def test_real_server_takes_a_lineage_and_gives_it_back(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "dogs")
    add(repository, "rex")
    (tmp_path / "team").mkdir()
    with server_in(tmp_path / "team") as (uri, _):
        assert len(MlflowMirror(repository, uri).sync().commits) == 2
        add(repository, "tom")
        assert MlflowMirror(repository, uri).record(repository.head().commit).refs == ["refs/heads/main"]
        report = MlflowMirror.restore(tmp_path / "clone", uri)
    assert report.damaged == []
    assert snapshot(Repository(tmp_path / "clone")) == snapshot(repository)


def version(database: Path) -> str:
    connection = sqlite3.connect(database)
    (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    return str(found)
