"""Convolution: `Conv2d`, which NIR's `Conv1d` becomes while it is read; and its fast kernels."""

from copy import copy
from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import nir
import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.ops.operation import Biased
from neuromorphic.ops.parameters import finite, pair, per_channel, single
from neuromorphic.ops.types import (
    Array,
    Conventions,
    Float32,
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
from neuromorphic.ops.widths import CONV_EXPONENT
from neuromorphic.ops.windows import PaddedMap, Pair, Windowed, Windows, map_shape


@final
@dataclass(frozen=True)
class Conv2d(Windowed, Biased):
    """`y[o, i, j] = b[o] + Σ w[o, c, m, n] x[c, i s - p + d m, j s - p + d n]` (cross-correlation, zero padding).

    The groups, which the file declares (`reading.grouping`), decide how it is computed, counted and placed.  A `Conv1d`
    of `[C, N]` is read as a convolution of maps `[C, N, 1]`.

    Attributes:
        weight: float32 `[out, in / groups, kernel height, kernel width]`.
        bias: float32 `[out]`.
        stride, padding, dilation: (vertical, horizontal).
        groups: number of groups of channels; an output sees the channels of its group only.
        beyond: (vertical, horizontal) extra padding below and to the right, as `same` has it for even kernels.
    """

    nir_types: ClassVar = (nir.Conv2d, nir.Conv1d)
    kind: ClassVar[Kind] = "conv2d"
    largest_exponent: ClassVar = CONV_EXPONENT

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    beyond: Pair = (0, 0)

    @classmethod
    def read(cls, node: nir.Conv1d | nir.Conv2d, shape: Shape, where: str, given: Conventions) -> Typed:
        """A `Conv1d` is read as the convolution of maps with a single column."""
        if isinstance(node, nir.Conv1d):
            return cls._read_conv1d(node, shape, where)
        channels = map_shape(shape, where)[0]
        weight, bias, groups = _kernel(node, channels, "[out, in / groups, height, width]", where)
        stride, dilation = pair(node.stride, "stride", where, 1), pair(node.dilation, "dilation", where, 1)
        spans = tuple(d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True))
        padding, beyond = _padding(node.padding, stride, spans, where)
        conv = cls(weight, bias, stride, padding, dilation, groups, beyond)
        out = (len(weight), *conv.windows.size(shape, where))
        return Typed(conv, Shapes(shape, out), out)

    @classmethod
    def _read_conv1d(cls, node: nir.Conv1d, shape: Shape, where: str) -> Typed:
        if len(shape) != 2:
            raise RefusedInput(f"{where}: its input has the shape {list(shape)}; expected [C, N]")
        weight, bias, groups = _kernel(node, shape[0], "[out, in / groups, kernel]", where)
        stride, dilation = single(node.stride, "stride", where, 1), single(node.dilation, "dilation", where, 1)
        spans = (dilation * (weight.shape[2] - 1) + 1, 1)
        written = node.padding if isinstance(node.padding, str) else single(node.padding, "padding", where, 0)
        (along, _), beyond = _padding(written, (stride, stride), spans, where)
        conv = cls(weight[..., None], bias, (stride, 1), (along, 0), (dilation, 1), groups, beyond)
        size, _ = conv.windows.size((*shape, 1), where)
        return Typed(conv, Shapes((*shape, 1), (len(weight), size, 1)), (len(weight), size))

    def write(self, shapes: Shapes, dt: float, like: nir.NIRNode | None = None) -> nir.NIRNode:
        """A `Conv2d` with a block-diagonal kernel, which every reader takes; or the type and the groups of `like`."""
        groups = 1 if like is None else int(np.asarray(like.groups).item())
        weight = self.weight if groups == self.groups else block_diagonal(self.weight, self.groups)
        if like is not None:
            node = copy(like)
            node.weight, node.bias = weight[..., 0] if isinstance(like, nir.Conv1d) else weight, self.bias
            return node
        return nir.Conv2d(shapes.input[1:], weight, self.stride, self.padding, self.dilation, groups, self.bias)

    @property
    def windows(self) -> Windows:
        return Windows(
            (self.weight.shape[2], self.weight.shape[3]), self.stride, self.padding, self.dilation, self.beyond
        )

    def apply(self, x: Float64, shapes: Shapes) -> Float64:
        if not x.any():  # a short cut: the biases of a graph are followed through convolutions of zeros, often
            return np.broadcast_to(self.bias.astype(np.float64)[:, None, None], (len(x), *shapes.output)).copy()
        seen = self.windows.seen(x)
        images, channels, height, width = seen.shape[:4]
        grouped = seen.reshape(images, self.groups, channels // self.groups, height, width, *seen.shape[4:])
        weight = self.weight.reshape(self.groups, -1, *self.weight.shape[1:]).astype(np.float64)
        y = np.einsum("bgchwij,gocij->bgohw", grouped, weight, optimize=True)
        return np.asarray(y.reshape(images, *shapes.output) + self.bias[:, None, None])

    def kernel(self, shapes: Shapes, batch: int, dtype: DTypeLike, bias: Float64) -> Kernel:
        """`W x`, by matrix products; where every channel is a group of its own, tap by tap."""
        if shapes.input[1:] == (1, 1):
            return _Position(self, shapes, dtype)
        if self.groups == shapes.input[0] == shapes.output[0]:
            return _Taps(self, shapes, batch, dtype)
        return _Columns(self, shapes, batch, dtype)

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        """As for `Weighted`; where bounds are alike at all positions, as of spikes, once per set of taps on the map."""
        if not all((bound == bound[:, :1, :1]).all() for bound in (x.low, x.high)):
            return super().interval(x, shapes, steps)
        low, high = (bound[:, 0, 0].reshape(self.groups, -1) for bound in (x.low, x.high))
        seen = [
            np.unique((at >= 0) & (at < size), axis=0, return_inverse=True)
            for at, size in zip(self.windows.taps(shapes.output), shapes.input[1:], strict=True)
        ]
        (rows, row_of), (columns, column_of) = seen
        weight = self.weight.astype(np.float64).reshape(self.groups, -1, *self.weight.shape[1:])

        def response(part: Float64, bound: Float64) -> Float64:
            by_tap = np.einsum("gocmn,gc->gomn", part, bound)
            y = np.einsum("gomn,im,jn->goij", by_tap, rows, columns)
            return np.asarray(y.reshape(-1, len(rows), len(columns)))

        rising, falling = np.maximum(weight, 0), np.minimum(weight, 0)
        bounds = (
            response(rising, low) + response(falling, high),
            response(rising, high) + response(falling, low),
        )
        least, most = (bound[:, row_of.ravel()][:, :, column_of.ravel()] for bound in bounds)
        return Interval(least, most)

    def fan_out(self, shapes: Shapes) -> Int64:
        """`out / groups · rows[y] · columns[x]`: how many positions of the kernel see row y and column x."""
        return np.broadcast_to(self.windows.fan_out(shapes) * (len(self.weight) // self.groups), shapes.input)

    def taps(self, shapes: Shapes) -> int:
        return prod(shapes.output) * prod(self.weight.shape[1:])

    def reached(self, arriving: Mask, shapes: Shapes) -> Mask:
        """All outputs whose window holds something in some channel of their group."""
        grouped = arriving.reshape(-1, self.groups, shapes.input[0] // self.groups, *shapes.input[1:])
        windows = self.windows.holding(np.asarray(grouped.any(2)))
        outputs = windows.repeat(shapes.output[0] // self.groups, axis=1)
        return outputs.reshape(*arriving.shape[:2], *shapes.output)

    def largest_array(self, shapes: Shapes) -> int:
        return self.windows.largest_array(shapes, shapes.input[0] // self.groups)


class _Columns:
    """`y[g] = W[g] columns(x)[g]` per group g (im2col): windows are columns of a matrix, with one product per image."""

    def __init__(self, conv: Conv2d, shapes: Shapes, batch: int, dtype: DTypeLike) -> None:
        self.map = PaddedMap(conv.windows, shapes.input, batch, dtype)
        self.weight = conv.weight.reshape(conv.groups, conv.weight.shape[0] // conv.groups, -1).astype(dtype)
        self.columns = np.empty(self.map.view.shape[1:], dtype)
        self.shape = (batch, *shapes.output)

    def __call__(self, x: Array) -> Array:
        groups, out, _ = self.weight.shape
        self.map.interior[...] = x
        y = np.empty((len(x), groups, out, self.shape[2] * self.shape[3]), self.weight.dtype)
        by_group = self.columns.reshape(groups, self.weight.shape[2], -1)
        for image, windows in zip(y, self.map.view, strict=True):  # one image's columns stay in the cache
            self.columns[...] = windows
            np.matmul(self.weight, by_group, out=image)
        return y.reshape(self.shape)


class _Taps:
    """`y[c] = Σ w[c, m, n] x[c, ...]` (depthwise): each channel by itself, one shifted map per weight of the kernel."""

    def __init__(self, conv: Conv2d, shapes: Shapes, batch: int, dtype: DTypeLike) -> None:
        self.map = PaddedMap(conv.windows, shapes.input, batch, dtype)
        self.weight = conv.weight[:, 0].astype(dtype)[..., None, None]
        self.ones = bool((conv.weight == 1).all())
        self.shape = (batch, *shapes.output)

    def __call__(self, x: Array) -> Array:
        self.map.interior[...] = x
        y = np.zeros(self.shape, self.weight.dtype)
        for m, n in np.ndindex(self.weight.shape[1:3]):
            seen = self.map.view[:, :, m, n]
            y += seen if self.ones else self.weight[:, m, n] * seen
        return y


class _Position:
    """`y[o, i, j] = Σ_c w[o, c, m, n] x[c]` for maps of one position, on which the tap (m, n) of output (i, j) lies."""

    def __init__(self, conv: Conv2d, shapes: Shapes, dtype: DTypeLike) -> None:
        taps = [
            {(pad - out * stride) // step: out for out in range(size) if (pad - out * stride) % step == 0}
            for pad, stride, step, size in zip(conv.padding, conv.stride, conv.dilation, shapes.output[1:], strict=True)
        ]
        size = shapes.input[0] // conv.groups
        response = np.zeros((conv.groups, size, shapes.output[0] // conv.groups, *shapes.output[1:]), dtype)
        weight = conv.weight.reshape(conv.groups, -1, *conv.weight.shape[1:]).swapaxes(1, 2)
        for m, n in np.ndindex(conv.weight.shape[2:]):
            if m in taps[0] and n in taps[1]:
                response[..., taps[0][m], taps[1][n]] = weight[..., m, n]
        self.response = response.reshape(conv.groups, size, -1)
        self.shape = shapes.output

    def __call__(self, x: Array) -> Array:
        groups, size, _ = self.response.shape
        by_group = x.reshape(len(x), groups, 1, size).astype(self.response.dtype, copy=False)
        return np.asarray(by_group @ self.response).reshape(len(x), *self.shape)


def _kernel(node: nir.Conv1d | nir.Conv2d, channels: int, expected: str, where: str) -> tuple[Float32, Float32, int]:
    """Weight, bias and groups of a convolution that reads so many channels."""
    weight = finite(node.weight, "weight", where)
    if weight.ndim != expected.count(",") + 1 or min(weight.shape) < 1:
        raise RefusedInput(f"{where}: weight has the shape {list(weight.shape)}; expected {expected}")
    bias = per_channel(node.bias, len(weight), "bias", where)
    groups = single(node.groups, "groups", where, 1)
    if len(weight) % groups:
        raise RefusedInput(f"{where}: {len(weight)} output channels in {groups} groups; expected groups of equal size")
    if weight.shape[1] * groups != channels:
        raise RefusedInput(f"{where}: its weight reads {weight.shape[1] * groups} channels; its input has {channels}")
    return weight, bias, groups


def _padding(padding: object, stride: Pair, spans: tuple[int, ...], where: str) -> tuple[Pair, Pair]:
    """Padding, from numbers or from NIR's words, of windows of these spans; and extra padding below and to the right.

    `same` keeps the size of the map; where it pads an odd number of positions, PyTorch puts the last one at the end.
    """
    if not isinstance(padding, str):
        before = pair(padding, "padding", where, 0)
        return before, (0, 0)
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same" and stride == (1, 1):
        vertical, horizontal = (span - 1 for span in spans)
        return (vertical // 2, horizontal // 2), (vertical % 2, horizontal % 2)
    raise RefusedInput(
        f"{where}: padding {shown(padding)} with kernel {list(spans)}, stride {list(stride)}; expected numbers"
    )


def block_diagonal(weight: Array, groups: int) -> Array:
    """A grouped kernel `[out, in / groups, ...]` as a kernel `[out, in, ...]` with zeros between groups."""
    out_channels, in_channels = weight.shape[0] // groups, weight.shape[1]
    whole = np.zeros((weight.shape[0], in_channels * groups, *weight.shape[2:]), weight.dtype)
    for g in range(groups):
        rows = slice(g * out_channels, (g + 1) * out_channels)
        whole[rows, g * in_channels : (g + 1) * in_channels] = weight[rows]
    return whole
