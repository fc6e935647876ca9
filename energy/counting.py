"""Counting: a graph says which operations there are, a trace which of them happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn, Self, assert_never

import numpy as np
from numpy.typing import NDArray

import neuromorphic.ops as ops
from energy.ann import ann_counts
from energy.attention import attention_counts
from energy.counts import (
    Additions,
    LayerCounts,
    NeuronCounts,
    OperationCounts,
    PopulationCounts,
    SourceCounts,
)
from energy.dataflow import constant, summable
from energy.delivery import delivered
from energy.effective import effective
from energy.events import Events, arriving
from energy.synaptic_operations import spikes_per_step
from energy.updates import macs_needed, updates_needed
from neuromorphic.analysis.arrivals import Arrival, arrivals, check_delays
from neuromorphic.analysis.fingerprint import check_trace
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.trace import Trace
from neuromorphic.ops.types import Kind


def kind_of(node: Node) -> Kind | None:
    """The report's name for a node with synapses; neurons have some where they read a population directly."""
    match node.operation:
        case ops.Linear(kind=kind):
            return kind
        case ops.Neurons():
            return "identity"
        case ops.Source() | ops.Sink() | ops.Delay() | ops.Nonlinear():
            return None
        case unknown:
            assert_never(unknown)


def fan_out(node: Node) -> ops.Int64:
    """Synapses from each element of a node's input into the node: int64 `[*input shape]`.

    A synapse exists where the node's geometry connects two positions; its weight may be zero.  Taps of a kernel that
    lie outside the map are no synapses, nor are channels of different groups.  A node without any is a TypeError.
    """
    match node.operation:
        case ops.Stateless() as stateless:
            return stateless.fan_out(node.shapes)
        case ops.Neurons():
            return np.ones(node.input_shape, np.int64)
        case ops.Source() | ops.Sink() | ops.Delay():
            _no_synapses(node)
        case unknown:
            assert_never(unknown)


def taps(node: Node) -> int:
    """Products of one evaluation of a node with synapses, as frameworks count them: with taps on the padding."""
    match node.operation:
        case ops.Linear() as linear:
            return linear.taps(node.shapes)
        case ops.Neurons():
            return prod(node.shape)
        case ops.Source() | ops.Sink() | ops.Delay() | ops.Nonlinear():
            _no_synapses(node)
        case unknown:
            assert_never(unknown)


def _no_synapses(node: Node) -> NoReturn:
    raise TypeError(f"node {node.name!r}: {type(node.operation).__name__} has no synapses")


def count(graph: Graph, trace: Trace, frames: NDArray[np.float32] | None = None) -> OperationCounts:
    """The operations of the run that `trace` shows.

    A spike arriving at an existing synapse is one SOP, in the step in which it is summed: later than it was sent by
    what a recurrent edge or a `Delay` takes, and never after its image has ended.  So is everything else that `events`
    lists.  A linear node that reads real values (the graph's input, membranes, currents) computes MACs: in every step,
    or where currents of spikes alone arrive, only there.  A node that reads both does both: it is linear, so each
    source of events counts by itself, and the real-valued ones are summed before its MACs.  What self-attention adds
    up, spikes selected by spikes, and what max-pooling compares is neither.

    Args:
        graph: a validated graph.
        trace: of a run of that graph.
        frames: that the run read, `[images, T, *input shape]`; needed where they are spikes or counts of spikes.

    Raises:
        RefusedInput: the trace is not of this graph, or lacks frames; spikes circle through `Delay` nodes alone; or the
            file's table of the ANN twin is not understood.
    """
    _check(graph, trace)
    run = _Run.of(graph, trace, Events.of(graph, trace, frames))
    layers: dict[str, LayerCounts] = {}
    events_read: dict[str, tuple[NDArray[np.int64], ...]] = {}
    for node in graph.nodes.values():
        if isinstance(node.operation, ops.Source | ops.Delay | ops.Sink):
            continue
        arrived, real = arriving(graph, node)
        if arrived:
            events_read[node.name] = tuple(run.events.arriving(arrival).sum(1) for arrival in arrived)
        layer = run.layer(node, arrived, tuple(arrival.sender.name for arrival in real))
        if layer is not None:
            layers[node.name] = layer
    needed = updates_needed(graph, trace, run.events)
    neurons = {node.name: _neurons(node, needed[node.name], trace) for node in graph.nodes.values() if node.neurons}
    return OperationCounts(
        images=trace.images,
        time_steps=trace.time_steps,
        layers=layers,
        populations={name: found for name, found in neurons.items() if isinstance(found, PopulationCounts)},
        membranes={name: found for name, found in neurons.items() if not isinstance(found, PopulationCounts)},
        events_read=events_read,
        events_sent=run.events.per_image(),
        additions_per_node=_additions(graph, run.evaluations),
        comparisons_per_node=_comparisons(graph, run.evaluations),
        effective=effective(graph, trace, run.events),
        predictions=trace.predictions,
        ann=ann_counts(graph, trace.images),
    )


def _check(graph: Graph, trace: Trace) -> None:
    check_delays(graph)
    shapes = {node.name: node.shape for node in graph.populations}
    for name in sorted(set(shapes) ^ set(trace.spikes)):
        where = "the graph" if name in shapes else "the trace"
        raise RefusedInput(f"{graph.source}: population {name!r} is only in {where}; expected a trace of this graph")
    if trace.outputs.ndim < 2 or not trace.images or not trace.time_steps:
        raise RefusedInput(
            f"{graph.source}: the trace has outputs {list(trace.outputs.shape)}; expected [images, T, ...]"
        )
    for name, shape in shapes.items():
        train = trace.spikes[name]
        expected = (trace.images, trace.time_steps, (prod(shape) + 7) // 8)
        if train.shape != shape or train.bits.shape != expected:
            raise RefusedInput(
                f"{graph.source}: population {name!r} has the shape {list(train.shape)} in packed bits "
                f"{list(train.bits.shape)} in the trace; expected {list(shape)} in {list(expected)}"
            )
    check_trace(graph, trace)


@dataclass(frozen=True)
class _Run:
    """A run, and all that its layers' operations follow from.

    Attributes:
        graph: that ran.
        trace: of the run.
        events: of the run.
        full: those of one image at a firing rate of 1.
        unchanging: nodes whose output is the same in every step.
        summed: nodes that may run once per image, on the sum over the steps.
        driven: MACs with something to multiply, of each image, of nodes that read currents of spikes alone.
    """

    graph: Graph
    trace: Trace
    events: Events
    full: Events
    unchanging: frozenset[str]
    summed: frozenset[str]
    driven: Mapping[str, ops.Int64]

    @classmethod
    def of(cls, graph: Graph, trace: Trace, events: Events) -> Self:
        """The run of `graph` that `trace` shows, with these events."""
        fan_outs = {node.name: fan_out(node) for node in graph.nodes.values() if _multiplies(node)}
        driven = macs_needed(graph, trace, events, fan_outs)
        full = Events.at_full_rate(graph, trace.time_steps)
        return cls(graph, trace, events, full, constant(graph), summable(graph), driven)

    @property
    def evaluations(self) -> int:
        """Images times steps."""
        return self.trace.images * self.trace.time_steps

    def layer(self, node: Node, arrived: tuple[Arrival, ...], real: tuple[str, ...]) -> LayerCounts | None:
        """The operations of a node that reads these events and real values; None where it has none."""
        zero = np.zeros((self.trace.images, self.trace.time_steps), np.int64)
        if isinstance(node.operation, ops.SelfAttention):
            return _attention(self.graph, node, node.operation, self.trace, zero)
        kind = kind_of(node)
        if kind is None or (node.neurons and not arrived):
            return None
        spiking = tuple(self.source(node, arrival) for arrival in arrived)
        macs = taps(node) if real and _multiplies(node) else 0
        dense = np.full(self.trace.images, macs * self.trace.time_steps)
        each = self.driven.get(node.name, dense) if macs else dense
        multiplied = int(each.sum())
        return LayerCounts(
            kind=kind,
            spiking_sources=spiking,
            real_sources=real,
            attention=None,
            per_step=sum((source.per_step for source in spiking), start=zero),
            macs_per_image=each,
            macs_once=macs * self.trace.images if self.unchanging.issuperset(real) else multiplied,
            macs_summed=macs * self.trace.images if node.name in self.summed else multiplied,
            macs_dense=int(dense.sum()),
        )

    def source(self, node: Node, arrival: Arrival) -> SourceCounts:
        """The operations of the events that arrive at `node` along one path."""
        name, fan_outs = arrival.sender.name, fan_out(node).reshape(-1)
        per_step = self.events.carried(arrival, fan_outs)
        sent = self.events.carried(arrival, fan_outs, delayed=False) if arrival.lag.any() else per_step
        return SourceCounts(
            source=name,
            spikes=self.events.total(name),
            updates=self.full.total(name) * self.trace.images,
            per_step=per_step,
            sops_under_way=int(sent.sum() - per_step.sum()),
            dense=int(self.full.carried(arrival, fan_outs).sum()) * self.trace.images,
            dense_padded=taps(node) * self.evaluations,
        )


def _multiplies(node: Node) -> bool:
    return isinstance(node.operation, ops.Linear) and node.operation.multiplies


def _attention(graph: Graph, node: Node, operation: ops.SelfAttention, trace: Trace, no_sops: ops.Int64) -> LayerCounts:
    (arrival,) = arrivals(graph, node)
    counts = attention_counts(node, operation, delivered(trace.spikes[arrival.sender.name], arrival.lag))
    return LayerCounts(
        kind="attention",
        spiking_sources=(),
        real_sources=(),
        attention=counts,
        per_step=no_sops,
        macs_per_image=no_sops.sum(1),
        macs_once=0,
        macs_summed=0,
        macs_dense=0,
    )


def _neurons(node: Node, needed: ops.Int64, trace: Trace) -> NeuronCounts:
    neurons = node.operation
    if not isinstance(neurons, ops.Neurons):
        raise TypeError(f"node {node.name!r}: {type(neurons).__name__} has no neurons")
    counts: dict[str, Any] = {
        "neurons": prod(node.shape),
        "additions": neurons.additions,
        "multiplications": neurons.multiplications,
        "needed": needed,
    }
    if not node.spiking:
        return NeuronCounts(**counts)
    return PopulationCounts(**counts, per_step=spikes_per_step(trace.spikes[node.name].bits))


def _additions(graph: Graph, frames: int) -> dict[str, Additions]:
    found: dict[str, Additions] = {}
    for node in graph.nodes.values():
        events, currents = arriving(graph, node)
        real = len(currents)
        bias = prod(node.shape) * _adds_bias(node.operation)
        pooling = 0
        # What isn't linear needs the sum of all its sources, spiking or not.
        summed = len(events) + real if isinstance(node.operation, ops.Nonlinear) else real
        fan_in = max(0, summed - 1) * prod(node.input_shape)
        if isinstance(node.operation, ops.Linear) and not node.operation.multiplies and real:
            pooling = int(fan_out(node).sum())
        if bias or pooling or fan_in:
            found[node.name] = Additions(bias=bias * frames, pooling=pooling * frames, fan_in=fan_in * frames)
    return found


def _adds_bias(operation: ops.AnyOperation) -> bool:
    match operation:
        case ops.Stateless():
            return bool(operation.bias_values.any())
        case ops.Neurons():
            return operation.has_bias
        case ops.Source() | ops.Sink() | ops.Delay():
            return False
        case unknown:
            assert_never(unknown)


def _comparisons(graph: Graph, frames: int) -> dict[str, int]:
    """The comparisons of each max-pooling node: one per tap on the map after the first, which every window has."""
    found: dict[str, int] = {}
    for node in graph.nodes.values():
        match node.operation:
            case ops.MaxPool2d() as pool:
                found[node.name] = (int(pool.fan_out(node.shapes).sum()) - prod(node.shape)) * frames
            case ops.SelfAttention() | ops.Linear() | ops.Neurons() | ops.Source() | ops.Sink() | ops.Delay():
                pass
            case unknown:
                assert_never(unknown)
    return found
