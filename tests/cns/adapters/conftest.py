"""Adapters that the real libraries train, or rather draw at random, on a tiny base; and what these libraries merge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from cns.adapters.modules import Modules
from cns.adapters.update import Update, read_update
from cns.quiet import quiet_libraries

with quiet_libraries():
    from diffusers import UNet2DConditionModel

Matrices = dict[str, NDArray[np.float64]]


@pytest.fixture
def base(tiny_folders: dict[str, Path]) -> Path:
    """The folder of a tiny SD 1.x."""
    return tiny_folders["sd-1"]


@pytest.fixture
def unet(base: Path) -> UNet2DConditionModel:
    """Its UNet in float64, fresh, so that a library's own arithmetic is no part of any difference."""
    with quiet_libraries():
        return UNet2DConditionModel.from_pretrained(base / "unet").double()


@pytest.fixture
def read(base: Path) -> Callable[[Path], Update]:
    """Read a file as an adapter of that base."""
    modules = Modules(base)
    return lambda path: read_update(path, modules)


def kv(module: nn.Module) -> Matrices:
    """The key and value matrices of a UNet."""
    return {
        name: parameter.detach().numpy().copy()
        for name, parameter in module.named_parameters()
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))
    }


def at_random(module: nn.Module, words: tuple[str, ...]) -> None:
    """Draw the parameters whose names hold one of these words: what training would have left, in float32's numbers."""
    generator = torch.Generator().manual_seed(len(words))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if any(word in name for word in words):
                drawn = 0.1 * torch.randn(parameter.shape, generator=generator)
                parameter.copy_(drawn if parameter.ndim > 1 or "magnitude" not in name else 1 + drawn)


def agree(update: Update, before: Matrices, after: Matrices) -> None:
    """The update is what a library's merge did to the weights, to 1e-6."""
    changed = {name: after[name] - before[name] for name in before if not np.array_equal(after[name], before[name])}
    assert update.changes.keys() == changed.keys() != set()
    for name, change in changed.items():
        np.testing.assert_allclose(update.changes[name].weight, change, rtol=0, atol=1e-6 * np.abs(change).max())
