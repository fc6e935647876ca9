"""What every sum inside a graph can reach, whatever the input: intervals per neuron, from the weights alone.

For `y = W x` with x in [a, b], W+ and W- the positive and the negative parts of W,

    y >= W+ a + W- b        y <= W+ b + W- a

and a spike lies in [0, 1], whatever caused it, so that cycles need no iteration.  Padding is followed position by
position, so that the bounds of sums are reached by some input if the spikes that enter them are free to come in any
combination.  Biases are kept apart: on the chip they act at the membranes (`constants`).
"""

from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import apply
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops.linear import linear
from neuromorphic.ops.operations import (
    Affine,
    Conv1d,
    Conv2d,
    CubaLi,
    Delay,
    Flatten,
    Integrator,
    Li,
    MaxPool2d,
    Membranes,
    Population,
    Scale,
    SelfAttention,
    Sink,
    Source,
    SumPool2d,
)

Values = NDArray[np.float64]

FOREVER = 2**16
"""Time steps that count as any number of them, where sums grow with each; the commands take 4096 at most."""


@dataclass(frozen=True)
class Interval:
    """Bounds of an array, element by element: float64 `[*shape]`."""

    low: Values
    high: Values

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(self.low + other.low, self.high + other.high)


def currents_in_order(graph: Graph) -> list[Node]:
    """The nodes, each behind those that it reads, but for populations, whose spikes are bounded as they are.

    Raises:
        RefusedInput: a cycle without a population, around which currents could grow.
    """
    before = {
        name: [source for source in node.sources if not graph.nodes[source].spiking]
        for name, node in graph.nodes.items()
    }
    try:
        return [graph.nodes[name] for name in TopologicalSorter(before).static_order()]
    except CycleError as error:
        names = sorted(set(error.args[1]))
        raise RefusedInput(
            f"a cycle through {', '.join(names[:4])}, without neurons that spike; expected some, since currents could "
            "grow around it"
        ) from error


def intervals(graph: Graph, frames: tuple[float, float]) -> dict[str, Interval]:
    """Bounds of what every node reads, without biases, by node name.

    Args:
        graph: any validated graph.
        frames: the least and the greatest value of a frame.

    Raises:
        RefusedInput: a cycle without a population.
    """
    steps = graph.metadata.time_steps or FOREVER
    read: dict[str, Interval] = {}
    made = {node.name: Interval(np.zeros(node.shape), np.ones(node.shape)) for node in graph.populations}
    for node in currents_in_order(graph):
        zero = np.zeros(node.input_shape)
        x = sum((made[s] for s in node.sources), start=Interval(zero, zero))
        read[node.name] = x
        if isinstance(node.operation, Source):
            made[node.name] = Interval(np.full(node.shape, frames[0]), np.full(node.shape, frames[1]))
        elif not node.spiking:
            made[node.name] = _returns(node, x, steps)
    return read


def _returns(node: Node, x: Interval, steps: int) -> Interval:
    match node.operation:
        case Conv1d() | Conv2d() | Affine() as weighted:
            rising, falling = (
                linear(replace(node, operation=replace(weighted, weight=part)), 1, np.float64)
                for part in (np.maximum(weighted.weight, 0), np.minimum(weighted.weight, 0))
            )
            low, high = x.low[None], x.high[None]
            return Interval((rising(low) + falling(high))[0], (rising(high) + falling(low))[0])
        case Scale(scale=scale):
            ends = (scale * x.low, scale * x.high)
            return Interval(np.minimum(*ends), np.maximum(*ends))
        case Integrator(gain=gain):
            ends = (steps * gain * np.minimum(x.low, 0), steps * gain * np.maximum(x.high, 0))
            return Interval(np.minimum(*ends), np.maximum(*ends))
        case Li(gain=gain, leak=leak):
            return _between(leak, leak + gain * x.low, leak + gain * x.high)
        case CubaLi(weight=weight, gain=gain, leak=leak):
            return _between(leak, leak + gain * weight * x.low, leak + gain * weight * x.high)
        case SumPool2d() | MaxPool2d() | Flatten():
            return Interval(apply(node, x.low[None])[0], apply(node, x.high[None])[0])
        case SelfAttention(heads=heads, scale=scale):
            channels, height, width = node.input_shape
            most = scale * (channels // 3 // heads) * height * width
            return Interval(np.zeros(node.shape), np.full(node.shape, most))
        case Delay():  # 0 in the first steps
            return Interval(np.minimum(x.low, 0), np.maximum(x.high, 0))
        case Sink():
            return x
        case other:
            raise TypeError(f"node {node.name!r}: {type(other).__name__} has no bounds")


def fractions(graph: Graph) -> frozenset[str]:
    """Names of the nodes of an integer graph that compute in fractions: a readout's neurons, and what reads them."""
    found = {node.name for node in graph.nodes.values() if isinstance(node.operation, Membranes)}
    waiting = list(found)
    while waiting:
        behind = {reader.name for reader in graph.readers(waiting.pop())} - found
        found |= behind
        waiting += behind
    return frozenset(found)


def _between(*values: NDArray[np.floating[Any]]) -> Interval:
    """What decays from one of these towards others stays between them."""
    whole = np.broadcast_arrays(*values)
    return Interval(np.min(whole, 0), np.max(whole, 0))


def constants(graph: Graph, held: frozenset[str] = frozenset()) -> dict[str, Values]:
    """What the biases bring to the input of every node, float64, by node name: through maxima too.

    Args:
        graph: any validated graph.
        held: nodes whose own biases don't count.

    Raises:
        RefusedInput: they differ within a window of a maximum, so that they can't act behind it; they reach a `Delay`
            or neurons that send membranes; or a cycle has no population.
    """
    arriving: dict[str, Values] = {}
    leaving = {node.name: np.zeros((1, *node.shape)) for node in graph.populations}
    for node in currents_in_order(graph):
        x = sum((leaving[s] for s in node.sources), start=np.zeros((1, *node.input_shape)))
        arriving[node.name] = x[0]
        if isinstance(node.operation, Delay | Membranes) and x.any():
            raise RefusedInput(
                f"node {node.name!r}: biases reach it with its currents; expected none, since the chip adds them at "
                "its neurons, from an image's first step on"
            )
        if isinstance(node.operation, Population | Source | SelfAttention | Delay | Membranes):
            leaving[node.name] = np.zeros((1, *node.shape))
            continue
        operation = node.operation
        if node.name in held and isinstance(operation, Affine | Conv1d | Conv2d):
            operation = replace(operation, bias=np.zeros_like(operation.bias))
        leaving[node.name] = apply(replace(node, operation=operation), x)
        if isinstance(node.operation, MaxPool2d) and not np.array_equal(leaving[node.name], -apply(node, -x)):
            raise RefusedInput(
                f"{node.name}: the biases before it differ within a window; expected the same at every position, "
                "since the chip adds them behind the maximum"
            )
    return arriving
