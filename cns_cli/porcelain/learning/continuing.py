"""`cns add NAME MORE/ --continue`: what a training takes over from the concept that it goes on from.

Token, class noun, kind, and which weights may change are the concept's own; it is shown the new images beside those
that it was shown before, as far as the registry kept them. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cns import codec
from cns.errors import MethodError
from cns.files.images import ImageSet
from cns.files.trainingimage import TrainingImage
from cns_cli.porcelain.learning.interrupted import command_of, flag_of
from cns_cli.porcelain.models.stored import kind_of
from cns_cli.porcelain.options import AddOptions
from registry.objects import Blob, Concept, References, Tree
from registry.repository import Repository

if TYPE_CHECKING:  # the classes are for annotations; importing them costs seconds
    from cns.compose import ConceptWeights
    from cns.task import Settings
    from cns_cli.porcelain.learning.subject import Subject
    from cns_cli.porcelain.models.session import Session

OWN = ("class_noun", "token", "kind", "vectors", "init", "budget", "directions", "score", "past_vote", "warmup")
"""Options that a concept was begun with once and for all."""


@dataclass(frozen=True)
class Earlier:
    """The concept that a training goes on from.

    Attributes:
        id: Its id.
        concept: What is stored.
        weights: Its rows and its change.
        photos: The images that it was shown; None where the registry has only features of them.
    """

    id: str
    concept: Concept
    weights: ConceptWeights
    photos: ImageSet | None

    @classmethod
    def of(cls, session: Session, tree: Tree, options: AddOptions) -> Earlier | None:
        """The concept of this name in a tree; None where the training begins from nothing."""
        if not options.continues:
            return None
        found = tree.concepts[options.name]
        concept = session.repo.objects.get(found, Concept)
        return cls(found, concept, session.concept(found), _photos(session.repo, concept))

    def told(self, options: AddOptions) -> AddOptions:
        """The request, saying what nobody has to say again."""
        kind, noun = kind_of(self.concept), self.concept.class_noun
        return replace(options, class_noun=noun, kind=kind, vectors=len(self.concept.tokens))

    def joined(self, subject: Subject) -> Subject:
        """The subject with the earlier images before its own; one that comes again is not counted twice."""
        subject = replace(subject, start=self.weights, continues=self.id)
        if self.photos is None:
            lost = f"the registry holds only features of the earlier images of {subject.name}: it is shown the new ones"
            return replace(subject, warnings=(*subject.warnings, lost))
        known = {pixels.tobytes() for pixels in self.photos.pixels}
        new = [place for place, pixels in enumerate(subject.images.pixels) if pixels.tobytes() not in known]
        own = None if subject.images.masks is None else subject.images.masks[new]
        images = replace(
            subject.images,
            masks=_masks([(self.photos.masks, self.photos.pixels), (own, subject.images.pixels[new])]),
            images=(*self.photos.images, *(subject.images.images[place] for place in new)),
            pixels=np.concatenate([self.photos.pixels, subject.images.pixels[new]]),
        )
        return replace(subject, images=images, captions=f"{subject.captions}; {len(self.photos.images)} images earlier")

    def kept(self, settings: Settings) -> Settings:
        """The settings, with what may change as it is: nothing is chosen, so that no warm-up is needed to choose."""
        rank, count = self.weights.rank, codec.count_weights(self.weights.delta)
        return replace(settings, directions=rank, budget=count, warmup_steps=0, past_vote=None, init="")


def check_kept(options: AddOptions) -> None:
    """Refuse options about what a concept that goes on has settled already.

    Raises:
        MethodError: Some were given.
    """
    defaults = {one.name: one.default for one in fields(AddOptions)}
    given = [name for name in OWN if getattr(options, name) != defaults[name]]
    if given:
        plain: dict[str, Any] = {name: defaults[name] for name in given}
        raise MethodError(
            f"{', '.join(map(flag_of, given))}: with --continue {options.name} stays what it is, and learns more",
            command_of(replace(options, **plain)),
        )


def side_of(repo: Repository | None, options: AddOptions) -> int | None:
    """Side of the images to train on, pixels: as asked for, or as the kept images of a concept that goes on have it.

    Raises:
        MethodError: These two differ.
    """
    tree = repo.tree_of(repo.head().commit) if repo is not None and options.continues else None
    if repo is None or tree is None or options.name not in tree.concepts:
        return options.resolution
    references = repo.objects.get(repo.objects.get(tree.concepts[options.name], Concept).references, References)
    if references.images is None or options.resolution in (None, references.resolution):
        return options.resolution or references.resolution
    raise MethodError(
        f"--resolution {options.resolution}: the images of {options.name} are kept at {references.resolution} pixels",
        command_of(replace(options, resolution=None)),
    )


def continues_of(record: Mapping[str, Any]) -> str | None:
    """Id of the concept that a recorded training went on from."""
    params = record.get("params")
    found = params.get("continues") if isinstance(params, Mapping) else None
    return found if isinstance(found, str) else None


def _photos(repo: Repository, concept: Concept) -> ImageSet | None:
    references = repo.objects.get(concept.references, References)
    if references.images is None:
        return None
    pixels, masks = codec.decode_masked_images(repo.objects.get(references.images, Blob).data)
    images = (TrainingImage(f"{number}", caption, "") for number, caption in enumerate(references.captions))
    return ImageSet(tuple(images), pixels, masks=masks)


def _masks(sets: Sequence[tuple[NDArray[np.uint8] | None, NDArray[np.uint8]]]) -> NDArray[np.uint8] | None:
    """The masks of (masks, pixels) together, all over where a set has none; None where no set has any."""
    if all(masks is None for masks, _ in sets):
        return None
    whole = (np.full(pixels.shape[:3], 255, np.uint8) if masks is None else masks for masks, pixels in sets)
    return np.concatenate(list(whole))
