"""Where MLflow is, and how to talk to it: the only module that imports MLflow, and only once it is used.

By default MLflow is the file `mlflow.db` of a `.cns` folder, with artifacts beside it; any other tracking URI is a
server of a team. Whatever goes wrong there comes out as MlflowUnavailable. This module knows no objects and no refs.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import platform
import re
import shlex
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry import config, fsio, trust
from registry.addresses import names_no_protocol, shown
from registry.errors import BadConfig, DiskFailed, LockBusy, MlflowUnavailable, RegistryError
from registry.mirror import schema
from registry.mirror.runs import Figures
from registry.mirror.scores import Point

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

BATCH = 1000  # metrics a request: MLflow's limit
PARAMS = 100  # params a request: MLflow's limit
PAGE = 1000
NAME_KEY = "mlflow.name"
URI_KEY = "mlflow.tracking_uri"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")  # it is also a folder below mlartifacts
_CAUSE = re.compile(r"\[Errno -?\d+\] ([^'\"()]+)")
SOURCE_KEY = "base.source"
SOURCE_TAG = "cns.base_source"  # where the base lay: no part of any object, and all that a clone must be told
REMOTE_TAG = "cns.remote"  # of a registered model that is a shared lineage: its value is the format
# Whether it is MLflow's: an empty file, and another program's, are sound databases, too.
HAS_TABLES = """
SELECT 1 FROM sqlite_master
WHERE name IN ('alembic_version', 'experiments', 'runs', 'params', 'metrics', 'tags',
               'registered_models', 'model_versions')
GROUP BY type HAVING COUNT(*) = 8
"""
ENVIRONMENT = {  # what MLflow reads nowhere else; what a user has set stays
    "MLFLOW_DISABLE_TELEMETRY": "true",  # read at import
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for the answer
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the default waits for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",  # a kept connection would go on with a file that was replaced
}

DRIVERS = {  # {module of a database's driver: package}; SQLAlchemy 2.1 takes psycopg 3 for `postgresql://`
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "pyodbc": "pyodbc",
}


class MlflowStore:
    """Where MLflow is, and a client of it: the file `mlflow.db` of a `.cns` folder, or any tracking URI."""

    def __init__(self, folder: Path, tracking_uri: str | None) -> None:
        self.folder = folder
        self.file = folder / "mlflow.db"
        settings = config.load(folder / "config.toml")
        default = f"sqlite:///{self.file}"
        named = config.text(folder / "config.toml", settings, URI_KEY)
        self.uri: str = tracking_uri or named or default
        self.is_default = self.uri == default
        self.is_asked_for = tracking_uri is not None or self.is_default
        self.name = config.text(folder / "config.toml", settings, NAME_KEY)
        if self.name is not None and not NAME.fullmatch(self.name):
            raise BadConfig(folder / "config.toml", f"{NAME_KEY} is {self.name!r}; expected letters, digits, '-', '_'")

    @property
    def artifact_root(self) -> str | None:
        """Where artifacts go; None: where the server wants them."""
        return (self.folder / "mlartifacts").as_uri() if self.is_default else None

    @property
    def shown(self) -> str:
        """Where MLflow is, for a reader: no password and no token in it, and its workspace where one is set."""
        return in_workspace(shown(self.uri))

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn whatever MLflow and what it stands on raise into MlflowUnavailable."""
        try:
            yield
        except (DiskFailed, LockBusy) as error:
            raise MlflowUnavailable(error.message, self.shown) from error
        except RegistryError:
            raise
        except Exception as error:
            # Its database, its server, its own code in any version: a mirror that fails must never look like a bug.
            first = f"{hint}; then: " if (hint := hint_of(error)) else ""
            raise MlflowUnavailable(reason_of(error), self.shown, f"{first}cns mlflow sync") from error

    def connect(self) -> MlflowClient:
        """Return a client; the first time, make the database. The caller holds the lock of the mirror.

        Raises:
            MlflowUnavailable: config.toml alone names the server. Whoever gave the registry away could have written
                that, and it would be sent the training images of every commit.
        """
        self.check_asked_for()
        prepare()
        if self.is_default and not (self.file.exists() and self.file.stat().st_size):
            self._make_database()
        return client_at(self.uri)

    def check_asked_for(self) -> None:
        """Refuse what only a received registry names, see `connect`, and an address that MLflow takes for a folder."""
        if names_no_protocol(self.uri):
            hint = f"export MLFLOW_TRACKING_URI={shlex.quote(f'http://{shown(self.uri)}')}"
            raise MlflowUnavailable("its address names no protocol", self.shown, hint)
        if not self.is_asked_for and not trust.is_trusted(self.folder.parent):
            raise MlflowUnavailable(
                f"only {URI_KEY} of config.toml names it, which may have come with the registry",
                self.shown,
                f"export MLFLOW_TRACKING_URI={shlex.quote(shown(self.uri))}; then: cns mlflow sync",
            )

    def local_files(self, run: Any) -> Path | None:
        """Return the folder of a run's files in our own artifact root, also where `.cns` has moved; else None."""
        if not self.is_default:
            return None
        return self.folder / "mlartifacts" / Path(*Path(run.info.artifact_uri).parts[-3:])

    def repair(self) -> None:
        """Move what is no database, or a damaged one, aside; bring an older MLflow's up to date.

        The caller holds the lock of the mirror.

        Raises:
            MlflowUnavailable: a newer MLflow has written it.
        """
        if not self.is_default:
            return
        artifacts = self.folder / "mlartifacts"
        if artifacts.exists() and not artifacts.is_dir():
            _set_aside(artifacts)
        if not self.file.exists():
            return
        trust.check(self.folder)
        try:
            with contextlib.closing(sqlite3.connect(self.file.as_uri() + "?mode=ro", uri=True)) as connection:
                sound = connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
                sound = sound and bool(connection.execute(HAS_TABLES).fetchone())
        except sqlite3.OperationalError:
            if self.file.is_file():
                return  # locked or unreadable, which does not say that it is damaged
            sound = False
        except sqlite3.DatabaseError:
            sound = False
        if sound:
            schema.migrate(self.file, self.uri)
        else:
            _set_aside(self.file)

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
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            event.remove(Engine, "connect", _without_sync)
        fsio.install(temporary, self.file)


def prepare() -> None:
    """Import MLflow, quiet and without what it would tell others."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # MLflow's telemetry, though it is off, asks for the processor, and Python would start `uname -p` to tell.
    vars(platform.uname()).setdefault("processor", platform.machine())
    import mlflow  # noqa: F401

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what fails is raised, and told in one line


def client_at(uri: str) -> MlflowClient:
    """Return a client of the MLflow at a tracking URI."""
    prepare()
    import mlflow
    from mlflow.tracking import MlflowClient

    with _kept_variable("MLFLOW_TRACKING_URI"):  # which set_tracking_uri writes
        mlflow.set_tracking_uri(uri)  # `models:/m-…` resolves through it, whatever the client was given
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def workspace() -> str | None:
    """Return the workspace of MLFLOW_WORKSPACE, in which MLflow then works; None where none is set."""
    return os.environ.get("MLFLOW_WORKSPACE", "").strip() or None


def in_workspace(place: str) -> str:
    """Return a place with the name of the workspace in which MLflow works there, where one is set."""
    return f"{place} (workspace {workspace()})" if workspace() else place


def reason_of(error: Exception) -> str:
    """Return what went wrong in MLflow, in one line without passwords: they go before it is cut."""
    text = (shown(str(error)).strip().splitlines() or [""])[0]
    if "Max retries exceeded" in text and (cause := _CAUSE.search(text)):  # it stands last, behind long words
        return f"it cannot be reached: {cause[1]}"
    return f"{type(error).__name__}: {text[:300]}"


def hint_of(error: Exception) -> str:
    """Return what to type against an error of MLflow; empty where only its reader can know."""
    if isinstance(error, ModuleNotFoundError) and error.name in DRIVERS:
        return f"pip install '{DRIVERS[error.name]}'"
    if "error code 401" in str(error) or "401 Client Error" in str(error):
        return "export MLFLOW_TRACKING_TOKEN=…, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return ""


def _set_aside(path: Path) -> None:
    """Rename what cannot be used to a name that nothing has yet."""
    free = (path.with_name(f"{path.name}.broken{end}") for end in itertools.chain([""], itertools.count(2)))
    path.replace(next(place for place in free if not place.exists()))


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
        points += [Metric(key, value, time_ms, step) for step, value in values]
    params = [Param(key, value) for key, value in figures.params.items()]
    for start in range(0, len(params), PARAMS):
        client.log_batch(run_id, params=params[start : start + PARAMS])
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH])


def write_points(client: MlflowClient, run_id: str, time_ms: int, points: Mapping[str, Point]) -> None:
    """Write single values to a run, each at its own step; a value that is there already is not written twice."""
    from mlflow.entities import Metric

    metrics = [Metric(key, point.value, time_ms, point.step) for key, point in points.items()]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])


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
