"""Random small graphs whose arithmetic is exact in float32, as a hypothesis strategy.

Populations read up to three branches: convolutions with strides and padding, sum-pooling, a convolution pooled, edges
straight from another population, currents that other populations read too (a residual stream), and both extension
nodes: maxima of frames, of spikes or of sums of currents, and attention to a population.  Sources are drawn among
everything built so far, so that branches of different depth meet.

Weights are multiples of 2^-3, inputs of 2^-2, scales powers of two; with T and tau as drawn, every value a neuron sees
needs less than the 24 bits of a float32.
"""

from dataclasses import dataclass, field, replace

import nir
import numpy as np
from hypothesis import strategies as st

from neuromorphic.ir.graph import Graph
from neuromorphic.ops import Affine, Conv2d, Lif, LoihiLif, SelfAttention
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import conv, lif, metadata

WEIGHT_BITS, INPUT_BITS = 3, 2
WINDOWS = [(k, s, p) for k in (1, 2, 3) for s in (1, 2) for p in (0, 1) if p < k]
CHANNELS = [1, 2, 3, 4, 6, 6, 9, 12]
"""Of maps; thirds of the multiples of three are Q, K and V."""


@dataclass(repr=False)
class Example:
    """A graph, the thresholds of its populations as SpikingJelly has them (fires at >=), and frames to run it on."""

    graph: nir.NIRGraph
    thresholds: dict[str, float]
    frames: np.ndarray

    def __repr__(self):
        nodes = ", ".join(f"{name} {type(node).__name__}" for name, node in self.graph.nodes.items())
        return f"Example({nodes}; {self.graph.edges}; thresholds {self.thresholds}; frames {self.frames.shape})"


@dataclass
class _Builder:
    draw: object
    rng: np.random.Generator
    nodes: dict = field(default_factory=dict)
    edges: list = field(default_factory=list)
    shapes: dict = field(default_factory=dict)
    spiking: list = field(default_factory=list)
    currents: list = field(default_factory=list)

    def pick(self, options):
        return self.draw(st.sampled_from(list(options)))

    def add(self, name, node, shape, *sources):
        self.nodes[name], self.shapes[name] = node, shape
        self.edges.extend((source, name) for source in sources)
        return name

    def weights(self, *shape):
        return self.rng.integers(-12, 17, shape) / 2.0**WEIGHT_BITS

    def convolution(self, name, source, window, out_channels):
        kernel, stride, padding = window
        channels, height, width = self.shapes[source]
        node = conv(
            self.weights(out_channels, channels, kernel, kernel),
            self.weights(out_channels),
            stride,
            padding,
            (height, width),
        )
        shape = (out_channels, *(windows(n, window) for n in (height, width)))
        return self.add(name, node, shape, source)

    def pooling(self, name, source, window):
        kernel, stride, padding = (np.array([n, n]) for n in window)
        channels, height, width = self.shapes[source]
        return self.add(
            name,
            nir.SumPool2d(kernel, stride, padding),
            (channels, *(windows(n, window) for n in (height, width))),
            source,
        )

    def maximum(self, name, sources, window):
        kernel, stride, padding = (np.array([n, n]) for n in window)
        channels, *size = self.shapes[sources[0]]
        node = MaxPool2d(np.array([channels, *size]), kernel, stride, padding)
        return self.add(name, node, (channels, *(windows(n, window) for n in size)), *sources)

    def attention(self, name, source):
        channels, *size = self.shapes[source]
        width = channels // 3
        heads = self.pick([n for n in (1, 2, 3) if width % n == 0])
        scale = self.pick([0.125, 0.5, 1.0, 2.0])
        node = SpikingSelfAttention(np.array(self.shapes[source]), heads, scale)
        return self.add(name, node, (width, *size), source)


def windows(size, window):
    kernel, stride, padding = window
    return (size + 2 * padding - kernel) // stride + 1


def fitting(shape, target=None):
    """Windows (kernel, stride, padding) that a map of `shape` takes and that leave a map of `target`'s size."""
    return [
        w for w in WINDOWS
        if all(windows(n, w) >= 1 for n in shape[1:])
        and (target is None or [windows(n, w) for n in shape[1:]] == list(target[1:]))
    ]  # fmt: skip


def _branch(build, name, source, target):
    """One more branch from `source`; its output has `target`'s shape where one is given.  None where none fits."""
    shape = build.shapes[source]
    options = []
    fits = fitting(shape, target)
    if fits:
        options.append("conv")
        if target is None or shape[0] == target[0]:
            options.append("pool")
        if source != "input" and min(shape[1:]) >= 2:
            options.append("conv, pool")
        options.append("max")
    if source != "input" and shape[0] % 3 == 0 and target in (None, (shape[0] // 3, *shape[1:])):
        options += ["attention"] * 4  # most populations can't be attended to: those that can shall be
    if source != "input" and (target is None or shape == target):
        options.append("edge")
    if not options:
        return None
    kind = build.pick(options)
    if kind == "edge":
        return source
    if kind == "attention":
        return build.attention(name, source)
    channels = build.pick(CHANNELS) if target is None else target[0]
    if kind == "pool":
        return build.pooling(name, source, build.pick(fits))
    if kind == "conv, pool":
        inner = build.convolution(f"{name}.inner", source, (1, 1, 0), channels)
        return build.pooling(name, inner, build.pick(fits))
    if kind == "max":
        return build.maximum(name, _summands(build, f"{name}.inner", source, channels), build.pick(fits))
    return build.convolution(name, source, build.pick(fits), channels)


def _summands(build, name, source, channels):
    """What a maximum sums: the source itself or currents on a map of its size, and whatever else has their shape."""
    found = [source]
    if build.shapes[source][0] != channels or build.draw(st.booleans()):
        window = build.pick([(1, 1, 0), (3, 1, 1)])
        found = [build.convolution(name, source, window, channels)]
        if window == (1, 1, 0) and build.draw(st.booleans()):
            found = [build.pooling(f"{name}.sum", name, (3, 1, 1))]  # fewer biases reach the borders
    shape = build.shapes[found[0]]
    more = [other for other in (*build.currents, *build.spiking) if build.shapes[other] == shape and other not in found]
    if more and build.draw(st.booleans()):
        found.append(build.pick(more))
    if found[0] != source and build.draw(st.booleans()):
        build.currents.append(found[0])
    return found


def _population(build, index, steps, thresholds):
    name = f"lif{index}"
    source = build.pick(["input"] if not build.spiking else build.spiking)
    first = _branch(build, f"syn{index}.0", source, None)
    target = build.shapes[first]
    sources = [first]
    for extra in range(build.draw(st.integers(0, 2))):
        streams = [c for c in build.currents if build.shapes[c] == target and c not in sources]
        if streams and build.draw(st.booleans()):
            sources.append(build.pick(streams))
            continue
        more = _branch(build, f"syn{index}.{extra + 1}", build.pick(["input", *build.spiking]), target)
        if more is not None and more not in sources:
            sources.append(more)
    build.currents += [s for s in sources if s not in build.spiking]
    tau = build.pick([2.0, 4.0] if steps <= 3 else [2.0])
    gain = build.pick([0.5, 1.0, 2.0])
    thresholds[name] = build.pick([0.25, 0.5, 1.0, 1.5, 3.0])
    below = np.nextafter(np.float32(thresholds[name]), np.float32(0))
    build.add(name, lif(target, below, tau, gain), target, *sources)
    build.spiking.append(name)


@st.composite
def examples(draw, max_populations=6):
    """Random `Example`s."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.integers(1, 5))
    build = _Builder(draw, rng)
    shape = (draw(st.integers(1, 3)), draw(st.integers(2, 7)), draw(st.integers(2, 7)))
    build.add("input", nir.Input(np.array(shape)), shape)
    thresholds = {}
    for index in range(draw(st.integers(1, max_populations))):
        _population(build, index, steps, thresholds)
    last = build.spiking[-1]
    if draw(st.booleans()):
        last = build.maximum("maximum", [last], build.pick(fitting(build.shapes[last])))
    if draw(st.booleans()):
        size = int(np.prod(build.shapes[last]))
        build.add("flat", nir.Flatten({"input": np.array(build.shapes[last])}, 0, -1), (size,), last)
        readout = nir.Affine(build.weights(3, size).astype(np.float32), build.weights(3).astype(np.float32))
        last = build.add("readout", readout, (3,), "flat")
    build.add("output", nir.Output(np.array(build.shapes[last])), build.shapes[last], last)
    images = draw(st.integers(1, 3))
    frames = rng.integers(-8, 9, (images, *shape)) / 2.0**INPUT_BITS
    graph = nir.NIRGraph(build.nodes, build.edges, metadata=metadata(steps), type_check=False)
    return Example(graph, thresholds, frames.astype(np.float32))


@dataclass(repr=False)
class IntegerExample:
    """A graph in the integers of Loihi 2, and frames of 8-bit graded spikes."""

    graph: Graph
    frames: np.ndarray

    def __repr__(self):
        nodes = ", ".join(f"{name} {type(node.operation).__name__}" for name, node in self.graph.nodes.items())
        return f"IntegerExample({nodes}; T {self.graph.metadata.time_steps}; frames {self.frames.shape})"


@st.composite
def integer_examples(draw, max_populations=6, stock=False):
    """Random graphs of `examples`, their numbers replaced by integers of every size that the chip's widths allow.

    With weight exponents of 7, currents wrap and membranes saturate.  `stock` ones are for Lava's own processes, which
    wrap once: exponents up to 4, and no more than a convolution's synapses hold.
    """
    max_exponent = 4 if stock else 7
    drawn = draw(examples(max_populations))
    graph = from_nir(drawn.graph)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    after = _behind_populations(graph)
    nodes = {}
    for node in graph.nodes.values():
        operation = node.operation
        match operation:
            case Conv2d() | Affine():
                exponent = draw(
                    st.integers(0, min(max_exponent, operation.largest_exponent) if stock else max_exponent)
                )
                weight = (rng.integers(-128, 128, operation.weight.shape) << exponent).astype(np.float32)
                bias = rng.integers(-(2**12), 2**12, len(weight)) * (node.name in after)
                operation = replace(operation, weight=weight, bias=bias.astype(np.float32))
            case SelfAttention():
                operation = replace(operation, scale=2.0 ** draw(st.integers(0, max_exponent)))
            case Lif():
                operation = LoihiLif(
                    decay=draw(st.one_of(st.sampled_from([0, 1024, 2048, 3072, 4095]), st.integers(0, 4095))),
                    threshold=rng.integers(0, 2 ** draw(st.integers(0, 17)), node.shape, np.int32),
                    bias_mantissa=rng.integers(-(2**12), 2**12, node.shape, np.int32),
                    bias_exponent=draw(st.integers(0, 7)),
                    lowering=None if stock or draw(st.booleans()) else rng.integers(0, 2**17, node.shape, np.int32),
                )
        nodes[node.name] = replace(node, operation=operation)
    frames = rng.integers(-128, 128, drawn.frames.shape).astype(np.float32)
    return IntegerExample(replace(graph, nodes=nodes), frames)


def _behind_populations(graph):
    """Names of the nodes that no population follows: their biases are the host's."""
    before = set()
    for node in reversed(list(graph.nodes.values())):
        if node.spiking or node.name in before:
            before.update(node.sources)
    return {name for name in graph.nodes if name not in before}
