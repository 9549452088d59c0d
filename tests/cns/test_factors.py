"""Changes of a rank: exact products, exact sums in any order beside masks, files that say what they are."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from cns import codec, grid
from cns.errors import CodecError, GridError
from cns.factors import FINER, UNIT, FactorDelta, factored
from cns.overlap import overlap

SHAPE, RANK, EXPONENT = (6, 9), 3, -12
BASE = np.random.default_rng(0).normal(0, 0.05, SHAPE).astype(np.float32)


def factors(seed: int, shape=SHAPE, scale: int = 900) -> FactorDelta:
    random = np.random.default_rng(seed)
    outputs = random.integers(-scale, scale, (shape[0], RANK)).astype(np.int16)
    basis = np.random.default_rng(7).integers(-UNIT, UNIT + 1, (shape[1], RANK)).astype(np.int8)
    return FactorDelta(outputs, basis, EXPONENT - FINER)


def mask(seed: int) -> codec.SparseDelta:
    random = np.random.default_rng(seed)
    positions = np.sort(random.choice(SHAPE[0] * SHAPE[1], 20, replace=False)).astype(np.int64)
    return codec.SparseDelta(SHAPE, positions, random.integers(-900, 900, 20).astype(np.int16), EXPONENT)


def composed(parts) -> np.ndarray:
    return grid.compose_matrix(BASE, codec.finest(parts, EXPONENT), codec.total_steps(parts, SHAPE))


def test_masks_and_factors_add_up_to_the_same_bits_in_any_order():
    parts = [factors(1), mask(2), factors(3), mask(4)]
    assert len({composed(order).tobytes() for order in itertools.permutations(parts)}) == 1


def test_the_change_is_the_product_of_its_factors_to_the_last_bit():
    one = factors(1)
    product = one.outputs.astype(np.float64) @ one.basis.astype(np.float64).T * 2.0**one.exponent
    assert np.array_equal(composed([one]), (BASE.astype(np.float64) + product).astype(np.float32))


def test_a_mask_beside_factors_that_change_nothing_has_the_bits_that_it_has_alone():
    nothing = FactorDelta(np.zeros((SHAPE[0], RANK), np.int16), factors(1).basis, EXPONENT - FINER)
    assert composed([mask(2), nothing]).tobytes() == composed([mask(2)]).tobytes()
    assert composed([nothing]).tobytes() == BASE.tobytes()


def test_sums_that_float32_cannot_hold_are_refused():
    most = FactorDelta(np.full((6, RANK), 32767, np.int16), np.full((9, RANK), UNIT, np.int8), EXPONENT - FINER)
    composed([most])
    with pytest.raises(GridError, match="add up"):
        composed([most, most])


def test_what_is_written_is_read_back():
    delta = {"b": factors(1), "a": factors(2, (4, 9))}
    found = codec.decode(*codec.encode(delta))
    assert list(found) == ["a", "b"]
    for name, one in found.items():
        assert np.array_equal(one.outputs, delta[name].outputs)
        assert np.array_equal(one.basis, delta[name].basis)
        assert (one.exponent, one.shape, one.rank) == (delta[name].exponent, delta[name].shape, RANK)
    assert codec.encode(found) == codec.encode(delta)


def test_a_file_of_factors_is_no_file_of_format_1():
    for data in codec.encode({"m": factors(1)}):
        size = int.from_bytes(data[:8], "little")
        assert json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["cns"])["format"] == 2


def test_files_that_do_not_belong_together_are_refused():
    one, two = codec.encode({"m": factors(1)}), codec.encode({"m": mask(1)})
    wider = codec.encode({"m": factors(1, (6, 10))})
    for pair in ((one[0], two[1]), (two[0], one[1]), (codec.encode({"n": factors(1)})[0], one[1])):
        with pytest.raises(CodecError):
            codec.decode(*pair)
    with pytest.raises(CodecError):
        codec.decode(one[0], codec.encode({"m": factors(1, (5, 9))})[1])
    assert codec.decode(wider[0], one[1])["m"].shape == (6, 10)  # O does not know the width
    with pytest.raises(CodecError, match="different directions"):
        codec.encode({"m": factors(1), "n": factors(1, (6, 10))})


def test_trained_factors_are_rounded_to_half_a_step_of_each_direction():
    random = np.random.default_rng(0)
    whole = random.integers(-UNIT, UNIT + 1, (9, RANK))
    whole[0] = UNIT
    basis = (whole * np.array([2.0**-6, 2.0**-10, 1.0])).astype(np.float32)
    outputs = random.normal(0, 0.01, (6, RANK)).astype(np.float32)
    one = factored({"m": outputs}, basis, {"m": EXPONENT})["m"]
    assert np.array_equal(one.basis, whole)
    error = np.abs(
        one.steps.reshape(SHAPE) * 2.0**one.exponent - outputs.astype(np.float64) @ basis.T.astype(np.float64)
    )
    assert error.max() <= RANK * UNIT * 2.0**one.exponent / 2


@pytest.mark.parametrize("worst", [np.nan, np.inf, 1e6])
def test_outputs_that_cannot_be_stored_are_refused(worst):
    with pytest.raises(GridError, match="diverged"):
        factored({"m": np.full((6, 1), worst, np.float32)}, np.ones((9, 1), np.float32), {"m": EXPONENT})


def test_overlap_compares_factors_with_masks():
    found = overlap({"m": factors(1)}, {"m": mask(2)})
    assert (found.one, found.other, found.shared) == (54, 20, 20)
    dense = factors(1).steps * 2.0 ** factors(1).exponent
    assert found.one_energy == pytest.approx(float((dense**2).sum()), rel=1e-12)
    sparse = np.zeros(54)
    sparse[mask(2).positions] = mask(2).steps * 2.0**EXPONENT
    assert found.product == pytest.approx(float(dense @ sparse), rel=1e-12)
    assert overlap({"m": mask(3)}, {}).shared == 0
