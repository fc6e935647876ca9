"""Biases, followed through a graph to the neurons, where they act."""

from collections.abc import Mapping

import numpy as np

from neuromorphic.analysis.facts import fact
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Float64, Linear


@fact
def biases(graph: Graph) -> dict[str, Float64]:
    """The sum of the biases that reach the input of every node, float64 `[*input shape]`, by node name.

    Biases pass linear nodes only: each passes on its output for an input of nothing but biases.  The output of a
    maximum, which is not linear, of a `Delay`, behind which biases start some steps later, and of neurons contains the
    biases before them already.
    """
    leaving: dict[str, Float64] = {}
    for node in graph.nodes.values():
        if isinstance(node.operation, Linear):
            leaving[node.name] = node.operation.apply(arriving(node, leaving)[None], node.shapes)[0]
    # Only now, since a `Delay` on a cycle comes before the nodes that it reads.
    return {node.name: arriving(node, leaving) for node in graph.nodes.values()}


def arriving(node: Node, leaving: Mapping[str, Float64]) -> Float64:
    """The sum, `[*input shape]`, of the outputs in `leaving` that a node reads."""
    x = np.zeros(node.input_shape)
    for source in node.sources:
        if source in leaving:
            x = x + leaving[source].reshape(node.input_shape)
    return x
