"""Events: what is added up one by one, without a multiplication, wherever synapses read it.

    population                   sends one per spike
    input of spikes or counts    sends as many as its frames say, where metadata or `--input-kind` declare it so
    sum or mean of events        a pool: every event goes on to the windows that hold it; a mean's factor is the same for
                                 all of its outputs, and as good as folded into its readers' weights
    maximum of events            sends the largest count of each window

A pool's n events are n additions at each of a reader's synapses, since `W (e + e) = W e + W e`: so an event-driven chip
works, whose pools move addresses.  Neurons read a pool's sums as currents: its synapses end in them.  Everything else
that no neurons send is real: the input, membranes, and currents behind weights.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from energy.delivery import later
from neuromorphic.analysis.arrivals import Arrival, arrivals
from neuromorphic.analysis.facts import fact
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Int64, MaxPool2d, Neurons, Population, Source, SumPool2d

CHUNK = 2**21
"""Elements of an array of events, for all steps of some images, that are in memory at a time."""


@fact
def event_senders(graph: Graph) -> frozenset[str]:
    """Names of the nodes that send events, without those that only wait."""
    found = {node.name for node in graph.populations}
    if graph.metadata.input_kind in ("spikes", "counts"):
        found.add(graph.input)
    pools = [node for node in graph.nodes.values() if isinstance(node.operation, SumPool2d | MaxPool2d)]
    more = True
    while more:
        fed = {
            pool.name
            for pool in pools
            if all(a.sender.name in found for a in arrivals(graph, pool, lambda sender: sender.name in found))
        }
        more = not found.issuperset(fed)
        found |= fed
    return frozenset(found)


def arriving(graph: Graph, node: Node) -> tuple[tuple[Arrival, ...], tuple[Arrival, ...]]:
    """The events that arrive at `node`, on each way, and the real values.

    Args:
        graph: that passed `check_delays`.
        node: of it.
    """
    senders = event_senders(graph)

    def passes(sender: Node) -> bool:
        own = isinstance(sender.operation, Population | Source)
        return sender.name in senders and (own or not isinstance(node.operation, Neurons))

    every = arrivals(graph, node, passes)
    return tuple(a for a in every if passes(a.sender)), tuple(a for a in every if not passes(a.sender))


class Events:
    """How many events every element sends in every step.

    Args:
        graph: that was run.
        first: what populations and the input send in some images: int64 or bool `[n, T, *shape]`.
    """

    def __init__(self, graph: Graph, first: Callable[[Node], NDArray[np.generic]]) -> None:
        self.graph, self.first = graph, first
        self.known: dict[str, Int64] = {}

    def of(self, sender: Node) -> Int64:
        """Of one of `event_senders`: int64 `[n, T, *shape]`."""
        if sender.name not in self.known:
            self.known[sender.name] = self._made(sender)
        return self.known[sender.name]

    def _made(self, sender: Node) -> Int64:
        operation = sender.operation
        if not isinstance(operation, SumPool2d | MaxPool2d):
            return np.asarray(self.first(sender), np.int64)
        found, _ = arriving(self.graph, sender)
        x = sum(later(self.of(a.sender), a.lag).reshape(*self.of(a.sender).shape[:2], *sender.input_shape) for a in found)
        maps = np.asarray(x, np.float64).reshape(-1, *sender.input_shape)
        divisor = operation.divisor if isinstance(operation, SumPool2d) else 1
        y = np.rint(operation.apply(maps, sender.shapes) * divisor).astype(np.int64)
        return y.reshape(*np.shape(x)[:2], *sender.shape)
