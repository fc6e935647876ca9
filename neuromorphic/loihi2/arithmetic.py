"""One time step of a LIF neuron of Loihi 2, in integers.

    u = wrap(64 x)                                      x the synaptic input; the current doesn't last (du = 4095)
    v = saturate(decayed(v) + u + (mantissa << exponent))
    spike where v > 64 threshold; there v = 0

`wrap` keeps 24 bits as two's complement does, except that 2^23 stays (as in Lava); `saturate` clips to ±(2^23 - 1);
`decayed` rounds toward zero.  This is Lava's `LIFReset` in fixed point (`lava/proc/lif/models.py`), bit by bit.

Values are integers in arrays of any numeric type that holds them exactly; float64 does, with all products.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.loihi2.widths import ALIGNMENT, DECAY_BITS, STATE_LIMIT
from neuromorphic.operations import LoihiLif

Integers = NDArray[Any]


def wrap(x: Integers) -> Integers:
    """The number in (-2^23, 2^23] that differs from x by a multiple of 2^24."""
    return np.asarray(STATE_LIMIT - np.mod(STATE_LIMIT - x, 2 * STATE_LIMIT))


def decayed(v: Integers, decay: int) -> Integers:
    """`sign(v) floor(|v| (4096 - decay) / 4096)`."""
    unity = 2**DECAY_BITS
    return np.asarray(np.trunc(v * float(unity - decay) / unity))


def current(x: Integers) -> Integers:
    """`u = wrap(64 x)`."""
    return wrap(x * 2**ALIGNMENT)


def step(lif: LoihiLif, v: Integers, x: Integers) -> NDArray[np.bool_]:
    """One step of a population: updates the membranes `v`, float64 `[N, *shape]`, in place; returns the spikes.

    Args:
        lif: the population.
        v: membranes, integers; afterwards 0 where a neuron fired.
        x: synaptic input, integers of the same shape.
    """
    charged = decayed(v, lif.decay) + current(x) + lif.bias
    v[...] = np.clip(charged, 1 - STATE_LIMIT, STATE_LIMIT - 1)
    fired = v > lif.threshold * float(2**ALIGNMENT)
    v[fired] = 0
    return np.asarray(fired)
