"""Who sends what to a node: spikes or real values, as the graph declares it."""

from neuromorphic.graph import Flatten, Graph, MaxPool2d, Node, Population, SelfAttention, Source


def senders(graph: Graph, node: Node) -> tuple[Node, ...]:
    """The nodes whose outputs arrive at `node`; flattening only renames positions, so it is looked through.

    Whether a sender is `spiking` decides what its values cost.  That is the graph's word: a population that fires
    always or never is still spike-driven, and a sum of spikes that happens to be 0 or 1 is still a real value.
    """
    found: list[Node] = []
    for name in node.sources:
        source = graph.nodes[name]
        found.extend(senders(graph, source) if isinstance(source.operation, Flatten) else (source,))
    return tuple(found)


def constant(graph: Graph) -> frozenset[str]:
    """Names of the nodes that no population reaches: the same frame in every step gives them the same output."""
    names: set[str] = set()
    for node in graph.nodes.values():
        if isinstance(node.operation, Source) or (not node.spiking and names.issuperset(node.sources)):
            names.add(node.name)
    return frozenset(names)


def summable(graph: Graph) -> frozenset[str]:
    """Names of the nodes from which only affine nodes lead to the output: a weighted sum over the steps may come first.

    `Σ_t w_t (W x_t + b) = W (Σ_t w_t x_t) + b Σ_t w_t`.  A node that a population reads needs its values step by step.
    """
    names: set[str] = set()
    for node in reversed(tuple(graph.nodes.values())):
        affine = not isinstance(node.operation, Population | MaxPool2d | SelfAttention)
        if affine and names.issuperset(reader.name for reader in graph.readers(node.name)):
            names.add(node.name)
    return frozenset(names)
