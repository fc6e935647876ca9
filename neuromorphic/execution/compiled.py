"""The fast executor in compiled kernels: a layer of synapses and the neurons behind it at once, over all time steps.

It goes from node to node, not from step to step, so that it takes graphs without delays and cycles.  Layers that read
spikes add up the weights that these meet, in whole numbers where the graph consists of them.  Every sum is exact, by
the bounds that choose its type, and so the same as in `execution.fast` and in the reference; `fits` says when.

What has no compiled kernel is computed by its operation's own.  Maps lie as `[B, T, P, C]`: positions, then channels;
what is the same in every step has T = 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.biases import biases
from neuromorphic.analysis.exactness import doubles, exact_in_doubles_on
from neuromorphic.analysis.intervals import fractions, graded_intervals
from neuromorphic.execution import kernels
from neuromorphic.execution.fronts import COUNTS, Front, Type, is_plain, spans, synapses
from neuromorphic.execution.positions import by_position, layout, maps, positions
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.trace import SpikeTrain
from neuromorphic.ops import (
    Array,
    ChipPopulation,
    Delay,
    Float64,
    LoihiLif,
    MaxPool2d,
    Neurons,
    Overflows,
    SelfAttention,
    Source,
    Stateless,
)
from neuromorphic.ops.loihi import UNITY
from neuromorphic.ops.widths import ALIGNMENT, STATE_LIMIT

CACHE = 2**21
"""Bytes of spikes that a batch's largest node may send; the time per image hardly depends on it."""

T = TypeVar("T")


def fits(graph: Graph, frames: NDArray[np.float32], time_steps: int) -> bool:
    """Whether every sum of this graph on these frames is exact in any order, no edge takes a step, ends are single."""
    if graph.recurrent or len(graph.inputs) > 1 or len(graph.outputs) > 1:
        return False
    if any(isinstance(node.operation, Delay) for node in graph.nodes.values()):
        return False
    return graph.precision == "loihi2" or exact_in_doubles_on(graph, frames, time_steps)


@dataclass
class Ran(Generic[T]):
    """The results of a batch.

    Attributes:
        kept: what was made of the spikes of each population.
        outputs: `[B, T, *shape]`.
        membranes: v after the last step, by neurons, `[B, *shape]`.
        overflows: by population of integers.
    """

    kept: dict[str, T] = field(default_factory=dict)
    outputs: Float64 = field(default_factory=lambda: np.zeros(0))
    membranes: dict[str, Array] = field(default_factory=dict)
    overflows: dict[str, Overflows] = field(default_factory=dict)


class Compiled:
    """A graph made ready to run; threads may share it.

    Args:
        graph: that `fits`.
        time_steps: T.

    Attributes:
        batch: images that are best run at once.
    """

    def __init__(self, graph: Graph, time_steps: int) -> None:
        self.graph, self.time_steps = graph, time_steps
        self.biases = biases(graph)
        self.reads: dict[str, Type] = {}
        self.sent: dict[str, Type] = {}
        self.fronts: dict[str, Front] = {}
        for node in graph.nodes.values():
            self.reads[node.name] = self._reads(node)
            front = self._front(node)
            if front is not None:
                self.fronts[node.name] = front
            self.sent[node.name] = self._sends(node, front)
        self.neurons = {n.name: numbers for n in graph.populations if (numbers := self._numbers(n)) is not None}
        # What neurons are computed together with: the node before them, which nobody else reads.
        self.fused = {n.name: n.sources[0] for n in graph.populations if self._fuses(n)}
        self.order = [
            node
            for node in graph.nodes.values()
            if node.name not in self.fused.values() and not isinstance(node.operation, Source)
        ]
        self.last = {source: node.name for node in self.order for source in self._entry(node).sources}
        largest = max(math.prod(node.shape) for node in self.order) * time_steps
        self.batch = min(max(CACHE // largest, 1), 16)

    def run(self, frames: NDArray[np.float32], keep: Callable[[Node, Array], T]) -> Ran[T]:
        """All images at once, from rest.

        Args:
            frames: float32 `[B, *input shape]`, each presented for T steps, or `[B, T, *input shape]`.
            keep: what to make of the spikes of a population, uint8 `[B, T, P, C]`.
        """
        ran: Ran[T] = Ran()
        shown = self.graph.nodes[self.graph.input]
        moving = frames[:, None] if frames.ndim == len(shown.shape) + 1 else frames
        still = moving[:, :1] if moving.strides[1] == 0 else moving
        values = {shown.name: positions(still, shown.shape)}
        for node in self.order:
            entry = self._entry(node)
            values[node.name] = self._compute(node, self._read(entry, values, len(frames)), ran)
            if node.spiking:
                ran.kept[node.name] = keep(node, values[node.name])
            for source in {s for s in entry.sources if self.last[s] == node.name}:
                del values[source]
        sent = maps(values[self.graph.output], self.graph.nodes[self.graph.output].shape)
        ran.outputs = np.broadcast_to(sent, (len(frames), self.time_steps, *sent.shape[2:])).astype(np.float64)
        return ran

    def _entry(self, node: Node) -> Node:
        """The first of the nodes that are computed together, `node` the last."""
        return self.graph.nodes[self.fused.get(node.name, node.name)]

    def _read(self, node: Node, values: dict[str, Array], batch: int) -> Array:
        """The sum of what a node's sources send."""
        if not node.sources:
            return positions(np.zeros((batch, 1, *node.input_shape), COUNTS), node.input_shape)
        parts = []
        for source in node.sources:
            x, shape = values[source], self.graph.nodes[source].shape
            if shape != node.input_shape:
                x = positions(maps(x, shape), node.input_shape)
            parts.append(x)
        first, *others = parts
        for x in others:
            first = np.add(first, x, dtype=self.reads[node.name])
        return first

    def _compute(self, node: Node, x: Array, ran: Ran[Any]) -> Array:
        """The output of a node, of what its entry reads."""
        operation, front = node.operation, self.fronts.get(self._entry(node).name)
        if node.name in self.neurons:
            return self._fire(node, front, x, ran)
        if front is not None:
            y = np.empty((*x.shape[:2], *layout(node.shape)), front.sums)
            kernels.layer(front.argument(x), y)
            return y
        if isinstance(operation, SelfAttention) and node.sources and x.dtype == COUNTS and len(node.sources) == 1:
            y = np.empty((*x.shape[:2], *layout(node.shape)), self._floats(node))
            kernels.attention(np.ascontiguousarray(x), operation.heads, y.dtype.type(operation.scale), y)
            return y
        return self._by_itself(node, x, ran)

    def _fire(self, node: Node, front: Front | None, x: Array, ran: Ran[Any]) -> Array:
        """Spikes of a population that has a compiled kernel."""
        chip = isinstance(node.operation, LoihiLif)
        floats = np.dtype(np.float32) if chip else self._floats(node)
        if front is None:
            front = Front.currents(x.dtype, x.dtype if chip else floats)
        batch, lying = len(x), layout(node.shape)
        spikes, v = np.empty((batch, self.time_steps, *lying), COUNTS), np.empty((batch, *lying), floats)
        kind, numbers = (0,) * (kernels.CHIP if chip else kernels.LEAKY), self.neurons[node.name]
        saturations = kernels.neuron_layer(front.argument(x), kind, numbers, spikes, v, True)
        by_channel = v.swapaxes(1, 2)  # a view: only integers' membranes are always kept
        if chip:
            ran.overflows[node.name] = Overflows(saturations=int(saturations))
            by_channel = np.empty(by_channel.shape, np.int32)
            kernels.transpose(v, by_channel)
        ran.membranes[node.name] = by_channel.reshape(batch, *node.shape)
        return spikes

    def _by_itself(self, node: Node, x: Array, ran: Ran[Any]) -> Array:
        """By the operation's own kernel; of the graph's end, whose operation has none, what it reads."""
        seen, dtype, bias = maps(x, node.input_shape), self._floats(node), self.biases[node.name]
        batch, steps = x.shape[:2]
        operation = node.operation
        if isinstance(operation, Stateless):
            apply = operation.kernel(node.shapes, batch * steps, dtype, bias)
            y = apply(seen.reshape(batch * steps, *node.input_shape)).reshape(batch, steps, *node.shape)
        elif isinstance(operation, Neurons):
            advance = operation.neuron_kernel(batch, node.shape, dtype)
            of_steps = (seen[:, min(t, steps - 1)] for t in range(self.time_steps))
            y = np.stack([advance(np.add(each, bias, dtype=dtype)).copy() for each in of_steps], axis=1)
            ran.membranes[node.name] = advance.v
            if isinstance(operation, ChipPopulation):
                ran.overflows[node.name] = advance.overflows  # type: ignore[attr-defined]
        else:
            y = seen + bias  # in float64, as of what may arrive: a trace rounds outputs once
        return positions(y, node.shape)

    # What is decided once.

    def _floats(self, node: Node) -> Type:
        """The floats that hold a node's sums."""
        return np.dtype(np.float64 if node.name in doubles(self.graph) else np.float32)

    def _whole(self, *names: str) -> Type | None:
        """The integers that hold the sums which all of these nodes read; None where they aren't integers.

        What is one of several terms of a sum stays within its bounds: every term may be 0.
        """
        if self.graph.precision != "loihi2" or not names or not fractions(self.graph).isdisjoint(names):
            return None
        read = graded_intervals(self.graph)
        bound = min(max(-read[name].low.min(), read[name].high.max()) for name in names)
        fitting = (np.dtype(kind) for kind in (np.int16, np.int32) if bound <= np.iinfo(kind).max)
        return next(fitting, None)

    def _reads(self, node: Node) -> Type:
        """Type of the sum that a node reads."""
        if any(source not in self.sent for source in node.sources):
            raise TypeError(f"node {node.name!r} stands before one that it reads")
        types = [self.sent[source] for source in node.sources]
        if all(each == COUNTS for each in types) and len(types) <= np.iinfo(COUNTS).max:
            return COUNTS
        whole = self._whole(node.name)
        if whole is not None and all(each.kind in "iu" for each in types):
            return whole
        return np.result_type(self._floats(node), *types)

    def _sends(self, node: Node, front: Front | None) -> Type:
        """Type of what leaves a node."""
        if node.spiking:
            return COUNTS
        if front is not None:
            return front.sums
        return np.dtype(np.float32) if isinstance(node.operation, Source) else self._floats(node)

    def _front(self, node: Node) -> Front | None:
        """How a compiled kernel computes a node; None where none does."""
        reads, bias, operation = self.reads[node.name], self.biases[node.name], node.operation
        whole = self._whole(*(reader.name for reader in self.graph.readers(node.name)))
        sums = whole if whole is not None and reads.kind in "iu" else self._floats(node)
        given = reads if reads == COUNTS or sums.kind == "i" else sums
        if isinstance(operation, MaxPool2d):
            if sums.kind == "i" and (bias.any() or reads == COUNTS):
                return None
            added = by_position(bias.astype(given), node.input_shape)
            return Front(kernels.MAXIMA, given, 1, added, spans(operation.windows, node, 1), given)
        return synapses(node, given, sums)

    def _numbers(self, node: Node) -> kernels.Numbers | None:
        """The numbers of a population's kernel; None where it has none."""
        operation, bias, floats = node.operation, self.biases[node.name], self._floats(node)
        if isinstance(operation, LoihiLif):
            kept = UNITY - np.asarray(operation.decay)
            odd = operation.filters_current or operation.lowering is not None or np.any(kept & (kept - 1))
            if odd or self._may_wrap(node, operation):
                return None
            floats = np.dtype(np.float32)
            threshold = operation.threshold * 2.0**ALIGNMENT
            numbers: tuple[Array, ...] = (kept / UNITY, operation.drive + bias, operation.bias, threshold)
        elif is_plain(operation):
            numbers = (bias, operation.gain, operation.decay, operation.threshold)
        else:
            return None
        first, second, third, last = (by_position(_full(n, node, floats), node.shape) for n in numbers)
        return first, second, third, last

    def _may_wrap(self, node: Node, lif: LoihiLif) -> bool:
        """Whether some input could bring a u beyond its width."""
        read, own = graded_intervals(self.graph)[node.name], lif.drive + self.biases[node.name]
        low, high = ((bound + own) * 2**ALIGNMENT for bound in (read.low, read.high))
        return bool(low.min() <= -STATE_LIMIT or high.max() > STATE_LIMIT)

    def _fuses(self, node: Node) -> bool:
        """Whether a population is computed together with its one source."""
        if node.name not in self.neurons or len(node.sources) != 1 or node.sources[0] not in self.fronts:
            return False
        source = self.graph.nodes[node.sources[0]]
        return source.shape == node.input_shape and self.graph.readers(source.name) == (node,)


def packed(node: Node, spikes: Array) -> SpikeTrain:
    """Spikes `[B, T, P, C]` of a population, as a trace keeps them."""
    batch, steps, size, channels = spikes.shape
    if size % 8:
        return SpikeTrain.pack(maps(spikes, node.shape).view(np.bool_))
    bits = np.empty((batch * steps, size * channels // 8), np.uint8)
    kernels.pack(spikes.reshape(-1, size, channels), bits)
    return SpikeTrain(bits.reshape(batch, steps, -1), node.shape)


def _full(values: Array, node: Node, dtype: Any) -> Array:
    return np.broadcast_to(values, node.shape).astype(dtype)
