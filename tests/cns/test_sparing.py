"""Convolutions that keep no input: the bits of torch's own, in less memory."""

from __future__ import annotations

import copy

import pytest
import torch

from cns.compose import Model, kv_parameters
from cns.cost import saved_bytes
from cns.denoising import Denoiser, draw_batch
from cns.sparing import SparingConv2d, spare


def plain(model: Model) -> Model:
    """The model with torch's own convolutions."""
    for layer in model.pipeline.unet.modules():
        if type(layer) is SparingConv2d:
            layer.__class__ = torch.nn.Conv2d
    return model


def slopes(model: Model, mixed: torch.dtype | None) -> tuple[list[torch.Tensor], int]:
    """Gradients of a step, and what it kept for them."""
    trained = list(kv_parameters(model.pipeline).values())
    for weight in trained:
        weight.requires_grad_(True)
    denoiser, generator = Denoiser(model, mixed), torch.Generator().manual_seed(0)
    latents = torch.randn((2, 4, 8, 8), generator=generator)
    batch = draw_batch(latents, [["a dog"], ["a cat"]], 2, denoiser.train_timesteps, generator)
    with saved_bytes(model.pipeline.unet) as kept:
        loss = denoiser.loss(batch)
    return [loss.detach(), *torch.autograd.grad(loss, trained)], kept()


@pytest.mark.parametrize("mixed", [None, torch.bfloat16])
def test_gradients_have_the_same_bits_in_less_memory(clip_model: Model, mixed: torch.dtype | None) -> None:
    found, kept = slopes(clip_model, mixed)
    expected, kept_before = slopes(plain(clip_model), mixed)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert kept < 0.9 * kept_before


def test_a_convolution_that_is_trained_or_drawn_with_is_torchs_own() -> None:
    layer = torch.nn.Conv2d(2, 3, 3, stride=2, padding=1)
    own = torch.nn.Sequential(copy.deepcopy(layer))
    spare(own)
    assert isinstance(own[0], SparingConv2d)
    values = torch.randn((1, 2, 8, 8))
    for one in (layer, own):
        one(values).sum().backward()
    assert layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, own[0].weight.grad)
    with torch.no_grad():
        assert torch.equal(layer(values), own(values))
