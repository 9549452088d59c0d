"""`bisect run` without a program: a concept's score, or its drop, answers.

Each commit is judged by `check`, which takes stored evaluations and makes images only for what is missing. The answer
is a plain comparison of one mean with one limit: good and bad must follow from the same figure at every commit. A
commit whose model lacks the concept, or where the score cannot be computed, is skipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cns_cli.porcelain.answers import MetricResult
from cns_cli.porcelain.bisect import Answer, BisectResult, mark, require_watch, running, waiting_for
from cns_cli.porcelain.bisect_run import Say
from cns_cli.porcelain.checker import Checker, only_these
from cns_cli.porcelain.options import CheckOptions, Request
from cns_cli.progress import Progress
from registry.bisect_state import Watch
from registry.errors import NoBisection
from registry.repository import Repository


@dataclass(frozen=True)
class Measured:
    """A watched score at one commit: None where it cannot be had. `at_birth` is what the gate compared it with."""

    value: float | None
    at_birth: float | None = None
    birth_tree: str = ""


def run_measured(request: Request, say: Say, progress: Progress | None = None, device: str = "auto") -> BisectResult:
    """Measure until the first bad commit is found, or only skipped ones are left. The bad commit is measured first.

    Args:
        request: Where, who, when.
        say: Told, for each commit, what was measured.
        progress: Told of progress.
        device: Where to compute.

    Raises:
        NoBisection: none is running, it was started without `--metric`, or the bad commit is not bad by this measure,
            or the good one not good.
    """
    repo = Repository.discover(request.start)
    require_watch(request)
    watch = running(repo).watch
    assert watch is not None
    checker = Checker(repo, device, progress)
    _refuse_if_nothing_to_find(checker, request, watch, say)
    while True:
        state = running(repo)
        if state.expected is None:
            return mark(request, "bad", [state.bad or ""])
        commit = waiting_for(repo, state)
        value = measure(checker, request, watch, commit).value
        found = repo.commit_of(commit)
        figure = "cannot be measured" if value is None else f"{watch.name} {value:.4f}"
        answer: Answer = "skip" if value is None else "bad" if watch.is_bad(value) else "good"
        say(f"{commit[:10]} {found.subject}: {figure}, {answer}")
        result = mark(request, answer, [commit], about=commit, value=value)
        if result.status != "testing":
            return result


def measure(checker: Checker, request: Request, watch: Watch, commit: str) -> Measured:
    """Return the watched score at a commit."""
    repo = checker.repo
    if watch.concept not in repo.tree_of(commit).concepts:
        return Measured(None)
    metrics = (watch.metric,)
    options = CheckOptions(
        start=repo.root, author=request.author, time=request.time, mlflow_uri=request.mlflow_uri, rev=commit,
        concepts=(watch.concept,), metrics=metrics, device=checker.device, **only_these({}, metrics),
    )  # fmt: skip
    row = next(row for row in checker.check(options).rows if row.metric(watch.metric) is not None)
    one = row.metric(watch.metric)
    assert one is not None
    return Measured(_value(one, watch), None if watch.drop else one.baseline, row.baseline_tree)


def _value(one: MetricResult, watch: Watch) -> float | None:
    value = one.drop if watch.drop else one.now
    return None if value is None or not math.isfinite(value) else value


def _refuse_if_nothing_to_find(checker: Checker, request: Request, watch: Watch, say: Say) -> None:
    repo = checker.repo
    state = running(repo)
    if state.bad is None or not state.good or state.bad in state.values:
        return
    found = measure(checker, request, watch, state.bad)
    limit = f"below {watch.below:g}" if watch.below is not None else f"above {watch.above:g}"
    if found.value is None or not watch.is_bad(found.value):
        shown = "cannot be measured" if found.value is None else f"is {found.value:.4f}"
        raise NoBisection(
            f"{watch.name} {shown} at the bad commit {state.bad[:10]}: expected a value {limit}",
            "cns bisect reset",
        )
    goods = [good for good in state.good if repo.commit_of(good).tree == found.birth_tree]
    if goods and found.at_birth is not None and watch.is_bad(found.at_birth):
        raise NoBisection(
            f"{watch.name} is {found.at_birth:.4f} at the good commit {goods[0][:10]} too: expected no value {limit}",
            "cns bisect reset",
        )
    commit = repo.commit_of(state.bad)
    say(f"{state.bad[:10]} {commit.subject}: {watch.name} {found.value:.4f}, bad")
    mark(request, "bad", [state.bad], value=found.value)
