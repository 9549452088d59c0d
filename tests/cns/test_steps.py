"""Any number of steps either makes a picture or is refused before one is begun (issue 18)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

from cns.errors import SettingsError
from cns.files.pipelines import SCHEDULERS
from cns.quiet import quiet_libraries
from cns.sampling import sample
from cns.steps import check_steps
from tests.cns.conftest import tiny_model

SHARED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
FEW = (1, 2, 3, 4, 7)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize(
    "changes", [{}, COSINE, {"use_karras_sigmas": True, **COSINE}, {"timestep_spacing": "trailing"}], ids=str
)
def test_what_is_not_refused_makes_pictures(tiny_folders: dict[str, Path], name: str, changes: dict[str, Any]) -> None:
    pipeline = tiny_model(tiny_folders["sd-1"]).pipeline
    pipeline.scheduler = scheduler(name, **changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for steps in FEW:
            try:
                check_steps(pipeline.scheduler, steps)
            except SettingsError:
                with pytest.raises(SettingsError):
                    sample(pipeline, ["a dog"], [0], steps=steps, guidance=1.0)
            else:
                assert sample(pipeline, ["a dog"], [0], steps=steps, guidance=1.0).dtype == np.uint8


def scheduler(name: str, **changes: Any) -> Any:
    with quiet_libraries():
        return getattr(diffusers, name).from_config({**SHARED, **changes})


@pytest.mark.parametrize(
    ("name", "changes", "steps", "works"),
    [
        ("PNDMScheduler", {"skip_prk_steps": True}, 1000, "--steps 999"),
        ("DDIMScheduler", {}, 1000, "--steps 999"),
        ("PNDMScheduler", {"skip_prk_steps": False}, 3, "--steps 4"),
        ("EulerAncestralDiscreteScheduler", COSINE, 4, "--steps 3"),
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True, **COSINE}, 30, "scheduler_config.json"),
    ],
)
def test_what_cannot_work_is_said_with_what_does(name: str, changes: dict[str, Any], steps: int, works: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_steps(scheduler(name, **changes), steps)
    assert f"{name} cannot make {steps} steps" in caught.value.message
    assert works in caught.value.hint
    assert (caught.value.name, caught.value.value) == ("steps", steps)


def test_a_scheduler_is_left_as_it_was() -> None:
    mine = scheduler("DPMSolverMultistepScheduler")
    with quiet_libraries():
        mine.set_timesteps(5)
    before = mine.timesteps.tolist()
    check_steps(mine, 9)
    assert mine.timesteps.tolist() == before
    assert mine.step_index is None
