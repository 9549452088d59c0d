"""R9, quick: 50 random walks. `nox -s torture -- R9 --size full` makes 1,000."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from cns.compose import ConceptWeights, Weights
from tests.torture.walks import WALKS, Walker


def test_weights_depend_on_the_set_of_concepts_alone(tmp_path: Path) -> None:
    walker = Walker(tmp_path)
    for number in range(WALKS["quick"]):
        walker.walk(number)
    assert walker.seen.faults == []
    assert walker.seen.revisits > 200
    assert len(walker.seen.visits) > 30


def test_weights_that_are_added_up_along_the_way_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: floats are added to the live model, and subtracted when a concept goes."""
    walker = Walker(tmp_path)
    model = walker.model
    live = {name: weight.clone() for name, weight in model.base.items()}
    holds: dict[str, ConceptWeights] = {}

    def add(concept: ConceptWeights, sign: int) -> None:
        for name, sparse in concept.delta.items():
            values = torch.from_numpy(sparse.steps.astype("float32") * 2.0**sparse.exponent * sign)
            live[name].view(-1)[torch.from_numpy(sparse.positions)] += values

    def added_up(concepts: Sequence[ConceptWeights]) -> Weights:
        wanted = {concept.name: concept for concept in concepts}
        for name in [name for name in holds if name not in wanted]:
            add(holds.pop(name), -1)
        for name in [name for name in wanted if name not in holds]:
            add(wanted[name], 1)
            holds[name] = wanted[name]
        return {name: weight.clone() for name, weight in live.items()}

    monkeypatch.setattr(model, "compose", added_up)
    for number in range(3):
        walker.walk(number)
    assert any("another bit than the first time" in fault for fault in walker.seen.faults)
