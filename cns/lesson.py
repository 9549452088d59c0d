"""What a training is given and what it gives back: plain records, without a step of the training itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cns.compose import ConceptWeights
from cns.drift import Moments
from cns.errors import SettingsError
from cns.regularizers import REGULARIZERS, PastConcept
from cns.selection import SCORES, Selection


@dataclass(frozen=True)
class Settings:
    """How to learn a concept; `cns.families.Defaults` has the defaults and says where they come from.

    Attributes:
        score: Key of `SCORES`.
        reg: Key of `REGULARIZERS`.
        reg_strength: a, the pull toward what was learned before.
        anchor_strength: b, the pull toward the base.
        steps: Finetuning steps.
        warmup_steps: Token-only steps before scoring.
        lr: Learning rate of the masked weights.
        token_lr: Learning rate of the token's row.
        batch_size: Images a step.
        budget: How many weights may change.
        general_ratio: Share of a row that counts as active for a calibration prompt.
        general_vote: Share of the calibration prompts that make a weight general.
        seed: Seeds everything random.
    """

    score: str
    reg: str
    reg_strength: float
    anchor_strength: float
    steps: int
    warmup_steps: int
    lr: float
    token_lr: float
    batch_size: int
    budget: int
    general_ratio: float
    general_vote: float
    seed: int

    def check(self) -> None:
        """Raise SettingsError for a value that cannot work."""
        if self.score not in SCORES:
            raise SettingsError(f"no score {self.score!r}; there are {', '.join(SCORES)}", hint="cns add --help")
        if self.reg not in REGULARIZERS:
            raise SettingsError(
                f"no regularizer {self.reg!r}; there are {', '.join(REGULARIZERS)}", hint="cns add --help"
            )
        if self.steps < 1 or self.batch_size < 1 or self.budget < 1 or self.lr <= 0 or self.token_lr <= 0:
            raise SettingsError("steps, batch size, budget and learning rates must be positive", hint="cns add --help")


@dataclass(frozen=True)
class Lesson:
    """What is to be learned.

    Attributes:
        name: The concept's name.
        class_noun: What it is one of.
        token: Its special token; not in the vocabulary yet.
        images: Shape (N, R, R, 3), uint8.
        prompts: For each image, the prompts that may describe it; they contain the token.
    """

    name: str
    class_noun: str
    token: str
    images: NDArray[np.uint8]
    prompts: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Surroundings:
    """What the lesson must respect.

    Attributes:
        past: Earlier concepts of this model.
        calibration: Moments of the calibration prompts, for the anchor to the base.
        general: General neurons of this base under this score (see `cns.general.find_general_neurons`).
    """

    past: Sequence[PastConcept]
    calibration: Moments
    general: Mapping[str, Tensor]


@dataclass(frozen=True)
class Learned:
    """A learned concept and how it came.

    Attributes:
        weights: Token rows and the change on the grid.
        selection: Masks and shares.
        series: Per-step figures: `warmup_loss`, `loss` (denoising), `penalty` (regularization).
        settings: The settings, as plain values.
    """

    weights: ConceptWeights
    selection: Selection
    series: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, float | int | str] = field(default_factory=dict)
