"""What an update of one neuron computes, beside the sum of what arrives: those are SOPs and additions of branches."""

import numpy as np

from neuromorphic.ops.operations import (
    CubaLi,
    CubaLif,
    If,
    Integrator,
    Li,
    Lif,
    LoihiLif,
    Membranes,
    Population,
    Threshold,
)

UNITY = 4096
"""Of which the chip's decays are counted."""


def states(neurons: Population | Membranes) -> int:
    """Numbers that a neuron keeps: v, and of the current-based ones i; a threshold by itself keeps none."""
    match neurons:
        case Threshold():
            return 0
        case LoihiLif(decay=decay) as lif:
            return int(decay < UNITY) + int(lif.lasting)
        case _:
            return 2 if isinstance(neurons, CubaLif | CubaLi) else 1


def additions(neurons: Population | Membranes) -> int:
    """One per state, its leak or the sum that it takes up; and the comparison with the threshold, if there is one."""
    return states(neurons) + isinstance(neurons, Population)


def multiplications(neurons: Population | Membranes) -> int:
    """One per state that leaks by anything but powers of two; a gain is as good as folded into the weights."""
    match neurons:
        case Lif(decay=decay) | Li(decay=decay):
            kept = [1.0 - decay.astype(np.float64)]
        case CubaLif(synapse_decay=synapse, decay=decay) | CubaLi(synapse_decay=synapse, decay=decay):
            kept = [1.0 - synapse.astype(np.float64), 1.0 - decay.astype(np.float64)]
        case If() | Threshold() | Integrator():
            return 0
        case LoihiLif(decay=v, synapse_decay=u):
            kept = [np.array(1.0 - decay / UNITY) for decay in (v, u)]
    return sum(_multiplies(numbers) for numbers in kept)


def _multiplies(kept: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bool:
    mantissa, _ = np.frexp(kept)
    return bool(((np.abs(mantissa) != 0.5) & (kept != 0)).any())
