"""A denoiser in a shorter number format: the bits of autocast, in half the memory, and gradients of float32 masters."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from cns.compose import Model, kv_parameters
from cns.denoiser import KV_WEIGHTS, denoiser_of
from cns.denoising import Denoiser, draw_batch
from cns.precision import compute_in, default_dtype, training_dtype
from cns.sampling import sample
from cns.text import conditions_of

PROMPTS = ["a dog", "a cat on the grass"]


def predict(model: Model) -> torch.Tensor:
    denoiser = denoiser_of(model.pipeline)
    side, generator = denoiser.config.sample_size, torch.Generator().manual_seed(0)
    latents = torch.randn((2, denoiser.config.in_channels, side, side), generator=generator)
    with torch.autocast("cpu", enabled=False):
        told = conditions_of(model.pipeline, PROMPTS).inputs(64, 64)
    return denoiser(latents, timestep=torch.tensor([1, 500]), **told).sample


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_held_format_computes_what_autocast_computes(any_model: Model, dtype: torch.dtype) -> None:
    with torch.no_grad():
        exact = predict(any_model)
        with torch.autocast("cpu", dtype):
            cast = predict(any_model)
        compute_in(denoiser_of(any_model.pipeline), dtype)
        held = predict(any_model)
    assert held.dtype is torch.float32
    assert torch.equal(held, cast.float())
    assert 0 < (held - exact).abs().max() < 0.05 * exact.abs().max()


def test_float32_changes_nothing(model: Model) -> None:
    before = dict(vars(model.pipeline.unet))
    compute_in(model.pipeline.unet, torch.float32)
    assert vars(model.pipeline.unet) == before


def test_what_a_training_moves_stays_in_float32(model: Model) -> None:
    unet = model.pipeline.unet
    compute_in(unet, torch.bfloat16)
    assert unet.dtype is torch.bfloat16
    for name, weight in unet.named_parameters():
        if name.endswith(KV_WEIGHTS) or "norm" in name:
            assert weight.dtype is torch.float32
        elif name.endswith("to_q.weight"):
            assert weight.dtype is torch.bfloat16
    assert {part.dtype for part in (model.pipeline.vae, model.pipeline.text_encoder)} == {torch.float32}


def test_pictures_of_a_shorter_format_are_those_of_float32_but_for_rounding(model: Model) -> None:
    def pictures() -> np.ndarray:
        return sample(model.pipeline, PROMPTS, [0, 1], steps=2, guidance=3.0).astype(int)

    exact = pictures()
    compute_in(model.pipeline.unet, torch.bfloat16)
    short = pictures()
    assert 0 < np.abs(short - exact).mean() < 3


def test_gradients_of_a_held_format_are_those_of_float32_but_for_rounding(model: Model) -> None:
    def slopes() -> list[torch.Tensor]:
        trained = list(kv_parameters(model.pipeline).values())
        for weight in trained:
            weight.requires_grad_(True)
        denoiser, generator = Denoiser(model, None), torch.Generator().manual_seed(0)
        side = model.pipeline.unet.config.sample_size
        latents = torch.randn((2, 4, side, side), generator=generator)
        batch = draw_batch(latents, [["a dog"], ["a cat"]], 2, denoiser.train_timesteps, generator)
        found = torch.autograd.grad(denoiser.loss(batch), trained)
        model.freeze()
        return list(found)

    exact = slopes()
    compute_in(model.pipeline.unet, torch.bfloat16)
    held = slopes()
    assert {one.dtype for one in held} == {torch.float32}
    for one, other in zip(held, exact, strict=True):
        assert 0 < (one - other).norm() < 0.1 * other.norm()


def test_a_training_casts_nothing_where_float32_was_asked_for_or_the_base_is_short(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for there, expected in (({"avx512_bf16": True}, torch.bfloat16), ({"avx512_bf16": False, "avx2": True}, None)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda there=there: there, raising=False)
        assert training_dtype(model.pipeline) is expected
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert training_dtype(model.pipeline, "float32") is None
    compute_in(model.pipeline.unet, torch.bfloat16)
    assert training_dtype(model.pipeline) is None


def test_the_default_hangs_on_the_kind_of_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_dtype(torch.device("cpu")) is default_dtype(torch.device("mps")) is torch.float32
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    for supported, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported, **_: supported)
        assert default_dtype(torch.device("cuda")) is expected
