"""Recording in MLflow what a verb has just stored; it stands whatever comes of it."""

from __future__ import annotations

from registry.config import lookup
from registry.errors import MlflowUnavailable
from registry.repository import Repository

SYNC = "cns mlflow sync"


def mirror_commit(
    repo: Repository,
    commit_id: str,
    mlflow_uri: str | None = None,
    *,
    what: str = "the commit",
    gate: str | None = None,
) -> tuple[str, ...]:
    """Record one commit on MLflow, and return a warning when that cannot be done.

    Args:
        repo: Where the commit is.
        commit_id: It stands already, whatever happens here.
        mlflow_uri: Overrides the registry's own tracking URI.
        what: What stands, for the warning.
        gate: What a check said of it, see `MlflowMirror.record_scores`.

    Raises:
        MlflowUnavailable: and the registry's config has `mlflow.required = true`.
    """
    from registry.mirror.mirror import MlflowMirror

    try:
        MlflowMirror(repo, mlflow_uri).record(commit_id, gate)
    except MlflowUnavailable as error:
        if lookup(repo.config, "mlflow.required", default=False):
            raise
        return (f"{error.message}; {what} stands, and this records it later: {error.hint or SYNC}",)
    return ()


def mirror_evaluations(
    repo: Repository, commit_id: str, trees: set[str], mlflow_uri: str | None = None, gate: str | None = None
) -> tuple[str, ...]:
    """Record stored scores as metrics of the commits that they are about; return a warning when that cannot be done.

    Args:
        repo: Where the evaluations are.
        commit_id: The commit that was checked.
        trees: Ids of the trees that were looked at: the commit's own, and those of baselines.
        mlflow_uri: Overrides the registry's own tracking URI.
        gate: What the check said, see `MlflowMirror.record_scores`.
    """
    from registry.mirror.mirror import MlflowMirror

    try:
        MlflowMirror(repo, mlflow_uri).record_scores(commit_id, trees, gate)
    except MlflowUnavailable as error:
        return (f"{error.message}; the scores are stored, and this records them later: {error.hint or SYNC}",)
    return ()
