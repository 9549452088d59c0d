"""One file with the whole model under the names of the first Stable Diffusion (LDM), which every program opens.

Rows of tokens are left out: the table of the text encoder must have as many as its config says, or diffusers refuses
the file. They go into files of their own (`embedding`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # they load torch
    from torch import Tensor

    from cns_cli.porcelain.exchange.order import Order


def write(order: Order, folder: Path) -> None:
    """Write the base with the weights of a set of concepts."""
    from cns_cli.porcelain.exchange.files import cast, write_tensors

    tensors = {name: cast(tensor, order.dtype) for name, tensor in _tensors(order)}
    write_tensors(folder / f"{order.stem}.safetensors", tensors, order.facts)


def _tensors(order: Order) -> Iterator[tuple[str, Tensor]]:
    from cns.files.keys import LDM_PARTS, OPEN_CLIP, TEXT_MODEL, ldm_unet, ldm_vae

    session = order.session
    session.base.model.write(session.base.model.compose(session.parts(order.tree)))
    for part, prefix in LDM_PARTS.get(session.base.family.name, LDM_PARTS["sd-1"]).items():
        state = getattr(session.base.model.pipeline, part).state_dict()
        text = {name.removeprefix(TEXT_MODEL): tensor for name, tensor in state.items()}
        if part == "unet":
            yield from ((prefix + name, state[ours]) for ours, name in ldm_unet(state).items())
        elif part == "vae":
            for ours, name in ldm_vae(state).items():
                convolves = ".attn_1." in name and state[ours].ndim == 2  # a matrix here, a 1x1 convolution there
                yield prefix + name, state[ours][:, :, None, None] if convolves else state[ours]
        elif prefix in OPEN_CLIP:
            yield from _open_clip(prefix, text)
        else:
            yield from ((prefix + TEXT_MODEL + name, tensor) for name, tensor in text.items())


def _open_clip(prefix: str, text: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A text encoder as OpenCLIP has it: query, key and value of a layer are one tensor."""
    import torch

    from cns.files.keys import open_clip

    for name, tensor in text.items():
        if ".self_attn.q_proj." in name:
            three = [text[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            yield prefix + open_clip(name), torch.cat(three)
        elif not (".self_attn.k_proj." in name or ".self_attn.v_proj." in name):
            yield prefix + open_clip(name), tensor.T if name == "text_projection.weight" else tensor
