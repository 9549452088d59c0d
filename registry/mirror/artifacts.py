"""Files of runs, wherever MLflow keeps them: written, and listed. What is in them is said in `registry.mirror.runs`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def write(client: MlflowClient, run_id: str, files: Mapping[str, bytes]) -> None:
    """Write {file name: content} to a run; what it has of the same names is replaced."""
    with tempfile.TemporaryDirectory(prefix="cns-mlflow-") as folder:
        for name, data in files.items():
            file = Path(folder) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        client.log_artifacts(run_id, folder)


def names(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[str]:
    """Yield the names of the files of a run, those in folders, too."""
    for found in client.list_artifacts(run_id, folder):
        if found.is_dir:
            yield from names(client, run_id, found.path)
        else:
            yield found.path
