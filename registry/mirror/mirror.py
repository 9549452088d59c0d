"""The mirror of a registry in MLflow: every commit a run, a logged model and a version of one registered model.

The object store decides what exists; the mirror follows, and `sync` makes up for whatever it missed, from objects
alone, as often as one likes. `restore` goes the other way. What one turn of mirroring does is in
`registry.mirror.session`, what a commit's run holds in `registry.mirror.runs`, how to reach MLflow in
`registry.mirror.server`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

from registry import locks
from registry.addresses import shown
from registry.mirror.forgetting import forget
from registry.mirror.restore import RestoreReport
from registry.mirror.restore import restore as restore_from
from registry.mirror.server import MlflowStore
from registry.mirror.session import MirrorSession, SyncReport
from registry.repository import Repository


class MlflowMirror:
    """The mirror of one registry.

    Args:
        repository: The registry.
        tracking_uri: Where MLflow is; None: `mlflow.tracking_uri` of config.toml, or `.cns/mlflow.db`.
    """

    def __init__(self, repository: Repository, tracking_uri: str | None = None) -> None:
        self.repository = repository
        self.store = MlflowStore(repository.folder, tracking_uri)

    @property
    def tracking_uri(self) -> str:
        """Where MLflow is, without a password or a token."""
        return shown(self.store.uri)

    def record(self, commit_id: str, gate: str | None = None) -> SyncReport:
        """Mirror one commit, its ancestors where they are missing, and the refs.

        Args:
            commit_id: The commit.
            gate: As for `record_scores`.

        Raises:
            MlflowUnavailable: MLflow cannot be used. The commit stands; `sync` repairs the mirror.
        """
        with self._session() as session:
            return session.record(commit_id, gate)

    def record_scores(self, commit_id: str, trees: Collection[str], gate: str | None = None) -> SyncReport:
        """Write stored scores as metrics of the runs of a commit and its ancestors; where the commit has none, make it.

        Args:
            commit_id: The commit.
            trees: Ids of the trees whose scores may be new.
            gate: What a check by the registry's own limits said of the commit, such as "passed"; None: no such check.

        Raises:
            MlflowUnavailable: MLflow cannot be used. The scores are stored; `sync` repairs the mirror.
        """
        with self._session() as session:
            return session.record_scores(commit_id, trees, gate)

    def sync(self) -> SyncReport:
        """Mirror every commit, evaluation and ref that MLflow lacks, from objects alone. Idempotent.

        Raises:
            MlflowUnavailable: MLflow cannot be used.
        """
        with self._session(repair=True) as session:
            return session.sync()

    def forget(self, ids: Collection[str]) -> int:
        """Delete what a server holds of some commits and evaluations; return how many runs were deleted.

        A mirror of this folder's own needs no such thing: it is deleted as a whole and made again.

        Raises:
            MlflowUnavailable: the server cannot be used, or does not let its files be deleted.
        """
        if self.store.is_default or self.store.name is None:
            return 0
        with self.store.errors(), locks.hold(self.repository.folder / "mlflow.lock"):
            return forget(self.store.connect(), self.store.name, ids)

    @staticmethod
    def restore(folder: Path, tracking_uri: str | None = None, name: str | None = None) -> RestoreReport:
        """Make the objects and refs of the registry in folder again from MLflow.

        Refs that are intact and whose commit is there are left alone. Without a `.cns`, one is made.

        Args:
            folder: The folder that holds `.cns`.
            tracking_uri: As for the class.
            name: Of the registry in MLflow; None: `mlflow.name` of config.toml, or the only one that there is.

        Raises:
            MlflowUnavailable: MLflow cannot be used, or holds no such registry.
        """
        return restore_from(folder, tracking_uri, name)

    @contextlib.contextmanager
    def _session(self, *, repair: bool = False) -> Iterator[MirrorSession]:
        """Yield a session under the lock of the mirror: local processes take turns, so that each sees the others."""
        with self.store.errors(), locks.hold(self.repository.folder / "mlflow.lock"):
            if repair:
                self.store.repair()
            yield MirrorSession(self.repository, self.store)
