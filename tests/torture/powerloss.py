"""R3: the power goes. Whatever was acknowledged is there, whatever was on its way is there whole or not at all.

A hypothesis state machine commits, checks out, branches, scores and settles on a `Disk`, which forgets what was not
synced. After an operation the power may go at any of its system calls, or the process may be killed there, another go
on, and then the power may go. What is left must be the state before or after that operation, with everything in it.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from registry import fsio
from registry.errors import RegistryError
from registry.health import gc
from registry.objects import Tree
from registry.repository import Repository
from registry.trees import without_concept
from tests.registry.making import AUTHOR, add, evaluation, new_repository
from tests.torture import operations
from tests.torture.disk import LUCKS, Disk, Luck
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial
from tests.torture.verify import Broken, State, state_of

Said = tuple[State, dict[str, list[tuple[str | None, str | None]]]]
CONCEPTS = ("rex", "tom", "kim", "ann")
BRANCHES = ("dev", "Dev/x", "main")
QUICK, FULL = 200, 5_000


@contextlib.contextmanager
def in_place_of_the_system(disk: Disk) -> Iterator[None]:
    """Let `fsio` talk to a simulated disk."""
    fsio.os, before = disk, fsio.os  # type: ignore[assignment]
    try:
        yield
    finally:
        fsio.os = before


class Machine(RuleBasedStateMachine):
    """One registry, and what it has acknowledged."""

    states = 0
    deaf: frozenset[str] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.disk = Disk(self.stack.enter_context(scratch_folder()), self.deaf)
        self.folder = self.disk.root / "dogs"
        self.before: Said | None = None
        self.after: Said | None = None
        self.unsure: list[Said | None] = []  # what a power cut may bring back: seen, not acknowledged
        self.last: Callable[[], object] = self.begin
        self.tidies = False
        self.clock = 0

    def teardown(self) -> None:
        self.stack.close()

    @initialize()
    def begin(self) -> None:
        self.act(lambda: new_repository(self.folder))

    @rule(name=st.sampled_from(CONCEPTS), behind=st.booleans())
    def commit(self, name: str, behind: bool) -> None:
        """A concept more, or one less; `behind`: worked out on a tip that has moved since."""
        repository = Repository(self.folder)
        seen = repository.head().commit
        parents = repository.commit_of(seen).parents
        if name in repository.tree_of(seen).concepts and not behind:
            self.act(lambda: self.remove(repository, name))
        else:
            self.act(lambda: add(repository, name, seen=parents[0] if behind and parents else None))

    @rule(where=st.sampled_from((*BRANCHES, "HEAD~1", "main~2")))
    def checkout(self, where: str) -> None:
        self.act(lambda: Repository(self.folder).checkout(where, time=self.now()))

    @rule(theirs=st.sampled_from((*BRANCHES, "main~2")))
    def merge(self, theirs: str) -> None:
        """A commit with two parents; what both have is theirs."""
        self.act(lambda: self.merge_with(Repository(self.folder), theirs))

    @rule(where=st.sampled_from((*BRANCHES, "HEAD~1", "HEAD@{2}")))
    def reset(self, where: str) -> None:
        repository = Repository(self.folder)
        self.act(lambda: repository.move(repository.resolve(where), **self.why("reset")))

    @rule(name=st.sampled_from(("HEAD", "HEAD", *BRANCHES)))
    def undo(self, name: str) -> None:
        self.act(lambda: Repository(self.folder).undo(name, author=AUTHOR, time=self.now()))

    @rule(name=st.sampled_from(BRANCHES), where=st.sampled_from(("HEAD", "HEAD~1")), tag=st.booleans())
    def branch(self, name: str, where: str, tag: bool) -> None:
        repository = Repository(self.folder)
        make = repository.create_tag if tag else repository.create_branch
        self.act(lambda: make(name, where, time=self.now()))

    @rule(name=st.sampled_from(BRANCHES))
    def delete_branch(self, name: str) -> None:
        repository = Repository(self.folder)
        tip = repository.branches().get(name)
        if tip is not None and repository.head().branch != name:
            self.act(lambda: repository.move_ref(f"refs/heads/{name}", tip, None, **self.why("deleted")))

    @rule(name=st.sampled_from(CONCEPTS), score=st.sampled_from((0.25, 0.5)))
    def evaluate(self, name: str, score: float) -> None:
        repository = Repository(self.folder)
        if name in repository.tree_of("HEAD").concepts:
            self.act(lambda: repository.add_evaluation(evaluation(repository, name, scores=[score])))

    @rule(value=st.integers(0, 3))
    def configure(self, value: int) -> None:
        self.act(lambda: Repository(self.folder).set_config("a.b", value))

    @rule()
    def collect_garbage(self) -> None:
        """Everything is old, so that only what is reachable stays."""
        repository = Repository(self.folder)
        self.act(lambda: gc.collect(repository, now=time.time() + operations.YEARS_S), tidies=True)

    @precondition(lambda self: self.after is not None)
    @rule(share=st.floats(0, 1), luck=st.sampled_from(LUCKS), chance=st.integers(0, 2**32 - 1))
    def power_goes(self, share: float, luck: Luck, chance: int) -> None:
        """In the middle of the last operation."""
        self.cut(self.disk.points[round(share * len(self.disk.changes))], luck, chance)

    @precondition(lambda self: self.after is not None)
    @rule(luck=st.sampled_from(LUCKS), chance=st.integers(0, 2**32 - 1))
    def power_goes_afterwards(self, luck: Luck, chance: int) -> None:
        """When the last operation has been acknowledged."""
        self.cut(len(self.disk.events), luck, chance)

    def cut(self, done: int, luck: Luck, chance: int) -> None:
        whole = done == len(self.disk.events) and not (self.unsure and not self.disk.changes)
        self.disk.after_power_cut(done, luck, chance)
        type(self).states += 1
        self.look([] if whole else [self.before, *self.unsure])
        self.unsure = []

    @precondition(lambda self: self.after is not None)
    @rule(share=st.floats(0, 1), again=st.booleans())
    def process_is_killed(self, share: float, again: bool) -> None:
        """`again`: the user types the same command once more."""
        done = self.disk.points[round(share * len(self.disk.changes))]
        before, whole, changed = self.before, done == len(self.disk.events), bool(self.disk.changes)
        self.disk.after_kill(done)
        self.look([] if whole else [before])
        if not whole:
            self.unsure.append(before)
        elif changed:
            self.unsure = []
        if again:
            self.act(self.last, tidies=self.tidies)

    def act(self, operation: Callable[[], object], *, tidies: bool = False) -> None:
        """Run an operation, and remember what the registry said before and after it.

        Args:
            operation: What to run.
            tidies: It removes moves of reflogs and scores, one after the other: states between are as good.
        """
        if self.disk.changes:
            self.unsure = []  # who changes anything has first made durable what a kill left
        self.disk.settle()
        self.before, self.last, self.tidies = self.after, operation, tidies or (self.tidies and bool(self.unsure))
        with in_place_of_the_system(self.disk), contextlib.suppress(RegistryError):
            operation()
        self.after = said_by(self.folder)

    def look(self, earlier: list[Said | None]) -> None:
        """The registry is as after the last operation; or as it was earlier, where that was not acknowledged."""
        there = (self.folder / ".cns").exists()
        found = said_by(self.folder) if there else None
        allowed = [self.after, *earlier]
        if found not in allowed and not any(self._between(found, *two) for two in itertools.permutations(allowed, 2)):
            raise Broken(f"found {found}, expected one of {allowed}")
        self.before = self.after = found
        if found is None:
            self.begin()

    def _between(self, found: Said | None, before: Said | None, after: Said | None) -> bool:
        """True in the middle of tidying: no ref but scores is gone, no move of a reflog is new, HEAD stays."""
        if not self.tidies or found is None or before is None or after is None:
            return False
        refs = set(after[0].refs) <= set(found[0].refs) <= set(before[0].refs)
        moves = all(
            set(after[1][name]) <= set(found[1].get(name, ())) <= set(before[1].get(name, ())) for name in after[1]
        )
        return refs and moves and (found[0].head, found[0].config) == (before[0].head, before[0].config)

    def remove(self, repository: Repository, name: str) -> None:
        repository.commit(
            kind="remove",
            message=f"remove {name}",
            author=AUTHOR,
            time=repository.commit_of(repository.head().commit).time + 60,
            record=None,
            change=lambda tree: without_concept(tree, name),
            seen=repository.head().commit,
            keep_as=name,
        )

    def merge_with(self, repository: Repository, theirs: str) -> None:
        head, other = repository.head().commit, repository.resolve(theirs)
        concepts = {**repository.tree_of(head).concepts, **repository.tree_of(other).concepts}
        repository.commit(
            kind="merge",
            record=None,
            change=lambda tree: Tree(tree.base, concepts),
            seen=head,
            keep_as="merged",
            merged=[other],
            **self.why(f"merge {theirs}"),
        )

    def why(self, message: str) -> dict[str, Any]:
        return {"author": AUTHOR, "time": self.now(), "message": message}

    def now(self) -> int:
        self.clock += 1
        return self.clock


def said_by(folder: Path) -> Said:
    """All that a registry says, its reflogs among it; every object that it reaches has been read."""
    repository = Repository(folder)
    state = state_of(repository)
    names = [name for name, _ in state.refs if not name.startswith("refs/evaluations/")]
    moves = {name: [(move.old, move.new) for move in repository.reflog(name)] for name in ("HEAD", *names)}
    # A checkout that changes no commit is logged before HEAD moves: whether it came is not to be seen in a value.
    return state, {name: [move for move in found if move[0] != move[1]] for name, found in moves.items()}


def campaign(states: int, deaf: frozenset[str] = frozenset()) -> tuple[int, str]:
    """Run machines until so many states after a power cut were looked at; return their number and the violation."""

    class Counted(Machine):
        pass

    Counted.deaf, Counted.states = deaf, 0
    how = settings(
        max_examples=10,
        stateful_step_count=30,
        database=None,
        deadline=None,
        print_blob=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        for number in itertools.count():
            run_state_machine_as_test(seed(number)(Counted), settings=how)
            if Counted.states >= states:
                break
    except (Broken, RegistryError, OSError) as error:
        return Counted.states, f"{type(error).__name__}: {error}"
    return Counted.states, ""


def killed_and_cut(operation: str, every: int = 1) -> tuple[int, list[str]]:
    """Kill an operation at every (every n-th) call, run it again, commit, cut the power: all that is unsynced is gone.

    The second process finds what the first one made and did not make durable, and must not rely on it.
    """
    violated: list[str] = []
    with scratch_folder() as scratch:
        (scratch / "template").mkdir()
        if operation != "init":
            operations.make_registry(scratch / "template" / "dogs", operation)
        points = [0]
        for tried in itertools.count():
            if tried * every >= len(points):
                return tried, violated
            shutil.rmtree(scratch / "disk", ignore_errors=True)
            disk = Disk(shutil.copytree(scratch / "template", scratch / "disk"))
            run_on(disk, operations.OPERATIONS[operation])
            points = disk.points
            disk.after_kill(points[tried * every])
            run_on(disk, operations.OPERATIONS[operation])
            run_on(disk, operations.commit_last)
            said = said_by(disk.root / "dogs")
            disk.after_power_cut(len(disk.events), "nothing unsynced", seed=0)
            try:
                if said_by(disk.root / "dogs") != said:
                    raise Broken("another state than was acknowledged")
            except (Broken, RegistryError) as error:
                violated.append(f"{operation}, killed at change {tried * every} of {len(points)}: {error}")
    raise AssertionError("itertools.count has no end")


def run_on(disk: Disk, act: Callable[[Path], Iterator[str]]) -> None:
    """Run an operation to its end, or until the registry refuses it, for instance as done already."""
    with in_place_of_the_system(disk), contextlib.suppress(RegistryError):
        for _ in act(disk.root / "dogs"):
            pass


def run(size: Size) -> list[Trial]:
    """Cut the power 200 or 5,000 times; also after a kill and a second try; also on disks that do not sync."""
    began = time.monotonic()
    tried, violated = campaign(FULL if size == "full" else QUICK)
    what = "power cut; what was not synced lost, torn, reordered"
    trials = [Trial("R3", what, tried, 0, int(bool(violated)), violated, time.monotonic() - began)]
    for operation in operations.OPERATIONS if size == "full" else ("scores", "branch and tag"):
        began = time.monotonic()
        tried, faults = killed_and_cut(operation)
        what = f"killed, run again, power cut: {operation}"
        trials.append(Trial("R3", what, tried, 0, len(faults), "; ".join(faults[:3]), time.monotonic() - began))
    return [*trials, *(control(deaf) for deaf in (("file",), ("folder",), ("file", "folder")))]


def control(deaf: tuple[str, ...]) -> Trial:
    """Cut the power of a disk that ignores some fsyncs: that must be noticed."""
    began = time.monotonic()
    tried, violated = campaign(QUICK, frozenset(deaf))
    note = f"control: caught after {tried} states, as it should be" if violated else "control: nothing was noticed"
    what = f"a disk that ignores the fsync of a {' and of a '.join(deaf)}"
    return Trial("R3", what, tried, 0, int(not violated), note, time.monotonic() - began)
