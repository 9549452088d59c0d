"""Scenes are a function of drawings, count and seed, and training scenes leave out what the evaluation asks for."""

from __future__ import annotations

import numpy as np
import pytest

from base_model.backgrounds import paint_background
from base_model.drawings import slug
from base_model.scenes import Artwork, scene_arrays, scenes
from base_model.vocabulary import NOUNS, PHRASES, is_held_out


@pytest.fixture(scope="module")
def artworks() -> list[Artwork]:
    """Coloured squares in the place of drawings: the tests need no package."""
    rng = np.random.default_rng(0)
    drawings = []
    for noun in NOUNS[:12]:
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[8:56, 8:56] = (*rng.integers(0, 256, 3), 255)
        drawings.append(Artwork(pixels, noun, "noto"))
    return drawings


def test_one_seed_gives_the_same_scenes(artworks: list[Artwork]) -> None:
    first, again = (scene_arrays(scenes(artworks, 40, 5, training=True), 40) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]


def test_another_seed_gives_other_scenes(artworks: list[Artwork]) -> None:
    captions = [scene_arrays(scenes(artworks, 40, seed, training=True), 40)[1] for seed in (5, 6)]
    assert captions[0] != captions[1]


def test_training_scenes_show_no_held_out_pair(artworks: list[Artwork]) -> None:
    _, captions = scene_arrays(scenes(artworks, 800, 7, training=True), 800)
    for caption in captions:
        phrase = max((phrase for phrase in PHRASES if caption.endswith(phrase)), key=len)
        shown = [noun for noun in NOUNS if f" {noun} " in caption]
        assert shown
        assert not any(is_held_out(noun, phrase) for noun in shown), caption


def test_scenes_that_measure_may_show_held_out_pairs(artworks: list[Artwork]) -> None:
    _, captions = scene_arrays(scenes(artworks, 400, 7, training=False), 400)
    assert any(caption.endswith(phrase) and is_held_out(noun, phrase) for caption in captions
               for noun in NOUNS[:12] if f" {noun} " in caption for phrase in PHRASES)  # fmt: skip


def test_every_drawing_is_shown_equally_often(artworks: list[Artwork]) -> None:
    _, captions = scene_arrays(scenes(artworks, 300, 9, training=True), 300)
    counts = [sum(f" {artwork.noun} " in caption for caption in captions) for artwork in artworks]
    assert max(counts) - min(counts) <= 8  # pairs that show one noun twice count once


@pytest.mark.parametrize("phrase", PHRASES)
def test_every_background_is_painted_and_varies(phrase: str) -> None:
    rng = np.random.default_rng(1)
    first, second = paint_background(phrase, rng), paint_background(phrase, rng)
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)


def test_slug_matches_the_keys_of_the_icons() -> None:
    assert slug("red apple") == "red-apple"
    assert slug("woman’s hat") == "womans-hat"
