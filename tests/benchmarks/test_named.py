"""Concepts that each learn on the bare base: a head start changes no bit, and prompts see what they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.concept_stream import Concept
from benchmarks.experiment_setup import Setup
from benchmarks.named import Named, beside
from benchmarks.ours import Ours
from benchmarks.trainer import Trainer
from benchmarks.trial_scores import RATIO, greedy
from benchmarks.twenty import begun
from cns.codec import encode
from cns.errors import MethodError
from cns.text import class_noun_row, install_tokens

SMALL = {"steps": 3, "warmup_steps": 1}


def test_a_head_start_changes_no_bit(trainer: Trainer, concepts: Sequence[Concept]) -> None:
    (whole,) = Ours("alone", lr=2e-3, **SMALL).learn(trainer, None, concepts[0], 11)
    Named("leaves a warm-up and scores", lr=5e-3, **SMALL).learn(trainer, None, concepts[0], 11)
    found = Named("takes them", lr=2e-3, **SMALL).learn(trainer, None, concepts[0], 11)[concepts[0].name]
    assert encode(found.delta) == encode(whole.weights.delta)
    assert all(torch.equal(row, found.rows[token]) for token, row in whole.weights.rows.items())


def test_a_concept_is_the_same_whatever_was_learned_before(trainer: Trainer, concepts: Sequence[Concept]) -> None:
    method = Named("named", **SMALL)
    alone = method.learn(trainer, None, concepts[1], 7)
    after = method.learn(trainer, method.learn(trainer, None, concepts[0], 7), concepts[1], 7)
    assert encode(alone[concepts[1].name].delta) == encode(after[concepts[1].name].delta)
    prompt = [f"a {concepts[1].phrase} on the grass"]
    drawn = []
    for state in (alone, after):
        method.put(trainer, state, [])
        drawn.append(trainer.base.images(prompt, [5]))
    assert np.array_equal(*drawn)


def test_a_frozen_token_stays_what_its_warm_up_made_it(trainer: Trainer, concepts: Sequence[Concept]) -> None:
    token = concepts[0].token
    rows = [
        Named("named", frozen=frozen, steps=steps, warmup_steps=1)
        .learn(trainer, None, concepts[0], 7)[concepts[0].name]
        .rows[token]
        for frozen, steps in ((True, 3), (True, 6), (False, 3))
    ]
    assert torch.allclose(rows[0], rows[1], atol=1e-8)
    assert not torch.allclose(rows[0], rows[2], atol=1e-5)


def test_what_stands_beside_a_concept_is_tied_at_its_own_positions(
    trainer: Trainer, concepts: Sequence[Concept]
) -> None:
    pipeline = trainer.model.pipeline
    row = class_noun_row(pipeline, concepts[0].noun)
    install_tokens(pipeline, {concepts[0].token: row})
    (nouns,), (words,) = (beside(trainer, concepts[0], where) for where in ("noun", "words"))
    assert nouns.birth is trainer.model.base
    assert not torch.allclose(nouns.moments.value, words.moments.value)
    assert bool((torch.linalg.eigvalsh(nouns.moments.value) > -1e-4).all())


def test_the_ratio_is_chosen_greedily() -> None:
    new, others = torch.diag(torch.tensor([1.0, 4.0, 2.0, 0.0])), torch.eye(4)
    assert greedy(new, others, 3)[0] == 1
    shared = torch.tensor([[2.0, 2.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    # Alone the first two answer best; together with its twin, kept in place by the others, the first answers no better.
    assert set(greedy(shared, torch.eye(3), 2)) == {0, 1}


def test_scores_on_trial_are_there_for_one_training_only(trainer: Trainer, concepts: Sequence[Concept]) -> None:
    (learned,) = Ours("ratio", score=RATIO, keeps_general=True, **SMALL).learn(trainer, None, concepts[0], 7)
    for mask in learned.masks.values():  # the same inputs for every row, but for what is left of the budget
        assert int(mask.any(0).sum()) <= int(mask.sum(1).max()) + 1
    settings = trainer.settings(score=RATIO)
    with pytest.raises(MethodError, match=RATIO):
        settings.check()


def test_groups_of_a_begun_stream_are_neighbours(setup: Setup) -> None:
    stream = replace(setup.stream("tune"))
    part = begun(stream, 0, 8)
    names = list(stream.orders[0][:8])
    assert [name for pair in part.pairs for name in pair] == names
    assert [name for triple in part.triples for name in triple] == names[:6]
    assert begun(stream, 0, len(stream.concepts)) is stream
