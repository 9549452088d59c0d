"""Directions: they answer to the concept and little else, the change has their rank, a stopped training goes on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from cns import directions
from cns.errors import SettingsError
from cns.resume import decode
from tests.cns.conftest import tiny_model
from tests.cns.test_resume import Keeper, stored
from tests.cns.test_resume import learn as learn_on
from tests.cns.test_training import SETTINGS, learn, task

RANK = 3
DIRECTIONS = dataclasses.replace(SETTINGS, directions=RANK)


def moments(width: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(40, width, generator=generator) for _ in range(2))
    one[:, 3] *= 5
    return one.T @ one / 40, other.T @ other / 40


@pytest.mark.parametrize("basis", directions.BASES)
def test_columns_have_unit_response_and_are_whole_numbers(basis):
    new, others = moments()
    basis = directions.fixed(directions.BASES[basis](new, others, RANK, 0), new)
    assert ((basis.T @ new @ basis).diagonal() - 1).abs().max() < 0.05
    units = basis / basis.abs().max(0).values
    assert units.shape == (12, RANK)
    exponents = torch.log2(basis.abs().max(0).values / directions.UNIT).ceil()
    whole = basis / torch.exp2(exponents)
    assert torch.equal(whole, whole.round())
    assert whole.abs().max() <= directions.UNIT


def test_the_best_directions_answer_most_to_the_concept_beside_the_others():
    new, others = moments()
    ratios = {}
    for name, build in directions.BASES.items():
        basis = build(new, others, RANK, 0)
        ratios[name] = float(((new @ basis) * basis).sum() / ((others @ basis) * basis).sum())
    assert ratios["best"] > max(ratios["plain"], ratios["random"])


@pytest.mark.parametrize("reg", ["features", "weights", "none"])
def test_the_change_of_each_matrix_has_that_rank(tiny_folders, reg):
    model = tiny_model(tiny_folders["sd-1"])
    weights = learn(model, dataclasses.replace(DIRECTIONS, reg=reg, lr=1e-2)).weights
    now = model.set_concepts([weights])
    assert any(delta.outputs.any() for delta in weights.delta.values())
    for name, delta in weights.delta.items():
        assert delta.rank == RANK
        product = delta.outputs.astype(np.float64) @ delta.basis.astype(np.float64).T * 2.0**delta.exponent
        assert np.array_equal(now[name].numpy(), (model.base[name].numpy() + product).astype(np.float32))


def test_a_concept_with_directions_is_learned_on_top_of_one_with_a_mask_and_adds_up_with_it(tiny_folders):
    model = tiny_model(tiny_folders["sd-1"])
    first = learn(model).weights
    second = learn(model, DIRECTIONS, task("tom")).weights
    one, other = model.compose([first, second]), model.compose([second, first])
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stop", [3, 4, 6])
def test_a_stopped_training_goes_on_along_the_same_directions(tiny_folders, stop):
    whole, first = Keeper(), Keeper(stop)
    settings = dataclasses.replace(DIRECTIONS, steps=5, warmup_steps=3)
    expected = stored(learn_on(tiny_model(tiny_folders["sd-1"]), settings, keeper=whole))
    with pytest.raises(KeyboardInterrupt):
        learn_on(tiny_model(tiny_folders["sd-1"]), settings, keeper=first)
    found = stored(learn_on(tiny_model(tiny_folders["sd-1"]), settings, state=decode(first.bytes[-1])))
    assert found == expected


WRONG = ({"directions": -1}, {"directions": 2, "basis": "nearest"}, {"directions": 2, "reg": "project"})


@pytest.mark.parametrize("changes", WRONG)
def test_directions_that_cannot_be_are_refused(changes):
    with pytest.raises(SettingsError):
        dataclasses.replace(SETTINGS, **changes).check()
