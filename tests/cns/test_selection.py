"""Neurons: the scores against their formulas, the budget to the last weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cns.compose import kv_parameters
from cns.denoiser import denoiser_of
from cns.denoising import Denoiser, draw_batch
from cns.errors import SettingsError
from cns.general import Vote, find_general_neurons
from cns.memory import recomputing
from cns.selection import (
    SCORES,
    general_neurons,
    gradient,
    select_concept_neurons,
    top_of_row,
    voted,
    wanda,
)
from cns.tokens import token_ids


def test_top_of_row_takes_the_best_and_prefers_the_lower_index_on_ties():
    score = torch.tensor([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0]])
    assert top_of_row(score, 0.5).tolist() == [[False, True, True, False], [True, True, False, False]]
    assert top_of_row(score, 0.01).sum(1).tolist() == [1, 1]


def test_general_neurons_need_the_votes_of_enough_prompts():
    votes = [{"m": torch.tensor([[1.0, 0.0]])}, {"m": torch.tensor([[1.0, 0.0]])}, {"m": torch.tensor([[0.0, 1.0]])}]
    assert general_neurons(votes, 0.5, 0.5)["m"].tolist() == [[True, False]]
    assert general_neurons(votes, 0.5, 0.3)["m"].tolist() == [[True, True]]
    assert general_neurons(votes, 0.5, 1.0)["m"].tolist() == [[False, False]]


@pytest.mark.parametrize("budget", [1, 7, 40, 41, 83, 119])
def test_the_budget_is_filled_to_the_last_weight_outside_the_general_neurons(budget):
    rng = np.random.default_rng(budget)
    scores = {name: torch.from_numpy(rng.random((20, 10)).astype(np.float32)) for name in ("k", "v")}
    general = {name: torch.from_numpy(rng.random((20, 10)) < 0.3) for name in scores}
    selection = select_concept_neurons(scores, general, budget, 0.25)
    assert selection.count == budget
    for name, mask in selection.masks.items():
        assert not (mask & general[name]).any()
        per_row = mask.sum(1)
        assert per_row.max() - per_row.min() <= 1
        for row in range(20):  # what is chosen beats what is left, row by row
            chosen = scores[name][row][mask[row]]
            left = scores[name][row][~mask[row] & ~general[name][row]]
            assert chosen.numel() == 0 or left.numel() == 0 or chosen.min() >= left.max()


def test_what_a_row_of_general_neurons_cannot_give_comes_from_other_rows():
    scores = {"m": torch.tensor([[3.0, 2.0], [3.0, 2.0]])}
    general = {"m": torch.tensor([[True, True], [False, False]])}
    assert select_concept_neurons(scores, general, 2, 0.5).masks["m"].tolist() == [[False, False], [True, True]]


def test_a_large_budget_takes_all_that_there_is():
    scores = {"m": torch.tensor([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]])}
    general = {"m": torch.tensor([[False] * 4, [True] * 3 + [False]])}
    assert select_concept_neurons(scores, general, 4, 0.5).masks["m"].tolist() == [
        [True, True, True, False],
        [False, False, False, True],
    ]
    assert select_concept_neurons(scores, general, 8, 0.5).count == 5


def test_shares_of_general_neurons_are_counted():
    scores = {"m": torch.tensor([[4.0, 3.0, 2.0, 1.0]])}
    general = {"m": torch.tensor([[True, False, True, False]])}
    selection = select_concept_neurons(scores, general, 1, 0.5)
    assert (selection.general_share, selection.general_overlap) == (0.5, 0.5)


def test_wanda_is_weight_times_norm_of_the_content_features(model):
    pipeline = model.pipeline
    prompts = ["a dog", "a red car on the grass"]
    with torch.no_grad():
        features = pipeline.text_encoder(token_ids(pipeline.tokenizer, prompts)).last_hidden_state
    words = torch.cat([features[0, 1:3], features[1, 1:7]])  # positions 0 and past the words are BOS, EOS, padding
    scores = wanda(Denoiser(model, None), prompts, [])
    for name, weight in model.base.items():
        torch.testing.assert_close(scores[name], weight.abs() * words.norm(dim=0))


def test_gradient_is_weight_times_slope_summed_over_batches(model):
    denoiser = Denoiser(model, None)
    batches = [a_batch(seed) for seed in (1, 2)]
    parameters = kv_parameters(model.pipeline)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    scores = gradient(denoiser, [], batches)
    name, parameter = next(iter(parameters.items()))
    expected = torch.zeros_like(parameter)
    for batch in batches:
        parameter.grad = None
        denoiser.loss(batch).backward()
        expected += (parameter.detach() * parameter.grad).abs()
    torch.testing.assert_close(scores[name], expected)


def test_the_gradient_is_the_slope_of_the_loss(model):
    """Against a finite difference along the gradient of one matrix."""
    denoiser, batch = Denoiser(model, None), a_batch(3)
    parameter = next(iter(kv_parameters(model.pipeline).values())).requires_grad_(True)
    (slope,) = torch.autograd.grad(denoiser.loss(batch), [parameter])
    step = 0.1 * slope / slope.norm()
    with torch.no_grad():
        parameter += step
        above = denoiser.loss(batch)
        parameter -= 2 * step
        below = denoiser.loss(batch)
    torch.testing.assert_close((above - below) / 2, (slope * step).sum(), rtol=0.05, atol=1e-7)


@pytest.mark.parametrize("score", SCORES)
def test_general_neurons_of_a_base_are_the_same_every_time(any_model, score):
    prompts = [f"a {noun}" for noun in ("dog", "cat", "car", "house")]
    reports = []

    def report(stage, done, total, **_):
        reports.append((stage, done, total))

    first = find_general_neurons(any_model, prompts, Vote(score, 0.25, 0.5), report)
    with recomputing(any_model.pipeline, True):  # memory may not change what is found
        again = find_general_neurons(any_model, prompts, Vote(score, 0.25, 0.5), report)
    assert ("general neurons", 4, 4) in reports
    assert all(torch.equal(first[name], again[name]) for name in any_model.base)
    share = sum(int(mask.sum()) for mask in first.values()) / any_model.kv_size
    assert 0.0 < share < 0.5
    assert not any(parameter.requires_grad for parameter in denoiser_of(any_model.pipeline).parameters())


def a_batch(seed: int):
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn((2, 4, 8, 8), generator=generator)
    return draw_batch(latents, [["a dog", "a cat"], ["a car"]], 4, 1000, generator)


def test_fisher_is_the_squared_weight_times_the_squared_slopes(model):
    denoiser, batches = Denoiser(model, None), [a_batch(seed) for seed in (1, 2)]
    parameters = kv_parameters(model.pipeline)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    scores = SCORES["fisher"](denoiser, [], batches)
    name, parameter = next(iter(parameters.items()))
    squares = torch.zeros_like(parameter)
    for batch in batches:
        parameter.grad = None
        denoiser.loss(batch).backward()
        squares += parameter.grad.square()
    torch.testing.assert_close(scores[name], parameter.detach().square() * squares)


def test_a_vote_of_stored_masks_needs_that_share_of_them():
    masks = [{"m": torch.tensor([[True, True, False]])}, {"m": torch.tensor([[True, False, False]])}]
    assert voted(masks, 1.0)["m"].tolist() == [[True, False, False]]
    assert voted(masks, 0.5)["m"].tolist() == [[True, True, False]]


def test_weights_that_earlier_concepts_vote_for_are_left_out_and_are_not_general():
    scores = {"m": torch.tensor([[4.0, 3.0, 2.0, 1.0]])}
    general = {"m": torch.tensor([[True, False, False, False]])}
    held = {"m": torch.tensor([[False, True, False, False]])}
    selection = select_concept_neurons(scores, general, 1, 0.5, held)
    assert selection.masks["m"].tolist() == [[False, False, True, False]]
    assert selection.general_share == 0.25


def test_a_budget_that_cannot_be_filled_is_told():
    scores = {"m": torch.tensor([[4.0, 3.0], [2.0, 1.0]])}
    general = {"m": torch.tensor([[True, True], [True, False]])}
    selection = select_concept_neurons(scores, general, 3, 0.5)
    assert (selection.count, selection.budget, selection.lacking) == (1, 3, 2)
    assert select_concept_neurons(scores, {"m": ~general["m"]}, 3, 0.5).lacking == 0


def test_a_selection_of_nothing_is_refused():
    with pytest.raises(SettingsError, match="no weight is left"):
        select_concept_neurons({"m": torch.ones((2, 2))}, {"m": torch.ones((2, 2), dtype=torch.bool)}, 1, 0.5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_scores_go_to_the_first_rows_by_name(value):
    scores = {name: torch.full((2, 3), value) for name in ("v", "k")}
    general = {name: torch.zeros(2, 3, dtype=torch.bool) for name in scores}
    masks = select_concept_neurons(scores, general, 3, 0.25).masks
    assert masks["k"].tolist() == [[True, False, False]] * 2
    assert masks["v"].tolist() == [[True, False, False], [False] * 3]
