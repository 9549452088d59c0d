"""The merge benchmark at its smallest on a tiny pipeline, and its tables of hand-made cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import merging
from benchmarks.cells import Cells
from benchmarks.concept_stream import Concept
from benchmarks.experiment_setup import Setup
from benchmarks.peers.loop import Recipe
from benchmarks.peers.lora import LoraEach, LoraMerged, LoraOne


def test_each_method_is_scored_in_its_branch_and_merged(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "BRANCH", 1)
    monkeypatch.setattr(merging, "PICTURE", tmp_path / "merge.png")
    found = merging.measure(setup, Cells(None), 1, tmp_path)
    assert set(found) == set(merging.SHEET)
    assert all(min(cell["drift"].values()) > 0 for (cell,) in found.values())  # the other branch's delta acts
    merging.sheet(setup, tmp_path)
    assert (tmp_path / "merge.png").exists()
    summary, concepts = merging.report(found).tables
    assert len(summary.rows) == len(found) + 1  # and each adapter alone
    assert len(concepts.rows) == 2 * len(found)


def cell(before: float, after: float) -> dict[str, Any]:
    """One concept on two prompts."""
    sides = {
        side: {"rex": {score: [value, value + 0.1] for score in merging.SCORES}}
        for side, value in (("before", before), ("after", after))
    }
    return {**sides, "alone": {}, "drift": {"rex": 0.25}}


def test_drops_are_paired_over_prompts_and_seeds() -> None:
    made = merging.report({"CNS": [cell(0.5, 0.4), cell(0.7, 0.6)]})
    (row,) = made.tables[0].rows
    assert row == ["CNS", "0.650", "0.550", "+0.100 (+0.100 to +0.100)", *row[1:4], "+0.100", "0, 1, 0", "0.25"]


def test_one_adapter_of_one_is_that_adapter(trainer: Any, concepts: list[Concept], setup: Setup) -> None:
    each, one = LoraEach(Recipe(1e-2, 3)), LoraOne(Recipe(1e-2, 3), 1.0)
    state = each.learn(trainer, None, concepts[0], seed=7)
    each.put(trainer, state, [concepts[0].name])
    plain = merging.live_weights(setup)
    one.put(trainer, state, [])
    again = merging.live_weights(setup)
    assert all(torch.allclose(plain[name], again[name], atol=1e-6) for name in plain)
    assert any(not torch.equal(plain[name], trainer.model.base[name]) for name in plain)


def test_fused_weights_are_the_active_ones(trainer: Any, concepts: list[Concept], setup: Setup) -> None:
    each, fused = LoraEach(Recipe(1e-2, 3)), LoraMerged(Recipe(1e-2, 3), 1.0)
    state = None
    for concept in concepts:
        state = each.learn(trainer, state, concept, seed=7)
    each.put(trainer, state, [concept.name for concept in concepts])
    active = merging.live_weights(setup)
    fused.put(trainer, state, [])
    assert all(torch.allclose(active[name], weight, atol=1e-6) for name, weight in merging.live_weights(setup).items())
