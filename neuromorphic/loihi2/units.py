"""The unit λ of a stream: which units are possible, and the exponents of weights and biases in each.

A small unit makes thresholds and biases fine; a large one keeps sums within their widths.  With the least possible
unit, the largest current that the weights allow just fits 24 bits, or a threshold or a bias just fits its own width.
Weights don't need a larger one, since they have exponents.  For the same reason units that differ by a power of two
round weights alike, so that candidates lie within one octave.
"""

from collections.abc import Collection, Mapping

import numpy as np

from neuromorphic.analysis.intervals import intervals
from neuromorphic.analysis.streams import Stream, host_nodes
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.biases import chip_biases
from neuromorphic.loihi2.gates import exact_unit, halvings
from neuromorphic.loihi2.integers import carried_unit, input_unit, one_to_one, pooled_unit
from neuromorphic.loihi2.populations import STEP, ChipForm, chip_form, growth, neurons_of
from neuromorphic.loihi2.scheme import Granularity, Scheme
from neuromorphic.loihi2.whole import Numbers, magnitudes, reached, stated_units
from neuromorphic.ops import Fixed, Float32, Float64, Int64, Linear, SelfAttention, Weighted
from neuromorphic.ops.widths import (
    ALIGNMENT,
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    GRADED_LEAST,
    GRADED_MOST,
    STATE_LIMIT,
    THRESHOLD_BITS,
    WEIGHT_EXPONENT,
    WEIGHT_LEAST,
    WEIGHT_MOST,
)

CANDIDATES = 4
"""Units that are tried per stream, evenly spaced (logarithmically) over an octave."""

LARGEST_BIAS_SHIFT = 2.0 ** (2**BIAS_EXPONENT_BITS - 1)
"""The factor of a bias by its largest exponent."""

SHARE = 7 / 8
"""The share of its width that a bias may use before it is corrected, so that the correction has room."""

MARGIN = 1 / 32
"""How much larger than necessary units are, relatively, since rounding can enlarge sums of weights."""


class Units:
    """The possible units of the streams of a float graph.

    Args:
        graph: the float graph.
        input_scale: of its frames.
        time_steps: T.
        kept_decays: names of populations whose decays are multiples of 1/4096; by default, all.
        whole_decays: likewise, multiples but for float32's rounding; by default, all.
    """

    def __init__(
        self,
        graph: Graph,
        input_scale: float,
        time_steps: int,
        kept_decays: Collection[str] | None = None,
        whole_decays: Collection[str] | None = None,
    ) -> None:
        self.graph, self.time_steps = graph, time_steps
        populations = [node.name for node in graph.populations]
        self.kept_decays = frozenset(populations if kept_decays is None else kept_decays)
        self.whole_decays = frozenset(populations if whole_decays is None else whole_decays)
        self.read = intervals(graph, (GRADED_LEAST / input_scale, GRADED_MOST / input_scale))
        self.biases = chip_biases(graph, held=host_nodes(graph))

    def whole(self, stream: Stream, scheme: Scheme) -> Scheme | None:
        """`scheme` with the unit in which all numbers of a stream are the chip's integers already; None without one."""
        weights = self._weights(stream, scheme)
        many = any(magnitudes(values) is None for values in weights.values())
        equal = any(reached(neurons_of(self.graph.nodes[name]).threshold).any() for name in stream.populations)
        if many or equal or not self.whole_decays.issuperset(stream.populations):
            return None
        forms = {name: self.chip_form(name) for name in stream.populations}
        operations = [self.graph.nodes[name].operation for name in stream.synapses]
        own = [o.bias_values.astype(np.float64) for o in operations if isinstance(o, Weighted) and o.biased]
        acting = [form.bias(self.biases[name]) for name, form in forms.items()]
        filtered = any(form.filters_current for form in forms.values())
        numbers = Numbers(
            {name: (w, self._largest_exponent(name)) for name, w in weights.items()},
            self._direct(stream, scheme),
            self._scales(stream),
            [counts for form in forms.values() for counts in form.counts],
            [*(form.rest for form in forms.values()), *acting, *([] if filtered else own)],
            [form.drive(self.biases[name]) for name, form in forms.items()] + own if filtered else None,
        )
        found = numbers.unit(self._read(stream, scheme))
        if found is None:
            return None
        unit, widths = found
        return scheme.adding(
            units=dict.fromkeys(stream.nodes, unit),
            exponents={name: (e,) for name, e in widths.exponents.items()},
            clipping=dict.fromkeys(widths.exponents, (1.0,)),
            bias_exponents=dict.fromkeys(stream.nodes, widths.bias_exponent),
            drive_exponents={} if widths.drive_exponent is None else dict.fromkeys(stream.nodes, widths.drive_exponent),
        )

    def _read(self, stream: Stream, scheme: Scheme) -> list[float]:
        """The units of the inputs of a stream's synapses, ascending; 1 where it has no synapses."""
        read = {input_unit(self.graph, scheme, self.graph.nodes[name]) for name in stream.synapses}
        return sorted(read) or [1.0]

    def is_stated(self, stream: Stream, scheme: Scheme, unit: float) -> bool:
        """Whether `unit` is one in which files hold the chip's integers: as they are, or as lava-dl's 64ths."""
        return any(unit in stated_units(each) for each in self._read(stream, scheme))

    def like_floats(self, stream: Stream, scheme: Scheme, unit: float) -> bool:
        """Whether a stream whose numbers are integers times `unit` sends the float graph's spikes, whatever the input.

        By the proof in `gates`: the six bits by which currents are shifted have to hold all halvings of T steps.
        """
        forms = [self.chip_form(name) for name in stream.populations]
        numbers = [*self._weights(stream, scheme).values(), *(counts for form in forms for counts in form.counts)]
        same = all(np.array_equal(np.rint(each / unit) * unit, each) for each in numbers)
        halved = max(halvings(decay) for form in forms for decay in form.decays)
        fits = unit >= max(self._least(stream), self._unsaturated(stream))
        decays = self.kept_decays.issuperset(stream.populations) and halved * (self.time_steps - 1) <= ALIGNMENT
        return same and fits and decays and not (halved and self._biased(stream))

    def exact(self, stream: Stream, scheme: Scheme) -> float | None:
        """The unit in which a stream becomes integers without loss (`gates`), if it has one."""
        if self._biased(stream) or not self.kept_decays.issuperset(stream.populations):
            return None
        weighted = self._weighted(stream, scheme)
        forms = [self.chip_form(name) for name in stream.populations]
        decays = [decay for form in forms for decay in form.decays]
        lowerings = [form.lowering for form in forms if form.lowering is not None]
        numbers = [np.array(self._fixed(stream, scheme)), *weighted.values(), *lowerings]
        unit = exact_unit(numbers, decays, self.time_steps)
        if unit is None or unit < max(self._least(stream), self._unsaturated(stream), self._held(stream, scheme)):
            return None
        lost = [best_exponents(w / unit, scheme.granularity, self._largest_exponent(n))[1] for n, w in weighted.items()]
        return None if any(lost) else unit

    def candidates(self, stream: Stream, scheme: Scheme) -> list[float]:
        """Units of the octave above the least possible one.

        A single unit where spikes arrive with fixed weights that are powers of two of each other: that in which these
        are powers of two.  Other fixed weights are rounded as all weights are.
        """
        fixed = self._fixed(stream, scheme)
        least = max(self._least(stream) * (1 + MARGIN), self._held(stream, scheme)) or 1.0
        if fixed:
            unit = min(fixed) / 2.0 ** np.floor(np.log2(min(fixed) / least))
            if unit <= min(fixed) and all(np.frexp(f / unit)[0] == 0.5 for f in fixed):
                return [float(unit)]
        return [least * 2.0 ** (k / CANDIDATES) for k in range(CANDIDATES)]

    def scheme(self, stream: Stream, scheme: Scheme, unit: float) -> Scheme:
        """`scheme` with a stream's unit, and with the exponents that follow from it."""
        exponents: dict[str, tuple[int, ...]] = {}
        clipping: dict[str, tuple[float, ...]] = {}
        for name, values in self._weights(stream, scheme).items():
            exponent, _ = best_exponents(values / unit, scheme.granularity, self._largest_exponent(name))
            largest = np.abs(values / unit).reshape(len(exponent), -1).max(1)
            exponents[name] = tuple(int(e) for e in exponent)
            held = WEIGHT_MOST * 2.0**exponent
            kept = held / np.maximum(largest, held)
            clipping[name] = tuple(float(c) for c in kept)
        result = scheme.adding(units=dict.fromkeys(stream.nodes, unit), exponents=exponents, clipping=clipping)
        return self._with_exponents(stream, result, self.biases, SHARE)

    def with_room(self, stream: Stream, scheme: Scheme, graph: Graph, name: str, bias: Float32) -> Scheme | None:
        """`scheme` with larger exponents of a stream's biases where the corrected `bias` of a node needs them.

        Returns:
            None where the bias doesn't fit with any exponent of 3 bits, or a drive with any exponent of weights.
        """
        operation = graph.nodes[name].operation
        if not isinstance(operation, Weighted):
            raise TypeError(f"node {name!r} has no bias")
        corrected = graph.with_operations({name: operation.with_bias(bias)})
        biases = chip_biases(corrected, held=host_nodes(graph))
        result = self._with_exponents(stream, scheme, biases, 1)
        fits = result.bias_exponents[name] < 2**BIAS_EXPONENT_BITS
        return result if fits and result.drive_exponents.get(name, 0) <= WEIGHT_EXPONENT else None

    def chip_form(self, name: str) -> ChipForm:
        """A population of floats, in the terms of the chip."""
        return chip_form(name, neurons_of(self.graph.nodes[name]))

    def _with_exponents(self, stream: Stream, scheme: Scheme, biases: Mapping[str, Float64], share: float) -> Scheme:
        """`scheme` with exponents of a stream's biases and drives: as large as necessary, never smaller than before.

        Args:
            stream: with its unit in the scheme.
            scheme: to be extended.
            biases: the sums of biases that reach the populations, by name.
            share: the part of their widths that biases and drives may use.
        """
        names = stream.nodes
        unit = scheme.units[names[0]]
        forms = {name: self.chip_form(name) for name in stream.populations}
        largest = max(float(np.abs(form.bias(biases[name])).max()) for name, form in forms.items())
        bits = _exponent(largest * STEP / unit, _widest_bias(stream, share))
        bits = max(bits, scheme.bias_exponents.get(names[0], 0))
        result = scheme.adding(bias_exponents=dict.fromkeys(names, bits))
        if not any(form.filters_current for form in forms.values()):
            return result
        driven = max(float(np.abs(form.drive(biases[name])).max()) for name, form in forms.items())
        # A bias can reach several populations: as u's drive it is a multiple of 2^e, as v's bias one of 2^E / 64.
        drive = max(_exponent(driven / unit, _widest_drive(stream, share)), bits - ALIGNMENT)
        drive = max(drive, scheme.drive_exponents.get(names[0], 0))
        return result.adding(drive_exponents=dict.fromkeys(names, drive))

    def _biased(self, stream: Stream) -> bool:
        """Whether some neurons of a stream have a bias, or rest elsewhere than at their reset."""
        return any(self.biases[name].any() or self.chip_form(name).rest.any() for name in stream.populations)

    def _least(self, stream: Stream) -> float:
        """The least unit with which u can't wrap and nothing leaves its width, whatever the input."""
        least = 0.0
        for name in stream.populations:
            form, x, arriving = self.chip_form(name), self.read[name], self.biases[name]
            drive = form.drive(arriving)
            grown, _ = form.growth(self.time_steps)
            threshold, reach = form.threshold / form.gain, self._reach(name)
            lowering = 0 if form.lowering is None else np.where(threshold < reach, form.lowering, 0)
            high, low = np.maximum(x.high + drive, 0).max(), np.minimum(x.low + drive, 0).min()
            least = max(
                least,
                float(max(high, -low)) * grown * STEP / (STATE_LIMIT - 1),
                float(np.maximum(np.minimum(threshold, reach), lowering).max()) / (2**THRESHOLD_BITS - 1),
                float(np.abs(form.bias(arriving)).max()) * STEP / (_widest_bias(stream, SHARE) * LARGEST_BIAS_SHIFT),
                float(np.abs(drive).max()) / (_widest_drive(stream, SHARE) * 2.0**WEIGHT_EXPONENT),
            )
        return least

    def _reach(self, name: str) -> Float64:
        """An upper bound of v in T steps, whatever the input, as an input (`ChipForm`).

        A threshold above it can as well be at it: v passes neither.
        """
        form, arriving = self.chip_form(name), self.biases[name]
        _, grown = growth(form.decay, form.current_decay, self.time_steps)
        moved = np.maximum(self.read[name].high + form.drive(arriving), 0) + np.maximum(form.bias(arriving), 0)
        return np.asarray(grown * moved)

    def _unsaturated(self, stream: Stream) -> float:
        """The least unit with which no v saturates in T steps, whatever the input; for streams without biases.

        Saturation above matters only where a spike lowers v, perhaps by more than the threshold.
        """
        least = 0.0
        for name in stream.populations:
            form, x = self.chip_form(name), self.read[name]
            _, grown = form.growth(self.time_steps)
            reached = -float(x.low.min()) * grown
            if form.lowering is not None:
                below = float((form.lowering - form.threshold / form.gain).max())
                reached = max(reached + max(below, 0.0) * grown, float(x.high.max()) * grown)
            least = max(least, reached * STEP / (STATE_LIMIT - 1))
        return least

    def _held(self, stream: Stream, scheme: Scheme) -> float:
        """The least unit with which every synapse holds its largest weight."""
        largest = [
            (float(np.abs(values).max()), self._largest_exponent(name))
            for name, values in self._weights(stream, scheme).items()
        ]
        largest += self._direct(stream, scheme)
        return max((weight / (WEIGHT_MOST * 2.0**exponent) for weight, exponent in largest), default=0.0)

    def _largest_exponent(self, name: str) -> int:
        """The largest exponent of the weights of a node's synapses."""
        node = self.graph.nodes[name]
        return node.of(Linear).synapses(node.shapes).largest_exponent

    def _direct(self, stream: Stream, scheme: Scheme) -> list[tuple[float, int]]:
        """Weights of spikes that arrive without a node of synapses, each with the largest exponent that it may have."""
        return [
            (
                carried_unit(self.graph, scheme, source),
                one_to_one(self.graph.nodes[reader].input_shape).largest_exponent,
            )
            for source, reader in stream.direct
        ]

    def _fixed(self, stream: Stream, scheme: Scheme) -> list[float]:
        """The weights of spikes that have no weights to be rounded: 1, or the scale of a pool or attention."""
        counted = [weight for weight, _ in self._direct(stream, scheme)]
        counted += [float(values.flat[0]) for values in self._pooled(stream, scheme).values()]
        return counted + self._scales(stream)

    def _scales(self, stream: Stream) -> list[float]:
        """The scales of the attention in a stream."""
        operations = [self.graph.nodes[name].operation for name in stream.synapses]
        return [operation.scale for operation in operations if isinstance(operation, SelfAttention)]

    def _weights(self, stream: Stream, scheme: Scheme) -> dict[str, Float64]:
        """The weights of all nodes of synapses in a stream, `_weighted` and `_pooled`, by node."""
        return {**self._weighted(stream, scheme), **self._pooled(stream, scheme)}

    def _pooled(self, stream: Stream, scheme: Scheme) -> dict[str, Float64]:
        nodes = [self.graph.nodes[name] for name in stream.synapses]
        pools = [node for node in nodes if isinstance(node.operation, Fixed)]
        return {node.name: np.array([[pooled_unit(self.graph, scheme, node)]]) for node in pools}

    def _weighted(self, stream: Stream, scheme: Scheme) -> dict[str, Float64]:
        """By node, the weights of convolutions, matrices and scales times their input's unit: `[out, ...]`."""
        found = {}
        for name in stream.synapses:
            node = self.graph.nodes[name]
            if isinstance(node.operation, Weighted):
                values = node.operation.weights.astype(np.float64)
                found[name] = values * input_unit(self.graph, scheme, node)
        return found


def _exponent(largest: float, widest: float) -> int:
    """The least E with `largest <= widest 2^E`."""
    return max(0, int(np.ceil(np.log2(largest / widest)))) if largest else 0


def _widest_bias(stream: Stream, share: float) -> float:
    """The largest mantissa that biases may use: a `share` of all, less 1 for the rounding of each branch's bias."""
    whole = 2.0 ** (BIAS_MANTISSA_BITS - 1)
    return float(min(share * whole, whole - 1) - len(stream.synapses))


def _widest_drive(stream: Stream, share: float) -> float:
    """The same of a drive, which is a weight."""
    return float(max(share * WEIGHT_MOST - len(stream.synapses), 1.0))


def best_exponents(values: Float64, granularity: Granularity, largest_exponent: int) -> tuple[Int64, float]:
    """The exponents e with the least squared error of `2^e clip(round(values / 2^e))`, and that error.

    Of two that are tried: the least one with which no weight is clipped, and the one below it.

    Args:
        values: weights in units of their stream, `[out, ...]`.
        granularity: of the exponents.
        largest_exponent: that the synapses have.
    """
    rows = values.reshape(len(values) if granularity == "channel" else 1, -1)
    largest = np.maximum(np.abs(rows).max(1), np.finfo(np.float64).tiny)
    whole = np.clip(np.ceil(np.log2(largest / WEIGHT_MOST)), 0, largest_exponent).astype(np.int64)
    options = np.stack([whole, np.maximum(whole - 1, 0)])
    step = 2.0 ** options[..., None]
    errors = ((np.clip(np.round(rows / step), WEIGHT_LEAST, WEIGHT_MOST) * step - rows) ** 2).sum(-1)
    best = errors.argmin(0)
    channels = np.arange(len(rows))
    return options[best, channels], float(errors[best, channels].sum())
