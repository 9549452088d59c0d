"""Every metric of the gate against plain numpy on features: images are made again here, without the gate's own code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from cns.families import COMPANY
from cns_cli.porcelain.check import check
from cns_cli.porcelain.metrics import METRIC_NAMES
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.scoring.judging import protocol_of
from cns_cli.porcelain.scoring.keys import EvaluationKey, Evaluations
from cns_cli.porcelain.scoring.scores import EvaluationStore
from registry.objects import Tree
from registry.repository import Repository
from tests.porcelain.conftest import NOON, add, copied

IMAGES = 2
OTHER_THINGS = 6
"""Prompts of the zero-shot drift here; each takes two images, one a tree."""


@pytest.fixture(scope="module")
def judged(tmp_path_factory, _learned, photos):
    """One check of all metrics after a third concept that did harm: the session, the answer and its rows by name."""
    folder = copied(_learned, tmp_path_factory.mktemp("judged"))
    add(folder, "mug", photos["mug"], class_noun="car", steps=8, lr=0.3, reg="none", time=NOON + 120)
    session = Session.open(Repository(folder), "cpu")
    options = CheckOptions(
        start=session.repo.root, images=IMAGES, metrics=METRIC_NAMES, max_drop=dict.fromkeys(("", *METRIC_NAMES), 10.0)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cns_cli.porcelain.scoring.protocol.ZERO_SHOT_PROMPTS", OTHER_THINGS)
        result = check(options, session=session)
    return session, result, {row.concept: row for row in result.rows}


def features(session, tree, prompts, encoder, images=IMAGES):
    """(P, n, D) unit rows of images whose seed is 1000 p + k."""
    session.set_tree(tree)
    rows = []
    for row, prompt in enumerate(prompts):
        made = session.base.images([prompt] * images, [1000 * row + k for k in range(images)])
        rows.append(session.base.encoders[encoder].image_features(made))
    return np.stack(rows).astype(np.float64)


def prompts(session, words):
    return [template.replace("{}", words) for template in session.base.family.objects.judge]


def references(session, name, encoder):
    return session.references(session.repo.tree_of("HEAD").concepts[name])[encoder].astype(np.float64)


def to_references(found, wanted):
    return np.einsum("pnd,md->pnm", found, wanted).mean(2)


def trees(session, name):
    now = session.repo.tree_of("HEAD")
    return session.birth_tree(now.concepts[name]), now


@pytest.mark.parametrize(("metric", "encoder"), [("id", "identity"), ("clip-i", "clip")])
def test_likeness_to_the_references(judged, metric, encoder):
    session, _, rows = judged
    birth, now = trees(session, "rex")
    before, after = (
        to_references(
            features(session, tree, prompts(session, "<rex> dog"), encoder), references(session, "rex", encoder)
        )
        for tree in (birth, now)
    )
    found = rows["rex"].metric(metric)
    assert abs(found.drop) > 1e-4  # else the comparison below would say nothing
    assert found.now == pytest.approx(after.mean(), abs=1e-4)
    assert found.baseline == pytest.approx(before.mean(), abs=1e-4)
    assert found.drop == pytest.approx((before - after).mean(), abs=1e-5)
    assert found.images == before.size


def in_pairs(session, tree, words, judged_name):
    """(P, n): the best window, cut out here by hand, of pictures whose seed is 1000 p + k."""
    session.set_tree(tree)
    target, rows = references(session, judged_name, "identity"), []
    for row, prompt in enumerate(prompts(session, words)):
        made = session.base.images([prompt] * IMAGES, [1000 * row + k for k in range(IMAGES)])
        side = made.shape[1]
        boxes = [(x / 64, y / 64, (x + 36) / 64, (y + 36) / 64) for x in (0, 14, 28) for y in (8, 18, 28)]
        crops = [
            np.stack([np.asarray(Image.fromarray(one).crop([round(side * at) for at in box]).resize((side, side)))
                      for one in made])
            for box in boxes
        ]  # fmt: skip
        seen = [session.base.encoders["identity"].image_features(one).astype(np.float64) for one in (made, *crops)]
        rows.append(np.max([(one @ target.T).mean(1) for one in seen], axis=0))
    return np.stack(rows)


def test_identity_in_pairs(judged):
    """rex beside mug, whose birth is the model now, then beside tom, whose birth lacks mug."""
    session, _, rows = judged
    tom_s_birth, now = trees(session, "tom")
    with_mug = in_pairs(session, now, "<mug> car and a <rex> dog", "rex")
    before, after = (in_pairs(session, tree, "<rex> dog and a <tom> cat", "rex") for tree in (tom_s_birth, now))
    found = rows["rex"].metric("pair")
    assert found.now == pytest.approx(np.concatenate([with_mug, after]).mean(), abs=1e-4)
    assert found.baseline == pytest.approx(np.concatenate([with_mug, before]).mean(), abs=1e-4)
    assert found.images == 2 * after.size
    beside = in_pairs(session, now, "<rex> dog and a <tom> cat", "tom")  # the same pictures, and another judge of them
    other = in_pairs(session, now, "<mug> car and a <tom> cat", "tom")
    assert rows["tom"].metric("pair").now == pytest.approx(np.concatenate([other, beside]).mean(), abs=1e-4)


def test_pairs_that_are_composed_by_name_are_scored_under_the_strength_they_act_with(judged):
    session, _, _ = judged
    tree = session.repo.tree_of("HEAD")
    key = EvaluationKey("pair", tree, tree.concepts["rex"], "rex", 1, beside=tree.concepts["tom"])
    named = replace(key, tree=replace(tree, compose="named"))
    protocol = protocol_of(session.base, 0)
    assert named.plan(protocol) == {**key.plan(protocol), "company": COMPANY}
    scores = Evaluations(EvaluationStore(session.repo), protocol)
    assert len({scores.digest(one) for one in (key, named, key)}) == 2


def test_a_concept_alone_has_no_pair(judged):
    session, _, _ = judged
    options = CheckOptions(start=session.repo.root, concepts=("rex",), metrics=("pair",), images=1)
    assert "at least two that are no styles" in check(options, session=session).rows[0].why


def test_likeness_to_the_prompt(judged):
    session, _, rows = judged
    birth, now = trees(session, "rex")
    texts = session.base.clip.text_features(prompts(session, "dog")).astype(np.float64)
    before, after = (
        np.einsum("pnd,pd->pn", features(session, tree, prompts(session, "<rex> dog"), "clip"), texts)
        for tree in (birth, now)
    )
    found = rows["rex"].metric("clip-t")
    assert found.now == pytest.approx(after.mean(), abs=1e-4)
    assert found.drop == pytest.approx((before - after).mean(), abs=1e-5)


def test_margin_to_the_concept_that_it_is_most_like(judged):
    session, _, rows = judged
    birth, now = trees(session, "rex")
    margins = []
    for tree in (birth, now):
        made = features(session, tree, prompts(session, "<rex> dog"), "clip")
        own = to_references(made, references(session, "rex", "clip"))
        others = [to_references(made, references(session, name, "clip")) for name in ("tom", "mug")]
        margins.append(own - max(others, key=np.mean))
    found = rows["rex"].metric("margin")
    assert found.now == pytest.approx(margins[1].mean(), abs=1e-4)
    assert found.drop == pytest.approx((margins[0] - margins[1]).mean(), abs=1e-5)


def test_class_noun_toward_the_concept(judged):
    session, _, rows = judged
    now = session.repo.tree_of("HEAD")
    base, after = (
        to_references(
            features(session, tree, prompts(session, "dog"), "identity"), references(session, "rex", "identity")
        )
        for tree in (Tree(now.base, {}), now)
    )
    found = rows["rex"].metric("class-drift")
    assert found.now == found.drop == pytest.approx((after - base).mean(), abs=1e-5)
    assert found.images == after.size
    assert rows["rex"].base_score == pytest.approx(base.mean(), abs=1e-4)


def test_pictures_of_other_things(judged):
    session, _, rows = judged
    now = session.repo.tree_of("HEAD")
    held_out = session.base.calibration.held_out[:OTHER_THINGS]
    base, after = (features(session, tree, held_out, "clip", images=1) for tree in (Tree(now.base, {}), now))
    found = rows["(base)"].metric("zero-shot")
    assert found.now == pytest.approx((1 - (base * after).sum(-1)).mean(), abs=1e-4)
    assert found.images == OTHER_THINGS


def test_kv_drift_is_the_mean_squared_relative_change_of_keys_and_values(judged):
    """Keys and values of the judge prompts themselves, matrix by matrix; keys without what all positions share."""
    session, _, rows = judged
    birth, now = trees(session, "rex")
    before, after = session.birth_weights(birth.concepts["rex"]), session.set_tree(now)
    pipeline = session.base.model.pipeline
    ids = pipeline.tokenizer(
        prompts(session, "<rex> dog"), padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        text = pipeline.text_encoder(ids).last_hidden_state.double()
    shares = []
    for name, old in before.items():
        inputs = text - text.mean(1, keepdim=True) if name.endswith("to_k.weight") else text
        moved = inputs @ (after[name] - old).double().T
        shares.append(float((moved**2).sum() / ((inputs @ old.double().T) ** 2).sum()))
    found = rows["rex"].metric("drift")
    assert found.drop == pytest.approx(np.mean(shares), rel=1e-3)
    assert found.drop > 0
    assert (found.low, found.high) == (None, None)


def test_every_metric_was_judged(judged):
    _, result, rows = judged
    assert {one.metric for row in result.rows for one in row.metrics} == set(METRIC_NAMES)
    assert rows["rex"].verdict == "kept", rows["rex"].why
