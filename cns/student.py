"""Student's distribution, computed from the incomplete beta function (Abramowitz and Stegun 26.5.8 and 26.7.1).

So that a verdict needs numpy and the standard library alone: the gate must answer before anything heavy is loaded. The
module knows no score and no decision.
"""

from __future__ import annotations

import math
from functools import lru_cache


def student_t_cdf(value: float, degrees: float) -> float:
    """P(T <= value) of Student's distribution: 1 - I_{v/(v+t^2)}(v/2, 1/2) / 2 for t >= 0 (A&S 26.7.1)."""
    tail = 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + value * value))
    return 1 - tail if value > 0 else tail


@lru_cache(maxsize=1024)  # concepts that are judged together ask for the same ones
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
