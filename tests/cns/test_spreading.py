"""A base over several devices: accelerate's real hooks on a CPU, and what of it can be seen without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import accelerate
import accelerate.utils
import numpy as np
import pytest
import torch

from cns.boxes import Box
from cns.compose import Model
from cns.denoiser import denoiser_of
from cns.errors import BaseModelError, SettingsError
from cns.loading import pick_device
from cns.named import NamedWeights, named_weights
from cns.regions import Region, regional
from cns.spreading import BALANCED, spread
from cns.text import encode_prompts, text_encoders
from tests.cns.conftest import tiny_model
from tests.cns.test_named import BOTH, NONE, REX, draw, rex_and_tom
from tests.tiny import VARIANTS


def pictures(model: Model) -> list[np.ndarray]:
    """Of a set that is named, with a region and without, and of the same set for all prompts."""
    concepts = list(rex_and_tom(model).values())
    model.set_named(concepts)
    found = [draw(model, [REX, BOTH, NONE], guidance=3.0, negative="a <tom> cat")]
    with regional(model.pipeline, [Region(Box(0, 0, 0.5, 1), (REX,))]):
        found.append(draw(model, [BOTH], guidance=3.0))
    model.set_concepts(concepts)
    return [*found, draw(model, [BOTH])]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_base_with_accelerates_hooks_draws_the_same_and_keeps_them(
    variant: str, tiny_folders: dict[str, Path]
) -> None:
    hooked = tiny_model(tiny_folders[variant])
    for part in (denoiser_of(hooked.pipeline), *text_encoders(hooked.pipeline)):
        accelerate.dispatch_model(part, {"": "cpu"}, force_hooks=True)
    layers = {name: one for name, one in denoiser_of(hooked.pipeline).named_modules() if name.endswith("to_k")}
    before = {name: one.forward for name, one in layers.items()}
    assert all(hasattr(one, "_hf_hook") for one in layers.values())
    plain = pictures(tiny_model(tiny_folders[variant]))
    for one, other in zip(pictures(hooked), plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert {name: one.forward for name, one in layers.items()} == before
    assert all(hasattr(one.get_input_embeddings(), "_hf_hook") for one in text_encoders(hooked.pipeline))


def test_keys_and_values_are_computed_where_their_layers_are(model: Model) -> None:
    """torch's "meta" stands for the second device: it computes shapes, and no tensor of a CPU with its own."""
    concepts = rex_and_tom(model)
    model.set_named(list(concepts.values()))
    named = named_weights(model.pipeline)
    assert isinstance(named, NamedWeights)
    places = {}
    for number, (matrix, layer) in enumerate(named._layers.items()):
        places[matrix] = "meta" if number % 2 else "cpu"
        layer.to(places[matrix])
    found = named.project(encode_prompts(model.pipeline, [BOTH, NONE]), [BOTH, NONE], beside=True)
    assert {matrix: one.device.type for matrix, one in found.items()} == places


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is asked of accelerate on a machine of two GPUs, of which the first has room for 60 % of a model."""
    asked: list[dict[str, Any]] = []

    def room(model: Any, **_: Any) -> dict[Any, int]:
        size = sum(one.nbytes for one in model.parameters())
        return {0: int(0.6 * size), 1: size, "cpu": 10 * size}

    monkeypatch.setattr(accelerate.utils, "get_balanced_memory", room)
    monkeypatch.setattr(accelerate, "dispatch_model", lambda _, places, main, **__: asked.append({**places, "": main}))
    return asked


def test_a_denoiser_is_spread_over_all_gpus_and_nothing_is_left_on_the_cpu(
    model: Model, two_gpus: list[dict[str, Any]]
) -> None:
    spread(model.pipeline.unet, torch.device("cuda:0"))
    (places,) = two_gpus
    assert places.pop("") == torch.device("cuda:0")
    assert set(places.values()) == {torch.device("cuda:0"), torch.device("cuda:1")}


def test_what_does_not_fit_all_gpus_is_refused(
    model: Model, two_gpus: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerate.utils, "get_balanced_memory", lambda *_, **__: {0: 1000, 1: 1000, "cpu": 10**9})
    with pytest.raises(BaseModelError, match=r"UNet2DConditionModel of this base, .* GB, does not fit") as caught:
        spread(model.pipeline.unet, torch.device("cuda:0"))
    assert "--dtype bfloat16" in caught.value.hint
    assert two_gpus == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu_has_nothing_to_spread_over() -> None:
    with pytest.raises(SettingsError, match="no cuda:0"):
        pick_device(BALANCED)
