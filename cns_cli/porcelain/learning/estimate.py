"""`cns add --dry-run`: what a training would take, measured on a few of its own steps."""

from __future__ import annotations

import math
import resource
import sys
import time
from pathlib import Path

from cns.errors import ClassNounError
from cns.files.bases import describe_base, resolve_base
from cns.files.images import ImageSet
from cns.general import LATENT_STEPS, TIMESTEPS
from cns.scores import needs_batches
from cns.task import Settings
from cns.timing import time_steps
from cns_cli.porcelain.answers import DryRun
from cns_cli.porcelain.learning.general import general_neurons_known
from cns_cli.porcelain.learning.learn import JUDGED_IMAGES, settings_for
from cns_cli.porcelain.learning.subject import class_noun_of
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.models.stored import STYLE_NOUN
from cns_cli.porcelain.options import DEFAULT_BASE, AddOptions
from cns_cli.progress import Progress
from registry.repository import Repository

MASK_AND_VALUE_BITS = 15
"""Bits that a changed weight costs at most (docs/benchmarks.md)."""

Nouns = tuple[tuple[str, float], ...]
"""Class nouns with their probabilities, the likeliest first."""


def estimate(options: AddOptions, photos: ImageSet, repo: Repository | None, progress: Progress) -> DryRun:
    """Measure what `cns add` would take; nothing is written.

    Time: a few steps and a few images are timed and multiplied. Memory: the process's peak so far.
    """
    began = time.monotonic()
    progress.stage("load the model")
    base, cache, base_id = _opened(options, repo)
    settings = settings_for(base, options)
    settings.check()
    nouns, unclear = _class_nouns(base, options, photos)
    loaded = time.monotonic() - began
    progress.stage("time a few steps")
    noun = options.class_noun or (STYLE_NOUN if options.kind == "style" else nouns[0][0])
    per_step = time_steps(base.model, photos.pixels, noun, settings)
    start = time.monotonic()
    base.images([f"a {noun}"] * 4, range(4))
    per_image = (time.monotonic() - start) / 4
    drawn = (2 * JUDGED_IMAGES * len(base.family.templates(options.kind).judge) + settings.prior) * per_image
    if not general_neurons_known(base, settings, cache, base_id):
        drawn += len(base.calibration.selection) * _vote_seconds(settings, per_step, per_image, base)
    return DryRun(
        name=options.name,
        images=len(photos.images),
        steps=settings.steps + settings.warmup_steps,
        seconds=loaded + loss_passes(settings) * per_step + drawn,
        memory_bytes=_peak_memory_bytes(),
        disk_bytes=math.ceil(settings.budget * MASK_AND_VALUE_BITS / 8)
        + (photos.pixels.nbytes if options.keep_images else 0),
        device=str(base.device),
        class_nouns=nouns,
        warnings=tuple(warning for warning in (photos.warning, unclear) if warning),
    )


def _opened(options: AddOptions, repo: Repository | None) -> tuple[LoadedBase, Path | None, str]:
    """The base, loaded, its registry's cache, and its id; without a registry the embedded base, which has neither."""
    if repo is None:
        folder = resolve_base(DEFAULT_BASE)
        return LoadedBase.open(folder, describe_base(folder), options.device), None, ""
    session = Session.open(repo, options.device)
    return session.base, session.cache, repo.tree_of(repo.head().commit).base


def _class_nouns(base: LoadedBase, options: AddOptions, images: ImageSet) -> tuple[Nouns, str | None]:
    """What the images would be taken for, where the user does not say it; and why the training would refuse it."""
    if options.class_noun is not None or options.kind == "style":
        return (), None
    try:
        found = class_noun_of(base, options, images)
    except ClassNounError as unclear:
        return tuple(unclear.candidates), f"{unclear.message}; {unclear.hint}"
    return ((found.noun, found.probability),), None


def loss_passes(settings: Settings) -> int:
    """How many losses a training differentiates: images of the class, if there are any, have one of their own."""
    return settings.warmup_steps + settings.steps * (2 if settings.prior else 1)


def _vote_seconds(settings: Settings, per_step: float, per_image: float, base: LoadedBase) -> float:
    """About how long a calibration prompt's vote for general neurons takes: a rough latent and one small batch."""
    if not needs_batches(settings.score):
        return 0.0
    latent = per_image * LATENT_STEPS / base.family.defaults.sampler_steps / 2  # without guidance
    return latent + per_step * TIMESTEPS / settings.batch_size


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
