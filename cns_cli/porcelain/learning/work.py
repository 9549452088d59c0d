"""What an add computes, counted before it begins: FLOPs of its parts. The judges' are under a thousandth of it."""

from __future__ import annotations

from dataclasses import dataclass

from cns.cost import ImageCost
from cns.general import LATENT_STEPS, TIMESTEPS
from cns.scores import needs_batches
from cns.steps import passes
from cns.task import Settings
from cns.training import SCORE_BATCHES
from cns.validation import draws_of, validation_steps
from cns_cli.porcelain.learning.judged import Viewing
from cns_cli.porcelain.learning.samples import PICTURES
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.options import AddOptions


@dataclass(frozen=True)
class Work:
    """FLOPs of an add.

    Attributes:
        steps: The training's own: what a loop that trains and does nothing else spends.
        training: All that is computed as training is: steps, validation, scores, votes.
        drawing: All that is computed as pictures are.
    """

    steps: int
    training: int
    drawing: int

    @property
    def share(self) -> float:
        """All of it, as a multiple of the steps alone."""
        return (self.training + self.drawing) / self.steps


def work_of(
    base: LoadedBase,
    options: AddOptions,
    settings: Settings,
    cost: ImageCost,
    own: ImageCost,
    images: int,
    general_known: bool,
    recomputed: bool = False,
) -> Work:
    """Count an add.

    Args:
        base: The base.
        options: The request.
        settings: Those of its training.
        cost: Of an image that is trained on.
        own: Of one at the base's own resolution, as pictures and the votes of calibration prompts are.
        images: How many the concept has.
        general_known: Whether no calibration prompt must vote.
        recomputed: Whether activations are computed again.
    """
    size, family = settings.batch_size, base.family.defaults
    steps = (settings.warmup_steps + settings.steps * (2 if settings.prior else 1)) * size * cost.step
    again = steps // cost.step * cost.forward if recomputed else 0
    training = steps + again + len(validation_steps(settings.steps)) * draws_of(size) * cost.forward
    drawn = (images + settings.prior) * cost.encode
    if needs_batches(settings.score) and not settings.directions:
        training += SCORE_BATCHES * size * cost.step
        if not general_known:
            prompts = len(base.calibration.selection)
            training += prompts * TIMESTEPS * own.step
            drawn += prompts * LATENT_STEPS * own.forward
    samples = settings.steps // options.samples * PICTURES if options.samples else 0
    pictures = Viewing.of(base, options).pictures + settings.prior + samples
    each = own.picture(passes(base.model.pipeline.scheduler, family.sampler_steps), family.guidance)
    return Work(steps, training, drawn + pictures * each)
