"""Learning one concept after another: what the matrix R says about forgetting and about learning.

R[i, j] is the score of concept j on the model after learning concept i (i >= j), 0-based in the code; b_j is the score
of the base model with the class noun alone. Any score will do (identity, CLIP-I, CLIP-T), one at a time. A method can
win against forgetting by learning nothing, so every report shows plasticity beside it.

Backward transfer and forgetting are those of Lopez-Paz and Ranzato (2017, arXiv 1706.08840) and Chaudhry et al. (2018,
arXiv 1801.10112). numpy alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cns.errors import MetricError
from cns.gate import standard_error

Floats = NDArray[np.floating]
LEARNED_ERRORS = 3.0  # a gain under this many standard errors is none


def bwt(scores: Floats) -> float:
    """Backward transfer: 1/(T-1) sum_{j<T} (R[T, j] - R[j, j]); negative = old concepts got worse.

    Args:
        scores: R, shape (T, T); entries above the diagonal are not read.

    Raises:
        MetricError: R is not square, T < 2, or NaN on or below the diagonal.
    """
    matrix = _matrix("bwt", scores)
    return float((matrix[-1, :-1] - np.diag(matrix)[:-1]).mean())


def bwt_per_prompt(scores: Floats) -> NDArray[np.float64]:
    """Backward transfer of each prompt, for `studentised_interval`: `bwt` with R of that prompt alone.

    Args:
        scores: R of each prompt, shape (T, T, P).

    Returns:
        Shape (P,), float64; its mean is `bwt` of the mean R.
    """
    return np.asarray([bwt(scores[:, :, prompt]) for prompt in range(scores.shape[2])])


def forgetting(scores: Floats) -> float:
    """F = 1/(T-1) sum_{j<T} (max_{j<=i<T} R[i, j] - R[T, j]).

    Its maximum picks up noise, so it is a little above 0 even where nothing is forgotten: read it beside `bwt`.

    Args:
        scores: R, shape (T, T); entries above the diagonal are not read.

    Raises:
        MetricError: as `bwt`.
    """
    matrix = _matrix("forgetting", scores)
    best = [matrix[concept:-1, concept].max() for concept in range(len(matrix) - 1)]
    return float((np.asarray(best) - matrix[-1, :-1]).mean())


def learned_gain(scores: Floats, base_scores: Floats) -> NDArray[np.float64]:
    """R[j, j] - b_j of each concept: what learning it gave beyond its class noun.

    Args:
        scores: R, shape (T, T).
        base_scores: b, shape (T,).

    Returns:
        Shape (T,), float64.
    """
    matrix = _matrix("learned gain", scores, least=1)
    return np.diag(matrix) - _vector("learned gain", base_scores, len(matrix))


def is_learned(gain_per_prompt: Floats) -> bool:
    """Whether a concept was learned at all: its mean gain is at least 3 standard errors over the prompts.

    Args:
        gain_per_prompt: Score now minus score of the base with the class noun, shape (P,), P >= 2.
    """
    mean = float(np.mean(gain_per_prompt))
    return mean > 0 and mean >= LEARNED_ERRORS * standard_error(gain_per_prompt)


def retention(scores: Floats, base_scores: Floats, learned: NDArray[np.bool_] | None = None) -> float:
    """Share of what was learned that is still there: sum_j (R[T, j] - b_j) / sum_j (R[j, j] - b_j).

    Args:
        scores: R, shape (T, T).
        base_scores: b, shape (T,).
        learned: Which concepts were learned at all (`is_learned`), shape (T,); the others have no retention and are
            left out. None = all.

    Raises:
        MetricError: nothing was learned.
    """
    matrix = _matrix("retention", scores, least=1)
    base = _vector("retention", base_scores, len(matrix))
    chosen = np.ones(len(matrix), bool) if learned is None else np.asarray(learned, bool)
    gained = (np.diag(matrix) - base)[chosen].sum()
    if not chosen.any() or gained <= 0:
        raise MetricError("retention: no concept was learned, so there is nothing to retain", metric="retention")
    return float((matrix[-1] - base)[chosen].sum() / gained)


def plasticity(scores: Floats, base_scores: Floats, peer_scores: Floats) -> NDArray[np.float64]:
    """Gain of each concept against a peer's gain: (R[j, j] - b_j) / (R_P[j, j] - b_j).

    Never a ratio of raw scores: not training at all would nearly match those.

    Args:
        scores: R, shape (T, T).
        base_scores: b, shape (T,).
        peer_scores: R of the peer, shape (T, T), on the same base and protocol.

    Returns:
        Shape (T,), float64; NaN where the peer gained nothing.
    """
    gain, peer = learned_gain(scores, base_scores), learned_gain(peer_scores, base_scores)
    return np.divide(gain, peer, out=np.full_like(gain, np.nan), where=peer > 0)


def _matrix(metric: str, scores: Floats, least: int = 2) -> NDArray[np.float64]:
    """R as float64, checked; what lies above the diagonal is not looked at."""
    matrix = np.asarray(scores, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < least:
        raise MetricError(f"{metric}: R has shape {matrix.shape}: expected (T, T), T >= {least}", metric=metric)
    if not np.isfinite(matrix[np.tril_indices(len(matrix))]).all():
        raise MetricError(f"{metric}: a score on or below the diagonal of R is missing", metric=metric)
    return matrix


def _vector(metric: str, values: Floats, length: int) -> NDArray[np.float64]:
    vector = np.asarray(values, np.float64)
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise MetricError(f"{metric}: {vector.shape} base scores: expected ({length},), all finite", metric=metric)
    return vector
