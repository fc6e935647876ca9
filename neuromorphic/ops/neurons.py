"""Neurons of NIR that spike, in time steps: forward Euler at dt (docs/primitives.md).

`tau dv/dt = (v_leak - v) + R I` becomes `v += dt / tau (v_leak + R I - v)`, and `dv/dt = R I` becomes `v += dt R I`.
A spike is sent where v exceeds the threshold, strictly, and v is reset in the same step.
"""

from dataclasses import dataclass, field
from typing import ClassVar, final

import nir
import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.ops.charging import ZERO, Charging
from neuromorphic.ops.neuron_kernels import GeneralNeurons, LeakyNeurons
from neuromorphic.ops.neuron_roles import CurrentBased, FloatState, Integrating, Leaky, Population
from neuromorphic.ops.parameters import decay, firing, gain, integrates, neuron_node, per_input, per_neuron
from neuromorphic.ops.types import (
    Conventions,
    Float32,
    Float64,
    Mask,
    NeuronKernel,
    Shape,
    Shapes,
    State,
    Typed,
)


class FloatPopulation(FloatState, Population):
    """Populations of NIR: their state is real.

    Attributes:
        threshold: float32 of the population's shape.
        reset: v at the start of an image, and after a spike; `Threshold`, which keeps no v, has none.
        subtracts: whether a spike takes the threshold off v instead of setting v to `reset`.
    """

    threshold: Float32
    reset: Float32
    subtracts: bool

    def advance(self, state: State, x: Float64) -> Float64:
        self.charge(state, x)
        fired = state.v > self.threshold
        self._reset(state, fired)
        return fired.astype(np.float64)

    def _reset(self, state: State, fired: Mask) -> None:
        if self.subtracts:
            state.v -= self.threshold * fired
        else:
            np.copyto(state.v, self.start, where=fired)

    @property
    def start(self) -> Float32:
        return self.reset

    @property
    def _lowering(self) -> Float32:
        """The amount that a spike takes off v."""
        return self.threshold if self.subtracts else ZERO

    @property
    def rests_after_spike(self) -> bool:
        return not self.subtracts

    @property
    def fires_at_rest(self) -> bool:
        """Whether some thresholds are below the v at the start: such neurons fire without input."""
        return bool((self.threshold < self.start).any())

    @property
    def always_updated(self) -> bool:
        """Where some fire at rest, or leak with a leak or a reset other than 0."""
        charging = self.charging
        restless = self.leaks and charging is not None and bool(charging.leak.any() or charging.reset.any())
        return restless or self.fires_at_rest

    def neuron_kernel(self, batch: int, shape: Shape, dtype: DTypeLike) -> NeuronKernel:
        numbers = {key: values for key, values in vars(self).items() if key != "subtracts"}
        return GeneralNeurons(numbers, self.start, (batch, *shape), dtype, subtracts=self.subtracts)


@final
@dataclass(frozen=True)
class Lif(Leaky, FloatPopulation):
    """`v += decay (leak + gain x - v)`; a spike where `v > threshold`, strictly; then `v = reset` there.

    `decay = dt / tau` per time step.  Every attribute is float32 of the population's shape; leak and reset may be a
    single number.  An image begins at `v = reset`.
    """

    nir_types: ClassVar = (nir.LIF,)

    decay: Float32
    gain: Float32
    threshold: Float32
    leak: Float32 = field(default_factory=lambda: ZERO)
    reset: Float32 = field(default_factory=lambda: ZERO)
    subtracts: bool = False

    @classmethod
    def read(cls, node: nir.LIF, shape: Shape, where: str, given: Conventions) -> Typed:
        keys = ("tau", "r", "v_leak", "v_threshold", "v_reset")
        values = per_neuron(node, keys, shape, where, infinite=("tau", "r"))
        threshold = firing(values["v_threshold"], given)
        if integrates(values, where):
            neurons = If(np.ones(shape, np.float32), threshold, values["v_reset"], given.subtract)
            return Typed.elementwise(neurons, shape)
        leaving = decay(values["tau"], given, "tau", where)
        lif = cls(
            decay=leaving,
            gain=per_input(values["r"], leaving, given.leaky_adds),
            threshold=threshold,
            leak=values["v_leak"],
            reset=values["v_reset"],
            subtracts=given.subtract,
        )
        return Typed.elementwise(lif, shape)

    def write(self, shapes: Shapes, dt: float, like: nir.LIF | None = None) -> nir.LIF:
        return neuron_node(
            nir.LIF,
            shapes.output,
            tau=np.float32(dt) / self.decay,
            r=self.gain,
            v_leak=self.leak,
            v_threshold=self.threshold,
            v_reset=self.reset,
        )

    @property
    def charging(self) -> Charging:
        return Charging(self.gain, (self.decay,), self.leak, self.reset, self._lowering, self.threshold)

    def neuron_kernel(self, batch: int, shape: Shape, dtype: DTypeLike) -> NeuronKernel:
        if self.leak.any() or self.reset.any() or self.subtracts:
            return super().neuron_kernel(batch, shape, dtype)
        return LeakyNeurons(self.decay, self.gain, self.threshold, (batch, *shape), dtype)


@final
@dataclass(frozen=True)
class If(Integrating, FloatPopulation):
    """`v += gain x`; a spike where `v > threshold`, strictly; then `v = reset` there.

    `gain = dt r` per time step; every attribute is float32 of the population's shape.  An image begins at `v = reset`.
    """

    nir_types: ClassVar = (nir.IF,)

    gain: Float32
    threshold: Float32
    reset: Float32
    subtracts: bool = False

    @classmethod
    def read(cls, node: nir.IF, shape: Shape, where: str, given: Conventions) -> Typed:
        values = per_neuron(node, ("r", "v_threshold", "v_reset"), shape, where)
        neurons = cls(
            gain=gain(values["r"], given.integrator_dt),
            threshold=firing(values["v_threshold"], given),
            reset=values["v_reset"],
            subtracts=given.subtract,
        )
        return Typed.elementwise(neurons, shape)

    def write(self, shapes: Shapes, dt: float, like: nir.IF | None = None) -> nir.IF:
        """An `IF` of full arrays; r is that of `like`, which has it exactly."""
        r = self.gain / np.float32(dt) if like is None else like.r
        return neuron_node(nir.IF, shapes.output, r=r, v_threshold=self.threshold, v_reset=self.reset)

    @property
    def charging(self) -> Charging:
        return Charging(self.gain, (), ZERO, self.reset, self._lowering, self.threshold)


@final
@dataclass(frozen=True)
class CubaLif(CurrentBased, FloatPopulation):
    """`i += current_decay (weight x - i)`, then with this i: `v += decay (leak + gain i - v)`; spikes as of `Lif`.

    `current_decay = dt / tau_syn` and `decay = dt / tau_mem` per time step; every attribute is float32 of the
    population's shape.  An image begins at `i = 0`, `v = reset`; a spike leaves i as it is.
    """

    nir_types: ClassVar = (nir.CubaLIF,)

    current_decay: Float32
    weight: Float32
    decay: Float32
    gain: Float32
    leak: Float32
    threshold: Float32
    reset: Float32
    subtracts: bool = False

    @classmethod
    def read(cls, node: nir.CubaLIF, shape: Shape, where: str, given: Conventions) -> Typed:
        keys = ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in")
        values = per_neuron(node, keys, shape, where)
        synapse = decay(values["tau_syn"], given, "tau_syn", where)
        neurons = cls(
            current_decay=synapse,
            weight=per_input(values["w_in"], synapse, given.current_adds),
            decay=decay(values["tau_mem"], given, "tau_mem", where),
            gain=values["r"],
            leak=values["v_leak"],
            threshold=firing(values["v_threshold"], given),
            reset=values["v_reset"],
            subtracts=given.subtract,
        )
        return Typed.elementwise(neurons, shape)

    def write(self, shapes: Shapes, dt: float, like: nir.CubaLIF | None = None) -> nir.CubaLIF:
        return neuron_node(
            nir.CubaLIF,
            shapes.output,
            tau_syn=np.float32(dt) / self.current_decay,
            tau_mem=np.float32(dt) / self.decay,
            r=self.gain,
            v_leak=self.leak,
            v_threshold=self.threshold,
            v_reset=self.reset,
            w_in=self.weight,
        )

    @property
    def charging(self) -> Charging:
        return Charging(
            self.gain.astype(np.float64) * self.weight,
            (self.current_decay, self.decay),
            self.leak,
            self.reset,
            self._lowering,
            self.threshold,
        )


@final
@dataclass(frozen=True)
class Threshold(FloatPopulation):
    """A spike where `x > threshold`, strictly: a neuron without memory.  The threshold is float32 of its shape."""

    nir_types: ClassVar = (nir.Threshold,)

    threshold: Float32

    @classmethod
    def read(cls, node: nir.Threshold, shape: Shape, where: str, given: Conventions) -> Typed:
        threshold = per_neuron(node, ("threshold",), shape, where)["threshold"]
        return Typed.elementwise(cls(threshold=firing(threshold, given)), shape)

    def write(self, shapes: Shapes, dt: float, like: nir.Threshold | None = None) -> nir.Threshold:
        return neuron_node(nir.Threshold, shapes.output, threshold=self.threshold)

    @property
    def start(self) -> Float32:
        return ZERO

    charging = None

    def charge(self, state: State, x: Float64) -> None:
        state.v[...] = x

    def _reset(self, state: State, fired: Mask) -> None:
        """Nothing: the next input replaces v."""

    subtracts = False

    states = 0
    multiplications = 0
    leaks = False
    filters_current = False
