"""R11: a collection of garbage races writers, in processes of their own; nothing that a name reaches may go.

No training is needed: a writer puts a ready concept, as the end of `cns add` does, and commits it. The registry is set
up so that the race matters: what the writer puts lies there already, as old garbage that the collection is about to
remove. Four kinds of race take turns:

- over garbage: the writer puts what the collection is removing;
- too late: everything was put weeks ago, and only the commit comes now;
- branch: a branch is made on a commit that only a forgotten reflog named;
- scores: an evaluation is added while its old copy is removed.

A writer may be refused when it came too late; then the registry is as before. What was acknowledged must be whole.
Whoever comes first in a race is up to the machine, so in the first turn of each kind the collection ends before the
writer begins: then it surely has something to remove.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import filelock  # noqa: F401  loaded before the children are made, which would otherwise begin by loading it

from registry.errors import ObjectMissing, UnknownRevision
from registry.health.fsck import fsck
from registry.health.gc import DAY_S, collect
from registry.mirror.runs import closure
from registry.objects import Evaluation
from registry.repository import Repository
from registry.trees import with_concept
from tests.registry.making import AUTHOR, add, evaluation, new_repository, put_concept
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial

RACES = {"quick": 20, "full": 500}
SEED = 11
DONE, REFUSED, BROKEN = 0, 3, 4
LONGEST_HEAD_STARTS_S = (0.03, 0.01)  # of the writer, of the collection, which marks before it removes

Writer = Callable[[Repository], None]


def run(size: Size) -> list[Trial]:
    """Run the races and count what was lost."""
    began = time.monotonic()
    noise = random.Random(SEED)
    refused = removed = 0
    faults: list[str] = []
    with scratch_folder() as folder:
        for number in range(RACES[size]):
            kind = list(RACE_KINDS)[number % len(RACE_KINDS)]
            outcome, gone, fault = race(folder / str(number), kind, noise, collection_first=number < len(RACE_KINDS))
            refused += outcome == REFUSED
            removed += gone
            faults += [f"{kind}: {fault}"] if fault else []
    note = f"{refused} writers came too late and were refused; {removed} objects were removed meanwhile"
    seconds = time.monotonic() - began
    return [Trial("R11", "gc races add", RACES[size], 0, len(faults), "; ".join([note, *faults[:3]]), seconds)]


def race(folder: Path, kind: str, noise: random.Random, *, collection_first: bool = False) -> tuple[int, int, str]:
    """Run one race; return how the writer ended, how many objects went, and what is wrong afterwards ("": nothing)."""
    repository = new_repository(folder)
    add(repository, "rex")
    writer = RACE_KINDS[kind](repository)
    before = repository.head().commit
    start = time.time() + 0.02
    starts = [start + noise.uniform(0, longest) for longest in LONGEST_HEAD_STARTS_S]
    collection = _child(starts[1], lambda: _collect(folder))
    collected = _end(collection) if collection_first else None
    wrote = _end(_child(starts[0], lambda: writer(Repository(folder))))
    if collected is None:
        collected = _end(collection)
    after = Repository(folder)
    removed = int((folder / "removed").read_text()) if collected == DONE else 0
    if collected != DONE or wrote == BROKEN:
        return wrote, 0, f"the writer ended with {wrote}, the collection with {collected}"
    if wrote == REFUSED and after.head().commit != before:
        return wrote, removed, "a refused writer moved HEAD"
    damage = [finding.what for finding in fsck(after.folder)[0].findings if finding.level == "error"]
    return wrote, removed, "; ".join(damage[:2])


def over_garbage(repository: Repository) -> Writer:
    """What will be put is there, older than the grace, and nothing needs it."""
    put_concept(repository.objects, "zoe", repository.commit_of(repository.head().commit).tree)
    age(repository)

    def write(mine: Repository) -> None:
        concept = put_concept(mine.objects, "zoe", mine.commit_of(mine.head().commit).tree)
        commit(mine, concept)

    return write


def too_late(repository: Repository) -> Writer:
    """Everything was put and has become old before its commit."""
    concept = put_concept(repository.objects, "zoe", repository.commit_of(repository.head().commit).tree)
    age(repository)
    return lambda mine: commit(mine, concept)


def branch(repository: Repository) -> Writer:
    """A commit that nothing reaches gets a branch."""
    first, forgotten = repository.head().commit, add(repository, "zoe").id
    repository.move_ref("refs/heads/main", forgotten, first, author=AUTHOR, time=5, message="reset")
    age(repository)
    return lambda mine: _ignored(mine.create_branch("side", forgotten))


def scores(repository: Repository) -> Writer:
    """The scores that will be added are there, as an object without a ref."""
    one: Evaluation = evaluation(repository, "rex")
    repository.objects.put(one)
    age(repository)
    return lambda mine: _ignored(mine.add_evaluation(one))


RACE_KINDS: dict[str, Callable[[Repository], Writer]] = {
    "over garbage": over_garbage,
    "too late": too_late,
    "branch": branch,
    "scores": scores,
}


def age(repository: Repository) -> None:
    """Make every object older than the grace."""
    old = time.time() - 30 * DAY_S
    for known in repository.objects.ids():
        os.utime(repository.objects.path(known), (old, old))


def commit(repository: Repository, concept: str) -> None:
    """Commit a concept on HEAD."""
    repository.commit(
        kind="add",
        message="add zoe",
        author=AUTHOR,
        time=int(time.time()),
        record=None,
        change=lambda tree: with_concept(tree, "zoe", concept),
        seen=repository.head().commit,
        keep_as="zoe",
    )
    closure(repository.objects, [repository.head().commit])


def _collect(folder: Path) -> None:
    report = collect(Repository(folder))
    (folder / "removed").write_text(str(sum(report.removed.values())))


def _ignored(value: object) -> None:
    """Take what a writer returns."""


def _end(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _child(start: float, work: Callable[[], None]) -> int:
    """Fork a process that begins at a time; its exit status says how it ended."""
    child = os.fork()
    if child:
        return child
    code = BROKEN
    try:
        time.sleep(max(0.0, start - time.time()))
        work()
        code = DONE
    except (ObjectMissing, UnknownRevision):
        code = REFUSED
    finally:
        os._exit(code)
