"""A validated view of a NIR graph: nodes in topological order, shapes checked, neurons in time steps.

What is not understood is refused here, by name, so that nothing behind this module has to ask again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import nir

from neuromorphic.conversion import OPERATIONS
from neuromorphic.errors import RefusedInput, shown
from neuromorphic.limits import Size, check_names
from neuromorphic.metadata import GraphMetadata
from neuromorphic.operations import (
    Affine,
    Conv2d,
    Flatten,
    Lif,
    LoihiLif,
    MaxPool2d,
    Operation,
    Population,
    SelfAttention,
    Shape,
    Sink,
    Source,
    SumPool2d,
)
from neuromorphic.parameters import check_parameters, declared_shape

__all__ = [
    "Affine",
    "Conv2d",
    "Flatten",
    "Graph",
    "Lif",
    "LoihiLif",
    "MaxPool2d",
    "Node",
    "Operation",
    "Population",
    "SelfAttention",
    "Shape",
    "Sink",
    "Source",
    "SumPool2d",
    "from_nir",
]


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Attributes:
        name: its name in the file.
        operation: what it computes, with its parameters.
        sources: names of the nodes whose outputs it sums.
        input_shape: shape of that sum.
        shape: shape of its output, without time and batch.
    """

    name: str
    operation: Operation
    sources: tuple[str, ...]
    input_shape: Shape
    shape: Shape

    @property
    def spiking(self) -> bool:
        """Whether its output is a spike train."""
        return isinstance(self.operation, Population)


@dataclass(frozen=True)
class Graph:
    """A NIR graph, validated.

    Attributes:
        nodes: by name, in topological order: sources come before what reads them.
        input: name of the one input node.
        output: name of the one output node.
        metadata: what the exporter wrote of time, images, labels and grids.
        source: file that it was read from, for messages.
    """

    nodes: Mapping[str, Node]
    input: str
    output: str
    metadata: GraphMetadata
    source: str

    @property
    def populations(self) -> tuple[Node, ...]:
        """The spiking nodes, in topological order."""
        return tuple(node for node in self.nodes.values() if node.spiking)

    @property
    def precision(self) -> str:
        """`loihi2` where populations compute in the integers of the chip, else `float`."""
        return "loihi2" if any(isinstance(node.operation, LoihiLif) for node in self.populations) else "float"

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that have `name` among their sources."""
        return tuple(node for node in self.nodes.values() if name in node.sources)


def from_nir(graph: nir.NIRGraph, source: str | Path = "graph") -> Graph:
    """The validated view of `graph`.

    Args:
        graph: as `nir.read` returns it.
        source: named in messages.

    Raises:
        RefusedInput: more of anything than `limits` allows, an unknown node type, more or fewer than one input or
            output, a cycle, a node without input, shapes that don't fit, parameters that are no numbers, not finite or
            such as no neuron here has, attention to anything but the spikes of one population.
    """
    source = str(source)
    metadata = GraphMetadata.of(graph.metadata, source)
    check_names(graph.nodes, graph.edges, source)
    fan_in: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for before, after in graph.edges:
        for end in (before, after):
            if end not in fan_in:
                raise RefusedInput(f"{source}: an edge names node {shown(end)}, which the graph does not have")
        if before in fan_in[after]:
            raise RefusedInput(f"{source}: the edge {before!r} -> {after!r} stands twice; expected once")
        fan_in[after].append(before)
    nodes: dict[str, Node] = {}
    size = Size()
    for name in _topological(fan_in, source):
        node = _node(name, graph.nodes[name], tuple(sorted(fan_in[name])), nodes, metadata.dt, source)
        size.add(node.operation, (node.input_shape, node.shape), f"{source}: node {name!r}")
        size.pass_on(name, node.operation, node.sources, f"{source}: node {name!r}")
        nodes[name] = node
    size.check_steps(metadata.time_steps, source)
    ends = (_only(nodes, Source, "input", source), _only(nodes, Sink, "output", source))
    result = Graph(nodes, *ends, metadata, source)
    _check_readout(result)
    return result


def _topological(fan_in: dict[str, list[str]], source: str) -> list[str]:
    """Names with sources first; among those that are ready, alphabetically, since HDF5 keeps no order."""
    order: list[str] = []
    waiting = {name: set(before) for name, before in fan_in.items()}
    while waiting:
        ready = sorted(name for name, before in waiting.items() if not before)
        if not ready:
            raise RefusedInput(f"{source}: a cycle through {', '.join(sorted(waiting)[:4])}; expected none")
        order.extend(ready)
        for name in ready:
            del waiting[name]
        for before in waiting.values():
            before.difference_update(ready)
    return order


def _only(nodes: dict[str, Node], kind: type, word: str, source: str) -> str:
    found = [node.name for node in nodes.values() if isinstance(node.operation, kind)]
    if len(found) != 1:
        raise RefusedInput(f"{source}: {len(found)} {word} nodes ({', '.join(found[:4]) or 'none'}); expected one")
    return found[0]


def _node(
    name: str, node: nir.NIRNode, sources: tuple[str, ...], before: dict[str, Node], dt: float, source: str
) -> Node:
    where = f"{source}: node {name!r}"
    convert = OPERATIONS.get(type(node))
    if convert is None:
        known = ", ".join(kind.__name__ for kind in OPERATIONS)
        raise RefusedInput(f"{where} is of type {type(node).__name__}; expected one of {known}")
    if isinstance(node, nir.Input):
        if sources:
            raise RefusedInput(f"{where} is an input and has sources ({', '.join(sources[:4])}); expected none")
        shape = declared_shape(node.input_type["input"], where)
    else:
        if not sources:
            raise RefusedInput(f"{where} has no sources; expected at least one edge into it")
        shapes = {before[s].shape for s in sources}
        if len(shapes) != 1:
            listed = ", ".join(f"{s} {list(before[s].shape)}" for s in sources[:4])
            raise RefusedInput(f"{where} sums outputs of different shapes: {listed}")
        (shape,) = shapes
    check_parameters(node, where)
    operation, out = convert(node, shape, where, dt)
    if isinstance(operation, SelfAttention) and not (len(sources) == 1 and before[sources[0]].spiking):
        raise RefusedInput(
            f"{where} reads {' + '.join(sources[:4])}; expected one population, of which Q, K and V are thirds"
        )
    return Node(name, operation, sources, shape, out)


def _check_readout(graph: Graph) -> None:
    readout, classes = graph.metadata.readout, prod(graph.nodes[graph.output].shape)
    if readout is not None and readout.bias.size not in (0, classes):
        raise RefusedInput(
            f"{graph.source}: metadata readout has a bias of {readout.bias.size} numbers; its output has {classes}"
        )
    names = graph.metadata.label_names
    if len(names) not in (0, classes):
        raise RefusedInput(f"{graph.source}: metadata has {len(names)} label_names; its output has {classes}")
