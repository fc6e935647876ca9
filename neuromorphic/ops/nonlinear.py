"""The extension nodes, fast: a batch of maps at once, in float32 or float64; spikes may come as uint8."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from neuromorphic.ir.graph import Node
from neuromorphic.ops.operations import MaxPool2d, SelfAttention

Array = NDArray[Any]


class Maxima:
    """`y = max (x + b)` over each window: first along the rows, then along the columns of what that leaves.

    Args:
        node: the pooling's.
        pool: its operation.
        bias: b, float64 of the node's input shape.
        batch: maps at once.
        dtype: of the result.
    """

    def __init__(self, node: Node, pool: MaxPool2d, bias: NDArray[np.float64], batch: int, dtype: DTypeLike) -> None:
        channels, height, width = node.input_shape
        _, rows, columns = node.shape
        (kh, kw), (sh, sw), (ph, pw) = pool.kernel, pool.stride, pool.padding
        padded = np.full((batch, channels, height + 2 * ph, width + 2 * pw), -np.inf, dtype)
        self.interior = padded[:, :, ph : ph + height, pw : pw + width]
        self.along_rows = np.empty((*padded.shape[:3], columns), dtype)
        self.seen_by_column = [padded[..., n : n + sw * (columns - 1) + 1 : sw] for n in range(kw)]
        self.seen_by_row = [self.along_rows[..., m : m + sh * (rows - 1) + 1 : sh, :] for m in range(kh)]
        self.bias = bias.astype(dtype)
        self.shape = (batch, *node.shape)

    def __call__(self, x: Array) -> Array:
        np.add(x, self.bias, out=self.interior)
        _maximum(self.seen_by_column, self.along_rows)
        return _maximum(self.seen_by_row, np.empty(self.shape, self.along_rows.dtype))


def _maximum(parts: list[Array], out: Array) -> Array:
    np.copyto(out, parts[0])
    for part in parts[1:]:
        np.maximum(out, part, out=out)
    return out


class Attention:
    """`y = scale · Q (Kᵀ V)` per image and head, as two products of matrices; Kᵀ V does not grow with the tokens."""

    def __init__(self, node: Node, attention: SelfAttention, dtype: DTypeLike) -> None:
        channels, height, width = node.input_shape
        self.stacked = (3, attention.heads, channels // 3 // attention.heads, height * width)
        self.scale, self.dtype, self.shape = attention.scale, dtype, node.shape

    def __call__(self, x: Array) -> Array:
        q, k, v = x.astype(self.dtype, copy=False).reshape(len(x), *self.stacked).swapaxes(0, 1)
        v_k = v @ k.swapaxes(-1, -2)
        y = v_k @ q
        y *= self.scale
        return np.asarray(y.reshape(len(x), *self.shape))
