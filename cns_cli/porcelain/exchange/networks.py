"""The change of a set of concepts as one file beside a base: whole matrices, or factors of low rank.

Modules are called `lora_unet_…` by diffusers' names, which kohya's trainer began and every program reads; for SDXL by
LDM's, as that trainer has it there (`cns.files.keys`). Each reader adds what it finds to the base that it has, so a
file fits this base alone.

One alpha for the whole file, in every layer; what a layer lacks is in its `lora_up`: diffusers 0.42 takes the alpha
that is most frequent for all attention layers, and LyCORIS raises a TypeError where one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cns.files.keys import kohya_name, ldm_unet
from registry.errors import RegistryError

if TYPE_CHECKING:  # they load torch
    import numpy as np
    from numpy.typing import NDArray

    from cns_cli.porcelain.exchange.order import Order

    Matrices = Mapping[str, NDArray[np.float64]]

RANK = 32
"""Of a `lora` whose change has no small rank of its own: chosen, as much as trainers usually take."""

_SHIFT = 7
"""Powers of two that directions of 8 bits lend to their outputs, so that both stay normal numbers in fp16."""


def write_lycoris(order: Order, folder: Path) -> float:
    """Write `.diff`: each matrix's change. In fp32 base + diff has the bits of `cns generate`."""
    import torch

    from cns_cli.porcelain.exchange.files import cast

    changed = _changes(order)
    tensors = {name: cast(torch.from_numpy(one), order.dtype) for name, one in changed.items()}
    named = {f"{key}.diff": tensors[name] for name, key in _keys(order).items() if name in tensors}
    _write(order, folder, named, "lycoris.kohya", _directions(order))
    return _error(changed, {name: tensor.float().numpy() for name, tensor in tensors.items()})


def write_comfy(order: Order, folder: Path) -> float:
    """Write `.set_weight`: the matrices themselves, which ComfyUI puts in the place of the base's at any strength."""
    from cns_cli.porcelain.exchange.files import cast

    model, changed = order.session.base.model, _changes(order)
    weights = model.compose(order.session.parts(order.tree))
    tensors = {name: cast(weights[name], order.dtype) for name in changed}
    named = {f"{key}.set_weight": tensors[name] for name, key in _keys(order).items() if name in tensors}
    _write(order, folder, named, "cns", _directions(order))
    found = {name: tensor.double().numpy() - model.base[name].double().numpy() for name, tensor in tensors.items()}
    exact = {name: weights[name].double().numpy() - model.base[name].double().numpy() for name in changed}
    return _error(exact, found)


def write_lora(order: Order, folder: Path) -> float:
    """Write `.lora_up` and `.lora_down`: the concepts' own factors where the rank has room for them, else an SVD."""
    import torch

    from cns_cli.porcelain.exchange.files import cast

    changed, keys = _changes(order), _keys(order)
    pairs = _factors(order, changed)
    alpha = max(len(down) for _, down in pairs.values())
    tensors, found = {}, {}
    for name, (up, down) in pairs.items():
        folded = cast(torch.from_numpy(up * (len(down) / alpha)), order.dtype)
        stored = cast(torch.from_numpy(down), order.dtype)
        tensors[f"{keys[name]}.lora_up.weight"], tensors[f"{keys[name]}.lora_down.weight"] = folded, stored
        tensors[f"{keys[name]}.alpha"] = cast(torch.tensor(float(alpha)), order.dtype)
        found[name] = (folded.double() @ stored.double()).numpy() * (alpha / len(down))
    facts = {"ss_network_alpha": str(alpha), "ss_network_dim": str(alpha)}
    _write(order, folder, tensors, "networks.lora", facts)
    return _error(changed, found)


def _factors(order: Order, changed: Matrices) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Matrix name -> up (O, r) and down (r, I), float64."""
    import numpy as np

    from cns.factors import FactorDelta

    parts, pairs = [one.delta for one in order.session.parts(order.tree)], {}
    for name, change in changed.items():
        own = [part[name] for part in parts if name in part]
        factors = [one for one in own if isinstance(one, FactorDelta)]
        if len(factors) == len(own) and sum(one.rank for one in factors) <= (order.rank or min(change.shape)):
            up = [np.ldexp(one.outputs.astype(float), one.exponent + _SHIFT) for one in factors]
            down = [np.ldexp(one.basis.T.astype(float), -_SHIFT) for one in factors]
            pairs[name] = np.concatenate(up, 1), np.concatenate(down, 0)
        else:
            left, sizes, right = np.linalg.svd(change.astype(np.float64), full_matrices=False)
            kept = np.sqrt(sizes[: order.rank or RANK])
            pairs[name] = left[:, : len(kept)] * kept, kept[:, None] * right[: len(kept)]
    return pairs


def _changes(order: Order) -> dict[str, NDArray[Any]]:
    """Matrix name -> what a set of concepts adds to it, (O, I), float32; those that it changes.

    Raises:
        RegistryError: It changes none.
    """
    import numpy as np

    from cns import codec

    parts, found = [one.delta for one in order.session.parts(order.tree)], {}
    for name, weight in order.session.base.model.base.items():
        own = [part[name] for part in parts if name in part]
        if any(one.steps.any() for one in own):
            total = codec.total_steps(own, (weight.shape[0], weight.shape[1]))
            found[name] = np.ldexp(total.astype(np.float32), codec.finest(own))
    if not found:
        raise RegistryError("no weight of the base is changed here", "cns export --format embedding")
    return found


def _error(exact: Matrices, found: Matrices) -> float:
    """||found - exact|| / ||exact||, of changes or of weights less the base."""
    import numpy as np

    wrong = sum(float(np.square(found[name].astype(float) - one).sum()) for name, one in exact.items())
    whole = sum(float(np.square(one.astype(float)).sum()) for one in exact.values())
    return float(np.sqrt(wrong / whole))


def _keys(order: Order) -> dict[str, str]:
    """Matrix name -> what its module is called."""
    from cns.text import has_second_encoder

    model = order.session.base.model
    parameters = [name for name, _ in model.pipeline.unet.named_parameters()]
    called = ldm_unet(parameters) if has_second_encoder(model.pipeline) else {name: name for name in parameters}
    return {name: kohya_name(called[name].removesuffix(".weight")) for name in model.base}


def _directions(order: Order) -> dict[str, str]:
    """What `cns import` finds the factors of whole matrices by: their directions, where they have no others."""
    import numpy as np

    from cns.adapters.directions import DIRECTIONS, named_directions
    from cns.factors import MAX_RANK, FactorDelta

    found = [next(iter(one.delta.values()), None) for one in order.session.parts(order.tree) if one.delta]
    bases = [one.basis for one in found if isinstance(one, FactorDelta)]
    if not bases or len(bases) < len(found) or sum(one.shape[1] for one in bases) > MAX_RANK:
        return {}
    return {DIRECTIONS: named_directions(np.concatenate(bases, 1))}


def _write(order: Order, folder: Path, tensors: Any, module: str, facts: Mapping[str, str] | None = None) -> None:
    from cns_cli.porcelain.exchange.files import write_tensors

    said = {**order.facts, **(facts or {}), "ss_network_module": module}
    write_tensors(folder / f"{order.stem}.safetensors", tensors, said)
