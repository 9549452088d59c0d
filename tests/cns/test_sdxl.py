"""A base of two text encoders: what it reads of a prompt, what a training tells it, that it draws as diffusers."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cns.compose import Model
from cns.errors import BaseModelError
from cns.files.bases import describe_base
from cns.files.pipelines import check_index
from cns.loading import load_pipeline
from cns.named import named_weights
from cns.quiet import quiet_libraries
from cns.sampling import sample
from cns.text import (
    Conditions,
    class_noun_row,
    conditions_of,
    norm_bands,
    text_encoders,
    trainable_rows,
)
from tests.cns.conftest import tiny_model
from tests.cns.test_training import SETTINGS, learn, task
from tests.tiny import POOLED, SECOND_WIDTH, WIDTH

FEW = dataclasses.replace(SETTINGS, steps=1, warmup_steps=1, batch_size=2, score="wanda")
PROMPTS = ["a <rex> dog on the grass", "a red cat"]


@pytest.fixture
def model(tiny_folders: dict[str, Path]) -> Model:
    """A fresh tiny SDXL."""
    return tiny_model(tiny_folders["sdxl"])


def named(model: Model, row: float, *others: str) -> None:
    width = WIDTH + SECOND_WIDTH
    rows = {"<rex>": torch.full((width,), row), **{other: torch.full((width,), 0.3) for other in others}}
    model.add_tokens(rows)


def test_conditions_are_those_of_diffusers(model: Model) -> None:
    named(model, 0.5, "<rex>_1")
    ours = conditions_of(model.pipeline, PROMPTS)
    pipeline: Any = model.pipeline
    features, _, pooled, _ = pipeline.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
    assert ours.pooled is not None
    assert (ours.features.shape[2], tuple(ours.pooled.shape)) == (WIDTH + SECOND_WIDTH, (2, POOLED))
    assert torch.equal(ours.features, features)
    assert torch.equal(ours.pooled, pooled)


def test_a_row_has_a_part_for_each_encoder_and_each_gets_its_gradient(model: Model) -> None:
    named(model, 0.0)
    row = class_noun_row(model.pipeline, "dog").requires_grad_()
    own = model.pipeline.tokenizer.convert_tokens_to_ids("<rex>")
    for encoder in text_encoders(model.pipeline):
        encoder.requires_grad_(False)
    with trainable_rows(model.pipeline, {own: row}):
        found, noun = (conditions_of(model.pipeline, [f"a {word}"]) for word in ("<rex>", "dog"))
    assert torch.equal(found.features, noun.features)
    (slope,) = torch.autograd.grad(found.features.square().sum(), [row], retain_graph=True)
    (of_pooled,) = torch.autograd.grad(found.pooled.square().sum(), [row])
    assert slope[:WIDTH].abs().sum() > 0
    assert slope[WIDTH:].abs().sum() > 0
    assert of_pooled[:WIDTH].abs().sum() == 0  # the pooled vector is the second encoder's alone
    assert of_pooled[WIDTH:].abs().sum() > 0
    assert [width for width, _, _ in norm_bands(model.pipeline, row)] == [WIDTH, SECOND_WIDTH]


def test_a_prompt_is_pooled_at_its_own_end_whatever_else_is_installed(model: Model) -> None:
    named(model, 0.5)
    before = conditions_of(model.pipeline, PROMPTS)
    assert not torch.equal(before.pooled, conditions_of(model.pipeline, ["a dog on the grass", "a red cat"]).pooled)
    named(model, 0.5, "<tom>", "<tom>_1")
    after = conditions_of(model.pipeline, PROMPTS)
    assert torch.equal(after.features, before.features)
    assert torch.equal(after.pooled, before.pooled)


def test_an_old_concepts_pictures_stay_when_another_is_learned(model: Model) -> None:
    rex = learn(model, FEW).weights
    model.set_named([rex])
    before = sample(model.pipeline, PROMPTS, [1, 2], steps=2, guidance=3.0, negative="a cup")
    model.set_concepts([])
    tom = learn(model, FEW, task("tom")).weights
    model.set_named([rex, tom])
    after = sample(model.pipeline, [*PROMPTS, "a <tom> dog"], [1, 2, 3], steps=2, guidance=3.0, negative="a cup")
    np.testing.assert_array_equal(after[:2], before)
    assert not np.array_equal(after[2], before[0])


@pytest.mark.parametrize("negative", [None, "a cat"])
@pytest.mark.parametrize("zeros", [True, False])
def test_pictures_are_those_of_diffusers(tiny_folders: dict[str, Path], tmp_path: Path, negative, zeros) -> None:
    from diffusers import StableDiffusionXLPipeline

    folder = shutil.copytree(tiny_folders["sdxl"], tmp_path / "base")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": zeros}))
    ours = sample(load_pipeline(folder), ["a dog"], [3], steps=3, guidance=5.0, negative=negative)
    with quiet_libraries():
        plain = StableDiffusionXLPipeline.from_pretrained(folder)
        plain.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(3)
        theirs = plain("a dog", num_inference_steps=3, negative_prompt=negative, generator=generator).images[0]
    np.testing.assert_array_equal(ours[0], np.asarray(theirs))


def test_how_an_empty_prompt_is_read_is_part_of_what_a_base_is(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folders["sdxl"], tmp_path / "base")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": False}))
    assert describe_base(folder).components != describe_base(tiny_folders["sdxl"]).components


def test_the_denoiser_is_told_how_a_picture_was_cut_out() -> None:
    told = Conditions(torch.zeros(2, 3, 4), torch.zeros(2, 5))
    whole = told.inputs(64, 32)["added_cond_kwargs"]["time_ids"]
    assert whole.tolist() == [[64, 32, 0, 0, 64, 32]] * 2  # as `_get_add_time_ids` of diffusers
    cut = told.inputs(64, 64, torch.tensor([[90, 120, 0, 11], [64, 64, 0, 0]], dtype=torch.int32))
    assert cut["added_cond_kwargs"]["time_ids"].tolist() == [[90, 120, 0, 11, 64, 64], [64, 64, 0, 0, 64, 64]]
    assert list(Conditions(torch.zeros(2, 3, 4), None).inputs(64, 64)) == ["encoder_hidden_states"]


def test_a_training_hears_how_its_images_were_cut_out(model: Model) -> None:
    framings = np.array([[200, 300, 0, 16], [64, 64, 0, 0], [64, 64, 0, 0]], np.int32)
    whole, cut = (
        learn(model, FEW, dataclasses.replace(task(), framings=one)).series["loss"]
        for one in (np.array([[64, 64, 0, 0]] * 3, np.int32), framings)
    )
    model.set_concepts([])
    assert learn(model, FEW).series["loss"] == whole
    assert cut != whole


def test_a_change_along_directions_is_of_both_encoders_features(model: Model) -> None:
    learned = learn(model, dataclasses.replace(FEW, directions=2, vectors=2)).weights
    assert {one.shape[1] for one in learned.delta.values()} == {WIDTH + SECOND_WIDTH}
    assert {tuple(row.shape) for row in learned.rows.values()} == {(WIDTH + SECOND_WIDTH,)}
    assert list(learned.rows) == ["<rex>", "<rex>_1"]


def test_a_prompt_of_its_own_for_the_second_encoder_is_refused_where_prompts_tell_weights(model: Model) -> None:
    model.set_named([learn(model, FEW).weights])
    assert named_weights(model.pipeline) is not None
    pipeline: Any = model.pipeline
    with quiet_libraries(), pytest.raises(ValueError, match="one prompt for both"):
        pipeline("a <rex> dog", prompt_2="a cat", num_inference_steps=1)


def test_two_vocabularies_are_refused(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folders["sdxl"], tmp_path / "base")
    path = folder / "tokenizer_2" / "tokenizer.json"
    said = json.loads(path.read_text())
    said["model"]["vocab"]["dog</w>"], said["model"]["vocab"]["cat</w>"] = (
        said["model"]["vocab"][word] for word in ("cat</w>", "dog</w>")
    )
    path.write_text(json.dumps(said))
    with pytest.raises(BaseModelError, match="different vocabularies"):
        load_pipeline(folder)


def test_a_refiner_has_no_first_encoder_and_is_refused(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folders["sdxl"], tmp_path / "base")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(
        json.dumps({**index, "_class_name": "StableDiffusionXLImg2ImgPipeline", "text_encoder": [None, None]})
    )
    with pytest.raises(BaseModelError, match="names no text_encoder"):
        check_index(folder)
