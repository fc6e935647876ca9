"""The populations, fast: a batch of maps at once, in float32 or float64.

Each class computes one step of `reference.step` for x `[B, *shape]` and returns the spikes as uint8; it keeps the
membranes `v` between the steps.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuromorphic.graph import Lif, LoihiLif, Node
from neuromorphic.loihi2 import arithmetic
from neuromorphic.loihi2.widths import ALIGNMENT, DECAY_BITS, STATE_LIMIT

Array = NDArray[Any]


class Neurons(Protocol):
    """`[B, *shape]`, which it may use up, to spikes of that shape; `v` are the membranes."""

    v: Array

    def __call__(self, x: Array) -> NDArray[np.uint8]: ...


def neurons(node: Node, batch: int, dtype: type) -> Neurons:
    """The fastest way to compute a population.

    Args:
        node: the population's.
        batch: maps at once.
        dtype: of membranes that are no integers; those are kept in what holds them exactly.

    Raises:
        TypeError: the node is no population.
    """
    shape = (batch, *node.shape)
    match node.operation:
        case Lif() as lif:
            return _Leaky(lif, shape, dtype)
        case LoihiLif() as lif:
            return _Shifting(lif, shape) if _shifts(lif.decay) else _Decaying(lif, shape)
        case other:
            raise TypeError(f"node {node.name!r}: {type(other).__name__} is no population")


def _shifts(decay: int) -> bool:
    """Whether `v (4096 - decay) / 4096` is v / 2, v / 4, ...: a shift, which floats compute exactly."""
    kept = (1 << DECAY_BITS) - decay
    return decay >= 1 << (DECAY_BITS - 1) and kept.bit_count() == 1


class _Leaky:
    """`v += decay (gain x - v)`; uses up `x`."""

    def __init__(self, lif: Lif, shape: tuple[int, ...], dtype: type) -> None:
        self.v: Array = np.zeros(shape, dtype)
        self.lif = Lif(*(_scalar(values).astype(dtype) for values in (lif.decay, lif.gain, lif.threshold)))

    def __call__(self, x: Array) -> NDArray[np.uint8]:
        x *= self.lif.gain
        x -= self.v
        x *= self.lif.decay
        self.v += x
        fired = self.v > self.lif.threshold
        np.copyto(self.v, 0, where=fired)
        return np.asarray(fired.view(np.uint8))


class _Decaying:
    """`loihi2.arithmetic.step` as it stands, in float64."""

    def __init__(self, lif: LoihiLif, shape: tuple[int, ...]) -> None:
        self.v: Array = np.zeros(shape)
        self.lif = lif

    def __call__(self, x: Array) -> NDArray[np.uint8]:
        return arithmetic.step(self.lif, self.v, x.astype(np.float64)).view(np.uint8)


class _Shifting:
    """`v = saturate(trunc(v / 2^k) + wrap(64 x) + bias)`, k >= 1, in float32.

    Exact, since float32 holds every integer up to 2^24: |v / 2^k| < 2^22, |wrap(64 x)| <= 2^23 and |bias| <= 2^19.
    """

    def __init__(self, lif: LoihiLif, shape: tuple[int, ...]) -> None:
        self.v = np.zeros(shape, np.float32)
        self.kept = np.float32(1 - lif.decay / 2**DECAY_BITS)
        self.bias = _scalar(lif.bias.astype(np.float32))
        self.threshold = _scalar(lif.threshold.astype(np.float32)) * np.float32(2**ALIGNMENT)

    def __call__(self, x: Array) -> NDArray[np.uint8]:
        if max(x.max(), -x.min()) < STATE_LIMIT // 2**ALIGNMENT:
            x *= 2**ALIGNMENT
        else:  # some of it wraps
            x = arithmetic.current(x.astype(np.float64))
        self.v *= self.kept
        np.trunc(self.v, out=self.v)
        self.v += x
        self.v += self.bias
        np.clip(self.v, 1 - STATE_LIMIT, STATE_LIMIT - 1, out=self.v)
        fired = self.v > self.threshold
        np.copyto(self.v, 0, where=fired)
        return np.asarray(fired.view(np.uint8))


def _scalar(values: Any) -> Any:
    """An array of a single value where all of `values` are the same, for speed."""
    first = values.flat[0]
    return first if (values == first).all() else values
