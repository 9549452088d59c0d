"""R10: MLflow broken in every way that came to mind. The commit stands, a warning names the sync that repairs it.

Each trial starts from a mirrored registry, breaks something, commits as `cns add` and `cns rm` do, takes away what is
not ours to repair (a lock, a missing permission), and syncs. Then every commit must be in MLflow again. The ways are in
`brokenmlflow_ways`; those that need a process, a file system or a server of their own, in `brokenmlflow_outside`.
"""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from cns_cli.porcelain.models.mirroring import mirror_commit
from registry.errors import MlflowUnavailable
from registry.mirror.mirror import MlflowMirror
from registry.repository import Repository
from tests.registry.making import add, new_repository
from tests.torture.brokenmlflow_ways import HARMLESS, SLOW, WAYS, Repairable, client_of, name_of
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial
from tests.torture.verify import Broken, state_of

SYNC = "cns mlflow sync"


class Mirrored:
    """A mirrored registry in one place, since MLflow keeps absolute paths; put back there for each trial."""

    def __init__(self, scratch: Path) -> None:
        self.home, self.saved = scratch / "home", scratch / "saved"
        repository = new_repository(self.home / "dogs")
        add(repository, "rex")
        MlflowMirror(repository).sync()
        shutil.copytree(self.home, self.saved)

    def fresh(self) -> Repository:
        shutil.rmtree(self.home)
        shutil.copytree(self.saved, self.home)
        forget_connections()
        return Repository(self.home / "dogs")


def try_way(mirrored: Mirrored, name: str) -> str:
    """Break MLflow in a way, commit, and repair; return what was seen.

    Raises:
        Broken: a promise was not kept.
    """
    repository = mirrored.fresh()
    try:
        with WAYS[name](repository) as uri:
            forget_connections()
            warnings = commit_and_mirror(repository, "kim", uri)
    except Repairable:
        return _said_precisely(repository)
    if not warnings and name not in HARMLESS:
        raise Broken("nothing was broken")
    forget_connections()
    MlflowMirror(repository).sync()
    check_mirrored(repository)
    return warnings[0] if warnings else "recorded at once"


def commit_and_mirror(repository: Repository, name: str, uri: str | None) -> tuple[str, ...]:
    """Commit as commands do; the commit stands, and a warning names the repair."""
    done = add(repository, name)
    warnings = mirror_commit(repository, done.id, uri)
    if Repository(repository.root).head().commit != done.id:
        raise Broken("the commit does not stand")
    state_of(Repository(repository.root))
    for warning in warnings:
        if SYNC not in warning or "\n" in warning or "Traceback" in warning:
            raise Broken(f"the warning is not clear: {warning}")
    return warnings


def check_mirrored(repository: Repository) -> None:
    """Every commit is a finished run with its files, and the alias HEAD is the tip's version."""
    client = client_of(repository)
    experiment = client.get_experiment_by_name(name_of(repository))
    runs = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'")
    there = {run.data.tags.get("cns.commit") for run in runs}
    if missing := {commit for commit, _ in repository.log()} - there:
        raise Broken(f"not in MLflow after a sync: {sorted(missing)}")
    version = client.get_model_version_by_alias(name_of(repository), "HEAD")
    if version.tags["cns.commit"] != repository.head().commit:
        raise Broken("the alias HEAD is at another commit")
    report = MlflowMirror(repository).sync()
    if report.commits or report.refs:
        raise Broken("a second sync still finds something to do")


def _said_precisely(repository: Repository) -> str:
    forget_connections()
    try:
        MlflowMirror(repository).sync()
    except MlflowUnavailable as error:
        if error.hint == SYNC or not error.hint:
            raise Broken(f"sync fails and names itself as the repair: {error.message}") from error
        return f"{error.message}: {error.hint}"
    check_mirrored(repository)
    return "repaired"


def forget_connections() -> None:
    """Forget what MLflow knows of stores in this process: a command is a process of its own."""
    import mlflow.tracking._model_registry.utils as models
    import mlflow.tracking._tracking_service.utils as tracking

    tracking._tracking_store_registry._get_store_with_resolved_uri.cache_clear()
    models._get_store_registry()._get_store_with_resolved_uri.cache_clear()


def run(size: Size) -> list[Trial]:
    """Every way once; the full size adds those outside this process."""
    trials: list[Trial] = []
    with scratch_folder() as scratch:
        mirrored = Mirrored(scratch)
        names = [name for name in WAYS if size == "full" or name not in SLOW]
        trials += [tried(name, functools.partial(try_way, mirrored, name)) for name in names]
    if size == "full":
        from tests.torture import brokenmlflow_outside

        trials += brokenmlflow_outside.run()
    return trials


def tried(name: str, trial: Callable[[], str]) -> Trial:
    """One row: what was seen, or what was broken."""
    began = time.monotonic()
    lost, note = 0, ""
    try:
        note = trial()
    except (Broken, MlflowUnavailable) as error:
        lost, note = 1, f"{type(error).__name__}: {error}"
    return Trial("R10", f"MLflow: {name}", 1, lost, 0, note[:200], time.monotonic() - began)
