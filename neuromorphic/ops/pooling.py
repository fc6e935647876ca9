"""Pooling: sums, means and maxima of windows."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Self, final

import nir
import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.errors import RefusedInput
from neuromorphic.ops import extensions
from neuromorphic.ops.convolution import Conv2d
from neuromorphic.ops.operation import Fixed, Nonlinear
from neuromorphic.ops.parameters import check_declared_shape, pair
from neuromorphic.ops.types import (
    Array,
    Conventions,
    Float64,
    Int64,
    Interval,
    Kernel,
    Kind,
    Mask,
    Shape,
    Shapes,
    Typed,
)
from neuromorphic.ops.windows import Pair, Windowed, Windows, map_shape


class Pool(Windowed):
    """Windows on each channel by itself; the output of a window never falls where an input in it rises.

    Attributes:
        kernel_size, stride, padding: (vertical, horizontal).
    """

    kernel_size: Pair
    stride: Pair
    padding: Pair

    @staticmethod
    def sizes(node: Any, where: str) -> tuple[Pair, Pair, Pair]:
        """Kernel size, stride and padding of a node of NIR."""
        least = (("kernel_size", 1), ("stride", 1), ("padding", 0))
        kernel, stride, padding = (pair(getattr(node, key), key, where, n) for key, n in least)
        return kernel, stride, padding

    @property
    def windows(self) -> Windows:
        return Windows(self.kernel_size, self.stride, self.padding)

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        return Interval(self.apply(x.low[None], shapes)[0], self.apply(x.high[None], shapes)[0])

    def fan_out(self, shapes: Shapes) -> Int64:
        """The number of windows that each position lies in."""
        return np.broadcast_to(self.windows.fan_out(shapes), shapes.input)

    def reached(self, arriving: Mask, shapes: Shapes) -> Mask:
        flat = arriving.reshape(-1, *shapes.input)
        return self.windows.holding(flat).reshape(*arriving.shape[:2], *shapes.output)

    def largest_array(self, shapes: Shapes) -> int:
        return self.windows.largest_array(shapes, 1)


@final
@dataclass(frozen=True)
class SumPool2d(Pool, Fixed):
    """`y[c, i, j] = (Σ x[c, i s - p + m, j s - p + n]) / divisor` over the kernel's m, n; outside the map x is 0.

    The divisor is 1 for sum-pooling; for average-pooling it is the size of the kernel, padding included.  The sum is
    divided, not every term, so that 9 spikes in a window of 9 are exactly 1.
    """

    nir_types: ClassVar = (nir.SumPool2d, nir.AvgPool2d)
    kind: ClassVar[Kind] = "pooling"
    weighs: ClassVar = "spikes"

    kernel_size: Pair
    stride: Pair
    padding: Pair
    divisor: int = 1

    @classmethod
    def read(cls, node: nir.SumPool2d | nir.AvgPool2d, shape: Shape, where: str, given: Conventions) -> Typed:
        """An `AvgPool2d` divides by the size of its kernel."""
        channels = map_shape(shape, where)[0]
        kernel, stride, padding = cls.sizes(node, where)
        pool = cls(kernel, stride, padding, prod(kernel) if isinstance(node, nir.AvgPool2d) else 1)
        out = (channels, *pool.windows.size(shape, where))
        return Typed(pool, Shapes(shape, out), out)

    def write(self, shapes: Shapes, dt: float, like: nir.NIRNode | None = None) -> nir.NIRNode:
        kind = nir.SumPool2d if self.divisor == 1 else nir.AvgPool2d
        return kind(*(np.array(pair) for pair in (self.kernel_size, self.stride, self.padding)))

    @property
    def nir_name(self) -> str:
        return "SumPool2d" if self.divisor == 1 else "AvgPool2d"

    def synapses(self, shapes: Shapes) -> Conv2d:
        """The convolution with a kernel of ones, on each channel by itself, before the division."""
        channels = shapes.output[0]
        ones, bias = np.ones((channels, 1, *self.kernel_size), np.float32), np.zeros(channels, np.float32)
        return Conv2d(ones, bias, self.stride, self.padding, (1, 1), channels)

    def undivided(self) -> Self:
        return replace(self, divisor=1)

    def apply(self, x: Float64, shapes: Shapes) -> Float64:
        return np.asarray(self.windows.seen(x).sum((-2, -1))) / self.divisor

    def kernel(self, shapes: Shapes, batch: int, dtype: DTypeLike, bias: Float64) -> Kernel:
        sums = self.synapses(shapes).kernel(shapes, batch, dtype, bias)
        return sums if self.divisor == 1 else _Mean(sums, self.divisor)

    multiplies = False

    def taps(self, shapes: Shapes) -> int:
        return prod(shapes.output) * prod(self.kernel_size)

    def refusal(self, reads_currents: bool) -> str:
        """Refused where it divides currents: a divisor is a factor, and factors are weights, which read spikes."""
        if not reads_currents or self.divisor == 1:
            return ""
        return f"divides currents by {self.divisor}; expected synapses before it that only it reads, to take the factor"


@final
@dataclass(frozen=True)
class MaxPool2d(Pool, Nonlinear):
    """`y[c, i, j] = max x[c, i s - p + m, j s - p + n]` over the kernel's m, n that lie on the map.

    An extension of NIR (`extensions`).  It is not linear, so biases have to be added to x before.  Padding is at most
    half of the kernel, so that every window holds a part of the map.
    """

    nir_types: ClassVar = (extensions.MaxPool2d,)
    weighs: ClassVar = "never"

    kernel_size: Pair
    stride: Pair
    padding: Pair

    @classmethod
    def read(cls, node: extensions.MaxPool2d, shape: Shape, where: str, given: Conventions) -> Typed:
        channels = map_shape(shape, where)[0]
        check_declared_shape(node.input_shape, shape, where)
        pool = cls(*cls.sizes(node, where))
        if any(2 * p > k for p, k in zip(pool.padding, pool.kernel_size, strict=True)):
            raise RefusedInput(
                f"{where}: padding is {list(pool.padding)}; expected at most half of the kernel "
                f"{list(pool.kernel_size)}"
            )
        out = (channels, *pool.windows.size(shape, where))
        return Typed(pool, Shapes(shape, out), out)

    def write(self, shapes: Shapes, dt: float, like: nir.NIRNode | None = None) -> extensions.MaxPool2d:
        return extensions.MaxPool2d(*map(np.array, (shapes.input, self.kernel_size, self.stride, self.padding)))

    def apply(self, x: Float64, shapes: Shapes) -> Float64:
        return np.asarray(self.windows.seen(x, -np.inf).max((-2, -1)))

    def kernel(self, shapes: Shapes, batch: int, dtype: DTypeLike, bias: Float64) -> Kernel:
        """Maxima of x + bias: first along the rows, then of these along the columns."""
        return _Maxima(self, shapes, batch, dtype, bias)

    def grid(self, bits: int | None, steps: int) -> int | None:
        """The same grid: a maximum is one of its inputs."""
        return bits

    def products(self, shapes: Shapes) -> int:
        return prod(shapes.output) * prod(self.kernel_size)

    def refusal(self, reads_currents: bool) -> str:
        """None: a chip's neurons could compare (docs/extensions.md)."""
        return ""


class _Mean:
    """`y = sums(x) / divisor`."""

    def __init__(self, sums: Kernel, divisor: int) -> None:
        self.sums, self.divisor = sums, divisor

    def __call__(self, x: Array) -> Array:
        y = self.sums(x)
        y /= self.divisor
        return y


class _Maxima:
    """`y = max (x + b)` over each window."""

    def __init__(self, pool: MaxPool2d, shapes: Shapes, batch: int, dtype: DTypeLike, bias: Float64) -> None:
        channels, height, width = shapes.input
        _, rows, columns = shapes.output
        (kh, kw), (sh, sw), (ph, pw) = pool.kernel_size, pool.stride, pool.padding
        padded = np.full((batch, channels, height + 2 * ph, width + 2 * pw), -np.inf, dtype)
        self.interior = padded[:, :, ph : ph + height, pw : pw + width]
        self.along_rows = np.empty((*padded.shape[:3], columns), dtype)
        self.seen_by_column = [padded[..., n : n + sw * (columns - 1) + 1 : sw] for n in range(kw)]
        self.seen_by_row = [self.along_rows[..., m : m + sh * (rows - 1) + 1 : sh, :] for m in range(kh)]
        self.bias = bias.astype(dtype)
        self.shape = (batch, *shapes.output)

    def __call__(self, x: Array) -> Array:
        np.add(x, self.bias, out=self.interior)
        _maximum(self.seen_by_column, self.along_rows)
        return _maximum(self.seen_by_row, np.empty(self.shape, self.along_rows.dtype))


def _maximum(parts: list[Array], out: Array) -> Array:
    np.copyto(out, parts[0])
    for part in parts[1:]:
        np.maximum(out, part, out=out)
    return out
