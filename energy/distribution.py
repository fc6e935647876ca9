"""The distribution of a figure over images, which can't be negative, and a confidence interval that can't either.

`log mean ± t(0.975, n - 1) · s / (mean · √n)`, s the standard deviation of the sample: Student's interval of the mean,
by the delta method on a logarithmic scale.
"""

from math import exp

import numpy as np
from numpy.typing import NDArray

from energy.record import Strict
from energy.student import two_sided_quantile

CONFIDENCE = 0.95


class Distribution(Strict):
    """The distribution of a figure over images.

    Attributes:
        images: number of images.
        mean: mean over the images.
        standard_deviation: that of the sample (n - 1); None for one image.
        interval: 95 % confidence interval of the mean, above 0 where the mean is; None for one image.
        minimum, maximum: the least and the greatest value.
        percentiles: 2.5 %, 50 % and 97.5 % of the images lie below, interpolated.
    """

    images: int
    mean: float
    standard_deviation: float | None
    interval: tuple[float, float] | None
    minimum: float
    maximum: float
    percentiles: tuple[float, float, float]


def distribution(values: NDArray[np.float64] | NDArray[np.int64]) -> Distribution:
    """The distribution of a figure, one value per image, each 0 or more: `[images]`.

    The interval is that of the mean over images like these; the percentiles say where single images lie.
    """
    images, mean = len(values), float(values.mean())
    deviation = interval = None
    if images > 1:
        deviation = float(values.std(ddof=1))
        quantile = two_sided_quantile(CONFIDENCE, images - 1)
        factor = exp(quantile * deviation / (mean * images**0.5)) if mean else 1.0
        interval = (mean / factor, mean * factor)
    low, median, high = (float(p) for p in np.percentile(values, [2.5, 50.0, 97.5]))
    return Distribution(
        images=images,
        mean=mean,
        standard_deviation=deviation,
        interval=interval,
        minimum=float(values.min()),
        maximum=float(values.max()),
        percentiles=(low, median, high),
    )
