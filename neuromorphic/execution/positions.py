"""Maps as compiled kernels read them: `[B, T, P, C]`, positions, then channels."""

import math

import numpy as np

from neuromorphic.ops import Array, Shape


def layout(shape: Shape) -> tuple[int, int]:
    """Positions and channels of `[C, ...]`."""
    return math.prod(shape[1:]), (shape[0] if shape else 1)


def positions(x: Array, shape: Shape) -> Array:
    """`[B, T, ...]`, maps of a shape `[C, ...]`, as `[B, T, P, C]`."""
    size, channels = layout(shape)
    return np.ascontiguousarray(x.reshape(*x.shape[:2], channels, size).swapaxes(2, 3))


def maps(x: Array, shape: Shape) -> Array:
    """`[B, T, P, C]` as `[B, T, *shape]`."""
    return np.ascontiguousarray(x.swapaxes(2, 3)).reshape(*x.shape[:2], *shape)


def by_position(values: Array, shape: Shape) -> Array:
    """Numbers of maps as `[P, C]`, or `[1, C]` where all positions have the same."""
    lying = positions(values[None, None], shape)[0, 0]
    return np.ascontiguousarray(lying[:1]) if (lying == lying[:1]).all() else lying
