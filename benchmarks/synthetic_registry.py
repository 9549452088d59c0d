"""Registries of made-up concepts, for what needs a history and no model: random bytes stand for masks and deltas."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from registry.objects import Base, Blob, Commit, Concept, Record, References, Tree
from registry.repository import Repository

START = 1_800_000_000  # unix seconds; every commit is a minute later
DELTA_BYTES = 60_000  # about a concept on the embedded base


def new_repository(folder: Path) -> Repository:
    """Make a registry on a base that exists by its digests only."""
    digest = hashlib.sha256(b"made up").hexdigest()
    matrices = {"mid_block.attn2.to_k.weight": {"shape": [192, 192], "sha256": digest, "exponent": -16}}
    base = Base("emoji-64", {"unet": {"config.json": digest}}, matrices, 10_000_000)
    return Repository.init(folder, base, {"base": {"source": "emoji-64"}}, author="bench", time=START)


def put_concept(repository: Repository, number: int, size_bytes: int = DELTA_BYTES) -> tuple[str, str, Record]:
    """Put one made-up concept into the store; return its name, its id and a record such as `cns add` writes."""
    store, dice = repository.objects, random.Random(number)
    mask, delta, row = (store.put(Blob(dice.randbytes(size))) for size in (size_bytes, size_bytes, 800))
    references = store.put(References(None, (None,), 1, 64, {}))
    trained_on = repository.commit_of(repository.head().commit).tree
    name = f"c{number}"
    concept = Concept(name, "dog", (f"<{name}>",), row, mask, delta, {}, references, trained_on)
    losses = [round(dice.random(), 6) for _ in range(300)]
    return name, store.put(concept), Record({"settings": {"seed": number}, "series": {"loss": losses}})


def commit(repository: Repository, number: int, prepared: tuple[str, str, Record] | None = None) -> str:
    """Commit concept `number` in place of the one before it; return the commit's id."""
    name, concept, record = prepared or put_concept(repository, number, 2_000)
    return repository.commit(
        kind="add",
        message=f"add {name}",
        author="bench",
        time=START + 60 * number,
        record=record,
        change=_replacing(name, concept),
        seen=repository.head().commit,
        keep_as=name,
    ).id


def make(folder: Path, commits: int) -> Repository:
    """Make a registry with this many commits after the first, by the way that `cns add` takes."""
    repository = new_repository(folder)
    for number in range(1, commits + 1):
        commit(repository, number)
    return repository


def make_long(folder: Path, commits: int) -> Repository:
    """Make a long history: plain commit objects, then one commit on top by the ordinary way."""
    repository = make_branches(folder, {"main": commits - 1})
    commit(repository, commits)
    return repository


def make_branches(folder: Path, lengths: Mapping[str, int]) -> Repository:
    """Make branches (name -> commits) of plain commit objects on the first commit."""
    repository = new_repository(folder)
    first = repository.head().commit
    tree = repository.commit_of(first).tree
    for branch, length in lengths.items():
        tip = first
        for number in range(1, length + 1):
            made = Commit(tree, (tip,), None, "import", f"{branch} {number}", "bench", START + 60 * number)
            tip = repository.objects.put(made)
        ref = f"refs/heads/{branch}"
        repository.refs.compare_and_swap(ref, repository.refs.get(ref), tip)
    return repository


def _replacing(name: str, concept: str) -> Callable[[Tree], Tree]:
    return lambda tree: Tree(tree.base, {name: concept})
