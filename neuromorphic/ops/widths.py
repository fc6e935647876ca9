"""Bit widths of the chip, as Lava's bit-accurate models document them (`lava/proc/lif/models.py`, lava-nc 0.10.0).

Lava declares most of these widths and enforces few; here every one is enforced (`check`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

STATE_BITS = 24
"""Current u and membrane v, signed: u wraps, v saturates at ±(2^23 - 1)."""

STATE_LIMIT = 2 ** (STATE_BITS - 1)

ALIGNMENT = 6
"""Synaptic input and thresholds are shifted left by so many bits before they meet u and v; biases are not."""

WEIGHT_BITS = 8
"""Signed weights, -128 to 127.  Lava's mixed-sign weights are the even numbers of -256 to 254: these, doubled."""

THRESHOLD_BITS = 17
"""Unsigned."""

BIAS_MANTISSA_BITS = 13
"""Signed."""

BIAS_EXPONENT_BITS = 3
"""Unsigned: a bias is `mantissa << exponent`."""

DECAY_BITS = 12
"""Unsigned: the share of v, of 4096, that is lost per time step."""

GRADED_BITS = 8
"""Signed: graded spikes, and so the frames that a graph of integers reads."""

WEIGHT_LEAST, WEIGHT_MOST = -(2 ** (WEIGHT_BITS - 1)), 2 ** (WEIGHT_BITS - 1) - 1
GRADED_LEAST, GRADED_MOST = -(2 ** (GRADED_BITS - 1)), 2 ** (GRADED_BITS - 1) - 1

DELAY_BITS = 6
"""Unsigned: time steps by which a synapse delays a spike, besides its own (Lava's `DelayDense`, `lava/proc/dense`)."""

WEIGHT_EXPONENT = 7
"""Dense and Sparse may shift their weights left by up to so many bits (Loihi's weight exponents reach from -8 to 7)."""

CONV_EXPONENT = 1
"""Those of Conv, which has no exponent: its mixed-sign weights are -256 to 254, even beyond 8 bits."""


def shift(values: NDArray[Any], largest: int = WEIGHT_EXPONENT, bits: int = WEIGHT_BITS) -> int | None:
    """The least e with `values = 2^e q` for signed integers q of so many bits; None where none up to `largest` does."""
    limit = 2 ** (bits - 1)
    for exponent in range(largest + 1):
        q = values / 2.0**exponent
        if q.min(initial=0) >= -limit and q.max(initial=0) < limit:
            return exponent if (q == np.rint(q)).all() else None
    return None
