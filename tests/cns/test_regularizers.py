"""L_reg: each penalty against its formula written out, and its slope where it must be zero."""

from __future__ import annotations

import math

import pytest
import torch

from cns.drift import Moments, energy, kv_drift, prompt_moments
from cns.regularizers import REGULARIZERS, History, PastConcept

NAMES = ("a.attn2.to_k.weight", "b.attn2.to_v.weight")
SHAPE = (6, 5)


def weights(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(SHAPE, generator=generator) for name in NAMES}


def masks(seed: int):
    return {name: weight > 0.3 for name, weight in weights(seed).items()}


def moments(seed: int) -> Moments:
    generator = torch.Generator().manual_seed(seed)
    roots = [torch.randn((5, 9), generator=generator) for _ in range(2)]
    return Moments(*(root @ root.T for root in roots))


@pytest.fixture
def history() -> History:
    past = [PastConcept(weights(10 + k), moments(20 + k), masks(30 + k)) for k in range(3)]
    return History(weights(0), weights(1), masks(2), past, moments(3))


@pytest.mark.parametrize("name", REGULARIZERS)
def test_every_penalty_is_a_scalar_with_a_gradient_of_its_own(history, name):
    now = {key: value.requires_grad_() for key, value in weights(5).items()}
    loss = REGULARIZERS[name](history, 2.0, 0.5)(now)
    assert loss.shape == ()
    assert float(loss.detach()) >= -1e-5
    if name != "none":
        slopes = torch.autograd.grad(loss, list(now.values()))
        assert all(bool(slope.isfinite().all()) and bool(slope.any()) for slope in slopes)


def test_none_is_zero(history):
    assert float(REGULARIZERS["none"](history, 2.0, 0.5)(weights(5))) == 0.0


def test_features_is_the_drift_of_every_past_concept_and_of_the_base(history):
    now = weights(5)
    expected = 0.0
    for past in history.past:
        expected += 2.0 * kv_drift(now, past.birth, past.moments)
    expected += 0.5 * kv_drift(now, history.base, history.calibration)
    torch.testing.assert_close(float(REGULARIZERS["features"](history, 2.0, 0.5)(now)), expected, rtol=1e-4, atol=0)


def test_features_does_not_pull_at_a_birth_that_is_also_the_base(history):
    birth = weights(0)
    settled = History(birth, birth, history.masks, [PastConcept(birth, moments(7), masks(8))], moments(3))
    now = {key: value.clone().requires_grad_() for key, value in birth.items()}
    loss = REGULARIZERS["features"](settled, 2.0, 0.5)(now)
    slopes = torch.autograd.grad(loss, list(now.values()))
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert all(float(slope.abs().max()) < 1e-5 for slope in slopes)


def test_weights_ties_the_shared_mask_to_the_parent_and_the_mask_to_the_base(history):
    now, expected = weights(5), 0.0
    for name in NAMES:
        mask = history.masks[name]
        shared = mask & (history.past[0].masks[name] | history.past[1].masks[name] | history.past[2].masks[name])
        scale = float(history.base[name].square().mean()) * int(mask.sum())
        expected += 2.0 * float((now[name] - history.parent[name])[shared].square().sum()) / scale
        expected += 0.5 * float((now[name] - history.base[name])[mask].square().sum()) / scale
    torch.testing.assert_close(float(REGULARIZERS["weights"](history, 2.0, 0.5)(now)), expected / 2, rtol=1e-4, atol=0)


def test_weights_without_a_past_is_the_anchor_alone(history):
    alone = History(history.base, history.parent, history.masks, [], history.calibration)
    loss = REGULARIZERS["weights"](alone, 1e9, 0.0)(weights(5))
    assert float(loss) == 0.0


def test_drift_of_equal_weights_is_zero_and_grows_with_the_square_of_the_change():
    base, c = weights(0), moments(1)
    change = weights(4)
    once = kv_drift({n: base[n] + change[n] for n in NAMES}, base, c)
    twice = kv_drift({n: base[n] + 2 * change[n] for n in NAMES}, base, c)
    assert kv_drift(base, base, c) == 0.0
    assert twice == pytest.approx(4 * once, rel=1e-5)


def test_drift_that_is_no_number_is_not_zero():
    base = weights(0)
    broken = {**base, NAMES[0]: base[NAMES[0]] * float("nan")}
    assert math.isnan(kv_drift(broken, base, moments(1)))


def test_a_matrix_of_zeros_hides_no_drift_of_others(history):
    zero = {**weights(0), NAMES[0]: torch.zeros(SHAPE)}
    moved = {**zero, NAMES[1]: zero[NAMES[1]] + 1}
    assert kv_drift(zero, zero, moments(1)) == 0.0
    assert math.isfinite(kv_drift(moved, zero, moments(1)))
    assert kv_drift(moved, zero, moments(1)) > 0.0
    past = [PastConcept(zero, moments(20), masks(30))]
    loss = REGULARIZERS["features"](History(zero, zero, history.masks, past, moments(3)), 2.0, 0.5)(moved)
    assert math.isfinite(loss)
    assert loss > 0
    assert math.isfinite(REGULARIZERS["weights"](History(zero, zero, history.masks, past, moments(3)), 2.0, 0.5)(moved))


def test_energy_is_the_mean_squared_output():
    generator = torch.Generator().manual_seed(0)
    features, matrix = torch.randn((100, 5), generator=generator), torch.randn(SHAPE, generator=generator)
    moment = features.T @ features / 100
    torch.testing.assert_close(energy(matrix, moment), (features @ matrix.T).square().sum(1).mean())


def test_moments_are_those_of_all_batches(model):
    prompts = [f"a {noun} {where}" for noun in ("dog", "cat", "red car") for where in ("", "on the beach", "in snow")]
    whole, parts = prompt_moments(model.pipeline, prompts), prompt_moments(model.pipeline, prompts, batch_size=4)
    torch.testing.assert_close(parts.key, whole.key, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.value, whole.value, rtol=1e-4, atol=1e-5)


def test_a_shift_common_to_all_keys_of_a_prompt_is_no_drift(model):
    """Softmax ignores it, so the moment of keys must not see the mean of a prompt."""
    found = prompt_moments(model.pipeline, ["a dog", "a red car"])
    with torch.no_grad():
        features = torch.cat([_features(model, prompt) for prompt in ("a dog", "a red car")])
    centred = features - features.mean(1, keepdim=True)
    count = features.shape[0] * features.shape[1]
    torch.testing.assert_close(found.key, torch.einsum("btd,bte->de", centred, centred) / count, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        found.value, torch.einsum("btd,bte->de", features, features) / count, rtol=1e-4, atol=1e-5
    )


def _features(model, prompt):
    from cns.text import encode_prompts

    return encode_prompts(model.pipeline, [prompt])
