"""On which kind of device is computed, and in which number format; torch is imported only where it must be asked."""

from __future__ import annotations

import sys
from typing import get_args

from cns_cli.devices import accelerator_possible
from cns_cli.optionfield import Dtype
from registry import config
from registry.errors import BadConfig
from registry.repository import Repository

DTYPE_KEY = "dtype"
"""Of `config.toml`: in which number format the denoiser computes where nobody says."""


def device_kind(name: str) -> str:
    """The kind of device that `cns.loading.pick_device` would choose; torch is imported only where it must be asked.

    Args:
        name: auto, cpu, cuda (or cuda:1), mps or balanced.
    """
    if name != "auto":
        return "cuda" if name == "balanced" else name.partition(":")[0]
    if "torch" not in sys.modules and not accelerator_possible():
        return "cpu"
    from cns.loading import pick_device

    return pick_device(name).type


def dtype_for(asked: str, device: str, *, trains: bool = False) -> str:
    """The number format that is meant: what was asked for; of "auto", what suits the kind of device.

    Args:
        asked: One of `cns_cli.optionfield.Dtype`.
        device: auto, cpu, cuda or mps.
        trains: The model is also trained, which cannot be in float16.
    """
    if asked != "auto":
        return asked
    if device_kind(device) != "cuda":  # as `cns.precision.default_dtype` has it
        return "float32"
    from cns.loading import pick_device
    from cns.precision import default_dtype

    found = str(default_dtype(pick_device(device))).removeprefix("torch.")
    return "float32" if trains and found == "float16" else found


def asked_dtype(repo: Repository, typed: str) -> str:
    """The number format that was asked for: on the command line, else in `config.toml`; else "auto".

    Raises:
        BadConfig: `config.toml` names none that there is.
    """
    if typed != "auto":
        return typed
    path = repo.folder / "config.toml"
    found = config.text(path, repo.config, DTYPE_KEY) or typed
    if found not in get_args(Dtype):
        raise BadConfig(path, f"{DTYPE_KEY} is {found!r}; expected {', '.join(get_args(Dtype))}")
    return found
