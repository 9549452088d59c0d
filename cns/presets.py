"""Presets: named rows of settings for a training, so that nobody has to know which settings to turn.

A row says what it makes of a family's own defaults, by factors, so that one table serves every family. `balanced` is
those defaults, bit for bit. A setting that is given by itself wins over the preset. The module knows no tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cns.families import Family

PresetName = Literal["fast", "balanced", "thorough"]
BALANCED: PresetName = "balanced"


@dataclass(frozen=True)
class Preset:
    """A row of settings.

    Attributes:
        steps: Factor on the finetuning steps.
        warmup: Factor on the steps that train the token alone.
    """

    steps: float = 1.0
    warmup: float = 1.0

    def of(self, family: Family) -> Family:
        """The family with these settings in the place of its defaults."""
        own = family.defaults
        steps, warmup = round(own.steps * self.steps), round(own.warmup_steps * self.warmup)
        return replace(family, defaults=replace(own, steps=steps, warmup_steps=warmup))


PRESETS: Mapping[str, Preset] = {
    "fast": Preset(steps=0.4, warmup=0.5),
    BALANCED: Preset(),
    "thorough": Preset(steps=2.0),
}
"""By name."""
