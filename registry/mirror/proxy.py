"""Files on a tracking server, through its artifact proxy: a client needs no keys of the store behind it.

Knows HTTP as MLflow's own clients speak it, with their credentials, certificates and retries.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from registry.errors import MlflowUnavailable
from registry.sharing.remote import Moved

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

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
        stream=method == "GET",
        data=content,
    )
    augmented_raise_for_status(answer)
    return answer


def check_place(tracking_uri: str, place: str) -> None:
    """Refuse a server that leaves artifacts to its clients and names a folder: it would be one of this machine.

    Args:
        tracking_uri: Where MLflow is.
        place: Where it wants the artifacts of an experiment.

    Raises:
        MlflowUnavailable: nobody else could read them.
    """
    if tracking_uri.startswith("http") and (place.startswith("file:") or "://" not in place) and SCHEME not in place:
        reason = f"it takes no artifacts, and would have this machine write them to its own folder '{place}'"
        raise MlflowUnavailable(
            reason, tracking_uri, "start the server without --no-serve-artifacts; then: cns mlflow sync"
        )


def check_comes_back(client: MlflowClient, run_id: str, name: str, sent: bytes) -> None:
    """Read a file of a run back; raises MlflowUnavailable where other bytes come than were sent."""
    with tempfile.TemporaryDirectory(prefix="cns-mlflow-") as folder:
        back = Path(client.download_artifacts(run_id, name, folder)).read_bytes()
    if back != sent:
        raise MlflowUnavailable(f"of {len(sent)} bytes that it took, {len(back)} others came back", client.tracking_uri)


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
