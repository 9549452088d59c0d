"""Stable Diffusion with few steps: a tiny random base learns and draws noise, whether in a hundred steps or in ten.

Every test in this process, and the processes that say so, see rows of `FAMILIES` with these two numbers in the place of
those that people get. Whoever starts `cns` as it is shipped (docs/ci.md) finds the family as it is shipped, too:
`as_shipped()` is for such tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cns.families import FAMILIES

STABLE_DIFFUSION = ("sd-1", "sd-2", "sdxl", "pixart", "sana")
SHIPPED = {name: FAMILIES[name] for name in STABLE_DIFFUSION}
WARM_UP = 8
SAMPLER = 3


def take_few_steps() -> None:
    """Let Stable Diffusion warm up and sample in few steps, in this process."""
    for name, family in SHIPPED.items():
        defaults = replace(family.defaults, warmup_steps=WARM_UP, sampler_steps=SAMPLER)
        FAMILIES[name] = replace(family, defaults=defaults)


@contextmanager
def as_shipped() -> Iterator[None]:
    """Within the block every family is as it is shipped, as in a process that a test starts."""
    FAMILIES.update(SHIPPED)
    try:
        yield
    finally:
        take_few_steps()
