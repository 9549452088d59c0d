"""From noisy scores to a decision: kept, forgot, or not known yet.

A drop is a mean over the judge prompts, which are part of the protocol; what is noisy about it is which pictures the
prompts gave. So its interval is Student's, from the spread of the images *within* the prompts: that one prompt loses
more than another is no noise. A concept is *kept* only when its whole interval lies at or under the largest drop
allowed, it *forgot* only when the whole of it lies above, and everything else is *inconclusive*: fewer images widen the
interval and cannot make a result greener.

Who is undecided draws more images and looks again. The interval holds at all numbers of images at once (Robbins 1970),
so looking often buys no verdict, and what is said depends on the scores and not on the looks before. Several concepts
are judged at once: their intervals are widened step by step after Holm (1979).

The module knows numbers alone: no image, no concept but its name.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cns.errors import MetricError
from cns.student import student_t_cdf, student_t_quantile

CONFIDENCE = 0.95
Floats = NDArray[np.floating]
_NORMAL = NormalDist()


class Outcome(enum.StrEnum):
    """What the gate says about one concept."""

    KEPT = "kept"
    FORGOT = "forgot"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts, and how far it is known.

    Attributes:
        mean: Mean of the prompts' means.
        error: Its standard error; inf where there is nothing to tell it from.
        degrees: Degrees of freedom of that error.
        images: Images of each prompt.
    """

    mean: float
    error: float
    degrees: int
    images: int


@dataclass(frozen=True)
class Verdict:
    """The gate's answer for one concept.

    Attributes:
        outcome: Kept, forgot or inconclusive.
        drop: Mean drop over the prompts; negative = it got better.
        low: Lower bound of the drop at the level the concept was judged at; -inf if there is no interval.
        high: Upper bound; inf if there is no interval.
        confidence: That level: 1 - alpha / (number of concepts not yet decided).
        images: Images of each prompt.
    """

    outcome: Outcome
    drop: float
    low: float
    high: float
    confidence: float
    images: int

    def images_for(self, half: float) -> float:
        """Images of each prompt with which the interval reaches `half` to each side: its width falls as 1 / sqrt(n).

        Returns:
            inf for a half of 0, or where there is no interval.
        """
        return self.images * ((self.high - self.low) / (2 * half)) ** 2 if half else math.inf


def estimate(values: Floats) -> Estimate:
    """The mean over prompts and its standard error.

    Of P prompts with n images each, error^2 = sum_p s_p^2 / (n P^2) with P (n - 1) degrees of freedom, s_p^2 the
    variance within prompt p. One image of each prompt does not tell it; then the spread of the prompts stands for it,
    s / sqrt(P) with P - 1 degrees, which holds both variances and so is too large, if anything.

    Args:
        values: Shape (P, n), or (P,) for one value a prompt.

    Raises:
        MetricError: none, or NaN.
    """
    table = np.asarray(values, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise _not_finite(table)
    prompts, images = table.shape
    if images == 1:
        return Estimate(float(table.mean()), standard_error(table[:, 0]), prompts - 1, 1)
    within = float(table.var(1, ddof=1).mean())
    return Estimate(float(table.mean()), math.sqrt(within / (prompts * images)), prompts * (images - 1), images)


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


def paired_drops(before: Floats, after: Floats) -> NDArray[np.float64]:
    """How much the score of each image fell; the same (prompt, index) had the same seed in both.

    Args:
        before: Scores of the baseline, shape (P, n) or (P,).
        after: Scores now, of the same shape.

    Returns:
        before - after, of that shape, float64; positive = fell.

    Raises:
        MetricError: the shapes differ (fewer prompts or images than the baseline), are empty, or hold NaN.
    """
    if before.shape != after.shape or before.ndim not in (1, 2) or before.size == 0:
        raise MetricError(
            f"scores of shape {after.shape} against a baseline of {before.shape}: expected the same prompts and images",
            "Score the baseline again under the same protocol",
            metric="drop",
        )
    drops = np.asarray(before, np.float64) - np.asarray(after, np.float64)
    if not np.isfinite(drops).all():
        raise _not_finite(drops)
    return drops


def paired_drop(before: Floats, after: Floats) -> NDArray[np.float64]:
    """How much the score of each prompt fell: `paired_drops`, images of one prompt averaged, shape (P,)."""
    drops = paired_drops(before, after)
    return drops.reshape(len(drops), -1).mean(1)


def decide(drops: Mapping[str, Floats], max_drop: float, confidence: float = CONFIDENCE) -> dict[str, Verdict]:
    """Judge all concepts of a model at once.

    For each concept the p-value of "the mean drop is exactly max_drop" is computed, see `p_value`. After Holm, the
    smallest p-values are tested first, the k-th of T at alpha / (T - k + 1), until one is not significant; it and the
    rest are inconclusive. A significant one is kept or forgot by the side that it lies on. The same in intervals: kept
    if high <= max_drop, forgot if low > max_drop, each at its own level; all directional errors together, at whatever
    numbers of images and however often it is looked, have a probability <= alpha.

    Args:
        drops: concept -> drop of each image, shape (P, n), from `paired_drops`; (P,) is one image of each prompt.
        max_drop: Largest mean drop that is not called forgetting.
        confidence: 1 - alpha, for all concepts together.

    Returns:
        concept -> verdict, in the order given.

    Raises:
        MetricError: a concept has no prompt or a NaN: the gate must fail.
    """
    alpha = 1 - confidence
    known = {name: estimate(values) for name, values in drops.items()}
    ranked = sorted(known, key=lambda name: (p_value(known[name], max_drop), name))
    verdicts, undecided = {}, len(ranked)
    for name in ranked:
        level = 1 - alpha / undecided
        verdict = _verdict(known[name], max_drop, level)
        verdicts[name] = verdict
        if verdict.outcome is Outcome.INCONCLUSIVE:
            # Holm stops here: whoever comes after has a larger p-value and is judged at this level, not a milder one.
            for other in ranked[len(verdicts) :]:
                verdicts[other] = _verdict(known[other], max_drop, level)
            break
        undecided -= 1
    return {name: verdicts[name] for name in drops}


def p_value(known: Estimate, value: float) -> float:
    """P-value of "the mean is `value`", valid at all numbers of images at once.

    p = sqrt(n + 1) exp(-z^2 n / (2 (n + 1))), z the normal score with the tail of Student's t = (mean - value) / error,
    n the images of each prompt. 1 / p is the likelihood ratio of a normal mixture of means, which under the hypothesis
    ever exceeds 1 / alpha with a probability <= alpha (Robbins 1970; "always valid": Johari, Pekelis and Walsh 2017).
    Its scale, one image of each prompt, is chosen: from 3 to 64 images an interval is then 1.6 to 1.7 times as wide as
    one that may be looked at once, with 2 twice as wide. z in place of t is an approximation, which
    `benchmarks/gate_noise.py` measures.
    """
    if math.isinf(known.error):
        return 1.0
    if known.error == 0:
        return 0.0
    tail = student_t_cdf(-abs(known.mean - value) / known.error, known.degrees)
    score = _NORMAL.inv_cdf(tail) if tail > 0 else -math.inf
    n = known.images
    return min(1.0, math.sqrt(n + 1) * math.exp(-(score**2) * n / (2 * (n + 1))))


def interval(known: Estimate, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The values that `p_value` does not refuse at this level: (low, high), or (-inf, inf) without an error."""
    if math.isinf(known.error):
        return -math.inf, math.inf
    n = known.images
    score = math.sqrt(2 * (n + 1) / n * math.log(math.sqrt(n + 1) / (1 - confidence)))
    half = -student_t_quantile(_NORMAL.cdf(-score), known.degrees) * known.error
    return known.mean - half, known.mean + half


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


def _verdict(known: Estimate, max_drop: float, level: float) -> Verdict:
    """One concept at one level."""
    low, high = interval(known, level)
    outcome = Outcome.KEPT if high <= max_drop else Outcome.FORGOT if low > max_drop else Outcome.INCONCLUSIVE
    return Verdict(outcome, known.mean, low, high, level, known.images)


def _not_finite(values: Floats) -> MetricError:
    return MetricError(
        f"values of shape {values.shape}, {int((~np.isfinite(values)).sum())} of them not finite: expected finite "
        "numbers for each prompt",
        metric="interval",
    )
