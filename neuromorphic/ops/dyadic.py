"""Dyadic numbers: the grid 2^-k that values lie on, and the bits of the integers that count in it."""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput


def fraction_bits(values: NDArray[np.floating]) -> int:
    """The least k, perhaps negative, such that all `values` are multiples of 2^-k; 0 where all are 0.

    Raises:
        RefusedInput: a value is not finite.
    """
    if values.size and (values == values.flat[0]).all():  # as most neurons have: one number for a whole map
        values = values.flat[:1]
    x = np.asarray(values, np.float64)
    if not np.isfinite(x).all():
        raise RefusedInput("a value is not finite; expected numbers")
    mantissa, exponent = np.frexp(x[x != 0])
    if not mantissa.size:
        return 0
    # x = i 2^(exponent - 53) with an integer i; the lowest set bit of i says how far it can be shifted down.
    integers = np.abs(np.ldexp(mantissa, 53)).astype(np.int64)
    zeros = np.frexp((integers & -integers).astype(np.float64))[1] - 1
    return int((53 - exponent - zeros).max())


def magnitude_bits(bound: float, bits: int) -> int:
    """The least n >= 0 with `bound * 2^bits <= 2^n`: the bits of an integer on that grid, without a sign bit."""
    mantissa, exponent = np.frexp(bound)
    return max(0, int(exponent) + bits - int(mantissa == 0.5)) if bound else 0


def is_power_of_two(value: float) -> bool:
    """Whether `value` is 2^n or -2^n for an integer n, so that multiplying by it never rounds."""
    return bool(np.frexp(abs(value))[0] == 0.5)


def on_grid(x: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """`round(2^bits x) / 2^bits`, halves to even: the nearest multiples of 2^-bits."""
    scale = np.float32(2.0**bits)
    return np.asarray(np.round(x * scale) / scale, np.float32)
