"""Going on from a learned concept: its mask or its directions stay, and nothing is lost on the way in."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from cns.resume import decode
from tests.cns.conftest import tiny_model
from tests.cns.test_resume import Keeper
from tests.cns.test_training import SETTINGS, learn, stored, task

STILL = {"lr": 1e-12, "token_lr": 1e-12, "warmup_steps": 0}
KINDS = {"mask": {"lr": 1e-2}, "directions": {"directions": 3, "lr": 1e-2}, "vectors": {"vectors": 2, "lr": 1e-2}}


@pytest.fixture(params=KINDS)
def begun(request, tiny_folders):
    """Settings, and a concept that was learned with them."""
    settings = dataclasses.replace(SETTINGS, **KINDS[request.param])
    return settings, learn(tiny_model(tiny_folders["sd-1"]), settings).weights


def test_without_a_move_it_is_the_same_concept_bit_for_bit(begun, tiny_folders):
    settings, start = begun
    what = dataclasses.replace(task(), start=start)
    again = learn(tiny_model(tiny_folders["sd-1"]), dataclasses.replace(settings, **STILL), what)
    for name, change in start.delta.items():
        assert np.array_equal(again.weights.delta[name].steps, change.steps), name
        assert np.array_equal(again.weights.delta[name].positions, change.positions), name
    assert any(change.steps.any() for change in start.delta.values())
    assert all(torch.allclose(again.weights.rows[token], row, atol=1e-6) for token, row in start.rows.items())


def test_it_moves_from_there_within_what_may_change(begun, tiny_folders):
    settings, start = begun
    what = dataclasses.replace(task(), start=start)
    settings = dataclasses.replace(settings, warmup_steps=0, lr=1e-3)
    learned = learn(tiny_model(tiny_folders["sd-1"]), settings, what)
    far, near = 0.0, 0.0
    for name, change in start.delta.items():
        now = learned.weights.delta[name]
        assert np.array_equal(now.positions, change.positions)
        assert now.exponent == change.exponent
        far += float(np.square(change.steps, dtype=np.float64).sum())
        near += float(np.square(now.steps.astype(np.float64) - change.steps).sum())
    assert 0 < near < far  # a step of a tenth of the rate leads nowhere near as far as from nothing
    assert learned.series["warmup_loss"] == []
    assert stored(learned)[2] != stored(dataclasses.replace(learned, weights=start))[2]


def test_stopped_and_resumed_it_ends_in_the_same_bits(begun, tiny_folders):
    settings, start = begun
    settings = dataclasses.replace(settings, warmup_steps=0, steps=3)
    what = dataclasses.replace(task(), start=start)
    expected = stored(learn(tiny_model(tiny_folders["sd-1"]), settings, what))
    for stop in (1, 2):
        keeper = Keeper(stop)
        with pytest.raises(KeyboardInterrupt):
            learn(tiny_model(tiny_folders["sd-1"]), settings, what, keeper)
        state = decode(keeper.bytes[-1])
        assert stored(learn(tiny_model(tiny_folders["sd-1"]), settings, what, state=state)) == expected
