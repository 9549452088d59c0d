"""The answer of a merge, a cherry-pick or a revert, and the commit that it is about."""

from __future__ import annotations

import shlex
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from cns.errors import MethodError
from cns_cli.porcelain.answers import CheckResult
from cns_cli.porcelain.combining.conflicts import ConflictView, commands, conflict_views
from cns_cli.porcelain.combining.context import ContextView, context_view
from cns_cli.porcelain.combining.interference import Meeting, meetings
from cns_cli.porcelain.combining.settle import Choices, settle
from cns_cli.porcelain.combining.sides import Sides
from cns_cli.porcelain.models.mirroring import mirror_commit
from cns_cli.porcelain.options import Request
from cns_cli.progress import Progress
from cns_cli.signals import explained
from registry.errors import RefMoved, RegistryError
from registry.objects import Commit, Record, Tree
from registry.repository import Repository
from registry.trees import changes, erasing

Outcome = Literal["up to date", "fast-forward", "committed", "conflicts", "planned", "refused"]

_DONE = {"merge": "merged", "cherry-pick": "picked", "revert": "reverted"}


@dataclass(frozen=True, kw_only=True)
class CombineResult(ContextView):
    """What became of two sides.

    Attributes:
        outcome: "up to date", "fast-forward", "committed", "conflicts" (nothing was committed), "planned" (a dry run),
            "refused" (the check did not pass: `commit` is there, and no branch has moved).
        named: The commit that was asked for; `before`: the tip of HEAD then.
        bases: What both sides were compared with.
        commit: What was committed, or fast-forwarded to.
        added, removed, replaced: Names of concepts, against HEAD's tree.
        interference: What concepts of the two sides have in common, which counts where prompts see all of them;
            `interference_unknown`: why that is not known.
        commands: What to type to settle the conflicts.
    """

    kind: str
    outcome: Outcome
    revision: str
    named: str
    before: str
    branch: str | None
    bases: tuple[str, ...]
    commit: str | None = None
    concepts: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    interference: tuple[Meeting, ...] = ()
    interference_unknown: str = ""
    conflicts: tuple[ConflictView, ...] = ()
    commands: tuple[str, ...] = ()
    check: CheckResult | None = None
    warnings: tuple[str, ...] = ()


class Overtaken(RegistryError):
    """HEAD moved between the look at it and the commit; nothing was committed."""

    def __init__(self, kind: str, planned: str, found: str, again: str) -> None:
        self.planned = planned
        self.found = found
        super().__init__(
            f"HEAD moved meanwhile: it is at {found[:10]}, and this {kind} was made for {planned[:10]}; nothing was "
            "committed",
            again,
        )


@dataclass(frozen=True, kw_only=True)
class Combination:
    """Two sides that are being brought together on behalf of a request.

    Attributes:
        words: What was typed, without choices: for the commands that go on from here.
        drift: Whether the K/V drift of concepts that left their context is wanted.
    """

    request: Request
    repo: Repository
    sides: Sides
    choices: Choices
    words: tuple[str, ...]
    progress: Progress
    drift: bool = True

    @cached_property
    def time(self) -> int:
        """When it is committed: one moment, so that what is checked is what is committed."""
        return int(clock.time()) if self.request.time is None else self.request.time

    def settled(self) -> Tree | CombineResult:
        """Return the tree that the sides come to, or the answer that they are in conflict.

        Raises:
            BaseDiffers: They stand on different base models.
            ChoiceMeaningless, BadName: A choice cannot be followed.
        ErasuresDiffer: Both erase a noun, and draw different things in its place.
        """
        found = settle(self.repo, self.sides, self.choices)
        if not found.disputes:
            return self._solved(found.tree, found.unsolved) if found.unsolved else found.tree
        views = conflict_views(self.repo, self.sides, found)
        return self.answer("conflicts", conflicts=views, commands=commands(self.words, views, self.choices))

    def _solved(self, tree: Tree, nouns: Mapping[str, str]) -> Tree:
        """Erase from the base what both sides erase: all nouns are solved together."""
        self.progress.stage("load libraries")
        from cns_cli.porcelain.learning.erasure import erasure_of
        from cns_cli.porcelain.models.session import Session

        self.progress.stage("solve the erasures of both sides together")
        return erasing(tree, erasure_of(Session.open(self.repo, "cpu"), tree, nouns))

    def answer(self, outcome: Outcome, tree: Tree | None = None, **more: Any) -> CombineResult:
        """Return an answer; with a tree, what that means for the concepts, which is computed now."""
        repo, sides = self.repo, self.sides
        result = CombineResult.of(sides, outcome=outcome, before=sides.ours, **more)
        if tree is None:
            return result
        ours, theirs = repo.tree_of(sides.ours), repo.tree_of(sides.theirs)
        found: tuple[Meeting, ...] = ()
        unknown = ""
        try:
            found = meetings(repo, ours, theirs, tree) if tree.compose == "all" else ()
        except (MethodError, RegistryError) as error:  # a commit that stands is not hidden by a figure that is lacking
            unknown = error.message
        return replace(
            result,
            concepts=tuple(sorted(tree.concepts)),
            **vars(changes(ours.concepts, tree.concepts)),
            interference=found,
            interference_unknown=unknown,
            **vars(context_view(repo, (ours, theirs), tree, self.progress, drift=self.drift)),
        )

    def candidate(self, tree: Tree, message: str) -> str:
        """Store the commit that would be made and return its id; no ref names it, so that it goes with time."""
        put, sides = self.repo.objects.put, self.sides
        parents = (sides.ours, *self._merged)
        made = Commit(put(tree), parents, put(self._record), sides.kind, message, self.request.author, self.time)
        return put(made)

    def commit(self, tree: Tree, message: str, check: CheckResult | None = None) -> CombineResult:
        """Commit a tree on HEAD.

        Raises:
            NothingToDo: HEAD's tree is that tree, and no histories are joined.
            Overtaken: HEAD is not at the tip any more that this was made for.
            MlflowUnavailable: The registry demands MLflow, and it cannot be reached; the commit stands.
        """

        def planned(_tip: Tree) -> Tree:
            if (head := self.repo.head().commit) != self.sides.ours:
                raise self._overtaken(head)
            return tree

        done = self.repo.commit(
            kind=self.sides.kind, message=message, author=self.request.author, time=self.time,
            record=self._record, change=planned, seen=self.sides.ours, keep_as=self.sides.kind,
            merged=self._merged,
        )  # fmt: skip
        return self._recorded("committed", done.id, tree, check)

    def forward(self, tree: Tree, check: CheckResult | None = None) -> CombineResult:
        """Move HEAD on to the commit that was named; raises as `commit`."""
        sides = self.sides
        try:
            message = f"merge {sides.revision}: fast-forward"
            self.repo.move(sides.named, message=message, author=self.request.author, time=self.time, old=sides.ours)
        except RefMoved as error:
            raise self._overtaken(str(error.found)) from None
        return self._recorded("fast-forward", sides.named, tree, check)

    @property
    def _merged(self) -> tuple[str, ...]:
        return (self.sides.named,) if self.sides.kind == "merge" else ()

    @property
    def _record(self) -> Record:
        words = self.choices.words()
        how = {_DONE[self.sides.kind]: self.sides.named}
        return Record({"params": how | ({"choices": " ".join(words)} if words else {})})

    def _overtaken(self, found: str) -> Overtaken:
        return Overtaken(self.sides.kind, self.sides.ours, found, shlex.join([*self.words, *self.choices.words()]))

    def _recorded(self, outcome: Outcome, commit: str, tree: Tree, check: CheckResult | None) -> CombineResult:
        with explained(f"{self.sides.revision}: HEAD is at {commit[:10]}; MLflow may lack it", "cns mlflow sync"):
            self.progress.stage("record in MLflow")
            warnings = mirror_commit(self.repo, commit, self.request.mlflow_uri)
            return self.answer(outcome, tree, commit=commit, check=check, warnings=warnings)
