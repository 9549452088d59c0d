"""From the tensors of one module to its change, a rule a method; whatever a method multiplies, it is said here.

    LoRA    dW = s B A                                      Hu et al., ICLR 2022
    LoHa    dW = s (A1 B1) * (A2 B2)                        Hyeon-Woo et al., ICLR 2022
    LoKr    dW = s kron(C, A B)                             Yeh et al., ICLR 2024
    SHiRA   dW = values at rows and columns                 Bhardwaj et al., NeurIPS 2024
    DoRA    W' = m (W + dW) / |W + dW|                      Liu et al., ICML 2024; the norm along the axis that m lacks
    full    dW = diff, or W' - W

s is the module's own scale (`cns.adapters.scales`). Nothing here knows names of modules or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Parts = Mapping[str, Array]

SPELLED = {
    "down": ("lora_down.weight", "lora_A.weight", "lora.down.weight"),
    "up": ("lora_up.weight", "lora_B.weight", "lora.up.weight"),
    "mid": ("lora_mid.weight",),
    "alpha": ("alpha",),
    "magnitude": ("dora_scale",),
    "vector": ("lora_magnitude_vector", "lora_magnitude_vector.weight"),
    "diff": ("diff",),
    "set": ("set_weight",),
    "bias": ("diff_b", "b_norm", "set_bias", "lora_B.bias"),
    "norm": ("w_norm",),
    "values": ("shira_weight",),
    "indices": ("shira_indices",),
    **{part: (part,) for part in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    **{part: (part,) for part in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")},
}
"""Part of a module -> how files end the name of its tensor."""

PART_OF = {end: part for part, ends in SPELLED.items() for end in ends}


@dataclass(frozen=True)
class Method:
    """A way in which a module's change is written.

    Attributes:
        name: As people call it.
        needs: Parts without which it is not this method.
        rank: Its rank by its parts; None where it has none.
        change: (parts, weight's shape) -> dW without its scale.
        scaled: Whether a scale has a meaning.
    """

    name: str
    needs: tuple[str, ...]
    rank: Callable[[Parts], int | None]
    change: Callable[[Parts, tuple[int, ...]], Array]
    scaled: bool = True


def method_of(parts: Mapping[str, object]) -> Method | None:
    """The method whose parts these are; None where there is none."""
    return next((one for one in METHODS if parts.keys() >= set(one.needs)), None)


def decomposed(weight: Array, change: Array, parts: Parts) -> Array:
    """DoRA's change: m (W + dW) / |W + dW| - W; `change` itself where there is no m.

    Args:
        weight: W, shape (O, I, …).
        change: dW, same shape.
        parts: m as `vector`, PEFT's, always a norm for each output; or as `magnitude`, (O, 1, …) or (1, I, …).

    Raises:
        ValueError: Its shape is another.
    """
    outputs = (len(weight), *(1 for _ in weight.shape[1:]))
    inputs = (1, weight.shape[1], *outputs[2:])
    if "vector" in parts:
        magnitude = parts["vector"].reshape(outputs)
    elif "magnitude" in parts:
        magnitude = parts["magnitude"]
    else:
        return change
    if magnitude.shape not in (outputs, inputs):
        raise ValueError(f"a magnitude of shape {magnitude.shape} for weights of {weight.shape}")
    axis = 0 if magnitude.shape == outputs else 1
    moved = weight + change
    norms = np.sqrt((moved**2).sum(tuple(one for one in range(moved.ndim) if one != axis), keepdims=True))
    found: Array = magnitude * moved / np.maximum(norms, np.finfo(np.float64).tiny) - weight
    return found


def _product(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    """A B; what would be larger than the weight is refused before memory is taken for it."""
    _refuse_large(len(a) * b.shape[1], shape)
    found: Array = a @ b
    return found


def _tucker(core: Array, outputs: Array, inputs: Array, shape: tuple[int, ...]) -> Array:
    _refuse_large(outputs.shape[1] * inputs.shape[1] * math.prod(core.shape[2:]), shape)
    found: Array = np.einsum("ij...,ip,jr->pr...", core, outputs, inputs, optimize=True)
    return found


def _refuse_large(size: int, shape: tuple[int, ...]) -> None:
    if size > math.prod(shape):
        raise ValueError(f"a change of {size:,} weights, and the base has {shape}")


def _flat(part: Array) -> Array:
    """A matrix of a convolution's kernel: all axes but the first are one."""
    return part.reshape(len(part), -1)


def _lora(parts: Parts, shape: tuple[int, ...]) -> Array:
    down, up = _flat(parts["down"]), _flat(parts["up"])
    if "mid" in parts:
        return _tucker(parts["mid"], up.T, down, shape)
    return _product(up, down, shape).reshape(_kernel(len(up), parts["down"], shape))


def _kernel(rows: int, part: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a product whose second factor is a kernel; the weight's, where the factor is flat."""
    return (rows, *part.shape[1:]) if part.ndim == len(shape) else shape


def _loha(parts: Parts, shape: tuple[int, ...]) -> Array:
    halves = []
    for one in ("1", "2"):
        a, b, core = parts[f"hada_w{one}_a"], parts[f"hada_w{one}_b"], parts.get(f"hada_t{one}")
        halves.append(_product(a, b, shape) if core is None else _tucker(core, a, b, shape))
    return _whole(halves[0] * halves[1], shape)


def _lokr(parts: Parts, shape: tuple[int, ...]) -> Array:
    first = parts["lokr_w1"] if "lokr_w1" in parts else _product(parts["lokr_w1_a"], parts["lokr_w1_b"], shape)
    if "lokr_w2" in parts:
        second = parts["lokr_w2"]
    elif "lokr_t2" in parts:
        second = _tucker(parts["lokr_t2"], parts["lokr_w2_a"], parts["lokr_w2_b"], shape)
    else:
        second = _product(parts["lokr_w2_a"], _flat(parts["lokr_w2_b"]), shape)
        if len(shape) == 4:  # (outputs, inputs * k * k), and kron is about the first two axes
            second = second.reshape(len(second), -1, *shape[2:])
    _refuse_large(first.size * second.size, shape)
    first = first.reshape(*first.shape, *(1 for _ in range(second.ndim - first.ndim)))
    found: Array = np.kron(first, second).astype(np.float64)
    return found


def _whole(change: Array, shape: tuple[int, ...]) -> Array:
    """A change of a convolution that was written as a matrix."""
    return change.reshape(shape) if len(shape) == 4 and change.ndim == 2 else change


def _lokr_rank(parts: Parts) -> int | None:
    """Of a factor that is one; both whole have none."""
    return next((len(parts[one]) for one in ("lokr_w1_b", "lokr_w2_b") if one in parts), None)


def _shira(parts: Parts, shape: tuple[int, ...]) -> Array:
    rows, columns = parts["indices"].astype(np.int64)
    if min(rows.min(initial=0), columns.min(initial=0)) < 0:
        raise ValueError("an index below 0")
    change = np.zeros(shape)
    try:
        np.add.at(change, (rows, columns), parts["values"].reshape(-1))
    except IndexError as error:
        raise ValueError(f"an index beyond {shape}") from error
    return change


def _no_rank(_: Parts) -> int | None:
    return None


METHODS = (
    Method("LoRA", ("down", "up"), lambda parts: len(parts["down"]), _lora),
    Method("LoHa", ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), lambda parts: len(parts["hada_w1_b"]), _loha),
    *(
        Method("LoKr", (*first, *second), _lokr_rank, _lokr)
        for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
        for second in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))
    ),
    Method("SHiRA", ("values", "indices"), _no_rank, _shira, scaled=False),
    Method("full", ("diff",), _no_rank, lambda parts, _: parts["diff"], scaled=False),
    Method("full", ("norm",), _no_rank, lambda parts, _: parts["norm"], scaled=False),
    Method("weights", ("set",), _no_rank, lambda parts, _: parts["set"], scaled=False),
)
