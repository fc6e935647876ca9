"""Axes, and numbers as people read them: `position = start + (end - start) · (f(v) - f(low)) / (f(high) - f(low))`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

PREFIXES = ((1e-12, "p"), (1e-9, "n"), (1e-6, "µ"), (1e-3, "m"), (1.0, ""))


@dataclass(frozen=True)
class Scale:
    """An axis: a map from values to positions; f is the identity, or the logarithm.

    Attributes:
        low, high: values at the ends, `low < high`.
        start, end: positions of these.
        logarithmic: whether f is the logarithm; then `low > 0`.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, v = self.low, self.high, value
        if self.logarithmic:
            low, high, v = math.log(low), math.log(high), math.log(value)
        return self.start + (self.end - self.start) * (v - low) / (high - low)

    def ticks(self) -> list[float]:
        """About five round values between the ends."""
        if self.logarithmic:
            return _logarithmic_ticks(self.low, self.high)
        step = _round_step((self.high - self.low) / 4)
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


def decades(values: Sequence[float]) -> tuple[float, float]:
    """The powers of ten around these positive values, which need not differ."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if last - first <= 2:
        found = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    else:
        found = [10.0**power for power in range(first, last + 1, max(1, math.ceil((last - first) / 5)))]
    return [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def count_text(value: float) -> str:
    """A count in three digits: `84.0 M`."""
    for unit, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit * 0.9995:
            return _three_digits(value / unit) + suffix
    return f"{value:.3g}"


def energy_text(picojoules: float) -> str:
    """An energy in three digits: `1.25 µJ`."""
    if picojoules == 0:
        return "0 J"
    joules = picojoules * 1e-12
    unit, prefix = next((pair for pair in reversed(PREFIXES) if abs(joules) >= pair[0] * 0.9995), PREFIXES[0])
    return f"{_three_digits(joules / unit)} {prefix}J"


def ratio_text(value: float) -> str:
    """A ratio or rate in three digits, without an exponent where it is readable so."""
    if value and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.1e}"
    if not value:
        return "0"
    return _three_digits(value) if abs(value) >= 1 else f"{value:#.3g}"


def _three_digits(value: float) -> str:
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
