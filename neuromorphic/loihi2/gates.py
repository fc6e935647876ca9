"""Streams that become integers without loss: logic gates, counters and all others whose weights are small integers.

Let all weights of a stream, and its biases, be integers times μ, and let `1 - d = m / 2^a` in lowest terms.  With
`λ = μ 2^(-a (T-1))` the integer weights are those integers times `2^(a (T-1))`, so x and therefore `64 x + bias` are
multiples of `64 · 2^(a (T-1))`.  A membrane is multiplied by `m / 2^a` at most T - 1 times before its image is over: at
step t it is a multiple of `64 · 2^(a (T-t))`, no decay rounds, and `v = 64 v_f / (g λ)` holds exactly, with v_f the
float neuron's in real arithmetic.  As v is a multiple of 64 and θ an integer,

    v_f > h    <=>    v / 64 > h / (g λ)    <=>    v > 64 θ    with θ = floor(h / (g λ))

so the integer neuron fires exactly when the float one does, whatever spikes come, as long as nothing wraps or
saturates, which `units` decides.  Where a spike takes an amount off v, that has to be an integer times μ, too.

Where currents outlast their step, with `1 - d_u = m_u / 2^(a_u)`, the same holds with the larger a: an input of step s
has passed `t - s` decays of either kind by step t, and is a multiple of `64 · 2^(a (T-t))` then, in u as in v.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ops.loihi import UNITY

MOST = 2**8
"""Weights of 8 bits are at most so many units."""


def halvings(decay: int) -> int:
    """The a of `1 - d = m / 2^a` in lowest terms, where d is `decay / 4096`."""
    return UNITY.bit_length() - gcd(decay, UNITY).bit_length()


def exact_unit(weights: Sequence[NDArray[np.float64]], decays: Sequence[int], time_steps: int) -> float | None:
    """The unit λ in which the weights of a stream are integers times `2^(a (T-1))`.

    Args:
        weights: of the stream, times the units of what they read; and what spikes take off v.
        decays: of v and of u, of 4096.
        time_steps: T.

    Returns:
        λ; None where their greatest common unit is less than 1 / `MOST` of the smallest weight.
    """
    values = np.unique(np.abs(np.concatenate([w.reshape(-1) for w in weights])))
    values = values[values > 0]
    if not values.size:
        return None
    unit = Fraction(float(values[0]))
    for value in values[1:]:
        other = Fraction(float(value))
        denominator = lcm(unit.denominator, other.denominator)
        unit = Fraction(gcd(int(unit * denominator), int(other * denominator)), denominator)
        if unit * MOST < Fraction(float(values[0])):
            return None
    return float(unit) / 2.0 ** (max(halvings(decay) for decay in decays) * (time_steps - 1))
