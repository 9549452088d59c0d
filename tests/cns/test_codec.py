"""Masks and deltas as bytes: a round trip for everything, an error for anything damaged."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from cns import codec
from cns.codec import SparseDelta
from cns.errors import CodecError


def sparse(shape, positions, steps, exponent=-14) -> SparseDelta:
    return SparseDelta(shape, np.array(positions, np.int64), np.array(steps, np.int16), exponent)


def random_delta(seed: int, density: float) -> dict[str, SparseDelta]:
    rng = np.random.default_rng(seed)
    delta = {}
    for name, shape in {"a.to_k.weight": (40, 30), "b.to_v.weight": (7, 300)}.items():
        positions = np.flatnonzero(rng.random(shape[0] * shape[1]) < density)
        delta[name] = sparse(shape, positions, rng.integers(-32767, 32768, positions.size), int(rng.integers(-30, 3)))
    return delta


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.001, 0.06, 0.5, 1.0]))
def test_decode_gives_back_what_encode_took(seed, density):
    delta = random_delta(seed, density)
    found = codec.decode(*codec.encode(delta))
    assert found.keys() == delta.keys()
    for name, one in delta.items():
        assert (found[name].shape, found[name].exponent) == (one.shape, one.exponent)
        np.testing.assert_array_equal(found[name].positions, one.positions)
        np.testing.assert_array_equal(found[name].steps, one.steps)


@pytest.mark.parametrize("gap", [0, 1, 254, 255, 256, 509, 510, 511, 5000])
def test_gaps_around_the_escape_byte_survive(gap):
    delta = {"m": sparse((1, 6000), [gap, gap + 1, 5999], [1, -1, 0])}
    np.testing.assert_array_equal(codec.decode(*codec.encode(delta))["m"].positions, [gap, gap + 1, 5999])


def test_the_stored_bytes_do_not_change():
    """The format is what ids hash: bytes written by an older version must stay readable and stay the same."""
    mask, delta = codec.encode({"m": sparse((2, 300), [3, 299, 300], [1, -2, 300])})
    assert load(mask)["m"].tolist() == [3, 255, 40, 0]
    assert load(delta)["m"].tolist() == [[0, 0, 2], [2, 3, 88]]
    assert hashlib.sha256(mask).hexdigest() == "f92329f898f87230e3407cde80c15968e94d0dab9ec155a6076c814fb2b6057b"
    assert hashlib.sha256(delta).hexdigest() == "64a1e0e736415bffbe60660dafe3148ef7a7159407e5b3877084a10f47f4435d"


def test_encoding_does_not_depend_on_the_order_of_matrices():
    delta = random_delta(1, 0.1)
    assert codec.encode(delta) == codec.encode(dict(reversed(delta.items())))


@pytest.mark.parametrize(
    "bad",
    [
        sparse((2, 2), [0, 4], [1, 1]),
        sparse((2, 2), [-1, 2], [1, 1]),
        sparse((2, 2), [2, 1], [1, 1]),
        sparse((2, 2), [1, 1], [1, 1]),
        sparse((2, 2), [1], [1, 1]),
    ],
)
def test_positions_outside_or_out_of_order_are_refused(bad):
    with pytest.raises(CodecError):
        codec.encode({"m": bad})


def test_every_truncation_is_an_error_of_ours():
    mask, delta = codec.encode(random_delta(2, 0.05))
    for size in range(0, len(mask), 7):
        with pytest.raises(CodecError):
            codec.decode(mask[:size], delta)
    for size in range(0, len(delta), 7):
        with pytest.raises(CodecError):
            codec.decode(mask, delta[:size])


def test_a_mask_that_ends_in_the_middle_of_a_gap_is_refused():
    meta = {"cns": json.dumps({"format": 1, "shapes": {"m": [1, 9]}})}
    _, delta = codec.encode({"m": sparse((1, 9), [], [])})
    with pytest.raises(CodecError, match="middle of a gap"):
        codec.decode(save({"m": np.array([255], np.uint8)}, meta), delta)


def test_mask_and_delta_of_different_concepts_are_refused():
    one, other = codec.encode(random_delta(1, 0.1)), codec.encode(random_delta(2, 0.1))
    with pytest.raises(CodecError):
        codec.decode(one[0], other[1])


def test_a_newer_format_is_refused():
    _, delta = codec.encode({"m": sparse((1, 1), [], [])})
    newer = save({"m": np.zeros(0, np.uint8)}, {"cns": json.dumps({"format": 2, "shapes": {"m": [1, 1]}})})
    with pytest.raises(CodecError, match="format 2"):
        codec.decode(newer, delta)


def test_embedding_rows_survive_bit_for_bit():
    rows = {"<rex>": np.array([1e-45, -0.0, 3.5], np.float32), "<rex-2>": np.ones(3, np.float32)}
    found = codec.decode_rows(codec.encode_rows(rows))
    assert {token: row.tobytes() for token, row in found.items()} == {t: r.tobytes() for t, r in rows.items()}


def test_embedding_rows_that_are_not_finite_are_refused():
    with pytest.raises(CodecError):
        codec.decode_rows(codec.encode_rows({"<rex>": np.array([np.nan], np.float32)}))


def test_total_steps_adds_exactly():
    one = {"m": sparse((1, 4), [0, 1], [32767, 5])}
    other = {"m": sparse((1, 4), [1, 3], [32767, -2])}
    assert codec.total_steps([one["m"], other["m"], one["m"]], (1, 4)).tolist() == [[65534, 32777, 0, -2]]
    assert codec.count_weights(one) == 2
