"""What is to be learned, settled before the training: images, token, class noun, captions, prompts."""

from __future__ import annotations

from dataclasses import dataclass

from cns.files.captions import fill_caption, fill_style_caption
from cns.files.images import ImageSet
from cns.judges.classnoun import ClassNoun, infer_captions, infer_class_noun
from cns.prompts import prompts_digest
from cns.templates import Kind, default_token, fill_templates, vector_tokens
from cns.tokens import check_new_token
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

    @property
    def kind_of_style(self) -> dict[str, str]:
        """The kind as records have it: none of an object, as before there were styles."""
        return {} if self.kind == "object" else {"kind": self.kind}


def settle_subject(base: LoadedBase, options: AddOptions, photos: ImageSet, own_token: str | None) -> Subject:
    """Choose the token and the class noun, caption what has no caption.

    Args:
        base: The base.
        options: The request.
        photos: Its images, read.
        own_token: Token of the concept that is replaced; it may be used again.

    Raises:
        TokenError, ClassNounError.
    """
    token = options.token or own_token or default_token(options.name)
    for one in vector_tokens(token, options.vectors):
        if one != own_token:
            check_new_token(base.model.pipeline.tokenizer, one)
    least = base.family.defaults.min_class_probability
    noun, confidence = options.class_noun, None
    if options.kind == "style":
        return Subject(options.name, noun or STYLE_NOUN, None, token, photos, "style")
    if noun is None:
        found = class_noun_of(base, options, photos)
        noun, confidence = found.noun, found.probability
    captions = infer_captions(photos.pixels, photos.captions, noun, base.backgrounds, base.clip, least)
    return Subject(options.name, noun, confidence, token, photos.with_captions(captions))


def class_noun_of(base: LoadedBase, options: AddOptions, images: ImageSet) -> ClassNoun:
    """What the images show, where the user does not say it; raises ClassNounError where that is not clear."""
    least, folder = base.family.defaults.min_class_probability, options.images.resolve().name
    return infer_class_noun(images.pixels, images.captions, base.nouns, base.clip, least, folder_name=folder)


def training_prompts(base: LoadedBase, subject: Subject) -> list[list[str]]:
    """For each image the prompts that may describe it: its own caption, or the family's training templates."""
    filled = fill_templates(base.family.templates(subject.kind).training, subject.phrase)
    fill = fill_caption if subject.kind == "object" else fill_style_caption
    return [
        [fill(image.caption, subject.token, subject.class_noun)] if image.caption else filled
        for image in subject.images.images
    ]


def recipe(base: LoadedBase, subject: Subject) -> dict[str, str | None]:
    """Digests of what the prompts of a concept are made of, and that it is a style; part of the concept's identity."""
    captions = [caption or "" for caption in subject.images.captions]
    return {
        "templates": prompts_digest(base.family.templates(subject.kind).training),
        "captions": prompts_digest(captions) if any(captions) else None,
        **subject.kind_of_style,
    }


def own_token(session: Session, tree: Tree, options: AddOptions) -> str | None:
    """The token of the concept whose name is to be taught anew; None where the name is new."""
    if options.name not in tree.concepts:
        return None
    return session.repo.objects.get(tree.concepts[options.name], Concept).tokens[0]
