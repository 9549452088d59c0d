"""Files on a tracking server, through its artifact proxy: a client needs no keys of the store behind it.

Knows HTTP as MLflow's own clients speak it, with their credentials, certificates and retries.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from registry.sharing.remote import Moved

SCHEME = "mlflow-artifacts:"
WAIT_S = (20, 600)  # to connect; for a server to hand a file on to its own store. Chosen


def ask(tracking_uri: str, method: str, place: str, content: BinaryIO | Counting | None = None) -> Any:
    """Put, get or delete one file and return the answer; the body of what is got is not yet read.

    Args:
        tracking_uri: Of the server.
        method: PUT, GET or DELETE.
        place: `mlflow-artifacts:/…`, the folder as a run has it and the file's name.
        content: What is put.
    """
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import augmented_raise_for_status, http_request

    folder, _, name = MlflowArtifactsRepository.resolve_uri(place, tracking_uri).rpartition("/")
    plain = {"Accept-Encoding": "identity"}
    answer = http_request(
        get_default_host_creds(folder),
        f"/{name}",
        method,
        extra_headers=plain,
        timeout=WAIT_S,
        stream=True,
        data=content,
    )
    augmented_raise_for_status(answer)
    return answer


class Counting:
    """A file that tells how many of its bytes were read, once each: a library that tries again reads anew."""

    def __init__(self, file: BinaryIO, moved: Moved) -> None:
        self._file = file
        self._moved = moved
        self._told = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        piece = self._file.read(size)
        new = self._file.tell() - self._told
        if new > 0:
            self._told += new
            self._moved(new)
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
