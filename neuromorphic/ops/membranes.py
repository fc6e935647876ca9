"""Neurons of NIR without a threshold, in time steps: they send their membranes."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

import nir
import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.errors import RefusedInput
from neuromorphic.ops.charging import ZERO, Charging
from neuromorphic.ops.neuron_kernels import GeneralNeurons
from neuromorphic.ops.neuron_roles import CurrentBased, FloatState, Integrating, Leaky, Membranes
from neuromorphic.ops.operation import lacks
from neuromorphic.ops.parameters import decay, gain, integrates, neuron_node, per_input, per_neuron
from neuromorphic.ops.types import (
    Conventions,
    Float32,
    Float64,
    Interval,
    NeuronKernel,
    Shape,
    Shapes,
    State,
    Typed,
)


class FloatMembranes(FloatState, Membranes):
    """Membranes of NIR: their state is real.

    Attributes:
        gain: the factor of the input; float32 of the neurons' shape.
    """

    gain: Float32

    @property
    @abstractmethod
    def charging(self) -> Charging:
        """The numbers that v is computed with."""
        lacks(self, "charge")

    def _is(self, like: Any, shapes: Shapes, dt: float) -> bool:
        """Whether a node of a file is read as these very numbers by a reader that knows nothing but dt."""
        try:
            said = self.read(like, shapes.output, "", Conventions(dt, dt)).operation
        except RefusedInput:
            return False
        return isinstance(said, type(self)) and all(np.array_equal(vars(said)[k], v) for k, v in vars(self).items())

    def advance(self, state: State, x: Float64) -> Float64:
        self.charge(state, x)
        return state.v.copy()

    def grid(self, bits: int | None, steps: int) -> int | None:
        """Every decay makes the grid finer, step by step (`charging`)."""
        return None if bits is None else self.charging.membrane_grid(bits, steps)

    def neuron_kernel(self, batch: int, shape: Shape, dtype: DTypeLike) -> NeuronKernel:
        return GeneralNeurons(vars(self), self.start, (batch, *shape), dtype)


@final
@dataclass(frozen=True)
class Integrator(Integrating, FloatMembranes):
    """`v += gain x`, `y = v`; `gain = dt r` is float32 of its shape.  An image begins at `v = 0`."""

    nir_types: ClassVar = (nir.I,)

    gain: Float32

    @classmethod
    def read(cls, node: nir.I, shape: Shape, where: str, given: Conventions) -> Typed:
        r = per_neuron(node, ("r",), shape, where)["r"]
        return Typed.elementwise(cls(gain(r, given.integrator_dt)), shape)

    def write(self, shapes: Shapes, dt: float, like: nir.I | None = None) -> nir.I:
        return neuron_node(nir.I, shapes.output, r=self.gain / np.float32(dt)) if like is None else like

    @property
    def start(self) -> Float32:
        return ZERO

    @property
    def charging(self) -> Charging:
        return Charging(self.gain)

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        return Interval.between(steps * self.gain * np.minimum(x.low, 0), steps * self.gain * np.maximum(x.high, 0))


@final
@dataclass(frozen=True)
class Li(Leaky, FloatMembranes):
    """`v += decay (leak + gain x - v)`, `y = v`; attributes as of `Lif`.  An image begins at `v = leak`."""

    nir_types: ClassVar = (nir.LI,)

    decay: Float32
    gain: Float32
    leak: Float32

    @classmethod
    def read(cls, node: nir.LI, shape: Shape, where: str, given: Conventions) -> Typed:
        values = per_neuron(node, ("tau", "r", "v_leak"), shape, where, infinite=("tau", "r"))
        if integrates(values, where):
            if values["v_leak"].any():
                raise RefusedInput(f"{where}: tau is infinite and v_leak is not 0; expected 0, where v begins")
            return Typed.elementwise(Integrator(np.ones(shape, np.float32)), shape)
        leaving = decay(values["tau"], given, "tau", where)
        gained = per_input(values["r"], leaving, given.leaky_adds)
        return Typed.elementwise(cls(gain=gained, decay=leaving, leak=values["v_leak"]), shape)

    def write(self, shapes: Shapes, dt: float, like: nir.LI | None = None) -> nir.LI:
        if like is not None and self._is(like, shapes, dt):
            return like
        tau = np.float32(dt) / self.decay
        return neuron_node(nir.LI, shapes.output, tau=tau, r=self.gain, v_leak=self.leak)

    @property
    def start(self) -> Float32:
        return self.leak

    @property
    def charging(self) -> Charging:
        return Charging(self.gain, (self.decay,), self.leak)

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        """V begins at its leak and decays towards `leak + gain x`, so it stays between the two."""
        return Interval.between(self.leak, self.leak + self.gain * x.low, self.leak + self.gain * x.high)


@final
@dataclass(frozen=True)
class CubaLi(CurrentBased, FloatMembranes):
    """`i += current_decay (weight x - i)`, then `v += decay (leak + gain i - v)`, `y = v`; attributes as of `CubaLif`.

    An image begins at `i = 0`, `v = leak`.
    """

    nir_types: ClassVar = (nir.CubaLI,)

    current_decay: Float32
    weight: Float32
    decay: Float32
    gain: Float32
    leak: Float32

    @classmethod
    def read(cls, node: nir.CubaLI, shape: Shape, where: str, given: Conventions) -> Typed:
        values = per_neuron(node, ("tau_syn", "tau_mem", "r", "v_leak", "w_in"), shape, where)
        synapse = decay(values["tau_syn"], given, "tau_syn", where)
        neurons = cls(
            gain=values["r"],
            current_decay=synapse,
            weight=per_input(values["w_in"], synapse, given.current_adds),
            decay=decay(values["tau_mem"], given, "tau_mem", where),
            leak=values["v_leak"],
        )
        return Typed.elementwise(neurons, shape)

    def write(self, shapes: Shapes, dt: float, like: nir.CubaLI | None = None) -> nir.CubaLI:
        if like is not None and self._is(like, shapes, dt):
            return like
        return neuron_node(
            nir.CubaLI,
            shapes.output,
            tau_syn=np.float32(dt) / self.current_decay,
            tau_mem=np.float32(dt) / self.decay,
            r=self.gain,
            v_leak=self.leak,
            w_in=self.weight,
        )

    @property
    def start(self) -> Float32:
        return self.leak

    @property
    def charging(self) -> Charging:
        return Charging(self.gain.astype(np.float64) * self.weight, (self.current_decay, self.decay), self.leak)

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        """V begins at its leak and decays towards `leak + gain x`, so it stays between the two."""
        reached = self.gain * self.weight
        return Interval.between(self.leak, self.leak + reached * x.low, self.leak + reached * x.high)
