"""The operations of a graph's nodes: what each computes, with its parameters.

x is the sum of what arrives at the node in one time step, y what leaves it; neither has an axis for time or batch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """`y = frame`: the graph's input, one frame per time step."""


@dataclass(frozen=True)
class Sink:
    """`y = Σ x`: the graph's output."""


@dataclass(frozen=True)
class Flatten:
    """`y = x.reshape(-1)`."""


@dataclass(frozen=True)
class SumPool2d:
    """`y[c, i, j] = Σ x[c, i s - p + m, j s - p + n]` over the kernel's m, n; outside the map x is 0.

    All three are (vertical, horizontal).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Conv2d:
    """`y[o, i, j] = b[o] + Σ w[o, c, m, n] x[c, i s - p + d m, j s - p + d n]` (cross-correlation, zero padding).

    NIR 1.0.8 cannot hold grouped kernels (its type check refuses them), so exporters write block-diagonal ones.  Here
    a kernel becomes the grouped convolution with the most groups that it equals: that is how it is computed, counted
    and placed.

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
class Affine:
    """`y = W x + b`, W float32 `[out, in]`, b float32 `[out]`."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Lif:
    """`v += decay (gain x - v)`; a spike where `v > threshold`, strictly; then `v = 0` there.

    `decay = dt / tau` per time step; every attribute is float32 of the population's shape.
    """

    decay: Floats
    gain: Floats
    threshold: Floats


@dataclass(frozen=True)
class LoihiLif:
    """`v = saturate(decayed(v) + wrap(64 x) + bias)`; a spike where `v > 64 threshold`; then `v = 0` there.

    A population in the integers of the chip (`loihi2.arithmetic`); x are integers too.

    Attributes:
        decay: of 4096, what v loses per time step.
        threshold: int32 of the population's shape.
        bias_mantissa: int32 of the population's shape.
        bias_exponent: of the whole population.
    """

    decay: int
    threshold: NDArray[np.int32]
    bias_mantissa: NDArray[np.int32]
    bias_exponent: int

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


Operation = Source | Sink | Flatten | SumPool2d | Conv2d | Affine | Lif | LoihiLif | MaxPool2d | SelfAttention

Population = Lif | LoihiLif
"""Operations whose output are spikes."""
