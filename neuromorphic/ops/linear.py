"""The linear nodes, fast: a batch of maps at once, by matrix products, without biases (which act at the neurons).

Each class computes `y = W x` of one node for x `[B, *input shape]`, in float32 or float64; spikes may come as uint8.
In float32 the result is exact where the exporter's certificate says so, whatever order BLAS adds in.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from neuromorphic.execution.reference import apply
from neuromorphic.ir.graph import Node, in_one_row
from neuromorphic.ops.operations import Affine, Conv1d, Conv2d, Scale, SumPool2d

Array = NDArray[Any]


class Linear(Protocol):
    """`[B, *input shape]` to `[B, *shape]`."""

    def __call__(self, x: Array) -> Array: ...


def linear(node: Node, batch: int, dtype: DTypeLike) -> Linear:
    """The fastest way to compute a linear node of a graph.

    Raises:
        TypeError: the node is not linear.
    """
    match node.operation:
        case Affine(weight=weight):
            return _Product(weight, dtype)
        case SumPool2d() as pool:
            sums = _Taps(node, pool_as_convolution(node, pool), batch, dtype)
            return sums if pool.divisor == 1 else _Mean(sums, pool.divisor)
        case Scale(scale=scale):
            return _Elementwise(scale, dtype)
        case Conv1d() as conv:
            row, _ = in_one_row(node, conv)
            return _Reshaped(linear(row, batch, dtype), row.input_shape, node.shape)
        case Conv2d() as conv if node.input_shape[1:] == (1, 1):
            return _Impulses(node, conv, dtype)
        case Conv2d() as conv if conv.groups == node.input_shape[0] == node.shape[0]:
            return _Taps(node, conv, batch, dtype)
        case Conv2d() as conv:
            return _Columns(node, conv, batch, dtype)
        case other:
            raise TypeError(f"node {node.name!r}: {type(other).__name__} is not linear")


def pool_as_convolution(node: Node, pool: SumPool2d) -> Conv2d:
    """The convolution of ones, each channel on its own, that a pooling is before it divides."""
    channels = node.shape[0]
    ones, bias = np.ones((channels, 1, *pool.kernel), np.float32), np.zeros(channels, np.float32)
    return Conv2d(ones, bias, pool.stride, pool.padding, (1, 1), channels)


class _Product:
    """`y = W x`."""

    def __init__(self, weight: NDArray[np.float32], dtype: DTypeLike) -> None:
        self.transposed = np.ascontiguousarray(weight.T, dtype=dtype)

    def __call__(self, x: Array) -> Array:
        return np.asarray(x.astype(self.transposed.dtype, copy=False) @ self.transposed)


class _Elementwise:
    """`y = s x`."""

    def __init__(self, scale: NDArray[np.float32], dtype: DTypeLike) -> None:
        self.scale = scale.astype(dtype)

    def __call__(self, x: Array) -> Array:
        return np.asarray(self.scale * x)


class _Mean:
    """`y = sums(x) / divisor`."""

    def __init__(self, sums: Linear, divisor: int) -> None:
        self.sums, self.divisor = sums, divisor

    def __call__(self, x: Array) -> Array:
        y = self.sums(x)
        y /= self.divisor
        return y


class _Reshaped:
    """`y = inner(x)` on `[B, *input_shape]`, as `[B, *shape]`."""

    def __init__(self, inner: Linear, input_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
        self.inner, self.input_shape, self.shape = inner, input_shape, shape

    def __call__(self, x: Array) -> Array:
        return self.inner(x.reshape(-1, *self.input_shape)).reshape(-1, *self.shape)


class _Window:
    """A zero-padded copy of the map and a view of what each output position sees: `[B, C, kh, kw, H', W']`."""

    def __init__(self, node: Node, conv: Conv2d, batch: int, dtype: DTypeLike) -> None:
        channels, height, width = node.input_shape
        kh, kw = conv.weight.shape[2:]
        (sh, sw), (ph, pw), (dh, dw) = conv.stride, conv.padding, conv.dilation
        padded = np.zeros((batch, channels, height + 2 * ph, width + 2 * pw), dtype)
        self.interior = padded[:, :, ph : ph + height, pw : pw + width]
        span = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, span, (2, 3))  # type: ignore[call-overload]
        self.view = windows[:, :, ::sh, ::sw, ::dh, ::dw].transpose(0, 1, 4, 5, 2, 3)


class _Columns:
    """`y[g] = W[g] columns(x)[g]` per group g: the windows as columns of a matrix, then one product per image."""

    def __init__(self, node: Node, conv: Conv2d, batch: int, dtype: DTypeLike) -> None:
        self.window = _Window(node, conv, batch, dtype)
        self.weight = conv.weight.reshape(conv.groups, conv.weight.shape[0] // conv.groups, -1).astype(dtype)
        self.columns = np.empty(self.window.view.shape[1:], dtype)
        self.shape = (batch, *node.shape)

    def __call__(self, x: Array) -> Array:
        groups, out, _ = self.weight.shape
        self.window.interior[...] = x
        y = np.empty((len(x), groups, out, self.shape[2] * self.shape[3]), self.weight.dtype)
        by_group = self.columns.reshape(groups, self.weight.shape[2], -1)
        for image, windows in zip(y, self.window.view, strict=True):  # one image's columns stay in the cache
            self.columns[...] = windows
            np.matmul(self.weight, by_group, out=image)
        return y.reshape(self.shape)


class _Taps:
    """`y[c] = Σ w[c, m, n] x[c, ...]`: each channel on its own, one shifted map per weight of the kernel."""

    def __init__(self, node: Node, conv: Conv2d, batch: int, dtype: DTypeLike) -> None:
        self.window = _Window(node, conv, batch, dtype)
        self.weight = conv.weight[:, 0].astype(dtype)[..., None, None]
        self.ones = bool((conv.weight == 1).all())
        self.shape = (batch, *node.shape)

    def __call__(self, x: Array) -> Array:
        self.window.interior[...] = x
        y = np.zeros(self.shape, self.weight.dtype)
        for m, n in np.ndindex(self.weight.shape[1:3]):
            seen = self.window.view[:, :, m, n]
            y += seen if self.ones else self.weight[:, m, n] * seen
        return y


class _Impulses:
    """`y = Σ_c x[c] response[c]` for maps of a single position: the kernel's answers to unit impulses."""

    def __init__(self, node: Node, conv: Conv2d, dtype: DTypeLike) -> None:
        size = node.input_shape[0] // conv.groups
        # Impulse c stands at channel c of every group at once: groups don't see each other.
        impulses = np.tile(np.eye(size), (1, conv.groups))[..., None, None]
        answers = apply(node, impulses) - conv.bias[:, None, None]
        by_group = answers.reshape(size, conv.groups, -1).transpose(1, 0, 2)
        self.response = np.ascontiguousarray(by_group, dtype=dtype)
        self.shape = node.shape

    def __call__(self, x: Array) -> Array:
        groups, size, _ = self.response.shape
        by_group = x.reshape(len(x), groups, 1, size).astype(self.response.dtype, copy=False)
        return np.asarray(by_group @ self.response).reshape(len(x), *self.shape)
