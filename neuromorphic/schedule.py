"""The schedule: in which time step a node answers a frame, and what must wait for it.

On the chip a synapse takes one time step: a spike sent at step t is in the receiver's input at step t + 1.  So a frame
that enters at step t leaves node n at step `t + latency(n)`:

    latency(input) = 0
    latency(n) = 1 + max latency(s)                  a linear node: its synapses; an extension node: its neurons
    latency(n) = max (latency(s) + synapse(s, n))    a population: 1 for spikes that arrive directly, through synapses
                                                     of weight 1; 0 for currents, which have passed their synapses
    latency(output) = max latency(s)                 the host reads it

Flattening takes no time; edges are counted through it.  Where branches of different depth meet, the shorter ones wait:

    delay(s, n) = latency(n) - synapse(s, n) - latency(s)

Images are streamed back to back, T steps each, whatever the depth; population n forgets the previous image at the steps
`t = latency(n) mod T`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from neuromorphic.graph import Flatten, Graph, Lif, LoihiLif, Population, Sink, Source


@dataclass(frozen=True)
class Schedule:
    """When a graph's nodes answer.

    Attributes:
        latency: steps from a frame's arrival to a node's answer, by node name.
        delay: steps that what `source` sends waits before `reader`, by `(source, reader)`, flattening looked through.
            Edges into the output have none: the host aligns what it reads.
        depth: the greatest latency; the steps that a run takes beyond its images' own.
    """

    latency: Mapping[str, int]
    delay: Mapping[tuple[str, str], int]
    depth: int


def schedule(graph: Graph) -> Schedule:
    """The schedule of `graph` with the least latencies."""
    latency: dict[str, int] = {}
    delay: dict[tuple[str, str], int] = {}
    for node in graph.nodes.values():
        arrivals = {s: latency[s] + _synapse(graph, s, node.name) for s in inputs(graph, node.name)}
        latency[node.name] = max(arrivals.values(), default=0)
        if not isinstance(node.operation, Sink | Flatten):
            delay.update({(s, node.name): latency[node.name] - arrived for s, arrived in arrivals.items()})
    return Schedule(latency, delay, max(latency.values()))


def inputs(graph: Graph, name: str) -> tuple[str, ...]:
    """What a node sums, with flattening looked through; a source that arrives on two ways stands there twice."""
    found: list[str] = []
    for source in graph.nodes[name].sources:
        flat = isinstance(graph.nodes[source].operation, Flatten)
        found.extend(inputs(graph, source) if flat else (source,))
    return tuple(found)


def _synapse(graph: Graph, source: str, reader: str) -> int:
    """Steps that the synapses between two nodes take."""
    match graph.nodes[reader].operation:
        case Sink() | Flatten():
            return 0
        case Lif() | LoihiLif():
            return int(isinstance(graph.nodes[source].operation, Population | Source))
        case _:
            return 1
