"""`cns add --dry-run`: what a training would take, measured on a few of its own steps."""

from __future__ import annotations

import math
import resource
import sys
import time
from dataclasses import replace

from cns.errors import ClassNounError
from cns.files.bases import describe_base, resolve_base
from cns.files.images import ImageSet
from cns.general import LATENT_STEPS, TIMESTEPS
from cns.scores import needs_batches
from cns.task import Settings
from cns.timing import time_steps
from cns.validation import DRAWS, TIMES
from cns_cli.porcelain.answers import DryRun
from cns_cli.porcelain.learning.captioning import SHOWN
from cns_cli.porcelain.learning.continuing import Earlier
from cns_cli.porcelain.learning.general import general_neurons_known
from cns_cli.porcelain.learning.learn import JUDGED_IMAGES, settings_for
from cns_cli.porcelain.learning.samples import PICTURES
from cns_cli.porcelain.learning.subject import Subject, known_tokens, own_token, settle_subject, training_prompts
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import DEFAULT_BASE, DEFAULT_COMPOSE, AddOptions
from cns_cli.progress import Progress
from registry.objects import Tree
from registry.repository import Repository

MASK_AND_VALUE_BITS = 15
"""Bits that a number of a change costs at most (docs/benchmarks.md)."""

Nouns = tuple[tuple[str, float], ...]
"""Class nouns with their probabilities, the likeliest first."""


def estimate(options: AddOptions, photos: ImageSet, repo: Repository | None, progress: Progress) -> DryRun:
    """Measure what `cns add` would take; nothing is written.

    Time: a few steps and a few images are timed and multiplied. Memory: the process's peak so far.
    """
    began = time.monotonic()
    progress.stage("load the model")
    session, base = _opened(options, repo)
    tree = None if session is None else _head(session)
    earlier = None if session is None or tree is None else Earlier.of(session, tree, options)
    options = earlier.told(options) if earlier else options
    subject, nouns, unclear = _subject(base, options, photos, session)
    subject = earlier.joined(subject) if earlier else subject
    compose = DEFAULT_COMPOSE if tree is None else tree.compose
    settings = settings_for(base, options, compose, len(subject.images.images))
    settings = earlier.kept(settings) if earlier else settings
    settings.check()
    loaded = time.monotonic() - began
    progress.stage("time a few steps")
    per_step = time_steps(base.model, subject.images.pixels, subject.class_noun, settings)
    start = time.monotonic()
    base.images([f"a {subject.class_noun}"] * 4, range(4))
    per_image = (time.monotonic() - start) / 4
    drawn = _pictures(base, options, settings) * per_image
    if session is None or not general_neurons_known(base, settings, session.cache, _head(session).base):
        drawn += len(base.calibration.selection) * _vote_seconds(settings, per_step, per_image, base)
    changed = settings.directions * sum(map(len, base.model.base.values())) or settings.budget
    return DryRun(
        name=options.name,
        images=len(subject.images.images),
        steps=settings.steps + settings.warmup_steps,
        seconds=loaded + (loss_passes(settings) + _validated(settings)) * per_step + drawn,
        memory_bytes=_peak_memory_bytes(),
        disk_bytes=math.ceil(changed * MASK_AND_VALUE_BITS / 8) + options.keep_images * subject.images.pixels.nbytes,
        device=str(base.device),
        class_nouns=nouns,
        captions=subject.captions,
        masks=photos.masks_taken,
        class_noun=subject.class_noun,
        prompts=tuple(choices[0] for choices in training_prompts(base, subject)[:SHOWN]),
        warnings=(*unclear, *subject.warnings),
    )


def _opened(options: AddOptions, repo: Repository | None) -> tuple[Session | None, LoadedBase]:
    """The registry, opened, and its base; without a registry the embedded base."""
    if repo is None:
        folder = resolve_base(DEFAULT_BASE)
        return None, LoadedBase.open(folder, describe_base(folder), options.device)
    session = Session.open(repo, options.device)
    return session, session.base


def _head(session: Session) -> Tree:
    return session.repo.tree_of(session.repo.head().commit)


def _subject(
    base: LoadedBase, options: AddOptions, photos: ImageSet, session: Session | None
) -> tuple[Subject, Nouns, tuple[str, ...]]:
    """What would be learned, what else the images may show, and why the training would refuse that."""
    own, known = None, list[str]()
    if session is not None:
        own, known = own_token(session, _head(session), options), known_tokens(session, _head(session), options)
    try:
        subject = settle_subject(base, options, photos, own, known)
        nouns = () if subject.confidence is None else ((subject.class_noun, subject.confidence),)
        return subject, nouns, ()
    except ClassNounError as unclear:
        likeliest = replace(options, class_noun=unclear.candidates[0][0])
        subject = settle_subject(base, likeliest, photos, own, known)
        return subject, tuple(unclear.candidates), (f"{unclear.message}; {unclear.hint}",)


def loss_passes(settings: Settings) -> int:
    """How many losses a training differentiates: images of the class, if there are any, have one of their own."""
    return settings.warmup_steps + settings.steps * (2 if settings.prior else 1)


def _validated(settings: Settings) -> float:
    """About how many steps the validation losses take the time of: without a gradient, a third of a loss each."""
    return (TIMES + 1) * DRAWS / settings.batch_size / 3


def _pictures(base: LoadedBase, options: AddOptions, settings: Settings) -> int:
    """How many pictures are drawn: by the judge's prompts before and after, of the class, and samples."""
    judged = 2 * JUDGED_IMAGES * len(base.family.templates(options.kind).judge)
    samples = settings.steps // options.samples * PICTURES if options.samples else 0
    return judged + settings.prior + samples


def _vote_seconds(settings: Settings, per_step: float, per_image: float, base: LoadedBase) -> float:
    """About how long a calibration prompt's vote for general neurons takes: a rough latent and one small batch."""
    if not needs_batches(settings.score):
        return 0.0
    latent = per_image * LATENT_STEPS / base.family.defaults.sampler_steps / 2  # without guidance
    return latent + per_step * TIMESTEPS / settings.batch_size


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
