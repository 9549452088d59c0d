"""The loop: schedules, budgets that survive a restart, Muon's orthogonal updates, centred latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from base_model.muon import Muon, orthogonalised
from base_model.training import Schedule, Training, matrix_optimizers
from base_model.unet import spread_timesteps
from base_model.vae import centre_latents, encode, new_vae, reconstruct


def test_schedule_rises_stays_and_falls() -> None:
    schedule = Schedule(warmup_steps=10, decay_from=0.5, floor=0.01)
    assert schedule.share(0, 0.0) == pytest.approx(0.1)
    assert schedule.share(100, 0.5) == pytest.approx(1.0)
    assert schedule.share(100, 0.75) == pytest.approx(0.5)
    assert schedule.share(100, 1.0) == pytest.approx(0.01)


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 8, 20), (2, 20, 8)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape), 5))
        assert values.min() > 0.5
        assert values.max() < 1.4


def test_muon_lowers_a_loss() -> None:
    torch.manual_seed(0)
    weight, goal = nn.Parameter(torch.zeros(6, 4)), torch.randn(6, 4)
    optimizer = Muon([weight], lr=0.05)
    losses = []
    for _ in range(60):
        loss = (weight - goal).square().mean()
        loss.backward()
        optimizer.step()
        weight.grad = None
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def _training(folder: Path, minutes: float) -> Training:
    torch.manual_seed(0)
    modules = nn.ModuleDict({"line": nn.Linear(3, 2)})
    optimizers = matrix_optimizers([(modules["line"], 0.01)], excluded=lambda name: False)
    return Training(modules, optimizers, Schedule(2, 0.5), minutes, folder / "checkpoint.pt", seed=4, ema_decay=0.9)


def test_spent_budget_is_not_spent_again(tmp_path: Path) -> None:
    first = _training(tmp_path, 0.004)
    weights = first.run(lambda generator: first.modules["line"](torch.randn(5, 3, generator=generator)).sum())

    def never(generator: torch.Generator) -> torch.Tensor:
        raise AssertionError("the budget was spent before")

    again = _training(tmp_path, 0.004).run(never)
    for name, value in weights.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_timesteps_cover_the_schedule_evenly() -> None:
    timesteps = spread_timesteps(10, torch.Generator().manual_seed(0))
    assert (timesteps // 100).tolist() == list(range(10))


@torch.no_grad()
def test_centring_latents_does_not_change_what_is_decoded() -> None:
    torch.manual_seed(0)
    vae = new_vae().eval()
    scenes = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3)).astype(np.uint8)
    before = reconstruct(vae, scenes)
    centre_latents(vae, scenes)
    latents = encode(vae, scenes) * vae.config.scaling_factor
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(4), atol=0.05)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(4), atol=0.05)
    assert torch.allclose(reconstruct(vae, scenes), before, atol=2e-3)
