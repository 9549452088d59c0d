"""A base of a transformer, with a T5 or a Gemma: what is read of a prompt, what keys and values see, what it draws."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cns.boxes import Box
from cns.compose import Model, kv_parameters
from cns.cost import PROMPT_TOKENS, counted, image_cost
from cns.denoiser import denoiser_of
from cns.denoising import Denoiser, draw_batch, encode_images
from cns.directions import new_moment
from cns.drift import prompt_moments
from cns.errors import BaseModelError, SettingsError, TokenError
from cns.families import FAMILIES
from cns.files.bases import describe_base, family_at
from cns.loading import load_pipeline
from cns.probing import inputs_of, probe
from cns.quiet import quiet_libraries
from cns.regions import Region, regional
from cns.sampling import sample
from cns.text import conditions_of
from cns.tokens import (
    check_new_token,
    content_positions,
    sana_instruction,
    token_ids,
)
from cns.weighting import weighing
from tests.cns.conftest import tiny_model
from tests.cns.test_training import SETTINGS, learn, task
from tests.tiny import WIDTH, tiny_sd

FEW = dataclasses.replace(SETTINGS, steps=1, warmup_steps=1, batch_size=2, score="wanda")
PROMPT = "A <rex> dog on the grass "
PLAIN: dict[str, Any] = {"clean_caption": False, "use_resolution_binning": False, "height": 64, "width": 64}


@pytest.fixture(params=["pixart", "sana"])
def folder(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> Path:
    """Of a tiny PixArt-Sigma, and of a tiny Sana."""
    return tiny_folders[request.param]


@pytest.fixture
def model(folder: Path) -> Model:
    """A fresh one of each."""
    return tiny_model(folder)


@pytest.fixture
def pixart(tiny_folders: dict[str, Path]) -> Model:
    """A fresh tiny PixArt-Sigma."""
    return tiny_model(tiny_folders["pixart"])


def is_sana(model: Model) -> bool:
    return type(model.pipeline).__name__ == "SanaPipeline"


def encode(pipeline: Any, prompts: str | list[str], **more: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What the pipeline itself makes of prompts, as it calls itself: states and mask."""
    if type(pipeline).__name__ == "SanaPipeline":
        more["complex_human_instruction"] = sana_instruction().split("\n")
    states, mask, *_ = pipeline.encode_prompt(prompts, do_classifier_free_guidance=False, **more)
    return states, mask


def theirs(folder: Path, prompt: str, seed: int, **more: Any) -> np.ndarray:
    """What plain diffusers draws with a folder."""
    import diffusers

    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    with quiet_libraries():
        plain = getattr(diffusers, name).from_pretrained(folder)
        plain.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(seed)
        return np.asarray(plain(prompt, generator=generator, **{"num_inference_steps": 3, **PLAIN, **more}).images[0])


@pytest.mark.parametrize("negative", [None, "a cat"])
def test_pictures_are_those_of_diffusers(folder: Path, negative: str | None) -> None:
    pipeline = load_pipeline(folder)
    ours = sample(pipeline, ["A red dog"], [3], steps=3, guidance=4.5, negative=negative)
    plain = theirs(folder, "A red dog", 3, **({"negative_prompt": negative} if negative else {}))
    np.testing.assert_array_equal(ours[0], plain)


def test_composed_weights_draw_in_plain_diffusers_what_a_prompt_sees_that_names_them(
    model: Model, tmp_path: Path
) -> None:
    rex, tom = learn(model, FEW).weights, learn(model, FEW, task("tom")).weights
    model.set_named([rex, tom])
    how: dict[str, Any] = {"steps": 3, "guidance": 4.5}
    ours = sample(model.pipeline, [PROMPT, "a <tom> dog"], [3, 4], **how)
    model.set_concepts([rex])
    model.set_tokens(tom.rows)
    model.pipeline.save_pretrained(tmp_path)
    composed = load_pipeline(tmp_path)
    unguided = sample(model.pipeline, [PROMPT], [3], steps=3, guidance=1.0)
    np.testing.assert_array_equal(unguided[0], theirs(tmp_path, PROMPT, 3, guidance_scale=1.0))
    model.set_named([rex, tom])
    np.testing.assert_array_equal(sample(model.pipeline, [PROMPT], [3], steps=3, guidance=1.0), unguided)
    model.set_named([rex])
    np.testing.assert_array_equal(sample(model.pipeline, [PROMPT, "a cat"], [3, 4], **how)[0], ours[0])
    assert not np.array_equal(ours[1], sample(composed, ["a <tom> dog"], [4], **how)[0])


def test_keys_and_values_read_the_projected_caption_and_its_own_tokens_alone(model: Model) -> None:
    model.add_tokens({"<rex>": torch.full((WIDTH,), 0.5)})
    told = conditions_of(model.pipeline, ["a <rex> dog", ""])
    states, mask = encode(model.pipeline, ["A <rex> dog", ""])
    assert torch.equal(told.mask, mask)
    torch.testing.assert_close(told.states[told.read], states[told.read])  # padding is not computed
    # T5 has an end behind the words; Gemma a beginning, and of an empty prompt the space that ends the instruction
    assert told.read.sum(1).tolist() == ([4, 2] if is_sana(model) else [4, 1])
    denoiser = denoiser_of(model.pipeline)
    matrices = {name: one for name, one in denoiser.named_modules() if name.endswith("attn2.to_k")}
    latents = torch.randn(2, 4, 8, 8)
    assert len(matrices) == 2
    with torch.no_grad(), inputs_of(matrices) as heard:
        before = denoiser(latents, timestep=torch.tensor([9, 9]), **told.inputs(64, 64)).sample
    assert all(torch.equal(found[0], told.features) for found in heard.values())
    padding = torch.where(told.read.unsqueeze(-1), told.states, torch.full_like(told.states, 7.0))
    other = dataclasses.replace(told, states=padding)
    with torch.no_grad():
        after = denoiser(latents, timestep=torch.tensor([9, 9]), **other.inputs(64, 64)).sample
    assert torch.equal(before, after)


def test_second_moments_leave_padding_out(model: Model) -> None:
    prompts = ["a dog", "a red cat on the grass"]
    told = conditions_of(model.pipeline, prompts)
    rows = [features[read] for features, read in zip(told.features, told.read, strict=True)]
    flat, centred = torch.cat(rows), torch.cat([one - one.mean(0) for one in rows])
    found = prompt_moments(model.pipeline, prompts)
    torch.testing.assert_close(found.value, flat.T @ flat / len(flat))
    torch.testing.assert_close(found.key, centred.T @ centred / len(flat))
    token = int(token_ids(model.pipeline.tokenizer, ["dog"])[0, int(is_sana(model))])
    one = rows[0]  # of both directions: what stands before the word has seen it, too
    if is_sana(model):
        one = one[2:]  # of one direction: behind a beginning and "a"
    torch.testing.assert_close(new_moment(model.pipeline, prompts[:1], token), one.T @ one / len(one))
    assert content_positions(model.pipeline.tokenizer, prompts).sum(1).tolist() == [2, 6]


def test_a_token_takes_room_that_the_embedding_has_and_then_lets_it_grow(pixart: Model) -> None:
    encoder = pixart.pipeline.text_encoder
    before = encoder.get_input_embeddings().weight.clone()
    words = len(pixart.pipeline.tokenizer)
    rows = {f"<t{number}>": torch.full((WIDTH,), float(number)) for number in range(4)}
    pixart.add_tokens(rows)
    weight = encoder.get_input_embeddings().weight
    assert (len(before), len(weight)) == (words + 2, words + 4)
    assert torch.equal(weight[:words], before[:words])
    assert torch.equal(weight[words:], torch.stack([*rows.values()]))
    assert encoder.encoder.embed_tokens.weight is weight
    assert encoder.config.vocab_size == words + 4


def test_a_token_arrives_in_any_prompt_whatever_is_installed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    home = sys.modules[type(model.pipeline).__module__]
    monkeypatch.setattr(home, "is_bs4_available", lambda: True)
    monkeypatch.setattr(home, "is_ftfy_available", lambda: True)
    model.add_tokens({"<rex>": torch.zeros(WIDTH), "<rex>_1": torch.ones(WIDTH)})
    heard: list[torch.Tensor] = []
    model.pipeline.text_encoder.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    encode(model.pipeline, PROMPT, clean_caption=True)
    words, ids = ["▁a", "<rex>", "<rex>_1", "▁dog"], model.pipeline.tokenizer.convert_tokens_to_ids
    begin = heard[0][0].tolist().index(ids("<rex>")) - 1
    assert heard[0][0, begin : begin + 4].tolist() == [ids(one) for one in words]
    assert begin == (0 if not is_sana(model) else len(model.pipeline.tokenizer(sana_instruction()).input_ids) - 1)
    for token, word in (("<Rex>", "lower case"), ("dog", "already"), ("ack", "part of the word")):
        with pytest.raises(TokenError, match=word):
            check_new_token(model.pipeline.tokenizer, token)


def test_directions_and_a_second_vector_are_learned(model: Model) -> None:
    learned = learn(model, dataclasses.replace(FEW, directions=2, vectors=2)).weights
    assert {one.shape[1] for one in learned.delta.values()} == {24}
    assert {tuple(row.shape) for row in learned.rows.values()} == {(WIDTH,)}


def test_a_box_shows_its_own_prompt_and_not_its_padding(model: Model) -> None:
    outs: list[torch.Tensor] = []
    layer = denoiser_of(model.pipeline).transformer_blocks[0].attn2
    layer.register_forward_hook(lambda _m, _i, out: outs.append(out))
    side = 2 if is_sana(model) else 4

    def drawn(prompt: str, *regions: Region) -> torch.Tensor:
        outs.clear()
        with regional(model.pipeline, regions):
            sample(model.pipeline, [prompt], [1], steps=1, guidance=4.5)
        return outs[0].view(2, side, side, -1)

    boxed = drawn("a dog", Region(Box(0, 0, 0.5, 1), ("a red car in the night",)))
    plain, other = drawn("a dog"), drawn("a red car in the night")
    assert torch.equal(boxed[0], plain[0])  # the unconditional half
    half = side // 2
    assert torch.equal(boxed[1, :, half:], plain[1, :, half:])
    torch.testing.assert_close(boxed[1, :, :half], other[1, :, :half])
    assert not torch.allclose(boxed[1, :, :half], plain[1, :, :half])


def test_boxes_follow_what_they_name(model: Model) -> None:
    rex = learn(model, FEW).weights
    model.set_named([rex])
    box = Region(Box(0, 0, 0.5, 1), ("a <rex> dog",))
    with regional(model.pipeline, [box]):
        named = sample(model.pipeline, ["a cat"], [1], steps=2, guidance=4.5)
    assert not np.array_equal(named, sample(model.pipeline, ["a cat"], [1], steps=2, guidance=4.5))


def test_in_a_shorter_format_what_concepts_hang_on_stays_exact(folder: Path) -> None:
    pipeline = load_pipeline(folder, dtype=torch.bfloat16)
    denoiser = denoiser_of(pipeline)
    exact = [*kv_parameters(pipeline).values(), *denoiser.caption_projection.parameters()]
    assert {one.dtype for one in exact} == {torch.float32}
    assert denoiser.transformer_blocks[0].attn1.to_q.weight.dtype is torch.bfloat16
    images = sample(pipeline, ["a dog"], [1], steps=2, guidance=4.5)
    model = Model(pipeline, describe_exponents(folder))
    model.set_named([])
    assert np.abs(images.astype(int) - sample(pipeline, ["a dog"], [1], steps=2, guidance=4.5)).max() < 64


def describe_exponents(folder: Path) -> dict[str, int]:
    return {name: one["exponent"] for name, one in describe_base(folder).matrices.items()}


def test_a_step_is_counted_as_a_real_one_counts(model: Model) -> None:
    side = 2 if is_sana(model) else 8
    cost = image_cost(model.pipeline, side)
    row = model.pipeline.text_encoder.get_input_embeddings().weight.requires_grad_()
    trained = [weight.requires_grad_() for weight in kv_parameters(model.pipeline).values()]
    batch = draw_batch(
        torch.zeros((1, 4, side, side)),
        [[" ".join(["dog"] * (PROMPT_TOKENS - 1))]],
        1,
        1000,
        torch.Generator().manual_seed(0),
    )
    with counted() as real:
        torch.autograd.grad(Denoiser(model, None).loss(batch), [row, *trained])
    assert cost.step == real.get_total_flops() > 1e6


def test_a_picture_of_half_a_patch_is_refused_and_so_is_a_photo(model: Model) -> None:
    with pytest.raises(SettingsError, match=r"patches of (16|32) pixels, of which 72"):
        sample(model.pipeline, ["a dog"], [1], steps=2, guidance=1.0, size=(64, 72))
    with pytest.raises(SettingsError, match="of which 72"):
        encode_images(model.pipeline, np.zeros((1, 72, 72, 3), np.uint8))


def test_weights_of_words_are_refused(model: Model) -> None:
    with pytest.raises(SettingsError, match=r"by a (T5Encoder|Gemma2)Model"), weighing(model.pipeline, ["a (dog:1.3)"]):
        pass


def test_alpha_is_told_the_size_of_its_pictures(tmp_path: Path) -> None:
    folder = tiny_sd(tmp_path, variant="pixart-alpha")
    assert family_at(folder).name == "pixart"
    pipeline = load_pipeline(folder)
    probe(pipeline, FAMILIES["pixart"], folder)
    assert pipeline.tokenizer.model_max_length == 120
    told = conditions_of(pipeline, ["a dog"]).inputs(64, 96)["added_cond_kwargs"]
    assert told["resolution"].tolist() == [[64, 96]]
    torch.testing.assert_close(told["aspect_ratio"], torch.tensor([[64 / 96]]))
    ours = sample(pipeline, ["a dog"], [3], steps=3, guidance=4.5, size=(64, 96))
    np.testing.assert_array_equal(ours[0], theirs(folder, "a dog", 3, height=64, width=96))
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("Alpha", "Sigma"))
    with pytest.raises(BaseModelError, match="the size of its pictures"):
        load_pipeline(folder)


def test_what_no_pixart_is_is_refused_with_its_property(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folders["pixart"], tmp_path / "base")
    path = folder / "transformer" / "config.json"
    whole = json.loads(path.read_text())
    for change, words in (
        ({"caption_channels": 48}, "projects 48 values a token and its text encoder writes 32"),
        ({"norm_type": "ada_norm_zero"}, "norm_type"),
        ({"cross_attention_dim": 32}, "reads 32 values a token and 24 are projected"),
        ({"out_channels": 9}, "writes 9"),
    ):
        path.write_text(json.dumps({**whole, **change}))
        with pytest.raises(BaseModelError, match=words):
            load_pipeline(folder)


def test_its_published_config_is_taken_and_a_vocabulary_that_nothing_reads_is_named(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tiny_folders["pixart"], tmp_path / "base")
    index = folder / "model_index.json"
    said = json.loads(index.read_text())
    index.write_text(json.dumps({**said, "transformer": ["diffusers", "Transformer2DModel"]}))
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "_class_name": "Transformer2DModel"}))
    load_pipeline(folder)
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer" / "spiece.model")
    monkeypatch.setattr("cns.loading.find_spec", lambda _name: None)
    with pytest.raises(BaseModelError, match=r"spiece\.model") as caught:
        load_pipeline(folder)
    assert "cns-cli[t5]" in str(caught.value.hint)
