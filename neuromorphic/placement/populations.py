"""The neurons that a chip needs for a graph, and the synapses that end in them.

A chip has neurons and synapses; a synapse ends in a neuron, and only neurons send.  So the linear nodes that neurons
read become synapses of these neurons, and a current that several nodes of neurons read has synapses once per reader.
Besides its own neurons a graph needs

- accumulators, which sum a current and send the sum as a graded spike in every time step: at the input of all nodes
that
  read currents but are not made of neurons (linear nodes, maxima, the host), and for the sums `Kᵀ V` of self-attention;
- with `residual="relay"`, accumulators for sums of currents that several nodes read, so that each has synapses once.

Neurons without a threshold send their membranes as accumulators send their sums.  The arithmetic of a maximum and of
self-attention is left to the program of the neurons that read their inputs.  A `Delay` and a recurrent edge are neither
neurons nor synapses, but delays of the synapses behind them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal, assert_never

import numpy as np

from neuromorphic.analysis.arrivals import Arrival, arrivals
from neuromorphic.analysis.longest_paths import EndlessCycle, longest_paths
from neuromorphic.errors import RefusedInput, number
from neuromorphic.ir.graph import Graph, Node, unused
from neuromorphic.ops import Delay, Linear, MaxPool2d, Neurons, SelfAttention, Shape, Sink, Source

Map = tuple[int, int, int]
Residual = Literal["duplicate", "relay"]
Kind = Literal["population", "membranes", "accumulator", "relay"]
Synapses = Literal["weights", "identity", "products", "sums", "queries"]


@dataclass(frozen=True)
class Projection:
    """Synapses into a population that belong together: one list of weights per core serves all its senders.

    Attributes:
        kind: `weights` of a linear node (or the taps of a maximum); `identity`, one synapse of weight 1 per neuron; for
            self-attention `products` (K and V into `Kᵀ V`), `sums` (`Kᵀ V` into y) and `queries` (Q into y).
        senders: names of the populations, or of the graph's input, whose spikes it carries.
        lags: per sender, the most steps of an image between sending and summing.
        node: that it computes; None for `identity`.
    """

    kind: Synapses
    senders: tuple[str, ...]
    lags: tuple[int, ...]
    node: Node | None = None


@dataclass(frozen=True)
class Population:
    """Neurons that are placed together.

    Attributes:
        name: of the graph's node that they compute, or whose input they accumulate.
        kind: `population` for neurons of the graph, `membranes` if these have no threshold.
        shape: channels, rows and columns; where there are no maps, every neuron is a row.
        projections: all synapses that end in it.
        latency: time steps from a frame's arrival to the answer.
        delay: the longest delay of its inputs, in time steps.
        currents: numbers that each neuron keeps from step to step besides v: 1 for a synaptic current.
    """

    name: str
    kind: Kind
    shape: Map
    projections: tuple[Projection, ...]
    latency: int
    delay: int
    currents: int

    @property
    def neurons(self) -> int:
        """The number of neurons."""
        return prod(self.shape)


def as_map(shape: Shape) -> Map:
    """Channels, rows and columns of a shape; two sizes are channels and rows; else every element is a row."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    if len(shape) == 2:
        return (shape[0], shape[1], 1)
    return (1, prod(shape), 1)


def sends(node: Node) -> bool:
    """Whether a node sends spikes, graded or not, as neurons and inputs do."""
    return node.neurons or isinstance(node.operation, Source)


def populations(graph: Graph, residual: Residual = "duplicate") -> tuple[Population, ...]:
    """The populations that `graph` needs on a chip, senders before their readers, but for cycles.

    Args:
        graph: that passed `arrivals.check_delays`, without a `Delay` of currents.
        residual: as of `place`.

    Raises:
        RefusedInput: a population sums maps of different shapes behind flattenings, or a cycle takes more steps
            than its lags.
    """
    build = _Builder(graph, residual)
    for node in graph.nodes.values():
        build.add(node)
    return build.populations()


@dataclass(frozen=True)
class _Draft:
    """A population without times; `paths` lists the nodes before it, with the steps from their latency to its own."""

    kind: Kind
    shape: Map
    projections: tuple[Projection, ...]
    paths: tuple[tuple[str, int], ...]
    currents: int


class _Builder:
    """Collects the populations that the nodes of a graph need.

    Attributes:
        found: by name.
        relays: names of relays, by the nodes whose currents they sum.
        shared: names of the linear nodes that several nodes read.
    """

    def __init__(self, graph: Graph, residual: Residual) -> None:
        self.graph = graph
        self.residual = residual
        self.found: dict[str, _Draft] = {}
        self.relays: dict[frozenset[str], str] = {}
        read = [name for node in graph.nodes.values() for name in node.sources]
        self.shared = {n for n in read if read.count(n) > 1 and isinstance(graph.nodes[n].operation, Linear)}

    def add(self, node: Node) -> None:
        """Add the neurons that `node` itself needs."""
        match node.operation:
            case Neurons():
                self._append(node.name, "population" if node.spiking else "membranes", node.shape, *self._into(node))
            case SelfAttention(heads=heads):
                (arrival,) = arrivals(self.graph, node)
                products = Projection("products", (arrival.sender.name,), (int(arrival.lag.max()),), node)
                sums = (node.shape[0], node.shape[0] // heads, 1)
                self._append(node.name, "accumulator", sums, (products,), self._paths(node))
            case MaxPool2d():
                self._append(node.name, "accumulator", node.input_shape, *self._into(node))
            case Source() | Delay():
                pass
            case Linear() | Sink():
                if not all(sends(arrival.sender) for arrival in arrivals(self.graph, node, sends)):
                    self._append(node.name, "accumulator", node.input_shape, *self._into(node))
            case unknown:
                assert_never(unknown)

    def populations(self) -> tuple[Population, ...]:
        """All populations, with their times."""
        graph = self.graph
        paths = {name: draft.paths for name, draft in self.found.items()}
        for node in graph.nodes.values():
            if isinstance(node.operation, Delay):
                paths[node.name] = tuple((name, -graph.lag(name, node.name)) for name in node.sources)
        latency = _latencies({**dict.fromkeys(graph.inputs, ()), **paths}, graph.source)
        made = []
        for name, draft in self.found.items():
            sent = [(s, lag) for p in draft.projections for s, lag in zip(p.senders, p.lags, strict=True)]
            delay = max(latency[name] + lag - 1 - latency[s] for s, lag in sent)
            found = (draft.kind, draft.shape, draft.projections, latency[name], delay, draft.currents)
            made.append(Population(name, *found))
        return tuple(made)

    def _into(self, node: Node) -> tuple[tuple[Projection, ...], tuple[tuple[str, int], ...]]:
        """The synapses into the input of `node`, and its paths (`_Draft`)."""
        found: list[Projection] = []
        gathered: frozenset[str] = frozenset()
        if self.residual == "relay":
            gathered = frozenset(node.sources) & self.shared
        relay = self._relay(gathered, node) if gathered else ""
        if gathered:
            found.append(Projection("identity", (relay,), (0,)))
        for arrival in arrivals(self.graph, node, sends):
            if arrival.sender.name not in gathered:
                found.extend(self._from(arrival))
        return tuple(found), (*([(relay, 1)] if gathered else []), *self._paths(node, gathered))

    def _from(self, arrival: Arrival) -> tuple[Projection, ...]:
        """The synapses of one term of a sum."""
        node = arrival.sender
        if sends(node):
            return (Projection("identity", (node.name,), (int(arrival.lag.max()),)),)
        if isinstance(node.operation, SelfAttention):
            (query,) = arrivals(self.graph, node)
            queries = Projection("queries", (query.sender.name,), (int(query.lag.max()),), node)
            return (Projection("sums", (node.name,), (0,), node), queries)
        if node.name in self.found:
            return (Projection("weights", (node.name,), (0,), node),)
        read = arrivals(self.graph, node, sends)
        names, lags = (a.sender.name for a in read), (int(a.lag.max()) for a in read)
        return (Projection("weights", tuple(names), tuple(lags), node),)

    def _paths(self, node: Node, gathered: frozenset[str] = frozenset()) -> tuple[tuple[str, int], ...]:
        """The nodes before `node`, without those of a relay: a synapse takes a step, one of a recurrent edge none."""
        found: list[tuple[str, int]] = []
        for name in node.sources:
            source = self.graph.nodes[name]
            if name in gathered:
                continue
            if sends(source) or isinstance(source.operation, Delay):
                found.append((name, 1 - int((name, node.name) in self.graph.recurrent)))
            else:
                if name in self.found:
                    found.append((name, 1))
                if name not in self.found or isinstance(source.operation, SelfAttention):
                    found.extend(self._paths(source))
        return tuple(found)

    def _relay(self, gathered: frozenset[str], node: Node) -> str:
        """The relay that sums `gathered`: it reads the relay of the largest part that has one, and the other nodes."""
        if gathered not in self.relays:
            parts = [part for part in self.relays if part < gathered]
            part = max(parts, key=len, default=frozenset[str]())
            found = [Projection("identity", (self.relays[part],), (0,))] if part else []
            rest = [self.graph.nodes[name] for name in self.graph.nodes if name in gathered - part]
            for source in rest:
                found.extend(self._from(Arrival(source, np.zeros((), np.int64))))
            paths = [(self.relays[part], 1)] if part else []
            for source in rest:
                paths += [(source.name, 1)] if source.name in self.found else self._paths(source)
            name = unused(f"{node.name}.relay", self.graph.nodes)
            self._append(name, "relay", node.input_shape, tuple(found), tuple(paths))
            self.relays[gathered] = name
        return self.relays[gathered]

    def _append(
        self,
        name: str,
        kind: Kind,
        shape: Shape,
        projections: tuple[Projection, ...],
        paths: tuple[tuple[str, int], ...],
    ) -> None:
        sums = [p.node.shape for p in projections if p.node is not None and p.kind != "products"]
        maps = {as_map(found) for found in sums if len(found) in (2, 3)}
        if len(maps) > 1:
            listed = ", ".join(str(list(m)) for m in sorted(maps))
            raise RefusedInput(f"{self.graph.source}: node {name!r} sums maps of shapes {listed}; expected one shape")
        own = self.graph.nodes.get(name)
        neurons = None if own is None or kind == "accumulator" else own.operation
        currents = int(isinstance(neurons, Neurons) and neurons.filters_current)
        self.found[name] = _Draft(kind, maps.pop() if maps else as_map(shape), projections, paths, currents)


def _latencies(paths: Mapping[str, tuple[tuple[str, int], ...]], source: str) -> dict[str, int]:
    """`latency(n) = max (0, latency(s) + steps)` over the paths (s, steps) of n."""
    try:
        return longest_paths(paths)
    except EndlessCycle as error:
        more = sum(max(steps for s, steps in paths[after] if s == before) for before, after in pairwise(error.cycle))
        raise RefusedInput(
            f"{source}: the cycle {error} takes {number(more, 'time step')} more on the chip than it is late; "
            "expected a Delay of as many more on it"
        ) from error
