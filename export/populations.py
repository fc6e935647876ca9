"""LIF nodes of NIR: the encoder's neurons, and the gates AND and OR that are neurons too.

A LIF node with tau = n dt and resistance r computes, per time step, `v += (r x - v) / n`; it fires where
`v > v_threshold`, strictly, and then v = 0.
"""

import nir
import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.metadata import DEFAULT_DT

Shape = tuple[int, int, int]

DT = DEFAULT_DT

AND_STEPS = 23
"""Most time steps from rest for which an AND gate tells two spikes at once from one at every step."""


def population(shape: Shape, tau: float, gain: float, threshold: np.float32) -> nir.LIF:
    """LIF neurons `v += (gain x - v) / tau`, tau in time steps, that fire at `v > threshold`.

    The file holds `float32(tau) * float32(dt)` seconds, which is exact for a tau that is a power of two: readers that
    divide by float32(dt) get tau back.
    """
    numbers = {
        "tau": np.float32(tau) * np.float32(DT),
        "r": np.float32(gain),
        "v_leak": np.float32(0),
        "v_threshold": threshold,
        "v_reset": np.float32(0),
    }
    return nir.LIF(**{key: np.broadcast_to(number, shape) for key, number in numbers.items()})


def thresholds(node: nir.NIRNode) -> NDArray[np.float32]:
    """The threshold of each neuron of a population."""
    return np.asarray(node.threshold if isinstance(node, nir.Threshold) else node.v_threshold)


def strict(threshold: float) -> np.float32:
    """The float32 h with `v > h` exactly where `v >= threshold`, for every float32 v: the next one below.

    SpikingJelly fires at `>=`; NIR, Lava and Loihi at `>`.
    """
    return np.float32(np.nextafter(np.float32(threshold), np.float32(-np.inf)))


def and_gate(shape: Shape, time_steps: int) -> nir.LIF:
    """`a ∧ b` of two spike trains that are summed at the input, for at most T steps from rest.

    With tau = 2 a step is `v = (v + x) / 2`, x in {0, 1, 2}.  Since the last reset at most T steps have passed, so
    single spikes alone reach at most `1/2 + 1/4 + ... + 2^-T = 1 - 2^-T`, and as v >= 0 always, two at once reach at
    least 1.  The threshold `1 - 2^-(T+1)` lies 2^-(T+1) from either, so the comparator doesn't matter.  Float32 has
    such a threshold for T up to 23 (`AND_STEPS`).
    """
    return population(shape, 2.0, 1.0, np.float32(1.0 - 2.0 ** -(time_steps + 1)))


def or_gate(shape: Shape) -> nir.LIF:
    """`x >= 1` of a count of spikes x.

    With tau = 2 a step is `v = (v + x) / 2`.  Any spike makes v >= 1/2 > 1/4: it fires and v = 0 again; without one v
    stays 0.  So no residue is ever carried over.
    """
    return population(shape, 2.0, 1.0, np.float32(0.25))
