"""Bounds of every sum inside a graph, whatever the input: intervals per neuron, from the weights alone.

For `y = W x` with x in [a, b], W+ and W- the positive and the negative parts of W,

    y >= W+ a + W- b        y <= W+ b + W- a

and a spike lies in [0, 1], whatever caused it, so that cycles need no iteration.  Padding is followed position by
position, so that the bounds of a sum are tight if the spikes that enter it can come in any combination.  Biases are not
part of these bounds: on the chip they act at the membranes (`loihi2.biases`).
"""

from graphlib import CycleError, TopologicalSorter

import numpy as np

from neuromorphic.analysis.facts import fact, wiring_fact
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Interval, Membranes, Shape, Source
from neuromorphic.ops.widths import GRADED_LEAST, GRADED_MOST

FOREVER = 2**16
"""Time steps that stand for any number of steps, where sums grow with each; the commands take 4096 at most."""


@wiring_fact
def currents_in_order(graph: Graph) -> tuple[str, ...]:
    """Names of the nodes, each behind all that it reads but populations: the bounds of spikes need no input.

    Raises:
        RefusedInput: a cycle without a population, around which currents could grow.
    """
    before = {
        name: [source for source in node.sources if not graph.nodes[source].spiking]
        for name, node in graph.nodes.items()
    }
    try:
        return tuple(TopologicalSorter(before).static_order())
    except CycleError as error:
        names = sorted(set(error.args[1]))
        raise RefusedInput(
            f"a cycle through {', '.join(names[:4])}, without neurons that spike; expected some, since currents could "
            "grow around it"
        ) from error


def intervals(graph: Graph, frames: tuple[float, float]) -> dict[str, Interval]:
    """Bounds of every node's input, without biases, by node name, for frames from the least to the greatest value.

    Raises:
        RefusedInput: a cycle without a population.
    """
    steps = graph.metadata.time_steps or FOREVER
    read: dict[str, Interval] = {}
    sent = {node.name: node.operation.interval(_nothing(node.shape), node.shapes, steps) for node in graph.populations}
    for name in currents_in_order(graph):
        node = graph.nodes[name]
        read[name] = _sum(node, sent)
        if isinstance(node.operation, Source):
            sent[name] = Interval(np.full(node.shape, frames[0]), np.full(node.shape, frames[1]))
        elif not node.spiking:
            sent[name] = node.operation.interval(read[name], node.shapes, steps)
    return read


@fact
def graded_intervals(graph: Graph) -> dict[str, Interval]:
    """`intervals` of a graph of integers, whose frames are graded spikes."""
    return intervals(graph, (float(GRADED_LEAST), float(GRADED_MOST)))


def _nothing(shape: Shape) -> Interval:
    zero = np.zeros(shape)
    return Interval(zero, zero)


def _sum(node: Node, sent: dict[str, Interval]) -> Interval:
    x = _nothing(node.input_shape)
    for source in node.sources:
        arriving = sent[source]
        x = x + Interval(arriving.low.reshape(node.input_shape), arriving.high.reshape(node.input_shape))
    return x


@wiring_fact
def fractions(graph: Graph) -> frozenset[str]:
    """Names of the nodes of an integer graph that send fractions: neurons of a readout, and all nodes behind them."""
    found = {node.name for node in graph.nodes.values() if isinstance(node.operation, Membranes)}
    waiting = list(found)
    while waiting:
        behind = {*graph.edges_from[waiting.pop()]} - found
        found |= behind
        waiting += behind
    return frozenset(found)
