"""From a registry's past and a folder's images to a training: prompts, earlier concepts, general neurons."""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cns.compose import ConceptWeights, Weights
from cns.drift import Moments, prompt_moments
from cns.families import Defaults
from cns.files.captions import fill_caption, fill_style_caption
from cns.files.images import ImageSet
from cns.general import Vote, find_general_neurons
from cns.lesson import Learned, Lesson, Settings, Surroundings
from cns.prompts import prompts_digest
from cns.regularizers import PastConcept
from cns.report import Report
from cns.resume import Checkpoint, TrainingState, forget
from cns.templates import Kind, fill_templates
from cns.training import first_rows, learn_concept
from cns_cli.porcelain.options import AddOptions
from cns_cli.porcelain.session import Session
from cns_cli.porcelain.workbench import Workbench
from registry import fsio

ZIP_ENTRY_BYTES = 1024  # beside its data: numpy's header of a mask in the cache


@dataclass(frozen=True)
class Subject:
    """What is to be learned, settled before the training.

    Attributes:
        name: The concept's name.
        class_noun: What it is one of.
        confidence: Probability of the class noun when it was inferred, else None.
        token: Its special token.
        images: Its training images.
        kind: An object or a style.
    """

    name: str
    class_noun: str
    confidence: float | None
    token: str
    images: ImageSet
    kind: Kind = "object"

    @property
    def phrase(self) -> str:
        """How prompts call it: "<rex> dog"."""
        return f"{self.token} {self.class_noun}"


def settings_for(bench: Workbench, options: AddOptions) -> Settings:
    """The family's defaults with what the user gave in their place."""
    defaults: Defaults = bench.family.defaults
    kv, denoiser = bench.model.kv_size, bench.model.denoiser_size
    budget = defaults.budget(kv, denoiser) if options.budget is None else max(1, int(options.budget * kv))
    return Settings(
        score=options.score or defaults.score,
        reg=options.reg or defaults.reg,
        reg_strength=defaults.reg_strength if options.reg_strength is None else options.reg_strength,
        anchor_strength=defaults.anchor_strength if options.anchor is None else options.anchor,
        steps=options.steps or defaults.steps,
        warmup_steps=defaults.warmup_steps if options.warmup is None else options.warmup,
        lr=options.lr or defaults.lr,
        token_lr=defaults.token_lr,
        batch_size=defaults.batch_size,
        budget=budget,
        general_ratio=defaults.general_ratio,
        general_vote=defaults.general_vote,
        seed=options.seed,
        past_vote=options.past_vote,
        vectors=options.vectors,
        init=options.init or "",
        norm_guard=options.norm_guard,
        prior=options.prior,
    )


def teach(
    session: Session,
    subject: Subject,
    others: Mapping[str, str],
    general: Mapping[str, Tensor],
    settings: Settings,
    report: Report,
    checkpoint: Checkpoint = forget,
    state: TrainingState | None = None,
) -> Learned:
    """Learn a subject on top of the concepts `others` (name -> concept id), which the live model must hold.

    The last two are those of `cns.training.learn_concept`.
    """
    bench = session.bench
    parent = bench.model.compose([session.concept(concept_id) for concept_id in others.values()])
    lesson = lesson_of(bench, subject, settings)
    if settings.prior:
        bench.model.write(parent)
    first_rows(bench.model, lesson, settings)  # the new token must exist before pair prompts are encoded
    past = past_concepts(session, others, subject.phrase, subject.kind) if settings.reg != "none" else []
    voters = others.values() if settings.past_vote is not None else ()
    masks = [_masks(session.concept(concept_id)) for concept_id in voters]
    around = Surroundings(past, calibration_moments(bench), general, masks)
    return learn_concept(bench.model, parent, lesson, around, settings, report, checkpoint, state)


def lesson_of(bench: Workbench, subject: Subject, settings: Settings) -> Lesson:
    """What is to be learned, as the method takes it; where prior images are made, the live model is the base then."""
    prompts = training_prompts(bench, subject)
    lesson = Lesson(subject.name, subject.class_noun, subject.token, subject.images.pixels, prompts)
    if settings.prior == 0:
        return lesson
    bench.model.write(bench.model.base)
    nouns = fill_templates(bench.family.templates(subject.kind).training, subject.class_noun)
    texts = [nouns[number % len(nouns)] for number in range(settings.prior)]
    images = bench.images(texts, range(settings.seed, settings.seed + settings.prior))
    return replace(lesson, prior=images, prior_prompts=texts)


def training_prompts(bench: Workbench, subject: Subject) -> list[list[str]]:
    """For each image the prompts that may describe it: its own caption, or the family's training templates."""
    filled = fill_templates(bench.family.templates(subject.kind).training, subject.phrase)
    fill = fill_caption if subject.kind == "object" else fill_style_caption
    return [
        [fill(image.caption, subject.token, subject.class_noun)] if image.caption else filled
        for image in subject.images.images
    ]


def recipe(bench: Workbench, images: ImageSet, kind: Kind = "object") -> dict[str, str | None]:
    """Digests of what the prompts of a concept are made of, and that it is a style; part of the concept's identity."""
    captions = [image.caption or "" for image in images.images]
    digests = {
        "templates": prompts_digest(bench.family.templates(kind).training),
        "captions": prompts_digest(captions) if any(captions) else None,
    }
    return digests if kind == "object" else {**digests, "kind": kind}


def past_concepts(
    session: Session, concepts: Mapping[str, str], new_phrase: str, new_kind: Kind = "object"
) -> list[PastConcept]:
    """Earlier concepts as a regularizer sees them: weights at birth, and features of their protected prompts.

    Args:
        session: The live model's text encoder must hold the tokens of these concepts and of the new one.
        concepts: Name -> concept id.
        new_phrase: "<token> noun" of the concept to be learned: a token changes the features of every later one, so
            prompts that hold both are protected too.
        new_kind: What it is.
    """
    bench = session.bench
    past = []
    for name, concept_id in concepts.items():
        concept = session.concept(concept_id)
        beside = [session.concept(other) for key, other in concepts.items() if key != name]
        others = [*((one.phrase, one.kind) for one in beside), (new_phrase, new_kind)]
        objects = [phrase for phrase, kind in others if kind == "object"]
        styles = [phrase for phrase, kind in others if kind == "style"]
        prompts = protected_prompts(bench, concept.phrase, objects, styles, concept.kind)
        past.append(
            PastConcept(
                birth=session.birth_weights(concept_id),
                moments=prompt_moments(bench.model.pipeline, prompts),
                masks=_masks(concept),
            )
        )
    return past


def protected_prompts(
    bench: Workbench, phrase: str, others: Sequence[str], styles: Sequence[str] = (), kind: Kind = "object"
) -> list[str]:
    """Prompts on which a concept must not drift: alone in every regularization template, and beside other concepts.

    Args:
        bench: The base, whose family has the templates.
        phrase: How prompts call the concept.
        others: Phrases of the other objects.
        styles: Phrases of the other styles.
        kind: What the concept is: a style stands before an object ("a <mona> style <rex> dog") or another style.
    """
    alone = fill_templates(bench.family.templates(kind).regularization, phrase)
    if kind == "style":
        drawn = (f"a {phrase} {other}" for other in others)
        mixed = itertools.chain.from_iterable(
            (f"a {phrase} {one} picture", f"a {one} {phrase} picture") for one in styles
        )
        return [*alone, *drawn, *mixed]
    pairs = itertools.chain.from_iterable(
        (f"a {phrase} and a {other}", f"a {other} and a {phrase}") for other in others
    )
    return [*alone, *pairs, *(f"a {style} {phrase}" for style in styles)]


def judged_moments(bench: Workbench, phrase: str, kind: Kind = "object") -> Moments:
    """Moments on the judge's prompts, which no regularizer saw: for the K/V drift that is printed."""
    return prompt_moments(bench.model.pipeline, fill_templates(bench.family.templates(kind).judge, phrase))


def calibration_moments(bench: Workbench) -> Moments:
    """Moments of general prompts, the empty one (unconditional guidance) among them."""
    return prompt_moments(bench.model.pipeline, [*bench.calibration.selection, ""])


def general_neurons_cached(
    bench: Workbench, settings: Settings, cache: Path | None, base_id: str, report: Report
) -> dict[str, Tensor]:
    """General neurons of the base under a score, from the cache or computed; changes the live weights.

    They belong to the base and not to a training, so they do not depend on the training's seed.

    Args:
        bench: The base.
        settings: Score, ratio and vote.
        cache: Folder to keep them in, or None.
        base_id: Id of the base, part of the cache's key.
        report: Told of progress.
    """
    path = _general_path(bench, settings, cache, base_id)
    if path is not None and (found := _read_masks(path, bench.model.base)):
        return found
    how = Vote(settings.score, settings.general_ratio, settings.general_vote)
    general = find_general_neurons(bench.model, bench.calibration.selection, how, report)
    if path is not None:
        buffer = BytesIO()
        np.savez(buffer, **{name: np.packbits(mask.numpy()) for name, mask in general.items()})  # type: ignore[arg-type]
        fsio.make_folder(path.parent)
        fsio.replace(path, buffer.getvalue())
    return general


def general_neurons_known(bench: Workbench, settings: Settings, cache: Path | None, base_id: str) -> bool:
    """Whether `general_neurons_cached` would find them in the cache."""
    path = _general_path(bench, settings, cache, base_id)
    return path is not None and path.exists()


def _general_path(bench: Workbench, settings: Settings, cache: Path | None, base_id: str) -> Path | None:
    """Where the general neurons of a base under a score are kept."""
    if cache is None:
        return None
    key = [
        base_id,
        settings.score,
        settings.general_ratio,
        settings.general_vote,
        bench.calibration.digest,
        torch.__version__,
    ]
    if "score" in settings.plugins:
        key.append(settings.plugins["score"])  # another version of a plugin is another score
    return cache / f"general-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.npz"


def _read_masks(path: Path, base: Weights) -> dict[str, Tensor] | None:
    """Masks from the cache; None where there are none or the file is damaged: it can be made again."""
    most = sum(weight.numel() // 8 + 1 + ZIP_ENTRY_BYTES for weight in base.values())
    try:
        with zipfile.ZipFile(path) as packed:  # it may have come with a registry: look before unpacking
            if sum(entry.file_size for entry in packed.infolist()) > most:
                return None
        with np.load(path, allow_pickle=False) as stored:
            return {
                name: torch.from_numpy(
                    np.unpackbits(stored[name], count=weight.numel()).astype(bool).reshape(weight.shape)
                )
                for name, weight in base.items()
            }
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error):
        return None


def _masks(concept: ConceptWeights) -> dict[str, Tensor]:
    masks = {}
    for name, sparse in concept.delta.items():
        mask = torch.zeros(sparse.shape, dtype=torch.bool)
        mask.view(-1)[torch.from_numpy(sparse.positions)] = True
        masks[name] = mask
    return masks
