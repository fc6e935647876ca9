"""Snapping: weights and biases rounded to multiples of 2^-k, with the largest k for which nothing ever rounds again.

The k of a population is the largest with which its current and its membranes need no more than 24 bits
(`Charging.bits_needed`).  A layer that several populations read, perhaps behind a maximum, takes the smallest of their
k; its weights lie on `2^-(k - b)` where it reads values on 2^-b, its biases on 2^-k.  What a readout adds up of
currents must fit into 24 bits like a population's current; its own weights get what its limit of 53 bits leaves them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import nir
import numpy as np

from neuromorphic.analysis.intervals import currents_in_order
from neuromorphic.analysis.partial_sums import partial_sums
from neuromorphic.analysis.rounding import SINGLE, limits, read_limit
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Affine, AnyOperation, Conv2d, Float32, MaxPool2d, SumPool2d, Sums
from neuromorphic.ops.charging import Charging
from neuromorphic.ops.dyadic import magnitude_bits
from neuromorphic.ops.neuron_roles import FloatState

Pooling = SumPool2d | MaxPool2d

FINEST_BITS = 30
"""Weights finer than this are not worth keeping: the search starts here."""

COARSEST_BITS = 7
"""A layer's largest weight keeps at least 2^7 steps (8 bits with its sign), whatever that does to the proof."""

COARSEST = -64
"""Grids are searched down to this: what then still doesn't fit is not proven, and named."""


@dataclass(frozen=True)
class Grid:
    """Weights are multiples of 2^-weight_bits, biases of 2^-bias_bits; either may be negative."""

    weight_bits: int
    bias_bits: int


def snap(graph: Graph, frames: Sums, time_steps: int, most: int = SINGLE) -> tuple[Graph, dict[str, Grid]]:
    """The graph with rounded weights, and the grid of every layer with weights.

    Requires: what `rounding.certify` requires; the outputs of layers with weights are read by populations, poolings or
    the graph's output.
    Ensures: every population whose tau is a power of two is exact, and so is every readout, unless that takes a grid so
    coarse that it would change the layer (`COARSEST_BITS`; the certificate then names the node).  Rounding can lift a
    bound over a power of two: k is then lowered and the original weights are rounded again.

    Args:
        graph: of floats.
        frames: of the input.
        time_steps: T.
        most: bits that nodes before the last neurons may take.
    """
    limit = limits(graph, most)
    bits = {
        name: FINEST_BITS if limit[name] == most or isinstance(node.operation, Pooling) else limit[name]
        for name, node in graph.nodes.items()
        if _charging(node) is not None or isinstance(node.operation, Affine | Conv2d | Pooling)
    }
    _coarsen(graph, frames, bits, limit, time_steps, most)
    rounded, grids = _round(graph, frames, bits, time_steps)
    while _coarsen(rounded, frames, bits, limit, time_steps, most):
        rounded, grids = _round(graph, frames, bits, time_steps)
    return rounded, grids


def write_weights(graph: Graph, into: nir.NIRGraph) -> None:
    """Give the layers of `into` the weights that those of `graph` have, which was read from it."""
    for name, node in graph.nodes.items():
        if isinstance(node.operation, Affine | Conv2d):
            written = node.operation.write(node.shapes, graph.metadata.dt, like=into.nodes[name])
            into.nodes[name].weight, into.nodes[name].bias = written.weight, written.bias


def _charging(node: Node) -> Charging | None:
    return node.operation.charging if isinstance(node.operation, FloatState) else None


def _coarsen(
    graph: Graph,
    frames: Sums,
    bits: dict[str, int],
    limit: Mapping[str, int],
    time_steps: int,
    most: int,
) -> bool:
    """Lower the k of every node in `bits` until its present bounds fit; returns whether any was lowered."""
    reads, sends = partial_sums(graph, frames, time_steps)
    before = dict(bits)
    for name in bits:
        excess = _excess(graph.nodes[name], reads[name], sends[name], limit, time_steps, most)
        while bits[name] > COARSEST and excess(bits[name]):
            bits[name] -= 1
    return bits != before


def _excess(
    node: Node, read: Sums, sent: Sums, limit: Mapping[str, int], time_steps: int, most: int
) -> Callable[[int], bool]:
    """A function of k: whether a node on the grid 2^-k needs more bits than it may take."""
    charging = _charging(node)
    if charging is not None:
        needed = charging.bits_needed(read, time_steps)
        return lambda bits: needed(bits) > most
    own, summed, sum_limit = sent.bound, read.bound, read_limit(limit, node.sources)
    if isinstance(node.operation, Pooling):
        return lambda bits: magnitude_bits(own, bits) > limit[node.name] or magnitude_bits(summed, bits) > sum_limit
    return lambda bits: magnitude_bits(own, bits) > limit[node.name]


def _round(graph: Graph, frames: Sums, bits: Mapping[str, int], time_steps: int) -> tuple[Graph, dict[str, Grid]]:
    """Round the layers from the input on, so that each finds the grid of what it reads settled."""
    readers = _readers(graph)
    lies_on: dict[str, int] = {}
    grids: dict[str, Grid] = {}
    rounded: dict[str, AnyOperation] = {}
    for name in currents_in_order(graph):
        node = graph.nodes[name]
        # What comes later are populations around a cycle, which send spikes.
        read = max((lies_on.get(source, 0) for source in node.sources), default=frames.bits or 0)
        if isinstance(node.operation, Affine | Conv2d):
            weight, bias = node.operation.weight, node.operation.bias
            weight_bits = min(FINEST_BITS, min(bits[n] for n in (name, *readers[name])) - read)
            weight_bits = max(weight_bits, COARSEST_BITS - int(np.frexp(np.abs(weight).max())[1]))
            lies_on[name] = read + weight_bits
            grids[name] = Grid(weight_bits, lies_on[name])
            nearest = node.operation.with_weights(_nearest(weight, weight_bits))
            rounded[name] = nearest.with_bias(_nearest(bias, lies_on[name]))
        else:
            sent = node.operation.grid(read, time_steps)
            lies_on[name] = read if sent is None else sent
    return graph.with_operations(rounded), grids


def _readers(graph: Graph) -> dict[str, set[str]]:
    """The neurons that each node's values reach without a weight between, and the poolings on the way."""
    found: dict[str, set[str]] = {name: set() for name in graph.nodes}
    for name in reversed(currents_in_order(graph)):
        node = graph.nodes[name]
        passing = isinstance(node.operation, Pooling)
        reached = {name} if _charging(node) is not None else {name, *found[name]} if passing else set()
        for source in node.sources:
            found[source] |= reached
    return found


def _nearest(values: Float32, bits: int) -> Float32:
    """The nearest multiples of 2^-bits, halves to even."""
    return np.asarray(np.ldexp(np.round(np.ldexp(values.astype(np.float64), bits)), -bits), np.float32)
