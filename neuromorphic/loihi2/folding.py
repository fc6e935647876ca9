"""Factors of currents move into the weights before them: `s (W x + b) = (s W) x + s b`.

The chip has no factors but weights.  A `Scale` with one factor per channel, or the divisor of a mean, goes into all
synapses whose currents it reads, also through nodes that only pass currents on, if nothing else reads these currents.
In the graph the factor becomes 1; names stay.
"""

from typing import assert_never

import numpy as np

import neuromorphic.ops as ops
from neuromorphic.analysis.streams import host_nodes, spike_carriers, weighs
from neuromorphic.ir.graph import Graph, Node


def folded(graph: Graph) -> Graph:
    """`graph`, in which every factor on the chip that can be a part of the weights before it is one."""
    host = host_nodes(graph)
    for name in graph.nodes:
        node = graph.nodes[name]
        factors = None if name in host else _by_channel(node)
        if factors is None:
            continue
        before = _synapses(graph, node, uniform=bool((factors == factors[0]).all()))
        if before is not None:
            weighted = {synapse: _times(graph.nodes[synapse], factors) for synapse in before}
            graph = graph.with_operations({**weighted, name: _without_factors(node.operation)})
    return graph


def _by_channel(node: Node) -> ops.Float32 | None:
    """The factors of a node, one per channel `[channels]`; None where it has none, or several in one channel."""
    match node.operation:
        case ops.Scale(scale=scale):
            rows = scale.reshape(len(scale), -1)
            return rows[:, 0] if (scale != 1).any() and (rows == rows[:, :1]).all() else None
        case ops.Fixed(divisor=divisor):
            return None if divisor == 1 else np.full(node.input_shape[0], 1 / divisor, np.float32)
        case ops.Source() | ops.Sink() | ops.Delay() | ops.Neurons() | ops.Affine() | ops.Conv2d() | ops.Nonlinear():
            return None
        case unknown:
            assert_never(unknown)


def _synapses(graph: Graph, node: Node, *, uniform: bool) -> set[str] | None:
    """The synapses whose currents reach a node, and nothing else; None where something else reaches it, too."""
    carriers, found = spike_carriers(graph), set[str]()
    seen, waiting = {node.name}, [node]
    while waiting:
        reader = waiting.pop()
        for source in reader.sources:
            before = graph.nodes[source]
            same_channels = before.shape[0] == reader.input_shape[0]
            if source in carriers or len(graph.readers(source)) != 1 or not (same_channels or uniform):
                return None
            if weighs(before, carriers) and isinstance(before.operation, ops.Weighted):
                found.add(source)
            elif _keeps_currents(before.operation):
                if source not in seen:
                    seen.add(source)
                    waiting.append(before)
            else:
                return None
    return found


def _keeps_currents(operation: ops.AnyOperation) -> bool:
    """Whether an operation passes currents on channel by channel, so that a factor behind it can act before it."""
    match operation:
        case ops.Delay():
            return True
        case ops.Fixed(divisor=divisor):
            return divisor == 1
        case ops.Scale(scale=scale):
            return bool((scale == 1).all())
        case ops.Source() | ops.Sink() | ops.Neurons() | ops.Affine() | ops.Conv2d() | ops.Nonlinear():
            return False
        case unknown:
            assert_never(unknown)


def _times(node: Node, factors: ops.Float32) -> ops.AnyOperation:
    """A node's operation with the weights and the bias of each output channel times its factor."""
    operation = node.operation
    if not isinstance(operation, ops.Weighted):
        raise TypeError(f"node {node.name!r}: {type(operation).__name__} has no weights")
    if len(factors) != node.shape[0]:  # the factor is behind a flattening, and so the same for all
        factors = np.full(node.shape[0], factors[0])
    rows = factors.reshape(-1, *(1 for _ in operation.weights.shape[1:]))
    weighted = operation.with_weights(operation.weights * rows)
    return weighted.with_bias(operation.bias_values * factors) if operation.biased else weighted


def _without_factors(operation: ops.AnyOperation) -> ops.AnyOperation:
    match operation:
        case ops.Scale(scale=scale):
            return ops.Scale(np.ones_like(scale))
        case ops.Fixed() as fixed:
            return fixed.undivided()
        case other:
            raise TypeError(f"{type(other).__name__} has no factors")
