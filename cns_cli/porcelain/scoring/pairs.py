"""Two concepts in one picture: is each of them in it? Identity in the best window, of both from the same pictures.

A prompt that names two concepts may draw one of them, or a blend: that is seen in no picture of a single one. A pair
has one set of pictures, whichever of the two is asked about. Only scores are kept: features of windows are many, and
no other score needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cns.errors import MetricError
from cns.imagescores import Array
from cns.templates import Named, fill_template, fill_templates
from cns.windows import best_similarities
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.scoring.keys import EvaluationKey
from cns_cli.porcelain.scoring.protocol import image_seed

CHUNK = 64
"""Images in memory at a time."""


@dataclass(frozen=True)
class Pair:
    """Pictures of two concepts that are to be drawn.

    Attributes:
        keys: What is asked of them: of one of the two, or of both.
        prompts: Of `pair_prompts`.
        span: Numbers of the images of each prompt.
    """

    keys: tuple[EvaluationKey, ...]
    prompts: tuple[str, ...]
    span: range

    @property
    def images(self) -> int:
        """How many they are."""
        return len(self.prompts) * len(self.span)


def pair_prompts(templates: Sequence[str], one: Named, two: Named) -> list[str]:
    """The judge prompts with both, in the order of their phrases: "a <rex> dog and a <tom> cat on the beach"."""
    first, second = sorted((one.phrase, two.phrase))
    return fill_templates(templates, f"{first} and {fill_template('a {}', second)}")


def pair_scores(
    base: LoadedBase, prompts: Sequence[str], span: range, seed: int, references: Sequence[NDArray[np.float32] | None]
) -> list[Array]:
    """Draw a pair with the live model, and score each concept in the best window of each picture.

    Args:
        base: Its live model is the one to judge.
        prompts: Of `pair_prompts`, P of them.
        span: Numbers of the images of each prompt.
        seed: First seed of the protocol.
        references: Features of each concept's references in the identity judge; None where there are none.

    Returns:
        For each concept the identity of each image, (P, n).

    Raises:
        MetricError: the base has no identity judge, or a concept no references in it.
    """
    judge = base.encoders.get("identity")
    known = [one for one in references if one is not None]
    if judge is None or len(known) < len(references):
        raise MetricError("there is no identity judge, or no references in it", metric="pair")
    pairs = [(prompt, image_seed(seed, row, k)) for row, prompt in enumerate(prompts) for k in span]
    found: list[list[Array]] = [[] for _ in references]
    for start in range(0, len(pairs), CHUNK):
        asked, seeds = zip(*pairs[start : start + CHUNK], strict=True)
        images = base.images(asked, seeds)
        for scores, more in zip(found, best_similarities(images, judge.image_features, known), strict=True):
            scores.append(more)
    return [np.concatenate(scores).reshape(len(prompts), len(span)) for scores in found]
