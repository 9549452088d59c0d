"""The prompts that a training reads: what the captions beside the images become, and what is said of them.

Captions are stored as they are trained: with the place of the token marked, whoever wrote them for which trainer. So a
concept can be learned again from what the registry holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cns.files.captions import fill_caption, fill_style_caption, kohya_folder, mark_concept, says_where
from cns.files.images import ImageSet
from cns.judges.classnoun import infer_captions
from cns.templates import Kind, fill_templates, vector_tokens
from cns.tokens import check_read, count_cut, with_tokens
from cns_cli.figures import a, plural
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.options import AddOptions

SHOWN = 3


@dataclass(frozen=True)
class Captioned:
    """Images with the captions that they are trained with.

    Attributes:
        images: The images; a caption marks the place of the token, or is as it was written.
        taken: What was taken from where, in one line.
        warnings: What should be better about the captions.
    """

    images: ImageSet
    taken: str
    warnings: tuple[str, ...]


def caption_images(
    base: LoadedBase, options: AddOptions, photos: ImageSet, class_noun: str, token: str, known: Collection[str]
) -> Captioned:
    """Mark the token's place in captions, caption what has none, and see what the text encoder reads of it.

    Args:
        base: The base.
        options: The request.
        photos: Its images, read.
        class_noun: What they show.
        token: The concept's special token.
        known: Tokens of the other concepts.

    Raises:
        SettingsError: A prompt hides the token, or one of its vectors, from the text encoder.
    """
    trigger, _ = kohya_folder(options.images.resolve().name)
    trigger = "" if trigger.lower() in class_noun.lower().split() else trigger
    own = [
        caption and mark_concept(caption, token, class_noun, name=options.name, known=known, trigger=trigger)
        for caption in photos.captions
    ]
    captions = list(own)
    if options.kind == "object":
        least = base.family.defaults.min_class_probability
        captions = infer_captions(photos.pixels, own, class_noun, base.backgrounds, base.clip, least)
    prompts = [one for choices in prompts_of(base, options.kind, token, class_noun, captions) for one in choices]
    tokens = vector_tokens(token, options.vectors)
    reading = with_tokens(base.model.pipeline.tokenizer, [*known, *tokens])
    check_read(reading, prompts, tokens)
    taken = _taken(photos, own, captions, f"{token} {class_noun}")
    if cut := count_cut(reading, prompts):
        taken += f"; {cut} cut at {reading.model_max_length - 2} tokens"
    warnings: tuple[str, ...] = ()
    if options.kind == "object":
        filled = [fill_caption(caption, token, class_noun) for caption in own if caption]
        warnings = (*_vague(own, token, class_noun, options), *_another(base, filled, token, class_noun))
    return Captioned(photos.with_captions(captions), taken, warnings)


def _another(base: LoadedBase, filled: Sequence[str], token: str, class_noun: str) -> tuple[str, ...]:
    """Warn where most captions have another noun that the base knows behind the token than the class noun."""
    nouns = "|".join(re.escape(noun) for noun in sorted(base.nouns, key=len, reverse=True))
    behind = re.compile(rf"{re.escape(token)}\s+(?!{re.escape(class_noun)}\b)({nouns})\b", re.IGNORECASE)
    found = Counter(one[1].lower() for caption in filled if (one := behind.search(caption)))
    noun, count = found.most_common(1)[0] if found else ("", 0)
    if 2 * count <= len(filled):
        return ()
    what = f"{count} of {plural(len(filled), 'caption')} call it {a(noun)}, and it is learned as {a(class_noun)}"
    return (f"{what}: one of the two is wrong",)


def prompts_of(
    base: LoadedBase, kind: Kind, token: str, class_noun: str, captions: Sequence[str | None]
) -> list[list[str]]:
    """For each image the prompts that may describe it: its own caption, or the family's training templates."""
    filled = fill_templates(base.family.templates(kind).training, f"{token} {class_noun}")
    fill = fill_caption if kind == "object" else fill_style_caption
    return [[fill(caption, token, class_noun)] if caption else filled for caption in captions]


def _taken(photos: ImageSet, own: Sequence[str | None], captions: Sequence[str | None], phrase: str) -> str:
    """How many captions were taken from where, and how many say it otherwise."""
    given = sum(caption is not None for caption in own)
    said = f"{given} of {len(own)}"
    if photos.caption_sources:
        said += f", from {' and '.join(photos.caption_sources)}"
    marked = sum(new != old for new, old in zip(own, photos.captions, strict=True))
    if marked:
        said += f"; {marked} call it otherwise and are read as {phrase}"
    if inferred := sum(caption is not None for caption in captions) - given:
        said += f"; {inferred} by the background, as CLIP sees it"
    return said


def _vague(own: Sequence[str | None], token: str, class_noun: str, options: AddOptions) -> tuple[str, ...]:
    """Warn where most captions leave the token's place to a guess."""
    given = [caption for caption in own if caption]
    vague = [caption for caption in given if not says_where(caption, token, class_noun)]
    if 2 * len(vague) <= len(given):
        return ()
    what = f"{len(vague)} of {plural(len(given), 'caption')} do not say where {options.name} is"
    return (f'{what}, such as "{vague[0][:40]}": write {{name}} there, as in "a {{name}} {class_noun} in the snow"',)
