"""Captions for images that have none: the background that the CLIP is sure of, and nothing where it is not."""

from __future__ import annotations

import numpy as np

from cns.judges.classnoun import infer_captions

IMAGES = np.zeros((3, 8, 8, 3), np.uint8)
BACKGROUNDS = ("on the beach", "in the snow")


class Labeller:
    """Says what it was told to say, image by image, and remembers what it was asked."""

    def __init__(self, *answers: tuple[float, float]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, tuple[str, ...]]] = []

    def label(self, images, nouns, templates=("a {}",)):
        self.asked.append((len(images), tuple(templates)))
        return np.array(self.answers.pop(0), np.float32)


def test_a_clear_background_becomes_the_caption_and_an_unclear_one_none():
    labeller = Labeller((0.9, 0.1), (0.2, 0.8), (0.45, 0.44))
    captions = infer_captions(IMAGES, [None] * 3, "dog", BACKGROUNDS, labeller, 0.5)
    assert captions == ["a {name} dog on the beach", "a {name} dog in the snow", None]
    assert labeller.asked == [(1, ("a dog {}",))] * 3


def test_captions_that_are_there_stay():
    labeller = Labeller((0.9, 0.1))
    captions = infer_captions(IMAGES, ["mine", None, ""], "dog", BACKGROUNDS, labeller, 0.5)
    assert captions == ["mine", "a {name} dog on the beach", ""]


def test_a_base_that_knows_no_backgrounds_gets_no_captions():
    assert infer_captions(IMAGES, [None] * 3, "dog", (), Labeller(), 0.5) == [None] * 3
