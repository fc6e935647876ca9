"""What every sum inside a graph can reach, whatever the input: intervals per neuron, from the weights alone.

For `y = W x` with x in [a, b], W+ and W- the positive and the negative parts of W,

    y >= W+ a + W- b        y <= W+ b + W- a

and a spike lies in [0, 1].  Padding is followed position by position, so that the bounds of sums are reached by some
input if the spikes that enter them are free to come in any combination.  Biases are kept apart: on the chip they act at
the membranes (`constants`).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import (
    Affine,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    MaxPool2d,
    Node,
    Population,
    Scale,
    SelfAttention,
    Sink,
    Source,
    SumPool2d,
)
from neuromorphic.linear import linear
from neuromorphic.reference import apply

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Bounds of an array, element by element: float64 `[*shape]`."""

    low: Values
    high: Values

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(self.low + other.low, self.high + other.high)


def intervals(graph: Graph, frames: tuple[float, float]) -> dict[str, Interval]:
    """Bounds of what every node reads, without biases, by node name.

    Args:
        graph: any validated graph.
        frames: the least and the greatest value of a frame.
    """
    read: dict[str, Interval] = {}
    made: dict[str, Interval] = {}
    for node in graph.nodes.values():
        zero = np.zeros(node.input_shape)
        x = sum((made[s] for s in node.sources), start=Interval(zero, zero))
        read[node.name] = x
        if isinstance(node.operation, Source):
            made[node.name] = Interval(np.full(node.shape, frames[0]), np.full(node.shape, frames[1]))
        elif isinstance(node.operation, Population):
            made[node.name] = Interval(np.zeros(node.shape), np.ones(node.shape))
        else:
            made[node.name] = _returns(node, x)
    return read


def _returns(node: Node, x: Interval) -> Interval:
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


def constants(graph: Graph, held: frozenset[str] = frozenset()) -> dict[str, Values]:
    """What the biases bring to the input of every node, float64, by node name: through maxima too.

    Args:
        graph: any validated graph.
        held: nodes whose own biases don't count.

    Raises:
        RefusedInput: they differ within a window of a maximum, so that they can't act behind it.
    """
    arriving: dict[str, Values] = {}
    leaving: dict[str, Values] = {}
    for node in graph.nodes.values():
        x = sum((leaving[s] for s in node.sources), start=np.zeros((1, *node.input_shape)))
        arriving[node.name] = x[0]
        if isinstance(node.operation, Population | Source | SelfAttention | Delay):
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
