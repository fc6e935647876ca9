"""One time step of neurons: the definition, in float64, that everything else is compared with.

A spike is sent where v exceeds the threshold, strictly, and v is reset in the same step (docs/primitives.md).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ops import loihi_arithmetic as arithmetic
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
    Shape,
    Threshold,
)

Values = NDArray[np.float64]


@dataclass
class State:
    """What neurons keep from step to step, float64 `[N, *shape]`.

    Attributes:
        v: membranes.
        i: synaptic currents, of neurons that have some; u of the chip's.
    """

    v: Values
    i: Values


def at_rest(neurons: Population | Membranes, images: int, shape: Shape) -> State:
    """The state in which an image begins: v as a reset leaves it; of neurons without one, v_leak or 0; no current."""
    match neurons:
        case Lif(reset=v) | If(reset=v) | CubaLif(reset=v) | Li(leak=v) | CubaLi(leak=v):
            start = v.astype(np.float64)
        case _:
            start = np.zeros(())
    return State(np.broadcast_to(start, (images, *shape)).copy(), np.zeros((images, *shape)))


def advance(neurons: Population | Membranes, state: State, x: Values) -> Values:
    """What leaves neurons that `x` arrives at, 0 or 1 for spikes; updates `state`.

    All are float64 `[N, *shape]`.
    """
    match neurons:
        case Lif():
            return step(neurons, state.v, x).astype(np.float64)
        case LoihiLif():
            return arithmetic.step(neurons, state.v, x, state.i).astype(np.float64)
        case If(gain=gain):
            state.v += gain * x
        case CubaLif() | CubaLi():
            state.i += neurons.synapse_decay * (neurons.weight * x - state.i)
            state.v += neurons.decay * (neurons.leak + neurons.gain * state.i - state.v)
        case Threshold():
            state.v[...] = x
        case Integrator(gain=gain):
            state.v += gain * x
        case Li():
            state.v += neurons.decay * (neurons.leak + neurons.gain * x - state.v)
    if isinstance(neurons, Membranes):
        return state.v.copy()
    fired = state.v > neurons.threshold
    if not isinstance(neurons, Threshold):
        np.copyto(state.v, neurons.reset, where=fired)
    return fired.astype(np.float64)


def step(lif: Lif, v: Values, x: Values) -> NDArray[np.bool_]:
    """One step of a population: `v += decay (leak + gain x - v)`; spikes where `v > threshold`; there `v = reset`.

    Updates the membranes `v`, float64 `[N, *shape]`, in place and returns the spikes, bool of the same shape.
    """
    v += lif.decay * (lif.leak + lif.gain * x - v)
    fired = np.asarray(v > lif.threshold)
    np.copyto(v, lif.reset, where=fired)
    return fired
