"""Numbers that are the chip's already: integers in some unit λ, so that none of them has to be rounded.

    w λ_in / λ      h / (g λ)      64 b / λ      4096 dt / tau      are all integers, within their widths

These are the weights of a stream, thresholds above v_reset, biases and leaks, and decays (`scheme`).  Networks that
were trained in the chip's integers are such, in whatever unit a file holds them: lava-dl's weights are 2 k / 64, its
thresholds k / 64.

A file holds float32 numbers, and `dt / tau` and g are quotients and products of several.  So a number counts as whole,
an integer, if it differs from one by at most 2^-21 of itself, which is four of float32's roundings.

Where λ fits, so does λ / 2; on the chip the two differ in how decays round.  The unit is the first that fits of

1. 1, for files that hold the integers themselves;
2. 1 / 64, the one of lava-dl;
3. the largest one in which weights of both signs are even numbers, which Lava's synapses hold;
4. the largest one.

The first two are relative to the unit of the synapses' input: 1 of a spike, `1 / input_scale` of a frame.  Numbers that
are whole in the other two only may be those of a float network; a finer unit with a proof that no spike differs
(`gates`) is preferred to these.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from neuromorphic.ops import Float32, Float64, Mask, Weighted
from neuromorphic.ops.widths import (
    ALIGNMENT,
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    THRESHOLD_BITS,
    WEIGHT_BITS,
    WEIGHT_EXPONENT,
    shift,
)

TOLERANCE = 2.0**-21
"""How far a number may be from an integer, relative to itself, and count as one."""

MOST_WEIGHTS = 256
"""Different magnitudes that 8-bit weights with one exponent have, at most."""

SHORT = 2**12
"""A number has few bits if its significand is a multiple of one over this."""

LARGEST = 2**THRESHOLD_BITS
"""No weight of the chip with its exponent, and no threshold, is larger."""


@dataclass(frozen=True)
class Widths:
    """The exponents of a stream's numbers, in a unit in which they are whole.

    Attributes:
        exponents: e of the weights, by node.
        bias_exponent: E of the biases.
        drive_exponent: e of the drives; None where no current outlasts its step.
    """

    exponents: Mapping[str, int]
    bias_exponent: int
    drive_exponent: int | None


@dataclass(frozen=True)
class Numbers:
    """All numbers of a stream, as floats.

    Attributes:
        weights: by node, times the unit of its input, with the largest exponent that its synapses have.
        direct: weights of spikes that arrive without a node of synapses, likewise.
        scales: of attention.
        thresholds: above v_reset, over g; and the amounts that spikes take off v.
        biases: of each node, their sums at the populations, and leaks; they have to be multiples of λ / 64.
        drives: likewise, where currents outlast their step; None where none does.
    """

    weights: Mapping[str, tuple[Float64, int]]
    direct: Sequence[tuple[float, int]]
    scales: Sequence[float]
    thresholds: Sequence[Float64]
    biases: Sequence[Float64]
    drives: Sequence[Float64] | None

    def unit(self, read: Sequence[float]) -> tuple[float, Widths] | None:
        """The first unit in which all numbers are whole and fit their widths, and these; `read` as of `_units`."""
        held = {}
        for name, (weights, _) in self.weights.items():
            if (found := magnitudes(weights)) is None:
                return None
            held[name] = found
        coarse = [*held.values(), *self.thresholds, *(self.drives or ()), np.array(self.scales)]
        coarse.append(np.array([weight for weight, _ in self.direct]))
        every = np.concatenate([np.abs(v).reshape(-1) for v in (*coarse, *(2**ALIGNMENT * b for b in self.biases))])
        every = np.unique(every[every > 0])
        mixed = [held[name] for name, (weights, _) in self.weights.items() if weights.min() < 0 < weights.max()]
        for unit in _units(every, np.concatenate([np.zeros(0), *mixed]), read):
            if (widths := self._held(unit)) is not None:
                return unit, widths
        return None

    def _held(self, unit: float) -> Widths | None:
        """The exponents of the numbers in a unit in which they are whole; None where a number is too large."""
        exponents = {name: shift(np.rint(w / unit), most) for name, (w, most) in self.weights.items()}
        direct = [shift(np.rint(np.array([w]) / unit), most) for w, most in self.direct]
        whole = {name: e for name, e in exponents.items() if e is not None}
        largest = max((float(h.max(initial=0)) for h in self.thresholds), default=0.0)
        bias = _exponent(self.biases, unit / 2**ALIGNMENT, 2**BIAS_EXPONENT_BITS - 1, BIAS_MANTISSA_BITS)
        if len(whole) < len(exponents) or None in direct or np.rint(largest / unit) >= LARGEST or bias is None:
            return None
        if self.drives is None:
            return Widths(whole, bias, None)
        drive = _exponent(self.drives, unit, WEIGHT_EXPONENT, WEIGHT_BITS)
        return None if drive is None else Widths(whole, bias, drive)


def whole_readout(readout: Weighted, read: float) -> tuple[float, int] | None:
    """The unit, and the exponent, with which weights and biases of the host are integers already; None without one.

    Args:
        readout: an operation of the host, in floats.
        read: the unit of its input.
    """
    weights = {"": (readout.weights.astype(np.float64) * read, WEIGHT_EXPONENT)}
    # The host has no bits to count: its biases are whole as they are, not 64-fold.
    found = Numbers(weights, [], [], [readout.bias_values.astype(np.float64)], [np.zeros(1)], None).unit([read])
    return None if found is None else (found[0], found[1].exponents[""])


def _exponent(values: Sequence[Float64], unit: float, largest: int, bits: int) -> int | None:
    """The least e with which all of `values` are `unit 2^e m` for integers m of so many bits; None without one."""
    whole = np.concatenate([np.rint(each / unit).reshape(-1) for each in values])
    return shift(whole, largest, bits)


def reached(thresholds: Float32) -> Mask:
    """Which thresholds h are the float next below a number of few bits, as 1 - 2^-24: exporters write `v >= 1` so.

    Such an h lies within `TOLERANCE` of an integer, but must not be rounded to it: a neuron that fires at one spike of
    weight 1 would be silent with a threshold of 1.  An integer of 17 bits in a unit of few bits has no such neighbour.
    """
    above = np.nextafter(thresholds, thresholds.dtype.type(np.inf))
    mantissa, _ = np.frexp(above)
    return np.asarray((mantissa * SHORT % 1 == 0) & ((above == 0) | (np.abs(above) >= np.finfo(np.float32).tiny)))


def fired_at(thresholds: Float32) -> Float64:
    """The numbers at which neurons fire whose thresholds are `reached`; other thresholds, above which they fire."""
    above = np.nextafter(thresholds, thresholds.dtype.type(np.inf))
    return np.where(reached(thresholds), above, thresholds).astype(np.float64)


def is_whole(values: Float64) -> bool:
    """Whether all of `values` are integers, but for float32's rounding."""
    return bool((np.abs(values - np.rint(values)) <= TOLERANCE * np.abs(values)).all())


def magnitudes(values: Float64) -> Float64 | None:
    """The distinct magnitudes of weights, without 0, ascending; None where 8-bit integers don't have so many."""
    flat = values.reshape(-1)
    for some in (flat[: 16 * MOST_WEIGHTS], flat):  # most weights that aren't the chip's show it at once
        found = np.unique(np.abs(some[some != 0]))
        if len(found) > MOST_WEIGHTS:
            return None
    return found


def stated_units(read: float) -> tuple[float, float]:
    """The units in which files hold the chip's integers: the input's unit `read`, as they are, or a 64th of it."""
    return read, read / 2.0**ALIGNMENT


def _units(every: Float64, mixed: Float64, read: Sequence[float]) -> Iterator[float]:
    """Units in which all of `every` are whole, in the order above.

    Args:
        every: magnitudes of all numbers, without 0, ascending; those of biases times 64.
        mixed: magnitudes of the weights in nodes that have weights of both signs.
        read: the units of the synapses' inputs.
    """
    for unit in (unit for units in zip(*map(stated_units, read), strict=True) for unit in units):
        if is_whole(every / unit):
            yield unit
    common = common_unit(every) if every.size else None
    if common is not None:
        if (np.rint(mixed / common) % 2).any():
            yield common / 2
        yield common


def common_unit(values: Float64) -> float | None:
    """The largest number of which all `values` > 0 are multiples by at most `LARGEST`; None without one.

    Euclid's algorithm on rounded numbers: the quotient of two is taken for the simplest fraction near it.
    """
    least = unit = float(values[0])
    for value in values[1:]:
        unit /= _denominator(Fraction(float(value)) / Fraction(unit))
        if least / unit > LARGEST:
            return None
    return unit if is_whole(values / unit) else None


def _denominator(number: Fraction) -> int:
    """Denominator of the first convergent of its continued fraction that is `number`, but for float32's rounding."""
    rest, (p, q), (p_before, q_before) = number, (1, 0), (0, 1)
    while True:
        whole = rest.numerator // rest.denominator
        (p, q), (p_before, q_before) = (whole * p + p_before, whole * q + q_before), (p, q)
        if abs(Fraction(p, q) - number) <= Fraction(TOLERANCE) * number:
            return q
        rest = 1 / (rest - whole)
