"""Figures that look good and are not: pictures that the base cannot draw, prompts less followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cns.families import SD_1
from cns.files.bases import describe_base, resolve_base
from cns.files.images import load_images
from cns.imagescores import Scores
from cns.sampling import Pixels
from cns_cli.porcelain.learning.doubts import MAX_LOSS, less_followed, not_drawn, weaker_alone
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.scoring.judging import features_of, judge_images, told_by_prompt

EXAMPLES = Path(__file__).parents[3] / "examples" / "concepts"

NOISE = np.random.default_rng(0).normal(0, 0.02, (10, 2))


def test_prompts_that_are_followed_less_are_said_where_it_is_no_noise() -> None:
    all_told, none = np.ones((10, 2), bool), np.zeros((10, 2), bool)
    half, some = all_told.copy(), all_told.copy()
    half[:, 1] = False
    some[0] = False
    (said,) = less_followed(all_told, half)
    assert "CLIP tells 50% of the pictures by their prompt, and told 100%" in said
    assert less_followed(all_told, none)
    assert less_followed(all_told, some) == ()  # one prompt in ten, which may be luck
    assert less_followed(half, all_told) == ()


@pytest.mark.embedded
def test_a_picture_is_told_by_its_prompt_whatever_the_thing_looks_like() -> None:
    folder = resolve_base("emoji-64")
    base = LoadedBase.open(folder, describe_base(folder), "cpu")
    pictures = judge_images(base, "dog", 0, 1, 0)
    assert told_by_prompt(*features_of(base, pictures, "dog")).all()
    other = told_by_prompt(*features_of(base, pictures, "mushroom"))
    assert other.mean() > 0.8  # of another noun, the backgrounds are as asked
    assert told_by_prompt(*features_of(base, pictures[::-1], "dog")).mean() < 0.2


def test_a_phrase_that_shows_less_without_a_background_is_said() -> None:
    def main(identity: float) -> Scores:
        return Scores(identity + NOISE, None, NOISE)

    (said,) = weaker_alone("<rex> dog", main(0.85), main(0.625))
    assert '"a <rex> dog" alone' in said
    assert "say where it is" in said
    assert weaker_alone("<rex> dog", main(0.85), main(0.85 - MAX_LOSS + 0.02)) == ()
    assert weaker_alone("<rex> dog", main(0.85), main(0.9)) == ()


@pytest.mark.embedded
def test_photographs_are_said_to_be_none_that_the_embedded_base_draws() -> None:
    folder = resolve_base("emoji-64")
    base = LoadedBase.open(folder, describe_base(folder), "cpu")
    for noun in ("dog", "cat", "hamburger"):
        assert not_drawn(base, load_images(EXAMPLES / noun, 64).pixels) == ()
    (said,) = not_drawn(base, photographic())
    assert "not of the kind that the base draws" in said


def test_a_base_that_nobody_measured_has_no_doubt() -> None:
    assert SD_1.max_reconstruction_error is None


def photographic() -> Pixels:
    """Texture on every scale, as photographs have it: the amplitude of a frequency is its inverse."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)) + 1 / 64
    waves = np.fft.fft2(rng.normal(size=(4, 3, 64, 64))) / frequency
    pictures = np.fft.ifft2(waves).real
    pictures = 128 + 60 * (pictures - pictures.mean((2, 3), keepdims=True)) / pictures.std((2, 3), keepdims=True)
    return pictures.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
