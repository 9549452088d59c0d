"""What is on the images? The class noun of a set, and each one's background, when the user says neither.

Captions know best: a noun that most of them name is taken as it is. Then the name of the folder, which often says it
("dog", "dog1", "10_sks dog" as kohya's tools want it). The concept's own name says it too, where the CLIP is not sure
of something else. Else the CLIP labels the images, and its best label is taken only where it is probable enough;
otherwise the answer is an error that names the likeliest three, since a wrong noun spoils the concept and costs a whole
training.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cns.errors import ClassNounError
from cns.files.captions import class_noun_in

SURE = 0.8
"""Least probability of a class noun that is taken from the pictures: a wrong one costs a whole training (chosen)."""

CANDIDATES = 3
MAX_WORDS = 4
NO_NOUN = re.compile(r"""[.,;:!?<>\[\]{}()"@|]|\b(?:an?|the|my|is|are)\b""", re.IGNORECASE)
"""What stands in sentences and in prompts' own marks, and in no noun."""


class Labeller(Protocol):
    """The part of a CLIP that is needed here."""

    def label(
        self, images: NDArray[np.uint8], nouns: Sequence[str], templates: Sequence[str] = ...
    ) -> NDArray[np.float32]:
        """Probability of each noun, shape (K,)."""
        ...


@dataclass(frozen=True)
class ClassNoun:
    """A class noun and how it was found.

    Attributes:
        noun: The noun.
        source: "captions", "folder", "name" or "clip".
        probability: Of the noun among all that the base knows; 1 if captions, the folder or the concept's name say it.
    """

    noun: str
    source: str
    probability: float


def infer_class_noun(
    images: NDArray[np.uint8],
    captions: Sequence[str | None],
    nouns: Sequence[str],
    labeller: Labeller,
    min_probability: float,
    *,
    folder_name: str = "",
    name: str = "",
) -> ClassNoun:
    """Find the class noun of a set of images.

    Args:
        images: Shape (N, R, R, 3), uint8.
        captions: One for each image, or None.
        nouns: The nouns that the base knows.
        labeller: The base's CLIP.
        min_probability: What the best label must reach to be taken.
        folder_name: Name of the folder that the images are in; empty if it says nothing.
        name: The concept's name.

    Raises:
        ClassNounError: no label is probable enough, or names and pictures say different things; `candidates` holds the
            likeliest, at most three.
    """
    if noun := class_noun_in(captions, nouns):
        return ClassNoun(noun, "captions", 1.0)
    by_folder, by_name = noun_named(folder_name, nouns), noun_named(name, nouns)
    if by_folder and by_name in (None, by_folder):
        return ClassNoun(by_folder, "folder", 1.0)
    among = (by_folder, by_name) if by_folder and by_name else nouns
    probabilities = labeller.label(images, among)
    best = np.argsort(-probabilities, kind="stable")[:CANDIDATES]
    candidates = [(among[place], float(probabilities[place])) for place in best]
    sure = candidates[0][1] >= min_probability
    if by_name and not by_folder and (not sure or candidates[0][0] == by_name):
        return ClassNoun(by_name, "name", 1.0)
    if not sure or (by_name and not by_folder):
        listed = ", ".join(f"{noun} ({probability:.0%})" for noun, probability in candidates)
        but = (
            f", and its name says {by_name}"
            if by_name and sure
            else f"; expected one with at least {min_probability:.0%}"
        )
        raise ClassNounError(
            f"the images' class noun is not clear: {listed}{but}",
            f"Say what it is: --class {candidates[0][0]!r}",
            candidates=candidates,
        )
    return ClassNoun(candidates[0][0], "clip", candidates[0][1])


def noun_named(text: str, nouns: Sequence[str]) -> str | None:
    """The known noun in the name of a folder or a concept: "cat" in "cat1", "myCat", "10_sks cat" and "my-cats"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W\d_]+", " ", text).split()
    singular = [word[:-1] if word.lower().endswith("s") else word for word in words]
    return class_noun_in([" ".join(words)], nouns) or class_noun_in([" ".join(singular)], nouns)


def clean_noun(text: str) -> str:
    """A class noun as prompts need it: "a dog" and " dog " are "dog", since a prompt has an article of its own.

    Raises:
        ClassNounError: It is no noun: empty, a sentence, or with marks that prompts read otherwise.
    """
    noun = re.sub(r"^(?:an?|the)(?:\s+|$)", "", " ".join(text.split()), flags=re.IGNORECASE)
    if not noun or len(noun.split()) > MAX_WORDS or NO_NOUN.search(noun):
        raise ClassNounError(
            f"class noun {text[:60]!r}: expected a word or two for the kind of thing, such as dog or teddy bear",
            "cns add … --class dog",
        )
    return noun


def near_nouns(noun: str, nouns: Sequence[str]) -> list[str]:
    """Known nouns that are spelled almost like this one, the nearest first; at most three."""
    return difflib.get_close_matches(noun.lower(), nouns, CANDIDATES, 0.6)


def infer_captions(
    images: NDArray[np.uint8],
    captions: Sequence[str | None],
    class_noun: str,
    backgrounds: Sequence[str],
    labeller: Labeller,
    min_probability: float,
) -> list[str | None]:
    """Caption the images that have no caption by their backgrounds, so that these are not learned with the concept.

    Without a caption every prompt of the training ends after the class noun, and the padding behind it learns to carry
    the concept; behind "in the snow" it then fails to (docs/method.md has the figures).

    Args:
        images: Shape (N, R, R, 3), uint8.
        captions: One for each image, or None; those that are given are kept.
        class_noun: What the images show.
        backgrounds: Phrases that the base knows, such as "in the snow"; none leaves the captions as they are.
        labeller: The base's CLIP.
        min_probability: What the best phrase must reach to be taken.

    Returns:
        For each image "a {name} noun phrase", its own caption, or None where the background is not clear.
    """
    found: list[str | None] = []
    for image, caption in zip(images, captions, strict=True):
        if caption is None and backgrounds:
            chances = labeller.label(image[np.newaxis], backgrounds, (f"a {class_noun} {{}}",))
            best = int(np.argmax(chances))
            if chances[best] >= min_probability:
                caption = f"a {{name}} {class_noun} {backgrounds[best]}"
        found.append(caption)
    return found
