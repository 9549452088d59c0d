"""What a training is given and what it gives back: plain records, without a step of the training itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cns import extensions
from cns.compose import ConceptWeights
from cns.drift import Moments
from cns.errors import SettingsError
from cns.regularizers import REGULARIZERS, PastConcept, regularizer_named
from cns.selection import SCORES, Selection, score_named


@dataclass(frozen=True)
class Settings:
    """How to learn a concept; `cns.families.Defaults` has the defaults and says where they come from.

    Attributes:
        score: Name of a score, built-in or a plugin's.
        reg: Name of a regularizer, likewise.
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

    @property
    def plugins(self) -> dict[str, str]:
        """The packages, with their versions, that give the score and the regularizer; empty if all are built in."""
        from_packages = {
            "score": extensions.origin(extensions.SCORES, self.score, SCORES),
            "reg": extensions.origin(extensions.REGULARIZERS, self.reg, REGULARIZERS),
        }
        return {what: package for what, package in from_packages.items() if package}

    def check(self) -> None:
        """Raise SettingsError for a value that cannot work, and ExtensionError for a plugin that cannot."""
        score_named(self.score)
        regularizer_named(self.reg)
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
        plugins: Packages that gave the score or the regularizer, see `Settings.plugins`.
    """

    weights: ConceptWeights
    selection: Selection
    series: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, float | int | str] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)
