"""Populations of floats as neurons of the chip: `v = 64 (v_float - v_reset) / (g λ)`.

The gain g is by how much an input of 1 raises v_float in the same step: `dt / tau r` of a LIF, `dt r` of an IF,
`dt / tau_mem r dt / tau_syn w_in` of a CubaLIF, 1 of a Threshold.  The chip's neurons rest and reset at 0, so v is
counted from v_reset; a resting potential elsewhere becomes a bias, `dt / tau (v_leak - v_reset)` per step.
Current-based neurons keep `u = 64 i / (dt / tau_syn w_in λ)`; the biases of their synapses have to pass u, as a drive.

A spike that subtracts takes the threshold off v in the same step.  In a loop of NIR's nodes (`ops.soft_resets`) it
takes `dt / tau r b` off v in the next step, after the decay: as much as `dt / tau r b / (1 - dt / tau)` before it.

Decays are multiples of 1/4096 on the chip; others are rounded to the nearest.  A population may have several.
"""

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.loihi2.scheme import Scheme
from neuromorphic.loihi2.whole import fired_at, reached
from neuromorphic.ops import (
    AnyOperation,
    CubaLif,
    Float32,
    Float64,
    If,
    Lif,
    LoihiLif,
    Mask,
    SoftIf,
    SoftLif,
    Threshold,
)
from neuromorphic.ops.loihi import UNITY, Decay
from neuromorphic.ops.widths import ALIGNMENT, THRESHOLD_BITS

FloatNeurons = Lif | If | CubaLif | Threshold | SoftLif | SoftIf
"""Populations of floats that can become neurons of the chip."""

TINY = 2.0**-20
"""How far below 0 a threshold may be, relative to the largest of its population, and count as 0."""

STEP = 2**ALIGNMENT


@dataclass(frozen=True)
class ChipForm:
    """A population of floats in the terms of the chip; arrays are float64 of its shape.

    Amounts "as an input" are divided by g: an input of that size changes v as much.

    Attributes:
        decay: share of v that is lost per step, of 4096.
        current_decay: share of the synaptic current that is lost per step, of 4096.
        gain: g.
        threshold: above v_reset.
        rest: the change of v per step by the leak, as an input.
        lowering: the amount that a spike takes off v, as an input; None where a spike sets v to v_reset.
    """

    decay: Decay
    current_decay: Decay
    gain: Float64
    threshold: Float64
    rest: Float64
    lowering: Float64 | None = None

    @property
    def counts(self) -> tuple[Float64, ...]:
        """The threshold, and the lowering where there is one, as inputs: what the chip holds, but for the unit."""
        return (self.threshold / self.gain, *(() if self.lowering is None else (self.lowering,)))

    @property
    def filters_current(self) -> bool:
        """Whether currents outlast their step."""
        return bool(np.any(np.asarray(self.current_decay) < UNITY))

    @property
    def decays(self) -> tuple[int, ...]:
        """All decays of v and of currents in the population, of 4096."""
        return tuple(int(d) for d in np.unique([*np.ravel(self.decay), *np.ravel(self.current_decay)]))

    def bias(self, arriving: Float64) -> Float64:
        """The bias of v, as an input: the leak and, unless they pass the current, the biases `arriving`."""
        return self.rest if self.filters_current else self.rest + arriving

    def drive(self, arriving: Float64) -> Float64:
        """The bias of u, as an input: the biases `arriving`, where they pass the current; else 0."""
        return arriving if self.filters_current else np.zeros_like(arriving)

    def growth(self, steps: int | None) -> tuple[float, float]:
        """The greatest u and v that an input of 1 in every step causes, relative to those of its first step.

        Args:
            steps: time steps since rest; None for any number.
        """
        u, v = growth(self.decay, self.current_decay, steps)
        return float(u.max()), float(v.max())


def growth(decay: Decay, current_decay: Decay, steps: int | None) -> tuple[Float64, Float64]:
    """`Σ_{n<T} k_u^n` and `Σ_{n<T} Σ_{i+j=n} k_u^i k_v^j`, with `k = 1 - decay / 4096`; for T to infinity if None."""
    kept_u, kept_v = (1 - np.asarray(each) / UNITY for each in (current_decay, decay))
    if steps is None:
        u = np.asarray(1 / (1 - kept_u))
        with np.errstate(divide="ignore"):
            return u, np.asarray(u / (1 - kept_v))
    u, v = np.zeros_like(kept_u), np.zeros_like(kept_v)
    for _ in range(steps):
        u = kept_u * u + 1
        v = kept_v * v + u
    return u, v


def chip_form(name: str, neurons: FloatNeurons) -> ChipForm:
    """A population in the chip's terms.

    Raises:
        RefusedInput: a factor is not the chip's.
    """
    zero, reset = np.zeros(neurons.threshold.shape), neurons.start.astype(np.float64)
    above = neurons.threshold.astype(np.float64) - reset
    match neurons:
        case Threshold():
            result = ChipForm(UNITY, UNITY, zero + 1, above, zero)
        case If(gain=gain) | SoftIf(gain=gain):
            result = ChipForm(0, UNITY, zero + _positive(name, "r", gain), above, zero)
        case (
            Lif(decay=decay, gain=gain, leak=leak)
            | CubaLif(decay=decay, gain=gain, leak=leak)
            | SoftLif(decay=decay, gain=gain, leak=leak)
        ):
            factor = zero + _positive(name, "r", gain)
            current_decay: Decay = UNITY
            if isinstance(neurons, CubaLif):
                factor = factor * _positive(name, "w_in", neurons.weight) * neurons.current_decay.astype(np.float64)
                current_decay = _of_4096(neurons.current_decay)
            rest = (leak.astype(np.float64) - reset) / factor
            result = ChipForm(_of_4096(decay), current_decay, decay.astype(np.float64) * factor, above, rest)
        case unknown:
            assert_never(unknown)
    result = replace(result, lowering=_lowering(name, neurons, result))
    if -TINY * result.threshold.max() <= result.threshold.min() < 0:  # what training left of a 0
        result = replace(result, threshold=np.maximum(result.threshold, 0))
    if result.threshold.min() < 0:
        raise RefusedInput(f"{name}: its threshold is {result.threshold.min():g}; the chip's are 0 or more")
    if np.any((np.asarray(result.decay) == UNITY) & (np.asarray(result.current_decay) < UNITY)):
        raise RefusedInput(
            f"{name}: dt / tau_mem is 1 while its current outlasts its step; the chip's v decays by 4095 of 4096 at "
            "most, and a reset in every step would forget the current too"
        )
    return result


def _lowering(name: str, neurons: FloatNeurons, form: ChipForm) -> Float64 | None:
    """The amount that a spike takes off v before the next step's decay, as an input; None where it sets v."""
    if isinstance(neurons, SoftLif | SoftIf):
        if np.any(np.asarray(form.decay) == UNITY):
            raise RefusedInput(f"{name}: dt / tau is 1: v is forgotten, and could not be lowered by the last spike")
        lowering = neurons.back.astype(np.float64) / _kept(form.decay)
    elif neurons.subtracts:
        lowering = fired_at(neurons.threshold) / form.gain
    else:
        return None
    if lowering.min() < 0:
        raise RefusedInput(f"{name}: a spike adds to v, {-lowering.min():g} as an input; expected it to subtract")
    return lowering


def _kept(decay: Decay) -> Float64:
    return np.asarray(1 - np.asarray(decay) / UNITY)


def _positive(name: str, key: str, values: Float32) -> Float64:
    if values.min() <= 0:
        raise RefusedInput(f"{name}: {key} is {values.min():g}; expected more than 0")
    return values.astype(np.float64)


def _of_4096(decay: Float32) -> Decay:
    """`dt / tau` of a population, rounded to 1 to 4096 of 4096; a single number where all neurons have the same."""
    nearest = np.maximum(1, np.rint(decay.astype(np.float64) * UNITY)).astype(np.int32)
    return nearest if np.ptp(nearest) else int(nearest.flat[0])


def rounded(graph: Graph) -> Graph:
    """`graph` with every decay rounded as on the chip, and gains that leave the effect of an input on u and v as it is.

    Raises:
        RefusedInput: a population that the chip does not have, by name.
    """
    changed: dict[str, AnyOperation] = {}
    for node in graph.populations:
        neurons = neurons_of(node)
        form = chip_form(node.name, neurons)
        if isinstance(neurons, Lif | CubaLif | SoftLif):
            decay, gain = _kept_product(form.decay, neurons.decay, neurons.gain)
            neurons = replace(neurons, decay=decay, gain=gain)
        if isinstance(neurons, CubaLif):
            synapse, weight = _kept_product(form.current_decay, neurons.current_decay, neurons.weight)
            neurons = replace(neurons, current_decay=synapse, weight=weight)
        changed[node.name] = neurons
    return graph.with_operations(changed)


def _kept_product(of_4096: Decay, decay: Float32, factor: Float32) -> tuple[Float32, Float32]:
    """The decay `of_4096 / 4096`, and the factor for which `decay · factor` stays what it was: float32."""
    chip = np.broadcast_to(np.asarray(of_4096) / UNITY, decay.shape).astype(decay.dtype)
    return chip, factor if np.array_equal(chip, decay) else (factor * (decay / chip)).astype(np.float32)


def neurons_of(node: Node) -> FloatNeurons:
    """A node's population.

    Raises:
        RefusedInput: it consists of integers already.
        TypeError: it is no population.
    """
    match node.operation:
        case Lif() | If() | CubaLif() | Threshold() | SoftLif() | SoftIf() as neurons:
            return neurons
        case LoihiLif():
            raise RefusedInput(f"{node.name} is quantised already; expected floats")
        case other:
            raise TypeError(f"node {node.name!r}: {type(other).__name__} has no form in the chip's integers")


def population(name: str, neurons: FloatNeurons, arriving: Float64, scheme: Scheme) -> LoihiLif:
    """The chip's neurons with `v = 64 (v_float - v_reset) / (g λ)`; every number is rounded to the nearest integer.

    Args:
        name: of the population.
        neurons: of floats.
        arriving: the sum of the biases of its synapses, float64 of its shape.
        scheme: with its unit.

    Raises:
        RefusedInput: a factor is not the chip's.
    """
    form = chip_form(name, neurons)
    unit, exponent = scheme.units[name], scheme.bias_exponents[name]
    least = 2.0**exponent * unit / STEP
    # The leak is rounded by itself: biases are multiples of `least` already, and so are their sums.
    mantissa = np.round(form.rest / least) + np.round((form.bias(arriving) - form.rest) / least)
    drive = np.round(form.drive(arriving) / unit)
    count = np.round(form.threshold / (form.gain * unit))
    if neurons.subtracts:  # what others fire at is a threshold already
        count = np.where(reached(neurons.threshold), np.maximum(count - 1, 0), count)
    return LoihiLif(
        form.decay,
        count.astype(np.int32),
        mantissa.astype(np.int32),
        exponent,
        form.current_decay,
        drive.astype(np.int32) if drive.any() else np.zeros((), np.int32),
        None if form.lowering is None else np.round(form.lowering / unit).astype(np.int32),
    )


def with_thresholds(neurons: FloatNeurons, counts: Float64, unit: float, at: Mask) -> FloatNeurons:
    """`neurons` with thresholds `counts · g λ` above their reset, and lowerings of loops that are integers times λ.

    Neurons that fire `at` a number, and from whose v a spike takes that number, keep the float32 next below it.
    """
    form = chip_form("", neurons)
    threshold = (counts * form.gain * unit + neurons.start).astype(np.float32)
    if isinstance(neurons, SoftLif | SoftIf) and form.lowering is not None:
        count = np.minimum(np.round(form.lowering / unit), 2**THRESHOLD_BITS - 1)  # beyond it where none ever fires
        back = count * unit * _kept(form.decay)
        return replace(neurons, threshold=threshold, back=back.astype(np.float32))
    if neurons.subtracts:
        below = np.nextafter(fired_at(neurons.threshold).astype(np.float32), np.float32(-np.inf))
        threshold = np.where(at, below, fired_at(threshold).astype(np.float32))
    return replace(neurons, threshold=threshold)


def with_snapped_rest(neurons: FloatNeurons, least: float) -> FloatNeurons:
    """`neurons` with the leak rounded so that it changes v by a multiple of `least` per step, as an input."""
    if not isinstance(neurons, Lif | CubaLif) or np.array_equal(neurons.leak, neurons.reset):
        return neurons
    form = chip_form("", neurons)
    per_input = form.gain / neurons.decay
    leak = np.round(form.rest / least) * least * per_input + neurons.reset
    return replace(neurons, leak=leak.astype(np.float32))
