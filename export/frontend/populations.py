"""Neurons as NIR's: hard resets are LIF, IF and CubaLIF; a soft reset is composed.

The equation `v = (1 - d) v + d r + g f (x + c)` of a current x, its factor f and a constant c is computed in the unit
in which NIR's LIF says it, `u = v / s`: `u += d (l + R x - u)` with R = 1 and s = f g / d, or R = g / d and s = f where
that is a power of two.  A synaptic current `i = k i + x` is `j += d' (x - j)` with `d' = 1 - k` and `j = d' i`, so that
then s = f g / (d d').

A soft reset takes h from the membrane, as a current one step later: `u += ...  - b s'`, s' the spikes of the step
before.  One at once decays with the membrane, `b = (1 - d) h`; a delayed one doesn't, `b = h`.
"""

from typing import TYPE_CHECKING, assert_never

import nir
import numpy as np
from numpy.typing import NDArray

from export.frontend.neurons.equations import Neurons, Recurrence, Reset
from export.frontend.nodes import Population, Shape
from export.populations import DT, strict
from neuromorphic.ops.dyadic import is_power_of_two
from spikeclip.errors import RefusedInput

if TYPE_CHECKING:
    from export.frontend.lowering import Lowering


def unit(neurons: Neurons, factor: float) -> tuple[float, float]:
    """`(s, R)`: the unit of the graph's membranes in the module's, and the resistance in it."""
    if neurons.decay == 0:
        return factor * neurons.gain, 1.0
    ratio = neurons.gain / neurons.decay
    if neurons.synapse is not None:
        return factor * ratio / (1 - neurons.synapse), 1.0
    return (factor, ratio) if is_power_of_two(ratio) else (factor * ratio, 1.0)


def seconds(decay: float) -> np.float32:
    """The tau of which readers, who compute `1 / (tau / dt)` in float32, get `decay`, or the nearest to it."""
    dt, one = np.float32(DT), np.float32(1)
    tau = np.float32(1 / decay) * dt
    candidates = [tau]
    for direction in (np.float32(0), np.float32(np.inf)):
        near = tau
        for _ in range(4):
            near = np.nextafter(near, direction)
            candidates.append(near)
    return min(candidates, key=lambda c: abs(float(one / (c / dt)) - decay))


def decay_of(tau: NDArray[np.floating] | np.float32) -> float:
    """What readers make of a tau: `1 / (tau / dt)` in float32."""
    return float(np.float32(1) / (np.asarray(tau, np.float32).reshape(-1)[0] / np.float32(DT)))


def add_population(
    lowering: "Lowering", name: str, node: Population, shape: Shape, inputs: tuple[str, ...], absorbed: bool
) -> None:
    """Add neurons to the graph.

    Args:
        lowering: the graph in the making.
        name: of the node that sends their spikes.
        node: what they are.
        shape: of the population.
        inputs: names of what they read.
        absorbed: whether their factor stands in the node that they read.

    Raises:
        RefusedInput: no node of NIR says them.
    """
    neurons = node.neurons
    factor = 1.0 if absorbed else node.factor
    scale, resistance = unit(neurons, factor)
    lowering.units[name] = (scale, factor)
    threshold = float(np.float32(neurons.threshold)) / scale
    if not is_power_of_two(node.factor):
        lowering.obstacles[name] = f"the module multiplies by {node.factor:g}, which rounds; expected a power of two"
    elif not is_power_of_two(scale) and float(np.float32(threshold)) != threshold:
        lowering.obstacles[name] = f"its threshold {threshold!r} is no float32"
    if not np.isfinite(threshold) or not np.float32(threshold) > 0:
        raise RefusedInput(f"module {name!r} has the threshold {neurons.threshold:g}; expected a float32 above 0")
    limit = strict(threshold) if neurons.at_threshold else np.float32(threshold)
    rest = neurons.rest / scale
    leak = np.full(shape, rest, np.float64)
    if node.leak is not None:
        if neurons.decay == 0:
            raise RefusedInput(f"module {name!r} integrates a constant, which NIR's IF can't; expected leaky neurons")
        leak = leak + resistance * node.leak.numpy()
    if neurons.recurrence is not None:
        delayed = neurons.reset is not Reset.HARD
        inputs = (*inputs, _recurrent(lowering, name, neurons.recurrence, shape, factor, delayed))
    match neurons.reset:
        case Reset.HARD:
            lowering.put(name, _hard(neurons, shape, resistance, limit, rest, leak), *inputs)
        case Reset.SOFT | Reset.SOFT_LATE | Reset.NONE:
            if neurons.synapse is not None:
                synapse = nir.LI(
                    tau=_full(shape, seconds(1 - neurons.synapse)), r=_full(shape, 1), v_leak=_full(shape, 0)
                )
                lowering.put(f"{name}.synapse", synapse, *inputs)
                inputs = (f"{name}.synapse",)
            _soft(lowering, name, neurons, shape, resistance, limit, threshold, leak, inputs)
        case unknown:
            assert_never(unknown)


def _full(shape: Shape, value: object) -> NDArray[np.float32]:
    return np.broadcast_to(np.asarray(value, np.float32), shape)


def _hard(
    neurons: Neurons, shape: Shape, resistance: float, limit: np.float32, rest: float, leak: NDArray[np.float64]
) -> nir.NIRNode:
    ends = {"v_threshold": _full(shape, limit), "v_reset": _full(shape, rest)}
    if neurons.decay == 0:
        return nir.IF(r=_full(shape, 1 / DT), **ends)
    tau = _full(shape, seconds(neurons.decay))
    if neurons.synapse is None:
        return nir.LIF(tau=tau, r=_full(shape, resistance), v_leak=_full(shape, leak), **ends)
    return nir.CubaLIF(
        tau_syn=_full(shape, seconds(1 - neurons.synapse)),
        tau_mem=tau,
        r=_full(shape, resistance),
        v_leak=_full(shape, leak),
        w_in=_full(shape, 1),
        **ends,
    )


def _soft(
    lowering: "Lowering",
    name: str,
    neurons: Neurons,
    shape: Shape,
    resistance: float,
    limit: np.float32,
    threshold: float,
    leak: NDArray[np.float64],
    inputs: tuple[str, ...],
) -> None:
    """Membranes, a comparison, and what a spike takes away one step later."""
    back = threshold * (1 - neurons.decay if neurons.reset is Reset.SOFT else 1.0)
    reset = () if neurons.reset is Reset.NONE else (f"{name}.reset",)
    if neurons.decay == 0:
        lowering.put(f"{name}.membrane", nir.I(_full(shape, 1 / DT)), *inputs, *reset)
    else:
        tau = _full(shape, seconds(neurons.decay))
        membrane = nir.LI(tau=tau, r=_full(shape, resistance), v_leak=_full(shape, leak))
        lowering.put(f"{name}.membrane", membrane, *inputs, *reset)
        back /= decay_of(tau) * resistance
    lowering.put(name, nir.Threshold(_full(shape, limit)), f"{name}.membrane")
    if reset:
        lowering.put(f"{name}.back", nir.Scale(_full(shape, -back)), name)
        lowering.put(f"{name}.reset", nir.Delay(_full(shape, DT)), f"{name}.back")


def _recurrent(
    lowering: "Lowering", name: str, recurrence: Recurrence, shape: Shape, factor: float, delayed: bool
) -> str:
    """The node through which spikes come back one step later, divided by the factor of the other currents.

    A cycle of one neuron delivers them one step later by itself; `delayed`: a delay does, where membranes are
    a node of their own.
    """
    own, source = f"{name}.recurrent", name
    if delayed:
        source = f"{name}.before"
        lowering.put(source, nir.Delay(_full(shape, DT)), name)
    weight = np.asarray(recurrence.weight.numpy() / factor, np.float32)
    if weight.ndim == 0:
        lowering.put(own, nir.Scale(_full(shape, weight)), source)
        return own
    if len(shape) != 1 or weight.shape != (shape[0], shape[0]):
        raise RefusedInput(
            f"module {name!r} feeds back a matrix {list(weight.shape)} on {list(shape)}; expected a vector"
        )
    shift = np.zeros(shape) if recurrence.bias is None else recurrence.bias.numpy() / factor
    bias = np.asarray(shift, np.float32)
    lowering.put(own, nir.Affine(weight, bias), source)
    return own
