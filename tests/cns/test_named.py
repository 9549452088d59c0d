"""Composition by name: a prompt sees the base and what it names, bit for bit, whatever else is drawn beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import linear

from cns.codec import SparseDelta
from cns.compose import ConceptWeights, Model, kv_parameters
from cns.denoiser import denoiser_of
from cns.families import COMPANY
from cns.named import BYTES_KEPT, Mention, Reach, last_named, named_weights, whole_prompt
from cns.quiet import quiet_libraries
from cns.sampling import sample
from cns.templates import vector_tokens
from cns.text import embeddings, encode_prompts
from tests.cns.conftest import tiny_model
from tests.weights import weights_digest

with quiet_libraries():
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

REX, TOM, BOTH, NONE = "a <rex> dog", "a <tom> cat on the grass", "a <rex> dog and a <tom> cat", "a dog on the grass"


def concept(model: Model, name: str, seed: int, vectors: int = 1) -> ConceptWeights:
    rng = np.random.default_rng(seed)
    delta = {}
    for matrix, weight in model.base.items():
        positions = np.flatnonzero(rng.random(weight.numel()) < 0.5)
        steps = rng.integers(-20000, 20000, positions.size).astype(np.int16)
        delta[matrix] = SparseDelta(tuple(weight.shape), positions, steps, model.exponents[matrix])
    width = sum(table.shape[1] for table in embeddings(model.pipeline))
    tokens = vector_tokens(f"<{name}>", vectors)
    rows = {token: torch.from_numpy(rng.normal(size=width).astype(np.float32)) for token in tokens}
    return ConceptWeights(name, "dog", rows, delta)


def rex_and_tom(model: Model) -> dict[str, ConceptWeights]:
    return {"rex": concept(model, "rex", 1, vectors=2), "tom": concept(model, "tom", 2)}


def draw(model: Model, prompts: list[str], guidance: float = 1.0, **how: Any) -> np.ndarray:
    settings: dict[str, Any] = {"steps": 2, "guidance": guidance, "size": 64, "batch_size": 16, **how}
    return sample(model.pipeline, prompts, list(range(len(prompts))), **settings)


def plain(model: Model, concepts: list[ConceptWeights], prompts: list[str], **how: Any) -> np.ndarray:
    """What diffusers draws where the set is everyone's; the tokens of both are known."""
    model.set_concepts(concepts)
    model.add_tokens({token: row for one in rex_and_tom(model).values() for token, row in one.rows.items()})
    return draw(model, prompts, **how)


def named_and_plain(model: Model, prompts: list[str], **how: Any) -> tuple[np.ndarray, np.ndarray]:
    """A batch composed by name, concepts whole in whole prompts; and its pictures, each drawn with its own set."""
    known = rex_and_tom(model)
    sets = [tuple(name for name in known if f"<{name}>" in prompt) for prompt in prompts]
    drawn = {own: plain(model, [known[name] for name in own], prompts, **how) for own in set(sets)}
    expected = np.stack([drawn[own][k] for k, own in enumerate(sets)])
    model.set_named(list(known.values()), whole_prompt, company=1.0)
    return draw(model, prompts, **how), expected


def test_a_mix_of_prompts_is_drawn_as_each_with_the_weights_of_what_it_names(any_model: Model) -> None:
    named, expected = named_and_plain(any_model, [REX, NONE, TOM, BOTH, "", "<rex>"])
    assert np.array_equal(named, expected)
    assert not np.array_equal(named, plain(any_model, [], [REX, NONE, TOM, BOTH, "", "<rex>"]))


@pytest.mark.parametrize("processor", [AttnProcessor, AttnProcessor2_0])
def test_any_processor_draws_it_even_one_that_came_later(model: Model, processor: Any) -> None:
    model.set_named(list(rex_and_tom(model).values()))
    model.pipeline.unet.set_attn_processor(processor())
    named, expected = named_and_plain(model, [REX, NONE, TOM, BOTH])
    assert np.array_equal(named, expected)


def test_prompts_that_name_nothing_see_the_base_bit_for_bit(any_model: Model) -> None:
    prompts = [NONE, "a red car", ""]
    untouched = draw(any_model, prompts, guidance=3.0, negative="a blue cup")
    any_model.set_named(list(rex_and_tom(any_model).values()))
    assert np.array_equal(draw(any_model, prompts, guidance=3.0, negative="a blue cup"), untouched)
    beside = draw(any_model, [*prompts, REX], guidance=3.0, negative="a blue cup")
    assert np.abs(beside[:3].astype(int) - untouched).max() <= 1  # a batch of another shape: sums in another order


def noise_predictions(model: Model, prompts: list[str], negative: str | None = None) -> torch.Tensor:
    """What the UNet predicts in the first step, shape (2N, C, H, W): the unconditional half first."""
    found: list[torch.Tensor] = []
    handle = denoiser_of(model.pipeline).register_forward_hook(lambda _m, _i, out: found.append(out[0].clone()))
    draw(model, prompts, guidance=3.0, negative=negative)
    handle.remove()
    return found[0]


@pytest.mark.parametrize("negative", [None, "a blue cup", TOM])
def test_under_guidance_each_half_sees_what_its_own_prompt_names(any_model: Model, negative: str | None) -> None:
    known, prompts = rex_and_tom(any_model), [REX, REX]
    halves = []
    for concepts in ([known["tom"]] if negative == TOM else [], [known["rex"]]):
        plain(any_model, concepts, prompts)
        halves.append(noise_predictions(any_model, prompts, negative))
    any_model.set_named(list(known.values()))
    assert torch.equal(noise_predictions(any_model, prompts, negative), torch.cat([halves[0][:2], halves[1][2:]]))


def test_guidance_with_several_images_of_a_prompt(model: Model) -> None:
    model.set_named(list(rex_and_tom(model).values()))
    pipeline: Any = model.pipeline
    how: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np", "height": 64, "width": 64}
    seeds = [torch.Generator().manual_seed(k) for k in range(4)]
    images = pipeline([REX, NONE], negative_prompt=[TOM, ""], num_images_per_prompt=2, generator=seeds, **how).images
    seeds = [torch.Generator().manual_seed(k) for k in range(4)]
    each = pipeline([REX, REX, NONE, NONE], negative_prompt=[TOM, TOM, "", ""], generator=seeds, **how).images
    assert np.array_equal(images, each)


def test_what_is_read_counts_not_what_is_written(model: Model) -> None:
    model.set_named(list(rex_and_tom(model).values()))
    too_far = "a dog on the grass " * 8 + "<rex>"
    prompts = ["a <REX> dog", "a rex dog", too_far, "a < rex > dog"]
    drawn = draw(model, prompts)
    model.set_concepts([])
    model.add_tokens({token: row for one in rex_and_tom(model).values() for token, row in one.rows.items()})
    assert np.array_equal(drawn, draw(model, prompts))


def test_every_vector_of_a_token_names_its_concept(model: Model) -> None:
    named, expected = named_and_plain(model, [REX, "a <rex> <rex>_1 dog", "a <rex>_1 dog"])
    assert np.array_equal(named[:2], expected[:2])
    known = rex_and_tom(model)
    assert np.array_equal(named[2], plain(model, [known["rex"]], [REX, "a <rex> <rex>_1 dog", "a <rex>_1 dog"])[2])


def test_of_several_concepts_each_acts_where_it_was_named_last(model: Model) -> None:
    known = rex_and_tom(model)
    drawn = {}
    for reach in (whole_prompt, last_named):
        model.set_named(list(known.values()), reach)
        drawn[reach] = draw(model, [REX, TOM, NONE, BOTH])
    model.set_named(list(known.values()))
    assert np.array_equal(draw(model, [REX, TOM, NONE, BOTH]), drawn[last_named])
    assert np.array_equal(drawn[whole_prompt][:3], drawn[last_named][:3])
    assert not np.array_equal(drawn[whole_prompt][3], drawn[last_named][3])


def test_beside_others_a_concept_acts_with_half_of_its_change(model: Model) -> None:
    rex, tom = rex_and_tom(model).values()
    both = "a <rex> dog and a <tom> cat"
    found = {}
    for tom_is in ("object", "style"):
        for company in (0.0, COMPANY, 1.0):
            model.set_named([rex, replace(tom, kind=tom_is)], whole_prompt, company)
            weights = named_weights(model.pipeline)
            assert weights is not None
            features = encode_prompts(model.pipeline, [REX, both])
            found[tom_is, company] = weights.project(features, [REX, both])
            boxed = weights.project(features, [REX, both], beside=True)
            for matrix, values in boxed.items():
                base, whole = (features @ one[matrix].T for one in (model.base, model.compose([rex])))
                assert torch.allclose(values[0], torch.lerp(base[0], whole[0], company), atol=1e-6)
    for matrix in model.base:
        none, half, whole = (found["object", company][matrix] for company in (0.0, COMPANY, 1.0))
        assert torch.equal(none[1], (features @ model.base[matrix].T)[1])
        assert torch.allclose(half[1], (none[1] + whole[1]) / 2, atol=1e-6)
        assert not torch.allclose(half[1], whole[1], atol=1e-6)
        assert torch.equal(half[0], whole[0])  # of one concept: all of it
        assert torch.equal(found["style", COMPANY][matrix], whole)  # a style is no company


def test_a_style_acts_in_the_whole_prompt(model: Model) -> None:
    rex, tom = rex_and_tom(model).values()
    model.set_named([rex, replace(tom, kind="style")])
    drawn = draw(model, [BOTH, TOM, REX])
    model.set_named([rex, tom], whole_prompt, company=1.0)
    assert np.array_equal(drawn, draw(model, [BOTH, TOM, REX]))


def test_the_live_weights_stay_the_base_s(model: Model) -> None:
    model.set_concepts(list(rex_and_tom(model).values()))
    model.set_named(list(rex_and_tom(model).values()))
    draw(model, [BOTH])
    live = {name: weight.detach().clone() for name, weight in kv_parameters(model.pipeline).items()}
    assert weights_digest(live) == weights_digest(model.base)


def test_other_weights_end_it_and_nothing_is_left_behind(model: Model) -> None:
    pipeline, known = model.pipeline, list(rex_and_tom(model).values())
    expected = plain(model, known, [REX, NONE], guidance=3.0)
    model.set_named(known)
    assert named_weights(pipeline) is not None
    model.set_concepts(known)
    assert named_weights(pipeline) is None
    assert "encode_prompt" not in vars(pipeline)
    assert not any("forward" in vars(module) for module in pipeline.unet.modules())
    assert np.array_equal(draw(model, [REX, NONE], guidance=3.0), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_draws_what_the_cast_weights_draw(tiny_folders: dict[str, Path], dtype: torch.dtype) -> None:
    model = tiny_model(tiny_folders["sd-1"])
    for part in (model.pipeline.unet, model.pipeline.vae, model.pipeline.text_encoder):
        part.to(dtype)
    named, expected = named_and_plain(model, [REX, NONE, TOM])
    assert np.array_equal(named, expected)


def test_mixed_precision_draws_what_diffusers_draws_under_it(model: Model) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        named, expected = named_and_plain(model, [REX, NONE, TOM])
    assert np.array_equal(named, expected)


def test_keys_and_values_are_computed_once_a_prompt_and_weights_once_a_set(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets: list[list[str]] = []
    projections: list[torch.Tensor] = []
    compose = model.compose
    monkeypatch.setattr(model, "compose", lambda some: sets.append(sorted(one.name for one in some)) or compose(some))
    monkeypatch.setattr("cns.named.linear", lambda *args: projections.append(linear(*args)) or projections[-1])
    model.set_named(list(rex_and_tom(model).values()), whole_prompt, company=1.0)
    for _ in range(2):
        draw(model, [REX, NONE, BOTH, REX], guidance=3.0, steps=4)
    assert sets == [["rex"], ["rex", "tom"]]
    assert len(projections) == 2 * 3 * len(model.base)  # twice, under the base's weights and those of either set


def test_few_composed_sets_are_kept(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(weight.nbytes for weight in model.base.values()) * 3 < BYTES_KEPT
    monkeypatch.setattr("cns.named.BYTES_KEPT", 1)
    named, expected = named_and_plain(model, [REX, NONE, TOM, BOTH])
    assert np.array_equal(named, expected)


def test_text_features_of_unknown_prompts_are_refused(model: Model) -> None:
    model.set_named(list(rex_and_tom(model).values()))
    pipeline: Any = model.pipeline
    features = encode_prompts(pipeline, [REX])
    with pytest.raises(ValueError, match="prompts as text"):
        pipeline(prompt_embeds=features, guidance_scale=1.0, num_inference_steps=1)
    draw(model, [NONE])
    with pytest.raises(ValueError, match="features that the pipeline encoded"):
        pipeline.unet(torch.zeros(1, 4, 8, 8), 1, features)


MENTIONS = [(2, "rex"), (3, "rex"), (5, "tom")]


@pytest.mark.parametrize(
    ("reach", "expected"),
    [
        (whole_prompt, ["rex tom"] * 7),
        (last_named, ["rex"] * 5 + ["tom"] * 2),
    ],
)
def test_where_in_a_prompt_a_concept_acts(reach: Reach, expected: list[str]) -> None:
    assert [" ".join(sorted(one)) for one in reach(MENTIONS, 7)] == expected
    assert list(reach([], 3)) == [frozenset()] * 3
    assert list(reach(MENTIONS[:2], 3)) == [frozenset({"rex"})] * 3


@pytest.mark.parametrize("reach", [whole_prompt, last_named])
def test_at_each_position_the_keys_are_those_of_the_set_that_acts_there(model: Model, reach: Reach) -> None:
    known = rex_and_tom(model)
    model.set_named(list(known.values()), reach, company=1.0)
    weights = named_weights(model.pipeline)
    assert weights is not None
    features = encode_prompts(model.pipeline, [BOTH, NONE])
    found = weights.project(features, [BOTH, NONE])
    # <bos> a <rex> <rex>_1 dog and a <tom> cat
    mentions: list[Mention] = [(2, "rex"), (3, "rex"), (7, "tom")]
    for position, acting in enumerate(reach(mentions, features.shape[1])):
        composed = model.compose([known[name] for name in acting])
        for matrix, values in found.items():
            assert torch.equal(values[0, position], (features @ composed[matrix].T)[0, position])
            assert torch.equal(values[1, position], (features @ model.base[matrix].T)[1, position])
