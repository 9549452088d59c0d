"""A trainer on a tiny random pipeline, and the first concepts of the tuning stream."""

from __future__ import annotations

import pytest

from benchmarks.concept_stream import Concept, load_stream
from benchmarks.experiment_setup import QUICK, Setup
from benchmarks.trainer import Trainer
from tests.quick import few_steps
from tests.tiny import tiny_sd


@pytest.fixture(scope="session")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder = tiny_sd(tmp_path_factory.mktemp("tiny") / "base", variant="emoji-64")
    made = Setup(QUICK, folder=folder, cache=tmp_path_factory.mktemp("cache"))
    with few_steps():
        assert made.trainer  # which keeps the family that it was made with, and draws noise in few steps
    return made


@pytest.fixture(scope="session")
def trainer(setup: Setup) -> Trainer:
    return setup.trainer


@pytest.fixture(scope="session")
def concepts() -> list[Concept]:
    return load_stream("tune").order(0, 2)
