"""Fan-out: how many synapses leave each neuron towards a node.

A synapse exists where the node's geometry connects two positions; its weight may be zero.  Taps of a kernel that lie
outside the map are no synapses, nor are channels of different groups.
"""

from math import prod

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.graph import Node, in_one_row
from neuromorphic.ops.operations import Affine, Conv1d, Conv2d, MaxPool2d, Membranes, Population, Scale, SumPool2d

Integers = NDArray[np.int64]


def fan_out(node: Node) -> Integers:
    """Synapses from each element of `node`'s input into `node`: int64 of `node.input_shape`.

    A convolution's is `out / groups · rows[y] · columns[x]`, where `rows` and `columns` count the kernel's positions
    that see a row and a column.  Sum-pooling is a convolution whose channels are all apart; so is max-pooling, whose
    connections carry values to compare.  An affine node connects everything to everything, and neurons read a
    population one by one; so does a scale.

    Raises:
        TypeError: the node has no synapses.
    """
    match node.operation:
        case Conv2d() as conv:
            kernel = (conv.weight.shape[2], conv.weight.shape[3])
            seen = _seen(node, kernel, conv.stride, conv.padding, conv.dilation)
            return np.broadcast_to(seen * (len(conv.weight) // conv.groups), node.input_shape)
        case SumPool2d(kernel, stride, padding) | MaxPool2d(kernel, stride, padding):
            return np.broadcast_to(_seen(node, kernel, stride, padding, (1, 1)), node.input_shape)
        case Affine(weight=weight):
            return np.full(node.input_shape, len(weight), np.int64)
        case Conv1d() as conv:
            return fan_out(in_one_row(node, conv)[0]).reshape(node.input_shape)
        case op if isinstance(op, Population | Membranes | Scale):
            return np.ones(node.input_shape, np.int64)
        case other:
            raise TypeError(f"node {node.name!r}: {type(other).__name__} has no synapses")


def kernel_taps(node: Node) -> int:
    """Products of one evaluation of `node` as frameworks count them: taps on the padding included.

    Raises:
        TypeError: the node has no synapses.
    """
    match node.operation:
        case Conv1d(weight=weight) | Conv2d(weight=weight):
            return prod(node.shape) * prod(weight.shape[1:])
        case SumPool2d(kernel=kernel):
            return prod(node.shape) * prod(kernel)
        case Affine(weight=weight):
            return int(weight.size)
        case op if isinstance(op, Population | Membranes | Scale):
            return prod(node.shape)
        case other:
            raise TypeError(f"node {node.name!r}: {type(other).__name__} has no synapses")


def _seen(
    node: Node, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]
) -> Integers:
    """Windows of one channel that hold each position: int64 `[H, W]`; rows and columns are independent."""
    rows, columns = (
        positions(*axis)
        for axis in zip(node.input_shape[1:], node.shape[1:], kernel, stride, padding, dilation, strict=True)
    )
    return np.multiply.outer(rows, columns)


def positions(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> Integers:
    """Along one axis, the pairs (output i, tap m) with `i · stride - padding + dilation · m = x`: int64 `[size]`."""
    reached = np.arange(out)[:, None] * stride - padding + dilation * np.arange(kernel)
    inside = reached[(reached >= 0) & (reached < size)]
    return np.bincount(inside, minlength=size).astype(np.int64)
