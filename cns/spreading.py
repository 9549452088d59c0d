"""A model that is too large for one GPU, over all of them: accelerate places its layers, and moves what goes between.

As `device_map="balanced"` of diffusers' and transformers' models, but that nothing is left on the CPU or a disk:
weights of concepts are written into layers where these are. For pictures alone; a training is on one device.
"""

from __future__ import annotations

from typing import Any

import torch

from cns.errors import BaseModelError

BALANCED = "balanced"
"""What stands for all GPUs where else a device does."""


def spread(model: Any, main: torch.device) -> None:
    """Place a model's layers on all GPUs, about as much on each.

    Args:
        model: Of diffusers or transformers, on the CPU, in the formats that it computes in.
        main: Where its answers go that are asked for without inputs on a device.

    Raises:
        BaseModelError: It does not fit.
    """
    from accelerate import dispatch_model, infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    whole = list(model._no_split_modules or ())
    room = get_balanced_memory(model, no_split_module_classes=whole)
    places = infer_auto_device_map(
        model, {one: size for one, size in room.items() if one != "cpu"}, no_split_module_classes=whole
    )
    if "disk" in places.values():
        size_gb = sum(one.nbytes for one in model.parameters()) / 1e9
        raise BaseModelError(
            f"the {type(model).__name__} of this base, {size_gb:.1f} GB, does not fit all GPUs together",
            "a shorter format takes half of it: --dtype bfloat16",
        )
    places = {name: torch.device(main.type, number) for name, number in places.items()}
    dispatch_model(model, places, main, skip_keys=getattr(model, "_skip_keys_device_placement", None))
