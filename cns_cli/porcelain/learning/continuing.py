"""`cns add NAME MORE/ --continue`: what a training takes over from the concept that it goes on from.

Token, class noun, kind, and which weights may change are the concept's own; it is shown the new images beside those
that it was shown before, as far as the registry kept them. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
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

EARLIER = "the earlier training"
"""Where the mask of a `TrainingImage` comes from that the registry kept."""


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
        return cls(found, concept, session.concept(found), stored_photos(session.repo, concept))

    def told(self, options: AddOptions) -> AddOptions:
        """The request, saying what nobody has to say again."""
        kind, noun = kind_of(self.concept), self.concept.class_noun
        return replace(options, class_noun=noun, kind=kind, vectors=len(self.concept.tokens))

    def joined(self, subject: Subject) -> Subject:
        """The subject with the earlier images before its own.

        One that comes again is not counted twice: it stays what it was, but for its mask where it now has another.
        """
        subject = replace(subject, start=self.weights, continues=self.id)
        if self.photos is None:
            lost = f"the registry holds only features of the earlier images of {subject.name}: it is shown the new ones"
            return replace(subject, warnings=(*subject.warnings, lost))
        earlier, own = self.photos, subject.images
        known = {pixels.tobytes(): place for place, pixels in enumerate(earlier.pixels)}
        places = [known.get(pixels.tobytes()) for pixels in own.pixels]
        new = [number for number, place in enumerate(places) if place is None]
        images, masks = list(earlier.images), _masks(earlier)
        for number, place in enumerate(places):
            if place is not None:
                again = own.images[number]
                images[place] = replace(again, caption=images[place].caption, mask=again.mask or images[place].mask)
                if own.masks is not None and again.mask:
                    masks[place] = own.masks[number]
        kept = (EARLIER,) if any(one.mask == EARLIER for one in images) else ()
        joined = replace(
            own,
            images=(*images, *(own.images[number] for number in new)),
            pixels=np.concatenate([earlier.pixels, own.pixels[new]]),
            masks=None if earlier.masks is own.masks is None else np.concatenate([masks, _masks(own)[new]]),
            mask_sources=(*own.mask_sources, *kept),
        )
        return replace(subject, images=joined, captions=f"{subject.captions}; {len(earlier.images)} images earlier")

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


def stored_photos(repo: Repository, concept: Concept) -> ImageSet | None:
    """The images that a concept was shown; None where the registry has only features of them."""
    references = repo.objects.get(concept.references, References)
    if references.images is None:
        return None
    pixels, masks, framings = codec.decode_photos(repo.objects.get(references.images, Blob).data)
    marked = [masks is not None and bool((masks[number] < 255).any()) for number in range(len(pixels))]
    cut: list[Any] = [None] * len(pixels) if framings is None else list(map(tuple, framings.tolist()))
    images = (
        TrainingImage(f"{number}", caption, "", mask=EARLIER if marked[number] else None, framing=cut[number])
        for number, caption in enumerate(references.captions)
    )
    return ImageSet(tuple(images), pixels, masks=masks)


def _masks(images: ImageSet) -> NDArray[np.uint8]:
    """The masks of images, shape (N, R, R), all over where there are none; a copy."""
    return np.full(images.pixels.shape[:3], 255, np.uint8) if images.masks is None else images.masks.copy()
