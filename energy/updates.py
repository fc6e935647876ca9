"""Neuron updates that are needed: those of neurons that are not at rest, or at which something arrives.

A neuron is at rest when an image begins and after each of its own spikes, until something arrives: its membrane is 0.
At rest and without arrivals an update would leave it as it is, so event-driven hardware skips it:

    needed[t] = ¬ rest[t] ∨ arrives[t]
    rest[t + 1] = (rest[t] ∧ ¬ arrives[t]) ∨ fires[t]

A neuron that doesn't leak, or remembers nothing, is always at rest; one with a synaptic current never is again once
something has arrived, and one that leaks towards anything but 0 or is reset to it never is.

What arrives is what the graph lets arrive, not what its values come to: a spike along an existing synapse, even of
weight zero, or two that cancel; a bias that isn't zero, in every step; and the graph's input, in every step.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from energy.dataflow import senders
from energy.synaptic_operations import spikes_per_step
from neuromorphic.graph import (
    Affine,
    Conv1d,
    Conv2d,
    CubaLif,
    Graph,
    If,
    Lif,
    LoihiLif,
    MaxPool2d,
    Node,
    Population,
    SelfAttention,
    Source,
    SumPool2d,
    Threshold,
    in_one_row,
)
from neuromorphic.trace import Trace

Mask = NDArray[np.bool_]

CHUNK = 2**22
"""Neurons and steps that are unpacked in one go."""


def updates_needed(graph: Graph, trace: Trace) -> dict[str, NDArray[np.int64]]:
    """For every population, int64 `[images, T]`: its updates that are needed."""
    frames = (trace.images, trace.time_steps)
    always = driven(graph)
    needed = {node.name: np.zeros(frames, np.int64) for node in graph.populations}
    for node in graph.populations:
        if node.name in always:
            needed[node.name][:] = np.prod(node.shape, dtype=np.int64)
    resting = [node for node in graph.populations if node.name not in always]
    if not resting:
        return needed
    largest = max(int(np.prod(node.shape)) for node in graph.nodes.values())
    chunk = max(1, CHUNK // (largest * trace.time_steps))
    for start in range(0, trace.images, chunk):
        arrivals = _Arrivals(graph, trace, always, slice(start, start + chunk))
        for node in resting:
            fires = trace.spikes[node.name].unpack(start, start + chunk)
            if isinstance(node.operation, If | Threshold):
                fires = np.ones_like(fires)
            elif isinstance(node.operation, CubaLif):
                fires = np.zeros_like(fires)
            needed[node.name][start : start + chunk] = _needed(arrivals.at(node), fires)
    return needed


def driven(graph: Graph) -> frozenset[str]:
    """Names of the nodes that send something from every element in every step; of populations, that receive it."""
    names: set[str] = set()
    for node in graph.nodes.values():
        real = any(not sender.spiking and sender.name in names for sender in senders(graph, node))
        match node.operation:
            case Source():
                always = True
            case Conv1d(bias=bias) | Conv2d(bias=bias) | Affine(bias=bias):
                always = bool(np.all(bias)) or (real and _covers(node))
            case Lif(leak=leak, reset=reset) | CubaLif(leak=leak, reset=reset):
                always = bool(leak.any() or reset.any()) or real
            case Threshold(threshold=threshold):
                always = bool((threshold < 0).any()) or real
            case LoihiLif(bias=bias):
                always = bool(np.all(bias)) or real
            case SelfAttention():
                always = False
            case _:
                always = real and _covers(node)
        if always:
            names.add(node.name)
    return frozenset(names)


def _covers(node: Node) -> bool:
    """Whether every output sees an element of the map; windows on nothing but padding exist."""
    return bool(_reached(node, np.ones((1, 1, *node.input_shape), np.bool_)).all())


@dataclass
class _Arrivals:
    """What arrives in some images: per node, bool `[images, T, *shape]`, made when it is asked for."""

    graph: Graph
    trace: Trace
    always: frozenset[str]
    images: slice

    def at(self, node: Node) -> Mask:
        """Elements of the node's input that something arrives at."""
        found = [self._sent(self.graph.nodes[name]) for name in node.sources]
        arriving = np.logical_or.reduce(found)
        if isinstance(node.operation, LoihiLif):
            arriving |= node.operation.bias != 0
        return np.asarray(arriving)

    def _sent(self, node: Node) -> Mask:
        if isinstance(node.operation, Population):
            return self.trace.spikes[node.name].unpack(self.images.start, self.images.stop)
        frames = self.trace.outputs[self.images].shape[:2]
        if node.name in self.always:
            return np.ones((*frames, *node.shape), np.bool_)
        sent = _reached(node, self.at(node))
        if isinstance(node.operation, Conv1d | Conv2d):
            sent |= node.operation.bias.reshape(-1, *[1] * (len(node.shape) - 1)) != 0
        elif isinstance(node.operation, Affine):
            sent |= node.operation.bias != 0
        return sent


def _reached(node: Node, arriving: Mask) -> Mask:
    """Outputs of `node` that a synapse connects with what arrives: `[n, T, *input shape]` to `[n, T, *shape]`."""
    frames = arriving.shape[:2]
    match node.operation:
        case Conv1d() as along:
            row, _ = in_one_row(node, along)
            return _reached(row, arriving.reshape(*frames, *row.input_shape)).reshape(*frames, *node.shape)
        case Conv2d() as conv:
            grouped = arriving.reshape(-1, conv.groups, node.input_shape[0] // conv.groups, *node.input_shape[1:])
            kernel = (conv.weight.shape[2], conv.weight.shape[3])
            windows = _windows(np.asarray(grouped.any(2)), kernel, conv.stride, conv.padding, conv.dilation)
            return windows.repeat(node.shape[0] // conv.groups, axis=1).reshape(*frames, *node.shape)
        case Affine():
            return np.broadcast_to(arriving.any(-1, keepdims=True), (*frames, *node.shape)).copy()
        case SelfAttention(heads=heads):
            # A token's output is a sum over the channels of its head in which Q has a spike.
            q = arriving.reshape(*frames, 3, heads, -1, *node.input_shape[1:])[:, :, 0].any(3, keepdims=True)
            return q.repeat(node.shape[0] // heads, axis=3).reshape(*frames, *node.shape)
        case SumPool2d(kernel, stride, padding) | MaxPool2d(kernel, stride, padding):
            flat = arriving.reshape(-1, *node.input_shape)
            return _windows(flat, kernel, stride, padding, (1, 1)).reshape(*frames, *node.shape)
        case _:
            return arriving.reshape(*frames, *node.shape)


def _windows(
    arriving: Mask,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Mask:
    """Windows of `[n, C, H, W]` that hold something: `[n, C, H', W']`."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel, stride, padding, dilation
    padded = np.pad(arriving, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    height, width = (size - d * (k - 1) for size, d, k in zip(padded.shape[2:], dilation, kernel, strict=True))
    hold = np.zeros((*arriving.shape[:2], -(-height // sh), -(-width // sw)), np.bool_)
    for i, j in product(range(0, kh * dh, dh), range(0, kw * dw, dw)):
        hold |= padded[:, :, i : i + height : sh, j : j + width : sw]
    return hold


def _needed(arriving: Mask, fires: Mask) -> NDArray[np.int64]:
    """Of one population, both bool `[n, T, *shape]`: int64 `[n, T]`."""
    needed = np.empty_like(fires)
    rest = np.ones((len(fires), *fires.shape[2:]), np.bool_)
    for t in range(fires.shape[1]):
        needed[:, t] = ~rest | arriving[:, t]
        rest = (rest & ~arriving[:, t]) | fires[:, t]
    flat = needed.reshape(*needed.shape[:2], -1)
    return spikes_per_step(np.packbits(flat, axis=-1))
