"""A classroom on a tiny random pipeline, and the first concepts of the tuning stream."""

from __future__ import annotations

import pytest

from benchmarks.classroom import Classroom
from benchmarks.concept_stream import Concept, load_stream
from benchmarks.lab import QUICK, Lab
from tests.tiny import tiny_sd


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tiny_sd(tmp_path_factory.mktemp("tiny") / "base", variant="emoji-64")
    return Lab(QUICK, folder=folder, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def room(lab: Lab) -> Classroom:
    return lab.room


@pytest.fixture(scope="session")
def concepts() -> list[Concept]:
    return load_stream("tune").order(0, 2)
