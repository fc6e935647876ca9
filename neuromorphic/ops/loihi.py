"""The LIF neuron of Loihi 2, in integers.

    u = wrap(decayed(u) + 64 (x + drive))       x the synaptic input, drive a constant one
    v = saturate(decayed(v) + u + (mantissa << exponent))
    spike where v > 64 threshold; there v = 0, or v -= 64 lowering

A current that doesn't outlast its step loses 4096 of 4096 (Lava's du = 4095, to which it adds 1).  `wrap` keeps 24 bits
as two's complement does, except that 2^23 stays (as in Lava); `saturate` clips to ±(2^23 - 1); `decayed` rounds toward
zero.  With the reset to v = 0 this is Lava's `LIFReset` in fixed point (`lava/proc/lif/models.py`), bit by bit.  With a
lowering, a soft reset, the chip would need a neuron of one's own microcode: none of Lava's subtracts.

Values are integers, in arrays of any numeric type that holds them exactly; float64 does, with all products.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.ops.neuron_roles import ChipPopulation
from neuromorphic.ops.operation import lacks
from neuromorphic.ops.types import (
    Array,
    ChipKernel,
    Conventions,
    Float64,
    Int32,
    Mask,
    Overflows,
    Shape,
    Shapes,
    State,
    Typed,
    multiplies,
    single_number,
)
from neuromorphic.ops.widths import ALIGNMENT, DECAY_BITS, STATE_LIMIT

Decay = int | Int32
"""The decay of a population: one number for all neurons, or one for each."""

UNITY: int = 2**DECAY_BITS
"""Decays are counted in parts of this: 4096 is all."""


@final
@dataclass(frozen=True)
class LoihiLif(ChipPopulation):
    """A population in the integers of the chip; its input x consists of integers, too.

    Attributes:
        decay: share of v that is lost per time step, of 4096: one number, or int32 of the population's shape.  4096 is
            a neuron without memory, which the chip resets in every step, since 12 bits end at 4095.  In Lava, neurons
            with several decays are several populations.
        threshold: int32 of the population's shape.
        bias_mantissa: int32 of the population's shape.
        bias_exponent: one number.
        current_decay: share of u that is lost per time step, of 4096, likewise, from 1; 4096 where no current outlasts
            its step.
        drive: int32 of the population's shape, or a single number: a constant input, from synapses of a neuron that
            fires in every step.  It is a bias of u; the chip's biases act on v.
        lowering: int32 of the population's shape: the amount that a spike takes off v, in the unit of the threshold;
            None where a spike sets v to 0.
    """

    nir_types: ClassVar = ()  # a file holds floats, and the scheme that makes integers of them (`loihi2.file`)

    decay: Decay
    threshold: Int32
    bias_mantissa: Int32
    bias_exponent: int
    current_decay: Decay = UNITY
    drive: Int32 = field(default_factory=lambda: np.zeros((), np.int32))
    lowering: Int32 | None = None

    @classmethod
    def read(cls, node: Any, shape: Shape, where: str, given: Conventions) -> Typed:
        """A TypeError: no node of NIR is read as one."""
        lacks(cls, "node in NIR")

    def write(self, shapes: Shapes, dt: float, like: Any = None) -> Any:
        """A TypeError: NIR has no node of integers."""
        lacks(self, "node in NIR")

    @property
    def nir_name(self) -> str:
        return "LIF"

    @property
    def bias(self) -> Int32:
        """`mantissa << exponent`, in units of v."""
        return self.bias_mantissa << self.bias_exponent

    def at_rest(self, images: int, shape: Shape) -> State:
        return State(np.zeros((images, *shape)), np.zeros((images, *shape)))

    def advance(self, state: State, x: Float64) -> Float64:
        """As it is defined, in float64; a spike leaves u as it is."""
        u = wrap(x * 2**ALIGNMENT + self.drive * 2**ALIGNMENT + decayed(state.i, self.current_decay))
        state.i[...] = u
        state.v[...] = np.clip(decayed(state.v, self.decay) + u + self.bias, 1 - STATE_LIMIT, STATE_LIMIT - 1)
        fired = state.v > self.threshold * float(2**ALIGNMENT)
        if self.lowering is None:
            state.v[fired] = 0
        else:
            state.v -= fired * (self.lowering * float(2**ALIGNMENT))
        return fired.astype(np.float64)

    def neuron_kernel(self, batch: int, shape: Shape, dtype: DTypeLike) -> ChipKernel:
        """In the type that holds v exactly, whatever `dtype` is."""
        return LoihiNeurons(self, (batch, *shape))

    @property
    def states(self) -> int:
        return int(np.any(np.asarray(self.decay) < UNITY)) + int(self.filters_current)

    @property
    def multiplications(self) -> int:
        return multiplies(np.asarray(self.decay) / UNITY) + multiplies(np.asarray(self.current_decay) / UNITY)

    @property
    def leaks(self) -> bool:
        """Whether v decays between steps; without memory there is nothing that could."""
        return bool(np.any((np.asarray(self.decay) > 0) & (np.asarray(self.decay) < UNITY)))

    @property
    def filters_current(self) -> bool:
        return bool(np.any(np.asarray(self.current_decay) < UNITY))

    @property
    def rests_after_spike(self) -> bool:
        return self.lowering is None

    @property
    def always_updated(self) -> bool:
        """Where every neuron has a bias, or every neuron has a drive."""
        return bool(np.all(self.bias)) or bool(np.all(self.drive))

    @property
    def has_bias(self) -> bool:
        return bool(self.bias.any())

    def drives(self, shape: Shape) -> Mask:
        return np.broadcast_to((self.bias != 0) | (self.drive != 0), shape)


def wrap(x: Array) -> Array:
    """The number in (-2^23, 2^23] that differs from x by a multiple of 2^24."""
    return np.asarray(STATE_LIMIT - np.mod(STATE_LIMIT - x, 2 * STATE_LIMIT))


def decayed(v: Array, decay: Decay) -> Array:
    """`sign(v) floor(|v| (4096 - decay) / 4096)`."""
    return np.asarray(np.trunc(v * (UNITY - np.asarray(decay, v.dtype)) / v.dtype.type(UNITY)))


class LoihiNeurons:
    """Computes `LoihiLif` fast, and counts overflows; those of v above only where spikes lower v.

    It uses float32 where that is exact: where no current outlasts its step, and v keeps all, nothing, or a power of two
    of itself.  float32 holds every integer up to 2^24, and products with powers of two don't round; |v| and |u| are at
    most 2^23, and a sum with the bias beyond 2^24 saturates.  Everywhere else it uses float64.

    Args:
        lif: the population.
        shape: `[B, *shape]`.
    """

    def __init__(self, lif: LoihiLif, shape: tuple[int, ...]) -> None:
        kept = UNITY - np.asarray(lif.decay)
        dtype: type[np.floating] = np.float64 if lif.filters_current or np.any(kept & (kept - 1)) else np.float32
        self.v: Array = np.zeros(shape, dtype)
        self.u: Array = np.zeros(shape if lif.filters_current else (), dtype)
        self.lif, self.overflows = lif, Overflows()
        self.kept = (kept / UNITY).astype(dtype)
        self.drive = single_number(lif.drive)
        self.bias = single_number(lif.bias.astype(dtype))
        self.threshold = single_number(lif.threshold.astype(dtype)) * dtype(2**ALIGNMENT)
        lowering = None if lif.lowering is None else single_number(lif.lowering.astype(dtype))
        self.lowering = None if lowering is None else lowering * dtype(2**ALIGNMENT)

    def forget(self) -> None:
        """Back to zeros."""
        self.v[...] = 0
        self.u[...] = 0

    def __call__(self, x: Array) -> Array:
        """One time step, from the input x, which stays as it is, to spikes."""
        v = self.v
        u = self._current(x)
        v *= self.kept
        np.trunc(v, out=v)
        v += u
        v += self.bias
        if v.min() < 1 - STATE_LIMIT or v.max() > STATE_LIMIT - 1:
            most = np.inf if self.lowering is None else STATE_LIMIT - 1  # v = 0 follows, whatever was lost
            self.overflows.saturations += int(np.count_nonzero((v < 1 - STATE_LIMIT) | (v > most)))
            np.clip(v, 1 - STATE_LIMIT, STATE_LIMIT - 1, out=v)
        fired = v > self.threshold
        if self.lowering is None:
            v *= ~fired  # several times as fast as to copy zeros there
        else:
            v -= self.lowering * fired
        return np.asarray(fired.view(np.uint8))

    def _current(self, x: Array) -> Array:
        """u, in the type of v."""
        dtype = self.v.dtype
        u = x if x.dtype.kind == "f" and x.dtype.itemsize >= dtype.itemsize else x.astype(dtype)
        if np.any(self.drive):
            u = u + self.drive
        u = u * u.dtype.type(2**ALIGNMENT)
        if self.lif.filters_current:
            u += decayed(self.u, self.lif.current_decay)
        if u.max() > STATE_LIMIT or u.min() <= -STATE_LIMIT:
            self.overflows.wraps += int(np.count_nonzero((u > STATE_LIMIT) | (u <= -STATE_LIMIT)))
            u = wrap(u.astype(np.float64))  # 2^23 - u needs more than 24 bits where u is below -2^30 + 2^23
        u = u.astype(dtype, copy=False)
        if self.lif.filters_current:
            self.u = u
        return u
