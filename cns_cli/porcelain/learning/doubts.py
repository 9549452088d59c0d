"""What is wrong with a result whose figures look good.

Identity rises whenever pictures come nearer to the training images, whether or not these are anything that the base can
draw, and whether or not a prompt is still followed. What it cannot tell is in docs/check.md.
"""

from __future__ import annotations

from cns.continual import is_learned
from cns.imagescores import Scores
from cns.reconstruction import reconstruction_error
from cns.sampling import Pixels
from cns_cli.porcelain.models.base import LoadedBase

MAX_FALL = 0.15
"""Fall of CLIP-T from the class noun to the concept from which on it is said. Of 120 trainings of the repository's
streams half fell by less than 0.08, one in four by more than 0.13 and one in ten by more than 0.25."""

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


def less_followed(before: Scores, after: Scores) -> tuple[str, ...]:
    """Warn where prompts are followed less by the concept than by its noun: beyond `MAX_FALL`, and beyond noise."""
    falls = (before.clip_t - after.clip_t).mean(1)
    if falls.mean() <= MAX_FALL or not is_learned(falls):
        return ()
    warning = (
        f"prompts are followed less than with the class noun alone, CLIP-T {before.clip_t.mean():.3f} -> "
        f"{after.clip_t.mean():.3f}: look at the preview, and try fewer --steps, or captions that name the background"
    )
    return (warning,)
