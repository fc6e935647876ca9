"""Neuron updates that are needed: those of neurons that are not at rest, or at which something arrives.

    needed[t] = ¬ rest[t] ∨ arrives[t]
    rest[t + 1] = (rest[t] ∧ ¬ arrives[t]) ∨ fires[t]

A neuron is at rest while its membrane is 0 (or the leak, if the neuron sends its membrane).  An update would not change
such a neuron unless something arrives, so event-driven hardware skips it.  Every neuron is at rest when an image begins
and after each of its own spikes, with these exceptions:

- A neuron that doesn't leak, or has no memory, is always at rest.  The exception is the step after a spike that only
  subtracts the threshold: the membrane may still be above it.
- A neuron with a synaptic current, or one that leaks and is never reset, is never at rest again once something has
  arrived.
- A population that leaks towards a value other than 0, or is reset to one, is never at rest.

"Arrives" is a property of the graph, not of the values.  A spike arrives along every existing synapse, even if the
weight is 0 or two spikes cancel; a bias other than 0, the graph's input and membranes arrive in every step.  Each
arrives in the step in which it is summed: a recurrent edge or a `Delay` makes it later, and nothing arrives after its
image has ended.
"""

from collections.abc import Iterator, Mapping
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from energy.delivery import later
from energy.events import Events, arriving, event_senders
from energy.synaptic_operations import spikes_per_step
from neuromorphic.analysis.arrivals import arrivals
from neuromorphic.cluster.ranges import batches
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.trace import Trace
from neuromorphic.ops import Delay, Membranes, Neurons, Sink, Source, Stateless

Mask = NDArray[np.bool_]

CHUNK = 2**22
"""Neurons and steps that are unpacked in one go."""


def updates_needed(graph: Graph, trace: Trace, events: Events) -> dict[str, NDArray[np.int64]]:
    """The needed updates of every node of neurons, by name: int64 `[images, T]`."""
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
    for arrived in _in_chunks(graph, trace, events, always):
        for node in resting:
            needed[node.name][arrived.images] = _needed(arrived.at(node), _rests_after(node, trace, arrived.images))
    return needed


def macs_needed(
    graph: Graph, trace: Trace, events: Events, fan_outs: Mapping[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.int64]]:
    """`Σ arrives · fan_out` of nodes that read currents of spikes alone: MACs with something to multiply.

    `fan_outs` are those of the nodes that multiply, by name: int64 `[*input shape]`; the MACs are int64 `[images]`.
    """
    currents = spike_driven(graph)
    real = {name: [a.sender.name for a in arriving(graph, graph.nodes[name])[1]] for name in fan_outs}
    read = [name for name, senders in real.items() if senders and currents.issuperset(senders)]
    found = {name: np.zeros(trace.images, np.int64) for name in read}
    if not found:
        return found
    for arrived in _in_chunks(graph, trace, events, driven(graph)):
        for name in found:
            products = arrived.currents_at(graph.nodes[name]) * fan_outs[name]
            found[name][arrived.images] = products.reshape(len(products), -1).sum(1)
    return found


def spike_driven(graph: Graph) -> frozenset[str]:
    """Names of the nodes that send currents of spikes alone: no real input, membrane or bias is on any way to them."""
    events, found = event_senders(graph), set[str]()
    more = True
    while more:
        before = len(found)
        for node in graph.nodes.values():
            match node.operation:
                case Delay():
                    quiet = True
                case Stateless() as stateless:
                    quiet = node.name not in events and not stateless.bias_values.any()
                case Source() | Sink() | Neurons():
                    quiet = False
                case unknown:
                    assert_never(unknown)
            if quiet and all(a.sender.name in events | found for arrived in arriving(graph, node) for a in arrived):
                found.add(node.name)
        more = len(found) > before
    return frozenset(found)


def _in_chunks(graph: Graph, trace: Trace, events: Events, always: frozenset[str]) -> Iterator["_Arriving"]:
    largest = max(int(np.prod(node.shape)) for node in graph.nodes.values())
    chunk = max(1, CHUNK // (largest * trace.time_steps))
    for images in batches(trace.images, chunk):
        yield _Arriving(graph, trace, events, always, images)


def _rests_after(node: Node, trace: Trace, images: slice) -> Mask:
    """Neurons that are at rest again after each step, whatever arrived: bool `[images, T, *shape]`."""
    neurons = node.of(Neurons)
    if neurons.leaks and neurons.rests_after_spike and not neurons.filters_current:
        return trace.spikes[node.name].unpack(images.start, images.stop)
    steady = not neurons.leaks and not neurons.filters_current
    if steady and node.spiking and not neurons.rests_after_spike:
        return ~trace.spikes[node.name].unpack(images.start, images.stop)
    frames = trace.outputs[images].shape[:2]
    return np.full((*frames, *node.shape), steady)


def driven(graph: Graph) -> frozenset[str]:
    """Names of the nodes that send something from every element in every step; of neurons, that receive it."""
    names: set[str] = set()
    for node in graph.nodes.values():
        in_time = [a.sender for a in arrivals(graph, node) if not a.lag.any()]
        real = any(isinstance(s.operation, Membranes) or (not s.spiking and s.name in names) for s in in_time)
        match node.operation:
            case Source():
                always = node.name not in event_senders(graph)
            case Sink():
                always = real
            case Delay(steps=steps):
                always = real and not steps.any()
            case Neurons() as neurons:
                always = neurons.always_updated or real
            case Stateless() as stateless:
                always = bool(stateless.biased_outputs(node.shape).all()) or (real and _covers(node, stateless))
            case unknown:
                assert_never(unknown)
        if always:
            names.add(node.name)
    return frozenset(names)


def _covers(node: Node, operation: Stateless) -> bool:
    """Whether every output sees an element of the map; windows on nothing but padding exist."""
    return bool(operation.reached(np.ones((1, 1, *node.input_shape), np.bool_), node.shapes).all())


class _Arriving:
    """Arrivals in some images: per node, bool `[images, T, *shape]`, made when they are asked for."""

    def __init__(self, graph: Graph, trace: Trace, events: Events, always: frozenset[str], images: slice) -> None:
        self.graph, self.trace, self.events, self.always, self.images = graph, trace, events, always, images
        self.frames = trace.outputs[images].shape[:2]
        delays = [node for node in graph.nodes.values() if isinstance(node.operation, Delay)]
        self.left = {node.name: np.zeros((*self.frames, *node.shape), np.bool_) for node in delays}
        self._let_go()

    def _let_go(self) -> None:
        """Find what leaves every `Delay`.

        Around a cycle of real values nothing is known at first.  Each pass finds one step more; when a pass finds
        nothing new, all is known.
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
        arrived = np.zeros((*self.frames, *node.input_shape), np.bool_)
        for name in node.sources:
            sent = self._sent(self.graph.nodes[name]).reshape(arrived.shape)
            arrived |= later(sent, np.array(int((name, node.name) in self.graph.recurrent)))
        if isinstance(node.operation, Neurons):
            arrived |= node.operation.drives(node.shape)
        return arrived

    def currents_at(self, node: Node) -> Mask:
        """Elements of the node's input at which a real value arrives, one that is no event."""
        arrived = np.zeros((*self.frames, *node.input_shape), np.bool_)
        for arrival in arriving(self.graph, node)[1]:
            arrived |= later(self._current_of(arrival.sender), arrival.lag).reshape(arrived.shape)
        return arrived

    def _current_of(self, node: Node) -> Mask:
        """Elements of a spike-driven node's output that are real values, unlike the spikes that a `Delay` passes on."""
        if isinstance(node.operation, Delay):
            return later(self.currents_at(node), node.operation.steps)
        return self._sent(node)

    def _sent(self, node: Node) -> Mask:
        if node.spiking:
            return self.trace.spikes[node.name].unpack(self.images.start, self.images.stop)
        if node.name in self.always:
            return np.ones((*self.frames, *node.shape), np.bool_)
        match node.operation:
            case Source():
                return np.asarray(self.events.counts[node.name][self.images] != 0)
            case Neurons():
                return np.ones((*self.frames, *node.shape), np.bool_)
            case Sink():
                return self.at(node)
            case Delay():
                return self.left[node.name]
            case Stateless() as stateless:
                sent = stateless.reached(self.at(node), node.shapes)
                return sent | stateless.biased_outputs(node.shape)
            case unknown:
                assert_never(unknown)


def _needed(arriving: Mask, rests: Mask) -> NDArray[np.int64]:
    """The needed updates of one node, int64 `[n, T]`, of arrivals and rests, both bool `[n, T, *shape]`."""
    needed = np.empty_like(rests)
    rest = np.ones((len(rests), *rests.shape[2:]), np.bool_)
    for t in range(rests.shape[1]):
        needed[:, t] = ~rest | arriving[:, t]
        rest = (rest & ~arriving[:, t]) | rests[:, t]
    flat = needed.reshape(*needed.shape[:2], -1)
    return spikes_per_step(np.packbits(flat, axis=-1))
