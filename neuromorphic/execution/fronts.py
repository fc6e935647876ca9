"""How compiled kernels compute a layer: which positions see which, and the weights that spikes meet there.

Maps lie as `[B, T, P, C]`: positions, then channels.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeGuard, assert_never

import numpy as np

from neuromorphic.execution import kernels
from neuromorphic.ir.graph import Node
from neuromorphic.ops import (
    Affine,
    AnyOperation,
    Array,
    Conv2d,
    Delay,
    Lif,
    MaxPool2d,
    Neurons,
    Scale,
    SelfAttention,
    Sink,
    Source,
    SumPool2d,
)
from neuromorphic.ops.windows import Windows

Type = np.dtype[Any]

NONE: kernels.Spans = (np.zeros(1, np.int32),) * 4

ALL: kernels.Spans = (np.array([0, 1], np.int32), np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, np.int32))
"""Of a matrix, which reads one position and returns one."""

COUNTS: Type = np.dtype(np.uint8)
"""Of spikes, and of sums of them."""

SHARED = 256
"""Weights of an output from which on it is worth a list more to add up but once what two time steps have in common."""


@dataclass(frozen=True)
class Front:
    """How the sum that a kernel returns, or that meets its neurons, comes about.

    Attributes:
        mode: of `kernels`.
        reads: type that x is given in.
        most: that an element of x counts, where it is made of spikes.
        weight: as of `kernels.layer`.
        spans: `first`, `offset`, `begin` and `end`.
        sums: type of sums.
    """

    mode: int
    reads: Type
    most: int
    weight: Array
    spans: kernels.Spans
    sums: Type

    def argument(self, x: Array) -> kernels.Front:
        """The first one of every kernel, for x `[B, T, P, C]`."""
        pairs = x.shape[1] // 2 if self.mode == kernels.EVENTS and len(self.weight) >= SHARED else 0
        return (0,) * self.mode, self.most, pairs, np.ascontiguousarray(x, self.reads), self.weight, self.spans

    @classmethod
    def currents(cls, reads: Type, sums: Type) -> "Front":
        """Of neurons that take what they read as it is."""
        return cls(kernels.CURRENTS, reads, 1, np.zeros((0, 0), sums), NONE, sums)


def synapses(node: Node, given: Type, sums: Type) -> Front | None:
    """How a compiled kernel computes a node with synapses; None where none does."""
    operation = node.operation
    match operation:
        case SumPool2d(divisor=1):
            return _apart(node, operation.synapses(node.shapes), given, sums)
        case Conv2d(groups=groups) if groups == node.input_shape[0] == node.shape[0] > 1:
            return _apart(node, operation, given, sums)
        case Conv2d(groups=1):
            read = spans(operation.windows, node, node.input_shape[0])
        case Affine():
            read = ALL
        case Conv2d() | Scale() | SumPool2d() | MaxPool2d() | SelfAttention() | Source() | Sink() | Delay() | Neurons():
            return None
        case unknown:
            assert_never(unknown)
    flat = operation.weights.reshape(*operation.weights.shape[:2], -1)
    weight = np.ascontiguousarray(flat.transpose(2, 1, 0).reshape(-1, len(flat)), sums)
    mode = kernels.EVENTS if given == COUNTS else kernels.VALUES
    return Front(mode, given, max(1, len(node.sources)), weight, read, sums)


def _apart(node: Node, conv: Conv2d, given: Type, sums: Type) -> Front:
    """Of channels that don't see each other."""
    weight = np.ascontiguousarray(conv.weight.reshape(len(conv.weight), -1).T, sums)
    return Front(kernels.CHANNELS, given, 1, weight, spans(conv.windows, node, 1), sums)


def spans(windows: Windows, node: Node, channels: int) -> kernels.Spans:
    """Which positions each output position sees on the map, and the rows of weights that these meet."""
    rows, columns = windows.taps(node.shape)
    above, beside = ((at >= 0) & (at < size) for at, size in zip((rows, columns), node.input_shape[1:], strict=True))
    inside = (above[:, None, :, None] & beside[None, :, None, :]).reshape(math.prod(node.shape[1:]), -1)
    position = (rows[:, None, :, None] * node.input_shape[2] + columns[None, :, None, :]).reshape(inside.shape)[inside]
    q, tap = np.nonzero(inside)
    follows = (np.diff(q) == 0) & (np.diff(tap) == 1) & (np.diff(position) == 1)
    starts = np.flatnonzero(np.concatenate([[True], ~follows]))[: len(q)]
    ends = np.append(starts[1:], len(q))[: len(starts)] - 1
    first = np.searchsorted(q[starts], np.arange(len(inside) + 1))
    offset = (tap - position)[starts] * channels
    found = (first, offset, position[starts], position[ends] + 1)
    return tuple(each.astype(np.int32) for each in found)  # type: ignore[return-value]


def is_plain(operation: AnyOperation) -> TypeGuard[Lif]:
    """Whether these are leaky neurons that rest and reset at 0: those of `firing.leak`."""
    return isinstance(operation, Lif) and not (operation.leak.any() or operation.reset.any() or operation.subtracts)
