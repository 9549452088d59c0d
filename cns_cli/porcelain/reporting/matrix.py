"""The matrix R of a lineage: scores by commit and concept, changes since birth, verdicts, and what it adds up to.

Changes are paired, prompt by prompt and seed by seed: where one side has more images, both are cut to what they share.
The summary is `cns.continual`'s, on the rows in which concepts were born. numpy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cns.continual import bwt, bwt_per_prompt, forgetting, is_learned, learned_gain, retention
from cns.errors import MetricError
from cns.gate import studentised_interval
from cns.imagescores import Scores
from cns_cli.porcelain.answers import MetricResult
from cns_cli.porcelain.gate.limits import Thresholds
from cns_cli.porcelain.gate.verdicts import judge
from cns_cli.porcelain.metrics import Case, label_of
from cns_cli.porcelain.reporting.data import NAMES, Cell, CellVerdict, Drop, MetricTable, Step, Summary
from cns_cli.porcelain.reporting.scores import Array, LineageScores

Levels = Mapping[str, tuple[float | None, ...]]
"""Metric -> a level of each concept."""

Row = Sequence[Array | None]
"""The scores of each concept, shape (P, n); None where nothing is stored."""


@dataclass(frozen=True)
class Axes:
    """The rows and columns of the matrix.

    Attributes:
        trees: Tree id of each row, the revision of the report last; `holds`: the concept ids of each.
        concepts: Concept id of each column, in the order in which they came.
        births: For each column the tree that is its baseline.
        sees: Of each row, concept id -> tree that prompts about it see, where that is not the row's; empty: nowhere.
    """

    trees: tuple[str, ...]
    holds: tuple[frozenset[str], ...]
    concepts: tuple[str, ...]
    births: tuple[str, ...]
    sees: tuple[Mapping[str, str], ...] = ()

    def seen(self, row: int, concept: str) -> str:
        """Id of the tree that prompts about a concept see in a row."""
        return self.sees[row].get(concept, self.trees[row]) if self.sees else self.trees[row]

    @property
    def current(self) -> tuple[int, ...]:
        """The columns that the last row holds."""
        return tuple(j for j, concept in enumerate(self.concepts) if concept in self.holds[-1])

    def born_row(self, column: int) -> int:
        """The first row that holds a concept."""
        return next(row for row, held in enumerate(self.holds) if self.concepts[column] in held)


def metric_tables(
    axes: Axes, scores: LineageScores, base: Levels, ceiling: Levels, limits: Thresholds
) -> tuple[MetricTable, ...]:
    """Return the matrix of every metric that was measured, the main score first.

    Args:
        axes: Rows and columns.
        scores: What is stored.
        base: b_j, used where `scores` does not hold the class noun's.
        ceiling: r_j.
        limits: What decides, and by which limits.
    """
    measured = [metric for metric in NAMES if any(metric in found for found in scores.by_pair.values())]
    return tuple(_table(axes, scores, metric, base, ceiling, limits) for metric in measured)


def outcomes(tables: Sequence[MetricTable], axes: Axes) -> tuple[CellVerdict, ...]:
    """Return one outcome a column: forgotten by one metric is forgotten, kept must be kept by all."""
    order: tuple[CellVerdict, ...] = ("forgot", "unmeasured", "inconclusive", "kept")
    judged = [[drop.outcome if drop else "unmeasured" for drop in table.drops] for table in tables if table.drops]
    found = zip(*judged, strict=True) if judged else [("unmeasured",)] * len(axes.concepts)
    return tuple(min(column, key=order.index) for column in found)


def worst_steps(table: MetricTable, commits: Sequence[str], axes: Axes) -> tuple[Step | None, ...]:
    """Return, for each column, the step between two measured rows over which its score fell most."""
    found: list[Step | None] = []
    for column in range(len(axes.concepts)):
        points = [(0.0, axes.born_row(column))] if table.born[column] else []
        points += [
            (cell.change, row)
            for row, cells in enumerate(table.cells)
            if (cell := cells[column]) is not None and cell.change is not None and row > axes.born_row(column)
        ]
        steps = [
            Step(commits[before], commits[after], change - earlier)
            for (earlier, before), (change, after) in pairwise(points)
        ]
        lowest = min(steps, key=lambda step: step.change, default=None)
        found.append(lowest if lowest is not None and lowest.change < 0 else None)
    return tuple(found)


def _table(
    axes: Axes, scores: LineageScores, metric: str, base: Levels, ceiling: Levels, limits: Thresholds
) -> MetricTable:
    def stored(tree: str, concept: str) -> Array | None:
        return scores.by_pair.get((tree, concept), {}).get(metric)

    label = label_of(NAMES[metric])
    unknown = (None,) * len(axes.concepts)
    born = [stored(tree, concept) for tree, concept in zip(axes.births, axes.concepts, strict=True)]
    nouns = [scores.by_noun.get(concept, {}).get(metric) for concept in axes.concepts]
    rows = [
        [stored(axes.seen(row, concept), concept) if concept in held else None for concept in axes.concepts]
        for row, held in enumerate(axes.holds)
    ]
    levels = tuple(
        level if noun is None else float(noun.mean())
        for noun, level in zip(nouns, base.get(metric, unknown), strict=True)
    )
    return MetricTable(
        metric=metric,
        label=label[0].upper() + label[1:],
        cells=tuple(tuple(map(_cell, row, born)) for row in rows),
        base=levels,
        ceiling=ceiling.get(metric, unknown),
        born=tuple(map(_cell, born, born)),
        drops=_drops(axes, metric, born, rows[-1], limits) if NAMES[metric] in limits.metrics else (),
        summary=_summary(axes, born, nouns, rows, levels),
    )


def _drops(axes: Axes, metric: str, born: Row, now: Row, limits: Thresholds) -> tuple[Drop | None, ...]:
    """Judge all current concepts together, by the very function that `cns check` decides with."""
    cases = {
        concept: Case(before=_only(metric, pair[0]), after=_only(metric, pair[1]))
        for concept, before, after in zip(axes.concepts, born, now, strict=True)
        if (pair := _shared(before, after)) is not None
    }
    results = judge(cases, [NAMES[metric]], limits) if cases else {}
    return tuple(_drop(results[concept][0].result) if concept in results else None for concept in axes.concepts)


def _only(metric: str, values: Array) -> Scores:
    """Scores that hold one metric; CLIP-T is always there and is not read for another."""
    return Scores(values if metric == "identity" else None, values if metric == "clip_i" else None, values)


def _drop(result: MetricResult) -> Drop | None:
    if result.drop is None or result.low is None or result.high is None:
        return None
    return Drop(result.drop, result.low, result.high, result.verdict, result.why)


def _summary(axes: Axes, born: Row, nouns: Row, rows: Sequence[Row], base: Sequence[float | None]) -> Summary:
    """Add up the matrix over the current concepts."""
    square, missing = _square(axes, born, rows)
    if square is None:
        return Summary(missing=missing)
    # The revision may have come after the last birth: then it is a row of its own, with a concept that nobody reads.
    levels = np.asarray([*(base[column] for column in axes.current), 0.0][: len(square)], dtype=np.float64)
    learned = np.asarray([*(_learned(nouns[column], born[column]) for column in axes.current), False][: len(square)])
    ends = _without_middle(square)
    low, high = _interval(ends)
    mean, known = ends.mean(2), not np.isnan(levels).any()
    return Summary(
        bwt=_figure(lambda: bwt(mean)),
        bwt_low=low,
        bwt_high=high,
        forgetting=_figure(lambda: forgetting(square.mean(2))) if not missing else None,
        retention=_figure(lambda: retention(mean, levels, learned)) if known else None,
        gain=_figure(lambda: learned_gain(mean, levels)[: len(axes.current)].mean()) if known else None,
        missing=missing,
    )


def _square(axes: Axes, born: Row, rows: Sequence[Row]) -> tuple[Array | None, int]:
    """R of the current concepts in the rows of their births, shape (T, T, P); NaN where not measured.

    The diagonal is the score of each concept on its own baseline and the last row is the revision. Returns None for R
    where the diagonal or the last row has a gap, and the number of gaps on or below the diagonal.
    """
    births = [axes.born_row(column) for column in axes.current]
    extra = not births or axes.trees[births[-1]] != axes.trees[-1]
    size = len(births) + extra
    values: dict[tuple[int, int], Array | None] = {}
    for j, column in enumerate(axes.current):
        ends = born[column], rows[-1][column]
        values[j, j], values[size - 1, j] = _shared(*ends) or ends
        values |= {(i, j): rows[births[i]][column] for i in range(j + 1, size - 1)}
    missing = sum(value is None for value in values.values())
    gap = any(values[key] is None for j in range(len(births)) for key in ((j, j), (size - 1, j)))
    prompts = {len(value) for value in values.values() if value is not None}
    if gap or len(prompts) != 1:
        return None, missing
    square = np.full((size, size, prompts.pop()), np.nan)
    for (i, j), value in values.items():
        if value is not None:
            square[i, j] = value.mean(1)
    if extra:
        square[-1, -1] = 0.0
    return square, missing


def _learned(noun: Array | None, born: Array | None) -> bool:
    """Whether a concept was learned at all; taken for granted where the class noun's own images were not scored."""
    pair = _shared(noun, born)
    return pair is None or is_learned((pair[1] - pair[0]).mean(1))


def _without_middle(square: Array) -> Array:
    """R with what lies between diagonal and last row filled in: backward transfer and retention do not read it."""
    filled = square.copy()
    for j in range(len(filled)):
        filled[j:-1, j] = filled[j, j]
    return filled


def _interval(square: Array) -> tuple[float | None, float | None]:
    """Student's interval of the backward transfer over the prompts; None where there is none."""
    if len(square) < 2 or square.shape[2] < 2:
        return None, None
    return studentised_interval(bwt_per_prompt(square))


def _figure(compute: Callable[[], float]) -> float | None:
    """A figure, or None where the matrix does not allow it (one concept, nothing learned)."""
    try:
        return float(compute())
    except MetricError:
        return None


def _shared(before: Array | None, after: Array | None) -> tuple[Array, Array] | None:
    """Both cut to the images that they share; None where one is not there or the prompts differ."""
    if before is None or after is None or len(before) != len(after):
        return None
    images = min(before.shape[1], after.shape[1])
    return before[:, :images], after[:, :images]


def _cell(scores: Array | None, born: Array | None) -> Cell | None:
    if scores is None:
        return None
    pair = _shared(born, scores)
    change = None if pair is None else float((pair[1] - pair[0]).mean())
    return Cell(float(scores.mean()), change, *scores.shape)
