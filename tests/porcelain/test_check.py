"""`cns check`: baselines by content, stored evaluations, and every outcome of the gate."""

from __future__ import annotations

import numpy as np
import pytest

from cns_cli.porcelain.check import check
from cns_cli.porcelain.judging import Scores, evaluate, protocol_digest
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.rm import rm
from cns_cli.progress import NullProgress
from registry.errors import UnknownConcept
from registry.objects import Evaluation
from registry.repository import Repository


def run(folder, **changes):
    return check(CheckOptions(start=folder, **{"images": 1, **changes}))


def test_the_newest_concept_is_its_own_baseline(learned):
    result = run(learned, concepts=("tom",))
    (row,) = result.rows
    assert (row.verdict, row.identity.drop, row.drift) == ("kept", 0.0, 0.0)
    assert result.passed


def test_an_older_concept_is_compared_with_its_birth(learned):
    result = run(learned, max_drop=2.0)
    rex = {row.concept: row for row in result.rows}["rex"]
    assert rex.identity.baseline != rex.identity.now  # tom moved something, however little
    assert rex.drift > 0
    assert rex.verdict == "kept"


def test_a_limit_below_the_drop_is_never_kept(learned):
    """With a limit that no drop can meet, the answer is forgot or inconclusive, and the check does not pass."""
    result = run(learned, concepts=("rex",), max_drop=-1.0)
    assert result.rows[0].verdict == "forgot"
    assert result.rows[0].why
    assert not result.passed


def test_nothing_is_computed_twice(learned, monkeypatch):
    first = run(learned)
    stored = set(Repository(learned).objects.ids())
    monkeypatch.setattr("cns_cli.porcelain.judging.judge_images", _never)
    again = run(learned)
    assert again.rows == first.rows
    assert set(Repository(learned).objects.ids()) == stored


def test_more_images_extend_what_is_stored(session):
    tree = session.repo.tree_of("HEAD")
    rex = tree.concepts["rex"]
    two = evaluate(session, tree, rex, 2, 5)
    four = evaluate(session, tree, rex, 4, 5)
    one = evaluate(session, tree, rex, 1, 5)
    np.testing.assert_array_equal(four.clip_i[:, :2], two.clip_i)
    np.testing.assert_array_equal(one.clip_t, two.clip_t[:, :1])
    assert four.images == 4


def test_another_seed_is_another_protocol(session):
    assert protocol_digest(session.bench, 0) != protocol_digest(session.bench, 1)


def test_the_scores_are_cosines_of_real_features(session):
    """Against plain numpy on the judges' own features."""
    from cns_cli.porcelain.judging import judge_images

    tree = session.repo.tree_of("HEAD")
    rex = tree.concepts["rex"]
    scores = evaluate(session, tree, rex, 1, 0)
    session.set_tree(tree)
    images = judge_images(session.bench, "<rex> dog", 0, 1, 0)
    references = session.references(rex)
    for name, found in (("identity", scores.identity), ("clip", scores.clip_i)):
        features = session.bench.encoders[name].image_features(images)
        np.testing.assert_allclose(found[:, 0], (features @ references[name].T).mean(1), atol=1e-6)


def test_scores_survive_being_stored():
    scores = Scores(None, np.array([[0.1, 0.25]]), np.array([[1 / 3, -1.0]]))
    back = Scores.from_json(scores.to_json())
    assert back.identity is None
    np.testing.assert_array_equal(back.clip_t, scores.clip_t)
    np.testing.assert_array_equal(back.main, scores.clip_i)


def test_evaluations_are_objects_that_name_tree_concept_and_protocol(learned):
    run(learned, concepts=("rex",))
    repo = Repository(learned)
    found = [one for one in map(repo.objects.load, repo.objects.ids()) if isinstance(one, Evaluation)]
    assert {one.concept_name for one in found} >= {"rex"}
    assert all(len(one.protocol_digest) == 64 and one.protocol["seed"] == 0 for one in found)


def test_a_concept_that_is_not_there_is_refused(learned):
    with pytest.raises(UnknownConcept):
        run(learned, concepts=("bob",))


def test_a_revision_without_concepts_has_nothing_to_forget(learned):
    result = run(learned, rev="HEAD~2")
    assert result.rows == ()
    assert result.passed


def test_a_concept_still_has_its_baseline_after_the_one_it_was_trained_on_is_gone(learned):
    from cns_cli.porcelain.options import Request

    rm(Request(start=learned, author="ann", time=1_780_000_500), "rex", NullProgress())
    result = run(learned, max_drop=2.0)
    assert [row.concept for row in result.rows] == ["tom"]
    assert result.rows[0].drift > 0  # its context is not the one that it was trained in


def _never(*_args, **_kwargs):
    raise AssertionError("an image was made again")
