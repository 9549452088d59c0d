"""Branches that part, in the synthetic registry of the shell's tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cns import codec
from registry.objects import Blob, Concept
from registry.trees import with_concept


def parted(lineage: Any) -> None:
    """Two branches, main and pets, that part where HEAD is; HEAD stays on main."""
    lineage.repo.create_branch("pets")


def on(lineage: Any, branch: str) -> None:
    lineage.repo.checkout(branch)


def both_add(lineage: Any, mine: str = "rex", yours: str = "tom") -> None:
    """main adds one concept and pets another."""
    parted(lineage)
    on(lineage, "pets")
    lineage.add(yours, noun="cat")
    on(lineage, "main")
    lineage.add(mine)


def concepts(lineage: Any, rev: str = "HEAD") -> dict[str, str]:
    return dict(lineage.repo.tree_of(rev).concepts)


def replaced(lineage: Any, name: str, **fields: Any) -> None:
    """Commit another concept under a name that is taken."""
    trained_on = lineage.repo.commit_of(lineage.repo.head().commit).tree
    lineage.time += 1  # other blobs
    concept = lineage.concept(name, trained_on=trained_on, **fields)
    lineage.commit("add", name, f"replace {name}", None, lambda tree: with_concept(tree, name, concept, overwrite=True))


def give_rows(lineage: Any, branch: str, name: str) -> None:
    """Give a concept an embedding that can be read, under its tokens."""
    on(lineage, branch)
    held = lineage.repo.objects.get(concepts(lineage)[name], Concept)
    rows = codec.encode_rows({token: np.full(4, 0.5, np.float32) for token in held.tokens})
    made = lineage.repo.objects.put(replace(held, embedding=lineage.repo.objects.put(Blob(rows))))
    lineage.commit("add", name, "rows", None, lambda tree: with_concept(tree, name, made, overwrite=True))
    on(lineage, "main")
