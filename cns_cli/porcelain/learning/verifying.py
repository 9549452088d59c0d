"""Learning a stored concept once more, from its own photos and settings, and comparing; nothing is stored."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from cns import codec
from cns.denoiser import denoiser_of, dtype_of
from cns.errors import MethodError
from cns.gate import Outcome, Verdict, decide, paired_drops
from cns.imagescores import Scores
from cns.task import Learned, Settings
from cns_cli.porcelain.learning.continuing import continues_of, stored_photos
from cns_cli.porcelain.learning.general import general_neurons_for
from cns_cli.porcelain.learning.learn import Reporter, teach
from cns_cli.porcelain.learning.memory import sparing
from cns_cli.porcelain.learning.saving import library_versions
from cns_cli.porcelain.learning.subject import Subject, recipe
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.models.stored import kind_of
from cns_cli.porcelain.scoring.judging import judge_images, score_images
from cns_cli.progress import Progress
from registry.objects import Concept, Tree, object_id
from registry.trees import trained_in

JUDGED_IMAGES = 4
"""Images of each judge prompt where bits cannot be equal; chosen."""


@dataclass(frozen=True)
class Again:
    """A concept that was learned once more.

    Attributes:
        concept_id: The id that it has now.
        parts: What of it is not as stored, such as "delta".
        step: The first training step, from 1, whose loss is not the recorded one; None: all are.
        verdict: The gate's on the drop of the main score; None where it was not asked.
    """

    concept_id: str
    parts: tuple[str, ...]
    step: int | None
    verdict: Verdict | None = None


def surroundings(session: Session, record: Mapping[str, Any]) -> tuple[str, ...]:
    """Say in what this machine differs from the one that a record names, as far as bits hang on it."""
    now = {
        "device": str(session.base.device),
        "dtype": str(dtype_of(denoiser_of(session.base.model.pipeline))),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **library_versions({})},
    }
    then = {key: record.get(key) for key in now}
    versions = then["versions"] if isinstance(then["versions"], dict) else {}
    said = [_unlike(key, then[key], now[key]) for key in ("device", "dtype", "threads")]
    said += [_unlike(key, versions.get(key), value) for key, value in now["versions"].items()]
    return tuple(filter(None, said))


def learn_again(
    session: Session, concept_id: str, record: Mapping[str, Any], progress: Progress, *, scores: bool
) -> Again:
    """Learn a concept from its stored photos, in the tree that it was trained in, as its record says.

    Args:
        session: The registry and its base; the live model is left as the concept's birth.
        concept_id: Of the concept.
        record: Of the commit that brought it.
        progress: Told of progress.
        scores: Where the bits differ, compare what both draw.

    Raises:
        MethodError: the record holds no settings that work.
    """
    get = session.repo.objects.get
    concept = get(concept_id, Concept)
    parent, photos = get(concept.trained_on, Tree), stored_photos(session.repo, concept)
    assert photos is not None
    went_on = continues_of(record)
    start = None if went_on is None else session.concept(went_on)
    subject = Subject(concept.name, concept.class_noun, None, concept.tokens[0], photos, kind_of(concept), start=start)
    settings = _settings(record)
    tree = trained_in(parent, concept.name)
    report = Reporter(progress)
    with sparing(session.base, settings, photos.pixels.shape[1], None, progress):
        general = general_neurons_for(session.base, settings, None, parent.base, report)
        session.set_tree(tree)
        learned = teach(session, subject, tree, general, settings, report)
    made, parts = _compared(session, concept, subject, learned)
    verdict = None
    if parts and scores:
        progress.stage("compare what both draw")
        verdict = _judged(session, concept_id, subject, parent, learned)
    return Again(made, parts, _first_unlike(record, learned), verdict)


def _settings(record: Mapping[str, Any]) -> Settings:
    params = record.get("params")
    known = {one.name for one in fields(Settings)}
    try:
        settings = Settings(**{key: value for key, value in dict(params or {}).items() if key in known})
        settings.check()
    except TypeError as error:
        raise MethodError(f"its record does not hold the settings of a training: {error}", "cns show") from error
    return settings


def _compared(session: Session, stored: Concept, subject: Subject, learned: Learned) -> tuple[str, tuple[str, ...]]:
    """Return the id that the concept has now, and which parts of it are others than the stored ones."""
    mask, delta = codec.encode(learned.weights.delta)
    rows = {token: row.numpy() for token, row in learned.weights.rows.items()}
    parts = {"embedding": codec.encode_rows(rows), "mask": mask, "delta": delta}
    ids = {part: object_id("blob", data) for part, data in parts.items()}
    made = Concept(
        stored.name, stored.class_noun, tuple(rows), recipe=recipe(session.base, subject),
        references=stored.references, trained_on=stored.trained_on, **ids,
    )  # fmt: skip
    unlike = [one.name for one in fields(Concept) if getattr(made, one.name) != getattr(stored, one.name)]
    return object_id("concept", made.payload()), tuple(unlike)


def _first_unlike(record: Mapping[str, Any], learned: Learned) -> int | None:
    series = record.get("series")
    then = series.get("loss") if isinstance(series, dict) else None
    pairs = itertools.zip_longest(then if isinstance(then, (list, tuple)) else (), learned.series.get("loss", ()))
    return next((step for step, (old, new) in enumerate(pairs, 1) if old != new), None)


def _judged(session: Session, concept_id: str, subject: Subject, parent: Tree, learned: Learned) -> Verdict:
    """How much lower the main score of what was learned now is, by the gate's interval."""
    references = dict(session.references(concept_id))

    def scores() -> Scores:
        pictures = judge_images(session.base, subject.phrase, 0, JUDGED_IMAGES, 0, subject.kind)
        return score_images(session.base, pictures, subject.class_noun, references, subject.kind)

    model = session.base.model
    others = session.parts(trained_in(parent, subject.name))
    (model.set_named if parent.compose == "named" else model.set_concepts)([*others, learned.weights])
    now = scores()
    session.set_tree(session.birth_tree(concept_id))
    drops = paired_drops(scores().main, now.main)
    return decide({subject.name: drops}, session.base.family.defaults.max_drop)[subject.name]


def is_alike(verdict: Verdict | None) -> bool:
    """True where the gate is sure that the score fell by no more than it allows."""
    return verdict is not None and verdict.outcome is Outcome.KEPT


def _unlike(what: str, then: object, now: object) -> str:
    return "" if then is None or then == now else f"{what} {now}, and was {then}"
