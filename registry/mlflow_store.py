"""Where MLflow is, and how to talk to it: the only module that imports MLflow, and only once it is used.

By default MLflow is the file `mlflow.db` of a `.cns` folder, with artifacts beside it; any other tracking URI is a
server of a team. Whatever goes wrong there comes out as MlflowUnavailable. This module knows no objects and no refs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry import config, fsio
from registry.errors import DiskFailed, LockBusy, MlflowUnavailable, RegistryError
from registry.mirror_layout import Figures

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

BATCH = 1000  # metrics a request: MLflow's limit
PARAMS = 100  # params a request: MLflow's limit
PAGE = 1000
NAME_KEY = "mlflow.name"
URI_KEY = "mlflow.tracking_uri"
SOURCE_KEY = "base.source"
SOURCE_TAG = "cns.base_source"  # where the base lay: no part of any object, and all that a clone must be told
HAS_TABLES = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"  # an empty file is a sound database too
ENVIRONMENT = {  # what MLflow reads nowhere else; what a user has set stays
    "MLFLOW_DISABLE_TELEMETRY": "true",  # read at import
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the default waits for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",  # a kept connection would go on with a file that was replaced
}


class MlflowStore:
    """Where MLflow is, and a client of it: the file `mlflow.db` of a `.cns` folder, or any tracking URI."""

    def __init__(self, folder: Path, tracking_uri: str | None) -> None:
        self.folder = folder
        self.file = folder / "mlflow.db"
        settings = config.load(folder / "config.toml")
        default = f"sqlite:///{self.file}"
        self.uri: str = tracking_uri or config.lookup(settings, URI_KEY) or default
        self.is_default = self.uri == default
        self.name: str | None = config.lookup(settings, NAME_KEY)

    @property
    def artifact_root(self) -> str | None:
        """Where artifacts go; None: where the server wants them."""
        return (self.folder / "mlartifacts").as_uri() if self.is_default else None

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn whatever MLflow and what it stands on raise into MlflowUnavailable."""
        try:
            yield
        except (DiskFailed, LockBusy) as error:
            raise MlflowUnavailable(error.message, self.uri) from error
        except RegistryError:
            raise
        except Exception as error:
            # Its database, its server, its own code in any version: a mirror that fails must never look like a bug.
            reason = (str(error).strip().splitlines() or [""])[0][:300]
            raise MlflowUnavailable(f"{type(error).__name__}: {reason}", self.uri) from error

    def connect(self) -> MlflowClient:
        """Return a client; the first time, make the database. The caller holds the lock of the mirror."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import mlflow
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        if self.is_default and not (self.file.exists() and self.file.stat().st_size):
            self._make_database()
        with _kept_variable("MLFLOW_TRACKING_URI"):  # which set_tracking_uri writes
            mlflow.set_tracking_uri(self.uri)  # `models:/m-…` resolves through it, whatever the client was given
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def local_files(self, run: Any) -> Path | None:
        """Return the folder of a run's files in our own artifact root, also where `.cns` has moved; else None."""
        if not self.is_default:
            return None
        return self.folder / "mlartifacts" / Path(*Path(run.info.artifact_uri).parts[-3:])

    def repair(self) -> None:
        """Move a database file that is none, or is damaged, aside. The caller holds the lock of the mirror."""
        if not (self.is_default and self.file.exists()):
            return
        try:
            with contextlib.closing(sqlite3.connect(self.file.as_uri() + "?mode=ro", uri=True)) as connection:
                sound = connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
                sound = sound and bool(connection.execute(HAS_TABLES).fetchone())
        except sqlite3.OperationalError:
            return  # locked or unreadable, which does not say that it is damaged
        except sqlite3.DatabaseError:
            sound = False
        if not sound:
            self.file.replace(self.file.with_suffix(".db.broken"))

    def _make_database(self) -> None:
        """Run MLflow's migrations in a temporary file and put it in place: a crash leaves none half-made."""
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
        from sqlalchemy import Engine, event

        for left in self.folder.glob(f"{fsio.TEMPORARY}mlflow-*"):
            left.unlink()
        temporary = self.folder / f"{fsio.TEMPORARY}mlflow-{os.getpid()}.db"
        # Sixty-seven migrations wait for the disk hundreds of times; `install` does it once, for the whole file.
        event.listen(Engine, "connect", _without_sync)
        try:
            SqlAlchemyStore(f"sqlite:///{temporary}", self.artifact_root or "").engine.dispose()
        finally:
            event.remove(Engine, "connect", _without_sync)
        fsio.install(temporary, self.file)


@contextlib.contextmanager
def _kept_variable(name: str) -> Iterator[None]:
    """Put a variable of the environment back as it was."""
    before = os.environ.get(name)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def _without_sync(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


def write_figures(client: MlflowClient, run_id: str, model_id: str | None, time_ms: int, figures: Figures) -> None:
    """Write params, metrics and curves to a run, in batches; single metrics also belong to the model."""
    from mlflow.entities import Metric, Param

    points = [Metric(key, value, time_ms, 0, model_id=model_id) for key, value in figures.metrics.items()]
    for key, values in figures.series.items():
        points += [Metric(key, value, time_ms, step) for step, value in enumerate(values)]
    params = [Param(key, value) for key, value in figures.params.items()]
    for start in range(0, len(params), PARAMS):
        client.log_batch(run_id, params=params[start : start + PARAMS])
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH])


def newest_versions(client: MlflowClient, name: str, last: int) -> list[ModelVersion]:
    """Return the versions of a model with a number above last, by number."""
    found: list[ModelVersion] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(
            f"name = '{name}'",
            max_results=PAGE if last == 0 else 50,
            order_by=["version_number DESC"],
            page_token=token,
        )
        found += [version for version in page if int(version.version) > last]
        token = page.token
        if not token or len(page) == 0 or int(page[-1].version) <= last:
            return found[::-1]


def search_runs(client: MlflowClient, experiment: str, where: str) -> Iterator[Any]:
    """Yield the runs of an experiment, oldest first."""
    token: str | None = None
    while True:
        order = ["attributes.start_time ASC"]
        page = client.search_runs([experiment], where, max_results=PAGE, order_by=order, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
