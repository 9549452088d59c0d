"""From noisy scores to a decision: kept, forgot, or not known.

A drop is measured on a few prompts, so it has an interval: Student's, over the prompts' means, because images of one
prompt are alike and prompts are what a user will vary. A concept is *kept* only when its whole interval lies at or
under the largest drop allowed, it *forgot* only when the whole of it lies above, and everything else is *inconclusive*:
fewer images widen the interval and can never make a result greener. Several concepts are judged at once, so the
intervals are widened step by step after Holm (1979).

The module knows numbers alone: no image, no concept but its name. numpy and the standard library suffice: Student's
distribution is computed from the incomplete beta function (Abramowitz and Stegun 26.5.8 and 26.7.1).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cns.errors import MetricError

CONFIDENCE = 0.95
Floats = NDArray[np.floating]


class Outcome(enum.StrEnum):
    """What the gate says about one concept."""

    KEPT = "kept"
    FORGOT = "forgot"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Verdict:
    """The gate's answer for one concept.

    Attributes:
        outcome: Kept, forgot or inconclusive.
        drop: Mean drop over the prompts; negative = it got better.
        low: Lower bound of the drop at the level the concept was judged at; -inf if there is no interval.
        high: Upper bound; inf if there is no interval.
        confidence: That level: 1 - alpha / (number of concepts not yet decided).
        prompts: Number of prompts.
    """

    outcome: Outcome
    drop: float
    low: float
    high: float
    confidence: float
    prompts: int


def studentised_interval(per_prompt: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Student's two-sided interval of a mean over prompts.

    mean +- t(1 - (1 - confidence) / 2, P - 1) * s / sqrt(P), s with P - 1 in its denominator.

    Args:
        per_prompt: One value for each of P prompts, shape (P,); average the images of a prompt first.
        confidence: Two-sided level, in (0, 1).

    Returns:
        (low, high); (-inf, inf) for a single prompt, which says nothing about the next.

    Raises:
        MetricError: no prompt, not one value a prompt, or NaN.
    """
    values = checked_prompts(per_prompt)
    mean, error = float(values.mean()), standard_error(values)
    if math.isinf(error):
        return -math.inf, math.inf
    half = student_t_quantile(0.5 + confidence / 2, len(values) - 1) * error
    return mean - half, mean + half


def standard_error(per_prompt: Floats) -> float:
    """Standard error of a mean over prompts, s / sqrt(P); inf for a single prompt."""
    values = checked_prompts(per_prompt)
    if len(values) < 2:
        return math.inf
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def paired_drop(before: Floats, after: Floats) -> NDArray[np.float64]:
    """How much the score of each prompt fell, images of one prompt averaged.

    drop[p] = mean_n before[p, n] - mean_n after[p, n]; the same (prompt, index) had the same seed in both.

    Args:
        before: Scores of the baseline, shape (P, n) or (P,).
        after: Scores now, of the same shape.

    Returns:
        Shape (P,), float64; positive = fell.

    Raises:
        MetricError: the shapes differ (fewer prompts or images than the baseline), are empty, or hold NaN.
    """
    if before.shape != after.shape or before.ndim not in (1, 2) or before.size == 0:
        raise MetricError(
            f"scores of shape {after.shape} against a baseline of {before.shape}: expected the same prompts and images",
            "Score the baseline again under the same protocol",
            metric="drop",
        )
    drop = np.asarray(before, np.float64) - np.asarray(after, np.float64)
    return checked_prompts(drop.reshape(len(drop), -1).mean(1))


def decide(drops: Mapping[str, Floats], max_drop: float, confidence: float = CONFIDENCE) -> dict[str, Verdict]:
    """Judge all concepts of a model at once.

    For each concept the two-sided Student p-value of "the mean drop is exactly max_drop" is computed. After Holm, the
    smallest p-values are tested first, the k-th of T at alpha / (T - k + 1), until one is not significant; it and the
    rest are inconclusive. A significant one is kept or forgot by the side that it lies on. The same in intervals: kept
    if high <= max_drop, forgot if low > max_drop, each at its own level; all directional errors together have a
    probability <= alpha.

    Args:
        drops: concept -> drop of each prompt, shape (P,), from `paired_drop`.
        max_drop: Largest mean drop that is not called forgetting.
        confidence: 1 - alpha, for all concepts together.

    Returns:
        concept -> verdict, in the order given.

    Raises:
        MetricError: a concept has no prompt or a NaN: the gate must fail.
    """
    alpha = 1 - confidence
    ranked = sorted(drops, key=lambda name: (_p_value(drops[name], max_drop), name))
    verdicts, undecided = {}, len(ranked)
    for name in ranked:
        level = 1 - alpha / undecided
        verdict = _verdict(drops[name], max_drop, level)
        verdicts[name] = verdict
        if verdict.outcome is Outcome.INCONCLUSIVE:
            # Holm stops here: whoever comes after has a larger p-value and is judged at this level, not a milder one.
            for other in ranked[len(verdicts) :]:
                verdicts[other] = _verdict(drops[other], max_drop, level)
            break
        undecided -= 1
    return {name: verdicts[name] for name in drops}


def worst(verdicts: Mapping[str, Verdict]) -> Outcome:
    """The outcome of a whole check: forgot if any concept forgot, else inconclusive if any is, else kept."""
    outcomes = {verdict.outcome for verdict in verdicts.values()}
    return next(
        outcome
        for outcome in (Outcome.FORGOT, Outcome.INCONCLUSIVE, Outcome.KEPT)
        if outcome in outcomes | {Outcome.KEPT}
    )


def checked_prompts(per_prompt: Floats) -> NDArray[np.float64]:
    """One finite value a prompt, as float64.

    Raises:
        MetricError: it is not that.
    """
    values = np.asarray(per_prompt, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise MetricError(
            f"per-prompt values of shape {values.shape}, {int((~np.isfinite(values)).sum())} of them not finite: "
            "expected one finite number for each prompt",
            metric="interval",
        )
    return values


def student_t_cdf(value: float, degrees: float) -> float:
    """P(T <= value) of Student's distribution: 1 - I_{v/(v+t^2)}(v/2, 1/2) / 2 for t >= 0 (A&S 26.7.1)."""
    tail = 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + value * value))
    return 1 - tail if value > 0 else tail


def student_t_quantile(probability: float, degrees: float) -> float:
    """The t with P(T <= t) = probability, by bisection to the last bits.

    Args:
        probability: In (0, 1).
        degrees: Degrees of freedom, > 0.
    """
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while student_t_cdf(high, degrees) < probability:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if student_t_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function I_x(a, b), x in [0, 1], by its continued fraction (A&S 26.5.8)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # there the fraction converges slowly; by symmetry (A&S 26.5.2)
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front / (a * _beta_fraction(a, b, x))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)) of A&S 26.5.8, by Lentz's method."""
    tiny, fraction, c, d = 1e-300, 1.0, 1.0, 0.0
    for step in range(1, 1000):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + term * d or tiny)
        c = 1 + term / c or tiny
        fraction *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return fraction


def _p_value(drops: Floats, max_drop: float) -> float:
    """Two-sided p-value of "the mean drop is max_drop"."""
    values = checked_prompts(drops)
    distance, error = abs(float(values.mean()) - max_drop), standard_error(values)
    if math.isinf(error):
        return 1.0
    if error == 0:
        return 0.0
    return 2 * student_t_cdf(-distance / error, len(values) - 1)


def _verdict(drops: Floats, max_drop: float, level: float) -> Verdict:
    """One concept at one level."""
    values = checked_prompts(drops)
    low, high = studentised_interval(values, level)
    outcome = Outcome.KEPT if high <= max_drop else Outcome.FORGOT if low > max_drop else Outcome.INCONCLUSIVE
    return Verdict(outcome, float(values.mean()), low, high, level, len(values))
