"""What an image costs, counted: against the same passes counted while a real model makes them."""

from __future__ import annotations

import pytest
import torch

from cns.compose import kv_parameters
from cns.cost import Alive, counted, image_cost
from cns.denoising import Denoiser, draw_batch
from cns.memory import Memory, free_bytes, memory_for, recomputing
from cns.precision import compute_in
from cns.sampling import sample
from cns.steps import passes
from cns.timing import pace_of

SIDE = 8


def a_loss(model):
    batch = draw_batch(torch.zeros((1, 4, SIDE, SIDE)), [["a dog"]], 1, 1000, torch.Generator().manual_seed(0))
    return Denoiser(model, None).loss(batch)


def test_a_step_iscounted_as_a_real_one_counts(model):
    cost = image_cost(model.pipeline, SIDE)
    row = model.pipeline.text_encoder.get_input_embeddings().weight.requires_grad_()
    trained = [weight.requires_grad_() for weight in kv_parameters(model.pipeline).values()]
    kept = {}
    modules = (model.pipeline.unet, model.pipeline.text_encoder)
    weights = {one.untyped_storage().data_ptr() for module in modules for one in module.parameters()}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with counted() as real:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = a_loss(model)
        torch.autograd.grad(loss, [row, *trained])
    assert cost.step == real.get_total_flops() > 1e6
    real_bytes = sum(storage.nbytes() for place, storage in kept.items() if place not in weights)
    assert cost.kept_bytes == pytest.approx(real_bytes, rel=0.05)


def test_a_picture_iscounted_as_a_real_one_counts(model):
    with counted() as real:
        sample(model.pipeline, ["a dog"], [0], steps=3, guidance=2.0)
    asked = passes(model.pipeline.scheduler, 3)
    assert asked == 4  # PNDM, of three steps
    pictures = image_cost(model.pipeline, SIDE).picture(asked, 2.0)
    assert pictures == pytest.approx(real.get_total_flops(), rel=0.03)  # but for the text encoder


def test_attention_of_a_cpu_iscounted():
    """torch 2.13's own counter takes it for nothing: an eighth of Stable Diffusion's arithmetic at 512 pixels."""
    query = torch.randn((1, 2, 16, 8))
    with counted() as counter:
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
    assert counter.get_total_flops() == 2 * 2 * (2 * 16 * 16 * 8)


def test_what_is_alive_at_most_is_counted():
    known = torch.zeros(1000)
    with Alive([known]) as alive:
        first = known + 1
        known.add_(first.view(10, 100).sum(0).repeat(10))  # 400 and 4,000 bytes, which are gone after it
        del first
        second = known * 2
    assert alive.most == 4000 + 400 + 4000
    with alive:
        third = second + 1
        _fourth = third + 1
    assert alive.most == 3 * 4000  # it goes on where it was


def test_activations_that_are_computed_again_are_not_alive(model):
    kept, again = (image_cost(model.pipeline, 32, recomputed=recomputed) for recomputed in (False, True))
    assert kept.kept_bytes < kept.step_bytes
    assert again.step_bytes < 0.8 * kept.step_bytes
    assert (again.encode_bytes, again.decode_bytes) == (kept.encode_bytes, kept.decode_bytes)
    assert again.backward > kept.backward
    assert not model.pipeline.unet.is_gradient_checkpointing


def test_memory_iscounted_for_large_latents_alone(model):
    assert memory_for(model.pipeline, SIDE, 2, None) is None
    one, two = (memory_for(model.pipeline, 32, images, torch.bfloat16) for images in (1, 2))
    assert one is not None
    assert two is not None
    assert one.needed > 0
    assert one.needed < two.needed <= 2 * one.needed  # weights that autocast casts are kept once
    assert 0 < two.free <= 2**50
    assert free_bytes(torch.device("cpu")) > 2**20


def test_what_fits_into_a_part_of_the_free_memory_is_kept():
    assert Memory(79, 100).suffices
    assert not Memory(81, 100).suffices


def test_activations_are_computed_again_within_the_context_alone(model):
    with recomputing(model.pipeline, False):
        assert not model.pipeline.unet.is_gradient_checkpointing
    with recomputing(model.pipeline, True):
        assert model.pipeline.unet.is_gradient_checkpointing
    assert not model.pipeline.unet.is_gradient_checkpointing


def test_the_pace_is_measured_and_leaves_the_weights_alone(model, monkeypatch):
    before = {name: weight.detach().clone() for name, weight in kv_parameters(model.pipeline).items()}
    cost = image_cost(model.pipeline, 32)
    whole = pace_of(model, 32, cost, 2, None)
    monkeypatch.setattr("cns.timing.TRIAL_FLOPS", {"cpu": cost.step / 8})  # as a big base: on smaller images
    parts = pace_of(model, 32, cost, 2, None)
    for pace in (whole, parts):
        assert 1e6 < pace.training < 1e13
        assert 1e6 < pace.drawing < 1e13
        assert pace.seconds(2, pace.training, pace.drawing) == pytest.approx(2 * pace.step + 2)
    assert whole.step == 0 <= parts.step < 5
    live = kv_parameters(model.pipeline)
    assert all(torch.equal(before[name], weight) and not weight.requires_grad for name, weight in live.items())


def test_a_base_in_a_shorter_format_is_counted_with_less_kept(model):
    exact, cast = image_cost(model.pipeline, SIDE), image_cost(model.pipeline, SIDE, torch.bfloat16)
    compute_in(model.pipeline.unet, torch.bfloat16)
    short = image_cost(model.pipeline, SIDE)
    assert short.step == exact.step
    assert short.kept_bytes < min(exact.kept_bytes, cast.kept_bytes)  # autocast keeps what it casts
