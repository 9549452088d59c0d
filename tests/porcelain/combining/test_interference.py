"""Interference against figures that were computed by hand; numpy and no model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cns import codec
from cns_cli.porcelain.combining.interference import meetings
from registry.objects import Blob, Tree
from registry.repository import Repository
from tests.registry.making import new_repository, put_concept

KEY, VALUE = "mid.attn2.to_k", "mid.attn2.to_v"


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def concept(repo: Repository, name: str, **matrices: tuple[list[int], list[int], int]) -> str:
    """Store a concept that changes matrices of 2 x 4 weights: positions, steps and the exponent of each."""
    made = {
        {"key": KEY, "value": VALUE}[matrix]: codec.SparseDelta(
            (2, 4), np.array(positions, np.int64), np.array(steps, np.int16), exponent
        )
        for matrix, (positions, steps, exponent) in matrices.items()
    }
    mask, delta = (repo.objects.put(Blob(data)) for data in codec.encode(made))
    return put_concept(repo.objects, name, repo.commit_of(repo.head().commit).tree, mask=mask, delta=delta)


def tree(repo: Repository, **concepts: str) -> Tree:
    return Tree(repo.tree_of("HEAD").base, concepts)


def test_the_figures_are_those_of_the_dense_matrices(repo: Repository) -> None:
    rex = concept(repo, "rex", key=([0, 1, 4], [3, 4, 5], -2), value=([7], [1], 3))
    tom = concept(repo, "tom", key=([1, 4, 5, 6], [1, -2, 7, 7], -2), value=([6, 7], [2, 3], 3))
    ours, theirs = tree(repo, rex=rex), tree(repo, tom=tom)
    (found,) = meetings(repo, ours, theirs, tree(repo, rex=rex, tom=tom))
    k, v = 2.0**-4, 2.0**6  # squared steps
    assert (found.ours, found.theirs, found.shared, found.share) == ("rex", "tom", 3, 3 / 4)
    energies = 50 * k + 1 * v, (1 + 4 + 49 + 49) * k + (4 + 9) * v
    assert found.ours_energy == (41 * k + v) / energies[0]
    assert found.theirs_energy == (5 * k + 9 * v) / energies[1]
    assert found.cosine == pytest.approx(((4 - 10) * k + 3 * v) / math.sqrt(energies[0] * energies[1]), rel=1e-15)


def test_concepts_without_a_common_neuron_do_not_meet_anywhere(repo: Repository) -> None:
    rex, tom = concept(repo, "rex", key=([0], [3], -2)), concept(repo, "tom", value=([0], [3], -2))
    (found,) = meetings(repo, tree(repo, rex=rex), tree(repo, tom=tom), tree(repo, rex=rex, tom=tom))
    assert (found.shared, found.share, found.ours_energy, found.cosine) == (0, 0, 0, 0)


def test_only_those_that_come_from_two_sides_are_compared(repo: Repository) -> None:
    """mug is on both sides, cup was removed by the merge: neither meets anyone. The largest share stands first."""
    made = {name: concept(repo, name, key=([0, place], [1, 1], -2)) for place, name in enumerate("abcde", 1)}
    made["b"] = concept(repo, "b2", key=([0], [1], -2))
    ours = tree(repo, mug=made["a"], cup=made["e"], rex=made["c"])
    theirs = tree(repo, mug=made["a"], tom=made["d"], max=made["b"])
    outcome = tree(repo, mug=made["a"], rex=made["c"], tom=made["d"], max=made["b"])
    found = [(one.ours, one.theirs, one.share) for one in meetings(repo, ours, theirs, outcome)]
    assert found == [("rex", "max", 1.0), ("rex", "tom", 0.5)]
