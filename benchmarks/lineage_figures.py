"""The figures of one lineage: what the cell of a stream says about learning and forgetting. No table, no method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tuning import criterion
from cns import continual

GAINS = ("identity", "clip_i")
"""Scores whose gain over the class noun alone says that a concept was learned."""


def lineage_figures(cell: Mapping[str, Any]) -> dict[str, float]:
    """Gain, BWT, retention and more of one stream's cell, by `cns.continual`.

    Returns:
        "final SCORE" and "bwt SCORE" (0 for a single concept); of `GAINS` "gain SCORE" and, where something was gained,
        "bwt SCORE / gain" and "retention SCORE"; "zero-shot", "criterion".
    """
    found = {"zero-shot": cell["zero_shot"]["identity"], "criterion": criterion(cell)}
    for score in cell["diagonal"][0]:
        matrix = score_matrix(cell, score)
        several = len(matrix) > 1
        found[f"final {score}"] = float(matrix[-1].mean())
        found[f"bwt {score}"] = continual.bwt(matrix) if several else 0.0
        if score not in GAINS:
            continue
        base = np.asarray([row[score] for row in cell["base"]])
        gain = float(continual.learned_gain(matrix, base).mean())
        found[f"gain {score}"] = gain
        if gain > 0:
            found[f"bwt {score} / gain"] = found[f"bwt {score}"] / gain
            found[f"retention {score}"] = continual.retention(matrix, base)
    return found


def score_matrix(cell: Mapping[str, Any], score: str) -> NDArray[np.float64]:
    """R of one score; what was not drawn (between diagonal and last row) repeats the diagonal."""
    count = len(cell["diagonal"])
    matrix = np.zeros((count, count))
    for concept in range(count):
        matrix[concept:, concept] = cell["diagonal"][concept][score]
    matrix[:, 0] = [row[score] for row in cell["first"]]
    matrix[-1] = [row[score] for row in cell["final"]]
    return matrix


def first_concept_curve(cells: Iterable[Mapping[str, Any]], score: str) -> list[list[float]]:
    """What is left of the first concept's gain after each concept: a list of shares a cell, if there was a gain."""
    curves = []
    for cell in cells:
        base, gained = cell["base"][0][score], cell["diagonal"][0][score] - cell["base"][0][score]
        if gained > 0:
            curves.append([(row[score] - base) / gained for row in cell["first"]])
    return curves


def gains_by_fifth(cell: Mapping[str, Any], score: str) -> list[float]:
    """Mean gain of the concepts of each fifth of the stream, in their order; NaN for a fifth without one."""
    pairs = zip(cell["diagonal"], cell["base"], strict=True)
    gains = [row[score] - base[score] for row, base in pairs]
    return [float(part.mean()) if part.size else math.nan for part in np.array_split(np.asarray(gains), 5)]


def largest_drops(cell: Mapping[str, Any], score: str) -> list[float]:
    """What each concept but the last lost from when it was learned to the end, the largest drop first."""
    pairs = zip(cell["diagonal"][:-1], cell["final"][:-1], strict=True)
    return sorted((learned[score] - left[score] for learned, left in pairs), reverse=True)


def gains_over(cell: Mapping[str, Any], token: Mapping[str, Any], first: int, last: int) -> float:
    """How much more of identity was learned at some places of an order than by the token alone.

    Args:
        cell: Of a method.
        token: Of Textual Inversion, in the same order.
        first: Of the places, counted from 1.
        last: Of the places; it is among them.
    """
    pairs = zip(cell["diagonal"], token["diagonal"], strict=True)
    return float(np.mean([one["identity"] - other["identity"] for one, other in list(pairs)[first - 1 : last]]))
