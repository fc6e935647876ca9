"""Cuts a graph into layers, each of which becomes one Lava process.

A layer ends in its head: neurons, a `Delay`, or a stateless node whose currents several nodes, or the host, read.  It
contains the stateless nodes that only it reads.  So all delays inside a layer, of synapses, of shorter branches and of
recurrent edges, add up to one delay per source: `latency(head) + lag - latency(source)`.  The lag is the same on all
paths from a source to a head: if one path is on a cycle with both, all are; and only a head can be a `Delay`, with a
lag of its own.

Biases act at the neurons, as on the chip (`analysis.biases`): linear nodes compute without them, and the `bias` of a
member is the sum of the biases that reach it.  They also act before a maximum, which is not linear, and before a
`Delay`, behind which they start some steps later; the outputs of these two contain them.
"""

from dataclasses import dataclass

from neuromorphic.analysis.biases import biases
from neuromorphic.analysis.facts import fact
from neuromorphic.analysis.schedule import schedule, synapse
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Delay, Float64, Source


@dataclass(frozen=True)
class Member:
    """A node of a layer.

    Attributes:
        node: as in the graph.
        inputs: names of the other members, or of the layer's sources, that it sums.
        waits: time steps by which each of them is delayed before the node.
        lags: how many steps of an image before the node's own step each of them was sent.
        entries: the latency at which each of them enters the node or its synapses.
        direct: whether each of them brings spikes or frames to neurons, through synapses of weight 1.
        bias: the sum of the biases that reach its input, float64 of that shape; a linear node computes without it.
    """

    node: Node
    inputs: tuple[str, ...]
    waits: tuple[int, ...]
    lags: tuple[int, ...]
    entries: tuple[int, ...]
    direct: tuple[bool, ...]
    bias: Float64


@dataclass(frozen=True)
class Layer:
    """Nodes that one Lava process computes.

    Attributes:
        members: in topological order; the last one is the head.
        sources: inputs of the graph, or heads of other layers, that it reads.
        delays: time steps from the output of a source to the head's answer, per source.
        lags: how many steps of an image before the head's step a source sends what the head answers, per source.
        latency: of the head.
    """

    members: tuple[Member, ...]
    sources: tuple[Node, ...]
    delays: tuple[int, ...]
    lags: tuple[int, ...]
    latency: int

    @property
    def head(self) -> Node:
        """The node whose output leaves the layer."""
        return self.members[-1].node


@fact
def layers(graph: Graph) -> tuple[Layer, ...]:
    """The layers of `graph`, in topological order; nodes without state that nothing reads are left out."""
    heads = _heads(graph)
    return tuple(_layer(graph, name, heads) for name in heads)


def _heads(graph: Graph) -> tuple[str, ...]:
    """Names of the nodes whose output leaves a layer, in topological order."""
    names = []
    for node in graph.nodes.values():
        readers = graph.edges_from[node.name]
        shared = len(readers) > 1 or not {*graph.outputs}.isdisjoint(readers)
        held = node.neurons or isinstance(node.operation, Delay)
        if held or (shared and not isinstance(node.operation, Source)):
            names.append(node.name)
    return tuple(names)


def _layer(graph: Graph, head: str, heads: tuple[str, ...]) -> Layer:
    timing = schedule(graph)
    found: dict[str, Member] = {}
    waiting = [head]
    while waiting:
        name = waiting.pop()
        read = graph.nodes[name].sources
        waits = tuple(timing.delay[s, name] for s in read)
        lags = tuple(graph.lag(s, name) for s in read)
        synapses = tuple(synapse(graph, s, name) for s in read)
        entries = tuple(timing.latency[name] - steps for steps in synapses)
        direct = tuple(bool(steps) and graph.nodes[name].neurons for steps in synapses)
        found[name] = Member(graph.nodes[name], read, waits, lags, entries, direct, biases(graph)[name])
        waiting += [s for s in read if s not in heads and s not in graph.inputs]
    # The head is last: a `Delay` on a cycle stands in the graph before what it reads.
    members = (*(found[name] for name in graph.nodes if name in found and name != head), found[head])
    operation = graph.nodes[head].operation
    own = operation.lag if isinstance(operation, Delay) else 0
    outside = {
        s: own + int((s, member.node.name) in graph.recurrent)
        for member in members
        for s in member.inputs
        if s not in found or s == head
    }
    sources = tuple(graph.nodes[s] for s in outside)
    latency, lags = timing.latency[head], tuple(outside.values())
    delays = tuple(latency + lag - timing.latency[s] for s, lag in outside.items())
    return Layer(members, sources, delays, lags, latency)
