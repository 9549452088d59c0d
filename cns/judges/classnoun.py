"""What is on the images? The class noun of a set, and each one's background, when the user says neither.

Captions know best: a noun that most of them name is taken as it is. Then the name of the folder, which often says it
("dog", "10_sks dog" as kohya's tools want it). Else the CLIP labels the images, and its best label is taken only where
it is probable enough; otherwise the answer is an error that names the likeliest three, since a wrong noun spoils the
concept and costs a whole training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cns.errors import ClassNounError
from cns.files.captions import class_noun_in

CANDIDATES = 3


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
        source: "captions", "folder" or "clip".
        probability: Of the noun among all that the base knows; 1 if captions or the folder name it.
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
) -> ClassNoun:
    """Find the class noun of a set of images.

    Args:
        images: Shape (N, R, R, 3), uint8.
        captions: One for each image, or None.
        nouns: The nouns that the base knows.
        labeller: The base's CLIP.
        min_probability: What the best label must reach to be taken.
        folder_name: Name of the folder that the images are in; empty if it says nothing.

    Raises:
        ClassNounError: no label is probable enough; `candidates` holds the best three.
    """
    if noun := class_noun_in(captions, nouns):
        return ClassNoun(noun, "captions", 1.0)
    if noun := class_noun_in([re.sub(r"[\W_]+", " ", folder_name)], nouns):
        return ClassNoun(noun, "folder", 1.0)
    probabilities = labeller.label(images, nouns)
    best = np.argsort(-probabilities, kind="stable")[:CANDIDATES]
    candidates = [(nouns[place], float(probabilities[place])) for place in best]
    if candidates[0][1] < min_probability:
        listed = ", ".join(f"{noun} ({probability:.0%})" for noun, probability in candidates)
        raise ClassNounError(
            f"the images' class noun is not clear: {listed}; expected one with at least {min_probability:.0%}",
            f"Say what it is: --class {candidates[0][0]!r}",
            candidates=candidates,
        )
    return ClassNoun(candidates[0][0], "clip", candidates[0][1])


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
