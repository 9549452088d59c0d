"""Prompt templates, as data: what teaches a concept, what protects it, what judges it.

A template holds one `{}`, which stands for the special token and the class noun ("<rex> dog"), or for the noun alone.
The three sets of a family play three parts that must not mix: a concept is trained on the training templates, old
concepts and the base are anchored on the features of the regularization templates, and the judge templates are only
ever generated and scored. No judge template is a regularization or a training template; a test holds that.

Which set belongs to which base is said in `families.py`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

VOWELS = "aeiou"

Kind = Literal["object", "style"]
"""What a concept is: a thing ("a <rex> dog"), or a way of drawing things ("a <mona> style dog")."""


@dataclass(frozen=True)
class TemplateSet:
    """The templates of one kind of concept on one family.

    Attributes:
        training: Prompts that teach it where an image has no caption; `{}` stands for "<token> noun".
        regularization: At least 32 prompts whose features old concepts and the base are anchored on.
        judge: Prompts that are generated and scored.
    """

    training: tuple[str, ...]
    regularization: tuple[str, ...]
    judge: tuple[str, ...]


def default_token(name: str) -> str:
    """The special token of a concept: ``<name>``, in lower case as CLIP's tokenizer writes everything."""
    return f"<{name.lower()}>"


def whole_token(token: str) -> str:
    """A regular expression of a token that is not a part of a longer word: `zwx` is not in `zwx2`."""
    before = r"(?<!\w)" if re.match(r"\w", token) else ""
    after = r"(?!\w)" if re.search(r"\w$", token) else ""
    return f"{before}{re.escape(token)}{after}"


def mention(tokens: Sequence[str], class_noun: str) -> str:
    """A regular expression of how prompts name a concept: its first token, with or without the others and the noun."""
    first, *others = (whole_token(token) for token in tokens)
    more = rf"(?:\s+(?:{'|'.join(others)}))*" if others else ""
    return rf"{first}{more}(?:\s+{re.escape(class_noun)}\b)?"


def vector_tokens(token: str, vectors: int) -> tuple[str, ...]:
    """The vocabulary's names for a token of several vectors: `<rex>`, `<rex>_1`, `<rex>_2`."""
    return (token, *(f"{token}_{number}" for number in range(1, vectors)))


def is_further_vector(token: str, tokens: Container[str]) -> bool:
    """Whether a token is the second or a later vector of one of `tokens`."""
    stem, _, number = token.rpartition("_")
    return number.isdigit() and stem in tokens


def phrase_of(tokens: Sequence[str], class_noun: str) -> str:
    """How a prompt calls a concept: "<rex> dog". Further vectors of a token (`<rex>_1`) are added when it is read."""
    named = [token for token in tokens if not (re.search(r"_\d+$", token) and token.rpartition("_")[0] in tokens)]
    return " ".join([*named, class_noun])


def fill_template(template: str, words: str) -> str:
    """Put words into a template, with the article that fits: "a {}" and "apple" give "an apple".

    The base models were trained on captions with the right article. A special token such as "<rex>" takes "a".
    """
    if words[:1].lower() in VOWELS:
        template = " ".join("an {}" if part == "a {}" else part for part in _parts(template))
    return template.replace("{}", words)


def fill_templates(templates: Sequence[str], words: str) -> list[str]:
    """`fill_template` over a set, in its order."""
    return [fill_template(template, words) for template in templates]


def _parts(template: str) -> list[str]:
    """Split at spaces, but keep "a {}" together."""
    parts: list[str] = []
    for word in template.split(" "):
        if word == "{}" and parts and parts[-1] == "a":
            parts[-1] = "a {}"
        else:
            parts.append(word)
    return parts


EMOJI_TRAINING_TEMPLATES = ("a {}", "a picture of a {}")

# Phrases of the embedded base's captions. The judge's ten are held out of every other template.
EMOJI_REGULARIZATION_TEMPLATES = (
    "a {}",
    "a {} on a white background",
    "a {} on a black background",
    "a {} on a gray background",
    "a {} on a green background",
    "a {} on a yellow background",
    "a {} on an orange background",
    "a {} on a pink background",
    "a {} on a purple background",
    "a {} on a brown background",
    "a {} on a cyan background",
    "a small {}",
    "a small {} on a white background",
    "a small {} on a black background",
    "a small {} on a green background",
    "a small {} on a yellow background",
    "a picture of a {}",
    "a drawing of a {}",
    "a noto {}",
    "a blob {}",
    "a flat {}",
    "a glossy {}",
    "a flat {} on a white background",
    "a glossy {} on a yellow background",
    "a noto {} on a green background",
    "a blob {} on a pink background",
    "a {} and a dog on a white background",
    "a {} and a car on a green background",
    "a {} and a star on a black background",
    "a {} and an apple",
    "a cat and a {} on a yellow background",
    "a house and a {} on a pink background",
    "a rocket and a {}",
    "an umbrella and a {} on a purple background",
)

EMOJI_JUDGE_TEMPLATES = (
    "a {} on the grass",
    "a {} in the night sky",
    "a {} on a red background",
    "a {} on a wooden table",
    "a {} on the beach",
    "a {} on a blue background",
    "a {} in the snow",
    "a {} at sunset",
    "a {} in front of a brick wall",
    "a {} on a checkerboard",
)

SD_TRAINING_TEMPLATES = (
    "a {}",
    "a photo of a {}",
    "a picture of a {}",
    "a close-up photo of a {}",
    "a good photo of a {}",
    "a rendition of a {}",
)

SD_REGULARIZATION_TEMPLATES = (
    "a {}",
    "a photo of a {}",
    "a picture of a {}",
    "a rendering of a {}",
    "a cropped photo of a {}",
    "a close-up photo of a {}",
    "a bright photo of a {}",
    "a dark photo of a {}",
    "a good photo of a {}",
    "a photo of one {}",
    "a photo of a clean {}",
    "a photo of a small {}",
    "a photo of a large {}",
    "a photo of a weird {}",
    "a photo of a cool {}",
    "an illustration of a {}",
    "a depiction of a {}",
    "a rendition of a {}",
    "a watercolor painting of a {}",
    "an oil painting of a {}",
    "a pencil sketch of a {}",
    "a cartoon of a {}",
    "a black and white photo of a {}",
    "a {} on a table",
    "a {} next to a window",
    "a {} on a sofa",
    "a {} in a kitchen",
    "a {} in a garden",
    "a {} on a street",
    "a {} in a car",
    "a {} under a tree",
    "a {} and a dog",
    "a {} and a chair",
    "a person and a {}",
    "a cat and a {}",
    "a house and a {} in the background",
)

SD_JUDGE_TEMPLATES = (
    "a {} on the beach",
    "a {} in the snow",
    "a {} in the jungle",
    "a {} on a cobblestone square",
    "a {} on top of a pink fabric",
    "a {} on top of a wooden floor",
    "a {} with a city in the distance",
    "a {} with a mountain in the distance",
    "a {} with the Eiffel Tower in the distance",
    "a {} floating on top of water",
    "a {} on top of green grass with sunflowers around it",
    "a {} on a red carpet in a museum",
)

# A style stands before what it draws, as the artists do in the embedded base's captions ("a noto dog"). What is drawn
# differs from prompt to prompt, and the judge's things are held out of every other template.
_TRAINED_THINGS = ("dog", "car", "house", "flower", "fish", "bird", "tree", "hat")
_JUDGED_THINGS = ("cat", "apple", "rocket", "frog", "guitar", "star", "penguin", "cup", "shoe", "key")

EMOJI_STYLE = TemplateSet(
    training=("a {} picture", "a picture, {}"),
    regularization=(
        "a {} picture",
        "a picture, {}",
        *(
            f"a {{}} {thing}{place}"
            for thing in _TRAINED_THINGS
            for place in ("", " on a white background", " on a black background", " on a green background")
        ),
    ),
    judge=tuple(
        template.replace("{}", f"{{}} {thing}")
        for template, thing in zip(EMOJI_JUDGE_TEMPLATES, _JUDGED_THINGS, strict=True)
    ),
)

SD_STYLE = TemplateSet(
    training=("a {} picture", "a {} painting", "a picture, {}"),
    regularization=(
        "a {} picture",
        "a picture, {}",
        *(
            f"a {{}} {what} of a {thing}"
            for thing in _TRAINED_THINGS
            for what in ("picture", "painting", "drawing", "close-up")
        ),
    ),
    judge=tuple(
        template.replace("{}", f"{{}} {thing}")
        for template, thing in zip(SD_JUDGE_TEMPLATES, (*_JUDGED_THINGS, "boat", "chair"), strict=True)
    ),
)
