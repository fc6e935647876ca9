"""Streams: currents that are summed with each other, so that on the chip they share a unit λ: `x = λ · integer`.

A stream begins where spikes or frames pass synapses, and ends at the populations that read it.  A residual stream has
several branches and several readers.  On the chip synapses read spikes only.  Nodes that no population follows run on
the host.
"""

from dataclasses import dataclass

from neuromorphic.analysis.facts import wiring_fact
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Delay, Population, Sink, Source, Stateless


@dataclass(frozen=True)
class Stream:
    """Currents that share a unit.

    Attributes:
        synapses: nodes whose weights make its currents, in topological order: Conv1d, Conv2d, Affine, Scale,
            SelfAttention, and SumPool2d where it sums spikes.
        passing: nodes that pass currents on in the same unit: maxima, delays and sums of currents, factors of 1.
        direct: edges of spikes without a node of synapses, which get synapses of weight 1, as (source, reader).
        populations: the populations that read it, in topological order.
    """

    synapses: tuple[str, ...]
    passing: tuple[str, ...]
    direct: tuple[tuple[str, str], ...]
    populations: tuple[str, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes that share its unit."""
        return (*self.synapses, *self.passing, *self.populations)


@wiring_fact
def host_nodes(graph: Graph) -> frozenset[str]:
    """Names of the nodes that run on the host, the readout: those that no population follows.

    Synapses whose currents join a stream that populations read are not among them, even if only the readout follows
    them, as in the last branch of a residual stream: they share its unit, and are on the chip.
    """
    carriers = spike_carriers(graph)
    shared = {
        node.name
        for nodes in _groups(graph, carriers)
        if any(node.spiking for node in nodes)
        for node in nodes
        if weighs(node, carriers) and all(source in carriers for source in node.sources)
    }
    before = graph.before((node.name for node in graph.populations), lambda node: True)
    return frozenset(n.name for n in graph.nodes.values() if not n.spiking and n.name not in before) - shared


@wiring_fact
def spike_carriers(graph: Graph) -> frozenset[str]:
    """Names of the nodes whose outputs are spikes or frames that no synapse has weighted, delayed ones included."""
    kinds = Population | Source | Delay
    found = {node.name for node in graph.nodes.values() if isinstance(node.operation, kinds)}
    delays = [graph.nodes[name] for name in found if isinstance(graph.nodes[name].operation, Delay)]
    while odd := [node.name for node in delays if node.name in found and not found.issuperset(node.sources)]:
        found.difference_update(odd)
    return frozenset(found)


@wiring_fact
def streams(graph: Graph) -> tuple[Stream, ...]:
    """The streams of `graph` that populations read, ordered by their first population.

    Raises:
        RefusedInput: a synapse reads currents, by name.
    """
    host, carriers = host_nodes(graph), spike_carriers(graph)
    for node in graph.nodes.values():
        currents = [source for source in node.sources if source not in carriers]
        if currents and node.name not in host and weighs(node, carriers):
            raise RefusedInput(
                f"node {node.name!r} reads the currents of {' + '.join(currents)}; on the chip synapses read spikes, "
                "expected neurons between the two, or one node of their product"
            )
    result = [_stream(nodes, host, carriers) for nodes in _groups(graph, carriers)]
    order = {name: i for i, name in enumerate(graph.nodes)}
    return tuple(sorted((s for s in result if s.populations), key=lambda s: order[s.populations[0]]))


def _groups(graph: Graph, carriers: frozenset[str]) -> list[list[Node]]:
    """Groups of nodes whose currents are summed with each other; a population is in the group that it reads."""
    joined = [node for node in graph.nodes.values() if node.spiking or node.name not in carriers]
    parent = {node.name: node.name for node in joined}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in joined:
        if not weighs(node, carriers):
            for source in node.sources:
                if source not in carriers:
                    parent[root(source)] = root(node.name)
    found: dict[str, list[Node]] = {}
    for name in parent:
        found.setdefault(root(name), []).append(graph.nodes[name])
    return list(found.values())


def weighs(node: Node, carriers: frozenset[str]) -> bool:
    """Whether a node is synapses on the chip; else its currents are sums or maxima of other currents."""
    operation = node.operation
    if not isinstance(operation, Stateless) or operation.weighs == "never":
        return False
    return operation.weighs == "always" or all(source in carriers for source in node.sources)


def _stream(nodes: list[Node], host: frozenset[str], carriers: frozenset[str]) -> Stream:
    chip = [node for node in nodes if node.name not in host and not isinstance(node.operation, Source | Sink)]
    synapses = [node for node in chip if weighs(node, carriers)]
    rest = [node for node in chip if not weighs(node, carriers)]
    passing = [node for node in rest if not node.spiking]
    return Stream(
        tuple(node.name for node in synapses),
        tuple(node.name for node in passing),
        tuple((s, node.name) for node in rest for s in node.sources if s in carriers),
        tuple(node.name for node in rest if node.spiking),
    )
