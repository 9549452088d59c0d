"""Registries whose prompts see what they name: all that draws draws the same; what is not named changes no bit."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cns.named import named_weights
from cns_cli.porcelain.gate.weights import weight_gates
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.models.live import LivePipeline
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.porcelain.pictures.files import read_picture
from cns_cli.porcelain.pictures.plan import plan_of
from cns_cli.porcelain.pictures.record import read_record
from cns_cli.porcelain.pictures.serving import PictureService
from cns_cli.progress import NullProgress
from registry.repository import Repository
from registry.trees import composing, seen
from tests.porcelain.conftest import NOON, copied

REX = "a <rex> dog"


@pytest.fixture
def harmed(tmp_path: Path, _harmed: Path) -> Path:
    """A registry of rex, tom, and mug, which harms both where all are composed."""
    return copied(_harmed, tmp_path)


@pytest.fixture
def named(harmed: Path) -> Path:
    """The same, its last commit composing by name."""
    repo = Repository(harmed)
    repo.commit(
        kind="compose", message="", author="ann", time=NOON + 300, record=None,
        change=partial(composing, compose="named"), seen=repo.head().commit, keep_as="compose",
    )  # fmt: skip
    return harmed


def draw(folder: Path, prompt: str = REX, **changes: Any) -> np.ndarray:
    settings: dict[str, Any] = {"steps": 2, "guidance": 3.0, **changes}
    options = GenerateOptions(start=folder, prompt=prompt, out=folder / "x.png", **settings)
    generate(options, NullProgress())
    return np.asarray(Image.open(folder / "x.png").convert("RGB"))


@pytest.mark.parametrize("regions", [(), ("rex@0,0,0.5,1",)])
def test_a_concept_that_is_not_named_changes_no_bit(harmed: Path, regions: tuple[str, ...]) -> None:
    before, after = (draw(harmed, at=at, regions=regions) for at in ("HEAD~1", "HEAD"))
    assert not np.array_equal(before, after)
    before, after = (draw(harmed, at=at, regions=regions, compose="named") for at in ("HEAD~1", "HEAD"))
    assert np.array_equal(before, after)


def test_a_picture_says_how_it_was_composed_and_the_tree_decides_unless_asked(named: Path) -> None:
    for request, expected in (({}, "named"), ({"compose": "all"}, "all"), ({"at": "HEAD~1"}, "all")):
        draw(named, **request)
        record = read_picture(named / "x.png")
        assert record.compose == expected
        assert f"--compose {expected}" in record.command()


def test_a_picture_from_before_the_choice_is_read_and_its_command_is_as_it_was(harmed: Path) -> None:
    draw(harmed)
    text = json.loads(read_picture(harmed / "x.png").to_text())
    del text["compose"]
    record = read_record(json.dumps(text), "x.png")
    assert record.compose is None
    assert "--compose" not in record.command()


def test_each_commit_of_a_range_composes_in_its_own_way(named: Path) -> None:
    stops = plan_of(GenerateOptions(start=named, prompt=REX, at="HEAD~1..HEAD")).stops
    assert [stop.tree.compose for stop in stops] == ["all", "named"]
    stops = plan_of(GenerateOptions(start=named, prompt=REX, at="HEAD~1..HEAD", compose="all")).stops
    assert [stop.tree.compose for stop in stops] == ["all", "all"]


def test_a_served_model_makes_the_file_of_generate(named: Path) -> None:
    data, _ = PictureService(named).picture({"prompt": REX, "steps": 2, "guidance": 3.0})
    draw(named)
    assert data == (named / "x.png").read_bytes()


def test_judged_pictures_are_those_that_prompts_see(named: Path) -> None:
    session = Session.open(Repository(named), "cpu")
    tree = session.repo.tree_of("HEAD")
    session.set_tree(tree)
    whole = session.base.images([REX, "a dog"], [0, 0])
    session.set_tree(seen(tree, ["rex"]))
    assert np.array_equal(session.base.images([REX, "a dog"], [0, 0]), whole)
    session.set_tree(composing(tree, "all"))
    assert not np.array_equal(session.base.images([REX, "a dog"], [0, 0]), whole)


def test_the_gates_of_the_weights_hold(named: Path) -> None:
    session = Session.open(Repository(named), "cpu")
    tree = session.repo.tree_of("HEAD")
    assert all(weight_gates(session, tree, session.set_tree(tree)).values())


def test_a_pipeline_for_tests_composes_as_its_revision_does(named: Path) -> None:
    def first(pipeline: Any) -> np.ndarray:
        made = pipeline(REX, num_inference_steps=2, guidance_scale=3.0, generator=torch.Generator().manual_seed(0))
        return np.asarray(made.images[0])

    live = LivePipeline(Repository(named), device="cpu")
    expected = draw(named)
    assert np.array_equal(first(live.pipeline), expected)
    live.pipeline.text_encoder.get_input_embeddings().weight.data.zero_()
    assert np.array_equal(first(live.reset()), expected)
    assert named_weights(live.reset("HEAD~1")) is None
    assert np.array_equal(first(live.pipeline), draw(named, at="HEAD~1"))
