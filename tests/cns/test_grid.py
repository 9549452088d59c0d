"""The integer grid: exact, order-free, and refusing what it cannot hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cns import grid
from cns.errors import GridError


def test_exponent_is_that_of_the_median_minus_the_bits():
    weight = np.array([[0.001, 0.3, 8.0]], np.float32)  # the median 0.3 lies in [2^-2, 2^-1)
    assert grid.exponent(weight, 11) == -2 - 11
    assert grid.exponent(weight, 0) == -2


def test_exponent_does_not_depend_on_order_or_sign():
    weight = np.random.default_rng(0).normal(size=(33, 17)).astype(np.float32)
    shuffled = np.random.default_rng(1).permutation(weight.ravel()).reshape(17, 33)
    assert grid.exponent(weight, 8) == grid.exponent(-shuffled, 8)


def test_exponent_of_a_matrix_whose_median_is_zero_follows_its_largest_weight():
    assert grid.exponent(np.array([[0, 0, 0, 4.0]], np.float32), 0) == 2
    assert grid.exponent(np.zeros((2, 2), np.float32), 0) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_matrix_that_is_not_finite_is_refused(bad):
    with pytest.raises(GridError):
        grid.exponent(np.array([[1.0, bad]], np.float32), 8)


def test_quantise_rounds_to_the_nearest_step_and_halves_to_even():
    change = np.array([0.49, 0.5, 1.5, -1.2], np.float32)
    assert grid.quantise(change, 0).tolist() == [0, 0, 2, -1]


@pytest.mark.parametrize("change", [32768.0, -40000.0, np.nan, np.inf])
def test_a_change_that_does_not_fit_is_refused(change):
    with pytest.raises(GridError, match="diverged"):
        grid.quantise(np.array([change], np.float32), 0)


def test_the_largest_change_fits():
    assert grid.quantise(np.array([32767.0, -32767.0], np.float32), 0).tolist() == [32767, -32767]


@given(st.integers(0, 2**32 - 1))
def test_composing_does_not_depend_on_the_order_of_concepts(seed):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(5, 7)).astype(np.float32)
    parts = [rng.integers(-32767, 32768, (5, 7)) for _ in range(6)]
    forward = grid.compose_matrix(base, -15, sum(parts[1:], parts[0]))
    order = rng.permutation(6)
    backward = grid.compose_matrix(base, -15, sum((parts[i] for i in order[1:]), parts[order[0]]))
    assert forward.tobytes() == backward.tobytes()


def test_weights_without_a_change_keep_their_bits():
    base = np.array([[-0.0, 1e-45, 3.25, 7.0]], np.float32)
    total = np.array([[0, 0, 0, 1]])
    composed = grid.compose_matrix(base, -3, total)
    assert composed[0, :3].tobytes() == base[0, :3].tobytes()
    assert composed[0, 3] == np.float32(7.125)


@given(st.integers(0, 2**32 - 1), st.integers(-170, 103))
def test_composing_is_one_rounded_sum_of_the_base_and_whole_steps(seed, exponent):
    rng = np.random.default_rng(seed)
    base = np.ldexp(rng.normal(size=(4, 9)), exponent + rng.integers(-4, 24, (4, 9))).astype(np.float32)
    base[0] = -0.0
    total = rng.integers(1 - 2**24, 2**24, (4, 9)) * rng.integers(0, 2, (4, 9))
    change = np.ldexp(total.astype(np.float64), exponent).astype(np.float32)
    expected = np.where(total == 0, base, base + change)
    for integers in (total, total.astype(np.int32)):
        assert grid.compose_matrix(base, exponent, integers).tobytes() == expected.tobytes()


def test_a_sum_that_float32_cannot_hold_exactly_is_refused():
    with pytest.raises(GridError):
        grid.compose_matrix(np.zeros((1, 1), np.float32), 0, np.array([[2**24]]))
