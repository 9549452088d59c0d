"""In which number format a base computes: float32, or a shorter one for the denoiser alone.

A shorter format is held, not cast each time: the weights of the denoiser's layers are in it from the start, and its
answers are float32 again. What bits of a concept hang on stays in float32: key and value matrices (they are composed on
the integer grid and are what a training moves), the text encoder and its projection, the sampler's sums. So does the
autoencoder, 5 % of a picture's arithmetic: in float16 those of some bases overflow, and bfloat16 has eight bits for a
picture's eight.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from cns.denoiser import denoiser_of, dtype_of, is_short

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline


def default_dtype(device: torch.device) -> torch.dtype:
    """What suits a kind of device.

    bfloat16 on CUDA, float16 on its older GPUs. float32 on CPUs, so that no picture hangs on which CPU it is; and on
    Apple's GPUs, of which nothing was measured.
    """
    if device.type != "cuda":
        return torch.float32
    with torch.cuda.device(device):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def training_dtype(pipeline: StableDiffusionPipeline, asked: str = "auto") -> torch.dtype | None:
    """What a training's steps cast to; None where they cast nothing.

    bfloat16 where the device computes in it, unless float32 was asked for, or the base is held in a shorter format
    already. Never float16, which would need its losses scaled.
    """
    device = pipeline.device
    if asked == "float32" or dtype_of(denoiser_of(pipeline)) is not torch.float32:
        return None
    if device.type == "cpu":
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions lack it
        return torch.bfloat16 if any(there and one.endswith("bf16") for one, there in capabilities.items()) else None
    return torch.bfloat16 if default_dtype(device) is torch.bfloat16 else None


def compute_in(denoiser: Any, dtype: torch.dtype) -> None:
    """Have a denoiser compute in a shorter format, for good; float32 leaves it as it is.

    What `torch.autocast` would cast at each call is cast now: in half the memory, to the same bits.
    """
    if dtype is torch.float32:
        return
    for name, layer in denoiser.named_modules():
        short = is_short(name, layer)
        for key, weight in list(layer.named_parameters(recurse=False)):
            # Copied in any case: a file that is mapped into memory stays there while one weight is its.
            held = weight.detach().to(dtype if short else weight.dtype, copy=True)
            setattr(layer, key, torch.nn.Parameter(held, requires_grad=weight.requires_grad))
    inner = denoiser.forward

    @functools.wraps(inner)
    def forward(*inputs: Any, **options: Any) -> Any:
        with torch.autocast(denoiser.device.type, dtype):
            answer = inner(*inputs, **options)
        if isinstance(answer, tuple):
            return tuple(one.float() for one in answer)
        answer.sample = answer.sample.float()
        return answer

    denoiser.forward = forward
