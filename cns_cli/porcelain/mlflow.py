"""`mlflow sync`, `mlflow restore`, and the recording of a commit that was just made.

The object store decides whether a commit exists. MLflow mirrors it: when it cannot be reached the commit stands, and a
warning names the command that repairs it. MLflow itself is imported by `registry.mirror` alone, when used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from registry.config import lookup
from registry.errors import MlflowUnavailable, NotARegistry
from registry.repository import Repository

SYNC = "cns mlflow sync"


@dataclass(frozen=True, kw_only=True)
class SyncResult(Result):
    """MLflow holds everything that the registry does.

    Attributes:
        commits, evaluations: Ids of what was missing there before this call.
        refs: Names of the refs whose moves were logged.
        rebuilt: The folder had moved, so the registry's own MLflow file was made anew.
    """

    tracking_uri: str
    commits: tuple[str, ...]
    evaluations: tuple[str, ...]
    refs: tuple[str, ...]
    rebuilt: bool


@dataclass(frozen=True, kw_only=True)
class RestoreResult(Result):
    """The registry holds everything that MLflow does.

    Attributes:
        objects: How many objects MLflow had.
        damaged: Those that could not be used, with the reason.
        refs: {ref: value} that were set; kept: refs that were intact here and say otherwise than MLflow.
    """

    folder: Path
    objects: int
    damaged: tuple[str, ...]
    refs: Mapping[str, str]
    kept: tuple[str, ...]


def mirror_commit(repo: Repository, commit_id: str, mlflow_uri: str | None = None) -> tuple[str, ...]:
    """Record one commit on MLflow, and return a warning when that cannot be done.

    Args:
        repo: Where the commit is.
        commit_id: It stands already, whatever happens here.
        mlflow_uri: Overrides the registry's own tracking URI.

    Raises:
        MlflowUnavailable: and the registry's config has `mlflow.required = true`.
    """
    from registry.mirror.mirror import MlflowMirror

    try:
        MlflowMirror(repo, mlflow_uri).record(commit_id)
    except MlflowUnavailable as error:
        if lookup(repo.config, "mlflow.required", default=False):
            raise
        return (f"{error.message}; the commit stands, and this records it later: {error.hint or 'cns mlflow sync'}",)
    return ()


def mirror_evaluations(
    repo: Repository, commit_id: str, trees: set[str], mlflow_uri: str | None = None
) -> tuple[str, ...]:
    """Record stored scores as metrics of the commits that they are about; return a warning when that cannot be done.

    Args:
        repo: Where the evaluations are.
        commit_id: The commit that was checked.
        trees: Ids of the trees that were looked at: the commit's own, and those of baselines.
        mlflow_uri: Overrides the registry's own tracking URI.
    """
    from registry.mirror.mirror import MlflowMirror

    try:
        MlflowMirror(repo, mlflow_uri).record_scores(commit_id, trees)
    except MlflowUnavailable as error:
        return (f"{error.message}; the scores are stored, and this records them later: {error.hint or SYNC}",)
    return ()


def sync(request: Request) -> SyncResult:
    """Record on MLflow every commit, evaluation and ref that it lacks.

    Raises:
        NotARegistry.
        MlflowUnavailable: MLflow cannot be used.
    """
    from registry.mirror.mirror import MlflowMirror

    mirror = MlflowMirror(Repository.discover(request.start), request.mlflow_uri)
    report = mirror.sync()
    return SyncResult(
        tracking_uri=mirror.tracking_uri,
        commits=tuple(report.commits),
        evaluations=tuple(report.evaluations),
        refs=tuple(report.refs),
        rebuilt=report.rebuilt,
    )


def restore(request: Request, name: str | None = None) -> RestoreResult:
    """Bring back objects and refs from MLflow; of a registry that is gone altogether, too.

    Args:
        request: Where, and from which server.
        name: The registry's name in MLflow; None takes what its settings say, or the only one that there is.

    Raises:
        MlflowUnavailable: MLflow cannot be used, or holds no such registry.
    """
    from registry.mirror.mirror import MlflowMirror

    try:
        folder = Repository.discover(request.start).root
    except NotARegistry:
        folder = request.start
    report = MlflowMirror.restore(folder, request.mlflow_uri, name)
    return RestoreResult(
        folder=folder,
        objects=report.objects,
        damaged=tuple(report.damaged),
        refs=dict(report.refs),
        kept=tuple(report.kept),
    )
