"""Neuron updates that are needed: those of neurons that are not at rest, or at which something arrives.

A neuron is at rest when an image begins and after each of its own spikes, until something arrives: its membrane is 0,
or the leak of a neuron that sends its membrane.  At rest and without arrivals an update would leave it as it is, so
event-driven hardware skips it:

    needed[t] = ¬ rest[t] ∨ arrives[t]
    rest[t + 1] = (rest[t] ∧ ¬ arrives[t]) ∨ fires[t]

A neuron that doesn't leak, or remembers nothing, is always at rest; one with a synaptic current, or that leaks and is
never reset, never is again once something has arrived; and a population that leaks towards anything but 0 or is reset
to it never is.

What arrives is what the graph lets arrive, not what its values come to: a spike along an existing synapse, even of
weight zero, or two that cancel; a bias that isn't zero, in every step; and the graph's input and membranes, in every
step.  It arrives when it is summed: late, by a recurrent edge or a `Delay`, and not at all once its image has ended.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from energy.delivery import later
from energy.neurons import UNITY
from energy.synaptic_operations import spikes_per_step
from neuromorphic.analysis.arrivals import arrivals
from neuromorphic.analysis.schedule import inputs
from neuromorphic.ir.graph import Graph, Node, in_one_row
from neuromorphic.ir.trace import Trace
from neuromorphic.ops.operations import (
    Affine,
    Conv1d,
    Conv2d,
    CubaLi,
    CubaLif,
    Delay,
    Integrator,
    Li,
    Lif,
    LoihiLif,
    MaxPool2d,
    Membranes,
    Population,
    SelfAttention,
    Source,
    SumPool2d,
    Threshold,
)

Mask = NDArray[np.bool_]

CHUNK = 2**22
"""Neurons and steps that are unpacked in one go."""


def updates_needed(graph: Graph, trace: Trace) -> dict[str, NDArray[np.int64]]:
    """For every node of neurons, int64 `[images, T]`: its updates that are needed."""
    frames = (trace.images, trace.time_steps)
    always = driven(graph)
    neurons = [node for node in graph.nodes.values() if node.neurons]
    needed = {node.name: np.zeros(frames, np.int64) for node in neurons}
    for node in neurons:
        if node.name in always:
            needed[node.name][:] = np.prod(node.shape, dtype=np.int64)
    resting = [node for node in neurons if node.name not in always]
    if not resting:
        return needed
    largest = max(int(np.prod(node.shape)) for node in graph.nodes.values())
    chunk = max(1, CHUNK // (largest * trace.time_steps))
    for start in range(0, trace.images, chunk):
        images = slice(start, start + chunk)
        arriving = _Arriving(graph, trace, always, images)
        for node in resting:
            needed[node.name][images] = _needed(arriving.at(node), _rests_after(node, trace, images))
    return needed


def _rests_after(node: Node, trace: Trace, images: slice) -> Mask:
    """Neurons that are at rest again after each step, whatever arrived: bool `[images, T, *shape]`."""
    match node.operation:
        case LoihiLif(decay=decay) as lif:
            leaks, lasts = 0 < decay < UNITY, lif.lasting
        case operation:
            leaks = isinstance(operation, Lif | Li)
            lasts = isinstance(operation, CubaLif | CubaLi)
    if leaks and node.spiking and not lasts:
        return trace.spikes[node.name].unpack(images.start, images.stop)
    frames = trace.outputs[images].shape[:2]
    return np.full((*frames, *node.shape), not leaks and not lasts)


def driven(graph: Graph) -> frozenset[str]:
    """Names of the nodes that send something from every element in every step; of neurons, that receive it."""
    names: set[str] = set()
    for node in graph.nodes.values():
        in_time = [a.sender for a in arrivals(graph, node) if not a.late.any()]
        real = any(isinstance(s.operation, Membranes) or (not s.spiking and s.name in names) for s in in_time)
        match node.operation:
            case Source():
                always = True
            case Conv1d(bias=bias) | Conv2d(bias=bias) | Affine(bias=bias):
                always = bool(np.all(bias)) or (real and _covers(node))
            case Lif(leak=leak, reset=reset) | CubaLif(leak=leak, reset=reset):
                always = bool(leak.any() or reset.any()) or real
            case Threshold(threshold=threshold):
                always = bool((threshold < 0).any()) or real
            case LoihiLif(bias=bias, drive=drive):
                always = bool(np.all(bias)) or bool(np.all(drive)) or real
            case Integrator() | Li() | CubaLi():
                always = real
            case Delay(steps=steps):
                always = real and not steps.any()
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


class _Arriving:
    """What arrives in some images: per node, bool `[images, T, *shape]`, made when it is asked for."""

    def __init__(self, graph: Graph, trace: Trace, always: frozenset[str], images: slice) -> None:
        self.graph, self.trace, self.always, self.images = graph, trace, always, images
        self.frames = trace.outputs[images].shape[:2]
        delays = [node for node in graph.nodes.values() if isinstance(node.operation, Delay)]
        self.left = {node.name: np.zeros((*self.frames, *node.shape), np.bool_) for node in delays}
        self._let_go()

    def _let_go(self) -> None:
        """Fills in what leaves every `Delay`.

        Around a cycle of real values nothing is known before; every pass knows a step more, until none does.
        """
        changed = True
        while changed:
            changed = False
            for name, known in self.left.items():
                node = self.graph.nodes[name]
                if isinstance(node.operation, Delay):
                    now = later(self.at(node), node.operation.steps)
                    changed |= bool((now != known).any())
                    self.left[name] = now

    def at(self, node: Node) -> Mask:
        """Elements of the node's input that something arrives at."""
        arriving = np.zeros((*self.frames, *node.input_shape), np.bool_)
        for name in inputs(self.graph, node.name):
            sent = self._sent(self.graph.nodes[name]).reshape(arriving.shape)
            arriving |= later(sent, np.array(int((name, node.name) in self.graph.recurrent)))
        if isinstance(node.operation, LoihiLif):
            arriving |= (node.operation.bias != 0) | (node.operation.drive != 0)
        return arriving

    def _sent(self, node: Node) -> Mask:
        if isinstance(node.operation, Population):
            return self.trace.spikes[node.name].unpack(self.images.start, self.images.stop)
        if node.name in self.always or isinstance(node.operation, Membranes):
            return np.ones((*self.frames, *node.shape), np.bool_)
        if isinstance(node.operation, Delay):
            return self.left[node.name]
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


def _needed(arriving: Mask, rests: Mask) -> NDArray[np.int64]:
    """Of one node of neurons, both bool `[n, T, *shape]`: int64 `[n, T]`."""
    needed = np.empty_like(rests)
    rest = np.ones((len(rests), *rests.shape[2:]), np.bool_)
    for t in range(rests.shape[1]):
        needed[:, t] = ~rest | arriving[:, t]
        rest = (rest & ~arriving[:, t]) | rests[:, t]
    flat = needed.reshape(*needed.shape[:2], -1)
    return spikes_per_step(np.packbits(flat, axis=-1))
