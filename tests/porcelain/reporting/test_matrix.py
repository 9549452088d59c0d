"""The matrix of a report against matrices made by hand, whose forgetting, transfer and retention are known."""

from __future__ import annotations

import numpy as np
import pytest

from cns import continual
from cns.gate import estimate, interval, paired_drops
from cns_cli.porcelain.gate.limits import Thresholds
from cns_cli.porcelain.reporting.matrix import Axes, metric_tables, outcomes, worst_steps
from cns_cli.porcelain.reporting.scores import LineageScores

CONCEPTS = ("a" * 64, "b" * 64, "c" * 64)
TREES = ("1" * 64, "2" * 64, "3" * 64)
LIMITS = Thresholds(("id", "clip-i"), {"id": 0.02, "clip-i": 0.02}, {})
R = np.array([[0.9, np.nan, np.nan], [0.8, 0.7, np.nan], [0.85, 0.65, 0.6]])
BASE = (0.5, 0.4, 0.3)
SPREAD = np.linspace(-0.05, 0.05, 10)[:, None] + np.array([[-0.01, 0.01]])


def axes(trees: tuple[str, ...] = TREES, held: tuple[int, ...] = (1, 2, 3), births: tuple[str, ...] = TREES) -> Axes:
    return Axes(trees, tuple(frozenset(CONCEPTS[:count]) for count in held), CONCEPTS, births)


def scores(matrix: np.ndarray, trees: tuple[str, ...] = TREES, metric: str = "identity") -> LineageScores:
    """Ten prompts, two images of each, whose mean is the matrix's entry."""
    return LineageScores(
        {
            (tree, CONCEPTS[j]): {metric: matrix[i, j] + SPREAD, "clip_t": SPREAD + 0.5}
            for i, tree in enumerate(trees)
            for j in range(3)
            if not np.isnan(matrix[i, j])
        },
        protocol={"seed": 0},
        digest="d" * 64,
    )


def table_of(found: LineageScores, rows: Axes | None = None):
    return metric_tables(rows or axes(), found, {"identity": BASE}, {"identity": (0.95, None, 0.9)}, LIMITS)[0]


def test_cells_are_the_matrix_and_changes_are_since_birth():
    table = table_of(scores(R))
    values = [[None if cell is None else cell.value for cell in cells] for cells in table.cells]
    assert values[0] == [pytest.approx(0.9), None, None]
    assert values[2] == [pytest.approx(0.85), pytest.approx(0.65), pytest.approx(0.6)]
    assert [cell.change for cell in table.cells[2]] == [pytest.approx(-0.05), pytest.approx(-0.05), pytest.approx(0.0)]
    assert (table.cells[1][1].prompts, table.cells[1][1].images) == (10, 2)
    assert table.base == BASE
    assert table.ceiling == (0.95, None, 0.9)


def test_the_summary_is_known_by_hand():
    """BWT = (-0.05 - 0.05)/2; F = (0.9 - 0.85 + 0.7 - 0.65)/2; retention = (0.35 + 0.25 + 0.3)/(0.4 + 0.3 + 0.3)."""
    summary = table_of(scores(R)).summary
    assert summary.bwt == pytest.approx(-0.05)
    assert summary.forgetting == pytest.approx(0.05)
    assert summary.retention == pytest.approx(0.9)
    assert summary.gain == pytest.approx((0.4 + 0.3 + 0.3) / 3)
    assert summary.missing == 0


def test_the_summary_is_that_of_the_continual_module():
    rng = np.random.default_rng(3)
    matrix = np.where(np.tri(3, dtype=bool), rng.uniform(0.6, 0.9, (3, 3)), np.nan)
    summary = table_of(scores(matrix)).summary
    assert summary.bwt == pytest.approx(continual.bwt(matrix))
    assert summary.forgetting == pytest.approx(continual.forgetting(matrix))
    assert summary.retention == pytest.approx(continual.retention(matrix, np.array(BASE)))
    assert summary.gain == pytest.approx(continual.learned_gain(matrix, np.array(BASE)).mean())


def test_a_revision_after_the_last_birth_counts_the_youngest_concept_too():
    """One more state, in which nobody is born: every concept may have changed since its birth."""
    later = "4" * 64
    matrix = np.vstack([R, [0.85, 0.65, 0.3]])
    summary = table_of(scores(matrix, (*TREES, later)), axes((*TREES, later), (1, 2, 3, 3))).summary
    assert summary.bwt == pytest.approx((-0.05 - 0.05 - 0.3) / 3)
    assert summary.forgetting == pytest.approx((0.05 + 0.05 + 0.3) / 3)
    assert summary.retention == pytest.approx((0.35 + 0.25 + 0.0) / 1.0)


def test_what_lies_between_is_needed_for_forgetting_only():
    gap = R.copy()
    gap[1, 0] = np.nan
    summary = table_of(scores(gap)).summary
    assert summary.missing == 1
    assert summary.forgetting is None
    assert summary.bwt == pytest.approx(-0.05)


def test_without_the_last_row_there_is_no_summary():
    gap = R.copy()
    gap[2, 0] = np.nan
    summary = table_of(scores(gap)).summary
    assert (summary.bwt, summary.forgetting, summary.retention) == (None, None, None)
    assert summary.missing == 1


def test_a_single_concept_has_no_backward_transfer():
    one = Axes(TREES[:1], (frozenset(CONCEPTS[:1]),), CONCEPTS[:1], TREES[:1])
    table = metric_tables(one, scores(R), {"identity": (0.5,)}, {}, LIMITS)[0]
    assert table.summary.bwt is None
    assert table.summary.gain == pytest.approx(0.4)


def test_a_concept_that_was_never_learned_has_no_retention():
    """Its images score as those of its class noun alone; what it then loses or gains is noise."""
    found = scores(R)
    nouns = {CONCEPTS[0]: {"identity": R[0, 0] + SPREAD}, CONCEPTS[1]: {"identity": 0.4 + SPREAD}}
    summary = table_of(LineageScores(found.by_pair, nouns, protocol=found.protocol, digest=found.digest)).summary
    assert summary.retention == pytest.approx((0.25 + 0.3) / (0.3 + 0.3))


def test_the_class_noun_s_own_scores_go_before_what_was_recorded():
    found = scores(R)
    nouns = {CONCEPTS[0]: {"identity": 0.1 + SPREAD}}
    table = table_of(LineageScores(found.by_pair, nouns, protocol=found.protocol, digest=found.digest))
    assert table.base == (pytest.approx(0.1), 0.4, 0.3)


def test_a_constant_fall_is_forgotten_and_a_small_one_kept():
    table = table_of(scores(R))
    assert [drop.outcome for drop in table.drops] == ["forgot", "forgot", "kept"]
    small = R.copy()
    small[2, 0] = 0.895
    table = table_of(scores(small))
    assert table.drops[0].outcome == "kept"
    assert table.drops[0].drop == pytest.approx(0.005)


def test_a_noisy_fall_is_not_decided_and_its_interval_is_the_gate_s():
    rng = np.random.default_rng(0)
    before, after = 0.9 + rng.normal(0, 0.05, (10, 2)), 0.88 + rng.normal(0, 0.05, (10, 2))
    pairs = {(TREES[0], CONCEPTS[0]): {"identity": before}, (TREES[1], CONCEPTS[0]): {"identity": after}}
    one = Axes(TREES[:2], (frozenset(CONCEPTS[:1]),) * 2, CONCEPTS[:1], TREES[:1])
    table = metric_tables(one, LineageScores(pairs), {}, {}, LIMITS)[0]
    assert table.drops[0].outcome == "inconclusive"
    assert (table.drops[0].low, table.drops[0].high) == pytest.approx(interval(estimate(paired_drops(before, after))))


def test_changes_are_paired_over_the_images_that_both_have():
    """The baseline has two images more, far worse ones: they have no partner and say nothing about a change."""
    paired = np.tile([0.89, 0.91], (10, 1))
    before, after = np.hstack([paired, paired - 0.8]), paired - 0.01
    pairs = {(TREES[0], CONCEPTS[0]): {"identity": before}, (TREES[1], CONCEPTS[0]): {"identity": after}}
    one = Axes(TREES[:2], (frozenset(CONCEPTS[:1]),) * 2, CONCEPTS[:1], TREES[:1])
    table = metric_tables(one, LineageScores(pairs), {}, {}, LIMITS)[0]
    assert table.cells[1][0].change == pytest.approx(-0.01)
    assert table.drops[0].outcome == "kept"


def test_forgotten_by_one_metric_is_forgotten():
    both = scores(np.full((3, 3), 0.8))
    falling = scores(R, metric="clip_i").by_pair
    pairs = {pair: {**found, **falling.get(pair, {})} for pair, found in both.by_pair.items()}
    tables = metric_tables(axes(), LineageScores(pairs), {}, {}, LIMITS)
    assert [table.metric for table in tables] == ["identity", "clip_i", "clip_t"]
    assert outcomes(tables, axes()) == ("forgot", "forgot", "kept")


def test_what_is_not_measured_is_not_kept():
    gap = R.copy()
    gap[2, 2] = np.nan
    assert outcomes((table_of(scores(gap)),), axes())[2] == "unmeasured"
    assert outcomes((), axes()) == ("unmeasured",) * 3


def test_the_worst_step_is_the_largest_fall_between_measured_rows():
    steps = worst_steps(table_of(scores(R)), ["one", "two", "three"], axes())
    assert (steps[0].before, steps[0].commit) == ("one", "two")
    assert steps[0].change == pytest.approx(-0.1)
    assert (steps[1].before, steps[1].commit) == ("two", "three")
    assert steps[2] is None


def test_a_removed_concept_is_in_the_matrix_and_not_in_the_summary():
    last = frozenset(CONCEPTS[1:])
    rows = Axes(TREES, (frozenset(CONCEPTS[:1]), frozenset(CONCEPTS[:2]), last), CONCEPTS, TREES)
    table = table_of(scores(R), rows)
    assert rows.current == (1, 2)
    assert table.cells[0][0].value == pytest.approx(0.9)
    assert table.cells[2][0] is None
    assert table.drops[0] is None
    assert table.summary.bwt == pytest.approx(-0.05)


def test_a_least_score_that_is_not_reached_is_forgetting_too():
    limits = Thresholds(("id",), {"id": 0.02}, {"id": 0.75})
    table = metric_tables(axes(), scores(np.where(np.isnan(R), R, 0.7)), {}, {}, limits)[0]
    assert [drop.outcome for drop in table.drops] == ["forgot"] * 3
    assert "asked for 0.75" in table.drops[0].why


def test_a_metric_that_decides_nothing_has_no_drops():
    limits = Thresholds(("clip-i",), {"clip-i": 0.02}, {})
    table = metric_tables(axes(), scores(R), {}, {}, limits)[0]
    assert (table.metric, table.drops) == ("identity", ())
