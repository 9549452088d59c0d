"""Captions, licences and held-out pairs: what the recipe promises before anything is trained."""

from __future__ import annotations

import dataclasses
import re

import pytest

from base_model.calibration import CALIBRATION_COUNT, calibration_table
from base_model.sources import ICON_SOURCES, NAMES_SOURCE, STYLES, SourceError, check_licence
from base_model.vocabulary import (
    DRAWN_PHRASES,
    HELD_OUT_PER_NOUN,
    NOUNS,
    PHRASES,
    article,
    held_out_phrases,
    held_out_prompts,
    is_held_out,
    single_caption,
)


def test_no_training_source_asks_for_attribution_of_every_copy() -> None:
    assert {source.licence for source in ICON_SOURCES if source.is_trained_on} <= {"MIT", "Apache-2.0"}


def test_artists_of_the_concepts_are_not_trained_on() -> None:
    assert {"fxemoji", "twemoji"}.isdisjoint(STYLES)


@pytest.mark.parametrize("stated", ["GPL-3.0", None, "mit"])
def test_unreviewed_licence_stops_the_recipe(stated: str | None) -> None:
    with pytest.raises(SourceError, match="licence"):
        check_licence(NAMES_SOURCE, stated)


def test_attribution_licence_is_refused_for_training() -> None:
    source = dataclasses.replace(ICON_SOURCES[0], licence="CC-BY-4.0")
    with pytest.raises(SourceError, match="not among"):
        check_licence(source, "CC-BY-4.0")


def test_reviewed_licences_pass() -> None:
    for source in ICON_SOURCES:
        check_licence(source, source.licence)


def test_every_pin_is_exact() -> None:
    for source in ICON_SOURCES:
        assert re.fullmatch(r"\d+\.\d+\.\d+", source.version)
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)


def test_article_follows_the_next_word() -> None:
    assert single_caption("apple", "on the grass") == "an apple on the grass"
    assert single_caption("apple", "on the grass", "noto") == "a noto apple on the grass"
    assert single_caption("owl", "at sunset", "flat", small=True) == "a small flat owl at sunset"
    assert "on an orange background" in PHRASES


def test_every_noun_has_held_out_backgrounds_of_both_kinds() -> None:
    for noun in NOUNS:
        phrases = held_out_phrases(noun)
        assert len(set(phrases)) == HELD_OUT_PER_NOUN
        assert sum(phrase in DRAWN_PHRASES for phrase in phrases) == HELD_OUT_PER_NOUN // 2


def test_held_out_prompts_are_held_out_and_distinct() -> None:
    pairs = held_out_prompts(200)
    assert len(set(pairs)) == 200
    assert all(is_held_out(*pair) for pair in pairs)
    assert {noun for noun, _ in pairs} == set(NOUNS)


def test_more_prompts_than_are_held_out_is_an_error() -> None:
    with pytest.raises(ValueError, match="held out"):
        held_out_prompts(len(NOUNS) * HELD_OUT_PER_NOUN + 1)


def test_calibration_is_deterministic_distinct_and_split_by_parity() -> None:
    table = calibration_table()
    prompts = table["prompts"]
    assert table == calibration_table()
    assert len({entry["prompt"] for entry in prompts}) == CALIBRATION_COUNT >= 200
    assert all(entry["split"] == ("held_out" if entry["index"] % 2 else "selection") for entry in prompts)


def test_every_noun_is_in_both_halves_of_the_calibration() -> None:
    for split in ("selection", "held_out"):
        text = " ".join(entry["prompt"] for entry in calibration_table()["prompts"] if entry["split"] == split)
        assert all(noun in text for noun in NOUNS)


def test_article_of_every_noun_matches_its_first_letter() -> None:
    assert {noun for noun in NOUNS if article(noun) == "an"} >= {"apple", "elephant", "ice cream", "octopus", "owl"}
