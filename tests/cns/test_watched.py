"""What is seen of a training while it runs: validation losses, and the concept between steps. Neither changes a bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cns.denoising import encode_images
from cns.errors import SettingsError
from cns.sampling import sample
from cns.validation import DRAWS, better_step, fixed_batches, validation_steps
from tests.cns.conftest import tiny_model
from tests.cns.test_training import SETTINGS, learn, stored, task

KINDS = {"mask": {}, "directions": {"directions": 3, "lr": 1e-2}, "projection": {"reg": "project-hard"}}


class Look:
    """Makes the live model something else, and draws, after every step."""

    def __init__(self, model, named):
        self.model, self.named, self.seen = model, named, {}

    def due(self, step, /):
        return step != 1

    def __call__(self, step, weights, /):
        self.seen[step] = weights
        (self.model.set_named if self.named else self.model.set_concepts)([weights])
        sample(self.model.pipeline, ["a <rex> dog"], [0], steps=2, guidance=2.0)


@pytest.mark.parametrize("named", [False, True], ids=["all", "named"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_look_between_steps_shows_what_would_be_left_and_changes_no_bit(tiny_folders, kind, named):
    settings = dataclasses.replace(SETTINGS, **KINDS[kind])
    expected = learn(tiny_model(tiny_folders["sd-1"]), settings)
    model = tiny_model(tiny_folders["sd-1"])
    look = Look(model, named)
    found = learn(model, settings, watch=look)
    assert stored(found) == stored(expected)
    assert found.series == expected.series
    assert list(look.seen) == [2, 3, 4]
    assert stored(dataclasses.replace(found, weights=look.seen[4])) == stored(found)
    assert stored(dataclasses.replace(found, weights=look.seen[2])) != stored(found)


def test_validation_changes_no_bit(tiny_folders, monkeypatch):
    expected = learn(tiny_model(tiny_folders["sd-1"]))
    monkeypatch.setattr("cns.training._Run.validate", lambda *_: None)
    without = learn(tiny_model(tiny_folders["sd-1"]))
    assert stored(without) == stored(expected)
    assert "validation_loss" not in without.series
    assert len(expected.series["validation_loss"]) == len(validation_steps(SETTINGS.steps)) == 2


def test_images_held_out_are_not_trained_on_and_alone_validated_on(tiny_folders):
    held = learn(tiny_model(tiny_folders["sd-1"]), dataclasses.replace(SETTINGS, hold_out=1))
    fewer = dataclasses.replace(task(), images=task().images[:2], prompts=task().prompts[:2])
    alone = learn(tiny_model(tiny_folders["sd-1"]), what=fewer)
    assert stored(held) == stored(alone)
    assert held.series["loss"] == alone.series["loss"]
    assert held.series["validation_loss"] != alone.series["validation_loss"]
    last = dataclasses.replace(task(), images=np.stack([*task().images[:2], task().images[0]]))
    other = learn(tiny_model(tiny_folders["sd-1"]), dataclasses.replace(SETTINGS, hold_out=1), last)
    assert other.series["validation_loss"] != held.series["validation_loss"]
    with pytest.raises(SettingsError, match="3 of 3 images held out"):
        learn(tiny_model(tiny_folders["sd-1"]), dataclasses.replace(SETTINGS, hold_out=3))


def test_the_validation_batches_are_the_same_draws_whatever_their_size(model):
    latents = encode_images(model.pipeline, task().images)
    prompts = [["a"], ["b"], ["c", "d"]]
    whole = list(fixed_batches(latents, prompts, DRAWS, 1000))
    parts = list(fixed_batches(latents, prompts, 5, 1000))
    assert [len(part.prompts) for part in parts] == [5, 5, 5, 1]
    assert sum((part.prompts for part in parts), ()) == whole[0].prompts
    assert np.array_equal(np.concatenate([part.noise for part in parts]), whole[0].noise)
    assert np.array_equal(np.concatenate([part.timesteps for part in parts]), whole[0].timesteps)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [0, 1]), (4, [0, 4]), (25, [0, 10, 20, 25]), (110, [*range(0, 110, 11), 110])],
)
def test_it_is_taken_before_at_every_tenth_part_or_step_and_at_the_end(steps, expected):
    assert validation_steps(steps) == expected


@pytest.mark.parametrize(
    ("losses", "found"),
    [([5, 4, 3, 2, 1], None), ([5, 4, 1, 2, 3], 20), ([5, 4, 2.97, 3, 3], None), ([1, 4, 3, 2, 2], None), ([], None)],
)
def test_a_step_is_better_only_where_it_clearly_is(losses, found):
    assert better_step(losses, 40) == found
