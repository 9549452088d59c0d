"""Stable Diffusion with few steps: a tiny random base learns and draws noise, whether in a hundred steps or in ten.

Every test in this process, and the processes that are started with `FEW_STEPS`, see rows of `FAMILIES` with these two
numbers in the place of those that people get.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from cns.families import FAMILIES

STABLE_DIFFUSION = ("sd-1", "sd-2", "sdxl", "pixart", "sana")
SHIPPED = {name: FAMILIES[name] for name in STABLE_DIFFUSION}
WARM_UP = 4
SAMPLER = 3
TESTS = Path(__file__).resolve().parent
FEW_STEPS = {"PYTHONPATH": os.pathsep.join([str(TESTS / "few_steps"), str(TESTS.parent)])}
"""Environment of a process that takes few steps, too."""


def take_few_steps(warm_up: int = WARM_UP) -> None:
    """Let Stable Diffusion warm up and sample in few steps, in this process."""
    for name, family in SHIPPED.items():
        defaults = replace(family.defaults, warmup_steps=warm_up, sampler_steps=SAMPLER)
        FAMILIES[name] = replace(family, defaults=defaults)
