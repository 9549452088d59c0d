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
class Measured:
    """What a row costs and gains on the embedded base, by `benchmarks/presets.py`; a test holds it to that table.

    Attributes:
        time: Processor time of `cns add`, as a multiple of that of `balanced`.
        gain: Of identity, cosine, over the class noun alone.
        drop: How much lower the first concept's identity is once another is learned.
    """

    time: float
    gain: float
    drop: float


@dataclass(frozen=True)
class Preset:
    """A row of settings.

    Attributes:
        measured: What it costs and gains.
        steps: Factor on the finetuning steps.
        warmup: Factor on the steps that train the token alone.
    """

    measured: Measured
    steps: float = 1.0
    warmup: float = 1.0

    def of(self, family: Family) -> Family:
        """The family with these settings in the place of its defaults."""
        own = family.defaults
        steps, warmup = round(own.steps * self.steps), round(own.warmup_steps * self.warmup)
        return replace(family, defaults=replace(own, steps=steps, warmup_steps=warmup))


PRESETS: Mapping[str, Preset] = {
    "fast": Preset(Measured(0.7, 0.63, 0.0), steps=0.4, warmup=0.5),
    BALANCED: Preset(Measured(1.0, 0.635, 0.0)),
    "thorough": Preset(Measured(1.5, 0.638, 0.0), steps=2.0),
}
"""By name."""

PRESETS_IN_SHORT = "; ".join(
    f"{name}, {preset.measured.time:g} x the time, gain {preset.measured.gain:.3f}, drop {preset.measured.drop:.3f}"
    for name, preset in PRESETS.items()
)
"""What they cost and gain, for help pages."""
