"""Bounds of all partial sums inside a graph, and the finest dyadic grid that their terms lie on.

A sum is bounded by the sum p of its largest positive terms and the sum n of its largest negative ones, with 0 among
both: any partial sum, in any order, lies within [-n, p].  For synapses with weights w that read values within [-n, p],
w+ and w- being the positive and negative parts of w,

    p' = w+ p + w- n + b+        n' = w+ n + w- p + b-

which is `Operation.interval` of inputs within [-n, p], and the bias.  A spike lies within [0, 1]; where several nodes
are summed, their p and n add up.  A value on the grid of multiples of 2^-k times a weight on 2^-m lies on 2^-(k + m).

Populations bound cycles: a spike is 0 or 1, whatever caused it.
"""

from functools import reduce
from operator import add

import numpy as np

from neuromorphic.analysis.intervals import currents_in_order
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Delay, Interval, Neurons, Shape, Source, Stateless, Sums
from neuromorphic.ops.types import unrepeated


def partial_sums(graph: Graph, frames: Sums, steps: int) -> tuple[dict[str, Sums], dict[str, Sums]]:
    """Bounds of every node's input, in its input's shape, and of its output, in its own, both by node name.

    Args:
        graph: of floats.
        frames: bounds of the frames, of any shape that broadcasts to a frame's.
        steps: T, after which membranes are at rest again.

    Raises:
        RefusedInput: a cycle without a population, or a parameter that is not finite.
    """
    reads: dict[str, Sums] = {}
    sends = {node.name: _sent(node, frames, steps) for node in graph.populations}
    for name in currents_in_order(graph):
        node = graph.nodes[name]
        if isinstance(node.operation, Source):
            reads[name] = sends[name] = _shaped(frames, node.shape)
            continue
        reads[name] = reduce(add, (_shaped(sends[source], node.input_shape) for source in node.sources))
        if not node.spiking:
            sends[name] = _sent(node, reads[name], steps)
    return reads, sends


def _shaped(sums: Sums, shape: Shape) -> Sums:
    bounds = (sums.reach.low, sums.reach.high)
    low, high = (x.reshape(shape) if x.size == np.prod(shape) else np.broadcast_to(x, shape) for x in bounds)
    return Sums(Interval(low, high), sums.bits, sums.constant)


def _sent(node: Node, x: Sums, steps: int) -> Sums:
    operation, shape = node.operation, node.shape
    y = operation.interval(x.reach, node.shapes, steps)
    low, high = np.minimum(unrepeated(y.low), 0), np.maximum(unrepeated(y.high), 0)
    if isinstance(operation, Stateless) and operation.bias_values.size:
        bias = operation.bias_values.astype(np.float64).reshape(-1, *(1 for _ in shape[1:]))
        low, high = low + np.minimum(bias, 0), high + np.maximum(bias, 0)
    constant = x.constant and not isinstance(operation, Neurons | Delay)
    reach = Interval(np.broadcast_to(low, shape), np.broadcast_to(high, shape))
    return Sums(reach, operation.grid(x.bits, steps), constant)
