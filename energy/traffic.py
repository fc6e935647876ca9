"""Memory traffic: what is read and written, under two assumptions that bound any real machine.

Without reuse every operation fetches its operands:

    SOP                        reads a weight, reads and writes the state of its target
    neuron update              reads and writes a state
    addition of attention      reads and writes a sum
    MAC                        reads a weight and an activation (of two activations: both)
    tap of a pool on real values, addition of branches     reads an activation
    addition of a bias         reads a weight

With ideal reuse every datum moves once per image: weights and biases are read once, real values once per step where
they change, and states and sums stay in registers.  Under both, a spike is written once, as an address, and read once
by every node that reads its population; and a real value is written once where another node than a neuron reads it.
A synapse of pooling or between neurons has no weight to read.  A MAC's sum stays in a register: it works output by
output, which a SOP, driven by its input, can't.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal, assert_never

import numpy as np
from numpy.typing import NDArray

from energy.counts import AnnCounts, AnnShapes, OperationCounts
from energy.dataflow import constant
from energy.events import arriving, event_senders
from energy.prices import Widths
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import Delay, Linear, MaxPool2d, Neurons, SelfAttention, Sink, Source, Weighted

Reuse = Literal["ideal_reuse", "no_reuse"]
Kept = Literal["weights", "states", "spikes", "activations"]


@dataclass(frozen=True)
class Access:
    """Elements that one layer moves between one of its arrays and the arithmetic.

    Attributes:
        layer: name of the node or of the twin's layer.
        part: what they are.
        moved: int64 `[images]`, or `[1]` where it is the same for every image.
        held: elements of the array that they are in, which decides the memory that it fits into.
        driven: whether `moved` is proportional to spikes.
    """

    layer: str
    part: Kept
    moved: NDArray[np.int64]
    held: int
    driven: bool

    def bytes_held(self, widths: Widths) -> int:
        """The array in bytes."""
        return -(-self.held * width(self.part, widths) // 8)


def width(part: Kept, widths: Widths) -> int:
    """The number of bits of one element of an array."""
    return {
        "weights": widths.weight,
        "states": widths.state,
        "spikes": widths.address,
        "activations": widths.activation,
    }[part]


def snn_accesses(graph: Graph, counts: OperationCounts, reuse: Reuse) -> list[Access]:
    """The accesses of the encoder under one assumption on reuse, without those that move nothing."""
    found: list[Access] = []
    for node in graph.nodes.values():
        if isinstance(node.operation, Source | Sink):
            continue
        found += _spikes(graph, node, counts)
        found += _real_values(graph, node, counts, reuse)
        found += _weights_and_states(node, counts, reuse)
    return [access for access in found if access.moved.any()]


def _spikes(graph: Graph, node: Node, counts: OperationCounts) -> list[Access]:
    """Events: written by a population or a pool, read by every node that they arrive at."""
    found: list[Access] = []
    events, _ = arriving(graph, node)
    if not isinstance(node.operation, Delay):  # which keeps them where they are
        for arrival, read in zip(events, counts.events_read.get(node.name, ()), strict=True):
            found.append(Access(node.name, "spikes", read, prod(arrival.sender.shape), True))
    if node.spiking:
        own = counts.populations[node.name]
        found.append(Access(node.name, "spikes", own.per_step.sum(1), own.neurons, True))
    elif node.name in event_senders(graph) and _stored(graph, node):
        found.append(Access(node.name, "spikes", counts.events_sent[node.name], prod(node.shape), True))
    return found


def _real_values(graph: Graph, node: Node, counts: OperationCounts, reuse: Reuse) -> list[Access]:
    """Read by a node that is no neuron; written by one that such a node reads."""
    found: list[Access] = []
    real = [arrival.sender for arrival in arriving(graph, node)[1]]
    elements = prod(node.input_shape)
    unchanging = constant(graph)
    if real and not node.neurons:
        if reuse == "ideal_reuse":
            times = sum(1 if sender.name in unchanging else counts.time_steps for sender in real)
            moved = _same(times * elements)
        else:
            moved = _fetched(node, counts) + (len(real) - 1) * elements * counts.time_steps
        found.append(Access(node.name, "activations", moved, elements, False))
    if node.name not in event_senders(graph) and _stored(graph, node):
        size = prod(node.shape)
        times = 1 if reuse == "ideal_reuse" and node.name in unchanging else counts.time_steps
        found.append(Access(node.name, "activations", _same(size * times), size, False))
    return found


def _fetched(node: Node, counts: OperationCounts) -> NDArray[np.int64]:
    """Operands of all steps on real values: one for each MAC of an image, else for each tap."""
    if isinstance(node.operation, Linear) and node.operation.multiplies:
        return counts.layers[node.name].macs_per_image
    return _same(_taps(node) * counts.time_steps)


def _taps(node: Node) -> int:
    match node.operation:
        case Linear() as linear:
            return int(linear.fan_out(node.shapes).sum())
        case MaxPool2d() as pool:
            return int(pool.fan_out(node.shapes).sum())
        case SelfAttention() | Neurons() | Source() | Sink() | Delay():
            return prod(node.input_shape)
        case unknown:
            assert_never(unknown)


def _stored(graph: Graph, node: Node) -> bool:
    """Whether a node other than a neuron or the output reads what `node` computes."""
    return any(not reader.neurons and reader.name not in graph.outputs for reader in graph.readers(node.name))


def _weights_and_states(node: Node, counts: OperationCounts, reuse: Reuse) -> list[Access]:
    found: list[Access] = []
    layer, bias = counts.layers.get(node.name), counts.additions_per_node.get(node.name)
    biases = 0 if bias is None else bias.bias // counts.images
    held = 0
    if isinstance(node.operation, Weighted):
        held = node.operation.weights.size + (node.operation.bias_values.size if biases else 0)
    if reuse == "ideal_reuse":
        return [Access(node.name, "weights", _same(held), held, False)]
    if layer is not None:
        macs = layer.macs_per_image
        sops = layer.per_step.sum(1)
        if held:
            found.append(Access(node.name, "weights", sops, held, True))
            found.append(Access(node.name, "weights", macs + biases, held, False))
        found.append(Access(node.name, "states", 2 * sops, prod(node.shape), True))
        if layer.attention is not None and isinstance(node.operation, SelfAttention):
            sums = node.shape[0] ** 2 // node.operation.heads
            for product, held in zip(layer.attention.products.values(), (sums, prod(node.shape)), strict=True):
                found.append(Access(node.name, "states", 2 * product.coincidences_per_step.sum(1), held, True))
    if isinstance(node.operation, Neurons):
        kept = prod(node.shape) * node.operation.states
        found.append(Access(node.name, "states", _same(2 * kept * counts.time_steps), kept, False))
    return found


def ann_accesses(ann: AnnCounts, reuse: Reuse) -> list[Access]:
    """The accesses of the ANN twin, in layers whose shapes are known."""
    found: list[Access] = []
    for name, layer in ann.layers.items():
        if layer.shapes is not None:
            found += _of_ann_layer(name, layer.macs // ann.images, layer.shapes, reuse)
    return [access for access in found if access.moved.any()]


def _of_ann_layer(name: str, macs: int, shapes: AnnShapes, reuse: Reuse) -> list[Access]:
    held = shapes.weights + shapes.biases
    if reuse == "ideal_reuse":
        weights, activations = held, shapes.inputs
    else:
        weights = macs + (shapes.outputs if shapes.biases else 0) if held else 0
        activations = macs if held else 2 * macs
    return [
        Access(name, "weights", _same(weights), held, False),
        Access(name, "activations", _same(activations), shapes.inputs, False),
        Access(name, "activations", _same(shapes.outputs), shapes.outputs, False),
    ]


def _same(moved: int) -> NDArray[np.int64]:
    return np.array([moved], np.int64)
