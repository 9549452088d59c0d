"""Weights of a set of concepts: a function of the set alone, bit for bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from cns.codec import SparseDelta
from cns.compose import ConceptWeights, kv_parameters
from cns.errors import GridError
from cns.text import embeddings
from tests.weights import weights_digest


def concept(model, name: str, seed: int) -> ConceptWeights:
    rng = np.random.default_rng(seed)
    delta = {}
    for matrix, weight in model.base.items():
        positions = np.flatnonzero(rng.random(weight.numel()) < 0.1)
        steps = rng.integers(-3000, 3000, positions.size).astype(np.int16)
        delta[matrix] = SparseDelta(tuple(weight.shape), positions, steps, model.exponents[matrix])
    width = sum(table.shape[1] for table in embeddings(model.pipeline))
    rows = {f"<{name}>": torch.from_numpy(rng.normal(size=width).astype(np.float32))}
    return ConceptWeights(name, "dog", rows, delta)


def test_only_cross_attention_keys_and_values_are_touched(any_model):
    names = list(kv_parameters(any_model.pipeline))
    assert names == sorted(names)
    assert names
    assert all(name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")) for name in names)


def test_every_order_of_a_set_gives_the_same_bits(model):
    concepts = [concept(model, name, seed) for seed, name in enumerate(("rex", "tom", "mug"))]
    digests = {weights_digest(model.compose(list(order))) for order in itertools.permutations(concepts)}
    assert len(digests) == 1
    assert digests != {weights_digest(model.base)}


def test_going_away_and_coming_back_restores_every_bit(any_model):
    rex, tom = concept(any_model, "rex", 1), concept(any_model, "tom", 2)
    with_rex = weights_digest(any_model.set_concepts([rex]))
    for way in ([tom], [rex, tom], [], [tom, rex]):
        any_model.set_concepts(way)
    any_model.set_concepts([rex])
    live = {name: weight.detach().clone() for name, weight in kv_parameters(any_model.pipeline).items()}
    assert weights_digest(live) == with_rex


def test_everything_outside_the_masks_equals_the_base(model):
    before = {name: value.clone() for name, value in model.pipeline.unet.state_dict().items()}
    rex = concept(model, "rex", 1)
    model.set_concepts([rex])
    for name, value in model.pipeline.unet.state_dict().items():
        changed = torch.zeros(value.numel(), dtype=torch.bool)
        if name in rex.delta:
            changed[torch.from_numpy(rex.delta[name].positions)] = True
        assert torch.equal(value.reshape(-1)[~changed], before[name].reshape(-1)[~changed]), name


def test_phrase_is_what_a_prompt_says(model):
    assert concept(model, "rex", 0).phrase == "<rex> dog"


def test_a_concept_of_another_grid_is_refused(model):
    rex = concept(model, "rex", 1)
    other = {name: SparseDelta(s.shape, s.positions, s.steps, s.exponent + 1) for name, s in rex.delta.items()}
    with pytest.raises(GridError, match="grid"):
        model.compose([ConceptWeights("rex", "dog", rex.rows, other)])


def test_a_concept_of_another_base_is_refused(model):
    rex = concept(model, "rex", 1)
    other = {f"x.{name}": sparse for name, sparse in rex.delta.items()}
    with pytest.raises(GridError, match="lacks"):
        model.compose([ConceptWeights("rex", "dog", rex.rows, other)])
