"""A validated view of a NIR graph: nodes in topological order, shapes checked, neurons in time steps.

What is not understood is refused here, by name, so that nothing behind this module has to ask again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import nir
import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.metadata import GraphMetadata

Floats = NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """`y = frame`: the graph's input, one frame per time step."""


@dataclass(frozen=True)
class Sink:
    """`y = Σ x`: the graph's output."""


@dataclass(frozen=True)
class Flatten:
    """`y = x.reshape(-1)`."""


@dataclass(frozen=True)
class SumPool2d:
    """`y[c, i, j] = Σ x[c, i s - p + m, j s - p + n]` over the kernel's m, n; outside the map x is 0.

    All three are (vertical, horizontal).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Conv2d:
    """`y[o, i, j] = b[o] + Σ w[o, c, m, n] x[c, i s - p + d m, j s - p + d n]` (cross-correlation, zero padding).

    NIR 1.0.8 cannot hold grouped kernels (its type check refuses them), so exporters write block-diagonal ones.  Here
    a kernel becomes the grouped convolution with the most groups that it equals: that is how it is computed, counted
    and placed.

    Attributes:
        weight: float32 `[out, in / groups, kernel height, kernel width]`.
        bias: float32 `[out]`.
        stride, padding, dilation: (vertical, horizontal).
        groups: of channels that don't see each other.
    """

    weight: Floats
    bias: Floats
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


@dataclass(frozen=True)
class Affine:
    """`y = W x + b`, W float32 `[out, in]`, b float32 `[out]`."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Lif:
    """`v += decay (gain x - v)`; a spike where `v > threshold`, strictly; then `v = 0` there.

    `decay = dt / tau` per time step; every attribute is float32 of the population's shape.
    """

    decay: Floats
    gain: Floats
    threshold: Floats


Operation = Source | Sink | Flatten | SumPool2d | Conv2d | Affine | Lif


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
        return isinstance(self.operation, Lif)


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

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that have `name` among their sources."""
        return tuple(node for node in self.nodes.values() if name in node.sources)


def from_nir(graph: nir.NIRGraph, source: str | Path = "graph") -> Graph:
    """The validated view of `graph`.

    Args:
        graph: as `nir.read` returns it.
        source: named in messages.

    Raises:
        RefusedInput: an unknown node type, more or fewer than one input or output, a cycle, a node without input,
            shapes that don't fit, parameters that are not finite or that no neuron here has.
    """
    source = str(source)
    metadata = GraphMetadata.of(graph.metadata, source)
    fan_in: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for before, after in graph.edges:
        for end in (before, after):
            if end not in fan_in:
                raise RefusedInput(f"{source}: an edge names node {end!r}, which the graph does not have")
        if before in fan_in[after]:
            raise RefusedInput(f"{source}: the edge {before!r} -> {after!r} stands twice; expected once")
        fan_in[after].append(before)
    nodes: dict[str, Node] = {}
    for name in _topological(fan_in, source):
        nodes[name] = _node(name, graph.nodes[name], tuple(sorted(fan_in[name])), nodes, metadata.dt, source)
    return Graph(nodes, _only(nodes, Source, "input", source), _only(nodes, Sink, "output", source), metadata, source)


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
        raise RefusedInput(f"{source}: {len(found)} {word} nodes ({', '.join(found) or 'none'}); expected one")
    return found[0]


def _node(
    name: str, node: nir.NIRNode, sources: tuple[str, ...], before: dict[str, Node], dt: float, source: str
) -> Node:
    where = f"{source}: node {name!r}"
    convert = _OPERATIONS.get(type(node))
    if convert is None:
        known = ", ".join(kind.__name__ for kind in _OPERATIONS)
        raise RefusedInput(f"{where} is of type {type(node).__name__}; expected one of {known}")
    if isinstance(node, nir.Input):
        if sources:
            raise RefusedInput(f"{where} is an input and has sources ({', '.join(sources)}); expected none")
        shape = tuple(int(n) for n in np.atleast_1d(node.input_type["input"]))
    else:
        if not sources:
            raise RefusedInput(f"{where} has no sources; expected at least one edge into it")
        shapes = {before[s].shape for s in sources}
        if len(shapes) != 1:
            listed = ", ".join(f"{s} {list(before[s].shape)}" for s in sources)
            raise RefusedInput(f"{where} sums outputs of different shapes: {listed}")
        (shape,) = shapes
    operation, out = convert(node, shape, where, dt)
    return Node(name, operation, sources, shape, out)


def _finite(array: NDArray[np.float32], what: str, where: str) -> Floats:
    result = np.asarray(array, dtype=np.float32)
    if not np.isfinite(result).all():
        raise RefusedInput(f"{where}: {what} holds values that are not finite")
    return result


def _pair(value: object, what: str, where: str, least: int) -> tuple[int, int]:
    numbers = np.atleast_1d(np.asarray(value))
    if numbers.size not in (1, 2) or not np.issubdtype(numbers.dtype, np.integer) or numbers.min() < least:
        raise RefusedInput(f"{where}: {what} is {value!r}; expected one or two integers of at least {least}")
    return int(numbers[0]), int(numbers[-1])


def _window(
    shape: Shape, kernel: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int], where: str
) -> tuple[int, int]:
    """Height and width that a kernel's windows leave of a `[C, H, W]` map."""
    height, width = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True))
    if height < 1 or width < 1:
        raise RefusedInput(f"{where}: a kernel of {list(kernel)} does not fit its input {list(shape)}")
    return height, width


def _map_shape(shape: Shape, where: str) -> Shape:
    if len(shape) != 3:
        raise RefusedInput(f"{where}: its input has the shape {list(shape)}; expected [C, H, W]")
    return shape


def _convert_input(node: nir.Input, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    if not shape or min(shape) < 1:
        raise RefusedInput(f"{where}: input shape is {list(shape)}; expected positive sizes")
    return Source(), shape


def _convert_output(node: nir.Output, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    declared = tuple(int(n) for n in np.atleast_1d(node.output_type["output"]))
    if declared != shape:
        raise RefusedInput(f"{where} declares the shape {list(declared)}; its input has {list(shape)}")
    return Sink(), shape


def _convert_flatten(node: nir.Flatten, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    end = node.end_dim % len(shape)
    if node.start_dim != 0 or end != len(shape) - 1:
        raise RefusedInput(
            f"{where} flattens dimensions {node.start_dim} to {node.end_dim} of {list(shape)}; expected all of them"
        )
    return Flatten(), (int(np.prod(shape)),)


def _convert_sum_pool(node: nir.SumPool2d, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    channels = _map_shape(shape, where)[0]
    pool = SumPool2d(
        _pair(node.kernel_size, "kernel_size", where, 1),
        _pair(node.stride, "stride", where, 1),
        _pair(node.padding, "padding", where, 0),
    )
    return pool, (channels, *_window(shape, pool.kernel, pool.stride, pool.padding, where))


def _convert_conv(node: nir.Conv2d, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    channels = _map_shape(shape, where)[0]
    weight = _finite(node.weight, "weight", where)
    if weight.ndim != 4 or min(weight.shape) < 1:
        raise RefusedInput(f"{where}: weight has the shape {list(weight.shape)}; expected [out, in, height, width]")
    bias = _finite(node.bias, "bias", where)
    if bias.shape != weight.shape[:1]:
        raise RefusedInput(f"{where}: bias has the shape {list(bias.shape)}; expected {list(weight.shape[:1])}")
    stride = _pair(node.stride, "stride", where, 1)
    dilation = _pair(node.dilation, "dilation", where, 1)
    kernel = tuple(d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True))
    padding = _conv_padding(node.padding, stride, kernel, where)
    if node.groups != 1:
        raise RefusedInput(f"{where} has {node.groups} groups; expected 1 with a block-diagonal kernel")
    if weight.shape[1] != channels:
        raise RefusedInput(f"{where}: its weight reads {weight.shape[1]} channels; its input has {channels}")
    groups = block_diagonal_groups(weight)
    grouped = _diagonal_blocks(weight, groups)
    conv = Conv2d(grouped, bias, stride, padding, dilation, groups)
    return conv, (len(weight), *_window(shape, kernel, stride, padding, where))


def _conv_padding(padding: object, stride: tuple[int, int], kernel: tuple[int, ...], where: str) -> tuple[int, int]:
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0
        if padding == "same" and stride == (1, 1) and all(k % 2 for k in kernel):
            return kernel[0] // 2, kernel[1] // 2
        raise RefusedInput(
            f"{where}: padding {padding!r} with kernel {list(kernel)}, stride {list(stride)}; expected numbers"
        )
    return _pair(padding, "padding", where, 0)


def _convert_affine(node: nir.Affine | nir.Linear, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    weight = _finite(node.weight, "weight", where)
    if weight.ndim != 2 or (weight.shape[1],) != shape:
        raise RefusedInput(f"{where}: weight has the shape {list(weight.shape)}; its input has {list(shape)}")
    bias = _finite(node.bias, "bias", where) if isinstance(node, nir.Affine) else np.zeros(len(weight), np.float32)
    if bias.shape != weight.shape[:1]:
        raise RefusedInput(f"{where}: bias has the shape {list(bias.shape)}; expected {list(weight.shape[:1])}")
    return Affine(weight, bias), (len(weight),)


def _convert_lif(node: nir.LIF, shape: Shape, where: str, dt: float) -> tuple[Operation, Shape]:
    values: dict[str, Floats] = {}
    for key in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        value = _finite(getattr(node, key), key, where)
        if value.size != 1 and value.shape != shape:
            raise RefusedInput(f"{where}: {key} has the shape {list(value.shape)}; expected {list(shape)}")
        values[key] = np.broadcast_to(value.reshape(()) if value.size == 1 else value, shape)
    for key in ("v_leak", "v_reset"):
        if values[key].any():
            raise RefusedInput(
                f"{where}: {key} is {values[key].flat[0]}; expected 0, since Lava's neurons rest and reset at 0"
            )
    if values["tau"].min() < np.float32(dt):
        raise RefusedInput(f"{where}: tau is {values['tau'].min()} s; expected at least dt = {dt} s")
    if values["v_threshold"].min() < 0:
        raise RefusedInput(f"{where}: v_threshold is {values['v_threshold'].min()}; expected 0 or more")
    # In float32, as the file holds them: 2e-4 / 1e-4 is exactly 2 there, and 1 / 2 exactly 0.5.
    steps = values["tau"] / np.float32(dt)
    return Lif(np.float32(1) / steps, values["r"], values["v_threshold"]), shape


_OPERATIONS: dict[type, Callable[..., tuple[Operation, Shape]]] = {
    nir.Input: _convert_input,
    nir.Output: _convert_output,
    nir.Flatten: _convert_flatten,
    nir.SumPool2d: _convert_sum_pool,
    nir.Conv2d: _convert_conv,
    nir.Affine: _convert_affine,
    nir.Linear: _convert_affine,
    nir.LIF: _convert_lif,
}


def block_diagonal_groups(weight: Floats) -> int:
    """The most groups g such that `weight`, `[out, in, ...]`, is zero outside g diagonal blocks and in none of them.

    1 for a kernel without structure, and for one with an all-zero block: zeros alone are no structure.
    """
    connected = np.abs(weight).reshape(*weight.shape[:2], -1).max(2) > 0
    out_channels, in_channels = connected.shape
    most = gcd(out_channels, in_channels)
    for groups in range(most, 1, -1):
        if most % groups:
            continue
        blocks = connected.reshape(groups, out_channels // groups, groups, in_channels // groups).any((1, 3))
        if blocks.diagonal().all() and blocks.sum() == groups:
            return groups
    return 1


def _diagonal_blocks(weight: Floats, groups: int) -> Floats:
    out_channels, in_channels = weight.shape[0] // groups, weight.shape[1] // groups
    blocks = [
        weight[g * out_channels : (g + 1) * out_channels, g * in_channels : (g + 1) * in_channels]
        for g in range(groups)
    ]
    return np.concatenate(blocks)
