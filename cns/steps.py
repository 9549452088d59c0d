"""Whether a scheduler can make a number of steps, tried without a model.

Schedulers of diffusers take any number of steps and raise in the middle of a picture, or make NaN, where a combination
of theirs was not thought of: as many steps as the schedule is long, Karras' sigmas on a cosine schedule, fewer steps
than Runge-Kutta needs. So the whole schedule is run once on four numbers, with noise in the place of the network's
answers, before time is spent on pictures.
"""

from __future__ import annotations

import inspect
import json
from functools import lru_cache
from typing import Any

import torch

from cns.errors import SettingsError
from cns.files.plain import reason_of
from cns.quiet import quiet_libraries

NEAR = (-1, 1, 2, 3, -2, -3)
"""Where a number that works is looked for, beside one that does not (chosen)."""


def check_steps(scheduler: Any, steps: int) -> None:
    """Make sure that a scheduler of diffusers can make `steps` steps; its own state is left alone.

    Raises:
        SettingsError: it cannot; the hint names a number that works, where one is near.
    """
    kind: Any = type(scheduler)
    config = scheduler.to_json_string()
    if not (reason := _why_not(kind, config, steps)):
        return
    near = (steps + away for away in NEAR if 0 < steps + away <= 1000)
    works = next((other for other in near if not _why_not(kind, config, other)), None)
    raise SettingsError(
        f"this base's {kind.__name__} cannot make {steps} steps ({reason})"
        + ("" if works is None else f": {works} steps work"),
        "name another scheduler in the base's scheduler_config.json" if works is None else f"--steps {works}",
        name="steps",
        value=steps,
    )


def passes(scheduler: Any, steps: int) -> int:
    """How often a network is asked for a picture of so many steps: PNDM, for one, asks once more."""
    own = type(scheduler).from_config(scheduler.config)
    own.set_timesteps(steps)
    return len(own.timesteps)


@lru_cache(maxsize=64)
def _why_not(kind: Any, config: str, steps: int) -> str:
    """Why a scheduler of this class and config (JSON) cannot make so many steps; empty where it can."""
    generator = torch.Generator().manual_seed(0)
    try:
        with quiet_libraries():
            scheduler = kind.from_config(json.loads(config))
            scheduler.set_timesteps(steps)
            draws = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
            flow = not hasattr(scheduler, "scale_model_input")  # noise is as large as it is, and is read so
            values = torch.randn(1, 4, 1, 1, generator=generator) * (1 if flow else scheduler.init_noise_sigma)
            for step in scheduler.timesteps:
                if not flow:
                    scheduler.scale_model_input(values, step)
                answer = torch.randn(1, 4, 1, 1, generator=generator)
                values = scheduler.step(answer, step, values, return_dict=False, **draws)[0]
    except Exception as error:  # noqa: BLE001  whatever a library raises here, it would raise in the middle of a picture
        return reason_of(error)
    return "" if bool(torch.isfinite(values).all()) else "its numbers become NaN or infinite"
