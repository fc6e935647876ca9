"""A validated view of a NIR graph: nodes in topological order, shapes checked, neurons in time steps.

What is not understood is refused here, by name, so that nothing behind this module has to ask again.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path

import nir

from neuromorphic.analysis.recurrence import dependencies, flattening_order, recurrent_edges
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ops.conversion import NEURONS, OPERATIONS
from neuromorphic.ops.operations import (
    Delay,
    Flatten,
    SelfAttention,
    Shape,
    Sink,
    Source,
)
from neuromorphic.ops.quantities import delay_steps
from neuromorphic.reading.limits import Size
from neuromorphic.reading.nesting import Passage, flat
from neuromorphic.reading.parameters import check_parameters, declared_shape, without_batch


def from_nir(graph: nir.NIRGraph, source: str | Path = "graph", dt: float | None = None) -> Graph:
    """The validated view of `graph`.

    Args:
        graph: as `nir.read` returns it; graphs within it are made flat.
        source: named in messages.
        dt: seconds per time step, where the file doesn't say.

    Raises:
        RefusedInput: more of anything than `limits` allows, an unknown node type, more or fewer than one input or
            output, an output that is read, a cycle without a neuron, a node without input, shapes that don't fit,
            parameters that are no numbers, not finite or such as no neuron here has, attention to anything but the
            spikes of one population, a dt that the file contradicts.
    """
    source = str(source)
    metadata = GraphMetadata.of(graph.metadata, source, dt)
    found, edges = flat(graph, source)
    fan_in: dict[str, list[str]] = {name: [] for name in found}
    for before, after in edges:
        fan_in[after].append(before)
    passes = {name for name, node in found.items() if isinstance(node, nir.Flatten | Passage)}.__contains__
    neuron = {name for name, node in found.items() if isinstance(node, NEURONS)}.__contains__
    waits = {name for name, node in found.items() if _waits(node, metadata.dt, source, name)}.__contains__
    size = Size()
    for name in flattening_order(fan_in, passes, source):
        size.pass_on(name, Flatten(), fan_in[name], f"{source}: node {name!r}")
    for name in fan_in:
        if not passes(name):
            size.pass_on(name, Sink(), fan_in[name], f"{source}: node {name!r}")
    recurrent = recurrent_edges(fan_in, neuron, passes, waits, source)
    order = _topological(dependencies(fan_in, recurrent, passes, waits))
    nodes = _nodes(order, found, fan_in, metadata.dt, size, source)
    size.check_steps(metadata.time_steps, source)
    ends = (_only(nodes, Source, "input", source), _only(nodes, Sink, "output", source))
    if beyond := sorted(name for name, node in nodes.items() if ends[1] in node.sources):
        raise RefusedInput(f"{source}: node {beyond[0]!r} reads the output {ends[1]!r}; expected the end of the graph")
    result = Graph(nodes, *ends, metadata, source, recurrent)
    _check_readout(result)
    return result


def arranged(graph: Graph, nodes: Mapping[str, Node]) -> Graph:
    """`graph` with other nodes, in topological order, and with the recurrent edges that these have.

    Args:
        graph: any validated graph.
        nodes: by name, in any order; sources and shapes have to fit.
    """
    fan_in = {name: list(node.sources) for name, node in nodes.items()}
    passes = {name for name, node in nodes.items() if isinstance(node.operation, Flatten)}.__contains__
    neuron = {name for name, node in nodes.items() if node.neurons}.__contains__
    late = {name for name, node in nodes.items() if isinstance(node.operation, Delay) and node.operation.lag}
    recurrent = recurrent_edges(fan_in, neuron, passes, late.__contains__, graph.source)
    order = _topological(dependencies(fan_in, recurrent, passes, late.__contains__))
    return replace(graph, nodes={name: nodes[name] for name in order}, recurrent=recurrent)


def _waits(node: nir.NIRNode | Passage, dt: float, source: str, name: str) -> bool:
    if not isinstance(node, nir.Delay):
        return False
    check_parameters(node, f"{source}: node {name!r}")
    return bool(delay_steps(node.delay, dt, f"{source}: node {name!r}").min() > 0)


def _topological(needed: dict[str, set[str]]) -> list[str]:
    """Names with sources first; among those that are ready, alphabetically, since HDF5 keeps no order."""
    order: list[str] = []
    waiting = {name: set(before) for name, before in needed.items()}
    while waiting:
        ready = sorted(name for name, before in waiting.items() if not before)
        order.extend(ready)
        for name in ready:
            del waiting[name]
        for before in waiting.values():
            before.difference_update(ready)
    return order


def _nodes(
    order: list[str],
    found: Mapping[str, nir.NIRNode | Passage],
    fan_in: Mapping[str, list[str]],
    dt: float,
    size: Size,
    source: str,
) -> dict[str, Node]:
    """The nodes in that order.  On a cycle, the first source whose shape is known gives a node its shape."""
    nodes: dict[str, Node] = {}
    readers: dict[str, list[nir.NIRNode | Passage]] = {name: [] for name in found}
    for reader, sources in fan_in.items():
        for before in sources:
            readers[before].append(found[reader])
    waiting = list(order)
    while waiting:
        known = (n for n in waiting if not fan_in[n] or any(s in nodes for s in fan_in[n]))
        name = next(known, None)
        if name is None:
            raise RefusedInput(f"{source}: no input leads to {', '.join(sorted(waiting)[:4])}; expected one")
        waiting.remove(name)
        node = _node(name, found[name], tuple(sorted(fan_in[name])), readers[name], nodes, dt, source)
        size.add(node.operation, (node.input_shape, node.shape), f"{source}: node {name!r}")
        nodes[name] = node
    for node in nodes.values():
        _sum_shape(node.sources, nodes, f"{source}: node {node.name!r}")
        if isinstance(node.operation, SelfAttention) and not (
            len(node.sources) == 1 and nodes[node.sources[0]].spiking
        ):
            raise RefusedInput(
                f"{source}: node {node.name!r} reads {' + '.join(node.sources[:4])}; expected one population, of which "
                "Q, K and V are thirds"
            )
    return {name: nodes[name] for name in order}


def _only(nodes: dict[str, Node], kind: type, word: str, source: str) -> str:
    found = [node.name for node in nodes.values() if isinstance(node.operation, kind)]
    if len(found) != 1:
        raise RefusedInput(f"{source}: {len(found)} {word} nodes ({', '.join(found[:4]) or 'none'}); expected one")
    return found[0]


def _node(
    name: str,
    node: nir.NIRNode | Passage,
    sources: tuple[str, ...],
    readers: list[nir.NIRNode | Passage],
    before: dict[str, Node],
    dt: float,
    source: str,
) -> Node:
    where = f"{source}: node {name!r}"
    convert = OPERATIONS.get(type(node))
    if convert is None:
        known = ", ".join(kind.__name__ for kind in OPERATIONS if kind is not Passage)
        raise RefusedInput(f"{where} is of type {type(node).__name__}; expected one of {known}")
    if isinstance(node, nir.Input):
        if sources:
            raise RefusedInput(f"{where} is an input and has sources ({', '.join(sources[:4])}); expected none")
        shape = without_batch(declared_shape(node.input_type["input"], where), readers)
    else:
        if not sources:
            raise RefusedInput(f"{where} has no sources; expected at least one edge into it")
        shape = _sum_shape(tuple(s for s in sources if s in before), before, where)
    if not isinstance(node, Passage):
        check_parameters(node, where)
    operation, out = convert(node, shape, where, dt)
    return Node(name, operation, sources, shape, out)


def _sum_shape(sources: tuple[str, ...], nodes: dict[str, Node], where: str) -> Shape:
    shapes = {nodes[s].shape for s in sources}
    if len(shapes) > 1:
        listed = ", ".join(f"{s} {list(nodes[s].shape)}" for s in sources[:4])
        raise RefusedInput(f"{where} sums outputs of different shapes: {listed}")
    return shapes.pop() if shapes else ()


def _check_readout(graph: Graph) -> None:
    readout, classes = graph.metadata.readout, prod(graph.nodes[graph.output].shape)
    if readout is not None and readout.bias.size not in (0, classes):
        raise RefusedInput(
            f"{graph.source}: metadata readout has a bias of {readout.bias.size} numbers; its output has {classes}"
        )
    names = graph.metadata.label_names
    if len(names) not in (0, classes):
        raise RefusedInput(f"{graph.source}: metadata has {len(names)} label_names; its output has {classes}")
