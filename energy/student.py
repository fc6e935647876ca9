"""Student's t distribution, whose quantiles a confidence interval takes; scipy has them too, in 140 MB."""

from functools import cache
from math import pi, sqrt

import numpy as np

STEPS = 80
"""Halvings of the interval that a quantile is looked for in: each angle between 0 and π/2 to the last bit."""


@cache  # a report takes hundreds of intervals, all of as many images
def two_sided_quantile(confidence: float, freedom: int) -> float:
    """The t with `P(|T| < t) = confidence` of `freedom` degrees of freedom, one or more."""
    low, high = 0.0, pi / 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _probability(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return float(sqrt(freedom) * np.tan(low))


def _probability(angle: float, freedom: int) -> float:
    """P(|T| < √ν tan θ) for ν degrees of freedom, a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4).

    ν odd:   2/π (θ + sin θ (cos θ + 2/3 cos³ θ + ... + (2·4···(ν-3)) / (3·5···(ν-2)) cos^(ν-2) θ))
    ν even:  sin θ (1 + 1/2 cos² θ + ... + (1·3···(ν-3)) / (2·4···(ν-2)) cos^(ν-2) θ)
    """
    cosine, odd = np.cos(angle), freedom % 2
    k = np.arange(2 + odd, freedom - 1, 2)
    terms = np.cumprod(np.concatenate(([cosine if odd else 1.0], (k - 1) / k * cosine**2)))
    if not odd:
        return float(np.sin(angle) * terms.sum())
    return float(2 / pi * (angle + (np.sin(angle) * terms.sum() if freedom > 1 else 0.0)))
