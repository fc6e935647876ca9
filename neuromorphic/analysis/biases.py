"""Biases, followed through a graph to the neurons, where they act on the chip."""

from collections.abc import Mapping

import numpy as np

from neuromorphic.analysis.facts import fact
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Float64, Linear


@fact
def biases(graph: Graph) -> dict[str, Float64]:
    """The sums that the biases alone bring to the input of every node, float64 `[*input shape]`, by node name.

    Only linear nodes pass on what they make of zeros.  A maximum is not linear, so that what leaves it holds the biases
    before it already; so it is with a `Delay`, behind which they begin late, and with neurons.
    """
    leaving: dict[str, Float64] = {}
    for node in graph.nodes.values():
        if isinstance(node.operation, Linear):
            leaving[node.name] = node.operation.apply(arriving(node, leaving)[None], node.shapes)[0]
    # Only now: a `Delay` on a cycle stands in the graph before what it reads.
    return {node.name: arriving(node, leaving) for node in graph.nodes.values()}


def arriving(node: Node, leaving: Mapping[str, Float64]) -> Float64:
    """The sum, `[*input shape]`, of what leaves a node's sources, of those that it is known of."""
    x = np.zeros(node.input_shape)
    for source in node.sources:
        if source in leaving:
            x = x + leaving[source].reshape(node.input_shape)
    return x
