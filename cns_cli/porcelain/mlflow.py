"""`mlflow sync` and `mlflow restore`.

The object store decides whether a commit exists. MLflow mirrors it: when it cannot be reached the commit stands, and a
warning names the command that repairs it. MLflow itself is imported by `registry.mirror` alone, when used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cns_cli.figures import plural
from cns_cli.porcelain.models.mirroring import SYNC
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from registry.errors import MlflowUnavailable, NotARegistry
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class SyncResult(Result):
    """MLflow holds everything that the registry does.

    Attributes:
        tracking_uri: Where MLflow is, without a password or a token.
        workspace: The one in which MLflow works there, by MLFLOW_WORKSPACE; None where none is set.
        commits, evaluations: Ids of what was missing there before this call.
        refs: Names of the refs whose moves were logged.
        mended: Ids of commits and evaluations of whose files some were gone there.
        rebuilt: The folder had moved, so the registry's own MLflow file was made anew.
    """

    tracking_uri: str
    workspace: str | None
    commits: tuple[str, ...]
    evaluations: tuple[str, ...]
    refs: tuple[str, ...]
    mended: tuple[str, ...]
    rebuilt: bool

    @property
    def told(self) -> str:
        """What was missing there, in words; empty where nothing was."""
        counts = {"commit": self.commits, "evaluation": self.evaluations, "ref move": self.refs}
        return ", ".join(plural(len(found), what) for what, found in counts.items() if found)


@dataclass(frozen=True, kw_only=True)
class RestoreResult(Result):
    """The registry holds everything that MLflow does.

    Attributes:
        workspace: As for `SyncResult`.
        objects: How many whole objects MLflow had.
        damaged: Those that could not be used, with the reason.
        refs: {ref: value} that were set; kept: refs that were intact here and say otherwise than MLflow.
        lacking: {ref of a score: the id of an object that it needs}, which MLflow does not hold.
    """

    folder: Path
    workspace: str | None
    objects: int
    damaged: tuple[str, ...]
    refs: Mapping[str, str]
    kept: tuple[str, ...]
    lacking: Mapping[str, str]


def sync(request: Request) -> SyncResult:
    """Record on MLflow every commit, evaluation and ref that it lacks.

    Raises:
        NotARegistry.
        MlflowUnavailable: MLflow cannot be used.
    """
    from registry.mirror.mirror import MlflowMirror
    from registry.mirror.server import workspace

    mirror = MlflowMirror(Repository.discover(request.start), request.mlflow_uri)
    try:
        report = mirror.sync()
    except MlflowUnavailable as error:
        if error.hint == SYNC:  # which has just failed
            error.hint = "start that server, or name another: export MLFLOW_TRACKING_URI=http://HOST:PORT"
        raise
    return SyncResult.of(report, tracking_uri=mirror.tracking_uri, workspace=workspace())


def restore(request: Request, name: str | None = None) -> RestoreResult:
    """Bring back objects and refs from MLflow; of a registry that is gone altogether, too.

    Args:
        request: Where, and from which server.
        name: The registry's name in MLflow; None takes what its settings say, or the only one that there is.

    Raises:
        MlflowUnavailable: MLflow cannot be used, or holds no such registry.
    """
    from registry.mirror.mirror import MlflowMirror
    from registry.mirror.server import workspace

    try:
        folder = Repository.discover(request.start).root
    except NotARegistry:
        folder = request.start
    report = MlflowMirror.restore(folder, request.mlflow_uri, name)
    return RestoreResult.of(report, folder=folder, workspace=workspace())
