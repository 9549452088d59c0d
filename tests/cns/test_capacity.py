"""How full a model is, against sets of positions."""

from __future__ import annotations

import numpy as np
import pytest

from cns.capacity import capacity, held_share
from cns.codec import SparseDelta

SHAPES = {"k": (4, 5), "v": (3, 5)}


def delta(**positions):
    return {
        name: SparseDelta(SHAPES[name], np.asarray(found, np.int64), np.ones(len(found), np.int16), -8)
        for name, found in positions.items()
    }


def general(**positions):
    masks = {name: np.zeros(shape, bool) for name, shape in SHAPES.items()}
    for name, found in positions.items():
        masks[name].reshape(-1)[found] = True
    return masks


def test_shares_count_unions():
    earlier = [delta(k=[0, 1, 2], v=[0]), delta(k=[2, 3])]
    found = capacity(delta(k=[3, 4], v=[0, 5]), earlier, general(k=[4, 10, 11], v=[14]))
    held = {("k", one) for one in (0, 1, 2, 3, 4)} | {("v", one) for one in (0, 5)}
    marked = {("k", 4), ("k", 10), ("k", 11), ("v", 14)}
    assert found.held == pytest.approx(len(held) / 35)
    assert found.general == pytest.approx(4 / 35)
    assert found.free == pytest.approx(1 - len(held | marked) / 35)
    assert found.reused == pytest.approx(2 / 4)  # k3 and v0


def test_the_first_concept_reuses_nothing():
    found = capacity(delta(k=[1]), [], general())
    assert (found.held, found.general, found.free, found.reused) == (1 / 35, 0.0, 34 / 35, 0.0)


def test_held_share_needs_no_general_neurons():
    assert held_share([delta(k=[0, 1]), delta(k=[1, 2], v=[3])], 35) == pytest.approx(4 / 35)
    assert held_share([], 35) == 0.0
