"""Windows that slide over maps `[C, H, W]`, of convolution and pooling."""

from abc import abstractmethod
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.errors import RefusedInput
from neuromorphic.ops.operation import Stateless, lacks
from neuromorphic.ops.types import Array, Float64, Int64, Mask, Shape, Shapes

Pair = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """The positions that output position i sees: `i s - p + d m` for the taps m of the kernel, along each axis.

    All fields are (vertical, horizontal); `beyond` is extra padding below and to the right.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)
    beyond: Pair = (0, 0)

    @property
    def around(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Positions outside the map, (above, below) and (left, right)."""
        (ph, pw), (bh, bw) = self.padding, self.beyond
        return (ph, ph + bh), (pw, pw + bw)

    def size(self, shape: Shape, where: str) -> tuple[int, int]:
        """Height and width of the output, for a map `[C, H, W]`.

        Raises:
            RefusedInput: they don't fit the map.
        """
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        height, width = (
            (n + sum(p) - k) // s + 1 for n, k, s, p in zip(shape[1:], spans, self.stride, self.around, strict=True)
        )
        if height < 1 or width < 1:
            raise RefusedInput(f"{where}: a kernel of {spans} does not fit its input {list(shape)}")
        return height, width

    def taps(self, out: Shape) -> tuple[Int64, Int64]:
        """The position `i s - p + d m` of tap m for output i, in rows and in columns: int64 `[outputs, kernel]` each.

        Positions below 0, or beyond the map, lie in its padding.  `out` is the shape of the output.
        """
        axes = zip(out[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        rows, columns = (np.arange(n)[:, None] * s - p + d * np.arange(k) for n, k, s, p, d in axes)
        return rows, columns

    def seen(self, x: Float64, outside: float = 0.0) -> Float64:
        """The values of x `[N, C, H, W]` that each output sees: `[N, C, H', W', kernel height, kernel width]`.

        Positions outside the map have the value `outside`.
        """
        (sh, sw), (dh, dw) = self.stride, self.dilation
        padded = np.pad(x, ((0, 0), (0, 0), *self.around), constant_values=outside)
        return np.asarray(self.view_of(padded)[:, :, ::sh, ::sw, ::dh, ::dw])

    def view_of(self, padded: Array) -> Array:
        """All windows of a padded map, at stride and dilation 1."""
        span = tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, span, (2, 3)))  # type: ignore[call-overload]

    def holding(self, arriving: Mask) -> Mask:
        """Windows on `[n, C, H, W]` in which something arrives: `[n, C, H', W']`."""
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        padded = np.pad(arriving, ((0, 0), (0, 0), *self.around))
        height, width = (n - d * (k - 1) for n, d, k in zip(padded.shape[2:], self.dilation, self.kernel, strict=True))
        hold = np.zeros((*arriving.shape[:2], -(-height // sh), -(-width // sw)), np.bool_)
        for i, j in product(range(0, kh * dh, dh), range(0, kw * dw, dw)):
            hold |= padded[:, :, i : i + height : sh, j : j + width : sw]
        return hold

    def fan_out(self, shapes: Shapes) -> Int64:
        """The number of windows that each position of a channel lies in: int64 `[H, W]`."""
        rows, columns = (
            np.bincount(at[(at >= 0) & (at < size)], minlength=size).astype(np.int64)
            for at, size in zip(self.taps(shapes.output), shapes.input[1:], strict=True)
        )
        return np.multiply.outer(rows, columns)

    def largest_array(self, shapes: Shapes, inner: int) -> int:
        """Elements of the padded map, of all windows side by side, or of `taps` on an axis: of the largest of these.

        Args:
            shapes: of the node.
            inner: channels that an output channel sees; on a map of one position, there is a response for each.
        """
        channels, out = shapes.input[0], shapes.output
        padded = channels * prod(n + sum(p) for n, p in zip(shapes.input[1:], self.around, strict=True))
        reached = max(n * k for n, k in zip(out[1:], self.kernel, strict=True))
        single = shapes.input[1:] == (1, 1)
        windows = inner * prod(out) if single else channels * prod(self.kernel) * prod(out[1:])
        return int(max(padded, reached, windows))


class Windowed(Stateless):
    """An operation that computes one output from each window of a map."""

    @property
    @abstractmethod
    def windows(self) -> Windows:
        """The windows on the input map."""
        lacks(self, "windows")


class PaddedMap:
    """A zero-padded map of a batch, and a view of its windows.

    Attributes:
        interior: the map without padding, to write x to: `[B, C, H, W]`.
        view: the values that each output sees: `[B, C, kernel height, kernel width, H', W']`.
    """

    def __init__(self, windows: Windows, shape: Shape, batch: int, dtype: DTypeLike) -> None:
        channels, height, width = shape
        (sh, sw), (dh, dw) = windows.stride, windows.dilation
        (top, below), (left, right) = windows.around
        padded = np.zeros((batch, channels, top + height + below, left + width + right), dtype)
        self.interior = padded[:, :, top : top + height, left : left + width]
        self.view = windows.view_of(padded)[:, :, ::sh, ::sw, ::dh, ::dw].transpose(0, 1, 4, 5, 2, 3)


def map_shape(shape: Shape, where: str) -> Shape:
    """`shape`, checked to be that of maps, `[C, H, W]`.

    Raises:
        RefusedInput: it has another number of axes.
    """
    if len(shape) != 3:
        raise RefusedInput(f"{where}: its input has the shape {list(shape)}; expected [C, H, W]")
    return shape
