"""What a training is given and what it gives back: plain records, without a step of the training itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cns import extensions
from cns.compose import ConceptWeights, Weights
from cns.directions import BASES
from cns.drift import Moments
from cns.errors import SettingsError
from cns.families import TrainingSettings
from cns.regularizers import REGULARIZERS, PastConcept, regularizer_named
from cns.selection import SCORES, Selection, score_named
from cns.templates import Kind

MAX_VECTORS = 16
"""Of 77 positions a prompt has; the registry takes 64 (chosen)."""


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How to learn a concept; `cns.families.Defaults` has the defaults and says where they come from.

    Attributes:
        budget: How many weights may change.
        seed: Seeds everything random.
        past_vote: Share of the earlier concepts that must hold a weight for it to be left out as if it were general;
            None = their masks have no vote.
        vectors: Embedding rows of the special token.
        init: Words whose mean embedding the token starts at; empty = the class noun.
        norm_guard: Keep the length of each of the token's rows within the band of `cns.text.norm_bands`.
        prior: Images of the class noun that the base makes and that are trained on beside the concept's; 0 = none.
        directions: Rank r of the change under `cns.directions`; 0 = a mask.
        basis: How its directions are found, one of `cns.directions.BASES`.
        hold_out: Images, the last of the task's, that are not trained on: the validation loss is theirs. Of 0 it is
            that of all images.
        bare_share: Share of the draws of a captioned image that see the phrase alone, "a <rex> dog", instead.
        dtype: In which number format it computes, as it was asked for; see `cns.precision.training_dtype`.
    """

    budget: int
    seed: int
    past_vote: float | None = None
    vectors: int = 1
    init: str = ""
    norm_guard: bool = False
    prior: int = 0
    directions: int = 0
    basis: str = "best"
    hold_out: int = 0
    bare_share: float = 0.0
    dtype: str = "auto"

    def plain(self) -> dict[str, float | int | str]:
        """The settings as plain values; one that came later stands there only where it is not the default.

        So what was stored or begun before a setting existed still compares equal to what is the same.
        """
        optional = {one.name: one.default for one in fields(self) if one.default is not MISSING}
        return {name: value for name, value in asdict(self).items() if optional.get(name, MISSING) != value}

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
        rates = (self.lr, self.token_lr)
        if self.steps < 1 or self.batch_size < 1 or self.budget < 1 or not all(0 < rate < math.inf for rate in rates):
            raise SettingsError("steps, batch size, budget and learning rates must be positive", hint="cns add --help")
        if min(self.warmup_steps, self.anchor_strength, self.reg_strength, self.prior, self.hold_out) < 0:
            raise SettingsError("warm-up steps, strengths and numbers of images cannot be negative", "cns add --help")
        if not 0 < self.general_ratio <= 1 or not 0 < self.general_vote <= 1:
            raise SettingsError(
                f"general ratio {self.general_ratio:g}, vote {self.general_vote:g}: expected shares above 0, at most 1",
                hint="cns add --help",
            )
        if not 0 <= self.bare_share <= 1:
            raise SettingsError(f"bare share {self.bare_share:g}: expected 0 to 1", hint="cns add --help")
        if self.past_vote is not None and not 0 < self.past_vote <= 1:
            raise SettingsError(
                f"past vote {self.past_vote:g}: expected a share above 0 and at most 1", "cns add … --past-vote 0.5"
            )
        if self.directions < 0 or self.basis not in BASES:
            raise SettingsError(
                f"{self.directions} directions by {self.basis!r}: expected 0 or more, by one of {', '.join(BASES)}",
                "cns add --help",
                name="directions",
            )
        if self.directions and self.reg.startswith("project"):
            raise SettingsError(
                f"{self.reg!r} projects within a mask, and {self.directions} directions have none",
                "cns add … --reg features",
                name="reg",
            )
        if not 1 <= self.vectors <= MAX_VECTORS:
            raise SettingsError(
                f"{self.vectors} vectors a token: expected 1 to {MAX_VECTORS}", hint="cns add … --vectors 2"
            )


@dataclass(frozen=True)
class TrainingTask:
    """What is to be learned.

    Attributes:
        name: The concept's name.
        class_noun: What it is one of.
        token: Its special token; not in the vocabulary yet.
        images: Shape (N, R, R, 3), uint8.
        prompts: For each image, the prompts that may describe it; they contain the token.
        prior: Images of the class noun as the base draws it, shape (P, R, R, 3), uint8, for `Settings.prior`; or None.
        prior_prompts: One for each of them.
        kind: An object or a style.
        image_masks: Where the concept is in each image, shape (N, R, R), uint8, 255 there: the loss weighs less outside
            (`cns.denoising.loss_weights`); or None.
        start: The same concept as it was learned before, to go on from: its rows and its change are where the training
            begins, and what may change stays its mask or its directions; None begins at the class noun and at nothing.
        framings: How each image was cut out of its original, see `cns.files.squares.Framing`, shape (N, 4); None: it is
            a whole picture.
    """

    name: str
    class_noun: str
    token: str
    images: NDArray[np.uint8]
    prompts: Sequence[Sequence[str]]
    prior: NDArray[np.uint8] | None = None
    prior_prompts: Sequence[str] = ()
    kind: Kind = "object"
    image_masks: NDArray[np.uint8] | None = None
    start: ConceptWeights | None = None
    framings: NDArray[np.int32] | None = None

    def prompts_with_bare(self, share: float) -> list[list[str]]:
        """The prompts, so repeated that `share` of an image's draws see the phrase alone where it has one caption."""
        bare = f"a {self.token} {self.class_noun}"
        part = Fraction(share).limit_denominator(64)
        rest = part.denominator - part.numerator
        return [[*one] if len(one) > 1 else [*one * rest, *[bare] * part.numerator] for one in map(list, self.prompts)]


@dataclass(frozen=True)
class TrainingConstraints:
    """What the training must respect.

    Attributes:
        past: Earlier concepts of this model.
        calibration: Moments of the calibration prompts, for the anchor to the base.
        general: General neurons of this base under this score (see `cns.general.find_general_neurons`).
        masks: Masks of earlier concepts, for `Settings.past_vote`; they need not be in `past`.
        base: What the anchor ties to, where that is not the bare base: the base with what it erases.
    """

    past: Sequence[PastConcept]
    calibration: Moments
    general: Mapping[str, Tensor]
    masks: Sequence[Mapping[str, Tensor]] = ()
    base: Weights | None = None


@dataclass(frozen=True)
class Learned:
    """A learned concept and how it came.

    Attributes:
        weights: Token rows and the change on the grid.
        selection: Masks and shares.
        series: Per-step figures: `warmup_loss`, `loss` (denoising), `penalty` (regularization), and under a projection
            `energy_left`, the share of each step's squared length that was applied; and `validation_loss`, after the
            steps of `cns.validation.validation_steps`.
        settings: The settings, as plain values.
        plugins: Packages that gave the score or the regularizer, see `Settings.plugins`.
    """

    weights: ConceptWeights
    selection: Selection
    series: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, float | int | str] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)
