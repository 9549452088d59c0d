"""What LyCORIS writes: LoRA, LoHa, LoKr and whole changes, also decomposed, against what its layers compute.

Against its layers, since the merge of lycoris-lora 4.1.3 applies the scale of LoHa and LoKr twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lycoris import LycorisNetwork, create_lycoris

from cns.adapters.update import Update
from cns.quiet import quiet_libraries
from tests.cns.adapters.conftest import agree, at_random, kv

with quiet_libraries():
    from diffusers import UNet2DConditionModel

Read = Callable[[Path], Update]
DRAWN = ("lora_", "hada_", "lokr_", "weight", "dora_scale")
KINDS = [
    ("LoRA", {"algo": "lora"}),
    ("LoRA", {"algo": "lora", "rs_lora": True}),
    ("LoHa", {"algo": "loha"}),
    ("LoKr", {"algo": "lokr", "factor": 4}),
    ("LoKr", {"algo": "lokr", "factor": 2, "decompose_both": True, "linear_dim": 1}),
    ("LoKr", {"algo": "lokr", "full_matrix": True}),  # both factors are whole: alpha does not count
    ("full", {"algo": "full"}),
    ("DoRA", {"algo": "lora", "dora_wd": True}),
    ("DoRA", {"algo": "lora", "dora_wd": True, "wd_on_output": False}),
    ("DoRA", {"algo": "loha", "dora_wd": True}),
]


@pytest.fixture(autouse=True)
def quiet() -> None:
    """LyCORIS talks."""
    logging.getLogger("LyCORIS").setLevel(logging.ERROR)


def network(unet: UNet2DConditionModel, **settings: Any) -> LycorisNetwork:
    """A network of random weights over all linear layers and convolutions of the attention blocks."""
    made = create_lycoris(unet, 1.0, **{"linear_dim": 3, "linear_alpha": 2, **settings})
    made.apply_to()  # before, it has no parameters
    at_random(made, DRAWN)
    return made.double()


def computed(unet: UNet2DConditionModel) -> dict[str, np.ndarray]:
    """The key and value matrices as the layers act, each on the unit vectors."""
    layers = {name: one for name, one in unet.named_modules() if name.endswith(("attn2.to_k", "attn2.to_v"))}
    with torch.no_grad():
        eyes = {name: torch.eye(one.in_features, dtype=torch.float64) for name, one in layers.items()}
        return {f"{name}.weight": one(eyes[name]).T.numpy() for name, one in layers.items()}


@pytest.mark.parametrize(("name", "settings"), KINDS)
def test_every_method_acts_as_in_the_training(
    unet: UNet2DConditionModel, read: Read, tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    before = kv(unet)
    made = network(unet, **settings)
    made.save_weights(str(tmp_path / "made.safetensors"), None, {})
    update = read(tmp_path / "made.safetensors")
    agree(update, before, computed(unet))
    assert update.dialect == f"LyCORIS {name}"
    assert {"conv", "ff", "to_q"} <= update.share_outside.keys()
