"""Leaky integrators between synapses become the synaptic currents of the neurons behind them.

    z += d (z_leak + r x - z)       v += d_v (v_leak + g (W z + b) - v)

The filter is linear and the same for all elements of x, so it can act behind W as well:

    i += d (W r x - i)              v += d_v (v_leak + g (b + W z_leak) + g i - v)

This is a CubaLIF whose current decays by d.  Nengo writes its ensembles so: neurons, decoders, a filter, encoders.
On a cycle, the output of a filter can arrive in the next time step (`analysis.recurrence`); then the spikes that the
filter reads are delayed by that step instead.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from neuromorphic.analysis.biases import arriving
from neuromorphic.analysis.order import arranged
from neuromorphic.analysis.streams import host_nodes
from neuromorphic.ir.graph import Graph, Node, unused
from neuromorphic.ops import CubaLif, Delay, Float64, Li, Lif, Linear, Scale, Source, Weighted

Paths = Mapping[str, frozenset[str]]
"""By population, the names of the filters whose outputs reach it through synapses."""


def unfiltered(graph: Graph) -> Graph:
    """`graph`, in which neurons filter their own currents, where all that a population sums has passed such a filter.

    Other filters stay, and are refused later.
    """
    paths = _filtered(graph)
    if not paths:
        return graph
    between = {name for population in paths for name in _between(graph, population)}
    constants = _constants(graph, between)
    nodes = dict(graph.nodes)
    for name in between:
        operation = nodes[name].operation
        if isinstance(operation, Weighted):
            nodes[name] = replace(nodes[name], operation=operation.unbiased())
    for name in {each for filters in paths.values() for each in filters}:
        if _recurrent_readers(graph, name):
            _delay_inputs(graph, nodes, name)
        _bypass(nodes, nodes[name], between | paths.keys())
    for name, filters in paths.items():
        node, decay = nodes[name], _decay(graph, filters)
        if isinstance(node.operation, Lif) and decay is not None:
            constant = arriving(graph.nodes[name], constants).reshape(node.shape)
            nodes[name] = replace(node, operation=_current_based(node.operation, decay, constant))
    return arranged(graph, nodes)


def _filtered(graph: Graph) -> Paths:
    """The populations that sum filtered currents only, of one decay, from filters that they and the host alone read."""
    host = host_nodes(graph)
    found = {node.name: _filters(graph, node.name) for node in graph.populations if isinstance(node.operation, Lif)}
    paths = {name: filters for name, filters in found.items() if filters and _decay(graph, filters) is not None}
    while paths:
        inside = {name for population in paths for name in _between(graph, population)}
        allowed = inside | paths.keys()
        shared = {n for n in inside if not allowed.issuperset(graph.edges_from[n])}
        shared |= {
            name
            for filters in paths.values()
            for name in filters
            if not (allowed | host).issuperset(graph.edges_from[name])
        }
        left = {n: f for n, f in paths.items() if shared.isdisjoint(f) and shared.isdisjoint(_between(graph, n))}
        if len(left) == len(paths):
            return paths
        paths = left
    return {}


def _filters(graph: Graph, population: str) -> frozenset[str]:
    """The filters that all currents of a population have passed; none where some current has passed no filter."""
    found: set[str] = set()
    inside = _between(graph, population)
    for name in (population, *inside):
        for source in graph.nodes[name].sources:
            if isinstance(graph.nodes[source].operation, Li):
                found.add(source)
            elif source not in inside:
                return frozenset()
    return frozenset(found)


def _between(graph: Graph, population: str) -> frozenset[str]:
    """The linear nodes on the paths to a population, as far back as the first node that isn't linear."""
    found = graph.before((population,), lambda node: isinstance(node.operation, Linear))
    return frozenset(name for name in found if isinstance(graph.nodes[name].operation, Linear))


def _decay(graph: Graph, filters: Iterable[str]) -> float | None:
    """The decay that all filters have; None where they can't become currents.

    They can't where they have several decays, where one filters the output of another, or where delayed inputs can't
    replace a recurrent output.
    """
    operations = [graph.nodes[name].operation for name in filters]
    decays = {float(d) for each in operations if isinstance(each, Li) for d in np.unique(each.decay)}
    sources = {source for name in filters for source in _sources(graph, name)}
    again = any(not isinstance(graph.nodes[s].operation, Source) and not graph.nodes[s].spiking for s in sources)
    possible = not again and all(_can_delay_inputs(graph, name) for name in filters)
    return decays.pop() if len(decays) == 1 and possible else None


def _recurrent_readers(graph: Graph, name: str) -> set[str]:
    """The nodes that the output of a filter reaches along recurrent edges, in the next time step."""
    return {reader.name for reader in graph.readers(name) if (name, reader.name) in graph.recurrent}


def _can_delay_inputs(graph: Graph, name: str) -> bool:
    """Whether delaying the inputs of a filter equals delaying its output, where that has recurrent edges."""
    recurrent = _recurrent_readers(graph, name)
    if not recurrent:
        return True
    before, operation = _between(graph, name), graph.nodes[name].operation
    own = all((before | {name}).issuperset(graph.edges_from[each]) for each in before)
    biased = any(_biased(graph.nodes[each]) for each in before)  # a bias, or a leak, would begin a step early
    rests = isinstance(operation, Li) and not operation.leak.any()
    return own and rests and not biased and len(recurrent) == len(graph.readers(name))


def _biased(node: Node) -> bool:
    return isinstance(node.operation, Linear) and bool(node.operation.bias_values.any())


def _delay_inputs(graph: Graph, nodes: dict[str, Node], name: str) -> None:
    """Put a `Delay` behind every source of spikes that a filter reads, of one step more than the edge itself takes.

    The `Delay` breaks the cycle, after which no edge on it is recurrent: so it has to wait that edge's step, too.
    """
    for reader in (name, *_between(graph, name)):
        for source in graph.nodes[reader].sources:
            node = nodes[source]
            if isinstance(node.operation, Linear):
                continue
            steps = 1 + int((source, reader) in graph.recurrent)
            delayed = f"{reader}.delayed.{source}"
            nodes[delayed] = Node(delayed, Delay(np.full(node.shape, steps)), (source,), node.shape, node.shape)
            sources = tuple(delayed if s == source else s for s in nodes[reader].sources)
            nodes[reader] = replace(nodes[reader], sources=sources)


def _sources(graph: Graph, name: str) -> set[str]:
    """The first nodes that aren't linear on the paths back from a node."""
    inside = _between(graph, name)
    return {source for each in (name, *inside) for source in graph.nodes[each].sources if source not in inside}


def _constants(graph: Graph, between: Iterable[str]) -> dict[str, Float64]:
    """Outputs at rest of filters, and of the nodes `between` them and populations: float64 `[1, *shape]` by name."""
    chosen, found = set(between), dict[str, Float64]()
    for name, node in graph.nodes.items():
        if isinstance(node.operation, Li):
            found[name] = np.broadcast_to(node.operation.leak.astype(np.float64), (1, *node.shape))
    for name, node in graph.nodes.items():
        if name in chosen and isinstance(node.operation, Linear):
            found[name] = node.operation.apply(arriving(node, found)[None], node.shapes)
    return found


def _bypass(nodes: dict[str, Node], node: Node, readers: Iterable[str]) -> None:
    """Have the `readers` of a filter read its gain, a `Scale`, instead; the filter stays where others read it, too."""
    name, factor = node.name, Scale(np.broadcast_to(node.of(Li).gain, node.shape))
    if any(node.name in other.sources for other in nodes.values() if other.name not in readers):
        name = unused(f"{node.name}.unfiltered", nodes)
        for reader in readers:
            sources = tuple(name if source == node.name else source for source in nodes[reader].sources)
            nodes[reader] = replace(nodes[reader], sources=sources)
    nodes[name] = replace(node, name=name, operation=factor)


def _current_based(lif: Lif, decay: float, constant: Float64) -> CubaLif:
    """A `Lif` as a `CubaLif` that filters its current by `decay`, and reads `constant` besides, in its leak."""
    shape = lif.threshold.shape
    return CubaLif(
        current_decay=np.full(shape, decay, np.float32),
        weight=np.ones(shape, np.float32),
        decay=lif.decay,
        gain=lif.gain,
        leak=(lif.leak + lif.gain * constant).astype(np.float32),
        threshold=lif.threshold,
        reset=lif.reset,
        subtracts=lif.subtracts,
    )
