"""The unit of a stream: which are possible, and what each means for weights and biases.

A unit is as small as possible, so that thresholds and biases are as fine as possible, and as large as necessary: with
the least one, the largest current that the weights allow just fits 24 bits, or a threshold or a bias its own width.
Weights don't ask for more: what they need above it their exponents bring, so that only one octave of units differs in
how weights round.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import Graph, SelfAttention, SumPool2d
from neuromorphic.loihi2.bounds import constants, intervals
from neuromorphic.loihi2.gates import exact_unit
from neuromorphic.loihi2.integers import LEAST, MOST, carried_unit, input_unit, pooled_unit
from neuromorphic.loihi2.parameters import Biased, Weighted, weights_of
from neuromorphic.loihi2.populations import STEP, UNITY, Neurons, check_decay, drive, neurons_of
from neuromorphic.loihi2.scheme import Granularity, Scheme
from neuromorphic.loihi2.streams import Stream, host_nodes
from neuromorphic.loihi2.widths import (
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    GRADED_BITS,
    STATE_LIMIT,
    THRESHOLD_BITS,
    WEIGHT_EXPONENT,
)

CANDIDATES = 4
"""Units that are tried per stream, evenly over an octave."""

MARGIN = 1 / 32
"""Room, relative, that units leave for what rounding adds to sums of weights."""

Floats = NDArray[np.float64]


class Units:
    """What units the streams of a float graph may have.

    Args:
        graph: the float graph.
        input_scale: of its frames.
        time_steps: T.
    """

    def __init__(self, graph: Graph, input_scale: float, time_steps: int) -> None:
        self.graph, self.time_steps = graph, time_steps
        limit = 2.0 ** (GRADED_BITS - 1)
        self.read = intervals(graph, (-limit / input_scale, (limit - 1) / input_scale))
        self.biases = constants(graph, held=host_nodes(graph))

    def exact(self, stream: Stream, scheme: Scheme) -> float | None:
        """The unit in which a stream becomes integers without loss (`gates`), if it has one."""
        if any(self.biases[name].any() for name in stream.populations):
            return None
        weighted = self._weighted(stream, scheme)
        decays = [check_decay(name, self.neurons(name)) for name in stream.populations]
        unit = exact_unit([np.array(self._fixed(stream, scheme)), *weighted.values()], decays, self.time_steps)
        if unit is None or unit < max(self._least(stream), self._unsaturated(stream)):
            return None
        return unit if not any(rounding(w / unit, scheme.granularity)[1] for w in weighted.values()) else None

    def candidates(self, stream: Stream, scheme: Scheme) -> list[float]:
        """The units of an octave that starts with the least possible one; a single one where spikes come unweighted.

        Raises:
            RefusedInput: what spikes count in the stream are not powers of two of each other.
        """
        weighted, fixed = self._weighted(stream, scheme), self._fixed(stream, scheme)
        widest = MOST * 2.0**WEIGHT_EXPONENT
        least = self._least(stream) * (1 + MARGIN)
        if not fixed:
            least = max(least, max(float(np.abs(w).max()) for w in weighted.values()) / widest)
            return [least * 2.0 ** (k / CANDIDATES) for k in range(CANDIDATES)]
        least = max(least, max(fixed) / widest)
        unit = min(fixed) / 2.0 ** np.floor(np.log2(min(fixed) / least))
        if unit > min(fixed) or any(np.frexp(f / unit)[0] != 0.5 for f in fixed):
            names = ", ".join(stream.populations)
            raise RefusedInput(
                f"{names}: spikes that no synapse weighs count {sorted(set(fixed))}; expected powers of two of each "
                f"other, of at least {least:g}"
            )
        return [float(unit)]

    def scheme(self, stream: Stream, scheme: Scheme, unit: float) -> Scheme:
        """`scheme` with a stream's unit, and with the exponents that follow from it."""
        exponents, clipping = dict(scheme.exponents), dict(scheme.clipping)
        for name, values in {**self._weighted(stream, scheme), **self._pooled(stream, scheme)}.items():
            exponent, _ = rounding(values / unit, scheme.granularity)
            largest = np.abs(values / unit).reshape(len(exponent), -1).max(1)
            exponents[name] = tuple(int(e) for e in exponent)
            kept = np.minimum(1, MOST * 2.0**exponent / np.maximum(largest, np.finfo(np.float64).tiny))
            clipping[name] = tuple(float(c) for c in kept)
        names = (*stream.synapses, *stream.passing, *stream.populations)
        largest_bias = max(float(np.abs(self.biases[name]).max()) for name in stream.populations) * STEP / unit
        bits = _bias_exponent(largest_bias, _mantissa(stream))
        return replace(
            scheme,
            units={**scheme.units, **dict.fromkeys(names, unit)},
            exponents=exponents,
            clipping=clipping,
            bias_exponents={**scheme.bias_exponents, **dict.fromkeys(names, bits)},
        )

    def with_room(self, stream: Stream, scheme: Scheme, graph: Graph, name: str, bias: NDArray[np.float32]) -> Scheme:
        """`scheme` with a larger exponent for a stream's biases where one that was corrected needs it.

        Args:
            stream: that the node stands in.
            scheme: by now.
            graph: with the biases by now.
            name: of the node.
            bias: its corrected one.
        """
        node = graph.nodes[name]
        if not isinstance(node.operation, Biased):
            raise TypeError(f"node {name!r} has no bias")
        corrected = replace(node, operation=replace(node.operation, bias=bias))
        biases = constants(replace(graph, nodes={**graph.nodes, name: corrected}), held=host_nodes(graph))
        unit = scheme.units[name]
        largest = max(float(np.abs(biases[reader]).max()) for reader in stream.populations) * STEP / unit
        widest = 2.0 ** (BIAS_MANTISSA_BITS - 1) - 1 - len(stream.synapses)
        bits = max(scheme.bias_exponents[name], _bias_exponent(largest, widest))
        names = (*stream.synapses, *stream.passing, *stream.populations)
        return replace(scheme, bias_exponents={**scheme.bias_exponents, **dict.fromkeys(names, bits)})

    def neurons(self, name: str) -> Neurons:
        """A population of floats."""
        return neurons_of(self.graph.nodes[name])

    def _least(self, stream: Stream) -> float:
        """The least unit with which u can't wrap and nothing leaves its width, whatever the input."""
        least = 0.0
        for name in stream.populations:
            neurons, x, bias = self.neurons(name), self.read[name], self.biases[name]
            current = max(x.high.max(), -x.low.min()) * STEP / (STATE_LIMIT - 1)
            threshold = (neurons.threshold / drive(neurons)).max() / (2**THRESHOLD_BITS - 1)
            largest = _mantissa(stream) * 2.0 ** (2**BIAS_EXPONENT_BITS - 1)
            least = max(least, float(current), float(threshold), float(np.abs(bias).max()) * STEP / largest)
        return least

    def _unsaturated(self, stream: Stream) -> float:
        """The least unit with which no v saturates below in T steps, whatever the input; biases don't count."""
        least = 0.0
        for name in stream.populations:
            kept = 1 - check_decay(name, self.neurons(name)) / UNITY
            growth = sum(kept**t for t in range(self.time_steps))
            least = max(least, -float(self.read[name].low.min()) * STEP * growth / (STATE_LIMIT - 1))
        return least

    def _fixed(self, stream: Stream, scheme: Scheme) -> list[float]:
        """What spikes count where no weight can be rounded: 1 or a scale, in units of the stream's currents."""
        counted = [carried_unit(self.graph, scheme, source) for source, _ in stream.direct]
        counted += [float(values.flat[0]) for values in self._pooled(stream, scheme).values()]
        operations = [self.graph.nodes[name].operation for name in stream.synapses]
        return counted + [operation.scale for operation in operations if isinstance(operation, SelfAttention)]

    def _pooled(self, stream: Stream, scheme: Scheme) -> dict[str, Floats]:
        nodes = [self.graph.nodes[name] for name in stream.synapses]
        pools = [node for node in nodes if isinstance(node.operation, SumPool2d)]
        return {node.name: np.array([[pooled_unit(self.graph, scheme, node)]]) for node in pools}

    def _weighted(self, stream: Stream, scheme: Scheme) -> dict[str, Floats]:
        """The weights of a stream's convolutions, matrices and scales, in units of its currents, `[out, ...]`."""
        found = {}
        for name in stream.synapses:
            node = self.graph.nodes[name]
            if isinstance(node.operation, Weighted):
                values = weights_of(node.operation).astype(np.float64)
                found[name] = values * input_unit(self.graph, scheme, node)
        return found


def _bias_exponent(largest: float, mantissa: float) -> int:
    """The least E with `largest <= mantissa 2^E`."""
    return max(0, int(np.ceil(np.log2(largest / mantissa)))) if largest else 0


def _mantissa(stream: Stream) -> float:
    """The largest mantissa, less what rounding each branch's bias by itself may add, and an eighth for corrections."""
    return 7 / 8 * 2.0 ** (BIAS_MANTISSA_BITS - 1) - len(stream.synapses)


def rounding(values: Floats, granularity: Granularity) -> tuple[NDArray[np.int64], float]:
    """Exponents e of the least squared error of `2^e clip(round(values / 2^e))`, and that error.

    For all channels together, or for each; either none of the weights is clipped, or the exponent is one less.
    """
    rows = values.reshape(len(values) if granularity == "channel" else 1, -1)
    largest = np.maximum(np.abs(rows).max(1), np.finfo(np.float64).tiny)
    whole = np.clip(np.ceil(np.log2(largest / MOST)), 0, WEIGHT_EXPONENT).astype(np.int64)
    options = np.stack([whole, np.maximum(whole - 1, 0)])
    step = 2.0 ** options[..., None]
    errors = ((np.clip(np.round(rows / step), LEAST, MOST) * step - rows) ** 2).sum(-1)
    best = errors.argmin(0)
    channels = np.arange(len(rows))
    return options[best, channels], float(errors[best, channels].sum())
