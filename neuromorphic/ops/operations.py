"""The operations of a graph's nodes: what each computes, with its parameters.

x is the sum of what arrives at the node in one time step, y what leaves it; neither has an axis for time or batch.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Shape = tuple[int, ...]


def _zero() -> Floats:
    return np.zeros((), np.float32)


@dataclass(frozen=True)
class Source:
    """`y = frame`: the graph's input, one frame per time step."""


@dataclass(frozen=True)
class Sink:
    """`y = Σ x`: the graph's output."""


@dataclass(frozen=True)
class Flatten:
    """`y = x.reshape(shape)`, the shape of the node: all dimensions become one, or neighbouring ones do."""


@dataclass(frozen=True)
class Scale:
    """`y = s x`, element by element; s is float32 of the node's shape."""

    scale: Floats


@dataclass(frozen=True)
class SumPool2d:
    """`y[c, i, j] = (Σ x[c, i s - p + m, j s - p + n]) / divisor` over the kernel's m, n; outside the map x is 0.

    Sum-pooling divides by 1, average-pooling by the positions of its kernel, padding included.  The sum is divided, not
    every term: 9 spikes in a window of 9 are exactly 1.  All but the divisor are (vertical, horizontal).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    divisor: int = 1


@dataclass(frozen=True)
class Conv2d:
    """`y[o, i, j] = b[o] + Σ w[o, c, m, n] x[c, i s - p + d m, j s - p + d n]` (cross-correlation, zero padding).

    NIR 1.0.8's type check refuses grouped kernels, so exporters write block-diagonal ones.  Here a kernel becomes the
    grouped convolution with the most groups that it equals: that is how it is computed, counted and placed.

    Attributes:
        weight: float32 `[out, in / groups, kernel height, kernel width]`.
        bias: float32 `[out]`.
        stride, padding, dilation: (vertical, horizontal).
        groups: of channels that don't see each other.
    """

    weight: Floats
    bias: Floats
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


@dataclass(frozen=True)
class Conv1d:
    """`y[o, j] = b[o] + Σ w[o, c, n] x[c, j s - p + d n]`: a `Conv2d` of maps with a single row (`graph.in_one_row`).

    Attributes:
        weight: float32 `[out, in / groups, kernel]`.
        bias: float32 `[out]`.
        stride, padding, dilation, groups: integers.
    """

    weight: Floats
    bias: Floats
    stride: int
    padding: int
    dilation: int
    groups: int


@dataclass(frozen=True)
class Affine:
    """`y = W x + b`, W float32 `[out, in]`, b float32 `[out]`."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Lif:
    """`v += decay (leak + gain x - v)`; a spike where `v > threshold`, strictly; then `v = reset` there.

    `decay = dt / tau` per time step.  Every attribute is float32 of the population's shape; leak and reset may be a
    single number.  An image begins at `v = reset`.
    """

    decay: Floats
    gain: Floats
    threshold: Floats
    leak: Floats = field(default_factory=_zero)
    reset: Floats = field(default_factory=_zero)


@dataclass(frozen=True)
class If:
    """`v += gain x`; a spike where `v > threshold`, strictly; then `v = reset` there.

    `gain = dt r` per time step; every attribute is float32 of the population's shape.  An image begins at `v = reset`.
    """

    gain: Floats
    threshold: Floats
    reset: Floats


@dataclass(frozen=True)
class CubaLif:
    """`i += synapse_decay (weight x - i)`, then with this i: `v += decay (leak + gain i - v)`; spikes as of `Lif`.

    `synapse_decay = dt / tau_syn` and `decay = dt / tau_mem` per time step; every attribute is float32 of the
    population's shape.  An image begins at `i = 0`, `v = reset`; a spike leaves i as it is.
    """

    synapse_decay: Floats
    weight: Floats
    decay: Floats
    gain: Floats
    leak: Floats
    threshold: Floats
    reset: Floats


@dataclass(frozen=True)
class Threshold:
    """A spike where `x > threshold`, strictly: a neuron without a memory; threshold is float32 of its shape."""

    threshold: Floats


@dataclass(frozen=True)
class Integrator:
    """`v += gain x`, `y = v`; `gain = dt r` is float32 of its shape.  An image begins at `v = 0`."""

    gain: Floats


@dataclass(frozen=True)
class Li:
    """`v += decay (leak + gain x - v)`, `y = v`; attributes as of `Lif`.  An image begins at `v = leak`."""

    decay: Floats
    gain: Floats
    leak: Floats


@dataclass(frozen=True)
class CubaLi:
    """`i += synapse_decay (weight x - i)`, then `v += decay (leak + gain i - v)`, `y = v`; attributes as of `CubaLif`.

    An image begins at `i = 0`, `v = leak`.
    """

    synapse_decay: Floats
    weight: Floats
    decay: Floats
    gain: Floats
    leak: Floats


@dataclass(frozen=True)
class Delay:
    """`y[t] = x[t - steps]`, element by element, of one image; 0 in its first steps.

    Attributes:
        steps: int64 of the node's shape, 0 or more.
    """

    steps: NDArray[np.int64]

    @property
    def lag(self) -> int:
        """The steps that all elements wait."""
        return int(self.steps.min())


@dataclass(frozen=True)
class LoihiLif:
    """`u = wrap(decayed(u) + 64 (x + drive))`, `v = saturate(decayed(v) + u + bias)`; a spike where `v > 64 threshold`.

    There v = 0 then.  A population in the integers of the chip (`loihi2.arithmetic`); x are integers too.

    Attributes:
        decay: of 4096, what v loses per time step; all 4096 of a neuron without a memory, which the chip resets in
            every step, since 12 bits end at 4095.
        threshold: int32 of the population's shape.
        bias_mantissa: int32 of the population's shape.
        bias_exponent: of the whole population.
        synapse_decay: of 4096, what u loses per time step, 1 to 4096; all of it where currents don't last.
        drive: int32 of the population's shape or a single number: what synapses of a neuron that fires in every step
            bring, since biases act behind u.
    """

    decay: int
    threshold: NDArray[np.int32]
    bias_mantissa: NDArray[np.int32]
    bias_exponent: int
    synapse_decay: int = 4096
    drive: NDArray[np.int32] = field(default_factory=lambda: np.zeros((), np.int32))

    @property
    def lasting(self) -> bool:
        """Whether currents outlast their step."""
        return self.synapse_decay < 4096

    @property
    def bias(self) -> NDArray[np.int32]:
        """`mantissa << exponent`, in units of v."""
        return self.bias_mantissa << self.bias_exponent


@dataclass(frozen=True)
class MaxPool2d:
    """`y[c, i, j] = max x[c, i s - p + m, j s - p + n]` over the kernel's m, n that lie on the map.

    An extension of NIR (`nodes`): not linear, so whatever is added to x has to be added before.  All three are
    (vertical, horizontal); padding is at most half of the kernel, so that every window holds a part of the map.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class SelfAttention:
    """`y = scale · Q (Kᵀ V)` per head, of the spikes of one population: Q, K and V are thirds of its channels.

    An extension of NIR (`nodes`, with the sums written out).  x is `[3 D, H, W]`, y `[D, H, W]`; heads divide D.
    """

    heads: int
    scale: float


Population = Lif | If | CubaLif | Threshold | LoihiLif
"""Operations whose output are spikes."""

Membranes = Integrator | Li | CubaLi
"""Neurons without a threshold: their output is v."""

Linear = Affine | Conv1d | Conv2d | Scale | SumPool2d
"""Operations that synapses compute."""

Operation = Source | Sink | Flatten | Delay | Linear | MaxPool2d | SelfAttention | Population | Membranes
