"""One of many processes that use a registry at once: it commits, or it reads.

    python -S -I -B concurrent_process.py SEARCH_PATH commit|read FOLDER NAME COUNT

A committer adds a concept and takes it out again, in turn, and writes the id of each acknowledged commit to stdout. A
reader reads until its stdin ends, and then writes how often it did. What is raised ends the process with a traceback.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:] = sys.argv[1].split(os.pathsep)

from registry.repository import Repository
from registry.trees import without_concept
from tests.registry.making import AUTHOR, add

PAUSE_S = 0.02  # between two reads, so that readers do not take the machine from committers


def commit(folder: Path, name: str, count: int) -> None:
    repository = Repository.discover(folder)
    for number in range(count):
        if number % 2 == 0:
            said = add(repository, f"{name}-{number}").id
        else:
            said = remove(repository, f"{name}-{number - 1}")
        os.writev(1, [f"{said}\n".encode()])


def remove(repository: Repository, name: str) -> str:
    seen = repository.head().commit
    return repository.commit(
        kind="remove",
        message=f"remove {name}",
        author=AUTHOR,
        time=repository.commit_of(seen).time + 60,
        record=None,
        change=lambda tree: without_concept(tree, name),
        seen=seen,
        keep_as=name,
    ).id


def read(folder: Path) -> None:
    """Read as commands do, each time anew: what was there once is there for good, and is whole."""
    known: set[str] = set()
    rounds = 0
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        repository = Repository.discover(folder)
        tip = repository.head().commit
        for concept in repository.concepts(repository.tree_of(tip)).values():
            for part in concept.links():
                repository.objects.load(part)
        limit = None if rounds % 4 == 0 else 20
        found = {commit_id for commit_id, _ in repository.log(tip, limit)}
        assert tip in found
        if limit is None:
            assert known <= found, "a commit that was in the log is not any more"
            known = found
        moves = repository.reflog("main")
        assert len(moves) > 0
        rounds += 1
    os.writev(1, [f"{rounds}\n".encode()])


if __name__ == "__main__":
    if sys.argv[2] == "commit":
        commit(Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
    else:
        read(Path(sys.argv[3]))
