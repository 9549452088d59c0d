"""What two changes have in common, against figures that can be worked out by hand and against dense arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cns.codec import SparseDelta
from cns.overlap import Overlap, overlap, overlaps


def sparse(steps, *, shape=(2, 4), exponent=-1):
    """A change that holds `{position: steps}`."""
    return SparseDelta(
        shape, np.asarray(sorted(steps), np.int64), np.asarray([steps[at] for at in sorted(steps)], np.int16), exponent
    )


def test_figures_of_two_changes():
    one = {"k": sparse({0: 2, 1: 4, 5: -6}), "v": sparse({3: 8}, exponent=0)}
    other = {"k": sparse({1: 2, 5: 2, 7: 100})}
    in_k = overlaps(one, other)["k"]
    # a step is 1/2: on the shared neurons 1 and 5 one has (2, -3), other (1, 1)
    assert (in_k.one, in_k.other, in_k.shared) == (3, 3, 2)
    assert (in_k.one_shared, in_k.other_shared, in_k.product) == (4 + 9, 1 + 1, 2 - 3)
    assert (in_k.one_energy, in_k.other_energy) == (1 + 4 + 9, 1 + 1 + 2500)
    assert in_k.chance == 3 * 3 / 8
    whole = overlap(one, other)
    assert (whole.one, whole.other, whole.shared, whole.share) == (4, 3, 2, 0.5)
    assert whole.one_energy == 14 + 64
    assert whole.relative_energy == 2 / 13
    assert whole.cosine == pytest.approx(-1 / np.sqrt(78 * 2502))


def test_a_change_is_one_with_itself_and_against_its_negative():
    one = {"k": sparse({0: 3, 6: -5})}
    negative = {"k": sparse({0: -3, 6: 5})}
    assert (overlap(one, one).share, overlap(one, one).cosine, overlap(one, one).relative_energy) == (1.0, 1.0, 1.0)
    assert overlap(one, negative).cosine == -1.0


def test_what_is_nowhere_shared_has_no_figure_there():
    apart = overlap({"k": sparse({0: 3})}, {"k": sparse({1: 3})})
    assert (apart.shared, apart.share, apart.cosine, apart.relative_energy) == (0, 0.0, 0.0, None)
    still = overlap({"k": sparse({0: 0})}, {"k": sparse({0: 3})})
    assert (still.shared, still.cosine, still.relative_energy) == (1, None, None)
    assert overlap({}, {}) == Overlap()


def test_the_largest_steps_do_not_overflow():
    steps = dict.fromkeys(range(1 << 12), -32767)
    same = {"k": sparse(steps, shape=(64, 64), exponent=0)}
    assert overlap(same, same).product == 32767**2 * 4096


dense = st.lists(st.integers(-32767, 32767), min_size=12, max_size=12)


@given(dense, dense, st.sets(st.integers(0, 11)), st.sets(st.integers(0, 11)), st.integers(-20, 3))
def test_sparse_figures_are_those_of_dense_arrays(one, other, mine, yours, exponent):
    left, right = np.array(one) * 2.0**exponent, np.array(other) * 2.0**exponent
    masks = [np.isin(np.arange(12), list(held)) for held in (mine, yours)]
    both = masks[0] & masks[1]
    found = overlap(
        {"k": sparse({at: one[at] for at in mine}, shape=(3, 4), exponent=exponent)},
        {"k": sparse({at: other[at] for at in yours}, shape=(3, 4), exponent=exponent)},
    )
    assert found.shared == both.sum()
    assert found.one_energy == (left[masks[0]] ** 2).sum()
    assert found.other_shared == (right[both] ** 2).sum()
    assert found.product == (left[both] * right[both]).sum()
