"""Maps as compiled kernels read them: `[B, T, P, C]`, positions, then channels."""

import math

import numpy as np

from neuromorphic.execution import kernels
from neuromorphic.ops import Array, Shape


def layout(shape: Shape) -> tuple[int, int]:
    """Positions and channels of `[C, ...]`."""
    return math.prod(shape[1:]), (shape[0] if shape else 1)


def positions(x: Array, shape: Shape) -> Array:
    """`[B, T, ...]`, maps of a shape `[C, ...]`, as `[B, T, P, C]`."""
    size, channels = layout(shape)
    return _transposed(x.reshape(*x.shape[:2], channels, size))


def maps(x: Array, shape: Shape) -> Array:
    """`[B, T, P, C]` as `[B, T, *shape]`."""
    return _transposed(x).reshape(*x.shape[:2], *shape)


def _transposed(x: Array) -> Array:
    """`[B, T, n, m]` as `[B, T, m, n]`."""
    if x.dtype not in (np.uint8, np.float32):
        return np.ascontiguousarray(x.swapaxes(2, 3))
    y = np.empty((*x.shape[:2], x.shape[3], x.shape[2]), x.dtype)
    kernels.transpose(np.ascontiguousarray(x).reshape(-1, *x.shape[2:]), y.reshape(-1, *y.shape[2:]))
    return y


def by_position(values: Array, shape: Shape) -> Array:
    """Numbers of maps as `[P, C]`, or `[1, C]` where all positions have the same."""
    lying = positions(values[None, None], shape)[0, 0]
    return np.ascontiguousarray(lying[:1]) if (lying == lying[:1]).all() else lying
