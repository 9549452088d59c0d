"""What is wrong with a result whose figures look good.

Identity rises whenever pictures come nearer to the training images, whether or not these are anything that the base can
draw, and whether or not a prompt is still followed. What it cannot tell is in docs/check.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cns.continual import is_learned
from cns.imagescores import Scores
from cns.reconstruction import reconstruction_error
from cns.sampling import Pixels
from cns_cli.porcelain.models.base import LoadedBase

Told = NDArray[np.bool_]

MAX_FALL = 0.15
"""Fall from which on it is said, of the share of pictures that CLIP tells by their prompt (chosen: 3 of 20)."""

MAX_LOSS = 0.1
"""Of the main score, from prompts with a background to the phrase alone; chosen: three times what is aimed at."""


def not_drawn(base: LoadedBase, images: Pixels) -> tuple[str, ...]:
    """Warn of pictures that the base cannot draw, however well they are learned; see `cns.reconstruction`.

    Args:
        base: Its family says how much of a picture may be lost; None where that has not been measured.
        images: Shape (N, R, R, 3), uint8.
    """
    most = base.family.max_reconstruction_error
    if most is None or (lost := reconstruction_error(base.model.pipeline, images)) <= most:
        return ()
    warning = (
        f"these images are not of the kind that the base draws: its autoencoder changes them by {lost:.1f} of 255 "
        f"levels, drawings by at most {most:g}; from photographs it learns smudges, however high identity becomes"
    )
    return (warning,)


def weaker_alone(phrase: str, after: Scores, alone: Scores) -> tuple[str, ...]:
    """Warn where a concept's phrase alone shows less of it than prompts that name a background: beyond `MAX_LOSS`.

    Args:
        phrase: How prompts call it.
        after: Of the judge's prompts.
        alone: Of the phrase alone.
    """
    with_background, bare = after.main.mean(), alone.main.mean()
    if with_background - bare <= MAX_LOSS:
        return ()
    warning = (
        f'"a {phrase}" alone shows less of it than prompts that name a background ({bare:.3f} against '
        f"{with_background:.3f}): say where it is"
    )
    return (warning,)


def less_followed(before: Told, after: Told) -> tuple[str, ...]:
    """Warn where prompts are followed less by the concept than by its noun: beyond `MAX_FALL`, and beyond noise.

    CLIP-T is no measure of that: it falls as well where the concept looks unlike others of its class, as a blue
    mushroom does, in pictures that show every background as it was asked for.

    Args:
        before: Of the noun, which pictures CLIP tells by their own prompt (`told_by_prompt`), shape (P, n).
        after: Of the concept, likewise.
    """
    falls = before.mean(1) - after.mean(1)
    if falls.mean() <= MAX_FALL or not is_learned(falls):
        return ()
    warning = (
        f"prompts are followed less than with the class noun alone: CLIP tells {after.mean():.0%} of the pictures by "
        f"their prompt, and told {before.mean():.0%}: look at the preview, and try fewer --steps, or captions that "
        "name the background"
    )
    return (warning,)
