"""Synapses as sparse matrices."""

from math import prod

import numpy as np
from scipy.sparse import csr_matrix, diags_array

from neuromorphic.ops.convolution import Conv2d
from neuromorphic.ops.linear import Scale
from neuromorphic.ops.operation import Linear
from neuromorphic.ops.types import Shapes


def matrix(shapes: Shapes, operation: Linear) -> csr_matrix:
    """The synapses of an operation as a matrix W, float64 `[outputs, inputs]`, both flattened; without its division."""
    synapses = operation.synapses(shapes)
    if isinstance(synapses, Conv2d):
        return _of_windows(shapes, synapses)
    weights = synapses.weights.astype(np.float64)
    return diags_array(weights.reshape(-1), format="csr") if isinstance(synapses, Scale) else csr_matrix(weights)


def _of_windows(shapes: Shapes, conv: Conv2d) -> csr_matrix:
    out, per_group, *_ = conv.weight.shape
    # Number the inputs from 1; the windows of these numbers say which input each weight of an output meets.
    numbers = np.arange(1, prod(shapes.input) + 1, dtype=np.float64).reshape(1, *shapes.input)
    windows = conv.windows.seen(numbers)[0]
    seen = windows.reshape(conv.groups, 1, per_group, *windows.shape[1:]).transpose(0, 1, 3, 4, 2, 5, 6)
    seen = np.broadcast_to(seen, (conv.groups, out // conv.groups, *seen.shape[2:])).reshape(out, *seen.shape[2:])
    weights = np.broadcast_to(conv.weight[:, None, None], seen.shape)
    outputs = np.broadcast_to(np.arange(prod(shapes.output)).reshape(*shapes.output, 1, 1, 1), seen.shape)
    inside = seen > 0
    entries = (weights[inside].astype(np.float64), (outputs[inside], seen[inside].astype(np.int64) - 1))
    return csr_matrix(entries, shape=(prod(shapes.output), prod(shapes.input)))
