"""`bisect run`: a program answers, or a watched score does.

A program speaks git's protocol: 0 is good, 125 cannot be tested, 1 to 127 is bad, more ends it. It runs in the current
folder with HEAD at the commit in question. What it prints goes to stderr, so that stdout holds the answer alone.
Nothing is marked when it cannot be started, is killed, or asks to end the search.

A score is judged by `check`, which takes stored evaluations and makes images only for what is missing. The answer is a
plain comparison of one mean with one limit: good and bad must follow from the same figure at every commit. A commit
whose model lacks the concept, or where the score cannot be computed, is skipped.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from cns_cli.porcelain.answers import MetricResult
from cns_cli.porcelain.bisect import Answer, BisectResult, ahead, mark, running, waiting_for
from cns_cli.porcelain.options import HERE, CheckOptions, Request, Spread
from cns_cli.progress import Progress
from registry.bisect_state import NoBisection, Watch
from registry.repository import Repository
from registry.trees import seen

if TYPE_CHECKING:  # a program that answers needs no numpy
    from cns_cli.porcelain.check import Checker

SKIP = 125
LAST_BAD = 127
SHELL_FAILED = (126, 127)
"""What a shell answers when the program is not there or cannot be run: looks like "bad" and is not about the commit."""

STDERR = 2
Say = Callable[[str], None]


class RunAborted(NoBisection):
    """The program ended the search, or could not be run; `code` is its exit code, None where it did not start."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(reason, "cns bisect log")


def run_program(request: Request, command: Sequence[str], say: Say) -> BisectResult:
    """Let a program answer until the first bad commit is found, or only skipped ones are left.

    Args:
        request: Where, who, when.
        command: The program and its arguments; no shell is in between.
        say: Told, for each commit, what it answered.

    Raises:
        NoBisection: none is running, or it still waits for its first good and bad commit.
        RunAborted: the program could not be run, was killed, or answered with 128 or more.
    """
    repo = Repository.discover(request.start)
    first = True
    while True:
        commit = waiting_for(repo, running(repo))
        code = _code(command, request.start)
        if first and code in SHELL_FAILED:
            _refuse_if_good_fails_alike(repo, request, command, code)
        first = False
        answer = answer_of(code)
        if answer is None:
            ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
            raise RunAborted(
                f"'{command[0]}' {ended} at {commit[:10]}: expected 0 (good), {SKIP} (skip) or 1 to {LAST_BAD} (bad); "
                "nothing was marked",
                code,
            )
        say(f"{commit[:10]} {repo.commit_of(commit).subject}: {answer} ({code})")
        result = mark(request, answer, [commit], about=commit)
        if result.status != "testing":
            return result


def answer_of(code: int) -> Answer | None:
    """What an exit code means; None ends the search."""
    if code == 0:
        return "good"
    if code == SKIP:
        return "skip"
    return "bad" if 0 < code <= LAST_BAD else None


def _code(command: Sequence[str], folder: Path) -> int:
    try:
        return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=STDERR, check=False).returncode
    except OSError as error:
        raise RunAborted(f"cannot run '{command[0]}': {error.strerror}; nothing was marked") from error


def _refuse_if_good_fails_alike(repo: Repository, request: Request, command: Sequence[str], code: int) -> None:
    """As git does: if the very first answer looks like a shell's "not found", ask about a commit known to be good.

    Raises:
        RunAborted: that one gets the same answer, so the program itself is at fault.
    """
    state = running(repo)
    try:
        repo.checkout(state.good[0], author=request.author, time=request.time)
        again = _code(command, request.start)
    finally:
        repo.checkout(state.expected or "HEAD", author=request.author, time=request.time)
    if again in SHELL_FAILED:
        raise RunAborted(
            f"'{command[0]}' ended with {code}, and with {again} at {state.good[0][:10]}, which is known to be good: "
            "expected a program that can be run; nothing was marked",
            code,
        )


@dataclass(frozen=True)
class Measured:
    """A watched score at one commit: None where it cannot be had. `at_birth` is what the gate compared it with."""

    value: float | None
    at_birth: float | None = None
    birth_tree: str = ""


def run_measured(request: Request, say: Say, progress: Progress | None = None, spread: Spread = HERE) -> BisectResult:
    """Measure until the first bad commit is found, or only skipped ones are left. The bad commit is measured first.

    Several processes compute what may be asked for next while this is not known yet: the same commits are asked about.

    Args:
        request: Where, who, when.
        say: Told, for each commit, what was measured.
        progress: Told of progress.
        spread: Where to compute.

    Raises:
        NoBisection: none is running, it was started without `--metric`, or the bad commit is not bad by this measure,
            or the good one not good.
    """
    from cns_cli.porcelain.check import Checker

    repo = Repository.discover(request.start)
    watch = running(repo).watch
    if watch is None:
        raise NoBisection(
            "the bisection was started without --metric: expected a program that answers", "cns bisect run PROGRAM"
        )
    checker = Checker(repo, spread.places[0], progress)
    with closing(Ahead(checker, request, watch, spread)) as before:
        _refuse_if_nothing_to_find(checker, request, watch, say, before)
        while True:
            state = running(repo)
            if state.expected is None:
                return mark(request, "bad", [state.bad or ""])
            commit = waiting_for(repo, state)
            before.compute(commit)
            value = measure(checker, request, watch, commit).value
            figure = "cannot be measured" if value is None else f"{watch.name} {value:.4f}"
            answer: Answer = "skip" if value is None else "bad" if watch.is_bad(value) else "good"
            say(f"{commit[:10]} {repo.commit_of(commit).subject}: {figure}, {answer}")
            result = mark(request, answer, [commit], about=commit, value=value)
            if result.status != "testing":
                return result


class Ahead:
    """Has several processes compute at once the scores that may be asked for next."""

    def __init__(self, checker: Checker, request: Request, watch: Watch, spread: Spread) -> None:
        from cns_cli.porcelain.scoring.units import Pool

        self._checker, self._request, self._watch = checker, request, watch
        self._count, self._pool = len(spread.places), Pool(spread.places, spread.engine)
        self.close = self._pool.close

    def compute(self, commit: str) -> None:
        """Compute what the score at a commit lacks, and those of as many that may be next as there are processes."""
        from cns_cli.porcelain.gate.run import CheckRun
        from cns_cli.porcelain.models.mirroring import mirror_evaluations

        repo, progress = self._checker.repo, self._checker.progress
        commits = dict.fromkeys([commit, *ahead(repo, running(repo), self._count)])
        asked = [_asked(self._checker, self._request, self._watch, one) for one in commits]
        runs = [CheckRun(one, progress, None) for one in asked if one]
        wanted = [run.wanted(run.asked) for run in runs]
        if not runs or all(map(runs[0].evaluations.has, wanted[0])):
            return
        how = runs[0].evaluations
        same = [keys for run, keys in zip(runs, wanted, strict=True) if run.setup.protocol == how.protocol]
        known = len(self._pool.stored)
        self._pool.evaluate(how, [*dict.fromkeys(chain(*same))], progress)
        if stored := {*self._pool.stored[known:]}:
            mirror_evaluations(repo, running(repo).bad or commit, stored, self._request.mlflow_uri)


def measure(checker: Checker, request: Request, watch: Watch, commit: str) -> Measured:
    """Return the watched score at a commit."""
    options = _asked(checker, request, watch, commit)
    if options is None:
        return Measured(None)
    row = next(row for row in checker.check(options).rows if row.metric(watch.metric) is not None)
    one = row.metric(watch.metric)
    assert one is not None
    return Measured(_value(one, watch), None if watch.drop else one.baseline, row.baseline_tree)


def _asked(checker: Checker, request: Request, watch: Watch, commit: str) -> CheckOptions | None:
    """The check that has the watched score at a commit; None: its model lacks the concept."""
    from cns_cli.porcelain.check import only_these

    repo, metrics = checker.repo, (watch.metric,)
    if watch.concept not in repo.tree_of(commit).concepts:
        return None
    return CheckOptions(
        start=repo.root, author=request.author, time=request.time, mlflow_uri=request.mlflow_uri, rev=commit,
        concepts=(watch.concept,), metrics=metrics, device=checker.device, **only_these({}, metrics),
    )  # fmt: skip


def _value(one: MetricResult, watch: Watch) -> float | None:
    value = one.drop if watch.drop else one.now
    return None if value is None or not math.isfinite(value) else value


def _refuse_if_nothing_to_find(checker: Checker, request: Request, watch: Watch, say: Say, before: Ahead) -> None:
    repo = checker.repo
    state = running(repo)
    if state.bad is None or not state.good or state.bad in state.values:
        return
    before.compute(state.bad)
    found = measure(checker, request, watch, state.bad)
    limit = f"below {watch.below:g}" if watch.below is not None else f"above {watch.above:g}"
    if found.value is None or not watch.is_bad(found.value):
        shown = "cannot be measured" if found.value is None else f"is {found.value:.4f}"
        raise NoBisection(
            f"{watch.name} {shown} at the bad commit {state.bad[:10]}: expected a value {limit}",
            "cns bisect reset",
        )
    seen_at = {good: seen(repo.tree_of(good), [watch.concept]).id for good in state.good}
    goods = [good for good, tree in seen_at.items() if tree == found.birth_tree]
    if goods and found.at_birth is not None and watch.is_bad(found.at_birth):
        raise NoBisection(
            f"{watch.name} is {found.at_birth:.4f} at the good commit {goods[0][:10]} too: expected no value {limit}",
            "cns bisect reset",
        )
    say(f"{state.bad[:10]} {repo.commit_of(state.bad).subject}: {watch.name} {found.value:.4f}, bad")
    mark(request, "bad", [state.bad], value=found.value)
