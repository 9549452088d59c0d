"""The tables of another MLflow in `mlflow.db`: an older one's are brought up to date, a newer one's left alone.

MLflow refuses a database whose schema is not its own. Its migrations run on a copy, which then takes the file's place,
so that a kill leaves the old file or the new one. This module knows no more of MLflow than its migrations.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

from registry import fsio
from registry.errors import MlflowUnavailable


def migrate(file: Path, uri: str) -> None:
    """Bring a database that an older MLflow wrote up to date. The caller holds the lock of the mirror.

    Args:
        file: The SQLite file.
        uri: What MLflow calls it, for messages.

    Raises:
        MlflowUnavailable: a newer MLflow wrote it; it is left as it is.
    """
    from mlflow.store.db import utils

    with contextlib.closing(sqlite3.connect(file.as_uri() + "?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if found == (utils._get_latest_schema_revision(),):
        return
    if found is None or found[0] not in _known_revisions(uri):
        raise MlflowUnavailable(
            f"'{file}' was written by a newer MLflow", uri, "pip install --upgrade mlflow; then: cns mlflow sync"
        )
    temporary = file.with_name(f"{fsio.TEMPORARY}mlflow-{os.getpid()}.db")
    shutil.copyfile(file, temporary)
    _upgrade(temporary)
    fsio.install(temporary, file)


def _known_revisions(uri: str) -> set[str]:
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    return {script.revision for script in ScriptDirectory.from_config(utils._get_alembic_config(uri)).walk_revisions()}


def _upgrade(file: Path) -> None:
    """What `mlflow db upgrade` does."""
    from mlflow.store.db import utils
    from sqlalchemy import NullPool, create_engine

    engine = create_engine(f"sqlite:///{file}", poolclass=NullPool)
    try:
        utils._upgrade_db(engine)
    finally:
        engine.dispose()
