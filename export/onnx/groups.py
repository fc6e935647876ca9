"""Grouped kernels: NIR holds a convolution in groups as a block-diagonal kernel, ONNX as its blocks."""

from math import gcd

import numpy as np
from numpy.typing import NDArray


def grouped(weight: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """The blocks of `weight`, `[out, in, ...]`, in the most groups g for which it is zero outside of them.

    A pass with a contract: the grouped convolution adds the same products, but for those with zeros that stand outside
    the blocks, so that it is exact where the dense one is.

    Returns:
        `[out, in / g, ...]` and g; the kernel as it is, and 1, where it has no such blocks.
    """
    connected = (weight != 0).reshape(*weight.shape[:2], -1).any(2)
    out, inputs = connected.shape
    for groups in range(gcd(out, inputs), 1, -1):
        if gcd(out, inputs) % groups:
            continue
        rows, columns = (np.arange(n) // (n // groups) for n in (out, inputs))
        if not connected[rows[:, None] != columns].any():
            inner = inputs // groups
            return weight[np.arange(out)[:, None], rows[:, None] * inner + np.arange(inner)], groups
    return weight, 1
