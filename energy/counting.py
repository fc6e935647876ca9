"""Counting: a graph says which operations there are, a trace which of them happened."""

from collections.abc import Callable
from math import prod

import numpy as np
from numpy.typing import NDArray

from energy.ann import ann_counts
from energy.attention import attention_counts
from energy.counts import Additions, Kind, LayerCounts, OperationCounts, PopulationCounts, SourceCounts
from energy.dataflow import constant, senders, summable
from energy.fanout import fan_out, kernel_taps
from energy.synaptic_operations import spikes_per_step, synaptic_operations
from energy.updates import updates_needed
from neuromorphic.errors import RefusedInput
from neuromorphic.graph import (
    Affine,
    Conv1d,
    Conv2d,
    CubaLif,
    Delay,
    Flatten,
    Graph,
    If,
    Lif,
    LoihiLif,
    MaxPool2d,
    Membranes,
    Node,
    Population,
    Scale,
    SelfAttention,
    SumPool2d,
    Threshold,
)
from neuromorphic.trace import SpikeTrain, Trace

KINDS: dict[type, Kind] = {
    Conv2d: "conv2d",
    Affine: "linear",
    Conv1d: "conv1d",
    Scale: "scale",
    SumPool2d: "pooling",
    Lif: "identity",
    If: "identity",
    CubaLif: "identity",
    Threshold: "identity",
    LoihiLif: "identity",
}
"""Nodes that have synapses; a population has some only where it reads another one directly."""


def count(
    graph: Graph, trace: Trace, progress: Callable[[int, int], None] = lambda done, total: None
) -> OperationCounts:
    """The operations of the run that `trace` shows.

    A spike arriving at an existing synapse is one SOP.  A convolution or affine node that reads real values (the
    graph's input, or a node that is no population) computes MACs, in every step.  A node that reads both does both:
    it is linear, so each spiking source counts by itself, and the real-valued ones are summed before its MACs.  What
    self-attention adds up, spikes selected by spikes, and what max-pooling compares is neither.

    Args:
        graph: a validated graph.
        trace: of a run of that graph.
        progress: told (populations counted, populations in all).

    Raises:
        RefusedInput: the trace is not of this graph, the graph has cycles, a `Delay` or neurons that send membranes, or
            the file's table of the ANN twin is not understood.
    """
    _check(graph, trace)
    nodes = [node for node in graph.nodes.values() if type(node.operation) in KINDS]
    sources = _spiking_sources(graph, trace, nodes, progress)
    frames = trace.images * trace.time_steps
    unchanging, summed, needed = constant(graph), summable(graph), updates_needed(graph, trace)
    layers: dict[str, LayerCounts] = {}
    for node in graph.nodes.values():
        if isinstance(node.operation, SelfAttention):
            layers[node.name] = _attention(node, node.operation, trace)
        if node.name not in sources:
            continue
        real = tuple(sender.name for sender in senders(graph, node) if not sender.spiking)
        if isinstance(node.operation, Population) and not sources[node.name]:
            continue
        macs = kernel_taps(node) if real and isinstance(node.operation, Conv1d | Conv2d | Affine | Scale) else 0
        layers[node.name] = LayerCounts(
            node=node.name,
            kind=KINDS[type(node.operation)],
            spiking=tuple(sources[node.name]),
            real=real,
            macs=macs * frames,
            macs_once=macs * (trace.images if unchanging.issuperset(real) else frames),
            macs_summed=macs * (trace.images if node.name in summed else frames),
        )
    return OperationCounts(
        images=trace.images,
        time_steps=trace.time_steps,
        layers=layers,
        populations={
            node.name: _population(node, trace.spikes[node.name], needed[node.name]) for node in graph.populations
        },
        additions_of=_additions(graph, frames),
        comparisons_of=_comparisons(graph, frames),
        ann=ann_counts(graph, trace.images),
    )


def _check(graph: Graph, trace: Trace) -> None:
    for neuron, reader in sorted(graph.recurrent):
        raise RefusedInput(
            f"{graph.source}: node {neuron!r} feeds back through {reader!r}; expected no cycle to count operations in"
        )
    for node in graph.nodes.values():
        if isinstance(node.operation, Delay | Membranes):
            what = "is a Delay" if isinstance(node.operation, Delay) else "sends its membranes"
            raise RefusedInput(f"{graph.source}: node {node.name!r} {what}, which is not counted")
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


def _spiking_sources(
    graph: Graph, trace: Trace, nodes: list[Node], progress: Callable[[int, int], None]
) -> dict[str, list[SourceCounts]]:
    """For each of `nodes`, the counts of every population that it reads."""
    read_by: dict[str, list[Node]] = {node.name: [] for node in graph.populations}
    for node in nodes:
        for sender in senders(graph, node):
            if sender.spiking:
                read_by[sender.name].append(node)
    frames = trace.images * trace.time_steps
    counts: dict[str, list[SourceCounts]] = {node.name: [] for node in nodes}
    for done, (name, readers) in enumerate(read_by.items()):
        progress(done, len(read_by))
        if not readers:
            continue
        train = trace.spikes[name]
        spikes, updates = train.count(), train.neurons * frames
        for node in readers:
            fan_outs = fan_out(node).reshape(-1)
            sops, dense = synaptic_operations(train, fan_outs), int(fan_outs.sum()) * frames
            counts[node.name].append(SourceCounts(name, spikes, updates, sops, dense, kernel_taps(node) * frames))
    progress(len(read_by), len(read_by))
    return counts


def _attention(node: Node, operation: SelfAttention, trace: Trace) -> LayerCounts:
    counts = attention_counts(node, operation, trace.spikes[node.sources[0]])
    return LayerCounts(node.name, "attention", (), (), 0, 0, 0, counts)


def _population(node: Node, train: SpikeTrain, needed: NDArray[np.int64]) -> PopulationCounts:
    return PopulationCounts(train.neurons, _multiplies(node), spikes_per_step(train.bits), needed)


def _multiplies(node: Node) -> bool:
    """Whether the membranes leak by anything but powers of two; a gain is as good as folded into the weights."""
    match node.operation:
        case Lif(decay=decay):
            kept = 1.0 - decay.astype(np.float64)
        case CubaLif(synapse_decay=synapse, decay=decay):
            kept = 1.0 - np.stack([synapse, decay]).astype(np.float64)
        case If() | Threshold():
            return False
        case LoihiLif(decay=decay_of_4096):
            kept = np.array(1.0 - decay_of_4096 / 4096)
        case other:
            raise TypeError(f"node {node.name!r}: {type(other).__name__} has no membranes")
    mantissa, _ = np.frexp(kept)
    return bool(((np.abs(mantissa) != 0.5) & (kept != 0)).any())


def _additions(graph: Graph, frames: int) -> dict[str, Additions]:
    found: dict[str, Additions] = {}
    for node in graph.nodes.values():
        if isinstance(node.operation, Flatten):  # `senders` adds up what it sums where that is read
            continue
        bias = pooling = 0
        arriving = senders(graph, node)
        real = sum(not sender.spiking for sender in arriving)
        summed = len(arriving) if isinstance(node.operation, MaxPool2d) else real
        fan_in = max(0, summed - 1) * prod(node.input_shape)
        if isinstance(node.operation, Conv1d | Conv2d | Affine | LoihiLif) and node.operation.bias.any():
            bias = prod(node.shape)
        if isinstance(node.operation, SumPool2d) and real:
            pooling = int(fan_out(node).sum())
        if bias or pooling or fan_in:
            found[node.name] = Additions(bias * frames, pooling * frames, fan_in * frames)
    return found


def _comparisons(graph: Graph, frames: int) -> dict[str, int]:
    """Of all max-pooling, by node; every window has at least one tap on the map."""
    pools = (node for node in graph.nodes.values() if isinstance(node.operation, MaxPool2d))
    return {pool.name: (int(fan_out(pool).sum()) - prod(pool.shape)) * frames for pool in pools}
