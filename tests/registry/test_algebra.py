"""Histories as algebra: what adding, removing, merging, picking, reverting and going back do to a model, bit for bit.

Random histories of synthetic concepts: every concept id stands for a small random delta, so that a tree has weights.
Cherry-pick and revert are `three_way` on other bases: the parent's tree, and the commit's own.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cns import codec, grid
from cns.codec import SparseDelta
from registry import dag
from registry.errors import NothingToDo
from registry.merging import Conflict, Merge, three_way
from registry.objects import Blob, Tree, object_id
from registry.repository import Repository
from registry.trees import with_concept, without_concept
from tests.registry.making import AUTHOR, DIGEST, new_repository, put_concept

NAMES = ("ann", "kim", "rex", "tom")
SHAPE, EXPONENT, MATRIX = (6, 5), -12, "mid.attn2.to_k"
WEIGHTS = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)

Step = tuple[str, str, int]
steps = st.lists(
    st.tuples(st.sampled_from(("add", "add", "rm", "branch", "merge")), st.sampled_from(NAMES), st.integers(0, 11)),
    max_size=12,
)


@cache
def delta_of(concept: str) -> SparseDelta:
    """Return the delta that a concept id stands for."""
    rng = np.random.default_rng(int(concept[:12], 16))
    positions = np.flatnonzero(rng.random(30) < 0.5)
    made = SparseDelta(SHAPE, positions, rng.integers(-3000, 3000, positions.size).astype(np.int16), EXPONENT)
    return codec.decode(*codec.encode({MATRIX: made}))[MATRIX]


def weights(deltas: Sequence[SparseDelta]) -> bytes:
    """Return the bytes of the matrix that the base and some deltas make, in this order."""
    return grid.compose_matrix(WEIGHTS, EXPONENT, codec.total_steps(deltas, SHAPE)).tobytes()


def bits(tree: Tree) -> bytes:
    return weights([delta_of(concept) for concept in tree.concepts.values()])


def concept_id(name: str, version: int) -> str:
    return object_id("concept", f"{name} {version}".encode())


@dataclass
class History:
    """Commits by number, made by steps; each knows its parents and its tree."""

    parents: dict[str, list[str]] = field(default_factory=lambda: {"0": []})
    trees: dict[str, Tree] = field(default_factory=lambda: {"0": Tree(DIGEST, {})})

    def grow(self, taken: Sequence[Step]) -> History:
        """Take steps: add or replace a concept, remove one, go to another commit, merge another commit."""
        head = "0"
        for step, name, number in taken:
            other = str(number % len(self.trees))
            tree = self.trees[head]
            if step == "branch":
                head = other
            elif step == "add":
                head = self.commit([head], with_concept(tree, name, concept_id(name, number % 3), overwrite=True))
            elif step == "merge":
                head = self.commit([head, other], Tree(DIGEST, self.merge(head, other).concepts))
            elif name in tree.concepts:
                head = self.commit([head], without_concept(tree, name))
        return self

    def commit(self, parents: list[str], tree: Tree) -> str:
        number = str(len(self.trees))
        self.parents[number], self.trees[number] = parents, tree
        return number

    def merge(self, ours: str, theirs: str) -> Merge:
        bases = dag.merge_bases(ours, theirs, self.parents.__getitem__)
        return three_way([self.trees[base] for base in bases], self.trees[ours], self.trees[theirs])


histories = steps.map(lambda taken: History().grow(taken))
trees = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2)).map(
    lambda held: Tree(DIGEST, {name: concept_id(name, version) for name, version in held.items()})
)


def swapped(conflict: Conflict) -> Conflict:
    return Conflict(conflict.name, conflict.bases, ours=conflict.theirs, theirs=conflict.ours)


@given(tree=trees, version=st.integers(0, 2))
def test_adding_and_removing_leaves_every_bit(tree: Tree, version: int) -> None:
    before = bits(tree)
    for name in sorted(set(NAMES) - tree.concepts.keys()):
        more = with_concept(tree, name, concept_id(name, version))
        assert bits(more) != before
        assert without_concept(more, name) == tree
        assert bits(without_concept(more, name)) == before


@given(tree=trees, other=trees)
def test_what_was_added_earlier_comes_out_too(tree: Tree, other: Tree) -> None:
    """Others were added after it; the bits are those of a model that never had it."""
    more = with_concept(Tree(DIGEST, {}), "mug", concept_id("mug", 0))
    for held in (tree, other):
        for name, concept in held.concepts.items():
            more = with_concept(more, name, concept, overwrite=True)
    assert bits(without_concept(more, "mug")) == bits(Tree(DIGEST, {**tree.concepts, **other.concepts}))


@given(history=histories)
def test_merging_is_commutative_also_in_its_conflicts(history: History) -> None:
    for ours, theirs in itertools.combinations(history.trees, 2):
        one, other = history.merge(ours, theirs), history.merge(theirs, ours)
        assert one.concepts == other.concepts
        assert one.conflicts == tuple(map(swapped, other.conflicts))


@given(bases=st.lists(trees, max_size=3), ours=trees, theirs=trees)
def test_merging_is_commutative_whatever_the_bases(bases: list[Tree], ours: Tree, theirs: Tree) -> None:
    one, other = three_way(bases, ours, theirs), three_way(bases, theirs, ours)
    assert one.concepts == other.concepts
    assert one.conflicts == tuple(map(swapped, other.conflicts))
    for conflict in one.conflicts:
        assert (conflict.ours, conflict.theirs) == (
            ours.concepts.get(conflict.name),
            theirs.concepts.get(conflict.name),
        )


@given(base=trees, sides=st.tuples(trees, trees, trees))
def test_merging_is_associative_where_nothing_conflicts(base: Tree, sides: tuple[Tree, Tree, Tree]) -> None:
    def merged(ours: Tree, theirs: Tree) -> Tree:
        done = three_way([base], ours, theirs)
        assert not done.conflicts
        return Tree(DIGEST, done.concepts)

    kept = [base]  # of each side only what no earlier side has touched: branches that do not conflict
    for side in sides:
        touched = {name for one in kept[1:] for name in NAMES if one.concepts.get(name) != base.concepts.get(name)}
        names = {name: (base if name in touched else side).concepts.get(name) for name in NAMES}
        kept.append(Tree(DIGEST, {name: concept for name, concept in names.items() if concept}))
    results = {merged(merged(a, b), c) for a, b, c in itertools.permutations(kept[1:])}
    results |= {merged(a, merged(b, c)) for a, b, c in itertools.permutations(kept[1:])}
    assert len(results) == 1
    assert len({bits(tree) for tree in results}) == 1


@given(history=histories)
def test_a_merge_never_brings_back_what_one_side_removed(history: History) -> None:
    for ours, theirs in itertools.combinations(history.trees, 2):
        merged = history.merge(ours, theirs)
        for base in dag.merge_bases(ours, theirs, history.parents.__getitem__):
            for name in history.trees[base].concepts:
                sides = (history.trees[ours], history.trees[theirs])
                assert name not in merged.concepts or all(name in side.concepts for side in sides)


@given(history=histories)
def test_a_pick_onto_its_own_parent_is_the_same_tree(history: History) -> None:
    for commit, parents in history.parents.items():
        for parent in parents:
            before, after = history.trees[parent], history.trees[commit]
            assert three_way([before], before, after) == Merge({**after.concepts}, ())


@given(history=histories)
def test_the_revert_of_a_revert_is_the_same_tree(history: History) -> None:
    """Anywhere in the history, where the revert does not conflict; on its own commit it never does."""
    for commit, parents in history.parents.items():
        for parent, head in itertools.product(parents, history.trees):
            tree = history.trees[head]
            done = three_way([history.trees[commit]], tree, history.trees[parent])
            assert head != commit or not done.conflicts
            if not done.conflicts:
                reverted = Tree(DIGEST, done.concepts)
                assert head != commit or reverted == history.trees[parent]
                assert three_way([reverted], reverted, tree) == Merge({**tree.concepts}, ())


class TestRepository:
    """The same on disk: deltas are blobs, and what is composed was read back from them."""

    def stored_bits(self, repository: Repository) -> bytes:
        blobs = [
            [repository.objects.get(part, Blob).data for part in (concept.mask, concept.delta)]
            for concept in repository.concepts(repository.tree_of("HEAD")).values()
        ]
        return weights([codec.decode(*two)[MATRIX] for two in blobs])

    def put(self, repository: Repository, name: str, version: int) -> str:
        delta = delta_of(concept_id(name, version))
        mask, steps_of_it = (repository.objects.put(Blob(part)) for part in codec.encode({MATRIX: delta}))
        empty = repository.commit_of(repository.resolve("v0")).tree
        return put_concept(repository.objects, name, empty, str(version), mask=mask, delta=steps_of_it)

    def commit(self, repository: Repository, tree: Tree, merged: Sequence[str] = ()) -> str:
        """Commit a tree on HEAD, as a merge where there is something merged, and return where HEAD is then."""
        facts = {"author": AUTHOR, "time": 1_800_000_000, "record": None, "message": "", "keep_as": "x"}
        head = repository.head().commit
        try:
            repository.commit(kind="merge", seen=head, change=lambda _: tree, merged=merged, **facts)  # type: ignore[arg-type]
        except NothingToDo:
            assert repository.tree_of("HEAD") == tree
        return repository.head().commit

    @pytest.mark.parametrize("seed", range(4))
    def test_checkout_along_any_path_gives_the_same_bits(self, tmp_path: Path, seed: int) -> None:
        repository, chance = new_repository(tmp_path), random.Random(seed)
        repository.create_tag("v0")
        seen = {repository.head().commit: self.stored_bits(repository)}
        concepts = {(name, version): self.put(repository, name, version) for name in NAMES for version in (0, 1)}
        for _ in range(20):
            tree, (name, version) = repository.tree_of("HEAD"), chance.choice(list(concepts))
            theirs = chance.choice(list(seen))
            match chance.choice(("add", "add", "add", "rm", "merge", "checkout")):
                case "add":
                    self.commit(repository, with_concept(tree, name, concepts[name, version], overwrite=True))
                case "rm" if name in tree.concepts:
                    self.commit(repository, without_concept(tree, name))
                case "merge":
                    bases = dag.merge_bases(repository.head().commit, theirs, repository.parents)
                    done = three_way([repository.tree_of(one) for one in bases], tree, repository.tree_of(theirs))
                    self.commit(repository, Tree(tree.base, done.concepts), [theirs])
                case _:
                    repository.checkout(theirs)
            assert seen.setdefault(repository.head().commit, now := self.stored_bits(repository)) == now
        for commit in chance.choices(list(seen), k=20):
            repository.checkout(commit)
            assert self.stored_bits(repository) == seen[commit]
        assert len(set(seen.values())) > 3
