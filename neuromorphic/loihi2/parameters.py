"""The weights of synapses, whatever their operation calls them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ops.operations import Affine, Conv1d, Conv2d, Scale

Floats = NDArray[np.float32]

Biased = Affine | Conv1d | Conv2d
"""Operations with weights `[out, ...]` and a bias per output channel."""

Weighted = Biased | Scale
"""Operations whose weights become integers; a `Scale` has one per neuron."""


def weights_of(operation: Weighted) -> Floats:
    """Its weights, float32."""
    return operation.scale if isinstance(operation, Scale) else operation.weight


def with_weights(operation: Weighted, values: Floats) -> Weighted:
    """`operation` with other weights, of the same shape."""
    return Scale(values) if isinstance(operation, Scale) else replace(operation, weight=values)
