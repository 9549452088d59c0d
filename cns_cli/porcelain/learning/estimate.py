"""`cns add --dry-run`: what a training would take: its arithmetic is counted, and a few passes are timed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from cns.cost import image_cost
from cns.errors import ClassNounError
from cns.files.bases import resolve_base
from cns.files.images import ImageSet
from cns.judges.files import judges_bytes
from cns.precision import training_dtype
from cns.timing import pace_of
from cns_cli.porcelain.answers import DryRun
from cns_cli.porcelain.learning.captioning import SHOWN
from cns_cli.porcelain.learning.continuing import Earlier
from cns_cli.porcelain.learning.general import general_neurons_known
from cns_cli.porcelain.learning.learn import settings_for
from cns_cli.porcelain.learning.memory import latent_side
from cns_cli.porcelain.learning.needs import needs_of
from cns_cli.porcelain.learning.subject import Subject, known_tokens, own_token, settle_subject, training_prompts
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.kept import Kept
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import DEFAULT_BASE, DEFAULT_COMPOSE, AddOptions
from cns_cli.progress import Progress
from registry.objects import Tree
from registry.repository import Repository

MASK_AND_VALUE_BITS = 15
"""Bits that a number of a change costs at most (docs/benchmarks.md)."""

Nouns = tuple[tuple[str, float], ...]
"""Class nouns with their probabilities, the likeliest first."""


def estimate(
    options: AddOptions,
    photos: ImageSet,
    repo: Repository | None,
    progress: Progress,
    kept: Kept,
    checked: Callable[[], object] | None = None,
) -> DryRun:
    """Measure what `cns add` would take; nothing is written.

    Time: what it computes, at the pace of a few passes. Memory: what the base takes, and a step's activations.

    Args:
        options: The request.
        photos: Its images, read.
        repo: Where; None: there is no registry yet.
        progress: Told of progress.
        kept: Opens the base.
        checked: As of `Session.open`.
    """
    began = time.monotonic()
    progress.stage("load the model")
    session = None if repo is None else kept.open(repo, options.device, options.dtype, checked)
    base = session.base if session else kept.bare(resolve_base(DEFAULT_BASE), options.device, options.dtype)
    tree = None if session is None else _head(session)
    earlier = None if session is None or tree is None else Earlier.of(session, tree, options)
    options = earlier.told(options) if earlier else options
    subject, nouns, unclear = _subject(base, options, photos, session)
    subject = earlier.joined(subject) if earlier else subject
    compose = DEFAULT_COMPOSE if tree is None else tree.compose
    images, resolution = len(subject.images.images), subject.images.pixels.shape[1]
    settings = settings_for(base, options, compose, images)
    settings = earlier.kept(settings) if earlier else settings
    settings.check()
    loaded = time.monotonic() - began
    progress.stage("count, and time a step")
    known = session is not None and general_neurons_known(base, settings, session.cache, _head(session).base)
    count, judges = partial(kept.once, image_cost), judges_bytes(base.family, base.folder, base.encoder)
    needs = needs_of(base, options, settings, images, resolution, known, count, judges)
    mixed = training_dtype(base.model.pipeline, settings.dtype)
    side = latent_side(base, resolution)
    pace = kept.once(pace_of, base.model, side, needs.image, settings.batch_size, mixed)
    steps = settings.steps + settings.warmup_steps
    changed = settings.directions * sum(map(len, base.model.base.values())) or settings.budget
    return DryRun(
        name=options.name,
        images=images,
        steps=steps,
        seconds=loaded + pace.seconds(steps, needs.work.training, needs.work.drawing),
        step_seconds=pace.seconds(1, needs.work.steps / steps),
        memory_bytes=kept.beside_bytes + needs.memory_bytes,
        disk_bytes=math.ceil(changed * MASK_AND_VALUE_BITS / 8) + options.keep_images * subject.images.pixels.nbytes,
        device=str(base.device),
        class_nouns=nouns,
        captions=subject.captions,
        masks=photos.masks_taken,
        class_noun=subject.class_noun,
        prompts=tuple(choices[0] for choices in training_prompts(base, subject)[:SHOWN]),
        warnings=(*unclear, *subject.warnings),
    )


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
