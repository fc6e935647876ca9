"""Which neurons a chip needs for a graph, and which synapses end in them.

A chip has neurons and synapses; a synapse ends in a neuron, and only neurons send.  So the linear nodes that a
population reads become synapses of its own, and a current that several populations read is stored and driven once per
reader.  Besides its populations a graph needs

- accumulators, which sum a current and send the sum on as a graded spike, in every time step: at the input of whatever
  reads currents and isn't a population (a linear node, a maximum, the host), and for the sums `Kᵀ V` of self-attention;
- with `residual="relay"`, accumulators for sums of currents that others read as well, so that each is stored once.

What a maximum and self-attention do to the values that arrive is left to the program of the neurons that read them.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import (
    Affine,
    Conv2d,
    Flatten,
    Graph,
    MaxPool2d,
    Node,
    SelfAttention,
    Shape,
    Source,
    SumPool2d,
)
from neuromorphic.schedule import inputs

Map = tuple[int, int, int]
Residual = Literal["duplicate", "relay"]
Kind = Literal["population", "accumulator", "relay"]
Synapses = Literal["weights", "identity", "products", "sums", "queries"]

LINEAR = Conv2d | SumPool2d | Affine


@dataclass(frozen=True)
class Projection:
    """Synapses into a population that belong together: one list of weights per core serves all its senders.

    Attributes:
        kind: `weights` of a linear node (or the taps of a maximum); `identity`, one synapse of weight one per neuron;
            of self-attention `products` (K and V into `Kᵀ V`), `sums` (`Kᵀ V` into y) and `queries` (Q into y).
        senders: names of the populations (or of the graph's input) that it carries.
        node: the node that it computes; None for `identity`.
    """

    kind: Synapses
    senders: tuple[str, ...]
    node: Node | None = None


@dataclass(frozen=True)
class Population:
    """Neurons that are placed together.

    Attributes:
        name: of the graph's node that they compute, or for which they gather the input.
        kind: `population` for the graph's own.
        shape: channels, rows and columns; where the graph knows none, every neuron is a row.
        projections: all synapses that end in it.
        latency: steps from a frame's arrival to what it sends for that frame.
        delay: the longest that something waits in its accumulators, in steps.
    """

    name: str
    kind: Kind
    shape: Map
    projections: tuple[Projection, ...]
    latency: int
    delay: int

    @property
    def neurons(self) -> int:
        """How many."""
        return prod(self.shape)


def as_map(shape: Shape) -> Map:
    """Channels, rows and columns of a shape; without them every element is a row."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    return (1, prod(shape), 1)


def populations(graph: Graph, residual: Residual = "duplicate") -> tuple[Population, ...]:
    """What `graph` needs on a chip, senders before what reads them.

    Raises:
        RefusedInput: a population sums maps of different shapes behind flattenings.
    """
    build = _Builder(graph, residual)
    for node in graph.nodes.values():
        build.add(node)
    return tuple(build.found.values())


class _Builder:
    def __init__(self, graph: Graph, residual: Residual) -> None:
        self.graph = graph
        self.residual = residual
        self.found: dict[str, Population] = {}
        self.relays: dict[frozenset[str], str] = {}
        read = [name for node in graph.nodes.values() if not isinstance(node.operation, Flatten)
                for name in inputs(graph, node.name)]  # fmt: skip
        self.shared = {name for name in read if read.count(name) > 1 and self._linear(name)}

    def add(self, node: Node) -> None:
        """The neurons that `node` itself needs."""
        currents = [name for name in inputs(self.graph, node.name) if not self._sends(name)]
        match node.operation:
            case _ if node.spiking:
                self._append(node.name, "population", node.shape, self._into(node))
            case SelfAttention(heads=heads):
                products = Projection("products", node.sources, node)
                sums = (node.shape[0], node.shape[0] // heads, 1)
                self._append(node.name, "accumulator", sums, (products,))
            case MaxPool2d():
                self._append(node.name, "accumulator", node.input_shape, self._into(node))
            case Source() | Flatten():
                pass
            case _ if currents:
                self._append(node.name, "accumulator", node.input_shape, self._into(node))

    def _into(self, node: Node) -> tuple[Projection, ...]:
        """The synapses that bring `node` the sum that it reads."""
        read = inputs(self.graph, node.name)
        found: list[Projection] = []
        gathered: frozenset[str] = frozenset()
        if self.residual == "relay":
            gathered = frozenset(name for name in read if name in self.shared)
        if gathered:
            found.append(Projection("identity", (self._relay(gathered, node),)))
        for name in read:
            if name not in gathered:
                found.extend(self._from(name))
        return tuple(found)

    def _from(self, name: str) -> tuple[Projection, ...]:
        """The synapses of one summand."""
        node = self.graph.nodes[name]
        match node.operation:
            case _ if self._sends(name):
                return (Projection("identity", (name,)),)
            case SelfAttention():
                return (Projection("sums", (name,), node), Projection("queries", node.sources, node))
            case _:
                senders = (name,) if name in self.found else inputs(self.graph, name)
                return (Projection("weights", senders, node),)

    def _relay(self, gathered: frozenset[str], node: Node) -> str:
        """The relay that sums `gathered`: the largest part of it that has a relay already, and the rest."""
        if gathered not in self.relays:
            parts = [part for part in self.relays if part < gathered]
            part = max(parts, key=len, default=frozenset[str]())
            found = [Projection("identity", (self.relays[part],))] if part else []
            for name in self.graph.nodes:
                if name in gathered - part:
                    found.extend(self._from(name))
            name = f"{node.name}.relay"
            while name in self.graph.nodes:
                name += "'"
            self._append(name, "relay", node.input_shape, tuple(found))
            self.relays[gathered] = name
        return self.relays[gathered]

    def _append(self, name: str, kind: Kind, shape: Shape, projections: tuple[Projection, ...]) -> None:
        maps = {as_map(p.node.shape) for p in projections if p.node is not None and len(p.node.shape) == 3
                and p.kind != "products"}  # fmt: skip
        if len(maps) > 1:
            listed = ", ".join(str(list(m)) for m in sorted(maps))
            raise RefusedInput(f"{self.graph.source}: node {name!r} sums maps of shapes {listed}; expected one shape")
        arrivals = [self._latency(sender) + 1 for p in projections for sender in p.senders]
        latency = max(arrivals)
        mapped = maps.pop() if maps else as_map(shape)
        self.found[name] = Population(name, kind, mapped, projections, latency, latency - min(arrivals))

    def _latency(self, sender: str) -> int:
        return self.found[sender].latency if sender in self.found else 0

    def _linear(self, name: str) -> bool:
        return isinstance(self.graph.nodes[name].operation, LINEAR)

    def _sends(self, name: str) -> bool:
        return self.graph.nodes[name].spiking or isinstance(self.graph.nodes[name].operation, Source)
