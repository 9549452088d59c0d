"""What tests expect of concepts: nothing forgotten, or a least score. For the pytest plugin; pytest is not known here.

An expectation is judged by `check` with its three outcomes. `failure_text` is what a person reads in a test report:
the reasons with their figures, and the next command to type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cns_cli.porcelain.answers import CheckResult, CheckRow
from cns_cli.porcelain.check import Checker, only_these
from cns_cli.porcelain.gate.formats import facts_of, reason_of
from cns_cli.porcelain.options import CheckOptions
from cns_cli.settings import request_settings
from registry.repository import Repository


def concepts_at(repo: Repository, rev: str) -> tuple[str, ...]:
    """The names of the concepts of a revision; raises UnknownRevision, AmbiguousRevision."""
    return tuple(sorted(repo.tree_of(repo.resolve(rev)).concepts))


def forgetting(checker: Checker, rev: str, concepts: Sequence[str], *, fast: bool) -> CheckResult:
    """Judge concepts of a revision together, by the limits of the project."""
    return checker.check(_options(checker.repo, rev=rev, concepts=tuple(concepts), fast=fast))


def least_scores(checker: Checker, rev: str, concept: str, minimum: Mapping[str, float]) -> CheckResult:
    """Judge whether the mean scores of a concept reach what is asked, and nothing else.

    Args:
        checker: Of the registry.
        rev: The revision.
        concept: Its name there.
        minimum: Metric -> least mean score.

    Raises:
        UnknownConcept.
    """
    metrics = tuple(minimum)
    options = _options(checker.repo, rev=rev, concepts=(concept,), metrics=metrics, **only_these(minimum, metrics))
    result = checker.check(options)
    rows = [replace(row, metrics=tuple(replace(one, max_drop=None) for one in row.metrics)) for row in result.rows]
    return replace(result, rows=tuple(rows))


def failure_text(result: CheckResult, concept: str, rev: str, *, fast: bool = False) -> str:
    """What a test report says about a concept that was not kept."""
    row = row_of(result, concept)
    lines = [f"{row.concept}: {row.verdict}", f"  {reason_of(row)}"]
    lines += [f"  {one.metric}: {facts_of(one)}" for one in row.metrics if one.verdict != "kept"]
    lines += [f"  not so: {gate}" for gate, held in row.gates.items() if not held]
    return "\n".join([*lines, f"next: {next_command(row, rev, fast=fast)}"])


def row_of(result: CheckResult, concept: str) -> CheckRow:
    """The row of a concept."""
    return next(row for row in result.rows if row.concept == concept)


def next_command(row: CheckRow, rev: str, *, fast: bool = False) -> str:
    """The command that brings one further: find the commit, take more images, or look closer."""
    at = "" if rev == "HEAD" else f" {rev}"
    failed = [one for one in row.metrics if one.verdict == "forgot"]
    bisect = f"cns bisect start{at} --metric {row.concept}."
    if not fast:
        for one in failed:
            if one.max_drop is not None and (one.drop or 0.0) > one.max_drop:
                return f"{bisect}{one.metric}{'' if one.baseline is None else '.drop'} --above {one.max_drop:g}"
            if one.minimum is not None and one.now < one.minimum:
                return f"{bisect}{one.metric} --below {one.minimum:g}"
    needed = max((one.needed or 0 for one in row.metrics), default=0)
    more = f" --images {needed}" if row.verdict == "inconclusive" and needed else ""
    return f"cns check{at} --concept {row.concept}{more}"


def _options(repo: Repository, **asked: Any) -> CheckOptions:
    settings: dict[str, Any] = {**request_settings(repo.config), "start": repo.root}
    return CheckOptions(**settings, **asked)
