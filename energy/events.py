"""Events: what is added up one by one, without a multiplication, wherever synapses read it.

    population                   sends one per spike
    input of spikes or counts    sends as many as its frames say, where metadata or `--input-kind` declare it so
    sum or mean of events        a pool: every event goes on to the windows that hold it; a mean's factor is the same
                                 for all of its outputs, and as good as folded into its readers' weights
    maximum of events            sends the largest count of each window

A pool's n events are n additions at each of a reader's synapses, since `W (e + e) = W e + W e`: so an event-driven chip
works, whose pools move addresses.  Neurons read a pool's sums as currents: its synapses end in them.  Everything else
that no neurons send is real: the input, membranes, and currents behind weights.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from energy.delivery import delivered, later
from energy.inputs import check_kind
from energy.synaptic_operations import spikes_per_step, synaptic_operations
from neuromorphic.analysis.arrivals import Arrival, arrivals
from neuromorphic.analysis.facts import fact
from neuromorphic.analysis.fingerprint import check_frames
from neuromorphic.cluster.ranges import batches
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.inputs import of_inputs
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.ops import Int64, MaxPool2d, Neurons, Population, Source, SumPool2d

CHUNK = 2**21
"""Elements of an array of events, for all steps of some images, that are in memory at a time."""


@fact
def event_senders(graph: Graph) -> frozenset[str]:
    """Names of the nodes that send events, without those that only wait."""
    found = {node.name for node in graph.populations}
    if graph.metadata.input_kind in ("spikes", "counts"):
        found.update(graph.inputs)
    known = frozenset[str]()
    pools = [node for node in graph.nodes.values() if isinstance(node.operation, SumPool2d | MaxPool2d)]
    while known != found:
        known = frozenset(found)
        for pool in pools:
            if all(a.sender.name in found for a in arrivals(graph, pool, lambda sender: sender.name in found)):
                found.add(pool.name)
    return known


def arriving(graph: Graph, node: Node) -> tuple[tuple[Arrival, ...], tuple[Arrival, ...]]:
    """The events that arrive at `node`, along each path, and the real values; `graph` passed `check_delays`."""
    senders = event_senders(graph)

    def passes(sender: Node) -> bool:
        own = isinstance(sender.operation, Population | Source)
        return sender.name in senders and (own or not isinstance(node.operation, Neurons))

    every = arrivals(graph, node, passes)
    return tuple(a for a in every if passes(a.sender)), tuple(a for a in every if not passes(a.sender))


@dataclass(frozen=True)
class Events:
    """How many events each of a graph's senders sends, spikes of populations among them.

    Attributes:
        graph: that was run.
        spikes: of the populations.
        counts: of the other senders, unsigned `[images, T, *shape]`.
    """

    graph: Graph
    spikes: Mapping[str, SpikeTrain]
    counts: Mapping[str, NDArray[np.unsignedinteger]]

    @classmethod
    def of(cls, graph: Graph, trace: Trace, frames: NDArray[np.float32] | None) -> Self:
        """The events of a run.

        Args:
            graph: that was run.
            trace: of it.
            frames: that it read, `[images, T, *frame shape]`; only where the input sends events.

        Raises:
            RefusedInput: the input sends events, and frames are missing, are not those that the run read, or hold
                values that are no events.
        """
        expected = (trace.images, trace.time_steps, *graph.frame_shape)
        if graph.input not in event_senders(graph):
            frames = None
        elif frames is None:
            raise RefusedInput(
                f"{graph.source}: its input are {graph.metadata.input_kind}, which a trace doesn't hold; expected the "
                "frames with it (--frames)"
            )
        elif frames.shape != expected:
            raise RefusedInput(
                f"{graph.source}: frames have the shape {list(frames.shape)}; expected {list(expected)} as in the run"
            )
        else:
            check_kind(graph, frames)
            check_frames(graph, trace, frames)

        def first(node: Node, images: slice) -> NDArray[np.generic]:
            if node.spiking:
                return trace.spikes[node.name].unpack(images.start, images.stop)
            return np.zeros(0) if frames is None else of_inputs(graph, frames[images])[node.name]

        return cls(graph, trace.spikes, _sent(graph, first, trace.images, trace.time_steps))

    @classmethod
    def at_full_rate(cls, graph: Graph, steps: int) -> Self:
        """The events of one image in which every neuron and every element of the input sends one in every step."""

        def ones(node: Node) -> NDArray[np.bool_]:
            return np.ones((1, steps, *node.shape), np.bool_)

        spikes = {node.name: SpikeTrain.pack(ones(node)) for node in graph.populations}
        return cls(graph, spikes, _sent(graph, lambda node, images: ones(node), 1, steps))

    def total(self, sender: str) -> int:
        """The events of a sender over all images and steps."""
        return self.spikes[sender].count() if sender in self.spikes else int(self.counts[sender].sum(dtype=np.int64))

    def per_image(self) -> dict[str, Int64]:
        """The events of the input and of each pool, by name: int64 `[images]`."""
        return {name: sent.reshape(len(sent), -1).sum(1, dtype=np.int64) for name, sent in self.counts.items()}

    def arriving(self, arrival: Arrival) -> Int64:
        """The events that arrive along a path within their image: int64 `[images, T]`."""
        if arrival.sender.spiking:
            return spikes_per_step(delivered(self.spikes[arrival.sender.name], arrival.lag).bits)
        return self.carried(arrival, np.ones(prod(arrival.sender.shape), np.int64))

    def single(self, sender: Node) -> bool:
        """Whether a sender sends at most one event for each element and step: spikes."""
        operation = sender.operation
        if isinstance(operation, MaxPool2d):
            found, _ = arriving(self.graph, sender)
            return len(found) == 1 and self.single(found[0].sender)
        return sender.spiking or (isinstance(operation, Source) and self.graph.metadata.input_kind == "spikes")

    def carried(self, arrival: Arrival, fan_outs: Int64, delayed: bool = True, once: bool = False) -> Int64:
        """`Σ_f events[f] · fan_out[f]`, in the step in which they arrive, or, if not `delayed`, in which they are sent.

        Args:
            arrival: of one of the senders.
            fan_outs: int64 `[elements of the sender]`.
            delayed: whether the arrival's lag counts.
            once: whether several events of one element and step count as one.

        Returns:
            int64 `[images, T]`.
        """
        lag = arrival.lag if delayed else np.zeros((), np.int64)
        if arrival.sender.spiking:
            return synaptic_operations(delivered(self.spikes[arrival.sender.name], lag), fan_outs)
        sent = self.counts[arrival.sender.name]
        found = np.zeros(sent.shape[:2], np.int64)
        for images in _chunks(len(sent), sent[:1].size):
            arrived = later((sent[images] != 0 if once else sent[images]).astype(np.int64), lag)
            found[images] = arrived.reshape(*arrived.shape[:2], -1) @ fan_outs
        return found


def _sent(
    graph: Graph, first: Callable[[Node, slice], NDArray[np.generic]], images: int, steps: int
) -> dict[str, NDArray[np.unsignedinteger]]:
    """Events that input and pools send; `first` returns those of the input and of populations."""
    senders = [node for node in graph.nodes.values() if node.name in event_senders(graph) and not node.spiking]
    parts: dict[str, list[NDArray[np.unsignedinteger]]] = {node.name: [] for node in senders}
    largest = max((max(prod(node.input_shape), prod(node.shape)) for node in senders), default=1)
    for part in _chunks(images, largest * steps) if senders else ():
        known: dict[str, Int64] = {}
        for node in senders:
            found = _made(graph, node, lambda sender, part=part: first(sender, part), known)  # type: ignore[misc]
            parts[node.name].append(found.astype(np.min_scalar_type(int(found.max(initial=0)))))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _made(graph: Graph, sender: Node, first: Callable[[Node], NDArray[np.generic]], known: dict[str, Int64]) -> Int64:
    """Events of one sender, int64 `[n, T, *shape]`, kept in `known`."""
    if sender.name in known:
        return known[sender.name]
    operation = sender.operation
    if isinstance(operation, SumPool2d | MaxPool2d):
        found, _ = arriving(graph, sender)
        x = sum(later(_made(graph, a.sender, first, known), a.lag).reshape(-1, *sender.input_shape) for a in found)
        whole = replace(operation, divisor=1) if isinstance(operation, SumPool2d) else operation
        y = whole.apply(np.asarray(x, np.float64), sender.shapes).astype(np.int64)
        frames = known[found[0].sender.name].shape[:2]
        known[sender.name] = y.reshape(*frames, *sender.shape)
    else:
        known[sender.name] = np.asarray(first(sender), np.int64)
    return known[sender.name]


def _chunks(images: int, size: int) -> Iterator[slice]:
    return batches(images, max(1, CHUNK // max(1, size)))
