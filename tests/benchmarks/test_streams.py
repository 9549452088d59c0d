"""The stream files fix what is learned and how it is judged, and the pictures are those that they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from base_model.concepts import CONCEPT_ICONS
from base_model.streams import STREAMS, pictures_digest, streams_notice
from base_model.vocabulary import NOUNS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "streams"


def content(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(params=[plan.name for plan in STREAMS])
def stream(request: pytest.FixtureRequest) -> dict[str, Any]:
    return content(request.param)


def test_pictures_are_those_that_the_file_names(stream: dict[str, Any]) -> None:
    folder = FOLDER / stream["name"]
    assert {path.name for path in folder.iterdir()} == {concept["name"] for concept in stream["concepts"]}
    for concept in stream["concepts"]:
        assert pictures_digest(folder / concept["name"]) == concept["sha256"]


def test_pictures_are_small_squares_with_captions(stream: dict[str, Any]) -> None:
    for picture in (FOLDER / stream["name"]).glob("*/*.png"):
        assert np.asarray(Image.open(picture)).shape == (64, 64, 3)
        assert "{name}" in picture.with_suffix(".txt").read_text()


def test_twenty_concepts_some_of_which_the_base_never_saw(stream: dict[str, Any]) -> None:
    known = [concept["known"] for concept in stream["concepts"]]
    assert len(known) == 20
    assert 2 <= known.count(False) <= 6
    assert all(concept["known"] == (concept["noun"] in NOUNS) for concept in stream["concepts"])


def test_orders_are_different_permutations(stream: dict[str, Any]) -> None:
    names = {concept["name"] for concept in stream["concepts"]}
    assert len(stream["orders"]) >= 3
    assert len({order[0] for order in stream["orders"]}) >= 3
    assert all(set(order) == names and len(order) == len(names) for order in stream["orders"])


def test_zero_shot_prompts_are_held_out_calibration_prompts(stream: dict[str, Any]) -> None:
    table = json.loads((ROOT / "cns" / "bases" / "emoji-64-v1" / "calibration.json").read_text())
    held_out = {entry["prompt"] for entry in table["prompts"] if entry["split"] == "held_out"}
    assert len(stream["zero_shot"]) == 40
    assert set(stream["zero_shot"]) <= held_out


def test_nothing_is_asked_for_together_twice(stream: dict[str, Any]) -> None:
    asked = [name for group in [*stream["pairs"], *stream["triples"]] for name in group]
    assert len(set(asked)) == len(asked)
    assert {len(group) for group in stream["pairs"]} == {2}
    assert {len(group) for group in stream["triples"]} == {3}


def test_no_drawing_that_earlier_settings_were_tuned_on_is_reported_on() -> None:
    assert not {concept["icon"] for concept in content("report")["concepts"]} & set(CONCEPT_ICONS.values())


def test_the_streams_share_no_class() -> None:
    tune, report = ({concept["noun"] for concept in content(name)["concepts"]} for name in ("tune", "report"))
    assert not tune & report


def test_notice_attributes_the_pictures() -> None:
    assert (ROOT / "NOTICE").read_text().endswith(streams_notice())
