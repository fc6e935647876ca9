"""The topological order of a graph's nodes, and its recurrent edges."""

from collections.abc import Mapping
from dataclasses import replace

from neuromorphic.analysis.recurrence import Edge, FanIn, recurrent_edges, topological
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Delay, Neurons, Operation


def wired(
    operations: Mapping[str, Operation | None], fan_in: FanIn, source: str
) -> tuple[frozenset[Edge], tuple[str, ...]]:
    """The recurrent edges between nodes, whose sources `fan_in` lists, and their names in topological order.

    Raises:
        RefusedInput: a cycle without a neuron and without a `Delay`.
    """
    neurons = {name for name, operation in operations.items() if isinstance(operation, Neurons)}
    waiting = {name for name, operation in operations.items() if isinstance(operation, Delay) and operation.lag}
    recurrent = recurrent_edges(fan_in, neurons.__contains__, waiting.__contains__, source)
    return recurrent, tuple(topological(fan_in, recurrent, waiting.__contains__))


def arranged(graph: Graph, nodes: Mapping[str, Node]) -> Graph:
    """`graph` with other nodes, given in any order, in topological order, and with their recurrent edges."""
    operations = {name: node.operation for name, node in nodes.items()}
    recurrent, order = wired(operations, {name: node.sources for name, node in nodes.items()}, graph.source)
    return replace(graph, nodes={name: nodes[name] for name in order}, recurrent=recurrent)
