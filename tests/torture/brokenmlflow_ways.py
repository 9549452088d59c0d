"""R10, the ways to break MLflow inside this process: each is a context in which it is broken. See `brokenmlflow`."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from registry import locks
from registry.mirror.server import MlflowStore
from registry.repository import Repository

Way = Callable[[Repository], AbstractContextManager[str | None]]
WAYS: dict[str, Way] = {}
# Of these MLflow itself, or the mirror, makes good at the next commit.
HARMLESS = {
    *("database missing", "database empty", "another program's database", "artifacts missing"),
    *("experiment deleted in MLflow", "registered model deleted", "run deleted"),
    "schema of an older MLflow",  # it migrates by itself where a table is missing, and refuses where a column is
}
SLOW = {"schema of an older MLflow", "database locked"}  # left to the full size: 5 and 20 s


def way(name: str) -> Callable[[Callable[[Repository], Iterator[str | None]]], Way]:
    """Register a way to break MLflow: a context in which it is broken. It yields a tracking URI, or None."""

    def register(breaks: Callable[[Repository], Iterator[str | None]]) -> Way:
        WAYS[name] = contextlib.contextmanager(breaks)
        return WAYS[name]

    return register


@way("database missing")
def _missing(repo: Repository) -> Iterator[str | None]:
    database(repo).unlink()
    yield None


@way("database empty")
def _empty(repo: Repository) -> Iterator[str | None]:
    database(repo).write_bytes(b"")
    yield None


@way("database is garbage")
def _garbage(repo: Repository) -> Iterator[str | None]:
    database(repo).write_bytes(os.urandom(50_000))
    yield None


@way("database is text")
def _text(repo: Repository) -> Iterator[str | None]:
    database(repo).write_text("not a database\n" * 500)
    yield None


@way("database cut in half")
def _cut(repo: Repository) -> Iterator[str | None]:
    os.truncate(database(repo), database(repo).stat().st_size // 2)
    yield None


@way("a page in the middle overwritten")
def _page(repo: Repository) -> Iterator[str | None]:
    with database(repo).open("r+b") as file:
        for place in range(4096 * 20, database(repo).stat().st_size, 4096 * 3):
            file.seek(place)
            file.write(b"\xff" * 4096)
    yield None


@way("database is a folder")
def _folder(repo: Repository) -> Iterator[str | None]:
    database(repo).unlink()
    database(repo).mkdir()
    yield None


@way("another program's database")
def _foreign(repo: Repository) -> Iterator[str | None]:
    database(repo).unlink()
    with contextlib.closing(sqlite3.connect(database(repo))) as connection:
        connection.execute("CREATE TABLE tracks (name TEXT)")
        connection.commit()
    yield None


@way("a table missing")
def _table(repo: Repository) -> Iterator[str | None]:
    with contextlib.closing(sqlite3.connect(database(repo))) as connection:
        connection.execute("DROP TABLE model_versions")
        connection.commit()
    yield None


@way("schema of a newer MLflow")
def _newer(repo: Repository) -> Iterator[str | None]:
    with contextlib.closing(sqlite3.connect(database(repo))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00000000000'")
        connection.commit()
    yield None
    raise Repairable


@way("schema of an older MLflow")
def _older(repo: Repository) -> Iterator[str | None]:
    from alembic import command
    from mlflow.store.db import utils
    from sqlalchemy import create_engine

    uri = f"sqlite:///{database(repo)}"
    config, engine = utils._get_alembic_config(uri), create_engine(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
    engine.dispose()
    yield None


@way("database locked")
def _locked(repo: Repository) -> Iterator[str | None]:
    with contextlib.closing(sqlite3.connect(database(repo), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield None


@way("lock of the mirror held by another process")
def _busy(repo: Repository) -> Iterator[str | None]:
    import fcntl

    bound = locks.hold.__wrapped__  # type: ignore[attr-defined]
    with (repo.folder / "mlflow.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before, bound.__defaults__ = bound.__defaults__, (0.2,)  # a minute, otherwise
        try:
            yield None
        finally:
            bound.__defaults__ = before


@way("lock of the mirror is a folder")
def _lock_folder(repo: Repository) -> Iterator[str | None]:
    (repo.folder / "mlflow.lock").unlink()
    (repo.folder / "mlflow.lock").mkdir()
    yield None
    (repo.folder / "mlflow.lock").rmdir()


@way("artifacts missing")
def _artifacts(repo: Repository) -> Iterator[str | None]:
    shutil.rmtree(repo.folder / "mlartifacts")
    yield None


@way("artifact folder is a file")
def _artifact_file(repo: Repository) -> Iterator[str | None]:
    shutil.rmtree(repo.folder / "mlartifacts")
    (repo.folder / "mlartifacts").write_text("")
    yield None


@way("no temporary folder")
def _temporary(repo: Repository) -> Iterator[str | None]:
    before, tempfile.tempdir = tempfile.tempdir, "/nowhere"
    yield None
    tempfile.tempdir = before


@way("experiment deleted in MLflow")
def _experiment(repo: Repository) -> Iterator[str | None]:
    client = client_of(repo)
    client.delete_experiment(client.get_experiment_by_name(name_of(repo)).experiment_id)
    yield None


@way("registered model deleted")
def _model(repo: Repository) -> Iterator[str | None]:
    client_of(repo).delete_registered_model(name_of(repo))
    yield None


@way("run deleted")
def _run(repo: Repository) -> Iterator[str | None]:
    client_of(repo).delete_run(client_of(repo).get_model_version_by_alias(name_of(repo), "HEAD").run_id)
    yield None


@way("nobody listens at the server's address")
def _refused(repo: Repository) -> Iterator[str | None]:
    yield "http://127.0.0.1:9"


@way("no such kind of server")
def _scheme(repo: Repository) -> Iterator[str | None]:
    yield "nonsense://somewhere"


@way("server says 500")
def _failing(repo: Repository) -> Iterator[str | None]:
    yield from _server(500, b"{}")


@way("server is another web page")
def _page_of_another(repo: Repository) -> Iterator[str | None]:
    yield from _server(200, b"<html>Welcome</html>")


@way("server asks for a password")
def _password(repo: Repository) -> Iterator[str | None]:
    yield from _server(401, b"who are you?")


@way("server hangs up in the middle")
def _hang_up(repo: Repository) -> Iterator[str | None]:
    yield from _server(0, b"")


class Repairable(Exception):
    """Not by `sync` alone: the message of `sync` must say what to do."""


def _server(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            if status == 0:
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def database(repo: Repository) -> Path:
    return repo.folder / "mlflow.db"


def client_of(repo: Repository) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{database(repo)}")


def name_of(repo: Repository) -> str:
    return str(MlflowStore(repo.folder, None).name)
