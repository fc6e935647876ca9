"""Factors of currents, moved into the weights before them: `s (W x + b) = (s W) x + s b`.

The chip has no factors but weights.  A `Scale` with one factor per output channel, or what a mean divides by, goes into
every synapse whose currents it sums, through what only passes them on, where nothing else reads them; in the graph the
factor becomes 1, and names stay.
"""

from dataclasses import replace

import numpy as np

from neuromorphic.analysis.streams import host_nodes, spike_carriers, weighs
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.loihi2.parameters import Biased, Floats
from neuromorphic.ops.operations import Delay, Flatten, Operation, Scale, SumPool2d


def folded(graph: Graph) -> Graph:
    """`graph`, with every factor on the chip that can be a part of the weights before it."""
    host = host_nodes(graph)
    for name in graph.nodes:
        node = graph.nodes[name]
        factors = None if name in host else _by_channel(node)
        if factors is None:
            continue
        before = _synapses(graph, node, uniform=bool((factors == factors[0]).all()))
        if before is not None:
            nodes = dict(graph.nodes)
            for synapse in before:
                nodes[synapse] = replace(nodes[synapse], operation=_times(nodes[synapse], factors))
            nodes[name] = replace(node, operation=_without_factors(node.operation))
            graph = replace(graph, nodes=nodes)
    return graph


def _by_channel(node: Node) -> Floats | None:
    """Factors `[channels]` of what a node reads; None where it has none, or those of a channel differ."""
    match node.operation:
        case Scale(scale=scale) if (scale != 1).any():
            rows = scale.reshape(len(scale), -1)
            return rows[:, 0] if (rows == rows[:, :1]).all() else None
        case SumPool2d(divisor=divisor) if divisor != 1:
            return np.full(node.input_shape[0], 1 / divisor, np.float32)
        case _:
            return None


def _synapses(graph: Graph, node: Node, *, uniform: bool) -> set[str] | None:
    """The synapses whose currents reach a node and nothing else; None where spikes or others' currents do too."""
    carriers, found = spike_carriers(graph), set[str]()
    seen, waiting = {node.name}, [node]
    while waiting:
        for source in waiting.pop().sources:
            before = graph.nodes[source]
            if source in carriers or len(graph.readers(source)) != 1:
                return None
            if weighs(before, carriers) and isinstance(before.operation, Biased | Scale):
                found.add(source)
            elif _keeps_channels(before.operation) or (uniform and isinstance(before.operation, Flatten)):
                if source not in seen:
                    seen.add(source)
                    waiting.append(before)
            else:
                return None
    return found


def _keeps_channels(operation: Operation) -> bool:
    """Whether a current passes through it as it is, in its channel."""
    match operation:
        case Delay() | SumPool2d(divisor=1):
            return True
        case Scale(scale=scale):
            return bool((scale == 1).all())
        case _:
            return False


def _times(node: Node, factors: Floats) -> Operation:
    """A node's synapses with all of an output channel's weights times its factor; a single one where all are alike."""
    operation = node.operation
    if len(factors) != node.shape[0]:  # beyond a flattening
        factors = np.full(node.shape[0], factors[0])
    if isinstance(operation, Scale):
        return Scale(operation.scale * factors.reshape(-1, *(1 for _ in operation.scale.shape[1:])))
    if isinstance(operation, Biased):
        rows = factors.reshape(-1, *(1 for _ in operation.weight.shape[1:]))
        return replace(operation, weight=operation.weight * rows, bias=operation.bias * factors)
    raise TypeError(f"node {node.name!r}: {type(operation).__name__} has no weights")


def _without_factors(operation: Operation) -> Operation:
    match operation:
        case Scale(scale=scale):
            return Scale(np.ones_like(scale))
        case SumPool2d() as pool:
            return replace(pool, divisor=1)
        case other:
            raise TypeError(f"{type(other).__name__} has no factors")
