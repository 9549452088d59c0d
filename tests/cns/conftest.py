"""Tiny random models for the tests of the method."""

from __future__ import annotations

from pathlib import Path

import pytest

from cns import grid
from cns.compose import Model, kv_parameters
from cns.loading import load_pipeline
from tests.tiny import UNETS, VARIANTS, tiny_sd

GRID_BITS = 11


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny base of every family."""
    return {variant: tiny_sd(tmp_path_factory.mktemp(variant), variant=variant) for variant in VARIANTS}


def tiny_model(folder: Path) -> Model:
    """A model of a tiny base, fresh: tests change its weights and its vocabulary."""
    pipeline = load_pipeline(folder)
    exponents = {
        name: grid.exponent(weight.detach().numpy(), GRID_BITS) for name, weight in kv_parameters(pipeline).items()
    }
    return Model(pipeline, exponents)


@pytest.fixture
def model(tiny_folders: dict[str, Path]) -> Model:
    """A fresh tiny model of the SD 1.x family."""
    return tiny_model(tiny_folders["sd-1"])


@pytest.fixture(params=UNETS)
def clip_model(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> Model:
    """A fresh tiny model of each family that reads prompts by CLIP, in turn."""
    return tiny_model(tiny_folders[request.param])


@pytest.fixture(params=VARIANTS)
def any_model(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> Model:
    """A fresh tiny model of each family in turn."""
    return tiny_model(tiny_folders[request.param])
