"""`integers`: a float graph and a scheme become the integers of the chip.

The result is an ordinary `Graph` whose populations are `LoihiLif` and whose synapses hold integers.  Biases move to the
populations, spikes that reach a population directly get synapses of their own, and sums of spikes become convolutions.
The nodes of the readout, which run on the host, hold integers too, and keep their biases.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never, cast

import numpy as np

import neuromorphic.ops as ops
from neuromorphic.analysis.fingerprint import lineage
from neuromorphic.analysis.order import arranged
from neuromorphic.analysis.streams import host_nodes, spike_carriers, weighs
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node, unused
from neuromorphic.ir.metadata import GraphMetadata, Readout, normalisation
from neuromorphic.loihi2.biases import chip_biases
from neuromorphic.loihi2.certificate import certify_widths
from neuromorphic.loihi2.populations import STEP, FloatNeurons, population, with_snapped_rest, with_thresholds
from neuromorphic.loihi2.scheme import KEY, Scheme
from neuromorphic.loihi2.supported import check_supported, microcode
from neuromorphic.ops.widths import GRADED_LEAST, GRADED_MOST, WEIGHT_LEAST, WEIGHT_MOST


def integers(graph: Graph, scheme: Scheme) -> Graph:
    """The integer graph of `graph` under `scheme`.

    Raises:
        RefusedInput: a population that the chip does not have or a parameter outside its width, by name.
    """
    check_supported(graph)
    host, carriers = host_nodes(graph), spike_carriers(graph)
    biases = chip_biases(with_snapped_biases(graph, scheme), held=host)
    nodes: dict[str, Node] = {}
    passed = _factors_of_one(graph)
    for node in graph.nodes.values():
        if node.name in passed:
            continue
        sources = tuple(s for name in node.sources for s in _behind(graph, name, passed))
        here = replace(node, operation=_integer(graph, node, scheme, biases[node.name]), sources=sources)
        if node.spiking or not (weighs(node, carriers) or node.name in host | carriers):
            here = replace(here, sources=_through_synapses(nodes, here, carriers, graph, scheme))
        nodes[node.name] = here
    metadata = _metadata(graph, scheme, {name: biases[name] for name in graph.outputs})
    result = replace(arranged(graph, nodes), metadata=metadata, made_of=lineage(graph))
    result = result.assuming(*microcode(result))
    return replace(result, metadata=replace(result.metadata, certificate=certify_widths(result).to_dict()))


def _factors_of_one(graph: Graph) -> frozenset[str]:
    """Names of the scales on the chip that read currents: their factors are 1 (`folding`), so they are left out."""
    host, carriers = host_nodes(graph), spike_carriers(graph)
    scales = (node for node in graph.nodes.values() if isinstance(node.operation, ops.Scale))
    return frozenset(node.name for node in scales if node.name not in host and not weighs(node, carriers))


def _behind(graph: Graph, name: str, passed: frozenset[str]) -> tuple[str, ...]:
    """The source `name`; where it is left out (`passed`), its own sources."""
    if name not in passed:
        return (name,)
    return tuple(s for before in graph.nodes[name].sources for s in _behind(graph, before, passed))


def _integer(graph: Graph, node: Node, scheme: Scheme, arriving: ops.Float64) -> ops.AnyOperation:
    """A node's operation in integers; `arriving` is the sum of the biases that reach it."""
    on_host = node.name in host_nodes(graph)
    match node.operation:
        case ops.Lif() | ops.If() | ops.CubaLif() | ops.Threshold() | ops.SoftLif() | ops.SoftIf() as neurons:
            return population(node.name, neurons, arriving, scheme)
        case ops.Li(leak=leak) | ops.CubaLi(leak=leak) as readout:  # linear but for its leak
            return replace(readout, leak=(leak / scheme.units[node.name]).astype(np.float32))
        case ops.Scale() | ops.Affine() | ops.Conv2d() as weighted:
            integers = weights(weighted.weights, node.name, input_unit(graph, scheme, node), scheme)
            unit = scheme.units[node.name] if on_host else np.inf  # the chip adds biases at its neurons
            integer = weighted.with_weights(integers)
            bias = np.asarray(np.round(weighted.bias_values / unit), np.float32)
            return integer.with_bias(bias) if weighted.biased else integer
        case ops.Fixed() as fixed if not on_host and weighs(node, spike_carriers(graph)):
            synapses = fixed.synapses(node.shapes)
            ones = weights(synapses.weights, node.name, pooled_unit(graph, scheme, node), scheme)
            return cast(ops.AnyOperation, synapses.with_weights(ones))
        case ops.Fixed() as fixed:
            return fixed.undivided()  # the host's: the unit of what leaves it is divided instead
        case ops.SelfAttention(scale=scale) as attention:
            return replace(attention, scale=float(np.round(scale / scheme.units[node.name])))
        case ops.Source() | ops.Sink() | ops.Delay() | ops.MaxPool2d() | ops.Integrator():
            return node.operation
        case ops.ChipPopulation():
            raise RefusedInput(f"{node.name} is quantised already; expected floats")
        case unknown:
            assert_never(unknown)


def input_scale(graph: Graph, frames: ops.Float32) -> float:
    """The largest factor with which all pixel levels fit 8 signed bits; without preprocessing, all numbers of `frames`.

    Where the largest such power of two makes all frames integers, as of spikes, it is that: frames stay exact.  Where
    all frames are zero it is 1.
    """
    values = np.asarray(frames, np.float64)
    if graph.metadata.preprocessing is not None:
        mean, std = normalisation(graph.metadata, graph.source)
        values = (np.arange(256)[:, None] - mean) / std
    high, low = max(float(values.max()), 0.0), max(-float(values.min()), 0.0)
    if not high and not low:
        return 1.0
    scale = min(GRADED_MOST / high if high else np.inf, -GRADED_LEAST / low if low else np.inf)
    dyadic = 2.0 ** np.floor(np.log2(scale))
    return float(dyadic if graph.metadata.preprocessing is None and not np.fmod(values * dyadic, 1).any() else scale)


def graded(graph: Graph, frames: ops.Float32) -> ops.Float32:
    """`clip(round(input_scale x), -128, 127)`: frames as the integers that `graph` reads, float32 of the same shape.

    Args:
        graph: in integers, with its scheme in the metadata's document; without a scheme, as of a netx file, frames are
            integers already and stay as they are.
        frames: as the float graph reads them.
    """
    scheme = graph.metadata.document.get(KEY)
    return frames if scheme is None else scaled(frames, scheme["input_scale"])


def ungraded(graph: Graph, frames: ops.Float32) -> ops.Float32:
    """`x / input_scale`, the inverse of `graded`: exact where that neither rounded nor clipped, as of spikes.

    Args:
        graph: of integers or floats, which reads floats as they are.
        frames: as `graph` reads them.
    """
    scheme = graph.metadata.document.get(KEY) if graph.precision == "loihi2" else None
    return frames if scheme is None else np.asarray(frames / np.float64(scheme["input_scale"]), np.float32)


def beyond(graph: Graph, frames: ops.Float32) -> int:
    """How many numbers of `frames` are clipped by `graded`: those beyond all that the graph was quantised on."""
    scheme = graph.metadata.document.get(KEY)
    if scheme is None:
        return 0
    rounded = np.round(frames * scheme["input_scale"])
    return int(np.count_nonzero((rounded < GRADED_LEAST) | (rounded > GRADED_MOST)))


def scaled(frames: ops.Float32, scale: float) -> ops.Float32:
    """`clip(round(scale x), -128, 127)`, float32 of the same shape."""
    return np.asarray(np.clip(np.round(frames * scale), GRADED_LEAST, GRADED_MOST), np.float32)


def dequantised(graph: Graph, integer: Graph, scheme: Scheme) -> Graph:
    """The float graph with the numbers that its integers stand for; `integers` makes the same integers of it again."""
    snapped = with_snapped_biases(graph, scheme)
    changed: dict[str, ops.AnyOperation] = {}
    for name, node in snapped.nodes.items():
        if name not in integer.nodes:
            continue
        operation, whole = node.operation, integer.nodes[name].operation
        if isinstance(operation, FloatNeurons) and isinstance(whole, ops.LoihiLif):
            at = np.not_equal(whole.threshold, whole.threshold if whole.lowering is None else whole.lowering)
            changed[name] = with_thresholds(operation, whole.threshold.astype(np.float64), scheme.units[name], at)
        elif isinstance(operation, ops.Weighted) and isinstance(whole, ops.Weighted):
            unit = scheme.units[name]
            weight = whole.weights * (unit / input_unit(graph, scheme, node))
            if whole.bias_values.any():
                operation = operation.with_bias((whole.bias_values * unit).astype(np.float32))
            changed[name] = operation.with_weights(weight.astype(np.float32))
    return snapped.with_operations(changed)


def with_snapped_biases(graph: Graph, scheme: Scheme) -> Graph:
    """`graph` with biases rounded to multiples of `λ 2^E / 64`, or of `λ 2^e` where they act as drives: so are sums."""
    changed: dict[str, ops.AnyOperation] = {}
    for name, exponent in scheme.bias_exponents.items():
        operation = graph.nodes[name].operation
        least = scheme.units[name] * 2.0**exponent / STEP
        if isinstance(operation, ops.Weighted) and operation.biased:
            step = scheme.units[name] * 2.0 ** scheme.drive_exponents[name] if name in scheme.drive_exponents else least
            changed[name] = operation.with_bias((np.round(operation.bias_values / step) * step).astype(np.float32))
        elif isinstance(operation, FloatNeurons):
            changed[name] = with_snapped_rest(operation, least)
    return graph.with_operations(changed)


def _through_synapses(
    nodes: dict[str, Node], node: Node, carriers: frozenset[str], graph: Graph, scheme: Scheme
) -> tuple[str, ...]:
    """The node's sources, where each that carries spikes is read through a new node of synapses, added to `nodes`."""
    names = []
    for source in node.sources:
        name = source
        if source in carriers:
            name = unused(f"{node.name}.{source}", graph.nodes)  # a subgraph's nodes are named so too
            synapses = one_to_one(node.input_shape)
            weight = nearest(carried_unit(graph, scheme, source) / scheme.units[node.name], synapses.largest_exponent)
            shape = (*node.input_shape, 1)[:3] if isinstance(synapses, ops.Conv2d) else node.input_shape
            nodes[name] = Node(name, synapses.with_weights(synapses.weights * weight), (source,), shape, shape)
        names.append(name)
    return tuple(sorted(names))


def one_to_one(shape: ops.Shape) -> ops.Conv2d | ops.Scale:
    """Synapses of weight 1 from each element of a `shape` to the same element; of maps a convolution."""
    if len(shape) not in (2, 3):
        return ops.Scale(np.ones(shape, np.float32))
    kernel, zeros = np.ones((shape[0], 1, 1, 1), np.float32), np.zeros(shape[0], np.float32)
    return ops.Conv2d(kernel, zeros, (1, 1), (0, 0), (1, 1), shape[0])


def carried_unit(graph: Graph, scheme: Scheme, name: str) -> float:
    """The unit of a node that carries spikes or frames: the number that 1 in its output stands for.

    Raises:
        RefusedInput: it sums spikes and frames.
    """
    node = graph.nodes[name]
    if isinstance(node.operation, ops.Source):
        return 1.0 / scheme.input_scale
    return 1.0 if node.spiking else input_unit(graph, scheme, node)


def input_unit(graph: Graph, scheme: Scheme, node: Node) -> float:
    """The unit of a node's input: the number that 1 in the sum that it reads stands for.

    Raises:
        RefusedInput: its sources have different units.
    """
    carriers = spike_carriers(graph)
    units = {carried_unit(graph, scheme, s) if s in carriers else scheme.units[s] for s in node.sources}
    if len(units) != 1:
        raise RefusedInput(f"{node.name}: sums {' + '.join(node.sources)}, which count in different units")
    return units.pop()


def pooled_unit(graph: Graph, scheme: Scheme, node: Node) -> float:
    """`input_unit` divided by the divisor of a pool: dividing the unit divides the values."""
    divisor = node.operation.divisor if isinstance(node.operation, ops.Fixed) else 1
    return input_unit(graph, scheme, node) / divisor


def weights(values: ops.Float32, name: str, read: float, scheme: Scheme) -> ops.Float32:
    """`2^e clip(round(w λ_in / (λ 2^e)), -128, 127)`, e per output channel: integers, float32 of the same shape."""
    exponents = np.asarray(scheme.exponents[name], np.float64).reshape(-1, *(1 for _ in values.shape[1:]))
    factor = read / (scheme.units[name] * 2.0**exponents)
    # Of negative weights alone, Lava's synapses begin at -255, which is -127 doubled.
    least = WEIGHT_LEAST if values.max(initial=0) > 0 else -WEIGHT_MOST
    return np.asarray(np.clip(np.round(values * factor), least, WEIGHT_MOST) * 2.0**exponents, np.float32)


def nearest(value: float, largest_exponent: int) -> np.float32:
    """The nearest to `value` > 0 of `2^e q`, q of 8 bits, with the least e from 0 to the largest."""
    exponent = min(max(0, int(np.ceil(np.log2(value / WEIGHT_MOST)))), largest_exponent)
    return np.float32(min(np.round(value / 2.0**exponent), WEIGHT_MOST) * 2.0**exponent)


def _metadata(graph: Graph, scheme: Scheme, constants: Mapping[str, ops.Float64]) -> GraphMetadata:
    """The metadata of the integer graph: frames and outputs are integers, in the units of the scheme.

    Args:
        graph: of floats.
        scheme: its scheme.
        constants: by output, the sum of the biases of the chip that reach it, which the readout adds.

    Raises:
        RefusedInput: there is such a constant, and no readout in the metadata to add it.
    """
    metadata = graph.metadata
    settings, readout = metadata.preprocessing, metadata.readout
    for name, brought in constants.items():
        if brought.any() and (readout is None or name != graph.output):
            raise RefusedInput(
                f"{name}: biases of the chip reach it with its currents; expected a readout in the metadata, which "
                "adds them"
            )
    constant = constants[graph.output]
    if settings is not None:
        std = [float(s) / scheme.input_scale for s in np.atleast_1d(settings["std"])]
        settings = {**settings, "std": std}
    if readout is not None:
        bias = readout.bias
        if constant.any():
            bias = constant.reshape(-1) * readout.time_weights.sum() + (bias if bias.size else 0)
        readout = Readout(readout.time_weights * scheme.units[graph.output], bias)
    return replace(metadata, preprocessing=settings, input_bits=0, readout=readout)
