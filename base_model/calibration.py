"""The two word lists that ship with the base: its vocabulary, and diverse prompts to calibrate on.

Both are functions of the vocabulary and a fixed seed, so a rebuilt base has the same ones, byte for byte.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from base_model.backgrounds import draw_phrase
from base_model.scenes import PAIR_SHARE, SECOND_STYLE_SHARE, SMALL_SHARE, STYLE_SHARE
from base_model.sources import STYLES
from base_model.vocabulary import NOUNS, PHRASES, VERSION, article, pair_caption, single_caption

CALIBRATION_VERSION = 1
CALIBRATION_COUNT = 256
CALIBRATION_SEED = 2510


def vocabulary_table() -> dict:
    """The contents of `nouns.json`: nouns with their articles, backgrounds, artists' style words, size words."""
    return {
        "version": VERSION,
        "nouns": [{"noun": noun, "article": article(noun)} for noun in NOUNS],
        "backgrounds": list(PHRASES),
        "styles": list(STYLES.values()),
        "sizes": ["small"],
    }


def calibration_table() -> dict:
    """The contents of `calibration.json`: distinct prompts from the distribution of the captions.

    Prompts of even index are for selecting neurons and for regularizing, those of odd index only for judging: neither
    half may learn from the other.
    """
    rng = np.random.default_rng(CALIBRATION_SEED)
    prompts: dict[str, None] = {}  # a set that keeps the order
    while len(prompts) < CALIBRATION_COUNT:
        # Nouns by turns, so that every one of them occurs in both halves.
        noun = NOUNS[(len(prompts) // 2) % len(NOUNS)]
        prompts[_prompt(noun, rng)] = None
    return {
        "version": CALIBRATION_VERSION,
        "base": VERSION,
        "seed": CALIBRATION_SEED,
        "prompts": [
            {"index": index, "prompt": prompt, "split": "held_out" if index % 2 else "selection"}
            for index, prompt in enumerate(prompts)
        ],
    }


def _prompt(noun: str, rng: Generator) -> str:
    phrase = draw_phrase(rng)
    style = _style(rng, STYLE_SHARE)
    if rng.random() < PAIR_SHARE:
        first = " ".join(filter(None, (style, noun)))
        second = " ".join(filter(None, (_style(rng, SECOND_STYLE_SHARE), NOUNS[rng.integers(len(NOUNS))])))
        return pair_caption(first, second, phrase)
    return single_caption(noun, phrase, style, bool(rng.random() < SMALL_SHARE))


def _style(rng: Generator, share: float) -> str | None:
    styles = list(STYLES.values())
    return styles[rng.integers(len(styles))] if rng.random() < share else None
