"""The state of a training between two steps: enough to go on as if nothing had happened, bit for bit.

A state is values (the token's row, the masked weights), the optimizer's moments of them, the random generator's state,
the losses so far and, once it is chosen, the mask. What can be computed again from the request (latents, prompts,
penalties, general neurons) is not in it. `learn_concept` hands one to its `Checkpoint` after every step and can start
from one. The module turns states into bytes and back; where bytes are kept, and which request they belong to, it does
not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cns.errors import CodecError
from cns.masks import pack, unpack

FORMAT = 1
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of a parameter
MASK = "mask."
BASIS = "basis"
"""Of a training along directions: U, see `cns.directions`."""

Stage = Literal["token warm-up", "finetuning"]


@dataclass(frozen=True)
class TrainingState:
    """One training after `step` steps of `stage`.

    Attributes:
        stage: The stage that is running; "finetuning" with step 0 has its mask already.
        step: Steps of the stage that are over.
        tensors: "generator" (uint8), "row" (D,), from finetuning on "flat" (M,), and each one's moments, such as
            "row.exp_avg"; none of them is a live tensor.
        series: Per-step figures so far, as `Learned.series`.
        masks: Matrix name -> concept neurons, shape (O, I), bool, CPU; empty before finetuning.
        shares: General share and overlap of the selection (see `cns.selection.Selection`).
    """

    stage: Stage
    step: int
    tensors: Mapping[str, Tensor]
    series: Mapping[str, list[float]]
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    shares: tuple[float, float] = (0.0, 0.0)

    @property
    def progress(self) -> tuple[int, int]:
        """Grows with every step of a training; two states of one request compare by it."""
        return int(self.stage == "finetuning"), self.step


class Checkpoint(Protocol):
    """Told the state of a training after every step."""

    def __call__(self, state: TrainingState, /, *, due: bool) -> None:
        """Take a state; `due` at the end of a stage, where losing it would cost most."""
        ...


def forget(_state: TrainingState, *, due: bool) -> None:
    """Keep no state."""


def take(parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copies of parameters and of their moments, on their own device: cheap enough for every step."""
    tensors = {}
    for name, parameter in parameters.items():
        tensors[name] = parameter.detach().clone()
        moments = optimizer.state.get(parameter, {})
        tensors |= {f"{name}.{key}": moments[key].detach().clone() for key in MOMENTS if key in moments}
    return tensors


def put_back(state: TrainingState, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Set parameters and their moments to a state's.

    Raises:
        CodecError: The state is not one of these parameters.
    """
    for name, parameter in parameters.items():
        value = _of(state, name, parameter.shape)
        with torch.no_grad():
            parameter.copy_(value)
        if state.step == 0 and f"{name}.step" not in state.tensors:
            continue
        moments = {key: _of(state, f"{name}.{key}", parameter.shape) for key in MOMENTS[1:]}
        moments = {key: value.to(parameter.device, parameter.dtype, copy=True) for key, value in moments.items()}
        optimizer.state[parameter].update(step=_of(state, f"{name}.step", torch.Size([])).cpu().clone(), **moments)


def basis_of(state: TrainingState) -> Tensor:
    """The directions of a training.

    Raises:
        CodecError: The state has none.
    """
    if BASIS not in state.tensors or state.tensors[BASIS].ndim != 2:
        raise CodecError("the training state has no directions")
    return state.tensors[BASIS]


def encode(state: TrainingState) -> bytes:
    """The bytes of a state: a safetensors file whose metadata hold its figures."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    for name, mask in state.masks.items():
        tensors[MASK + name] = torch.from_numpy(pack(mask))
    facts = {
        "format": FORMAT,
        "stage": state.stage,
        "step": state.step,
        "series": state.series,
        "shares": state.shares,
        "shapes": {name: list(mask.shape) for name, mask in state.masks.items()},
    }
    return save(tensors, {"state": json.dumps(facts)})


def decode(data: bytes) -> TrainingState:
    """The state of bytes that `encode` made.

    Raises:
        CodecError: They are damaged or of another format.
    """
    try:
        facts = _metadata(data)
        if facts["format"] != FORMAT:
            raise CodecError(f"the training state has format {facts['format']!r}: this version reads {FORMAT}")
        tensors = load(data)
        masks = {name: unpack(tensors.pop(MASK + name).numpy(), shape) for name, shape in facts["shapes"].items()}
        general_share, overlap = facts["shares"]
        stage: Stage = facts["stage"]
        if stage not in get_args(Stage):
            raise CodecError(f"the training state is of the stage {stage!r}: expected one of {get_args(Stage)}")
        series = {str(name): [float(value) for value in values] for name, values in facts["series"].items()}
        return TrainingState(stage, int(facts["step"]), tensors, series, masks, (float(general_share), float(overlap)))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
        raise CodecError(f"the training state cannot be read: {error}") from error


def _metadata(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["state"]))


def _of(state: TrainingState, name: str, shape: torch.Size) -> Tensor:
    found = state.tensors.get(name)
    if found is None or found.shape != shape:
        what = "nothing" if found is None else f"shape {tuple(found.shape)}"
        raise CodecError(f"the training state has {what} for {name}: expected shape {tuple(shape)}")
    return found
