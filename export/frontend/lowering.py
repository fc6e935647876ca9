"""Lowering: the nodes in the making that the output depends on, as nodes of NIR, each with a name of its own.

A node is named after the module that computes it.  Nodes that it needs before its own are named below it:
`stem.pool.sum` counts the spikes that the gate `stem.pool` then compares.  Additions become several edges into one
node, since NIR sums what arrives there.
"""

from dataclasses import dataclass, field, replace
from typing import assert_never

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import (
    Attention,
    Both,
    ButNot,
    Frames,
    MaxWindows,
    Node,
    Or,
    Pair,
    Population,
    Relay,
    Scaled,
    SumWindows,
    Weighted,
    Window,
)
from export.frontend.populations import add_population
from export.frontend.signals import Signal
from export.populations import AND_STEPS, and_gate, or_gate, population
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from spikeclip.errors import RefusedInput

LARGEST_KERNEL = 2**28
"""Weights of one node at most: NIR holds grouped kernels with all their zeros, and a file has to be readable."""


@dataclass
class Lowering:
    """A NIR graph in the making.

    Attributes:
        context: the nodes that it is made of.
        used: indices of those that the output depends on, sources first.
        names: of those nodes.
        nodes, edges: of the graph.
        obstacles: per node of the graph, what makes a proof of it impossible.
        units: per population, its unit in the module's and the factor of its currents (`populations`).
    """

    context: Context
    used: list[int]
    names: dict[int, str] = field(default_factory=dict)
    nodes: dict[str, nir.NIRNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    obstacles: dict[str, str] = field(default_factory=dict)
    units: dict[str, tuple[float, float]] = field(default_factory=dict)

    def put(self, name: str, node: nir.NIRNode, *inputs: str) -> None:
        """Add a node that reads the sum of others.

        Raises:
            RefusedInput: the name is taken.
        """
        if name in self.nodes:
            raise RefusedInput(f"two nodes are named {name!r}; expected modules with names of their own")
        self.nodes[name] = node
        self.edges.extend((source, name) for source in inputs)


def lower(context: Context, result: Signal) -> Lowering:
    """The graph of what `result` depends on, without its output.

    Raises:
        RefusedInput: a node that NIR or the chip can't express, by name.
    """
    used = _used(context, [term.node for term in result.terms])
    lowering = Lowering(context, used, _names(context, used))
    last = {term.node for term in result.terms}
    for index in used:
        _lower(lowering, index, alone=index in last and not _read(context, used, index))
    return lowering


def _names(context: Context, used: list[int]) -> dict[int, str]:
    """A name for each node: its label, which only the last of several has; the others get a kind or a number too."""
    last = {context.nodes[index].label: index for index in used}
    names: dict[int, str] = {}
    taken = {"output"}
    for index in sorted(used, key=lambda i: last[context.nodes[i].label] != i):
        node = context.nodes[index]
        name = stem = node.label if last[node.label] == index or not node.kind else f"{node.label}.{node.kind}"
        count = 1
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name)
        names[index] = name
    return names


def _used(context: Context, ends: list[int]) -> list[int]:
    found: set[int] = set()
    waiting = list(ends)
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting.extend(context.nodes[index].inputs)
    return sorted(found)


def _read(context: Context, used: list[int], index: int) -> bool:
    return any(index in context.nodes[i].inputs for i in used)


def _lower(lowering: Lowering, index: int, alone: bool) -> None:
    """Lower one node; `alone` says that only the output reads it."""
    node, name = lowering.context.nodes[index], lowering.names[index]
    inputs = tuple(lowering.names[i] for i in node.inputs)
    source = lowering.context.nodes[node.inputs[0]].shape if node.inputs else ()
    match node.operation:
        case Frames():
            lowering.put(name, nir.Input(np.array(node.shape)))
        case Weighted() as weighted:
            _weighted(lowering, name, weighted, source, inputs, alone)
        case Scaled(scale=scale):
            lowering.put(name, nir.Scale(_floats(scale)), *inputs)
        case SumWindows(kernel=kernel, window=window):
            lowering.put(name, nir.SumPool2d(*_window(kernel, window)), *inputs)
        case MaxWindows(kernel=kernel, window=window):
            _check_padding(name, kernel, window)
            lowering.put(name, MaxPool2d(np.array(source), *_window(kernel, window)), *inputs)
        case Or(kernel=kernel, window=window):
            _check_padding(name, kernel, window)
            lowering.put(f"{name}.sum", _count(name, source, kernel, window), *inputs)
            lowering.put(name, or_gate(_map(node)), f"{name}.sum")
        case Relay():
            lowering.put(name, or_gate(_map(node)), *inputs)
        case Both():
            if lowering.context.time_steps > AND_STEPS:
                steps = lowering.context.time_steps
                raise RefusedInput(
                    f"node {name!r} is an AND over {steps} time steps; expected at most {AND_STEPS}, for which float32 "
                    "tells two spikes at once from one at every step"
                )
            lowering.put(name, and_gate(_map(node), lowering.context.time_steps), *inputs)
        case ButNot():
            lowering.put(f"{name}.not", nir.Scale(np.full(node.shape, -1, np.float32)), inputs[1])
            # v = x in every step, which is 1 where only the first fired.
            lowering.put(name, population(_map(node), 1.0, 1.0, np.float32(0.5)), inputs[0], f"{name}.not")
        case Attention(heads=heads, scale=own):
            node_scale = own * _attention_scale(lowering, index)
            lowering.put(name, SpikingSelfAttention(np.array(source), heads, node_scale), *inputs)
        case Population() as neurons:
            add_population(lowering, name, neurons, node.shape, inputs, _absorbed(lowering, node))
        case unknown:
            assert_never(unknown)


def _floats(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.numpy(), np.float32)


def _map(node: Node) -> tuple[int, int, int]:
    return node.shape  # type: ignore[return-value]  # gates stand on vectors as well as on maps


def _weighted(
    lowering: Lowering, name: str, weighted: Weighted, source: tuple[int, ...], inputs: tuple[str, ...], alone: bool
) -> None:
    """A matrix or a convolution; a 1x1 convolution of a map of one position that only the output reads is a matrix."""
    weight, bias, window = _floats(weighted.weight), _floats(weighted.bias), weighted.window
    if window is not None and not (alone and source[1:] == (1, 1) == weight.shape[2:]):
        lowering.put(name, _convolution(name, weighted, window, source), *inputs)
        return
    _matrix(lowering, name, weight if window is None else weight[:, :, 0, 0], bias, source, inputs)


def _matrix(
    lowering: Lowering,
    name: str,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    source: tuple[int, ...],
    inputs: tuple[str, ...],
) -> None:
    _check(name, weight, bias)
    if len(source) > 1:
        lowering.put(f"{name}.flatten", nir.Flatten({"input": np.array(source)}, start_dim=0, end_dim=-1), *inputs)
        inputs = (f"{name}.flatten",)
    lowering.put(name, nir.Affine(weight, bias), *inputs)


def _convolution(name: str, weighted: Weighted, window: Window, source: tuple[int, ...]) -> nir.Conv2d:
    weight, bias = _floats(weighted.weight), _floats(weighted.bias)
    weight, window = _square(weight, window, (source[1], source[2]))
    _check(name, weight, bias)
    geometry = (window.stride, window.padding, window.dilation)
    return nir.Conv2d((source[1], source[2]), weight, *geometry, groups=1, bias=bias)


def inside_square(kernel: Pair) -> tuple[slice, slice]:
    """The rows and columns of a square kernel that hold a smaller one: its middle, or half a tap further."""
    height, width = (slice((max(kernel) - n + 1) // 2, (max(kernel) - n + 1) // 2 + n) for n in kernel)
    return height, width


def _square(weight: NDArray[np.float32], window: Window, size: Pair) -> tuple[NDArray[np.float32], Window]:
    """A square kernel that computes the same sums, with zeros around the taps: NIR infers shapes by a kernel's height.

    If the square has an odd number of taps more than the kernel, the output would have one more row or column.  A
    larger stride leaves that out where the output has only one; elsewhere NIR refuses the graph.
    """
    kernel = (weight.shape[2], weight.shape[3])
    if kernel[0] == kernel[1]:
        return weight, window
    side = max(kernel)
    inside = inside_square(kernel)
    square = np.zeros((*weight.shape[:2], side, side), np.float32)
    square[:, :, *inside] = weight
    made = window.size((1, *size), kernel)
    top, left = (p + d * at.start for p, d, at in zip(window.padding, window.dilation, inside, strict=True))
    whole = replace(window, padding=(top, left)).size((1, *size), (side, side))
    steps = zip(window.stride, window.dilation, made, whole, strict=True)
    down, right = (s + 2 * d if a == 1 < b else s for s, d, a, b in steps)
    return square, Window((down, right), (top, left), window.dilation)


def _check(name: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    if weight.size > LARGEST_KERNEL:
        raise RefusedInput(
            f"node {name!r} has {weight.size:,} weights, zeros of groups included; expected {LARGEST_KERNEL:,} at most"
        )
    for what, values in (("weight", weight), ("bias", bias)):
        if not np.isfinite(values).all():
            raise RefusedInput(f"module {name!r}: its folded {what} holds values that are not finite")


def _window(kernel: tuple[int, int], window: Window) -> tuple[NDArray[np.int64], ...]:
    return tuple(np.array(pair) for pair in (kernel, window.stride, window.padding))


def _check_padding(name: str, kernel: tuple[int, int], window: Window) -> None:
    if any(2 * p > k for p, k in zip(window.padding, kernel, strict=True)):
        raise RefusedInput(
            f"node {name!r} pads {list(window.padding)}; expected at most half of its kernel {list(kernel)}"
        )


def _count(name: str, source: tuple[int, ...], kernel: tuple[int, int], window: Window) -> nir.NIRNode:
    """Spikes in each window: a convolution of ones where windows are padded, which nirtorch doesn't read right."""
    if window.padding == (0, 0):
        return nir.SumPool2d(*_window(kernel, window))
    ones = torch.zeros(source[0], source[0], *kernel)
    ones[torch.arange(source[0]), torch.arange(source[0])] = 1
    return _convolution(name, Weighted(ones, torch.zeros(source[0]), window), window, source)


def _attention_scale(lowering: Lowering, index: int) -> float:
    """The factor that all readers of an attention node share, which then becomes the node's scale; 1 if they differ."""
    readers = [lowering.context.nodes[i] for i in lowering.used if index in lowering.context.nodes[i].inputs]
    found = {r.operation.factor if isinstance(r.operation, Population) else 1.0 for r in readers}
    alone = all(len(reader.inputs) == 1 for reader in readers)
    return found.pop() if len(found) == 1 and alone else 1.0


def _absorbed(lowering: Lowering, node: Node) -> bool:
    """Whether the attention node that the neurons read has their factor in its scale."""
    source = lowering.context.nodes[node.inputs[0]]
    return isinstance(source.operation, Attention) and _attention_scale(lowering, node.inputs[0]) != 1
