"""Synapses between blocks: how many lead from each sending neuron to each core, and the memory that they take.

A population is cut into blocks of channels × rows × columns; block (a, b, d) has channel block a, row block b and
column block d.
"""

from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from math import prod
from typing import assert_never, cast

import numpy as np

import neuromorphic.ops as ops
from neuromorphic.ir.graph import Node
from neuromorphic.ops import Int64, Mask
from neuromorphic.ops.windows import Windows
from neuromorphic.placement.limits import Limits
from neuromorphic.placement.populations import Map, Population, Projection, as_map


@dataclass(frozen=True)
class Cut:
    """The cut of a population on each axis: block a has the channels from `channels[a]` to before `channels[a + 1]`."""

    channels: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return prod(len(edges) - 1 for edges in (self.channels, self.rows, self.columns))

    @property
    def neurons(self) -> Int64:
        """The neurons of each block: int64 `[a, b, d]`."""
        sizes = (np.diff(edges) for edges in (self.channels, self.rows, self.columns))
        return np.asarray(reduce(np.multiply.outer, sizes), np.int64)

    @property
    def slots(self) -> int:
        """The neurons of the largest block, with its columns rounded up to a power of two."""
        channels, rows, columns = (
            max(stop - start for start, stop in pairwise(edges)) for edges in (self.channels, self.rows, self.columns)
        )
        return channels * rows * int(2 ** (columns - 1).bit_length())


@dataclass(frozen=True)
class FanOut:
    """`fan_out[a, b, d][c, y, x] = channels[a, b, c] · rows[b, y] · columns[d, x]`: synapses from (c, y, x) to a block.

    Attributes:
        channels, rows, columns: int64; c, y and x index the input of the projection, flattened or not.  The axis b of
            `channels` has length 1 if all row blocks are alike.
        lists: int64 `[b, d]`: lists of synapses, of length `channels[a, b, c]`, that a block stores for each channel c;
            None if there is a list for each position.
        alike: whether all channels have the same lists.
        stored: whether there are weights to store.
        registers: bits that each neuron keeps to combine its inputs, besides its sum.
        numbers: sums that each neuron keeps besides its own.
    """

    channels: Int64
    rows: Int64
    columns: Int64
    lists: Int64 | None
    alike: bool = False
    stored: bool = True
    registers: int = 0
    numbers: int = 0

    @property
    def shared(self) -> bool:
        """Whether positions share weights, so that one axon serves a position whatever the channel."""
        return self.lists is not None

    @property
    def synapses(self) -> Int64:
        """Synapses that end in each block: int64 `[a, b, d]`."""
        return np.asarray(self.channels.sum(2)[..., None] * np.multiply.outer(self.rows.sum(1), self.columns.sum(1)))

    @property
    def positions(self) -> Int64:
        """Positions from which each block receives spikes, whatever the channel: int64 `[b, d]`."""
        return np.asarray(np.multiply.outer((self.rows > 0).sum(1), (self.columns > 0).sum(1)), np.int64)

    @property
    def axons(self) -> Int64:
        """Axons that end in each block, one per position of a sender: int64 `[a, b, d]`.

        The position says where a list of synapses applies; the channel, which the spike carries, says which list.
        Where every position has weights of its own, there is one axon per element.
        """
        heard = (self.channels > 0).sum(2)[..., None]
        return np.asarray((heard > 0 if self.shared else heard) * self.positions, np.int64)

    def weights(self, limits: Limits) -> Int64:
        """Bytes of the lists of synapses that each block stores: int64 `[a, b, d]`."""
        targets, lists = self.channels[:, :, None], self.lists
        if lists is None:
            targets = targets * np.multiply.outer(self.rows.max(1), self.columns.max(1))[..., None]
            lists = self.positions
        each = limits.list_bytes(targets, self.shared) * self.stored
        return np.asarray((each.max(3) if self.alike else each.sum(3)) * lists, np.int64)

    def reached(self, shape: Map) -> Mask:
        """The neurons of a sender of this shape from which each block receives spikes: bool `[a, b, d, *shape]`."""
        rows = (self.rows > 0)[None, :, None, None, :, None]
        heard = (self.channels > 0)[:, :, None, :, None, None] & rows & (self.columns > 0)[:, None, None, :]
        return np.asarray(heard.reshape(*heard.shape[:3], *shape))

    def operations(self, events: Int64) -> Int64:
        """Synaptic operations in each block, `Σ fan_out · events`: int64 `[a, b, d]`."""
        blocks, _, channels = self.channels.shape
        seen = events.reshape(channels, self.rows.shape[1], self.columns.shape[1]) @ self.columns.T
        each = np.broadcast_to(self.channels, (blocks, len(self.rows), channels))
        return np.asarray(np.einsum("abc,bcd->abd", each, np.einsum("by,cyd->bcd", self.rows, seen)), np.int64)


def fan_out(projection: Projection, population: Population, cut: Cut) -> FanOut:
    """The synapses of one projection into `population`, for this cut."""
    a, b, d = _members(cut.channels), _members(cut.rows), _members(cut.columns)
    node = projection.node
    one = np.ones((len(b), len(d)), np.int64)
    if projection.kind == "identity" or node is None:
        return FanOut(a[:, None], b, d, one, alike=True)
    match node.operation:
        case ops.Conv2d() as conv:
            window = _Window(node, conv.windows, b, d)
            grouped = a.reshape(len(a), conv.groups, -1).sum(2)
            channels = grouped.repeat(node.input_shape[0] // conv.groups, axis=1)
            return FanOut(channels[:, None], window.rows, window.columns, window.taps)
        case ops.Scale():
            return FanOut(a[:, None], b, d, None)
        case ops.SumPool2d() | ops.MaxPool2d() as pool:
            window = _Window(node, pool.windows, b, d)
            numbers = prod(pool.kernel_size) if isinstance(pool, ops.MaxPool2d) else 0
            return FanOut(a[:, None], window.rows, window.columns, window.taps, alike=True, numbers=numbers)
        case ops.Fixed() as fixed:
            synapses = cast(ops.AnyOperation, fixed.synapses(node.shapes))
            return fan_out(replace(projection, node=replace(node, operation=synapses)), population, cut)
        case ops.Affine(weight=weight):
            # No weights are shared: each input is a position.  A population that isn't a map has a single column.
            targets = np.multiply.outer(a.sum(1), b.sum(1))
            everything = np.ones((len(b), weight.shape[1]), np.int64)
            return FanOut(targets[..., None], everything, d.sum(1)[:, None], None)
        case ops.SelfAttention(heads=heads):
            return _attention(projection, node, heads, a, b, d)
        case ops.Source() | ops.Sink() | ops.Delay() | ops.Neurons():
            raise TypeError(f"node {node.name!r}: {type(node.operation).__name__} has no synapses of its own")
        case unknown:
            assert_never(unknown)


def _attention(projection: Projection, node: Node, heads: int, a: Int64, b: Int64, d: Int64) -> FanOut:
    """`Kᵀ V` has a channel per channel of V and a row per channel of K's head; y has the node's shape."""
    channels, height, columns = as_map(node.input_shape)
    size = channels // 3 // heads
    one = np.ones((len(b), len(d)), np.int64)
    per_head = a.reshape(len(a), heads, size).sum(2)
    if projection.kind == "sums":
        rows = np.multiply.outer(b.sum(1), np.ones(size, np.int64))
        return FanOut(a[:, None], rows, d.sum(1)[:, None], one, stored=False, numbers=size)
    q, k, v = np.zeros((3, len(a), len(b), heads * size), np.int64)
    if projection.kind == "queries":
        q[...] = per_head.repeat(size, axis=1)[:, None]
        return FanOut(np.concatenate([q, k, v], 2), b, d, one, stored=False, registers=size)
    k[...] = np.einsum("ah,bi->abhi", per_head, b).reshape(k.shape)
    v[...] = np.multiply.outer(b.sum(1), a).swapaxes(0, 1)
    everywhere = np.ones((len(b), height), np.int64), np.ones((len(d), columns), np.int64)
    bits = 2 * height * columns  # the tokens at which the channels of K and V have fired
    return FanOut(np.concatenate([q, k, v], 2), *everywhere, one, stored=False, registers=bits)


class _Window:
    """Sliding windows, seen from every block.

    Attributes:
        rows: int64 `[b, y]`: number of output rows in row block b that see row y.
        columns: int64 `[d, x]`: number of output columns in column block d that see column x.
        taps: int64 `[b, d]`: taps of the kernel that lie on the map for some output of the block.
    """

    def __init__(self, node: Node, windows: Windows, b: Int64, d: Int64) -> None:
        axes = zip(windows.taps(node.shape), node.input_shape[1:], strict=True)
        vertical, horizontal = (np.asarray(at[..., None] == np.arange(size), np.int64) for at, size in axes)
        self.rows, self.columns = b @ vertical.sum(1), d @ horizontal.sum(1)
        tall, wide = (b @ vertical.sum(2) > 0).sum(1), (d @ horizontal.sum(2) > 0).sum(1)
        self.taps = np.multiply.outer(tall, wide)


def _members(edges: tuple[int, ...]) -> Int64:
    """1 where a block holds an index, else 0: int64 `[blocks, n]`."""
    blocks = np.arange(len(edges) - 1)
    return np.asarray(blocks[:, None] == blocks.repeat(np.diff(edges)), np.int64)
