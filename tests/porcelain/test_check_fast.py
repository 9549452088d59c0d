"""`cns check --fast`: no image, exact conditions on the weights, and the K/V drift against its limit."""

from __future__ import annotations

import pytest
import torch

from cns import codec
from cns_cli.porcelain.check import check
from cns_cli.porcelain.gate.weights import LIVE, OUTSIDE, ROWS, densities, weight_gates
from cns_cli.porcelain.options import CheckOptions


def fast(folder, **changes):
    return check(CheckOptions(start=folder, fast=True, **changes))


def test_the_drift_decides_and_no_image_is_made(learned, monkeypatch):
    monkeypatch.setattr("cns_cli.porcelain.models.base.LoadedBase.images", _never)
    result = fast(learned)
    assert (result.images, result.images_made) == (0, 0)
    rows = {row.concept: row for row in result.rows}
    assert [one.metric for one in rows["rex"].metrics] == ["drift"]
    drift = rows["rex"].metric("drift").now
    assert drift > 0
    assert rows["tom"].metric("drift").now == 0
    strict = fast(learned, max_drop={"drift": drift / 2})
    assert strict.outcome == "forgot"
    assert [row.concept for row in strict.rows if row.verdict == "forgot"] == ["rex"]
    assert fast(learned, max_drop={"drift": drift}).passed


def test_the_whole_tree_has_a_row_of_exact_conditions(learned):
    row = fast(learned).rows[-1]
    assert (row.concept, row.verdict, row.metrics) == ("(base)", "kept", ())
    assert row.gates == {OUTSIDE: True, LIVE: True, ROWS: True}


def test_density_and_overlap_are_those_of_the_masks(session):
    tree = session.repo.tree_of("HEAD")
    found = densities(session, tree)["rex"]
    rex, tom = (session.concept(tree.concepts[name]).delta for name in ("rex", "tom"))
    changed = {(name, place) for name, sparse in rex.items() for place in sparse.positions.tolist()}
    others = {(name, place) for name, sparse in tom.items() for place in sparse.positions.tolist()}
    assert found.share_kv == pytest.approx(len(changed) / session.base.model.kv_size)
    assert found.overlap == {"tom": pytest.approx(len(changed & others) / len(changed))}
    assert codec.count_weights(rex) == len(changed)


def gates(session, weights):
    return weight_gates(session, session.repo.tree_of("HEAD"), weights)


def test_one_bit_outside_the_masks_is_found(session):
    tree = session.repo.tree_of("HEAD")
    weights = session.set_tree(tree)
    assert all(gates(session, weights).values())
    name = next(iter(weights))
    held = {
        place
        for concept in session.concepts(tree).values()
        for place in (concept.delta[name].positions.tolist() if name in concept.delta else ())
    }
    free = next(place for place in range(weights[name].numel()) if place not in held)
    changed = {**weights, name: weights[name].clone()}
    changed[name].view(-1)[free : free + 1].view(torch.int32).bitwise_xor_(torch.tensor(1, dtype=torch.int32))
    session.base.model.write(changed)
    found = gates(session, changed)
    assert (found[OUTSIDE], found[LIVE]) == (False, True)
    assert gates(session, weights)[LIVE] is False


@pytest.mark.parametrize("token", [None, "<rex>"])
def test_a_changed_row_of_the_text_encoder_is_found(session, token):
    weights = session.set_tree(session.repo.tree_of("HEAD"))
    pipeline = session.base.model.pipeline
    row = 5 if token is None else pipeline.tokenizer.convert_tokens_to_ids(token)
    with torch.no_grad():
        pipeline.text_encoder.get_input_embeddings().weight[row, 0] += 1
    assert gates(session, weights) == {OUTSIDE: True, LIVE: True, ROWS: False}


def _never(*_args, **_kwargs):
    raise AssertionError("an image was made")
