"""Factors of currents, moved into the weights before them: `s (W x + b) = (s W) x + s b`.

The chip has no factors but weights.  A `Scale` with one factor per output channel, or what a mean divides by, goes into
every synapse whose currents it sums, where nothing else reads them; in the graph the factor becomes 1, and names stay.
"""

from dataclasses import replace

import numpy as np

from neuromorphic.graph import Graph, Node, Operation, Scale, SumPool2d
from neuromorphic.loihi2.parameters import Biased, Floats
from neuromorphic.loihi2.streams import host_nodes


def folded(graph: Graph) -> Graph:
    """`graph`, with every factor on the chip that can be a part of the weights before it."""
    nodes, host = dict(graph.nodes), host_nodes(graph)
    for node in graph.nodes.values():
        factors = None if node.name in host else _by_channel(node)
        synapses = [nodes[source] for source in node.sources]
        if factors is None or not all(_read_by_one(graph, each) for each in synapses):
            continue
        for each in synapses:
            if isinstance(each.operation, Biased):
                nodes[each.name] = replace(each, operation=_times(each.operation, factors))
        nodes[node.name] = replace(node, operation=_without_factors(node.operation))
    return replace(graph, nodes=nodes)


def _by_channel(node: Node) -> Floats | None:
    """Factors `[channels]` of what a node reads; None where it has none, or those of a channel differ."""
    match node.operation:
        case Scale(scale=scale):
            rows = scale.reshape(len(scale), -1)
            return rows[:, 0] if (rows == rows[:, :1]).all() else None
        case SumPool2d(divisor=divisor) if divisor != 1:
            return np.full(node.input_shape[0], 1 / divisor, np.float32)
        case _:
            return None


def _without_factors(operation: Operation) -> Operation:
    match operation:
        case Scale(scale=scale):
            return Scale(np.ones_like(scale))
        case SumPool2d() as pool:
            return replace(pool, divisor=1)
        case other:
            raise TypeError(f"{type(other).__name__} has no factors")


def _read_by_one(graph: Graph, node: Node) -> bool:
    return isinstance(node.operation, Biased) and len(list(graph.readers(node.name))) == 1


def _times(operation: Biased, factors: Floats) -> Biased:
    rows = factors.reshape(-1, *(1 for _ in operation.weight.shape[1:]))
    return replace(operation, weight=operation.weight * rows, bias=operation.bias * factors)
