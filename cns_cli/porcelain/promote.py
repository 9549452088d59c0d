"""`promote`: an alias such as `champion`, which moves only to what a check has passed, and the log of its moves.

The check is `cns check` as the registry's files have it: whoever promotes says which model and cannot say by which
limits. A move is logged with the figures that it rests on, and `gc` never drops it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cns_cli.porcelain.answers import CheckResult, MetricResult
from cns_cli.porcelain.models.mirroring import mirror_commit
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.reflog import ReflogResult, reflog
from cns_cli.porcelain.result import Result
from cns_cli.progress import Progress
from cns_cli.signals import explained
from registry.errors import NameTaken, UnknownRevision
from registry.names import check_alias
from registry.refs import ALIASES, HEADS, TAGS
from registry.repository import Repository

LONGEST_MESSAGE = 30_000  # characters; a line of a reflog may have twice as many bytes


@dataclass(frozen=True, kw_only=True)
class AliasesResult(Result):
    """The aliases, `{name: commit id}`."""

    aliases: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PromoteResult(Result):
    """An alias is at a commit whose check passed, or stayed where it was.

    Attributes:
        before: Where the alias was; None where there was none.
        commit: Where it is now, None where there is still none.
        moved: It moved; False also where it was there already.
        check: The check, of the commit that was asked for.
    """

    alias: str
    before: str | None
    commit: str | None
    moved: bool
    check: CheckResult
    warnings: tuple[str, ...] = ()


def aliases(start: Path) -> AliasesResult:
    """List the aliases.

    Raises:
        NotARegistry, RefCorrupt.
    """
    return AliasesResult(aliases=dict(sorted(Repository.discover(start).aliases().items())))


def alias_log(start: Path, alias: str) -> ReflogResult:
    """Return the moves of an alias, newest first.

    Raises:
        NotARegistry, BadName, RefCorrupt.
        UnknownRevision: there is no such alias.
    """
    repo = Repository.discover(start)
    if check_alias(alias) not in repo.aliases():
        raise UnknownRevision(alias, "there is no alias of this name", "cns promote")
    return reflog(start, ALIASES + alias)


def promote(alias: str, options: CheckOptions, progress: Progress) -> PromoteResult:
    """Check a revision and, where everything is kept, move an alias there.

    Args:
        alias: The alias; made where there is none.
        options: The revision, who asks and when. Nothing in it says by which limits.
        progress: Told of progress.

    Raises:
        BadName: no alias can be called so. NameTaken: a branch or tag is.
        RefMoved: somebody else moved the alias while this was checked; it stays there.
        MlflowUnavailable: the registry demands MLflow (`mlflow.required`) and it cannot be reached; the move stands.
        What `check` raises.
    """
    assert options.by_the_registry
    repo = Repository.discover(options.start)
    full = ALIASES + check_alias(alias)
    before = repo.refs.get(full)
    for space, what in ((HEADS, "branch"), (TAGS, "tag")):
        if before is None and repo.refs.get(space + alias) is not None:
            raise NameTaken(alias, what)
    from cns_cli.porcelain.check import check  # it loads numpy, which the list needs not

    found = check(options, progress)
    if not found.passed:
        return PromoteResult(alias=alias, before=before, commit=before, moved=False, check=found)
    moved = found.commit != before
    if moved:
        now = int(time.time()) if options.time is None else options.time
        repo.move_ref(full, before, found.commit, author=options.author, time=now, message=reason(found))
    with explained(f"{alias} is at {found.commit[:10]}; MLflow may lack it", "cns mlflow sync"):
        progress.stage("record in MLflow")
        where = f"{alias} at {found.commit[:10]}"
        warnings = mirror_commit(repo, found.commit, options.mlflow_uri, what=where, gate="passed")
    return PromoteResult(alias=alias, before=before, commit=found.commit, moved=moved, check=found, warnings=warnings)


def reason(found: CheckResult) -> str:
    """Say in one line which check let an alias move: its protocol, and every figure that was decided on."""
    if not found.rows:
        return "promote: no concept, nothing to forget"
    rows = (f"{row.concept}: {', '.join(map(_figure, row.metrics))}" for row in found.rows)
    return f"promote: kept under protocol {found.protocol}; {'; '.join(rows)}"[:LONGEST_MESSAGE]


def _figure(metric: MetricResult) -> str:
    span = "" if metric.low is None or metric.high is None else f" ({metric.low:.4f} to {metric.high:.4f})"
    least = "" if metric.minimum is None else f", at least {metric.minimum:g}"
    moved = "" if metric.drop is None else f" moved {metric.drop:.4g}{span}, at most {metric.max_drop:g}"
    now = "" if math.isnan(metric.now) else f" {metric.now:.4g}"
    return f"{metric.metric}{now}{moved}{least}"
