"""From a float graph and a scheme to the integers of the chip: `integers`.

The result is an ordinary `Graph` whose populations are `LoihiLif` and whose synapses hold integers: biases have moved
to the populations, spikes that reach a population directly get synapses of their own, and sums of spikes become
convolutions.  The readout's nodes, which are the host's, hold integers too; its bias stays with it.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.intervals import constants
from neuromorphic.analysis.streams import host_nodes, spike_carriers, weighs
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.metadata import GraphMetadata, Readout
from neuromorphic.loihi2.certificate import certify
from neuromorphic.loihi2.parameters import Biased, Weighted, weights_of, with_weights
from neuromorphic.loihi2.populations import STEP, Neurons, population, with_snapped_rest, with_thresholds
from neuromorphic.loihi2.scheme import KEY, Scheme
from neuromorphic.loihi2.supported import check_supported
from neuromorphic.ops.linear import pool_as_convolution
from neuromorphic.ops.loihi_widths import GRADED_BITS, WEIGHT_BITS
from neuromorphic.ops.operations import (
    Affine,
    Conv1d,
    Conv2d,
    CubaLi,
    Flatten,
    Li,
    LoihiLif,
    Operation,
    Scale,
    SelfAttention,
    Source,
    SumPool2d,
)
from neuromorphic.reading.build import arranged

Floats = NDArray[np.float32]

LEAST, MOST = -(2 ** (WEIGHT_BITS - 1)), 2 ** (WEIGHT_BITS - 1) - 1


def integers(graph: Graph, scheme: Scheme) -> Graph:
    """The integer graph of `graph` under `scheme`.

    Raises:
        RefusedInput: a population that the chip does not have or a parameter outside its width, by name.
    """
    check_supported(graph)
    host, carriers = host_nodes(graph), spike_carriers(graph)
    biases = constants(with_snapped_biases(graph, scheme), held=host)
    nodes: dict[str, Node] = {}
    for node in graph.nodes.values():
        operation: Operation = node.operation
        match operation:
            case operation if isinstance(operation, Neurons):
                operation = population(node.name, operation, biases[node.name], scheme)
            case Li(leak=leak) | CubaLi(leak=leak) as readout:  # linear but for its leak
                operation = replace(readout, leak=(leak / scheme.units[node.name]).astype(np.float32))
            case Scale() if node.name not in host and not weighs(node, carriers):  # a factor of 1 (`folding`)
                operation = Flatten()
            case Scale(scale=scale):
                operation = Scale(weights(scale, node.name, input_unit(graph, scheme, node), scheme))
            case Affine() | Conv1d() | Conv2d() as weighted:
                weight = weights(weighted.weight, node.name, input_unit(graph, scheme, node), scheme)
                unit = scheme.units[node.name] if node.name in host else np.inf  # the chip adds biases at its neurons
                bias = np.asarray(np.round(weighted.bias / unit), np.float32)
                operation = replace(weighted, weight=weight, bias=bias)
            case SumPool2d() as pool if node.name not in host and weighs(node, carriers):
                ones = pool_as_convolution(node, pool)
                weight = weights(ones.weight, node.name, pooled_unit(graph, scheme, node), scheme)
                operation = replace(ones, weight=weight)
            case SumPool2d() as pool:
                operation = replace(pool, divisor=1)  # the host's: the unit of what leaves it is divided instead
            case SelfAttention(scale=scale) as attention:
                operation = replace(attention, scale=float(np.round(scale / scheme.units[node.name])))
        sources = node.sources
        if node.spiking or not (weighs(node, carriers) or node.name in host | carriers):
            sources = _through_synapses(nodes, node, carriers, graph, scheme)
        nodes[node.name] = replace(node, operation=operation, sources=sources)
    result = replace(arranged(graph, nodes), metadata=_metadata(graph, scheme, biases[graph.output]))
    return replace(result, metadata=replace(result.metadata, certificate=certify(result).to_dict()))


def graded(graph: Graph, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """`clip(round(input_scale x), -128, 127)`: frames as the integers that `graph` reads, float32 of the same shape.

    Args:
        graph: in integers, with its scheme in the metadata's document.
        frames: as the float graph reads them.
    """
    return scaled(frames, graph.metadata.document[KEY]["input_scale"])


def scaled(frames: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """`clip(round(scale x), -128, 127)`, float32 of the same shape."""
    limit = 2.0 ** (GRADED_BITS - 1)
    return np.asarray(np.clip(np.round(frames * scale), -limit, limit - 1), np.float32)


def dequantised(graph: Graph, integer: Graph, scheme: Scheme) -> Graph:
    """The float graph with the numbers that its integers stand for; `integers` makes the same integers of it.

    Args:
        graph: the float graph.
        integer: what `integers` made of it.
        scheme: its scheme.
    """
    nodes = {}
    for node in with_snapped_biases(graph, scheme).nodes.values():
        operation, whole = node.operation, integer.nodes[node.name].operation
        if isinstance(operation, Neurons) and isinstance(whole, LoihiLif):
            operation = with_thresholds(operation, whole.threshold.astype(np.float64), scheme.units[node.name])
        elif isinstance(operation, Weighted) and isinstance(whole, Weighted):
            unit = scheme.units[node.name]
            weight = weights_of(whole) * (unit / input_unit(graph, scheme, node))
            if isinstance(operation, Biased) and isinstance(whole, Biased) and whole.bias.any():
                operation = replace(operation, bias=(whole.bias * unit).astype(np.float32))
            operation = with_weights(operation, weight.astype(np.float32))
        nodes[node.name] = replace(node, operation=operation)
    return replace(graph, nodes=nodes)


def with_snapped_biases(graph: Graph, scheme: Scheme) -> Graph:
    """Biases as multiples of `λ 2^E / 64`, or of `λ 2^e` where they act as drives, so that their sums are too."""
    nodes = dict(graph.nodes)
    for name, exponent in scheme.bias_exponents.items():
        operation = nodes[name].operation
        least = scheme.units[name] * 2.0**exponent / STEP
        if isinstance(operation, Biased):
            step = scheme.units[name] * 2.0 ** scheme.drive_exponents[name] if name in scheme.drive_exponents else least
            bias = (np.round(operation.bias / step) * step).astype(np.float32)
            nodes[name] = replace(nodes[name], operation=replace(operation, bias=bias))
        elif isinstance(operation, Neurons):
            nodes[name] = replace(nodes[name], operation=with_snapped_rest(operation, least))
    return replace(graph, nodes=nodes)


def _through_synapses(
    nodes: dict[str, Node], node: Node, carriers: frozenset[str], graph: Graph, scheme: Scheme
) -> tuple[str, ...]:
    """The node's sources, each that is a spike train behind a new node of synapses, which joins `nodes`."""
    names = []
    for source in node.sources:
        name = source
        if source in carriers:
            name = f"{node.name}.{source}"
            while name in graph.nodes:  # a subgraph's nodes are named so too
                name += "+"
            weight = nearest(carried_unit(graph, scheme, source) / scheme.units[node.name])
            shape = node.input_shape
            zeros = np.zeros(shape[0], np.float32)
            if len(shape) == 3:
                kernel = np.full((shape[0], 1, 1, 1), weight, np.float32)
                synapses: Operation = Conv2d(kernel, zeros, (1, 1), (0, 0), (1, 1), shape[0])
            elif len(shape) == 2:
                synapses = Conv1d(np.full((shape[0], 1, 1), weight, np.float32), zeros, 1, 0, 1, shape[0])
            else:
                synapses = Scale(np.full(shape, weight, np.float32))
            nodes[name] = Node(name, synapses, (source,), shape, shape)
        names.append(name)
    return tuple(sorted(names))


def carried_unit(graph: Graph, scheme: Scheme, name: str) -> float:
    """What 1 in the output of a node that carries spikes or frames stands for.

    Raises:
        RefusedInput: it sums spikes and frames.
    """
    node = graph.nodes[name]
    if isinstance(node.operation, Source):
        return 1.0 / scheme.input_scale
    return 1.0 if node.spiking else input_unit(graph, scheme, node)


def input_unit(graph: Graph, scheme: Scheme, node: Node) -> float:
    """What 1 in the sum that a node reads stands for.

    Raises:
        RefusedInput: its sources count in different units.
    """
    carriers = spike_carriers(graph)
    units = {carried_unit(graph, scheme, s) if s in carriers else scheme.units[s] for s in node.sources}
    if len(units) != 1:
        raise RefusedInput(f"{node.name}: sums {' + '.join(node.sources)}, which count in different units")
    return units.pop()


def pooled_unit(graph: Graph, scheme: Scheme, node: Node) -> float:
    """`input_unit`, less what a pool divides by: its division, too, is one of units."""
    divisor = node.operation.divisor if isinstance(node.operation, SumPool2d) else 1
    return input_unit(graph, scheme, node) / divisor


def weights(values: Floats, name: str, read: float, scheme: Scheme) -> Floats:
    """`2^e clip(round(w λ_in / (λ 2^e)), -128, 127)`, e per output channel: integers, float32 of the same shape."""
    exponents = np.asarray(scheme.exponents[name], np.float64).reshape(-1, *(1 for _ in values.shape[1:]))
    factor = read / (scheme.units[name] * 2.0**exponents)
    return np.asarray(np.clip(np.round(values * factor), LEAST, MOST) * 2.0**exponents, np.float32)


def nearest(value: float) -> np.float32:
    """The nearest to `value` > 0 of `2^e q`, q of 8 bits, with the least e >= 0."""
    exponent = max(0, int(np.ceil(np.log2(value / MOST))))
    return np.float32(min(np.round(value / 2.0**exponent), MOST) * 2.0**exponent)


def _metadata(graph: Graph, scheme: Scheme, constant: NDArray[np.float64]) -> GraphMetadata:
    """That of the float graph, for integer frames and outputs.

    Args:
        graph: the float graph.
        scheme: its scheme.
        constant: what the biases of the chip, which are no part of its currents, bring to the output.

    Raises:
        RefusedInput: there is such a constant, and no readout in the metadata to add it.
    """
    metadata = graph.metadata
    settings, readout = metadata.preprocessing, metadata.readout
    if settings is not None:
        std = [float(s) / scheme.input_scale for s in np.atleast_1d(settings["std"])]
        settings = {**settings, "std": std}
    if readout is not None:
        bias = readout.bias
        if constant.any():
            bias = constant.reshape(-1) * readout.time_weights.sum() + (bias if bias.size else 0)
        readout = Readout(readout.time_weights * scheme.units[graph.output], bias)
    elif constant.any():
        raise RefusedInput(
            f"{graph.output}: biases of the chip reach it with its currents; expected a readout in the metadata, which "
            "adds them"
        )
    return replace(metadata, preprocessing=settings, input_bits=0, readout=readout)
