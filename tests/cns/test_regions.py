"""Region control: what a box shows, what it leaves alone, and that nothing is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cns.boxes import Box
from cns.codec import SparseDelta
from cns.compose import ConceptWeights, Model
from cns.denoiser import denoiser_of
from cns.errors import RegionError
from cns.regions import Region, concept_region, regional
from cns.sampling import sample
from cns.templates import Kind
from cns.tokens import vector_tokens
from tests.cns.conftest import tiny_model

PROMPT = "a dog and a cat on the grass"
LEFT, RIGHT, WHOLE = Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1), Box(0, 0, 1, 1)


def generate(model: Model, *regions: Region, prompts: int = 2, guidance: float = 3.0) -> np.ndarray:
    with regional(model.pipeline, regions):
        return sample(
            model.pipeline, [PROMPT] * prompts, list(range(prompts)), steps=2, guidance=guidance, size=64
        ).astype(int)


def attention_outputs(model: Model, regions: list[Region], guidance: float = 3.0) -> list[torch.Tensor]:
    """Output of every cross-attention in the first step, in order."""
    found: list[torch.Tensor] = []
    handles = [
        module.register_forward_hook(lambda _m, _i, out: found.append(out.detach().clone()))
        for name, module in denoiser_of(model.pipeline).named_modules()
        if name.endswith("attn2")
    ]
    with regional(model.pipeline, regions):
        sample(model.pipeline, [PROMPT] * 2, [0, 1], steps=1, guidance=guidance, size=64)
    for handle in handles:
        handle.remove()
    return found[: len(handles)]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_region_of_the_whole_image_with_the_same_prompt_changes_nothing(any_model: Model, guidance: float) -> None:
    plain = generate(any_model, guidance=guidance)
    whole = generate(any_model, Region(WHOLE, (PROMPT,)), guidance=guidance)
    assert np.abs(plain - whole).max() <= 1  # one grey level: sums in another order


def test_outside_of_all_boxes_attention_is_that_of_the_prompt_of_the_picture(any_model: Model) -> None:
    plain = attention_outputs(any_model, [])[0]
    split = attention_outputs(any_model, [Region(LEFT, ("a red car",))])[0]
    side = int(plain.shape[1] ** 0.5)
    plain, split = (out.view(4, side, side, -1) for out in (plain, split))
    assert torch.equal(plain[:, :, side // 2 :], split[:, :, side // 2 :])
    assert not torch.allclose(plain[2:, :, : side // 2], split[2:, :, : side // 2])


def test_the_unconditional_half_is_left_alone(model: Model) -> None:
    plain = attention_outputs(model, [])[0]
    split = attention_outputs(model, [Region(WHOLE, ("a red car",))])[0]
    assert torch.equal(plain[:2], split[:2])
    unguided = attention_outputs(model, [Region(WHOLE, ("a red car",))], guidance=1.0)[0]
    assert torch.allclose(unguided, split[2:], atol=1e-6)


def test_inside_a_box_attention_is_that_of_its_own_prompt(model: Model) -> None:
    boxed = attention_outputs(model, [Region(LEFT, ("a red car",)), Region(RIGHT, ("a blue star",))], guidance=1.0)[0]
    side = int(boxed.shape[1] ** 0.5)
    for prompt, columns in (("a red car", slice(0, side // 2)), ("a blue star", slice(side // 2, side))):
        alone = attention_outputs(model, [Region(WHOLE, (prompt,))], guidance=1.0)[0]
        one, other = (out.view(2, side, side, -1)[:, :, columns] for out in (boxed, alone))
        assert torch.allclose(one, other, atol=1e-6)


def test_where_boxes_overlap_their_mean_stands_in_any_order(model: Model) -> None:
    car, star = Region(WHOLE, ("a red car",)), Region(WHOLE, ("a blue star",))
    one = attention_outputs(model, [car])[0]
    other = attention_outputs(model, [star])[0]
    both = attention_outputs(model, [car, star])[0]
    assert torch.allclose(both, (one + other) / 2, atol=1e-6)
    assert torch.allclose(both, attention_outputs(model, [star, car])[0], atol=1e-6)
    assert torch.allclose(both, attention_outputs(model, [Region(WHOLE, ("a red car", "a blue star"))])[0], atol=1e-6)


def test_without_a_region_nothing_is_installed(model: Model) -> None:
    before = model.pipeline.unet.attn_processors
    with regional(model.pipeline, []):
        inside = model.pipeline.unet.attn_processors
        assert not model.pipeline.unet._forward_pre_hooks
    assert all(inside[name] is before[name] for name in before)


def test_afterwards_the_processors_are_the_same_objects_even_after_an_error(model: Model) -> None:
    before, plain = model.pipeline.unet.attn_processors, generate(model)
    generate(model, Region(LEFT, ("a red car",)))
    with pytest.raises(KeyboardInterrupt), regional(model.pipeline, [Region(LEFT, ("a red car",))]):
        raise KeyboardInterrupt
    after = model.pipeline.unet.attn_processors
    assert all(after[name] is before[name] for name in before)
    assert not model.pipeline.unet._forward_pre_hooks
    assert np.array_equal(plain, generate(model))


def test_self_attention_is_not_touched(model: Model) -> None:
    before = model.pipeline.unet.attn_processors
    with regional(model.pipeline, [Region(LEFT, ("a red car",))]):
        inside = model.pipeline.unet.attn_processors
    changed = {name for name in before if inside[name] is not before[name]}
    assert changed == {name for name in before if "attn2" in name}


def test_an_image_does_not_depend_on_its_batch(model: Model) -> None:
    regions = (Region(LEFT, ("a red car",)), Region(Box(0.4, 0, 1, 1), ("a blue star",)))
    two, five = generate(model, *regions), generate(model, *regions, prompts=5)
    assert np.abs(two - five[:2]).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(64, 96), (128, 64), (72, 72)])
def test_any_resolution_works(any_model: Model, height: int, width: int) -> None:
    if not hasattr(any_model.pipeline, "unet"):  # a transformer's patches do not round up
        height, width = height // 16 * 16, width // 16 * 16
    with regional(any_model.pipeline, [Region(LEFT, ("a red car",))]):
        images = sample(any_model.pipeline, [PROMPT], [0], steps=1, guidance=3.0, size=(height, width))
    assert images.shape == (1, height, width, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_works(tiny_folders: dict[str, Path], dtype: torch.dtype) -> None:
    model = tiny_model(tiny_folders["sd-1"])
    for part in (model.pipeline.unet, model.pipeline.vae, model.pipeline.text_encoder):
        part.to(dtype)
    assert generate(model, Region(LEFT, ("a red car",))).shape == (2, 64, 64, 3)


def test_text_features_of_regions_are_computed_once(model: Model) -> None:
    calls = []
    handle = model.pipeline.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    with regional(model.pipeline, [Region(LEFT, ("a red car",))]):
        assert len(calls) == 1
        for steps in (1, 3):
            sample(model.pipeline, [PROMPT], [0], steps=steps, guidance=1.0, size=64)
    handle.remove()
    assert len(calls) == 3  # one more for the prompt of each of the two calls


def test_a_box_without_a_cell_at_this_resolution_is_refused(model: Model) -> None:
    before, tiny = model.pipeline.unet.attn_processors, Box(0.01, 0.01, 0.02, 0.02)
    with pytest.raises(RegionError, match="no cell of the 4x4"):
        generate(model, Region(tiny, ("a red car",)))
    after = model.pipeline.unet.attn_processors
    assert all(after[name] is before[name] for name in before)


def test_too_many_regions_are_refused(model: Model) -> None:
    with pytest.raises(RegionError, match="at most"):
        generate(model, *[Region(LEFT, ("a dog",))] * 65)


def concept(name: str, noun: str, vectors: int = 1, kind: Kind = "object") -> ConceptWeights:
    rows = {token: torch.zeros(2) for token in vector_tokens(f"<{name}>", vectors)}
    return ConceptWeights(name, noun, rows, {}, kind)


TREE = {
    "rex": concept("rex", "dog"), "mug": concept("mug", "mug"), "tom": concept("tom", "cat", 3),
    "mona": concept("mona", "style", kind="style"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            "a <rex> dog and a <mug> mug on the grass",
            ("a <rex> dog on the grass", "a <rex> dog and a <rex> dog on the grass"),
        ),
        ("a photo of a <rex> on the grass", ("a photo of a <rex> dog on the grass",)),
        ("a <mug> mug on the grass", ("a <rex> dog on the grass",)),
        ("two toys on the grass", ("a <rex> dog",)),
        ("a <tom> cat, a <mug> mug", ("a <rex> dog", "a <rex> dog, a <rex> dog")),
        ("a <tom> <tom>_1 <tom>_2 cat, a <mug>", ("a <rex> dog", "a <rex> dog, a <rex> dog")),
        ("a <mona> style <rex> dog", ("a <mona> style <rex> dog",)),
    ],
)
def test_the_prompts_of_a_box_are_made_from_the_picture_s(prompt: str, expected: tuple[str, ...]) -> None:
    assert concept_region(prompt, "rex", TREE, LEFT) == Region(LEFT, expected)


def test_a_name_that_no_concept_has_is_refused_with_the_list() -> None:
    with pytest.raises(RegionError, match=r"'rox'.*expected one of mona, mug, rex, tom"):
        concept_region(PROMPT, "rox", TREE, LEFT)


def test_a_style_is_not_put_somewhere() -> None:
    with pytest.raises(RegionError, match="mona is a style; expected a prompt"):
        concept_region("a dog", "mona", TREE, LEFT)


@pytest.mark.parametrize("mixed", [False, True])
def test_under_composition_by_name_a_box_sees_what_its_own_prompt_names(model: Model, mixed: bool) -> None:
    rex, tom = (learned(model, name, seed) for seed, name in enumerate(("rex", "tom")))
    precision = {"device_type": "cpu", "dtype": torch.bfloat16, "enabled": mixed}
    expected = []
    for concepts in ([], [tom]):
        model.set_concepts(concepts)
        model.add_tokens({**rex.rows, **tom.rows})
        with torch.autocast(**precision):
            expected.append(attention_outputs(model, [Region(LEFT, ("a <tom> cat",))])[0])
    model.set_named([rex, tom], company=1.0)
    with torch.autocast(**precision):
        found = attention_outputs(model, [Region(LEFT, ("a <tom> cat",))])[0]
    side = int(found.shape[1] ** 0.5)
    base, boxed, found = (out.view(4, side, side, -1) for out in (*expected, found))
    assert torch.equal(found[:2], base[:2])  # the unconditional half
    assert torch.equal(found[:, :, side // 2 :], base[:, :, side // 2 :])
    assert torch.allclose(found[2:, :, : side // 2], boxed[2:, :, : side // 2], atol=1e-6)
    assert not torch.allclose(found[2:, :, : side // 2], base[2:, :, : side // 2], atol=1e-6)


def learned(model: Model, name: str, seed: int) -> ConceptWeights:
    """A concept that changes every weight."""
    rng = np.random.default_rng(seed)
    delta = {
        matrix: SparseDelta(
            (weight.shape[0], weight.shape[1]), np.arange(weight.numel()),
            rng.integers(-20000, 20000, weight.numel()).astype(np.int16), model.exponents[matrix],
        )
        for matrix, weight in model.base.items()
    }  # fmt: skip
    return ConceptWeights(name, "dog", {f"<{name}>": torch.from_numpy(rng.normal(size=32).astype(np.float32))}, delta)


def test_a_token_of_several_vectors_is_read_in_full_in_a_box(model: Model) -> None:
    size = model.pipeline.text_encoder.config.hidden_size
    generator = torch.Generator().manual_seed(0)
    rows = {token: torch.randn(size, generator=generator) for token in vector_tokens("<rex>", 3)}
    model.set_tokens(rows)
    pipeline = model.pipeline
    for guidance in (1.0, 3.0):  # the pipeline reads all vectors of its own prompt, as the box must of its own
        settings: dict[str, Any] = {"steps": 2, "guidance": guidance, "size": 64}
        plain = sample(pipeline, ["a <rex> dog"], [0], **settings).astype(int)
        with regional(pipeline, [Region(WHOLE, ("a <rex> dog",))]):
            boxed = sample(pipeline, ["a <rex> dog"], [0], **settings).astype(int)
        assert np.abs(plain - boxed).max() <= 1
