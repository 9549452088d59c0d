"""A training that stops between two steps and goes on in another process ends in the same bits."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save

from cns import codec
from cns.compose import kv_parameters
from cns.drift import prompt_moments
from cns.errors import CodecError
from cns.resume import TrainingState, decode, encode
from cns.task import Settings, TrainingConstraints, TrainingTask
from cns.training import learn_concept
from tests.cns.conftest import tiny_model
from tests.weights import weights_digest

SETTINGS = Settings(
    score="wanda",
    reg="features",
    reg_strength=10.0,
    anchor_strength=0.3,
    steps=5,
    warmup_steps=3,
    lr=1e-3,
    token_lr=5e-3,
    batch_size=4,
    budget=150,
    general_ratio=0.25,
    general_vote=0.5,
    seed=0,
)
STATES = SETTINGS.warmup_steps + 1 + SETTINGS.steps
"""One after each step, and one when the mask is chosen."""


def silent(_stage, _done, _total, **_numbers):
    return None


class Keeper:
    """Keeps every state, as bytes at the moment it was told and as it is afterwards; stops a training where asked."""

    def __init__(self, stop_after: int = STATES + 1) -> None:
        self.bytes: list[bytes] = []
        self.states: list[TrainingState] = []
        self.due: list[bool] = []
        self.stop_after = stop_after

    def __call__(self, state: TrainingState, /, *, due: bool) -> None:
        self.bytes.append(encode(state))
        self.states.append(state)
        self.due.append(due)
        if len(self.states) == self.stop_after:
            raise KeyboardInterrupt


def learn(model, settings: Settings = SETTINGS, *, keeper=None, state=None, report=silent):
    parent = model.set_concepts([])
    general = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in model.base.items()}
    constraints = TrainingConstraints([], prompt_moments(model.pipeline, ["a dog", "a cat", ""]), general)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    task = TrainingTask("rex", "dog", "<rex>", images, [["a <rex> dog", "a photo of a <rex> dog"]] * 3)
    return learn_concept(model, parent, task, constraints, settings, report, keeper or Keeper(), state)


def stored(learned):
    rows = {token: row.numpy() for token, row in learned.weights.rows.items()}
    return (*codec.encode(learned.weights.delta), codec.encode_rows(rows), learned.series, learned.selection.count)


@pytest.fixture(scope="module")
def whole(tiny_folders):
    """An uninterrupted training and all its states."""
    keeper = Keeper()
    return stored(learn(tiny_model(tiny_folders["sd-1"]), keeper=keeper)), keeper


@pytest.mark.parametrize("point", range(STATES))
def test_going_on_from_any_state_ends_in_the_same_bits(tiny_folders, whole, point):
    outcome, keeper = whole
    assert stored(learn(tiny_model(tiny_folders["sd-1"]), state=decode(keeper.bytes[point]))) == outcome


@pytest.mark.parametrize(("score", "reg"), [("gradient", "features"), ("wanda", "weights"), ("wanda", "none")])
def test_any_score_and_regularizer_can_be_interrupted(tiny_folders, score, reg):
    settings = dataclasses.replace(SETTINGS, score=score, reg=reg)
    outcome = stored(learn(tiny_model(tiny_folders["sd-1"]), settings))
    for point in (2, 6):
        keeper = Keeper(stop_after=point)
        with pytest.raises(KeyboardInterrupt):
            learn(tiny_model(tiny_folders["sd-1"]), settings, keeper=keeper)
        again = learn(tiny_model(tiny_folders["sd-1"]), settings, state=decode(keeper.bytes[-1]))
        assert stored(again) == outcome


@pytest.mark.parametrize("variant", ["sd-2", "emoji-64"])
def test_every_family_can_be_interrupted_many_times(tiny_folders, variant):
    outcome = stored(learn(tiny_model(tiny_folders[variant])))
    state = None
    for _ in range(STATES):
        keeper = Keeper(stop_after=1)
        with pytest.raises(KeyboardInterrupt):
            learn(tiny_model(tiny_folders[variant]), keeper=keeper, state=state)
        assert state is None or keeper.states[-1].progress > state.progress
        state = decode(keeper.bytes[-1])
    assert stored(learn(tiny_model(tiny_folders[variant]), state=state)) == outcome


def test_an_interruption_within_the_selection_goes_on_from_the_end_of_the_warm_up(tiny_folders, whole):
    def stop(stage, done, _total, **_numbers):
        if stage == "selection" and done == 0:
            raise KeyboardInterrupt

    keeper = Keeper()
    with pytest.raises(KeyboardInterrupt):
        learn(tiny_model(tiny_folders["sd-1"]), keeper=keeper, report=stop)
    assert keeper.states[-1].progress == (0, SETTINGS.warmup_steps)
    assert stored(learn(tiny_model(tiny_folders["sd-1"]), state=decode(keeper.bytes[-1]))) == whole[0]


def test_states_come_after_every_step_and_are_due_at_the_ends_of_stages(whole):
    _, keeper = whole
    assert [state.progress for state in keeper.states] == [(0, 1), (0, 2), (0, 3)] + [(1, step) for step in range(6)]
    assert [state.progress for state, due in zip(keeper.states, keeper.due, strict=True) if due] == [
        (0, 3),
        (1, 0),
        (1, 5),
    ]


def test_later_steps_do_not_change_an_earlier_state(whole):
    _, keeper = whole
    assert [encode(state) for state in keeper.states] == keeper.bytes


def test_after_an_interruption_the_live_model_is_the_parent_again(tiny_folders):
    model = tiny_model(tiny_folders["sd-1"])
    with pytest.raises(KeyboardInterrupt):
        learn(model, keeper=Keeper(stop_after=7))
    live = {name: weight.detach().clone() for name, weight in kv_parameters(model.pipeline).items()}
    assert weights_digest(live) == weights_digest(model.base)


def test_another_seed_does_not_end_in_the_same_bits_from_one_state(tiny_folders, whole):
    """The state decides what is drawn next, so a changed settings digest must be refused by whoever keeps states."""
    outcome, keeper = whole
    other = dataclasses.replace(SETTINGS, lr=2e-3)
    assert stored(learn(tiny_model(tiny_folders["sd-1"]), other, state=decode(keeper.bytes[5]))) != outcome


def test_a_state_is_small(whole):
    """Values, two moments and a mask: it is written every few seconds."""
    _, keeper = whole
    masked = 3 * 4 * SETTINGS.budget
    assert len(keeper.bytes[-1]) < masked + 30_000


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 2000, -1])
def test_a_cut_state_is_refused(whole, length):
    data = whole[1].bytes[-1]
    with pytest.raises(CodecError, match="cannot be read"):
        decode(data[:length])


def test_a_state_of_a_newer_format_is_refused(whole):
    data = whole[1].bytes[0]
    facts = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["state"])
    with pytest.raises(CodecError, match="format 2: this version reads 1"):
        decode(save({"row": torch.zeros(1)}, {"state": json.dumps({**facts, "format": 2})}))


def test_a_state_of_an_unknown_stage_is_refused(whole):
    state = dataclasses.replace(whole[1].states[-2], stage="polishing")
    with pytest.raises(CodecError, match="of the stage 'polishing'"):
        decode(encode(state))


def bent(state: TrainingState, **tensors: torch.Tensor) -> TrainingState:
    return dataclasses.replace(state, tensors={**state.tensors, **tensors})


@pytest.mark.parametrize(
    "change",
    [
        lambda state: bent(state, row=torch.zeros(7)),
        lambda state: bent(state, flat=torch.zeros(1)),
        lambda state: bent(state, **{"flat.exp_avg": torch.zeros(3)}),
        lambda state: bent(state, generator=torch.zeros(10, dtype=torch.uint8)),
        lambda state: bent(state, generator=torch.zeros(5056)),
        lambda state: dataclasses.replace(state, masks={}),
        lambda state: dataclasses.replace(state, masks={name: mask[:, :3] for name, mask in state.masks.items()}),
        lambda state: dataclasses.replace(state, tensors={"generator": state.tensors["generator"]}),
        lambda state: dataclasses.replace(
            state, tensors={name: tensor for name, tensor in state.tensors.items() if name != "flat.step"}
        ),
    ],
)
def test_a_state_of_another_model_is_refused(tiny_folders, whole, change):
    with pytest.raises(CodecError, match="the training state has"):
        learn(tiny_model(tiny_folders["sd-1"]), state=change(whole[1].states[-2]))
