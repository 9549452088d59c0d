"""Erasing nouns: which matrices change, toward what, and whom every prompt sees it with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cns import codec
from cns.compose import ConceptWeights
from cns.drift import prompt_moments
from cns.erasing import _pairs, erase_nouns, is_value, moved
from cns.named import named_weights
from cns.prompts import names
from cns.templates import fill_templates
from cns.text import encode_prompts
from tests.cns.test_compose import concept
from tests.weights import weights_digest

TEMPLATES = ("a {}", "a {} in the snow", "a photo of a {} on the beach", "a small {}", "a {} and a car")


def moment(model, *nouns: str):
    prompts = [prompt for noun in nouns for prompt in fill_templates(TEMPLATES, noun)]
    return prompt_moments(model.pipeline, prompts).value


def erased(model, nouns: dict[str, str], retained) -> ConceptWeights:
    return ConceptWeights("(erasure)", "", {}, erase_nouns(model, nouns, TEMPLATES, retained))


def lacking(model, weights, noun: str, other: str) -> float:
    """What is left of the way from a noun's values to those of what stands in its place; 1 is all of it."""
    own, wanted = _pairs(model.pipeline, noun, other, TEMPLATES)
    left, whole = 0.0, 0.0
    for name in filter(is_value, model.base):
        base, now = model.base[name].double(), weights[name].double()
        left += float((wanted @ base.T - own @ now.T).square().sum())
        whole += float((wanted @ base.T - own @ base.T).square().sum())
    return left / whole


@pytest.mark.parametrize("other", ["cat", ""])
def test_values_of_a_noun_become_those_of_what_stands_in_its_place_and_keys_stay(clip_model, other):
    rest = moment(clip_model, "car", "house", "apple")
    part = erased(clip_model, {"dog": other}, [rest])
    assert all(is_value(name) for name in part.delta)
    assert len(part.delta) == len(clip_model.base) / 2
    assert len({one.basis.tobytes() for one in part.delta.values()}) == 1
    now = clip_model.compose([part])
    assert lacking(clip_model, now, "dog", other) < 0.5
    assert moved(clip_model.base, now, rest) < moved(clip_model.base, now, moment(clip_model, "dog"))


def test_the_more_is_retained_the_less_of_it_moves(model):
    rest = moment(model, "cat", "tree")
    some, more = (model.compose([erased(model, {"dog": ""}, [factor * rest])]) for factor in (1.0, 100.0))
    assert 0 < moved(model.base, more, rest) < moved(model.base, some, rest)


def test_nouns_are_solved_together(model):
    rest = moment(model, "cat")
    both = model.compose([erased(model, {"dog": "", "frog": "car"}, [rest])])
    for noun, other in (("dog", ""), ("frog", "car")):
        assert lacking(model, both, noun, other) < 0.6


def test_what_has_no_token_is_seen_by_every_prompt_that_composes_by_name(model):
    part, rex = erased(model, {"dog": ""}, [moment(model, "cat")]), concept(model, "rex", 1)
    model.set_named([rex, part])
    named = named_weights(model.pipeline)
    for prompt, parts in (("a cat", [part]), ("a <rex> dog", [part, rex])):
        features = encode_prompts(model.pipeline, [prompt])
        found, weights = named.project(features, [prompt]), model.compose(parts)
        assert all(torch.equal(found[name], torch.nn.functional.linear(features, weights[name])) for name in found)
    model.set_concepts([])
    assert weights_digest(model.compose([])) == weights_digest(model.base)


def test_a_change_comes_back_from_its_bytes(model):
    delta = erase_nouns(model, {"dog": "cat"}, TEMPLATES, [moment(model, "car")])
    back = codec.decode(*codec.encode(delta))
    assert all(np.array_equal(back[name].steps, delta[name].steps) for name in delta)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a bear", True),
        ("two Bears", True),
        ("a teddy bear", False),
        ("a bearded man", False),
        ("a teddy bear, a bear", True),
    ],
)
def test_what_names_a_noun(prompt, said):
    assert names(prompt, ["bear"], ["bear", "teddy bear"]) is said
