"""Synapses between blocks: how many lead from each sending neuron to each core, and what storing them takes.

A population is cut into blocks of channels × rows, with all columns; block (a, b) is channel block a of row block b.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import assert_never, cast

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.graph import Node
from neuromorphic.ops import (
    Affine,
    AnyOperation,
    Conv2d,
    Delay,
    Fixed,
    MaxPool2d,
    Neurons,
    Scale,
    SelfAttention,
    Sink,
    Source,
    SumPool2d,
)
from neuromorphic.ops.windows import Windows
from neuromorphic.placement.populations import Map, Population, Projection, as_map

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """Where a population is cut: block a has the channels `channels[a]` to before `channels[a + 1]`; so with rows."""

    channels: tuple[int, ...]
    rows: tuple[int, ...]

    @classmethod
    def even(cls, shape: Map, channels: int, rows: int) -> "Cut":
        """Into `channels` × `rows` blocks whose sizes differ by one at most, per axis."""
        across = tuple(shape[0] * i // channels for i in range(channels + 1))
        return cls(across, tuple(shape[1] * i // rows for i in range(rows + 1)))

    @property
    def blocks(self) -> int:
        """How many blocks."""
        return (len(self.channels) - 1) * (len(self.rows) - 1)


@dataclass(frozen=True)
class FanOut:
    """`fan_out[a, b][c, y, x] = channels[a, b, c] · rows[b, y] · columns[x]`: synapses from (c, y, x) to block (a, b).

    Attributes:
        channels, rows, columns: int64; c, y and x count what the projection reads, flattened or not.  The axis b of
            `channels` has length 1 where every row block is the same.
        weights: int64 `[a, b]`: numbers that the block stores, each once, however many positions share it.
        registers: bits that each neuron keeps to combine what arrives, besides its sum.
        numbers: sums that it keeps besides its own.
        shared: whether positions share weights, so that one axon serves a position whatever the channel.
    """

    channels: Integers
    rows: Integers
    columns: Integers
    weights: Integers
    registers: int = 0
    numbers: int = 0
    shared: bool = True

    @property
    def synapses(self) -> Integers:
        """Synapses that end in each block: int64 `[a, b]`."""
        return np.asarray(self.channels.sum(2) * self.rows.sum(1) * self.columns.sum(), np.int64)

    @property
    def lists(self) -> Integers:
        """Lists of synapses that each block stores, one per channel that it hears: int64 `[a, b]`."""
        return np.broadcast_to((self.channels > 0).sum(2), self.weights.shape)

    @property
    def axons(self) -> Integers:
        """Axons that end in each block, one per position that it hears: int64 `[a, b]`.

        The position says where a list of synapses is applied, the channel (which the spike carries) says which list.
        Where every position has weights of its own, there is one per element.
        """
        positions = (self.rows > 0).sum(1) * (self.columns > 0).sum()
        return np.where(self.lists > 0, positions, 0) if self.shared else self.lists * positions

    def reached(self, shape: Map) -> NDArray[np.bool_]:
        """Which neurons of a sender of that shape each block hears: bool `[a, b, *shape]`."""
        heard = (self.channels > 0)[..., None, None] & (self.rows > 0)[None, :, None, :, None] & (self.columns > 0)
        return np.asarray(heard.reshape(*heard.shape[:2], *shape))

    def operations(self, events: Integers) -> Integers:
        """Synaptic operations in each block, `Σ fan_out · events`: int64 `[a, b]`."""
        blocks, _, channels = self.channels.shape
        seen = events.reshape(channels, self.rows.shape[1], len(self.columns)) @ self.columns
        each = np.broadcast_to(self.channels, (blocks, len(self.rows), channels))
        return np.asarray(np.einsum("abc,cb->ab", each, seen @ self.rows.T), np.int64)


def fan_out(projection: Projection, population: Population, cut: Cut) -> FanOut:
    """The synapses of one projection into `population`, cut so."""
    a, b = _members(cut.channels), _members(cut.rows)
    sizes, heights, width = a.sum(1), b.sum(1), population.shape[2]
    node = projection.node
    if projection.kind == "identity" or node is None:
        return FanOut(a[:, None], b, np.ones(width, np.int64), np.ones((len(a), len(b)), np.int64))
    match node.operation:
        case Conv2d() as conv:
            window = _Window(node, conv.windows, b)
            grouped = a.reshape(len(a), conv.groups, -1).sum(2)
            channels = grouped.repeat(node.input_shape[0] // conv.groups, axis=1)
            weights = np.multiply.outer(sizes * conv.weight.shape[1], window.taps)
            return FanOut(channels[:, None], window.rows, window.columns, weights)
        case Scale():
            weights = np.multiply.outer(sizes, heights * width)
            return FanOut(a[:, None], b, np.ones(width, np.int64), weights, shared=False)
        case SumPool2d() | MaxPool2d() as pool:
            window = _Window(node, pool.windows, b)
            numbers = prod(pool.kernel_size) if isinstance(pool, MaxPool2d) else 0
            weights = np.multiply.outer(np.ones_like(sizes), window.taps)  # ones, the same for every channel
            return FanOut(a[:, None], window.rows, window.columns, weights, numbers=numbers)
        case Fixed() as fixed:
            synapses = cast(AnyOperation, fixed.synapses(node.shapes))
            return fan_out(replace(projection, node=replace(node, operation=synapses)), population, cut)
        case Affine(weight=weight):
            targets = np.multiply.outer(sizes, heights * width)
            everything = np.ones((len(b), weight.shape[1]), np.int64)  # nothing is shared: each input is a position
            return FanOut(targets[..., None], everything, np.ones(1, np.int64), targets * weight.shape[1])
        case SelfAttention(heads=heads):
            return _attention(projection, node, heads, a, b, width)
        case Source() | Sink() | Delay() | Neurons():
            raise TypeError(f"node {node.name!r}: {type(node.operation).__name__} has no synapses of its own")
        case unknown:
            assert_never(unknown)


def _attention(projection: Projection, node: Node, heads: int, a: Integers, b: Integers, width: int) -> FanOut:
    """`Kᵀ V` has a channel per channel of V and a row per channel of K's head; y has the node's shape."""
    channels, height, columns = as_map(node.input_shape)
    d = channels // 3 // heads
    nothing = np.zeros((len(a), len(b)), np.int64)
    per_head = a.reshape(len(a), heads, d).sum(2)
    if projection.kind == "sums":
        rows = np.multiply.outer(b.sum(1), np.ones(d, np.int64))
        return FanOut(a[:, None], rows, np.array([width]), nothing, numbers=d)
    q, k, v = np.zeros((3, len(a), len(b), heads * d), np.int64)
    if projection.kind == "queries":
        q[...] = per_head.repeat(d, axis=1)[:, None]
        return FanOut(np.concatenate([q, k, v], 2), b, np.ones(columns, np.int64), nothing, registers=d)
    k[...] = np.einsum("ah,bi->abhi", per_head, b).reshape(k.shape)
    v[...] = np.multiply.outer(b.sum(1), a).swapaxes(0, 1)
    everywhere = np.ones((len(b), height), np.int64)
    bits = 2 * height * columns  # which tokens K's and V's channel fired at
    return FanOut(np.concatenate([q, k, v], 2), everywhere, np.ones(columns, np.int64), nothing, registers=bits)


class _Window:
    """A sliding window over the rows of every row block and over all columns.

    Attributes:
        rows: int64 `[b, y]`: outputs of block b that see row y.
        columns: int64 `[x]`: outputs that see column x.
        taps: int64 `[b]`: taps of the kernel that lie on the map for some output of block b.
    """

    def __init__(self, node: Node, windows: Windows, b: Integers) -> None:
        vertical, horizontal = (
            _seen(*axis)
            for axis in zip(
                node.input_shape[1:],
                node.shape[1:],
                windows.kernel,
                windows.stride,
                windows.padding,
                windows.dilation,
                strict=True,
            )
        )
        self.rows = b @ vertical.sum(1)
        self.columns = horizontal.sum((0, 1))
        self.taps = (b @ vertical.sum(2) > 0).sum(1) * int((horizontal.sum((0, 2)) > 0).sum())


def _seen(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> Integers:
    """Whether output i sees position x through tap m, along one axis: int64 `[out, kernel, size]`."""
    position = np.arange(out)[:, None] * stride - padding + dilation * np.arange(kernel)
    return np.asarray(position[..., None] == np.arange(size), np.int64)


def _members(edges: tuple[int, ...]) -> Integers:
    """Which block holds which index: int64 `[blocks, n]`."""
    members = np.zeros((len(edges) - 1, edges[-1]), np.int64)
    for row, (start, stop) in zip(members, pairwise(edges), strict=True):
        row[start:stop] = 1
    return members
