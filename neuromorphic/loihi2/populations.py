"""Populations of floats as the chip's: `v = 64 v_float / (g λ)`, g what a current of 1 brings v_float at once.

A LIF loses dt / tau of v per time step and has `g = dt / tau r`; an IF loses nothing and has `g = dt r`.
"""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import If, Lif, LoihiLif, Node
from neuromorphic.loihi2.scheme import Scheme
from neuromorphic.loihi2.widths import ALIGNMENT, DECAY_BITS

Floats = NDArray[np.float64]

Neurons = Lif | If
"""Populations of floats that the chip's neurons can be."""

UNITY = 2**DECAY_BITS
STEP = 2**ALIGNMENT


def neurons_of(node: Node) -> Neurons:
    """A node's population.

    Raises:
        RefusedInput: it consists of integers already.
    """
    if not isinstance(node.operation, Lif | If):
        raise RefusedInput(f"{node.name} is quantised already; expected floats")
    return node.operation


def drive(neurons: Neurons) -> Floats:
    """g, float64 of the population's shape: what a current of 1 brings v in its first step."""
    if isinstance(neurons, If):
        return neurons.gain.astype(np.float64)
    return neurons.decay.astype(np.float64) * neurons.gain


def population(name: str, neurons: Neurons, bias: Floats, scheme: Scheme) -> LoihiLif:
    """The neuron whose v is `64 v / (g λ)` of the float's; thresholds and biases go to the nearest integers.

    Raises:
        RefusedInput: neurons of one population decay differently, or a factor is not the chip's.
    """
    decay = check_decay(name, neurons)
    unit, exponent = scheme.units[name], scheme.bias_exponents[name]
    threshold = np.round(neurons.threshold.astype(np.float64) / (drive(neurons) * unit))
    mantissa = np.round(bias * (STEP / unit) / 2.0**exponent)
    return LoihiLif(decay, threshold.astype(np.int32), mantissa.astype(np.int32), exponent)


def check_decay(name: str, neurons: Neurons) -> int:
    """`4096 dt / tau`; 0 of an IF.

    Raises:
        RefusedInput: it is no integer, differs between neurons, or a resistance is not positive.
    """
    if neurons.gain.min() <= 0:
        raise RefusedInput(f"{name}: r is {neurons.gain.min():g}; expected more than 0")
    if isinstance(neurons, If):
        return 0
    decay = neurons.decay.astype(np.float64) * UNITY
    if np.ptp(decay) or decay.flat[0] != np.round(decay.flat[0]) or decay.flat[0] >= UNITY:
        found = f"{neurons.decay.min():g} to {neurons.decay.max():g}" if np.ptp(decay) else f"{neurons.decay.flat[0]:g}"
        raise RefusedInput(f"{name}: dt / tau is {found}; expected one multiple of 1/{UNITY}, below 1")
    return int(decay.flat[0])
