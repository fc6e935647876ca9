"""One time step of a LIF neuron of Loihi 2, in integers.

    u = wrap(decayed(u) + 64 (x + drive))       x the synaptic input, drive that of a neuron which always fires
    v = saturate(decayed(v) + u + (mantissa << exponent))
    spike where v > 64 threshold; there v = 0

A current that doesn't last loses 4096 of 4096 (Lava's du = 4095, to which it adds 1).  `wrap` keeps 24 bits as two's
complement does, except that 2^23 stays (as in Lava); `saturate` clips to ±(2^23 - 1); `decayed` rounds toward zero.
This is Lava's `LIFReset` in fixed point (`lava/proc/lif/models.py`), bit by bit.

Values are integers in arrays of any numeric type that holds them exactly; float64 does, with all products.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ops.loihi_widths import ALIGNMENT, DECAY_BITS, STATE_LIMIT
from neuromorphic.ops.operations import LoihiLif

Integers = NDArray[Any]


def wrap(x: Integers) -> Integers:
    """The number in (-2^23, 2^23] that differs from x by a multiple of 2^24."""
    return np.asarray(STATE_LIMIT - np.mod(STATE_LIMIT - x, 2 * STATE_LIMIT))


def decayed(v: Integers, decay: int) -> Integers:
    """`sign(v) floor(|v| (4096 - decay) / 4096)`."""
    unity = 2**DECAY_BITS
    return np.asarray(np.trunc(v * float(unity - decay) / unity))


def current(x: Integers) -> Integers:
    """`wrap(64 x)`: u, where it doesn't last."""
    return wrap(x * 2**ALIGNMENT)


def step(lif: LoihiLif, v: Integers, x: Integers, u: Integers | None = None) -> NDArray[np.bool_]:
    """One step of a population: updates `v` and `u`, float64 `[N, *shape]`, in place; returns the spikes.

    Args:
        lif: the population.
        v: membranes, integers; afterwards 0 where a neuron fired.
        x: synaptic input, integers of the same shape.
        u: currents, integers, which a spike leaves as they are; needed where they last.
    """
    arriving = (x + lif.drive) * 2**ALIGNMENT
    if u is not None:
        arriving = arriving + decayed(u, lif.synapse_decay)
    arriving = wrap(arriving)
    if u is not None:
        u[...] = arriving
    charged = decayed(v, lif.decay) + arriving + lif.bias
    v[...] = np.clip(charged, 1 - STATE_LIMIT, STATE_LIMIT - 1)
    fired = v > lif.threshold * float(2**ALIGNMENT)
    v[fired] = 0
    return np.asarray(fired)
