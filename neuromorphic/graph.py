"""A validated view of a NIR graph: nodes in topological order, shapes checked, neurons in time steps.

What is not understood is refused here, by name, so that nothing behind this module has to ask again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import nir

from neuromorphic.conversion import NEURONS, OPERATIONS
from neuromorphic.errors import RefusedInput
from neuromorphic.limits import Size
from neuromorphic.metadata import GraphMetadata
from neuromorphic.nesting import Passage, flat
from neuromorphic.operations import (
    Affine,
    Conv1d,
    Conv2d,
    CubaLi,
    CubaLif,
    Delay,
    Flatten,
    If,
    Integrator,
    Li,
    Lif,
    Linear,
    LoihiLif,
    MaxPool2d,
    Membranes,
    Operation,
    Population,
    Scale,
    SelfAttention,
    Shape,
    Sink,
    Source,
    SumPool2d,
    Threshold,
)
from neuromorphic.parameters import check_parameters, declared_shape, without_batch
from neuromorphic.quantities import delay_steps
from neuromorphic.recurrence import dependencies, flattening_order, recurrent_edges

__all__ = [
    "Affine",
    "Conv1d",
    "Conv2d",
    "CubaLi",
    "CubaLif",
    "Delay",
    "Flatten",
    "Graph",
    "If",
    "Integrator",
    "Li",
    "Lif",
    "Linear",
    "LoihiLif",
    "MaxPool2d",
    "Membranes",
    "Node",
    "Operation",
    "Population",
    "Scale",
    "SelfAttention",
    "Shape",
    "Sink",
    "Source",
    "SumPool2d",
    "Threshold",
    "arranged",
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

    @property
    def neurons(self) -> bool:
        """Whether it is made of neurons: populations, and membranes that are its output."""
        return isinstance(self.operation, Population | Membranes)


def in_one_row(node: Node, conv: Conv1d) -> tuple[Node, Conv2d]:
    """The node of a `Conv1d` as that of the `Conv2d` of maps `[C, 1, N]` that it is, and this convolution."""
    weight = conv.weight[:, :, None]
    flat_map = Conv2d(weight, conv.bias, (1, conv.stride), (0, conv.padding), (1, conv.dilation), conv.groups)
    (channels, size), (out_channels, out_size) = node.input_shape, node.shape
    return Node(node.name, flat_map, node.sources, (channels, 1, size), (out_channels, 1, out_size)), flat_map


@dataclass(frozen=True)
class Graph:
    """A NIR graph, validated.

    Attributes:
        nodes: by name, in topological order: sources come before what reads them in the same step.
        input: name of the one input node.
        output: name of the one output node.
        metadata: what the exporter wrote of time, images, labels and grids.
        source: file that it was read from, for messages.
        recurrent: edges on cycles that deliver a step later, as (neuron, reader), flattening looked through
            (`recurrence`).
    """

    nodes: Mapping[str, Node]
    input: str
    output: str
    metadata: GraphMetadata
    source: str
    recurrent: frozenset[tuple[str, str]] = frozenset()

    @property
    def populations(self) -> tuple[Node, ...]:
        """The spiking nodes, in topological order."""
        return tuple(node for node in self.nodes.values() if node.spiking)

    @property
    def precision(self) -> str:
        """`loihi2` where populations compute in the integers of the chip, else `float`."""
        return "loihi2" if any(isinstance(node.operation, LoihiLif) for node in self.populations) else "float"

    def lag(self, source: str, reader: str) -> int:
        """`reader` sums at step t what `source` sent at step `t - lag` of an image; flattening looked through."""
        operation = self.nodes[reader].operation
        own = operation.lag if isinstance(operation, Delay) else 0
        return own + int((source, reader) in self.recurrent)

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that have `name` among their sources."""
        return tuple(node for node in self.nodes.values() if name in node.sources)


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
