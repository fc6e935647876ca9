"""Factors of currents, moved into the weights before them: `s (W x + b) = (s W) x + s b`.

The chip has no factors but weights.  A `Scale` with one factor per output channel goes into every synapse whose
currents it sums, where nothing else reads them; in the graph it becomes a factor of 1, and names stay.
"""

from dataclasses import replace

import numpy as np

from neuromorphic.graph import Graph, Node, Scale
from neuromorphic.loihi2.parameters import Biased, Floats


def folded(graph: Graph) -> Graph:
    """`graph`, with every `Scale` that can be a part of the weights before it."""
    nodes = dict(graph.nodes)
    for node in graph.nodes.values():
        if not isinstance(node.operation, Scale):
            continue
        factors = _by_channel(node.operation.scale)
        synapses = [nodes[source] for source in node.sources]
        if factors is None or not all(_read_by_one(graph, each) for each in synapses):
            continue
        for each in synapses:
            if isinstance(each.operation, Biased):
                nodes[each.name] = replace(each, operation=_times(each.operation, factors))
        nodes[node.name] = replace(node, operation=Scale(np.ones_like(node.operation.scale)))
    return replace(graph, nodes=nodes)


def _by_channel(scale: Floats) -> Floats | None:
    """Factors `[out]` of `[out, ...]`; None where those of a channel differ."""
    rows = scale.reshape(len(scale), -1)
    return rows[:, 0] if (rows == rows[:, :1]).all() else None


def _read_by_one(graph: Graph, node: Node) -> bool:
    return isinstance(node.operation, Biased) and len(list(graph.readers(node.name))) == 1


def _times(operation: Biased, factors: Floats) -> Biased:
    rows = factors.reshape(-1, *(1 for _ in operation.weight.shape[1:]))
    return replace(operation, weight=operation.weight * rows, bias=operation.bias * factors)
