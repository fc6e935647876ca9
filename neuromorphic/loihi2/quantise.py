"""Post-training quantisation: a float graph and calibration frames to the integers of the chip.

1. Every stream gets its unit λ: of those that are possible (`units`) the one whose weights, rounded to nearest, do the
   least damage at the neurons.  Damage is spike disagreement, the fraction of spikes that differ from the float
   graph's, here on the float graph's own inputs.
2. In topological order, on inputs that are quantised by then: weights are rounded so that their errors cancel
   (`rounding`), biases take up what is left of the mean, and the spikes that result go to the next.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import Graph, Node, Scale
from neuromorphic.loihi2.calibrate import Calibration
from neuromorphic.loihi2.folding import folded
from neuromorphic.loihi2.integers import (
    MOST,
    dequantised,
    input_unit,
    integers,
    pooled_unit,
    weights,
    with_snapped_biases,
)
from neuromorphic.loihi2.parameters import Biased, Weighted, weights_of, with_weights
from neuromorphic.loihi2.populations import Neurons, drive
from neuromorphic.loihi2.rounding import Rounding, mean_change, round_in_turn, round_to_nearest, windows
from neuromorphic.loihi2.scheme import Choice, Granularity, Scheme
from neuromorphic.loihi2.streams import Stream, host_nodes, streams
from neuromorphic.loihi2.supported import check_supported
from neuromorphic.loihi2.units import Units
from neuromorphic.loihi2.widths import GRADED_BITS, THRESHOLD_BITS

Progress = Callable[[int, int, str], None]


def quantise(
    graph: Graph,
    frames: NDArray[np.float32],
    granularity: Granularity = "layer",
    rounding: Rounding = "in turn",
    progress: Progress = lambda done, total, name: None,
) -> tuple[Graph, Scheme]:
    """The integer graph of a float graph, and its scheme: `integers` of what `calibrate` returns."""
    floats, scheme = calibrate(graph, frames, granularity, rounding, progress)
    return integers(floats, scheme), scheme


def calibrate(
    graph: Graph,
    frames: NDArray[np.float32],
    granularity: Granularity = "layer",
    rounding: Rounding = "in turn",
    progress: Progress = lambda done, total, name: None,
) -> tuple[Graph, Scheme]:
    """A float graph whose numbers are the chip's, and the scheme in which they are integers.

    Args:
        graph: a validated graph of floats.
        frames: calibration images, float32 `[N, *input shape]`, as `encode` returns them for `graph`.
        granularity: of the weights' exponents.
        rounding: of the weights.
        progress: told (populations done, populations in all, the name of the last).

    Raises:
        RefusedInput: the graph has neurons or sums that the chip does not have, by name.
    """
    steps = graph.metadata.time_steps
    if steps is None:
        raise RefusedInput(f"{graph.source}: the file doesn't say how many time steps an image takes")
    if graph.precision == "loihi2":
        raise RefusedInput(f"{graph.source} is quantised already; expected floats")
    graph = folded(graph)
    check_supported(graph)
    work = _Work(graph, frames, steps, granularity)
    lossy: set[str] = set()
    for stream in streams(graph):
        lossy.update(() if work.choose(stream) else stream.synapses)
    work.read_out()
    done = 0
    for node in graph.nodes.values():
        if node.spiking:
            work.fire(node)
            done += 1
            progress(done, len(graph.populations), node.name)
        elif node.name in lossy and isinstance(node.operation, Scale):
            work.round_scale(node, node.operation)
        elif node.name in lossy and isinstance(node.operation, Biased):
            work.round(node, rounding)
    return dequantised(work.graph, integers(work.graph, work.scheme), work.scheme), work.scheme


class _Work:
    """A scheme in the making, and the graph with the numbers that its integers stand for."""

    def __init__(self, graph: Graph, frames: NDArray[np.float32], time_steps: int, granularity: Granularity) -> None:
        scale = input_scale(graph, frames)
        limit = 2.0 ** (GRADED_BITS - 1)
        whole = np.clip(np.round(frames * scale), -limit, limit - 1)
        record = {"images": len(frames), "sha256": hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()}
        self.graph = graph
        self.calibration = Calibration(graph, frames, (whole / scale).astype(np.float32), time_steps)
        self.units = Units(graph, scale, time_steps)
        self.scheme = Scheme(granularity, scale, {}, {}, {}, {}, {}, record)
        self.spikes: dict[str, NDArray[np.uint8]] = {}
        self.streams: dict[str, Stream] = {}

    def choose(self, stream: Stream) -> bool:
        """Give a stream its unit, and its nodes their exponents; returns whether it is exact."""
        unit = self.units.exact(stream, self.scheme)
        exact = unit is not None
        if unit is None:
            units = self.units.candidates(stream, self.scheme)
            unit = units[0] if len(units) == 1 else min(units, key=lambda u: self._damage(stream, u))
        self.scheme = self.units.scheme(stream, self.scheme, unit)
        self.streams.update(dict.fromkeys(stream.synapses, stream))
        chosen = {name: Choice(exact) for name in stream.populations}
        self.scheme = replace(self.scheme, populations={**self.scheme.populations, **chosen})
        return exact

    def _damage(self, stream: Stream, unit: float) -> float:
        """Spikes per image and step that change in a stream's populations, on the inputs of the float graph."""
        scheme = self.units.scheme(stream, self.scheme, unit)
        nodes = dict(self.graph.nodes)
        for name in stream.synapses:
            operation = nodes[name].operation
            if isinstance(operation, Weighted):
                read = input_unit(self.graph, scheme, nodes[name])
                weight = weights(weights_of(operation), name, read, scheme) * np.float32(unit / read)
                nodes[name] = replace(nodes[name], operation=with_weights(operation, weight))
        graph = with_snapped_biases(replace(self.graph, nodes=nodes), scheme)
        changed = 0.0
        for name in stream.populations:
            spikes = self.calibration.judged(graph, name)
            changed += self.calibration.disagreement(name, spikes) * spikes[0, 0].size
        return changed

    def read_out(self) -> None:
        """Give the host's nodes units: the largest weight of a readout becomes 127."""
        host = host_nodes(self.graph)
        for node in self.graph.nodes.values():
            if node.name not in host or node.name == self.graph.input:
                continue
            unit, scheme = pooled_unit(self.graph, self.scheme, node), self.scheme
            if isinstance(node.operation, Weighted):
                unit *= float(np.abs(weights_of(node.operation)).max()) / MOST
                exponents, clipping = {**scheme.exponents, node.name: (0,)}, {**scheme.clipping, node.name: (1.0,)}
                scheme = replace(scheme, exponents=exponents, clipping=clipping)
            self.scheme = replace(scheme, units={**scheme.units, node.name: unit})

    def round(self, node: Node, rounding: Rounding) -> None:
        """Round a node's weights for the inputs that it has by now, and correct its bias by what that changes."""
        operation = node.operation
        if not isinstance(operation, Biased):
            raise TypeError(f"node {node.name!r} has no weights")
        exponents = np.asarray(self.scheme.exponents[node.name], np.float64)[:, None]
        step = self.scheme.units[node.name] / input_unit(self.graph, self.scheme, node) * 2.0**exponents
        flat = operation.weight.reshape(len(operation.weight), -1).astype(np.float64)
        maps = self.calibration.maps
        after = windows(node, maps(self.graph, node, self.spikes))
        whole = round_in_turn(flat / step, after) if rounding == "in turn" else round_to_nearest(flat / step)
        before = windows(node, maps(self.graph, node, self.calibration.spikes))
        bias = (operation.bias + mean_change(flat, before, whole * step, after)).astype(np.float32)
        weight = (whole * step).reshape(operation.weight.shape).astype(np.float32)
        self.scheme = self.units.with_room(self.streams[node.name], self.scheme, self.graph, node.name, bias)
        self._replace(node, replace(operation, weight=weight, bias=bias))

    def round_scale(self, node: Node, operation: Scale) -> None:
        """Round factors to nearest: each neuron has one, which no other makes up for."""
        read = input_unit(self.graph, self.scheme, node)
        whole = weights(operation.scale, node.name, read, self.scheme)
        self._replace(node, Scale((whole * (self.scheme.units[node.name] / read)).astype(np.float32)))

    def fire(self, node: Node) -> None:
        """Round a population's thresholds, and keep its spikes for the nodes behind it."""
        neurons = self.units.neurons(node.name)
        factor = drive(neurons) * self.scheme.units[node.name]
        choice = self.scheme.populations[node.name]
        count = neurons.threshold / factor
        # A unit such as 1/99 is no float: what is an integer but for that counts as one.
        whole = np.floor(count * (1 + 4 * np.finfo(np.float64).eps)) if choice.exact else np.round(count)
        threshold = (np.minimum(whole, 2**THRESHOLD_BITS - 1) * factor).astype(np.float32)
        self._replace(node, replace(neurons, threshold=threshold))
        self.spikes[node.name] = self.calibration.fired(self.graph, node.name, self.spikes)
        choice = replace(choice, disagreement=self.calibration.disagreement(node.name, self.spikes[node.name]))
        self.scheme = replace(self.scheme, populations={**self.scheme.populations, node.name: choice})

    def _replace(self, node: Node, operation: Weighted | Neurons) -> None:
        nodes = {**self.graph.nodes, node.name: replace(node, operation=operation)}
        self.graph = with_snapped_biases(replace(self.graph, nodes=nodes), self.scheme)


def input_scale(graph: Graph, frames: NDArray[np.float32]) -> float:
    """The largest scale with which every pixel level fits 8 bits, signed; without preprocessing, every frame given.

    Raises:
        RefusedInput: all values are zero.
    """
    settings = graph.metadata.preprocessing
    values = frames if settings is None else (np.arange(256)[:, None] - settings["mean"]) / np.asarray(settings["std"])
    high, low = max(float(values.max()), 0.0), max(-float(values.min()), 0.0)
    if not high and not low:
        raise RefusedInput(f"{graph.source}: all calibration frames are zero; expected images")
    limit = 2.0 ** (GRADED_BITS - 1)
    return min((limit - 1) / high if high else np.inf, limit / low if low else np.inf)
