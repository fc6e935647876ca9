"""Nodes whose output is the same in every time step, and nodes behind which there are only sums."""

from neuromorphic.ir.graph import Graph
from neuromorphic.ops import Delay, Neurons, Nonlinear, Source


def constant(graph: Graph) -> frozenset[str]:
    """Names of the nodes that no neuron reaches: the same frame in every step gives them the same output.

    What waits isn't constant: it begins with zeros.  Nor is an input of spikes, which differ from step to step.
    """
    names: set[str] = set()
    for node in graph.nodes.values() if graph.metadata.input_kind in (None, "real") else ():
        waits = isinstance(node.operation, Delay) and bool(node.operation.steps.any())
        held = node.neurons or waits
        if isinstance(node.operation, Source) or (not held and names.issuperset(node.sources)):
            names.add(node.name)
    return frozenset(names)


def summable(graph: Graph) -> frozenset[str]:
    """Names of the nodes from which only affine nodes lead to the output: a weighted sum over the steps may come first.

    `Σ_t w_t (W x_t + b) = W (Σ_t w_t x_t) + b Σ_t w_t`.  A node that a neuron or a `Delay` reads needs its values step
    by step.
    """
    names: set[str] = set()
    for node in reversed(tuple(graph.nodes.values())):
        affine = not isinstance(node.operation, Neurons | Delay | Nonlinear)
        if affine and names.issuperset(reader.name for reader in graph.readers(node.name)):
            names.add(node.name)
    return frozenset(names)
