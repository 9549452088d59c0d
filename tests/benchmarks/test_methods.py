"""What every method must hold, and what makes each the method that it is named after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.concept_stream import Concept
from benchmarks.method import Method
from benchmarks.named import Named
from benchmarks.ours import Ours
from benchmarks.peers.loop import Recipe
from benchmarks.peers.lora import CLora, LoraEach, LoraMerged, SequentialLora
from benchmarks.peers.weights import custom_diffusion, dreambooth, textual_inversion
from benchmarks.trainer import Pixels, Trainer
from benchmarks.trial_scores import RANDOM
from cns.compose import kv_parameters

RECIPE = Recipe(1e-2, 3)
SMALL = {"steps": 3, "warmup_steps": 1}
METHODS: tuple[Method, ...] = (
    Ours("CNS union", **SMALL),
    Ours("CNS union, random mask", keeps_general=True, score=RANDOM, **SMALL),
    Ours("CNS union, a / J", shared=True, **SMALL),
    Named("CNS, mask", **SMALL),
    Named("CNS", directions=2, reach="last named", **SMALL),
    textual_inversion(RECIPE),
    custom_diffusion(RECIPE),
    dreambooth(RECIPE),
    SequentialLora(RECIPE),
    CLora(RECIPE, 1.0),
    LoraEach(RECIPE),
    LoraMerged(RECIPE, 0.5),
)
States = dict[str, list[Any]]


def learn(trainer: Trainer, method: Method, concepts: Sequence[Concept]) -> list[Any]:
    """States after each concept."""
    states: list[Any] = []
    for concept in concepts:
        states.append(method.learn(trainer, states[-1] if states else None, concept, seed=7))
    return states


@pytest.fixture(scope="module")
def known() -> States:
    """Name of a method -> its states after each concept."""
    return {}


def learned(known: States, trainer: Trainer, method: Method, concepts: Sequence[Concept]) -> list[Any]:
    """States after each concept, learned once."""
    if method.name not in known:
        known[method.name] = learn(trainer, method, concepts)
    return known[method.name]


def draw(trainer: Trainer, method: Method, state: Any, concept: Concept) -> Pixels:
    method.put(trainer, state, [concept.name])
    return trainer.base.images([f"a {concept.phrase} on the grass"], [5])


def base_images(trainer: Trainer) -> Pixels:
    trainer.reset()
    return trainer.base.images(["a dog on the grass"], [5])


def changed(trainer: Trainer) -> set[str]:
    """Names of the denoiser's weights that are not the base's."""
    live = {name: value.clone() for name, value in trainer.model.pipeline.unet.state_dict().items()}
    trainer.reset()
    base = trainer.model.pipeline.unet.state_dict()
    return {name for name in base if not torch.equal(live[name], base[name])}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_learning_on_leaves_earlier_states_as_they_were(
    method: Method, trainer: Trainer, concepts: list[Concept], known: States
) -> None:
    untouched = base_images(trainer)
    first = method.learn(trainer, None, concepts[0], seed=7)
    before = draw(trainer, method, first, concepts[0])
    second = method.learn(trainer, first, concepts[1], seed=7)
    assert np.array_equal(draw(trainer, method, first, concepts[0]), before)
    again = draw(trainer, method, second, concepts[0])
    if method.is_independent:
        assert np.array_equal(again, before)
    assert method.footprint(second).size_bytes > 0
    assert np.array_equal(base_images(trainer), untouched)
    known[method.name] = [first, second]


def test_only_these_keep_concepts_apart() -> None:
    """Their last row is taken from the diagonal, so no other method may be among them."""
    apart = {method.name for method in METHODS if method.is_independent}
    assert apart == {"CNS", "CNS, mask", "textual inversion", "LoRA each, set_adapters"}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_one_seed_gives_one_outcome(method: Method, trainer: Trainer, concepts: list[Concept], known: States) -> None:
    once = draw(trainer, method, learned(known, trainer, method, concepts)[-1], concepts[1])
    again = draw(trainer, method, learn(trainer, method, concepts)[-1], concepts[1])
    assert np.array_equal(once, again)


def test_textual_inversion_changes_no_weight(trainer: Trainer, concepts: list[Concept], known: States) -> None:
    method = textual_inversion(RECIPE)
    state = learned(known, trainer, method, concepts)[-1]
    method.put(trainer, state, [])
    assert changed(trainer) == set()
    assert set(state.rows) == {concept.token for concept in concepts}


def test_custom_diffusion_changes_all_keys_and_values_and_nothing_else(
    trainer: Trainer, concepts: list[Concept], known: States
) -> None:
    method = custom_diffusion(RECIPE)
    method.put(trainer, learned(known, trainer, method, concepts)[-1], [])
    assert changed(trainer) == set(kv_parameters(trainer.model.pipeline))


def test_dreambooth_changes_the_whole_denoiser(trainer: Trainer, concepts: list[Concept], known: States) -> None:
    method = dreambooth(RECIPE)
    method.put(trainer, learned(known, trainer, method, concepts)[-1], [])
    assert changed(trainer) == set(trainer.model.pipeline.unet.state_dict())


def test_an_adapter_is_trained_on_and_on(trainer: Trainer, concepts: list[Concept], known: States) -> None:
    first, second = learned(known, trainer, SequentialLora(RECIPE), concepts)
    assert first.adapters["shared"].keys() == second.adapters["shared"].keys()
    name = next(iter(first.adapters["shared"]))
    step = (first.adapters["shared"][name] - second.adapters["shared"][name]).abs().max()
    assert 0 < float(step) < 3 * 2 * RECIPE.lr  # three Adam steps from where the first concept left it


def test_adapters_are_merged_as_they_are_activated(trainer: Trainer, concepts: list[Concept]) -> None:
    each, merged = LoraEach(RECIPE), LoraMerged(RECIPE, 1.0)
    state = learn(trainer, each, concepts[:1])[-1]
    one, other = (draw(trainer, method, state, concepts[0]).astype(int) for method in (each, merged))
    assert np.abs(one - other).max() <= 1  # a sum in another order


def test_c_lora_keeps_off_what_earlier_adapters_changed(trainer: Trainer, concepts: list[Concept]) -> None:
    def overlap(strength: float) -> float:
        first, second = learn(trainer, CLora(Recipe(1e-2, 12), strength), concepts)
        base = trainer.model.base
        parts = [
            ((first.weights[name] - base[name]).abs() * (second.weights[name] - first.weights[name])).square().sum()
            for name in base
        ]
        return float(torch.stack(parts).sum())

    assert overlap(1e9) < 0.5 * overlap(0.0)


def test_c_lora_is_plain_on_the_first_concept(trainer: Trainer, concepts: list[Concept]) -> None:
    one, other = (CLora(RECIPE, strength).learn(trainer, None, concepts[0], seed=7) for strength in (0.0, 1e9))
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_a_random_mask_has_the_size_of_ours_and_other_places(
    trainer: Trainer, concepts: list[Concept], known: States
) -> None:
    ours, random = (learned(known, trainer, method, concepts)[0][-1].masks for method in METHODS[:2])
    sizes = [sum(int(mask.sum()) for mask in masks.values()) for masks in (ours, random)]
    both = sum(int((ours[name] & random[name]).sum()) for name in ours)
    assert sizes[0] == sizes[1] > both
