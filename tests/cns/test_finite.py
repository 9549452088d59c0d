"""NaN and infinity are errors that name the part; no picture, feature or latent is made of them (issue 18)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cns.compose import Model
from cns.denoising import encode_images
from cns.errors import BaseModelError, NotFiniteError
from cns.files.bases import check_finite
from cns.files.tensors import EXPONENTS, first_not_finite
from cns.general import Vote, find_general_neurons
from cns.judges.encoders import ClipEncoder
from cns.sampling import sample
from tests.cns.conftest import tiny_model

KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
PIXELS = np.zeros((2, 64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("part", "spoiled"),
    [
        ("VAE decoder", "vae.decoder.conv_in.bias"),
        ("UNet", "unet.conv_in.bias"),
        ("text encoder", "text_encoder.text_model.final_layer_norm.bias"),
    ],
)
def test_no_picture_is_made_of_nan_and_the_part_is_named(model: Model, part: str, spoiled: str) -> None:
    spoil(model, spoiled)
    with pytest.raises(NotFiniteError, match=r"'a cat' at seed 8") as caught:
        sample(model.pipeline, ["a cat", "a dog"], [8, 9], steps=2, guidance=2.0)
    assert caught.value.part == part
    assert part in caught.value.message


def spoil(model: Model, name: str) -> None:
    part, _, inner = name.partition(".")
    module = getattr(model.pipeline, part)
    named = dict(module.named_parameters())
    found = named.get(inner)
    parameter = named[inner.removeprefix("text_model.")] if found is None else found
    with torch.no_grad():
        parameter[0] = torch.nan


def test_only_the_picture_that_is_none_is_named(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = model.pipeline.vae.decode

    def second_is_infinite(latents: torch.Tensor, **options: object) -> tuple[torch.Tensor]:
        (images,) = decode(latents, **options)
        images[1, 0, 0, 0] = torch.inf  # would be clamped to white
        return (images,)

    monkeypatch.setattr(model.pipeline.vae, "decode", second_is_infinite)
    with pytest.raises(NotFiniteError, match=r"'a dog' at seed 9"):
        sample(model.pipeline, ["a cat", "a dog"], [8, 9], steps=2, guidance=1.0)


def test_latents_of_training_images_are_numbers(model: Model) -> None:
    spoil(model, "vae.encoder.conv_in.bias")
    with pytest.raises(NotFiniteError) as caught:
        encode_images(model.pipeline, PIXELS)
    assert caught.value.part == "VAE encoder"


def test_no_neuron_is_found_general_by_latents_that_are_nan(model: Model) -> None:
    spoil(model, "unet.conv_in.bias")
    with pytest.raises(NotFiniteError, match="UNet"):
        find_general_neurons(model, ["a dog"], Vote("gradient", 0.25, 0.5), lambda *_, **__: None)


def test_features_of_pictures_and_texts_are_numbers(tiny_folders: dict[str, Path]) -> None:
    judge = ClipEncoder.from_folder(tiny_folders["sd-1"] / "clip")
    with torch.no_grad():
        judge.model.visual_projection.weight[0, 0] = torch.inf
        judge.model.text_projection.weight[0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="features of images") as caught:
        judge.image_features(PIXELS)
    assert caught.value.part == "clip encoder"
    with pytest.raises(NotFiniteError, match="features of texts"):
        judge.text_features(["a dog"])


@pytest.mark.parametrize("kind", EXPONENTS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_floating_type_is_looked_through(tmp_path: Path, kind: str, value: float) -> None:
    largest = torch.finfo(KINDS[kind]).max
    fine = torch.tensor([0.0, -0.0, largest, -largest, 1e-7], dtype=KINDS[kind])
    tensors = {"a": fine, "b": fine.clone(), "n": torch.full((3,), 2**31 - 1, dtype=torch.int32)}
    save_file(tensors, tmp_path / "x.safetensors")
    assert first_not_finite(tmp_path / "x.safetensors") is None
    tensors["b"][-1] = value
    save_file(tensors, tmp_path / "x.safetensors")
    assert first_not_finite(tmp_path / "x.safetensors") == "b"


@pytest.mark.parametrize("file", ["vae/diffusion_pytorch_model", "unet/diffusion_pytorch_model", "text_encoder/model"])
def test_a_base_with_one_weight_that_is_nan_is_refused_by_name(
    tiny_folders: dict[str, Path], tmp_path: Path, file: str
) -> None:
    folder = Path(shutil.copytree(tiny_folders["sd-1"], tmp_path / "base"))
    path = folder / f"{file}.safetensors"
    tensors = load_file(path)
    name = max(tensors)
    tensors[name].view(-1)[-1] = torch.nan
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(BaseModelError, match=name):
        check_finite(folder)


def test_pictures_are_plain_diffusers_own(tiny_folders: dict[str, Path]) -> None:
    pipeline = tiny_model(tiny_folders["sd-1"]).pipeline
    plain = pipeline(
        ["a cat", "a dog"],
        num_inference_steps=3,
        guidance_scale=3.0,
        negative_prompt=["snow"] * 2,
        generator=[torch.Generator().manual_seed(seed) for seed in (4, 5)],
        output_type="np",
    ).images
    ours = sample(pipeline, ["a cat", "a dog"], [4, 5], steps=3, guidance=3.0, negative="snow")
    assert np.array_equal(ours, (plain * 255).round().astype(np.uint8))
