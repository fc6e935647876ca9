"""Leaky integrators between synapses, as the currents of the neurons behind them.

    z += d (z_leak + r x - z)       v += d_v (v_leak + g (W z + b) - v)

The filter is linear and the same for all elements of x, so that it may as well stand behind W:

    i += d (W r x - i)              v += d_v (v_leak + g (b + W z_leak) + g i - v)

which is a CubaLIF whose current decays by d.  So Nengo's ensembles are written: neurons, decoders, a filter, encoders.
Around a cycle what leaves a filter is a step late (`analysis.recurrence`); then the spikes that it reads wait instead.
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
"""By population, the filters whose currents it sums."""


def unfiltered(graph: Graph) -> Graph:
    """`graph`, in which neurons filter their currents themselves, wherever all that one sums has passed such a filter.

    Other filters stay, and the chip refuses them.
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
        if _late_readers(graph, name):
            _hold_back(graph, nodes, name)
        _bypass(nodes, nodes[name], between | paths.keys())
    for name, filters in paths.items():
        node, decay = nodes[name], _decay(graph, filters)
        if isinstance(node.operation, Lif) and decay is not None:
            constant = arriving(graph.nodes[name], constants).reshape(node.shape)
            nodes[name] = replace(node, operation=_current_based(node.operation, decay, constant))
    return arranged(graph, nodes)


def _filtered(graph: Graph) -> Paths:
    """The populations that sum filtered currents only, all filtered alike, of filters that no others need."""
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
    """The filters that a population's currents have passed; none where some have passed none, or more than synapses."""
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
    """The linear nodes that lead to a population, from neurons, the input or anything else that is no synapse."""
    found = graph.before((population,), lambda node: isinstance(node.operation, Linear))
    return frozenset(name for name in found if isinstance(graph.nodes[name].operation, Linear))


def _decay(graph: Graph, filters: Iterable[str]) -> float | None:
    """Of all elements of all filters; None where they differ, or where one filters what another one has."""
    operations = [graph.nodes[name].operation for name in filters]
    decays = {float(d) for each in operations if isinstance(each, Li) for d in np.unique(each.decay)}
    sources = {source for name in filters for source in _sources(graph, name)}
    again = any(not isinstance(graph.nodes[s].operation, Source) and not graph.nodes[s].spiking for s in sources)
    possible = not again and all(_can_hold_back(graph, name) for name in filters)
    return decays.pop() if len(decays) == 1 and possible else None


def _late_readers(graph: Graph, name: str) -> set[str]:
    """Those that a filter's output reaches a step late."""
    return {reader.name for reader in graph.readers(name) if (name, reader.name) in graph.recurrent}


def _can_hold_back(graph: Graph, name: str) -> bool:
    """Whether what a filter reads can wait in place of what it sends, if that is late."""
    late = _late_readers(graph, name)
    if not late:
        return True
    before, operation = _between(graph, name), graph.nodes[name].operation
    own = all(reader.name in before | {name} for each in before for reader in graph.readers(each))
    biased = any(_biased(graph.nodes[each]) for each in before)  # a bias, or a leak, would begin a step early
    rests = isinstance(operation, Li) and not operation.leak.any()
    return own and rests and not biased and len(late) == len(graph.readers(name))


def _biased(node: Node) -> bool:
    return isinstance(node.operation, Linear) and bool(node.operation.bias_values.any())


def _hold_back(graph: Graph, nodes: dict[str, Node], name: str) -> None:
    """Have the spikes that a filter reads wait a step longer: a `Delay` breaks the cycle, so it counts all steps."""
    for reader in (name, *_between(graph, name)):
        for source in graph.nodes[reader].sources:
            node = nodes[source]
            if isinstance(node.operation, Linear):
                continue
            steps = 1 + int((source, reader) in graph.recurrent)
            late = f"{reader}.late.{source}"
            nodes[late] = Node(late, Delay(np.full(node.shape, steps)), (source,), node.shape, node.shape)
            sources = tuple(late if s == source else s for s in nodes[reader].sources)
            nodes[reader] = replace(nodes[reader], sources=sources)


def _sources(graph: Graph, name: str) -> set[str]:
    """What is no synapse of what a node reads, through synapses."""
    inside = _between(graph, name)
    return {source for each in (name, *inside) for source in graph.nodes[each].sources if source not in inside}


def _constants(graph: Graph, between: Iterable[str]) -> dict[str, Float64]:
    """What leaves nodes behind filters where nothing arrives at these: float64 `[1, *shape]`, filters included."""
    chosen, found = set(between), dict[str, Float64]()
    for name, node in graph.nodes.items():
        if isinstance(node.operation, Li):
            found[name] = np.broadcast_to(node.operation.leak.astype(np.float64), (1, *node.shape))
    for name, node in graph.nodes.items():
        if name in chosen and isinstance(node.operation, Linear):
            found[name] = node.operation.apply(arriving(node, found)[None], node.shapes)
    return found


def _bypass(nodes: dict[str, Node], node: Node, readers: Iterable[str]) -> None:
    """Have `readers` of a filter read a factor in its place; the filter stays where others read it."""
    name, factor = node.name, Scale(np.broadcast_to(node.of(Li).gain, node.shape))
    if any(node.name in other.sources for other in nodes.values() if other.name not in readers):
        name = unused(f"{node.name}.unfiltered", nodes)
        for reader in readers:
            sources = tuple(name if source == node.name else source for source in nodes[reader].sources)
            nodes[reader] = replace(nodes[reader], sources=sources)
    nodes[name] = replace(node, name=name, operation=factor)


def _current_based(lif: Lif, decay: float, constant: Float64) -> CubaLif:
    """A `Lif` that filters its current, and reads `constant` besides."""
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
