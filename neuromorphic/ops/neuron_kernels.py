"""Neurons of floats, fast: a batch of maps at once, in float32 or float64, in the order of the definition."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import DTypeLike

from neuromorphic.ops.types import Array, Float32, Mask, single_number

CACHE = 2**18
"""Bytes of maps that are computed at once: with their states they stay in the processor's second-level cache."""


class GeneralNeurons:
    """Any neurons of floats: their synaptic current, where they have one, then their membranes, then their spikes.

        x -= back s, s the spikes of the step before     where there is a back, and v stays as it was
        i += current_decay (weight x - i)               where there is a current_decay; then x is i
        v += decay (leak + gain x - v)                  or v += gain x where there is no decay, or v = x with neither
        spikes where v > threshold; there v = reset     where there is a threshold; else v is sent

    Where neurons subtract, a spike takes the threshold off v instead.

    Args:
        numbers: parameters by name, float32 of the neurons' shape or single numbers.
        start: v at the start of an image.
        shape: `[B, *shape]`.
        dtype: of the state.
        subtracts: whether neurons subtract.
    """

    def __init__(
        self,
        numbers: Mapping[str, Float32],
        start: Float32,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        *,
        subtracts: bool = False,
    ) -> None:
        self.subtracts = subtracts
        self.numbers = {key: single_number(values).astype(dtype) for key, values in numbers.items()}
        self.start = single_number(start).astype(dtype)
        self.v: Array = np.zeros(shape, dtype)
        self.i: Array = np.zeros(shape if "current_decay" in numbers else (), dtype)
        self.forget()

    def forget(self) -> None:
        self.v[...] = self.start
        self.i[...] = 0

    def __call__(self, x: Array) -> Array:
        numbers = self.numbers
        if "back" in numbers:
            x = x - numbers["back"] * (self.v > numbers["threshold"])
        if "current_decay" in numbers:
            self.i += numbers["current_decay"] * (numbers["weight"] * x - self.i)
            x = self.i
        if "decay" in numbers:
            self.v += numbers["decay"] * (numbers["leak"] + numbers["gain"] * x - self.v)
        elif "gain" in numbers:
            self.v += numbers["gain"] * x
        else:
            self.v[...] = x
        if "threshold" not in numbers:
            return self.v.copy()
        fired = self.v > numbers["threshold"]
        if self.subtracts:
            self.v -= numbers["threshold"] * fired
        elif "reset" in numbers:
            np.copyto(self.v, numbers["reset"], where=fired)
        return np.asarray(fired.view(np.uint8))


class LeakyNeurons:
    """`v += decay (gain x - v)`; spikes where `v > threshold`; there v = 0.  Overwrites `x`."""

    def __init__(
        self, decay: Float32, gain: Float32, threshold: Float32, shape: tuple[int, ...], dtype: DTypeLike
    ) -> None:
        self.v: Array = np.zeros(shape, dtype)
        self.decay, self.gain, self.threshold = (single_number(n).astype(dtype) for n in (decay, gain, threshold))
        self.scales = bool((gain != 1).any())

    def forget(self) -> None:
        self.v[...] = 0

    def __call__(self, x: Array) -> Array:
        fired = np.empty(x.shape, np.bool_)
        maps = max(1, CACHE * len(x) // max(1, x.nbytes))
        for i in range(0, len(x), maps):
            some = slice(i, i + maps)
            self._step(x[some], self.v[some], fired[some])
        return fired.view(np.uint8)

    def _step(self, x: Array, v: Array, fired: Mask) -> None:
        if self.scales:
            x *= self.gain
        x -= v
        x *= self.decay
        v += x
        np.greater(v, self.threshold, out=fired)
        v *= ~fired  # several times as fast as to copy zeros there; v is finite
