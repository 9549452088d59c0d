"""What is to be learned, settled before the training: images, token, class noun, captions, prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace

from cns.compose import ConceptWeights
from cns.errors import ClassNounError
from cns.files.captions import kohya_folder
from cns.files.images import ImageSet
from cns.judges.classnoun import SURE, ClassNoun, infer_class_noun, near_nouns
from cns.prompts import prompts_digest
from cns.templates import Kind, default_token, vector_tokens
from cns.tokens import check_new_token
from cns_cli.porcelain.learning.captioning import caption_images, prompts_of
from cns_cli.porcelain.learning.doubts import not_drawn
from cns_cli.porcelain.learning.interrupted import command_of
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.models.stored import STYLE_NOUN
from cns_cli.porcelain.options import AddOptions
from registry.objects import Concept, Tree


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
        start: The concept that it goes on from, see `cns.task.TrainingTask`; its id is `continues`.
        captions: What captions were taken from where, in one line.
        warnings: What should be better about images, captions or class noun.
    """

    name: str
    class_noun: str
    confidence: float | None
    token: str
    images: ImageSet
    kind: Kind = "object"
    captions: str = ""
    warnings: tuple[str, ...] = ()
    start: ConceptWeights | None = None
    continues: str | None = None

    @property
    def phrase(self) -> str:
        """How prompts call it: "<rex> dog"."""
        return f"{self.token} {self.class_noun}"

    @property
    def was(self) -> str:
        """How prompts call what it was before: the class noun, or the concept that it goes on from."""
        return self.phrase if self.start else self.class_noun

    @property
    def kind_of_style(self) -> dict[str, str]:
        """The kind as records have it: none of an object, as before there were styles."""
        return {} if self.kind == "object" else {"kind": self.kind}


def settle_subject(
    base: LoadedBase, options: AddOptions, photos: ImageSet, own_token: str | None, known: Collection[str] = ()
) -> Subject:
    """Choose the token and the class noun, mark captions, caption what has no caption.

    Args:
        base: The base.
        options: The request.
        photos: Its images, read.
        own_token: Token of the concept that is replaced; it may be used again.
        known: Tokens of the other concepts.

    Raises:
        TokenError, ClassNounError.
        SettingsError: A caption hides the token from the text encoder.
    """
    token = options.token or own_token or default_token(options.name)
    for one in vector_tokens(token, options.vectors):
        if one != own_token:
            check_new_token(base.model.pipeline.tokenizer, one)
    noun, confidence, warnings = options.class_noun, None, photos.warnings
    if noun is None and options.kind == "style":
        noun = STYLE_NOUN
    elif noun is None:
        found = class_noun_of(base, options, photos)
        noun, confidence = found.noun, found.probability
    elif options.kind == "object":
        warnings += unknown_noun(base, noun, photos)
    captioned = caption_images(base, options, photos, noun, token, known)
    warnings += (*captioned.warnings, *not_drawn(base, photos.pixels))
    return Subject(options.name, noun, confidence, token, captioned.images, options.kind, captioned.taken, warnings)


def class_noun_of(base: LoadedBase, options: AddOptions, images: ImageSet) -> ClassNoun:
    """What the images show, where the user does not say it; raises ClassNounError where that is not clear."""
    folder = options.images.resolve().name
    try:
        return infer_class_noun(
            images.pixels, images.captions, base.nouns, base.clip, SURE, folder_name=folder, name=options.name
        )
    except ClassNounError as unclear:
        _, said = kohya_folder(folder)
        if said and not base.knows_its_nouns_only:
            return ClassNoun(said, "folder", 1.0)
        unclear.hint = command_of(replace(options, class_noun=unclear.candidates[0][0]))
        raise


def unknown_noun(base: LoadedBase, noun: str, images: ImageSet) -> tuple[str, ...]:
    """Warn of a class noun that the base does not know, so that its token begins at nothing."""
    if base.knows_noun(noun):
        return ()
    near = near_nouns(noun, base.nouns)
    if near:
        said = f"did you mean {', '.join(near)}?"
    else:
        chances = base.clip.label(images.pixels, base.nouns)
        likely = [base.nouns[place] for place in (-chances).argsort(kind="stable")[:3]]
        said = f"by its CLIP the images show {likely[0]}, {likely[1]} or {likely[2]}" if len(likely) == 3 else ""
    return (f"the base does not know the word {noun!r}, from which the concept begins" + (f"; {said}" if said else ""),)


def training_prompts(base: LoadedBase, subject: Subject) -> list[list[str]]:
    """For each image the prompts that may describe it: its own caption, or the family's training templates."""
    return prompts_of(base, subject.kind, subject.token, subject.class_noun, subject.images.captions)


def recipe(base: LoadedBase, subject: Subject) -> dict[str, str | None]:
    """Digests of prompts and masks that a concept is learned from, and that it is a style; part of its identity."""
    captions = [caption or "" for caption in subject.images.captions]
    masks = subject.images.masks
    return {
        "templates": prompts_digest(base.family.templates(subject.kind).training),
        "captions": prompts_digest(captions) if any(captions) else None,
        **({} if masks is None else {"image_masks": hashlib.sha256(masks.tobytes()).hexdigest()}),
        **subject.kind_of_style,
    }


def known_tokens(session: Session, tree: Tree, options: AddOptions) -> list[str]:
    """The tokens of the concepts of a tree, without the one that is to be taught anew."""
    others = [concept_id for name, concept_id in tree.concepts.items() if name != options.name]
    return [token for one in others for token in session.repo.objects.get(one, Concept).tokens]


def own_token(session: Session, tree: Tree, options: AddOptions) -> str | None:
    """The token of the concept whose name is to be taught anew; None where the name is new."""
    if options.name not in tree.concepts:
        return None
    return session.repo.objects.get(tree.concepts[options.name], Concept).tokens[0]
