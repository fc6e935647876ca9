"""Selections: nodes whose elements are those of other nodes, in another order, some of them, or repeated.

A convolution or a matrix is cut to the rows that are read.  Elsewhere a selection is a weight of ones: a 1x1
convolution that picks channels, a kernel that spreads one value over a map, or, for small vectors, a matrix.
"""

from dataclasses import replace

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import Piece, Relay, Shape, Weighted, Window

LARGEST_MATRIX = 2**22
"""Weights that a selection of arbitrary elements may take as a matrix."""


def selected(context: Context, index: int, order: Tensor, shape: Shape) -> int:
    """A node of `shape` whose element i is element `order[i]` of a node, or 0 where that is absent.

    Raises:
        RefusedInput: the order is none of whole channels, of one value per channel, or of a small vector.
    """
    node = context.nodes[index]
    if node.shape == shape and torch.equal(order, torch.arange(node.size)):
        return index
    if len(shape) == 3 and len(node.shape) == 3:
        elements = order.view(shape)
        channel = context.channels(elements, node.shape)
        if channel is not None:
            return picked(context, index, channel)
        if node.space == 1 and bool((elements == elements[:, :1, :1]).all()):
            source = index
            if not torch.equal(elements[:, 0, 0], torch.arange(node.shape[0])):
                source = picked(context, index, elements[:, 0, 0])
            return _spread(context, source, shape)
    if node.size * len(order) <= LARGEST_MATRIX and len(shape) == 1:
        weight = _rows_of_one(order, node.size)
        return _fixed(context, f"{node.label}.order", weight, None, shape, index, ("order", tuple(order.tolist())))
    if len(shape) == 3 and node.size * len(order) <= LARGEST_MATRIX and len(node.shape) == 3 and shape[1:] == (1, 1):
        kernel = _rows_of_one(order, node.size).view(len(order), *node.shape)
        return _fixed(context, f"{node.label}.order", kernel, Window(), shape, index, ("order", tuple(order.tolist())))
    raise context.refused(f"reads {context.name(index)} in another order, as {list(shape)}; expected whole channels")


def picked(context: Context, index: int, channel: Tensor) -> int:
    """A node with the given channels of a node, 0 where they are absent: of a weight its rows, else a weight of ones.

    Raises:
        RefusedInput: some elements of a vector that is no output of a weight.
    """
    node = context.nodes[index]
    if torch.equal(channel, torch.arange(node.shape[0])):
        return index
    shape = (len(channel), *node.shape[1:])
    key = ("pick", index, tuple(channel.tolist()))
    operation = node.operation
    if isinstance(operation, Weighted) and operation.pieces and bool((channel >= 0).all()):
        rows = replace(
            operation,
            weight=operation.weight[channel],
            bias=operation.bias[channel],
            pieces=tuple(rows_of(operation.pieces, channel)),
        )
        return context.add(node.label, rows, shape, node.inputs, key)
    if len(node.shape) == 1:
        return selected(context, index, channel, shape)
    weight = _rows_of_one(channel, node.shape[0])[..., None, None]
    return _fixed(context, f"{node.label}.pick", weight, Window(), shape, index, key)


def _rows_of_one(order: Tensor, size: int) -> Tensor:
    """`[n, size]`: a one in row i at `order[i]`, and none where that is absent."""
    weight = torch.zeros(len(order), size, dtype=torch.float64)
    present = order >= 0
    weight[present.nonzero()[:, 0], order[present]] = 1
    return weight


def rows_of(pieces: tuple[Piece, ...], rows: Tensor) -> list[Piece]:
    """The pieces of some rows of a weight, in their order."""
    starts = torch.tensor([0, *torch.tensor([len(p.rows) for p in pieces]).cumsum(0).tolist()])
    which = torch.bucketize(rows.contiguous(), starts[1:], right=True)
    found: list[Piece] = []
    begin = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or which[end] != which[begin]:
            piece = pieces[int(which[begin])]
            found.append(replace(piece, rows=piece.rows[rows[begin:end] - starts[which[begin]]]))
            begin = end
    return found


def _spread(context: Context, index: int, shape: Shape) -> int:
    """Repeat `[C, 1, 1]` over a map `[C, H, W]`: each window of a kernel of ones holds the one value and padding."""
    node = context.nodes[index]
    _, height, width = shape
    # In float32, which holds ones and is what a file holds: these kernels are the largest of all.
    weight = torch.zeros(node.shape[0], node.shape[0], height, width, dtype=torch.float32)
    weight[torch.arange(node.shape[0]), torch.arange(node.shape[0])] = 1
    window = Window(padding=(height - 1, width - 1))
    return _fixed(context, context.label("broadcast"), weight, window, shape, index, ("spread", index, shape))


def _fixed(
    context: Context,
    label: str | tuple[str, str],
    weight: Tensor,
    window: Window | None,
    shape: Shape,
    index: int,
    key: tuple[object, ...],
) -> int:
    """A weight of ones that no parameter of the module holds."""
    operation = Weighted(weight, torch.zeros(len(weight), dtype=torch.float64), window, fixed=True)
    return context.add(label, operation, shape, (index,), ("fixed", index, *key))


def joined(context: Context, parts: list[tuple[int, Tensor]], label: str) -> int:
    """One population with the given channels of several spiking nodes: a neuron for each that relays it.

    Each part is placed by a weight of ones; where they meet, every neuron gets one of them.
    """
    node = context.nodes[parts[0][0]]
    count = sum(len(channel) for _, channel in parts)
    shape = (count, *node.shape[1:])
    inputs, at = [], 0
    for index, channel in parts:
        weight = torch.zeros(count, context.nodes[index].shape[0], 1, 1, dtype=torch.float64)
        weight[at + torch.arange(len(channel)), channel] = 1
        key = ("place", at, count, tuple(channel.tolist()))
        inputs.append(_fixed(context, f"{context.nodes[index].label}.place", weight, Window(), shape, index, key))
        at += len(channel)
    return context.add(label, Relay(), shape, inputs, ("relay", tuple(inputs)))
