"""Neurons, fast: a batch of maps at once, in float32 or float64.

Each class computes one step of `dynamics.advance` for x `[B, *shape]`, in the same order of operations, and returns the
spikes as uint8 or the membranes; it keeps the membranes `v` between the steps.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.graph import Node
from neuromorphic.ops import loihi_arithmetic as arithmetic
from neuromorphic.ops.loihi_widths import ALIGNMENT, DECAY_BITS, STATE_LIMIT
from neuromorphic.ops.operations import CubaLi, CubaLif, If, Integrator, Li, Lif, LoihiLif, Membranes, Threshold

Array = NDArray[Any]


class Neurons(Protocol):
    """`[B, *shape]`, which it may use up, to spikes or membranes of that shape; `v` are the membranes."""

    v: Array

    def forget(self) -> None:
        """Back to the state in which an image begins."""

    def __call__(self, x: Array) -> Array: ...


def neurons(node: Node, batch: int, dtype: type) -> Neurons:
    """The fastest way to compute neurons.

    Args:
        node: of neurons.
        batch: maps at once.
        dtype: of membranes that are no integers; those are kept in what holds them exactly.

    Raises:
        TypeError: the node has no neurons.
    """
    shape = (batch, *node.shape)
    match node.operation:
        case Lif() as lif if not (lif.leak.any() or lif.reset.any()):
            return _Leaky(lif, shape, dtype)
        case LoihiLif() as lif:
            return _Shifting(lif, shape) if _shifts(lif) else _Decaying(lif, shape)
        case Lif() | If() | CubaLif() | Threshold() | Integrator() | Li() | CubaLi() as other:
            return _General(other, shape, dtype)
        case other:
            raise TypeError(f"node {node.name!r}: {type(other).__name__} has no neurons")


def _shifts(lif: LoihiLif) -> bool:
    """Whether currents don't last and `v (4096 - decay) / 4096` is v / 2, v / 4, ...: a shift, exact in floats."""
    kept = (1 << DECAY_BITS) - lif.decay
    return not lif.lasting and lif.decay >= 1 << (DECAY_BITS - 1) and kept.bit_count() == 1


class _FromZero:
    """Neurons that an image finds at v = 0."""

    v: Array

    def forget(self) -> None:
        self.v[...] = 0


class _General:
    """Any neurons of floats: their synaptic current, where they have one, then their membranes, then their spikes."""

    def __init__(
        self, neurons: Lif | If | CubaLif | Threshold | Membranes, shape: tuple[int, ...], dtype: type
    ) -> None:
        self.numbers = {key: _scalar(values).astype(dtype) for key, values in vars(neurons).items()}
        self.integrates = isinstance(neurons, If | Integrator)
        self.remembers = not isinstance(neurons, Threshold)
        self.sends_membranes = isinstance(neurons, Membranes)
        start = "leak" if self.sends_membranes else "reset"
        self.start = self.numbers.get(start, np.zeros((), dtype))
        self.v: Array = np.zeros(shape, dtype)
        self.i: Array = np.zeros(shape if "synapse_decay" in self.numbers else (), dtype)
        self.forget()

    def forget(self) -> None:
        self.v[...] = self.start
        self.i[...] = 0

    def __call__(self, x: Array) -> Array:
        numbers = self.numbers
        if "synapse_decay" in numbers:
            self.i += numbers["synapse_decay"] * (numbers["weight"] * x - self.i)
            x = self.i
        if self.integrates:
            self.v += numbers["gain"] * x
        elif self.remembers:
            self.v += numbers["decay"] * (numbers["leak"] + numbers["gain"] * x - self.v)
        else:
            self.v[...] = x
        if self.sends_membranes:
            return self.v.copy()
        fired = self.v > numbers["threshold"]
        if self.remembers:
            np.copyto(self.v, numbers["reset"], where=fired)
        return np.asarray(fired.view(np.uint8))


class _Leaky(_FromZero):
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


class _Decaying(_FromZero):
    """`loihi2.arithmetic.step` as it stands, in float64."""

    def __init__(self, lif: LoihiLif, shape: tuple[int, ...]) -> None:
        self.v: Array = np.zeros(shape)
        self.u: Array = np.zeros(shape)
        self.lif = lif

    def forget(self) -> None:
        super().forget()
        self.u[...] = 0

    def __call__(self, x: Array) -> NDArray[np.uint8]:
        return arithmetic.step(self.lif, self.v, x.astype(np.float64), self.u).view(np.uint8)


class _Shifting(_FromZero):
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
