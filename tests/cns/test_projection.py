"""The projection of steps: its formulas row by row, and what it protects."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cns import codec
from cns.drift import Moments, prompt_moments
from cns.projection import RowProjection, hard, soft
from cns.regularizers import REGULARIZERS, History, PastConcept, Ties
from cns.task import TrainingConstraints
from cns.training import learn_concept
from tests.cns.test_training import SETTINGS, silent, stored, task

NAME = "a.attn2.to_k.weight"
CPU = torch.device("cpu")


def moment(seed: int, size: int = 9, rank: int = 30):
    root = torch.randn((size, rank), generator=torch.Generator().manual_seed(seed))
    return root @ root.T / rank


def mask_of(sizes, width: int = 9):
    """One row a size, with that many entries, at places of its own."""
    mask = torch.zeros((len(sizes), width), dtype=torch.bool)
    for row, size in enumerate(sizes):
        mask[row, torch.randperm(width, generator=torch.Generator().manual_seed(row))[:size]] = True
    return mask


def change_of(mask):
    return torch.randn(mask.shape, generator=torch.Generator().manual_seed(3)) * mask


@pytest.mark.parametrize("sizes", [(6, 6, 6), (9, 3, 1, 0, 6), (0, 0)])
def test_soft_is_the_inverse_on_each_rows_own_entries(sizes):
    mask, s = mask_of(sizes), moment(0)
    change = change_of(mask)
    found = RowProjection({NAME: mask}, {NAME: s}, soft(2.5), CPU)({NAME: change})[NAME]
    for row, size in enumerate(sizes):
        own = mask[row]
        expected = torch.linalg.solve(torch.eye(size) + 2.5 * s[own][:, own], change[row][own])
        torch.testing.assert_close(found[row][own], expected, rtol=1e-4, atol=1e-5)
        assert not found[row][~own].any()


@pytest.mark.parametrize("sizes", [(6, 6, 6), (9, 3, 2, 0, 6)])
def test_hard_takes_out_the_leading_third_of_each_rows_directions(sizes):
    mask, s = mask_of(sizes), moment(0)
    change = change_of(mask)
    projection = RowProjection({NAME: mask}, {NAME: s}, hard, CPU)
    found = projection({NAME: change})[NAME]
    for row, size in enumerate(sizes):
        own = mask[row]
        vectors = torch.linalg.eigh(s[own][:, own]).eigenvectors.flip(1)[:, : size // 3]
        expected = change[row][own] - vectors @ (vectors.T @ change[row][own])
        torch.testing.assert_close(found[row][own], expected, rtol=1e-4, atol=1e-5)
        assert not found[row][~own].any()
    torch.testing.assert_close(projection({NAME: found})[NAME], found, rtol=1e-4, atol=1e-5)  # idempotent


def test_hard_leaves_directions_alone_that_no_prompt_uses():
    """A moment of rank one: of the three directions that could go, one is used."""
    mask = torch.ones((1, 9), dtype=torch.bool)
    direction = torch.arange(1.0, 10.0)
    projection = RowProjection({NAME: mask}, {NAME: torch.outer(direction, direction)}, hard, CPU)
    change = change_of(mask)
    found = projection({NAME: change})[NAME]
    unit = direction / direction.norm()
    torch.testing.assert_close(found[0], change[0] - unit * (unit @ change[0]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["project", "project-hard"])
def test_without_a_past_nothing_is_projected_and_the_tie_to_the_base_is_that_of_features(name):
    base, parent, now = ({NAME: torch.randn((4, 9), generator=torch.Generator().manual_seed(k))} for k in range(3))
    history = History(base, parent, {NAME: mask_of((6, 6, 6, 6))}, [], Moments(moment(1), moment(2)))
    ties = REGULARIZERS[name](history, 7.0, 0.5)
    assert isinstance(ties, Ties)
    assert ties.project is None
    assert ties.finish is None
    assert float(ties(now)) == float(REGULARIZERS["features"](history, 7.0, 0.5)(now))


def test_features_parent_is_features_measured_from_the_parent():
    base, parent, now = ({NAME: torch.randn((4, 9), generator=torch.Generator().manual_seed(k))} for k in range(3))
    mask, calibration = {NAME: mask_of((6, 6, 6, 6))}, Moments(moment(1), moment(2))
    past = PastConcept({NAME: torch.randn((4, 9))}, Moments(moment(5), moment(6)), mask)
    history = History(base, parent, mask, [past], calibration)
    moved = History(base, parent, mask, [dataclasses.replace(past, birth=parent)], calibration)
    found = float(REGULARIZERS["features-parent"](history, 3.0, 0.5)(now))
    assert found == float(REGULARIZERS["features"](moved, 3.0, 0.5)(now))
    assert found != float(REGULARIZERS["features"](history, 3.0, 0.5)(now))


@pytest.fixture
def trained(tiny_folders):
    """Train with a regularizer beside one past concept; returns what was learned and the energy it costs that one."""
    from tests.cns.conftest import tiny_model

    def train(reg: str, prompts=("a cat on the grass", "a cat"), **changes):
        model = tiny_model(tiny_folders["sd-1"])
        parent = model.set_concepts([])
        general = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in model.base.items()}
        moments = prompt_moments(model.pipeline, prompts)
        past = [PastConcept(parent, moments, {name: ~mask for name, mask in general.items()})]
        constraints = TrainingConstraints(past, prompt_moments(model.pipeline, ["a dog", ""]), general)
        settings = dataclasses.replace(
            SETTINGS, **{"reg": reg, "anchor_strength": 0.0, "steps": 12, "budget": 1500, **changes}
        )
        learned = learn_concept(model, parent, task(), constraints, settings, silent)
        now = model.compose([learned.weights])
        moved = {name: now[name] - parent[name] for name in parent}
        felt = sum(float(((moved[n] @ moments.of(n)) * moved[n]).sum()) for n in moved)
        return learned, felt / max(1e-30, sum(float(one.square().sum()) for one in moved.values()))

    return train


@pytest.mark.parametrize("reg", ["features", "features-parent", "weights"])
def test_a_penalty_changes_what_is_learned(trained, reg):
    assert stored(trained(reg, reg_strength=1e4)[0]) != stored(trained("none")[0])


@pytest.mark.parametrize("reg", REGULARIZERS)
def test_one_weight_can_be_learned(trained, reg):
    """All but one of the masks are empty."""
    learned, _ = trained(reg, budget=1)
    assert codec.count_weights(codec.decode(*codec.encode(learned.weights.delta))) == 1


def test_old_prompts_feel_less_of_a_projected_update_of_the_same_length(trained):
    _, free = trained("none")
    soft_learned, softly = trained("project", reg_strength=100.0)
    hard_learned, hardly = trained("project-hard")
    assert softly < 0.5 * free
    assert hardly < 0.5 * free
    for learned in (soft_learned, hard_learned):
        left = learned.series["energy_left"]
        assert len(left) == 12
        assert all(0 < share < 1.001 for share in left)
        assert any(sparse.steps.any() for sparse in learned.weights.delta.values())


def test_a_stronger_projection_leaves_less_energy(trained):
    means = [sum(trained("project", reg_strength=a)[0].series["energy_left"]) for a in (0.1, 10.0, 1000.0)]
    assert means[0] > means[1] > means[2]


@pytest.mark.parametrize("reg", ["project", "project-hard"])
def test_the_same_seed_gives_the_same_bytes_with_a_past(trained, reg):
    assert stored(trained(reg)[0]) == stored(trained(reg)[0])
