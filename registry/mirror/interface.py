"""MLflow's own interface on a registry's store: where it is, or how it is started. It imports no MLflow."""

from __future__ import annotations

import os
import sys

from registry.addresses import shown
from registry.errors import MlflowUnavailable
from registry.mirror.server import ENVIRONMENT, MlflowStore


def address(store: MlflowStore) -> str | None:
    """Return where a browser finds the server that a store is, without a password; None for a database."""
    return shown(store.uri).rstrip("/") if store.uri.startswith(("http://", "https://")) else None


def command(store: MlflowStore, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts the interface on a database, on loopback alone, and its variables.

    The variables name the database, whose address may hold a password: other users can read a command line.

    Raises:
        MlflowUnavailable: nothing is recorded yet; or as `MlflowStore.connect`.
    """
    store.check_asked_for()
    if store.is_default and not store.file.exists():
        raise MlflowUnavailable("nothing is recorded there yet", store.shown)
    words = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    variables = ENVIRONMENT | dict(os.environ) | {"MLFLOW_BACKEND_STORE_URI": store.uri}
    variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # jobs are processes that go on without it
    return words, variables | ({"MLFLOW_DEFAULT_ARTIFACT_ROOT": store.artifact_root} if store.artifact_root else {})
