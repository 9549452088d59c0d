"""What histories and deltas are measured beside: the same commits in git, the same sums of dense matrices."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import scale, synthetic_registry


def test_git_gets_the_same_history(tmp_path: Path) -> None:
    repository = synthetic_registry.make_branches(tmp_path / "ours", {"left": 3, "right": 2})
    scale.as_git(repository, ["left", "right"], tmp_path / "git")
    for branch in ("left", "right"):
        said = subprocess.run(
            ["git", "log", "--format=%s %ct", branch], cwd=tmp_path / "git", capture_output=True, text=True, check=True
        )
        ours = [f"{commit.subject} {commit.time}" for _, commit in repository.log(branch)]
        assert said.stdout.splitlines() == ours
        assert len(ours) == {"left": 4, "right": 3}[branch]


def test_the_merge_base_that_is_timed_is_git_s(tmp_path: Path) -> None:
    figures: dict[str, scale.Cell] = {}
    rows = list(scale.branches(tmp_path, 5, 1, figures))  # it asserts what was found
    assert len(rows) == 2
    assert all(isinstance(value, float) and value > 0 for value in figures.values())


def test_matrices_have_the_shapes_of_stable_diffusion() -> None:
    assert 2 * scale.FEATURES * sum(scale.OUTPUTS) == 19_169_280
    model = scale.sd_model(16)
    assert len(model.base) == 2 * len(scale.OUTPUTS)
    assert {tuple(weight.shape) for weight in model.base.values()} == {(20, 48), (40, 48), (80, 48)}


def test_what_is_composed_is_the_sum_of_the_dense_deltas() -> None:
    model = scale.sd_model(16)
    concepts = [scale.sparse_concept(model, np.random.default_rng(seed)) for seed in range(3)]
    composed = model.compose(concepts)
    for name, weight in model.base.items():
        dense = torch.zeros(weight.numel())
        for concept in concepts:
            sparse = concept.delta[name]
            dense[torch.from_numpy(sparse.positions)] += torch.from_numpy(sparse.steps) * 2.0**sparse.exponent
        assert torch.equal(composed[name], weight + dense.reshape(weight.shape))
        assert sparse.count / weight.numel() == pytest.approx(scale.DENSITY, abs=0.03)
