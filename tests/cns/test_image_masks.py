"""Masks of training images weight the loss: less outside, on the whole as before, and without masks not at all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from cns import codec
from cns.compose import kv_parameters
from cns.denoising import UNMASKED_WEIGHT, Denoiser, draw_batch, loss_weights
from cns.errors import CodecError
from cns.task import TrainingTask
from tests.cns.conftest import tiny_model
from tests.cns.test_training import learn, stored, task

LEFT = np.zeros((3, 64, 64), np.uint8)
LEFT[:, :, :32] = 255


def masked(masks: np.ndarray | None) -> TrainingTask:
    return dataclasses.replace(task(), image_masks=masks)


def test_the_loss_weighs_a_tenth_outside_the_mask_and_one_on_the_whole():
    weights = loss_weights(LEFT, 8, 8)
    assert weights.shape == (3, 1, 8, 8)
    torch.testing.assert_close(weights[..., 4:] / weights[..., :4], torch.full((3, 1, 8, 4), UNMASKED_WEIGHT))
    torch.testing.assert_close(weights.mean((1, 2, 3)), torch.ones(3))


def test_a_latent_pixel_weighs_the_share_of_it_that_is_masked():
    half = np.zeros((1, 8, 8), np.uint8)
    half[:, :, :6] = 255
    weights = loss_weights(half, 2, 2)[0, 0]
    assert float(weights[0, 1] / weights[0, 0]) == pytest.approx(0.5)


def test_the_gradient_outside_the_mask_is_a_tenth(model):
    latents = torch.randn((3, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    batch = draw_batch(latents, [["a dog"]] * 3, 3, 1000, torch.Generator().manual_seed(1), loss_weights(LEFT, 8, 8))
    plain = dataclasses.replace(batch, weights=None)
    predictions: list[torch.Tensor] = []
    model.pipeline.unet.register_forward_hook(lambda _unet, _inputs, output: predictions.append(output.sample))
    for parameter in kv_parameters(model.pipeline).values():
        parameter.requires_grad_(True)
    losses = [Denoiser(model, None).loss(one) for one in (batch, plain)]
    weighted, before = (torch.autograd.grad(loss, one)[0] for loss, one in zip(losses, predictions, strict=True))
    factor = weighted / before
    torch.testing.assert_close(factor, batch.weights.expand_as(factor))
    torch.testing.assert_close(factor[..., 4:] / factor[..., :4], torch.full_like(factor[..., 4:], UNMASKED_WEIGHT))


def test_masks_all_over_learn_the_same_bits_as_none_and_others_do_not(tiny_folders):
    none, full, left = (
        stored(learn(tiny_model(tiny_folders["sd-1"]), what=masked(masks)))
        for masks in (None, np.full_like(LEFT, 255), LEFT)
    )
    assert none == full != left


def test_masks_are_stored_beside_the_images_and_without_any_nothing_is():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    masks = images[..., 0]
    found = codec.decode_masked_images(codec.encode_images(images, masks))
    np.testing.assert_array_equal(found[0], images)
    np.testing.assert_array_equal(found[1], masks)
    np.testing.assert_array_equal(codec.decode_images(codec.encode_images(images, masks)), images)
    assert codec.decode_masked_images(codec.encode_images(images))[1] is None
    with pytest.raises(CodecError, match="masks of shape"):
        codec.decode_images(codec.encode_images(images, masks[:2]))
