"""One operation on a registry, as a process of its own that starts in a tenth of a second.

    python -S -I -B operations.py SEARCH_PATH OPERATION FOLDER

It imports no torch: a concept's objects are ready, and only the commit is under test. What was acknowledged is written
to stdout by `writev`, a system call that nothing here is told to fail, after the operation has returned.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:] = sys.argv[1].split(os.pathsep)

from registry import fsio
from registry.errors import DiskFailed, RegistryError, TipMoved
from registry.health import gc
from registry.index import LAG
from registry.objects import Blob
from registry.repository import Repository
from registry.trees import with_concept, without_concept
from tests.registry.making import AUTHOR, add, evaluation, new_repository

LATER = 1_800_000_000
YEARS_S = 10 * 365 * 86_400.0


def make_registry(folder: Path, operation: str = "") -> Repository:
    """Make what an operation starts from: two lines of history, a tag, scores, something unreachable."""
    repository = new_repository(folder)
    add(repository, "rex")
    repository.create_branch("dev", time=0)
    add(repository, "tom")
    repository.create_tag("v1", "HEAD~1", time=0)
    repository.add_evaluation(evaluation(repository, "rex"))
    repository.objects.put(Blob(b"of an add that was given up"))
    repository.checkout("dev", time=0)
    add(repository, "old")
    for _ in range(2):  # the second is the newest move of HEAD, and does not name that commit
        repository.checkout("main", time=0)
    if operation == "commit, index written":
        for number in range(LAG - 3):
            add(repository, f"c{number}")
    return repository


def init(folder: Path) -> Iterator[str]:
    yield new_repository(folder).head().commit


def commit(folder: Path) -> Iterator[str]:
    yield add(Repository(folder), "kim").id


def commit_last(folder: Path) -> Iterator[str]:
    yield add(Repository(folder), "last").id


def three_commits(folder: Path) -> Iterator[str]:
    """On a branch, detached, and from one registry object that is kept open."""
    repository = Repository(folder)
    yield add(repository, "kim").id
    yield repository.checkout("v1", time=LATER).commit
    yield add(repository, "ann").id
    yield repository.checkout("dev", time=LATER).commit
    yield add(repository, "bob").id


def taken_out_and_put_back(folder: Path) -> Iterator[str]:
    """A commit without a concept, and one that has it again: all its objects are there."""
    repository = Repository(folder)
    tree, seen = repository.tree_of("HEAD"), repository.head().commit
    for kind, change in (
        ("remove", lambda tip: without_concept(tip, "tom")),
        ("revert", lambda tip: with_concept(tip, "tom", tree.concepts["tom"])),
    ):
        facts: dict[str, Any] = {"author": AUTHOR, "time": LATER, "record": None, "keep_as": "tom"}
        seen = repository.commit(kind=kind, message=kind, change=change, seen=seen, **facts).id
        yield seen


def merge(folder: Path) -> Iterator[str]:
    """A commit with two parents, whose tree has concepts of both."""
    repository = Repository(folder)
    theirs, old = repository.resolve("dev"), repository.tree_of("dev").concepts["old"]
    facts: dict[str, Any] = {"author": AUTHOR, "time": LATER, "record": None, "keep_as": "dev", "merged": (theirs,)}
    seen = repository.head().commit
    yield repository.commit(
        kind="merge", message="", change=lambda t: with_concept(t, "old", old), seen=seen, **facts
    ).id


def reset(folder: Path) -> Iterator[str]:
    """Back, and on to quite another commit."""
    repository = Repository(folder)
    for where in ("HEAD~1", "dev"):
        yield repository.move(repository.resolve(where), message="reset", author=AUTHOR, time=LATER).commit


def undo(folder: Path) -> Iterator[str]:
    """A checkout undone and made again, a reset undone, a deleted branch brought back."""
    repository = Repository(folder)
    for _ in range(2):
        yield str(repository.undo(author=AUTHOR, time=LATER).new)
    yield repository.move(repository.resolve("HEAD~1"), message="reset", author=AUTHOR, time=LATER).commit
    yield str(repository.undo(author=AUTHOR, time=LATER).new)
    yield repository.delete_branch("dev", time=LATER)
    yield str(repository.undo("dev", author=AUTHOR, time=LATER).old)


def commit_on_moved_tip(folder: Path) -> Iterator[str]:
    repository = Repository(folder)
    yield add(repository, "kim", seen=repository.resolve("HEAD~1")).id


def commit_that_is_kept(folder: Path) -> Iterator[str]:
    """The tip moved and took the name: the commit is kept below refs/lost."""
    repository = Repository(folder)
    try:
        add(repository, "tom", seen=repository.resolve("HEAD~1"), seed="other")
    except TipMoved as moved:
        yield moved.commit


def collect_garbage(folder: Path) -> Iterator[str]:
    """Long after: reflogs expire, and what they kept goes."""
    repository = Repository(folder)
    dev, main = repository.branches().get("dev"), repository.resolve("main")
    for old, new in ((dev, main), (main, None)):  # the newest move of a reflog is kept, and what it names
        if repository.refs.get("refs/heads/dev") == old is not None:
            repository.move_ref("refs/heads/dev", old, new, author=AUTHOR, time=0, message="reset")
            yield str(old)
    gc.collect(repository, now=time.time() + YEARS_S)
    yield "collected"


def commit_that_writes_the_index(folder: Path) -> Iterator[str]:
    """The index is so far behind that the commit brings it up to date."""
    yield add(Repository(folder), "kim").id


def checkout_branch(folder: Path) -> Iterator[str]:
    yield Repository(folder).checkout("dev", time=LATER).commit


def checkout_commit(folder: Path) -> Iterator[str]:
    yield Repository(folder).checkout("HEAD~2", time=LATER).commit


def branch_and_tag(folder: Path) -> Iterator[str]:
    repository = Repository(folder)
    yield repository.create_branch("feature/New", time=LATER)
    yield repository.create_tag("v2", time=LATER)


def branch_deleted(folder: Path) -> Iterator[str]:
    repository = Repository(folder)
    tip = repository.resolve("dev")
    repository.move_ref("refs/heads/dev", tip, None, author=AUTHOR, time=LATER, message="branch: deleted")
    yield tip


def scores(folder: Path) -> Iterator[str]:
    repository = Repository(folder)
    yield repository.add_evaluation(evaluation(repository, "tom"))


def setting(folder: Path) -> Iterator[str]:
    Repository(folder).set_config("mlflow.required", True)
    yield "set"


def commit_in_place(folder: Path) -> Iterator[str]:
    """The positive control: a writer that opens the file itself, writes and goes on."""

    def in_place(path: Path, data: bytes, *, mode: int = 0o666) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for start in range(0, len(data), 40):
            os.write(handle, data[start : start + 40])
        os.close(handle)

    fsio.replace = in_place
    return commit(folder)


OPERATIONS: dict[str, Callable[[Path], Iterator[str]]] = {
    "init": init,
    "commit": commit,
    "three commits and checkouts": three_commits,
    "concept taken out and put back": taken_out_and_put_back,
    "merge commit": merge,
    "reset": reset,
    "undo": undo,
    "commit, tip moved": commit_on_moved_tip,
    "commit, kept below refs/lost": commit_that_is_kept,
    "commit, index written": commit_that_writes_the_index,
    "checkout a branch": checkout_branch,
    "checkout a commit": checkout_commit,
    "branch and tag": branch_and_tag,
    "branch deleted": branch_deleted,
    "scores": scores,
    "gc": collect_garbage,
    "setting": setting,
}
CONTROL = "commit, written in place"


def main(operation: str, folder: Path) -> int:
    act = commit_in_place if operation == CONTROL else OPERATIONS[operation]
    try:
        acknowledge(act(folder), 1)
    except DiskFailed as failure:
        os.writev(2, [f"{failure.message}\n{failure.hint}".encode()])
        return 4
    except RegistryError as failure:
        os.writev(2, [f"{type(failure).__name__}: {failure.message}".encode()])
        return 5
    return 0


def acknowledge(steps: Iterable[str], handle: int) -> None:
    """Write a line for each step of an operation, once it has returned."""
    for said in steps:
        os.writev(handle, [f"{said}\n".encode()])


if __name__ == "__main__":
    os._exit(main(sys.argv[2], Path(sys.argv[3])))
