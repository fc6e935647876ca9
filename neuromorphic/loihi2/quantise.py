"""Post-training quantisation: a float graph and calibration frames to the integers of the chip.

1. Each stream gets its unit λ: the candidates of one octave above the least λ with which nothing can wrap, saturate or
   leave its width, whatever the input.  Weights are rounded with the exponent that leaves the smaller error, clipped or
   not; what is judged is the damage at the neurons, `disagreement`: the fraction of spikes that differ from the float
   graph's, on the float graph's inputs.
2. In topological order, on inputs that are quantised already, thresholds are shifted where that makes up for what
   quantisation before them did to the firing.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import Affine, Conv2d, Graph, Lif, Node, SelfAttention, SumPool2d
from neuromorphic.loihi2.bounds import constants, intervals
from neuromorphic.loihi2.calibrate import Calibration
from neuromorphic.loihi2.gates import exact_unit
from neuromorphic.loihi2.integers import (
    LEAST,
    MOST,
    STEP,
    carried_unit,
    check_decay,
    input_unit,
    integers,
    weights,
    with_snapped_biases,
)
from neuromorphic.loihi2.scheme import Choice, Granularity, Scheme
from neuromorphic.loihi2.streams import Stream, host_nodes, spike_carriers, streams
from neuromorphic.loihi2.widths import (
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    GRADED_BITS,
    STATE_LIMIT,
    THRESHOLD_BITS,
    WEIGHT_EXPONENT,
)

CANDIDATES = 8
"""Units that are tried per stream, evenly over an octave."""

SHIFTS = (0.0,)
"""Of thresholds, relative."""

HEADROOM = 2.0
"""How many times the greatest current that the calibration images cause in neurons which read frames fits u."""

MARGIN = 1 / 64
"""Room, relative, that units leave for what rounding adds to sums of weights."""

Floats = NDArray[np.float64]
Progress = Callable[[str], None]


def quantise(
    graph: Graph,
    frames: NDArray[np.float32],
    granularity: Granularity = "channel",
    progress: Progress = lambda name: None,
) -> tuple[Graph, Scheme]:
    """The integer graph of a float graph, and the scheme that says how it became one.

    Args:
        graph: a validated graph of floats.
        frames: calibration images, float32 `[N, *input shape]`, as `encode` returns them for `graph`.
        granularity: of the weights' exponents.
        progress: told the name of each population when it is done.

    Raises:
        RefusedInput: the graph has neurons or sums that the chip does not have, by name.
    """
    steps = graph.metadata.time_steps
    if steps is None:
        raise RefusedInput(f"{graph.source}: the file doesn't say how many time steps an image takes")
    if any(not isinstance(node.operation, Lif) for node in graph.populations):
        raise RefusedInput(f"{graph.source} is quantised already; expected floats")
    work = _Work(graph, frames, steps, granularity)
    for stream in streams(graph):
        work.choose(stream)
    work.read_out()
    for node in graph.populations:
        work.shift(node, progress)
    return work.result()


class _Work:
    """A scheme in the making, and the graph with the numbers that its integers stand for."""

    def __init__(self, graph: Graph, frames: NDArray[np.float32], time_steps: int, granularity: Granularity) -> None:
        self.graph, self.time_steps = graph, time_steps
        self.carriers, self.host = spike_carriers(graph), host_nodes(graph)
        scale = input_scale(graph, frames)
        least, most = (sign * 2.0 ** (GRADED_BITS - 1) / scale for sign in (-1, 1))
        whole = np.clip(np.round(frames * scale), least * scale, most * scale - 1)
        self.calibration = Calibration(graph, frames, (whole / scale).astype(np.float32), time_steps)
        self.read = intervals(graph, (least, most))
        self.biases = constants(graph, held=self.host)
        record = {"images": len(frames), "sha256": hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()}
        self.scheme = Scheme(granularity, scale, {}, {}, {}, {}, {}, record)
        self.spikes: dict[str, NDArray[np.uint8]] = {}

    def choose(self, stream: Stream) -> None:
        """Give a stream its unit, and its nodes their exponents."""
        unit = self._exact(stream)
        exact = unit is not None
        if unit is None:
            candidates = self._candidates(stream)
            unit = candidates[0] if len(candidates) == 1 else min(candidates, key=lambda u: self._damage(stream, u))
        self.scheme = self._with(stream, unit)
        self.scheme = replace(
            self.scheme, populations={**self.scheme.populations, **{n: Choice(exact) for n in stream.populations}}
        )
        self.graph = self._dequantised(stream, self.scheme)

    def _decays(self, stream: Stream) -> dict[str, int]:
        return {name: check_decay(name, self._lif(name)) for name in stream.populations}

    def _lif(self, name: str) -> Lif:
        lif = self.graph.nodes[name].operation
        if not isinstance(lif, Lif):
            raise TypeError(f"node {name!r} is not a population of floats")
        return lif

    def _fixed(self, stream: Stream) -> list[float]:
        """What spikes count in a stream where no weight can be rounded to fit its unit."""
        given = [carried_unit(self.graph, self.scheme, source) for source, _ in stream.direct]
        for name in stream.synapses:
            match self.graph.nodes[name].operation:
                case SumPool2d():
                    given.append(input_unit(self.graph, self.scheme, self.graph.nodes[name]))
                case SelfAttention(scale=scale):
                    given.append(scale)
        return given

    def _weighted(self, stream: Stream) -> dict[str, Floats]:
        """The weights of a stream's convolutions and matrices, in units of its currents, `[out, ...]`."""
        found = {}
        for name in stream.synapses:
            node = self.graph.nodes[name]
            if isinstance(node.operation, Conv2d | Affine):
                found[name] = node.operation.weight * input_unit(self.graph, self.scheme, node)
        return found

    def _exact(self, stream: Stream) -> float | None:
        if any(self.biases[name].any() for name in stream.populations):
            return None
        weighted = self._weighted(stream)
        all_weights = [np.array(self._fixed(stream)), *weighted.values()]
        unit = exact_unit(all_weights, list(self._decays(stream).values()), self.time_steps)
        if unit is None or unit < self._least(stream):
            return None
        fits = all(not _rounding(w / unit, self.scheme.granularity)[1] for w in weighted.values())
        return unit if fits else None

    def _least(self, stream: Stream) -> float:
        """The least unit with which u can't wrap and nothing leaves its width.

        Whatever the input; but where a population reads frames, whose worst case no image comes near, `HEADROOM` times
        the greatest current of the calibration images has to fit.
        """
        least = 0.0
        for name in stream.populations:
            lif, x, bias = self._lif(name), self.read[name], self.biases[name]
            greatest = max(x.high.max(), -x.low.min())
            if self._reads_frames(name):
                greatest = min(greatest, HEADROOM * self.calibration.greatest(self.graph, name))
            threshold = (lif.threshold / (lif.decay.astype(np.float64) * lif.gain)).max() / (2.0**THRESHOLD_BITS - 1)
            largest = 2.0 ** (BIAS_MANTISSA_BITS - 1) - len(stream.synapses) - 1
            shift = np.abs(bias).max() * STEP / (largest * 2.0 ** (2**BIAS_EXPONENT_BITS - 1))
            least = max(least, greatest * STEP / (STATE_LIMIT - 1), threshold, shift)
        return least

    def _reads_frames(self, name: str) -> bool:
        """Whether no population stands between the input and this one."""
        node = self.graph.nodes[name]
        return name == self.graph.input or any(
            source == self.graph.input or (not self.graph.nodes[source].spiking and self._reads_frames(source))
            for source in node.sources
        )

    def _candidates(self, stream: Stream) -> list[float]:
        weighted, fixed = self._weighted(stream), self._fixed(stream)
        widest = MOST * 2.0**WEIGHT_EXPONENT
        least = self._least(stream) * (1 + MARGIN)
        if not fixed:
            largest = max(float(np.abs(w).max()) for w in weighted.values())
            least = max(least, largest / widest)
            return [least * 2.0 ** (k / CANDIDATES) for k in range(CANDIDATES)]
        least = max(least, max(fixed) / widest)
        unit = fixed[0] / 2.0 ** np.floor(np.log2(fixed[0] / least))
        if any(f / unit != np.round(f / unit) for f in fixed) or unit > min(fixed):
            names = ", ".join(stream.populations)
            raise RefusedInput(f"{names}: reads spikes that count {sorted(set(fixed))}; expected powers of two")
        return [unit]

    def _with(self, stream: Stream, unit: float) -> Scheme:
        """The scheme with a stream's unit, and what follows from it."""
        scheme = self.scheme
        names = (*stream.synapses, *stream.passing, *stream.populations)
        exponents, clipping = dict(scheme.exponents), dict(scheme.clipping)
        for name in stream.synapses:
            node = self.graph.nodes[name]
            match node.operation:
                case Conv2d(weight=weight) | Affine(weight=weight):
                    values = weight * (input_unit(self.graph, scheme, node) / unit)
                case SumPool2d():
                    values = np.array([[input_unit(self.graph, scheme, node) / unit]])
                case _:
                    continue
            exponent, _ = _rounding(values, scheme.granularity)
            largest = np.abs(values).reshape(len(exponent), -1).max(1)
            exponents[name] = tuple(int(e) for e in exponent)
            clipping[name] = tuple(float(c) for c in np.minimum(1, MOST * 2.0**exponent / np.maximum(largest, 1e-30)))
        most = max(np.abs(self.biases[name]).max() for name in stream.populations) * STEP / unit
        room = 2.0 ** (BIAS_MANTISSA_BITS - 1) - len(stream.synapses) - 1
        exponent = max(0, int(np.ceil(np.log2(most / room)))) if most else 0
        return replace(
            scheme,
            units={**scheme.units, **dict.fromkeys(names, unit)},
            exponents=exponents,
            clipping=clipping,
            bias_exponents={**scheme.bias_exponents, **dict.fromkeys(names, exponent)},
        )

    def _dequantised(self, stream: Stream, scheme: Scheme) -> Graph:
        """The graph with a stream's synapses as its integers have them."""
        nodes = dict(self.graph.nodes)
        for name in stream.synapses:
            node = nodes[name]
            if isinstance(node.operation, Conv2d | Affine):
                read = input_unit(self.graph, scheme, node)
                whole = weights(node.operation.weight, name, read, scheme)
                weight = (whole * (scheme.units[name] / read)).astype(np.float32)
                nodes[name] = replace(node, operation=replace(node.operation, weight=weight))
        return with_snapped_biases(replace(self.graph, nodes=nodes), scheme)

    def _damage(self, stream: Stream, unit: float) -> float:
        """Spikes of the stream's populations that change, on the inputs of the float graph."""
        graph = self._dequantised(stream, self._with(stream, unit))
        changed = 0.0
        for name in stream.populations:
            given = self.calibration.spikes
            (spikes,) = self.calibration.fired(graph, name, given, [self._lif(name).threshold])
            changed += self.calibration.disagreement(name, spikes) * spikes[0, 0].size
        return changed

    def read_out(self) -> None:
        """Units of the host's nodes: the largest weight of a readout becomes 127."""
        for node in self.graph.nodes.values():
            if node.name not in self.host or node.name == self.graph.input:
                continue
            unit, scheme = input_unit(self.graph, self.scheme, node), self.scheme
            if isinstance(node.operation, Conv2d | Affine):
                unit *= float(np.abs(node.operation.weight).max()) / MOST
                scheme = replace(
                    scheme,
                    exponents={**scheme.exponents, node.name: (0,)},
                    clipping={**scheme.clipping, node.name: (1.0,)},
                )
            self.scheme = replace(scheme, units={**scheme.units, node.name: unit})

    def shift(self, node: Node, progress: Progress) -> None:
        """Choose a population's threshold, and record its spikes for those behind it."""
        lif, unit = self._lif(node.name), self.scheme.units[node.name]
        factor = lif.decay.astype(np.float64) * lif.gain * unit
        exact = lif.threshold / factor
        choice = self.scheme.populations[node.name]
        if choice.exact:
            whole = [np.floor(exact)]
        else:
            whole = [np.clip(np.round(exact * (1 + shift)), 0, 2**THRESHOLD_BITS - 1) for shift in SHIFTS]
        thresholds = [(w * factor).astype(np.float32) for w in whole]
        answers = self.calibration.fired(self.graph, node.name, self.spikes, thresholds)
        damage = [self.calibration.disagreement(node.name, spikes) for spikes in answers]
        best = int(np.argmin(damage))
        self.spikes[node.name] = answers[best]
        shift = 0.0 if choice.exact else SHIFTS[best]
        choice = replace(choice, threshold_shift=shift, disagreement=damage[best])
        self.scheme = replace(self.scheme, populations={**self.scheme.populations, node.name: choice})
        operation = replace(lif, threshold=thresholds[best])
        nodes = {**self.graph.nodes, node.name: replace(node, operation=operation)}
        self.graph = replace(self.graph, nodes=nodes)
        progress(node.name)

    def result(self) -> tuple[Graph, Scheme]:
        return integers(self.graph, self.scheme), self.scheme


def input_scale(graph: Graph, frames: NDArray[np.float32]) -> float:
    """The largest scale with which every pixel level fits 8 bits, signed; without preprocessing, every frame given."""
    settings = graph.metadata.preprocessing
    values = frames if settings is None else (np.arange(256)[:, None] - settings["mean"]) / np.asarray(settings["std"])
    high, low = max(float(values.max()), 0.0), max(-float(values.min()), 0.0)
    if not high and not low:
        raise RefusedInput(f"{graph.source}: all calibration frames are zero; expected images")
    limit = 2.0 ** (GRADED_BITS - 1)
    return min(((limit - 1) / high if high else np.inf), (limit / low if low else np.inf))


def _rounding(values: Floats, granularity: Granularity) -> tuple[NDArray[np.int64], float]:
    """Exponents e of the least squared error of `2^e clip(round(values / 2^e))`, and that error.

    For all channels together, or for each; either none is clipped, or the exponent is one less than that takes.
    """
    rows = values.reshape(len(values) if granularity == "channel" else 1, -1)
    largest = np.maximum(np.abs(rows).max(1), 1e-30)
    whole = np.clip(np.ceil(np.log2(largest / MOST)), 0, WEIGHT_EXPONENT).astype(np.int64)
    options = np.stack([whole, np.maximum(whole - 1, 0)])
    unit = 2.0 ** options[..., None]
    errors = ((np.clip(np.round(rows / unit), LEAST, MOST) * unit - rows) ** 2).sum(-1)
    best = errors.argmin(0)
    channels = np.arange(len(rows))
    return options[best, channels], float(errors[best, channels].sum())
