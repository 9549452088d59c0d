"""`cns mv`: the scores of a concept that is called otherwise are those that it would have again, to the bit."""

from __future__ import annotations

import shutil

import pytest

from cns_cli.porcelain.check import check
from cns_cli.porcelain.mv import mv
from cns_cli.porcelain.options import CheckOptions, Request
from cns_cli.progress import NullProgress
from registry.repository import Repository
from tests.porcelain.conftest import NOON


def run(folder, **changes):
    metrics = ("id", "clip-i", "clip-t", "drift", "margin", "class-drift", "zero-shot")
    loose = {"": 2.0, "drift": 9.0, "class-drift": 2.0, "zero-shot": 2.0}
    options = CheckOptions(start=folder, images=1, metrics=metrics, max_drop=loose, **changes)
    return check(options, NullProgress())


def figures(result):
    """Row and metric -> scores now and at the baseline, drift and the base's own."""
    found = {(row.concept, one.metric): (one.now, one.baseline) for row in result.rows for one in row.metrics}
    return found | {(row.concept, ""): (row.drift, row.base_score) for row in result.rows}


def renamed(folder, before):
    """What is known after rex was called bello, which is what was known before."""
    mv(Request(start=folder, author="ann", time=NOON + 900), "rex", "bello", NullProgress())
    carried = run(folder)
    assert carried.images_made == 0
    expected = {("bello" if name == "rex" else name, metric): found for (name, metric), found in before.items()}
    assert figures(carried) == expected
    return expected


def forget_scores(folder):
    cns = Repository(folder).folder
    shutil.rmtree(cns / "refs" / "evaluations")
    shutil.rmtree(cns / "cache", ignore_errors=True)


def test_after_a_renaming_nothing_is_drawn_and_what_would_be_drawn_is_the_same(learned):
    forget_scores(learned)  # those of cns add rest on more pictures
    first = run(learned)
    assert first.images_made > 0
    expected = renamed(learned, figures(first))
    forget_scores(learned)
    again = run(learned)
    assert again.images_made > 0
    for key, found in figures(again).items():
        assert found == pytest.approx(expected[key], abs=1e-6, nan_ok=True), key  # batches differ in last digits


def test_where_no_picture_is_needed_the_figures_stay(named):
    first = figures(run(named))
    assert first["rex", "id"][0] is not None
    renamed(named, first)


def test_what_may_read_the_words_is_scored_anew(named):
    def of_pairs():
        return check(CheckOptions(start=named, images=1, metrics=("pair",), max_drop={"": 2.0}), NullProgress())

    assert of_pairs().images_made > 0
    assert of_pairs().images_made == 0
    mv(Request(start=named, author="ann", time=NOON + 900), "rex", "bello", NullProgress())
    assert of_pairs().images_made > 0
