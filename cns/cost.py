"""What an image costs on a base, counted and not timed: arithmetic, and the activations that a training keeps.

The parts are built again from their configs on a fake device, where tensors have shapes and no memory, and run once
there: a base of any size is counted in seconds, beside one that is loaded.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from cns.denoiser import KV_WEIGHTS, denoiser_of, dtype_of, predict, projection_of
from cns.precision import compute_in
from cns.quiet import quiet_libraries
from cns.sparing import spare
from cns.text import read, read_masked, text_encoders
from cns.tokens import count_unseen

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline


PROMPT_TOKENS = 32
"""Of a prompt, where its length counts because nobody reads the padding (chosen): a caption of two dozen words."""


@dataclass(frozen=True)
class ImageCost:
    """What one image costs.

    Attributes:
        forward: FLOPs of the denoiser on it, once.
        backward: FLOPs of the gradients of its denoising loss, by keys, values and the token's row.
        text: FLOPs of a prompt in the text encoder, forward and backward.
        encode: FLOPs of the VAE's encoder on an image.
        decode: FLOPs of its decoder.
        kept_bytes: What the forward pass of a step, of all its images, keeps for the backward pass: activations, and
            the weights as autocast has cast them.
        step_bytes: What is alive at most of what the forward and backward pass of a step make.
        encode_bytes: Likewise of the VAE's encoder on an image.
        decode_bytes: Likewise of its decoder.
    """

    forward: int
    backward: int
    text: int
    encode: int
    decode: int
    kept_bytes: int
    step_bytes: int
    encode_bytes: int
    decode_bytes: int

    @property
    def step(self) -> int:
        """FLOPs of one image of a training step, activations kept."""
        return self.forward + self.backward + self.text

    def picture(self, passes: int, guidance: float) -> int:
        """FLOPs of a picture of so many passes (`cns.steps.passes`); under guidance each is two."""
        return passes * (2 if guidance > 1 else 1) * self.forward + self.decode


def image_cost(
    pipeline: StableDiffusionPipeline,
    side: int,
    mixed: torch.dtype | None = None,
    images: int = 1,
    recomputed: bool = False,
) -> ImageCost:
    """Count what an image costs.

    Args:
        pipeline: A base; it is not run.
        side: Of the image's latents.
        mixed: The dtype that a training computes in under autocast; None for the weights' own.
        images: How many a step has.
        recomputed: Compute activations again in the backward pass, whose FLOPs then hold that.
    """
    device, config = pipeline.device, denoiser_of(pipeline).config
    length, unseen = pipeline.tokenizer.model_max_length, count_unseen(pipeline.tokenizer)
    with FakeTensorMode(), torch.device(device), quiet_libraries():
        denoiser, vae = (type(one).from_config(one.config) for one in (denoiser_of(pipeline), pipeline.vae))
        encoders = [type(one)(one.config) for one in text_encoders(pipeline)]
        for part in (denoiser, vae, *encoders):
            part.requires_grad_(False).eval()
        spare(denoiser)
        compute_in(denoiser, dtype_of(denoiser_of(pipeline)))
        if recomputed:
            denoiser.enable_gradient_checkpointing()
        named = denoiser.named_parameters()
        trained = [weight.requires_grad_() for name, weight in named if name.endswith(KV_WEIGHTS)]
        masked = bool(projection_of(denoiser))
        ids = torch.zeros((images, unseen + (PROMPT_TOKENS if masked else length)), dtype=torch.long)
        rows = [one.get_input_embeddings().weight.requires_grad_() for one in encoders]
        latents, pixels = torch.zeros((images, config.in_channels, side, side)), side * pipeline.vae_scale_factor

        weights = [one for part in (denoiser, vae, *encoders) for one in (*part.parameters(), *part.buffers())]
        stepping, encoding, decoding = (Alive(weights) for _ in range(3))
        with stepping, saved_bytes(denoiser, *encoders) as kept:
            with counted() as text:
                told = (
                    read_masked(denoiser, encoders[0], ids, length, unseen)
                    if masked
                    else read(encoders, [ids] * len(encoders))
                )
            with counted() as forward, torch.autocast(device.type, mixed or torch.bfloat16, enabled=mixed is not None):
                times = torch.zeros(images, dtype=torch.long)
                noise = predict(denoiser, latents, times, told.inputs(pixels, pixels))
        read_out = [one for one in (told.given, told.pooled) if one is not None]
        with stepping, counted() as backward:
            torch.autograd.grad(noise.float().square().mean(), [*read_out, *trained])
        with counted() as text_backward:
            torch.autograd.grad(sum(one.sum() for one in read_out), rows)
        with torch.no_grad(), encoding, counted() as encode:
            vae.encode(torch.zeros((1, 3, pixels, pixels)))
        with torch.no_grad(), decoding, counted() as decode:
            vae.decode(latents[:1])
    return ImageCost(
        forward=forward.get_total_flops() // images,
        backward=backward.get_total_flops() // images,
        text=(text.get_total_flops() + text_backward.get_total_flops()) // images,
        encode=encode.get_total_flops(),
        decode=decode.get_total_flops(),
        kept_bytes=kept(),
        step_bytes=stepping.most,
        encode_bytes=encoding.most,
        decode_bytes=decoding.most,
    )


def counted() -> FlopCounterMode:
    """A counter that knows the CPU's fused attention, too, which torch 2.13's own takes for nothing."""
    aten = torch.ops.aten
    attention = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=attention)


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


class Alive(TorchDispatchMode):
    """Within the context, counts the bytes of tensors that are alive; those of `known` are not counted.

    Attributes:
        most: Bytes, when most were.
    """

    def __init__(self, known: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.most = self._bytes = 0
        self._known = {one.untyped_storage()._cdata for one in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call what was called, and count what it made."""
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, Tensor) and (storage := one.untyped_storage())._cdata not in self._known:
                self._known.add(storage._cdata)
                self._bytes += storage.nbytes()
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.most = max(self.most, self._bytes)
        return made

    def _gone(self, number: int, size_bytes: int) -> None:
        self._known.discard(number)
        self._bytes -= size_bytes


@contextmanager
def saved_bytes(*modules: torch.nn.Module) -> Iterator[Callable[[], int]]:
    """Within the context note what a backward pass needs, but for the modules' own weights; yields how many bytes."""
    weights = {weight.untyped_storage()._cdata for module in modules for weight in module.parameters()}
    storages: dict[int, Any] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            storages[storage._cdata] = storage  # held, or its number would be given again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield lambda: sum(storage.nbytes() for storage in storages.values())
