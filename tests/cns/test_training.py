"""Learning a concept: only the mask and the token move, the seed decides everything, what is stored is what is used."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from cns import codec
from cns.compose import kv_parameters
from cns.denoising import Denoiser, draw_batch, encode_images
from cns.drift import prompt_moments
from cns.errors import GridError, MethodError, SettingsError
from cns.flat import learning_rate
from cns.regularizers import REGULARIZERS
from cns.sampling import batches, sample
from cns.selection import SCORES
from cns.task import Settings, TrainingConstraints, TrainingTask
from cns.training import learn_concept
from tests.weights import weights_digest

SETTINGS = Settings(
    score="wanda",
    reg="features",
    reg_strength=10.0,
    anchor_strength=0.3,
    steps=4,
    warmup_steps=2,
    lr=1e-3,
    token_lr=5e-3,
    batch_size=4,
    budget=150,
    general_ratio=0.25,
    general_vote=0.5,
    seed=0,
)


def silent(_stage, _done, _total, **_numbers):
    return None


def task(name: str = "rex") -> TrainingTask:
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    return TrainingTask(name, "dog", f"<{name}>", images, [[f"a <{name}> dog"]] * 3)


def learn(model, settings: Settings = SETTINGS, what: TrainingTask | None = None, *more, **others):
    parent = model.set_concepts([])
    general = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in model.base.items()}
    constraints = TrainingConstraints([], prompt_moments(model.pipeline, ["a dog", "a cat", ""]), general)
    return learn_concept(model, parent, what or task(), constraints, settings, silent, *more, **others)


def stored(learned) -> tuple[bytes, bytes, bytes]:
    rows = {token: row.numpy() for token, row in learned.weights.rows.items()}
    return (*codec.encode(learned.weights.delta), codec.encode_rows(rows))


@pytest.mark.parametrize(
    ("score", "reg"),
    [
        *((score, SETTINGS.reg) for score in SCORES),
        *((SETTINGS.score, reg) for reg in REGULARIZERS if reg != SETTINGS.reg),
    ],
)
def test_the_same_seed_gives_the_same_bytes(tiny_folders, score, reg):
    from tests.cns.conftest import tiny_model

    settings = dataclasses.replace(SETTINGS, score=score, reg=reg)
    one, other = (stored(learn(tiny_model(tiny_folders["sd-1"]), settings)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("kind", ["object", "style"])
def test_what_is_learned_is_of_the_kind_that_was_asked_for(model, kind):
    assert learn(model, what=dataclasses.replace(task(), kind=kind)).weights.kind == kind


def test_another_seed_gives_other_bytes(tiny_folders):
    from tests.cns.conftest import tiny_model

    one = learn(tiny_model(tiny_folders["sd-1"]))
    other = learn(tiny_model(tiny_folders["sd-1"]), dataclasses.replace(SETTINGS, seed=1))
    assert stored(one) != stored(other)


def test_every_family_learns_and_the_budget_is_kept(any_model):
    learned = learn(any_model)
    assert codec.count_weights(learned.weights.delta) == learned.selection.count == SETTINGS.budget
    assert len(learned.series["loss"]) == SETTINGS.steps
    assert len(learned.series["warmup_loss"]) == SETTINGS.warmup_steps
    assert all(np.isfinite(value) for series in learned.series.values() for value in series)
    assert any(sparse.steps.any() for sparse in learned.weights.delta.values())


def test_nothing_outside_the_mask_and_the_token_moves(model):
    unet = {name: value.clone() for name, value in model.pipeline.unet.state_dict().items()}
    rows = model.pipeline.text_encoder.get_input_embeddings().weight.clone()
    learned = learn(model)
    assert torch.equal(model.pipeline.text_encoder.get_input_embeddings().weight[: len(rows)], rows)
    model.set_concepts([learned.weights])
    for name, value in model.pipeline.unet.state_dict().items():
        mask = learned.selection.masks.get(name, torch.zeros_like(value, dtype=torch.bool))
        assert torch.equal(value[~mask], unet[name][~mask]), name


def test_the_live_model_is_the_parent_again_afterwards(model):
    before = weights_digest(model.base)
    learn(model)
    live = {name: weight.detach().clone() for name, weight in kv_parameters(model.pipeline).items()}
    assert weights_digest(live) == before
    assert not any(parameter.requires_grad for parameter in model.pipeline.unet.parameters())


def test_the_live_model_is_the_parent_again_after_an_error(model):
    with pytest.raises(MethodError):
        learn(model, dataclasses.replace(SETTINGS, lr=1e12, steps=12))
    live = {name: weight.detach().clone() for name, weight in kv_parameters(model.pipeline).items()}
    assert weights_digest(live) == weights_digest(model.base)


def test_a_training_that_diverges_says_so(model):
    with pytest.raises((GridError, MethodError), match="diverged"):
        learn(model, dataclasses.replace(SETTINGS, lr=1e12, steps=12))


@pytest.mark.parametrize(
    "change",
    [
        {"score": "luck"},
        {"reg": "hope"},
        {"steps": 0},
        {"batch_size": 0},
        {"budget": 0},
        {"lr": 0.0},
        {"lr": math.nan},
        {"token_lr": -1.0},
        {"general_ratio": 0.0},
        {"general_vote": 1.5},
    ],
)
def test_settings_that_cannot_work_are_refused(model, change):
    with pytest.raises(SettingsError):
        learn(model, dataclasses.replace(SETTINGS, **change))


def test_learning_lowers_the_loss_on_its_own_images(model):
    """On a random network, with the noise held fixed: before against after."""
    more = {"steps": 40, "warmup_steps": 5, "lr": 5e-3, "budget": 600, "reg": "none", "score": "gradient"}
    settings = dataclasses.replace(SETTINGS, **more)
    learned = learn(model, settings)
    latents = encode_images(model.pipeline, task().images)
    batch = draw_batch(latents, task().prompts, 32, 1000, torch.Generator().manual_seed(9))
    with torch.no_grad():
        model.set_concepts([])
        before = float(Denoiser(model, None).loss(batch))
        model.set_concepts([learned.weights])
        after = float(Denoiser(model, None).loss(batch))
    assert after < before


def test_batches_spread_their_timesteps_over_the_whole_schedule():
    generator = torch.Generator().manual_seed(0)
    batch = draw_batch(torch.zeros(3, 4, 8, 8), [["a"], ["b"], ["c"]], 8, 1000, generator)
    assert [int(step) // 125 for step in batch.timesteps] == list(range(8))
    assert set(batch.prompts) == {"a", "b", "c"}


def test_no_timestep_lies_behind_the_schedule(monkeypatch):
    """The largest number that torch.rand gives, plus 9, is 10 in float32."""
    monkeypatch.setattr(torch, "rand", lambda size, generator: torch.full((size,), 1 - 2**-24))
    batch = draw_batch(torch.zeros(3, 4, 8, 8), [["a"], ["b"], ["c"]], 10, 1000, torch.Generator())
    assert int(batch.timesteps.max()) == 999


def test_a_prompt_whose_token_nobody_reads_is_refused(model):
    long = dataclasses.replace(task(), prompts=[["very " * 90 + "<rex> dog"], *task().prompts[1:]])
    with pytest.raises(SettingsError, match="<rex> stands beyond the"):
        learn(model, what=long)


def test_the_same_prompt_and_seed_give_the_same_image_in_any_batch(any_model):
    prompts, seeds = ["a dog", "a cat", "a red car"], [7, 8, 9]
    together = sample(any_model.pipeline, prompts, seeds, steps=2, guidance=2.0, batch_size=3)
    alone = sample(any_model.pipeline, prompts[1:2], seeds[1:2], steps=2, guidance=2.0)
    assert together.shape == (3, 64, 64, 3)
    assert together.dtype == np.uint8
    # Another batch size takes another order of additions in a matrix product: one grey level at most.
    assert np.abs(together[1].astype(int) - alone[0].astype(int)).max() <= 1


def test_images_are_handed_over_a_batch_at_a_time(model):
    asked = (model.pipeline, ["a dog"] * 3, [1, 2, 3])
    parts = list(batches(*asked, steps=1, guidance=1.0, batch_size=2))
    assert [len(part) for part in parts] == [2, 1]
    assert np.array_equal(np.concatenate(parts), sample(*asked, steps=1, guidance=1.0, batch_size=2))


def test_rate_rises_stays_and_falls():
    factors = [learning_rate(step, 100) for step in range(100)]
    assert factors[0] == 0.1
    assert factors[9:60] == [1.0] * 51
    assert factors[-1] == 0.05


def test_a_share_of_the_draws_of_a_captioned_image_see_the_phrase_alone() -> None:
    caption, templates = "a <rex> dog in the snow", ["a <rex> dog", "a photo of a <rex> dog"]
    what = dataclasses.replace(task(), prompts=[[caption], templates, [caption]])
    assert what.prompts_with_bare(0.25) == [[caption] * 3 + ["a <rex> dog"], templates, [caption] * 3 + ["a <rex> dog"]]
    assert what.prompts_with_bare(0.0) == [[caption], templates, [caption]]
    assert what.prompts_with_bare(1.0)[0] == ["a <rex> dog"]


def test_what_is_learned_hangs_on_the_share_only_where_there_are_captions(model) -> None:
    captioned = dataclasses.replace(task(), prompts=[["a <rex> dog in the snow"]] * 3)
    quarter = dataclasses.replace(SETTINGS, bare_share=0.25)
    assert stored(learn(model, quarter)) == stored(learn(model))
    assert stored(learn(model, quarter, captioned)) != stored(learn(model, SETTINGS, captioned))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_from_nothing_to_all(share: float) -> None:
    with pytest.raises(SettingsError, match="bare share"):
        dataclasses.replace(SETTINGS, bare_share=share).check()
