"""`bisect`: which commit broke it? Answers come in, HEAD goes to the commit that is to be looked at next.

The search is `registry.bisect`, its memory `registry.bisect_state`. An answer is written before HEAD moves: a kill in
between loses no answer, and HEAD is put right by the next checkout. HEAD may be moved by others meanwhile; then an
answer about "here" is refused, because nobody knows which commit it is about.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from cns_cli.porcelain.options import Request
from cns_cli.porcelain.refs import unreached
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.commits import CommitView, changes_of, commit_view, refs_by_commit
from cns_cli.porcelain.views.concepts import introductions
from registry import bisect_state
from registry.bisect import BisectConflict, Marks, Step, next_step
from registry.bisect_state import BisectDamaged, BisectState, NoBisection, Watch
from registry.errors import UnknownConcept, UnknownRevision
from registry.refs import HEADS, Head
from registry.repository import Repository

Answer = Literal["good", "bad", "skip"]
_HEAD = re.compile(r"\A(HEAD|@)(?=\Z|[~^])")


@dataclass(frozen=True, kw_only=True)
class BisectResult(Result):
    """Where a bisection is.

    Attributes:
        status: "waiting" for the first good or bad commit; "testing" the commit that HEAD is at; "found" it;
            "undecided", because only skipped commits are left.
        missing: While waiting: "bad", "good" or both.
        commit: The commit to look at, or the first bad one; None while waiting.
        left: Suspects that may be left after this answer; `rounds`: about how many answers that is.
        merge_base: It is asked about only because a good commit is no ancestor of the bad one.
        candidates: When undecided: the commits among which the first bad one is.
        added, removed, replaced: When found: what the commit did to the concepts.
        removable: Those of `added` and `replaced` that the model at the start of the bisection still holds so.
        watch: The score that decides; `values` what it was, by commit.
        began_at: Branch, or commit, to which `reset` returns.
    """

    status: Literal["waiting", "testing", "found", "undecided"]
    missing: tuple[str, ...] = ()
    commit: CommitView | None = None
    left: int = 0
    rounds: int = 0
    merge_base: bool = False
    candidates: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    removable: tuple[str, ...] = ()
    watch: Watch | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    began_at: str = ""


@dataclass(frozen=True, kw_only=True)
class ResetResult(Result):
    """The bisection is over. `branch` and `commit` say where HEAD is; `was_running` is False when none was.

    Attributes:
        left_behind: Commits that were made meanwhile and that no branch, tag or HEAD reaches, the newest first.
    """

    was_running: bool
    branch: str | None
    commit: str
    left_behind: tuple[str, ...] = ()


def start(request: Request, revs: Sequence[str] = (), watch: Watch | None = None) -> BisectResult:
    """Begin a bisection; one that is running is ended first, as `reset` would, unless this one is refused.

    Args:
        request: Where, who, when.
        revs: A bad revision, then good ones; HEAD in them is where it was before any bisection. With a watch, HEAD and
            the commit that brought the concept in are taken for what is missing.
        watch: The score that tells good from bad.

    Raises:
        UnknownRevision, AmbiguousRevision, UnknownConcept, BisectConflict, NoBisection: nothing changed.
    """
    repo = Repository.discover(request.start)
    with bisect_state.locked(repo.folder):
        before = bisect_state.load(repo.folder)
        head = repo.head() if before is None else _origin(repo, before)
        marks = [repo.resolve(_HEAD.sub(head.commit, rev)) for rev in revs]
        if watch is not None:
            marks = _bounds(repo, marks or [head.commit], watch.concept)
        words = ["cns bisect start", *([] if watch is None else [watch.words])]
        state = BisectState(head.branch, head.commit, watch=watch, log=(" ".join(words),))
        for answer, commit in zip(("bad", *["good"] * len(marks)), marks, strict=False):
            state = _marked(repo, state, answer, commit)
        _next(repo, state)  # which refuses contradictions while the bisection that is running still stands
        if before is not None:
            _reset(repo, request, None)
        return _proceed(repo, request, state)


def mark(
    request: Request, answer: Answer, revs: Sequence[str] = (), *, about: str | None = None, value: float | None = None
) -> BisectResult:
    """Take an answer, and go to the next commit.

    Args:
        request: Where, who, when.
        answer: "good", "bad" or "skip".
        revs: The commits that it is about; empty means the one that HEAD was sent to.
        about: Demand that the bisection still waits for an answer about this commit.
        value: What was measured there.

    Raises:
        NoBisection: none is running, HEAD is elsewhere, or the bisection went on meanwhile; nothing is written.
        BisectConflict: it contradicts what is known; nothing is written.
    """
    repo = Repository.discover(request.start)
    with bisect_state.locked(repo.folder):
        state = running(repo)
        if about is not None and state.expected != about:
            raise NoBisection(f"the bisection went on while {about[:10]} was looked at", "cns bisect log")
        here = f"cns bisect {answer} {(state.expected or '')[:10]}"
        commits = [repo.resolve(rev) for rev in revs] or [_here(repo, state, here)]
        for commit in commits:
            state = _marked(repo, state, answer, commit)
            if value is not None:
                state = replace(state, values={**state.values, commit: value})
        return _proceed(repo, request, state)


def reset(request: Request, rev: str | None = None) -> ResetResult:
    """End the bisection and put HEAD back where it was at its start, or on a revision.

    A damaged state is thrown away; HEAD then stays where it is unless a revision is given. Nothing moves where
    no bisection is running.

    Raises:
        UnknownRevision: the branch of the start is gone.
    """
    repo = Repository.discover(request.start)
    before = repo.head()
    with bisect_state.locked(repo.folder):
        was_running = _reset(repo, request, rev)
    left = unreached(repo, before.commit) if before.branch is None else ()
    return ResetResult.of(repo.head(), was_running=was_running, left_behind=left)


def log(request: Request) -> tuple[str, ...]:
    """Return the lines that would repeat the bisection, with comments; raises NoBisection."""
    return running(Repository.discover(request.start)).log


def running(repo: Repository) -> BisectState:
    """Return the state of the running bisection; raises NoBisection, BisectDamaged."""
    state = bisect_state.load(repo.folder)
    if state is None:
        raise NoBisection("no bisection is running: expected one that was started")
    return state


def waiting_for(repo: Repository, state: BisectState) -> str:
    """Return the commit that the bisection waits for an answer about, which HEAD must be at.

    Raises:
        NoBisection: there is none, or HEAD is elsewhere.
    """
    if state.expected is None:
        raise NoBisection("the bisection waits for no commit: expected one that is still to be looked at")
    return _here(repo, state, f"cns checkout {state.expected[:10]}")


def _bounds(repo: Repository, marks: list[str], concept: str) -> list[str]:
    """Fill in for a watched concept the good commit where none was given: the one that brought the concept in."""
    bad = marks[0]
    tree = repo.tree_of(bad)
    if concept not in tree.concepts:
        raise UnknownConcept(concept, list(tree.concepts))
    if len(marks) > 1:
        return marks
    born = introductions(repo, bad, tree).get(concept)
    if born is None or born[0] == bad:
        raise NoBisection(
            f"'{concept}' came in with {bad[:10]} itself: expected commits after that", f"cns log {bad[:10]}"
        )
    return [bad, born[0]]


def _here(repo: Repository, state: BisectState, hint: str) -> str:
    """Return the commit that an answer about "here" is about; the hint says what to type where HEAD is elsewhere."""
    head = repo.head().commit
    if state.expected is not None and head != state.expected:
        expected = state.expected[:10]
        raise NoBisection(
            f"HEAD is at {head[:10]}, but the bisection waits for an answer about {expected}: say which one is meant",
            hint,
        )
    return head


def _marked(repo: Repository, state: BisectState, answer: Answer | str, commit: str) -> BisectState:
    """The state with one more answer; `_proceed` refuses it where it contradicts the others."""
    line = f"# {answer}: [{commit}] {repo.commit_of(commit).subject}"
    state = replace(
        state,
        log=(*state.log, line.encode("ascii", "backslashreplace").decode(), f"cns bisect {answer} {commit}"),
        skipped=tuple(one for one in state.skipped if one != commit),
    )
    if answer == "bad":
        return replace(state, bad=commit)
    if answer == "good":
        return replace(state, good=(*(one for one in state.good if one != commit), commit))
    if commit == state.bad or commit in state.good:
        known = "bad" if commit == state.bad else "good"
        raise NoBisection(f"{commit[:10]} is known to be {known}: expected a commit to skip that is not known")
    return replace(state, skipped=(*state.skipped, commit))


def _proceed(repo: Repository, request: Request, state: BisectState) -> BisectResult:
    """Write the state, send HEAD to the next commit, and say where things are."""
    step = _next(repo, state)
    expected = step.commit if step is not None and step.kind == "test" else None
    state = replace(state, expected=expected)
    bisect_state.save(repo.folder, state)
    if expected is not None and repo.head().commit != expected:
        repo.checkout(expected, author=request.author, time=request.time)
    began_at = state.branch or state.commit
    if step is None:
        missing = tuple(word for word, known in (("bad", state.bad), ("good", state.good)) if not known)
        return BisectResult(status="waiting", missing=missing, began_at=began_at)
    return BisectResult.of(
        step,
        status="testing" if step.kind == "test" else step.kind,
        commit=commit_view(repo, step.commit, repo.commit_of(step.commit), refs_by_commit(repo)),
        watch=state.watch,
        values=state.values,
        began_at=began_at,
        **(_changes(repo, state, step.commit) if step.kind == "found" else {}),
    )


def _next(repo: Repository, state: BisectState) -> Step | None:
    """What to do next; None while a good or a bad commit is missing."""
    if state.bad is None or not state.good:
        return None
    marks = Marks(state.bad, frozenset(state.good), frozenset(state.skipped))
    return next_step(marks, lambda commit: repo.index.commit(commit).parents)


def ahead(repo: Repository, state: BisectState, count: int) -> list[str]:
    """So many commits that may be asked about next, the nearest first: that which is, then what follows each answer."""
    states, found = deque([state]), dict[str, None]()
    while states and len(found) < count:
        state = states.popleft()
        with suppress(BisectConflict):
            step = _next(repo, state)
            if step is not None and step.kind == "test":
                found[step.commit] = None
                states += [replace(state, bad=step.commit), replace(state, good=(*state.good, step.commit))]
    return [*found]


def _changes(repo: Repository, state: BisectState, commit_id: str) -> dict[str, tuple[str, ...]]:
    changed, now = changes_of(repo, commit_id), repo.tree_of(commit_id).concepts
    at_start = repo.tree_of(repo.branches().get(state.branch or "", state.commit)).concepts
    removable = tuple(name for name in changed.brought if at_start.get(name) == now[name])
    return {**vars(changed), "removable": removable}


def _origin(repo: Repository, state: BisectState) -> Head:
    """Where HEAD goes back to; raises UnknownRevision where that branch is gone."""
    if state.branch is None:
        return Head(None, state.commit)
    tip = repo.refs.get(HEADS + state.branch)
    if tip is None:
        reason = f"the branch where the bisection began is gone; it was at {state.commit[:10]}"
        raise UnknownRevision(state.branch, reason, f"cns bisect reset {state.commit[:10]}")
    return Head(state.branch, tip)


def _reset(repo: Repository, request: Request, rev: str | None) -> bool:
    """Put HEAD back and forget the state; True where a bisection was running."""
    state = None
    with suppress(BisectDamaged):
        state = bisect_state.load(repo.folder)
        if state is None:
            return False
    target = rev
    if target is None and state is not None:
        origin = _origin(repo, state)
        target = origin.branch or origin.commit
    if target is not None:
        head = repo.head()
        if state is None or target != (head.branch or head.commit):
            repo.checkout(target, author=request.author, time=request.time)
    return bisect_state.remove(repo.folder)
