"""A graph cut into layers: what becomes one Lava process each.

A layer ends in its head: a population, or a node without state whose currents several nodes (or the host) read.  It
contains the nodes without state that only it reads.  So all the waiting inside a layer, of synapses and of shorter
branches, adds up to one delay per source: `latency(head) - latency(source)`.

Biases act at the population, as on the chip: each linear node passes on what it makes of zeros, and a member's `bias`
is the sum that arrives at it.  A maximum is not linear, so they act before it too, and what leaves it holds them.  The
currents that leave linear nodes carry none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuromorphic.graph import Flatten, Graph, MaxPool2d, Node, Population, SelfAttention, Sink, Source
from neuromorphic.reference import apply
from neuromorphic.schedule import Schedule, inputs


@dataclass(frozen=True)
class Member:
    """A node of a layer.

    Attributes:
        node: as in the graph.
        inputs: what it sums: names of other members or of the layer's sources.
        waits: steps that each of them waits before the node.
        bias: what the biases before it bring to its input, float64 of that shape; a linear node computes without it.
    """

    node: Node
    inputs: tuple[str, ...]
    waits: tuple[int, ...]
    bias: NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """Nodes that one Lava process computes.

    Attributes:
        members: in topological order; the last one is the head.
        sources: the graph's input or heads of other layers.
        delays: steps from what a source sends to the head's answer, per source.
        latency: of the head.
    """

    members: tuple[Member, ...]
    sources: tuple[Node, ...]
    delays: tuple[int, ...]
    latency: int

    @property
    def head(self) -> Node:
        """The node whose output leaves the layer."""
        return self.members[-1].node


def layers(graph: Graph, timing: Schedule) -> tuple[Layer, ...]:
    """The layers of `graph`, in topological order; nodes without state that nothing reads are left out."""
    heads = _heads(graph)
    biases = constants(graph)
    return tuple(_layer(graph, timing, name, heads, biases) for name in heads)


def _heads(graph: Graph) -> tuple[str, ...]:
    readers: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for node in graph.nodes.values():
        if not isinstance(node.operation, Flatten):
            for source in inputs(graph, node.name):
                readers[source].append(node.name)
    names = []
    for node in graph.nodes.values():
        read = readers[node.name]
        shared = len(read) > 1 or graph.output in read
        if node.spiking or (shared and not isinstance(node.operation, Source | Flatten)):
            names.append(node.name)
    return tuple(names)


def _layer(
    graph: Graph, timing: Schedule, head: str, heads: tuple[str, ...], biases: dict[str, NDArray[np.float64]]
) -> Layer:
    found: dict[str, Member] = {}
    waiting = [head]
    while waiting:
        name = waiting.pop()
        read = inputs(graph, name)
        waits = tuple(timing.delay[s, name] for s in read)
        found[name] = Member(graph.nodes[name], read, waits, biases[name])
        waiting += [s for s in read if s not in heads and s != graph.input]
    members = tuple(found[name] for name in graph.nodes if name in found)
    outside = {s: None for member in members for s in member.inputs if s not in found}
    sources = tuple(graph.nodes[s] for s in outside)
    latency = timing.latency[head]
    delays = tuple(latency - timing.latency[s.name] for s in sources)
    return Layer(members, sources, delays, latency)


def constants(graph: Graph) -> dict[str, NDArray[np.float64]]:
    """What the biases alone bring to the input of every node, float64, by node name."""
    arriving: dict[str, NDArray[np.float64]] = {}
    leaving: dict[str, NDArray[np.float64]] = {}
    for node in graph.nodes.values():
        x = np.zeros((1, *node.input_shape))
        for source in node.sources:
            x = x + leaving[source]
        arriving[node.name] = x[0]
        adds_them_itself = isinstance(node.operation, Population | Source | Sink | MaxPool2d | SelfAttention)
        leaving[node.name] = np.zeros((1, *node.shape)) if adds_them_itself else apply(node, x)
    return arriving
