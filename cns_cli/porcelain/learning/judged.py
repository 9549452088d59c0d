"""Pictures of a concept around its training, and what they score: before, after, and of its phrase alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cns.continual import is_learned
from cns.imagescores import Scores
from cns.sampling import Pixels
from cns_cli.porcelain.learning.subject import Subject
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.options import AddOptions
from cns_cli.porcelain.scoring.judging import (
    ALONE,
    Features,
    features_of,
    judge_images,
    score_features,
    told_by_prompt,
)

ALONE_IMAGES = 8
"""Images of the phrase alone, at most: a row of the preview."""
TELLING = 6
"""Prompts below which a gain is not called learned or not (chosen): over fewer its standard error is one of luck."""


@dataclass(frozen=True)
class Judged:
    """Images of the judge's prompts, prompt by prompt.

    Attributes:
        pictures: Shape (P * n, R, R, 3), uint8.
        scores: What they score, each (P, n).
        told: Which of them CLIP tells by their own prompt, (P, n).
    """

    pictures: Pixels
    scores: Scores
    told: NDArray[np.bool_]


@dataclass(frozen=True)
class Viewing:
    """What is drawn of a concept before and after its training.

    Attributes:
        templates: Of the judge's prompts: all, or the first.
        each: Pictures of each.
        alone: Pictures of the phrase alone.
        whole: Whether all of the judge's prompts are among them, so that a check may go on from the scores.
    """

    templates: Sequence[str]
    each: int
    alone: int
    whole: bool

    @classmethod
    def of(cls, base: LoadedBase, options: AddOptions) -> Viewing:
        """As many pictures as are asked for, in whole rounds of prompts; else as the family says."""
        count = options.preview or base.family.defaults.preview
        judge = base.family.templates(options.kind).judge
        alone = 0 if options.kind == "style" else min(ALONE_IMAGES, count)  # a style is no thing
        return cls(judge[:count], -(-count // len(judge)), alone, count >= len(judge))

    @property
    def pictures(self) -> int:
        """How many are drawn in all."""
        return 2 * len(self.templates) * self.each + self.alone

    def judged(self, base: LoadedBase, subject: Subject, words: str, references: Features, seed: int) -> Judged:
        """Images of the judge's prompts with these words, by the live model, and their scores."""
        return _judged(base, subject, words, references, seed, self.templates, self.each)

    def judged_alone(self, base: LoadedBase, subject: Subject, references: Features, seed: int) -> Judged | None:
        """Images of the phrase as the whole prompt, likewise; None where none are drawn."""
        return _judged(base, subject, subject.phrase, references, seed, ALONE, self.alone) if self.alone else None


def was_learned(before: Scores, after: Scores) -> bool:
    """Whether the gain is at least three standard errors over prompts; where these are `few`, whether there is one."""
    gains = (after.main - before.main).mean(1)
    return bool(gains.mean() > 0) if few(after) else is_learned(gains)


def few(scores: Scores) -> bool:
    """Whether they are of too few prompts to tell noise from learning."""
    return scores.prompts < TELLING


def _judged(
    base: LoadedBase, subject: Subject, words: str, references: Features, seed: int, templates: Sequence[str], each: int
) -> Judged:
    pictures = judge_images(base, words, 0, each, seed, subject.kind, templates)
    generated, texts = features_of(base, pictures, subject.class_noun, subject.kind, templates)
    return Judged(pictures, score_features(generated, references, texts), told_by_prompt(generated, texts))
