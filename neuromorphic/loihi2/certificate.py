"""The bit widths of an integer graph: those of parameters are enforced, those of sums are proven.

Let x + drive of a neuron lie in [a, b], whatever the spikes before it (`analysis.intervals`).  In T steps from rest,

    u = 64 x                            doesn't wrap if  -2^23 < 64 a  and  64 b <= 2^23
    v >= Σ_{t<T} (1 - d)^t (64 a + bias)    where that is negative: v doesn't saturate below if this is above -2^23

Where currents outlast their step, u reaches up to `Σ_{t<T} (1 - d_u)^t` times 64 a < 0 or 64 b > 0, and v >= V_T with

    U_t = (1 - d_u) U_{t-1} + 64 a          V_t = (1 - d) min(V_{t-1}, 0) + U_t + bias

Decays round toward zero, so they only raise what is negative.  Where a spike sets v to 0, saturation above changes
nothing: thresholds are at most 64 · 131071, below 2^23 - 1, so a neuron that saturates there fires, as it would have.

Where a spike takes l off v, v is above the threshold h before it.  More than h - l is left; and of a v of at most V, at
most the larger of h and V - l.  Such a v grows where more than l arrives per step, and can saturate above, too:

    V_t = (1 - d) max(min(V_{t-1}, h), V_{t-1} - l) + U_t + bias        likewise min(V_{t-1}, h - l, 0) below
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, assert_never

import numpy as np

import neuromorphic.ops as ops
from neuromorphic.analysis.intervals import fractions, graded_intervals
from neuromorphic.analysis.rounding import DOUBLE, SINGLE
from neuromorphic.analysis.streams import host_nodes
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.populations import growth
from neuromorphic.ops.loihi import UNITY
from neuromorphic.ops.widths import (
    ALIGNMENT,
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    DECAY_BITS,
    STATE_LIMIT,
    THRESHOLD_BITS,
    WEIGHT_BITS,
    WEIGHT_EXPONENT,
    shift,
)


@dataclass(frozen=True)
class PopulationProof:
    """The bounds of the currents u and the membranes v of a population, for every possible input.

    Attributes:
        neurons: in the population.
        current: least and greatest u before it wraps.
        membrane: least v before it saturates.
        wrapping: how many neurons have a u that can wrap.
        saturating: how many have a v that can saturate below; or above, where spikes lower v instead of setting it.
        worst: index `[c, i, j]` of the neuron whose u or v reaches furthest.
        highest: greatest v before it saturates, where spikes lower v; else None.
    """

    neurons: int
    current: tuple[int, int]
    membrane: int
    wrapping: int
    saturating: int
    worst: tuple[int, ...]
    highest: int | None = None

    @property
    def proven(self) -> bool:
        """Whether no u wraps and no v saturates, whatever the input."""
        return not self.wrapping and not self.saturating

    def sentence(self, name: str) -> str:
        """Which neurons can overflow, for reports."""
        if self.proven:
            return f"{name}: u and v stay within 24 bits, whatever the input"
        return (
            f"{name}: u of {self.wrapping:,} and v of {self.saturating:,} of {self.neurons:,} neurons can leave 24 "
            f"bits in the worst case (neuron {list(self.worst)}; u {self.current[0]:,} to {self.current[1]:,}, "
            f"v {self.membrane:,}{'' if self.highest is None else f' to {self.highest:,}'})"
        )


@dataclass(frozen=True)
class WidthCertificate:
    """The proof of an integer graph, for `time_steps` from rest.

    Attributes:
        populations: by name.
        limits: by node, 24 where float32 holds every partial sum, 53 where float64 does.
        time_steps: T; None for any number.
    """

    populations: Mapping[str, PopulationProof]
    limits: Mapping[str, int]
    time_steps: int | None

    @property
    def unproven(self) -> tuple[str, ...]:
        """Names of the populations in which something can overflow."""
        return tuple(name for name, proof in self.populations.items() if not proof.proven)

    def to_dict(self) -> dict[str, Any]:
        """For the metadata, in the form of the exporter's certificate: whether floats compute each node exactly."""
        nodes = {name: {"limit": limit, "exact": True} for name, limit in self.limits.items()}
        widths = {name: asdict(proof) for name, proof in self.populations.items()}
        return {"exact": True, "nodes": nodes, "time_steps": self.time_steps, "populations": widths}


def certify_widths(graph: Graph) -> WidthCertificate:
    """Enforce the widths of an integer graph's parameters, and bound its sums.

    Raises:
        RefusedInput: a parameter is outside its width, by node.
    """
    check(graph)
    read, steps = graded_intervals(graph), graph.metadata.time_steps
    populations: dict[str, PopulationProof] = {}
    limits: dict[str, int] = {}
    broken = fractions(graph)
    for node in graph.nodes.values():
        if isinstance(node.operation, ops.LoihiLif):
            populations[node.name] = proof = _prove(node.operation, read[node.name], steps)
            limits[node.name] = DOUBLE if proof.wrapping else SINGLE
        else:
            # Intervals of sums hold 0, so that they bound partial sums too.
            sums = [read[name].bound for name in (node.name, *graph.edges_from[node.name])]
            limits[node.name] = SINGLE if max(sums) <= 2**SINGLE and node.name not in broken else DOUBLE
    return WidthCertificate(populations, limits, steps)


def _prove(lif: ops.LoihiLif, x: ops.Interval, steps: int | None) -> PopulationProof:
    low, high = 2.0**ALIGNMENT * (x.low + lif.drive), 2.0**ALIGNMENT * (x.high + lif.drive)
    lowered = lif.lowering is not None
    membrane, highest = _lowered(lif, low, high, steps) if lowered else (_least_membrane(lif, low, steps), 0 * low)
    if lif.filters_current:
        kept, _ = growth(lif.decay, lif.current_decay, steps)
        low, high = kept * np.minimum(low, 0), kept * np.maximum(high, 0)
    wrapping = (low <= -STATE_LIMIT) | (high > STATE_LIMIT)
    saturating = (membrane < 1 - STATE_LIMIT) | (highest > STATE_LIMIT - 1)
    furthest = np.maximum(np.maximum(high, highest), -np.minimum(low, membrane))
    worst = np.unravel_index(int(furthest.argmax()), low.shape)
    return PopulationProof(
        neurons=low.size,
        current=(int(np.floor(low.min())), int(np.ceil(high.max()))),
        membrane=int(max(membrane.min(), -(2.0**62))),
        wrapping=int(wrapping.sum()),
        saturating=int(saturating.sum()),
        worst=tuple(int(i) for i in worst),
        highest=int(min(highest.max(), 2.0**62)) if lowered else None,
    )


def _least_membrane(lif: ops.LoihiLif, low: ops.Float64, steps: int | None) -> ops.Float64:
    """A lower bound of v, 0 or less, in T steps from 0 with 64 (x + drive) >= `low`; of any number of steps if None."""
    if not lif.filters_current or steps is None:
        kept, _ = growth(lif.decay, lif.current_decay, steps)
        least = np.where(low < 0, kept * low, low)
        per_step = np.minimum(least + lif.bias, 0)
        _, sums = growth(lif.decay, UNITY, steps)
        return np.where(per_step < 0, per_step * sums, 0.0)
    kept_u, kept_v = (1 - np.asarray(decay) / UNITY for decay in (lif.current_decay, lif.decay))
    u = v = np.zeros_like(low)
    for _ in range(steps):
        before = u, v
        u = kept_u * u + np.minimum(low, 0)
        v = np.minimum(kept_v * v + u + lif.bias, 0)
        if np.array_equal((u, v), before):  # and so for ever
            break
    return v


def _lowered(
    lif: ops.LoihiLif, low: ops.Float64, high: ops.Float64, steps: int | None
) -> tuple[ops.Float64, ops.Float64]:
    """Bounds of v, from 0, where spikes subtract from it and 64 (x + drive) lies in [low, high]."""
    threshold, lowering = (2.0**ALIGNMENT * np.asarray(each) for each in (lif.threshold, lif.lowering))
    floor = np.minimum(threshold - lowering, 0)
    if lif.filters_current:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    if steps is None:  # as if no spike ever lowered it, which is more
        kept, sums = growth(lif.decay, lif.current_decay if lif.filters_current else UNITY, None)
        down, up = (kept * each + lif.bias for each in (low, high))
        with np.errstate(invalid="ignore"):
            least, most = (np.where(each == 0, 0, each * sums / kept) for each in (down, up))
        return np.minimum(floor, least), np.maximum(most, 0)
    kept_u, kept_v = (1 - np.asarray(decay) / UNITY for decay in (lif.current_decay, lif.decay))
    below = above = least = most = np.zeros_like(low)
    for _ in range(steps):
        below, above = kept_u * below + low, kept_u * above + high
        least = np.minimum(kept_v * np.minimum(least, floor) + below + lif.bias, 0)
        left = np.maximum(np.minimum(most, threshold), most - lowering)
        most = np.maximum(kept_v * left + above + lif.bias, 0)
    return np.minimum(least, floor), most


def check(graph: Graph) -> None:
    """Enforce the widths of all parameters of an integer graph.

    Raises:
        RefusedInput: a parameter is outside its width: the first one, by node.
    """
    host = host_nodes(graph)
    for node in graph.nodes.values():
        match node.operation:
            case ops.LoihiLif() as lif:
                _check_population(node.name, lif)
                _check_weights(node.name, "drive", lif.drive.reshape(1, -1), WEIGHT_EXPONENT)
            case ops.Weighted() as synapses:
                if node.name not in host:
                    _check_weights(node.name, "weights", synapses.weights, synapses.largest_exponent)
            case ops.SelfAttention(scale=scale):
                if scale != round(scale) or scale < 1:
                    raise RefusedInput(f"{node.name}: scale is {scale}; expected a whole number of at least 1")
            case ops.Source() | ops.Sink() | ops.Delay() | ops.Fixed() | ops.MaxPool2d() | ops.Membranes():
                pass
            case ops.Lif() | ops.If() | ops.CubaLif() | ops.Threshold() | ops.SoftLif() | ops.SoftIf():
                raise RefusedInput(f"{node.name} is a {node.operation.nir_name} of floats; expected integers")
            case unknown:
                assert_never(unknown)


def _check_population(name: str, lif: ops.LoihiLif) -> None:
    mantissa = 2 ** (BIAS_MANTISSA_BITS - 1)
    lower = "lower the weight scale"
    for what, values, least, most, bits, advice in (
        ("v_threshold", lif.threshold.max(), 0, 2**THRESHOLD_BITS - 1, THRESHOLD_BITS, lower),
        ("v_threshold", lif.threshold.min(), 0, 2**THRESHOLD_BITS - 1, THRESHOLD_BITS, "raise it"),
        ("lowering of v", 0 if lif.lowering is None else lif.lowering, 0, 2**THRESHOLD_BITS - 1, THRESHOLD_BITS, lower),
        ("bias mantissa", lif.bias_mantissa, -mantissa, mantissa - 1, BIAS_MANTISSA_BITS, lower),
        ("bias exponent", lif.bias_exponent, 0, 2**BIAS_EXPONENT_BITS - 1, BIAS_EXPONENT_BITS, lower),
        ("decay", np.min(lif.decay), 0, UNITY, DECAY_BITS, "lengthen tau"),
        # A v without memory is reset in every step, which resets u too.
        ("decay", _largest_decay(lif), 0, UNITY - int(lif.filters_current), DECAY_BITS, "lengthen tau"),
        ("decay of u", lif.current_decay, 1, UNITY, DECAY_BITS, "lengthen tau_syn"),
    ):
        if (high := np.max(values)) > most:
            raise RefusedInput(f"{name}: {what} {high} exceeds {most} ({bits} bits); {advice}")
        if (low := np.min(values)) < least:
            raise RefusedInput(f"{name}: {what} {low} is below {least} ({bits} bits); {advice}")


def _largest_decay(lif: ops.LoihiLif) -> int:
    """The largest decay of v among the neurons whose current outlasts its step; of all where there are none."""
    decay, current = np.broadcast_arrays(lif.decay, lif.current_decay)
    filtering = decay[current < UNITY]
    return int((filtering if filtering.size else decay).max())


def _check_weights(name: str, what: str, weights: ops.Array, largest_exponent: int) -> None:
    """Refuse an output channel whose weights are not all `2^e q`, q of 8 bits, with one e that its synapses hold."""
    for channel, row in enumerate(weights.reshape(len(weights), -1).astype(np.float64)):
        if shift(row, largest_exponent) is None:
            raise RefusedInput(
                f"{name}: the {what} of output channel {channel}, up to {row[np.abs(row).argmax()]:g}, are no integers "
                f"of {WEIGHT_BITS} bits shifted by at most {largest_exponent}; raise the unit"
            )
