"""From nouns that shall go to an erasure that is ready to commit: what is retained, what it costs, what is stored."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from cns import codec
from cns.drift import kv_drift, prompt_moments
from cns.erasing import erase_nouns, moved
from cns.errors import ClassNounError
from cns.judges.classnoun import near_nouns
from cns.prompts import names
from cns.sampling import Pixels
from cns.templates import fill_templates, with_article
from cns_cli.porcelain.learning.addition import spread
from cns_cli.porcelain.learning.past import judged_moments, protected_prompts
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.scoring.judging import judge_images, nouns_called
from cns_cli.progress import Progress
from cns_cli.sheets import as_png, contact_sheet
from registry.objects import Blob, Erasure, Tree
from registry.trees import erased_in, erasing, seen, seen_of

NEIGHBOUR_TEMPLATES = 8
"""Prompts of each other noun of the base that are retained: the first regularization templates (chosen)."""

MEASURED_TEMPLATES = 2
"""Of these, prompts by which it is told how far a noun moved (chosen: all take as long as the solving)."""


@dataclass(frozen=True)
class Forgotten:
    """Nouns that are erased, their objects stored, and what became of the pictures; nothing is committed.

    Attributes:
        erasure: Id of the erasure.
        rank: Of the change of each value matrix.
        shares: Noun -> share of its pictures that the judge calls so, before and after; empty where none was drawn.
        others: Other noun of the base -> how far its values moved, relative and squared; the farthest first.
        drift: Concept -> K/V drift since its birth.
        sheet: A PNG: a noun's pictures before and after; None where none was drawn.
    """

    erasure: str
    rank: int
    shares: Mapping[str, tuple[float, float]]
    others: Mapping[str, float]
    drift: Mapping[str, float]
    sheet: bytes | None


def forget(
    session: Session, tree: Tree, nouns: Mapping[str, str], images: int, seed: int, progress: Progress
) -> Forgotten:
    """Erase nouns beside those that a tree erases already, and look at what that does.

    Args:
        session: The registry and its base.
        tree: HEAD's.
        nouns: Noun -> what stands in its place.
        images: Pictures of each judge prompt of each noun, before and after.
        seed: Of the first.
        progress: Told of progress.

    Raises:
        ClassNounError: the base does not know a noun; it says which are near.
        GridError: the change is too large for the grid.
    """
    base = session.base
    for noun in (word for pair in nouns.items() for word in pair if word and not base.knows_noun(word)):
        raise _unknown(noun, base.nouns)
    progress.stage("solve for what shall stay and what shall go")
    erasure = erasure_of(session, tree, {**erased_in(tree, session.repo.objects), **nouns})
    assert erasure is not None
    now = erasing(tree, erasure)
    pictures: list[list[Pixels]] = []
    for number, one in enumerate((tree, now) if images else ()):
        progress.stage("draw the nouns after" if number else "draw the nouns before")
        session.set_tree(seen(one, []))
        pictures.append([judge_images(base, noun, 0, images, seed) for noun in nouns])
    drawn = zip(nouns, *pictures, strict=True) if pictures else ()
    shares = {noun: (called(base, noun, old), called(base, noun, new)) for noun, old, new in drawn}
    (change,) = session.erasure(now)
    progress.stage("measure what moved")
    return Forgotten(
        erasure, change.rank, shares, moved_nouns(session, now), drift_of(session, now), _sheet(nouns, pictures)
    )


def erasure_of(session: Session, tree: Tree, nouns: Mapping[str, str]) -> str | None:
    """Solve all nouns together from the base, store the erasure and return its id; None of no noun.

    Args:
        session: The registry and its base; the live model is left as the tree without an erasure.
        tree: What holds the concepts that are retained.
        nouns: Noun -> what stands in its place.

    Raises:
        GridError: the change is too large for the grid.
    """
    if not nouns:
        return None
    base, put = session.base, session.repo.objects.put
    base.model.set_concepts(list(session.concepts(tree).values()))  # for the tokens
    templates = base.family.objects.regularization
    mask, delta = codec.encode(erase_nouns(base.model, nouns, templates, list(_retained(session, tree, nouns))))
    return put(Erasure(tree.base, dict(nouns), put(Blob(mask)), put(Blob(delta))))


def _retained(session: Session, tree: Tree, nouns: Mapping[str, str]) -> Iterator[Tensor]:
    """Moments of what shall stay: general prompts, other nouns, and each concept with its class noun."""
    base = session.base
    pipeline, known = base.model.pipeline, base.nouns
    yield prompt_moments(
        pipeline, [one for one in (*base.calibration.selection, "") if not names(one, nouns, known)]
    ).value
    others = [noun for noun in known if noun not in nouns]
    yield prompt_moments(pipeline, [one for noun in others for one in neighbour_prompts(base, noun, nouns)]).value
    concepts = session.concepts(tree)
    for name, concept in concepts.items():
        beside = [one for other, one in concepts.items() if other != name]
        prompts = protected_prompts(base, concept, beside)
        if concept.kind == "object" and concept.class_noun not in nouns:
            prompts += fill_templates(base.family.objects.regularization, concept.class_noun)
        yield prompt_moments(pipeline, prompts).value


def neighbour_prompts(base: LoadedBase, noun: str, erased: Mapping[str, str]) -> list[str]:
    """Prompts of a noun that stays, which name none that goes."""
    found = fill_templates(base.family.objects.regularization[:NEIGHBOUR_TEMPLATES], noun)
    return [one for one in found if not names(one, erased, base.nouns)]


def _unknown(noun: str, nouns: Sequence[str]) -> ClassNounError:
    near = near_nouns(noun, nouns)
    known = f"did you mean {' or '.join(near)}?" if near else f"it knows {', '.join(nouns[:6])}, …"
    hint = shlex.join(["cns", "erase", near[0] if near else nouns[0]])
    return ClassNounError(f"the base does not know the noun {noun!r}: {known}", hint)


def moved_nouns(session: Session, tree: Tree) -> dict[str, float]:
    """How far the values of the base's other nouns moved by a tree's erasure, the farthest first."""
    base, erased = session.base, erased_in(tree, session.repo.objects)
    change = base.model.compose(session.erasure(tree))
    found = {
        noun: moved(
            base.model.base,
            change,
            prompt_moments(base.model.pipeline, neighbour_prompts(base, noun, erased)[:MEASURED_TEMPLATES]).value,
        )
        for noun in base.nouns
        if noun not in erased
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def drift_of(session: Session, tree: Tree) -> dict[str, float]:
    """K/V drift of a tree's concepts since birth, as their prompts see it."""
    model = session.base.model
    session.set_tree(tree)  # for the tokens
    return {
        name: kv_drift(
            model.compose(session.parts(seen_of(tree, one))),
            session.birth_weights(one),
            judged_moments(session.base, session.concept(one)),
        )
        for name, one in sorted(tree.concepts.items())
    }


def called(base: LoadedBase, noun: str, pictures: Pixels) -> float:
    """Share of pictures, shape (N, R, R, 3), that the CLIP judge calls by a noun, among all nouns of the base."""
    return float(np.mean(nouns_called(base, base.clip.image_features(pictures), [noun]) == noun))


def _sheet(nouns: Collection[str], pictures: Sequence[Sequence[Pixels]]) -> bytes | None:
    if not pictures:
        return None
    rows = [
        (f"{with_article(noun)} …, {when}", [*map(Image.fromarray, spread(drawn))])
        for noun, *both in zip(nouns, *pictures, strict=True)
        for when, drawn in zip(("before", "after"), both, strict=True)
    ]
    return as_png(contact_sheet(rows))
