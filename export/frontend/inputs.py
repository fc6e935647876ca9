"""Inputs: what kind of numbers frames are, within what bounds and on what grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.frontend.axes import Axes
from neuromorphic.analysis.frame_sums import bounded
from neuromorphic.ir.metadata import InputKind
from neuromorphic.ops import Sums
from neuromorphic.ops.dyadic import on_grid
from spikeclip.errors import RefusedInput

BOUNDS: dict[InputKind, tuple[float, float]] = {"real": (-4.0, 4.0), "spikes": (0.0, 1.0), "counts": (0.0, 15.0)}
"""Least and greatest value of each kind of numbers, where nothing is said."""

REAL_BITS = 6
"""Real numbers are on multiples of 2^-6, where nothing is said."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a module.

    Attributes:
        kind: of numbers.
        axes: of the module's input.
        frame: shape of a frame.
        low, high: least and greatest value.
        bits: values are rounded to multiples of 2^-bits.
    """

    kind: InputKind
    axes: Axes
    frame: tuple[int, ...]
    low: float
    high: float
    bits: int

    @classmethod
    def of(
        cls,
        kind: InputKind,
        axes: Axes,
        frame: tuple[int, ...],
        bounds: tuple[float, float] | None = None,
        bits: int | None = None,
    ) -> "Inputs":
        """The inputs of a kind; `BOUNDS` and `REAL_BITS` give the bounds and bits that the caller leaves out.

        Raises:
            RefusedInput: there is no such kind.
        """
        if kind not in BOUNDS:
            raise RefusedInput(f"input kind {kind!r}; expected {', '.join(BOUNDS)}")
        low, high = bounds or BOUNDS[kind]
        bits = REAL_BITS if bits is None else bits
        return cls(kind, axes, frame, low, high, bits if kind == "real" else 0)

    @property
    def sums(self) -> Sums:
        """Bounds and grid of a frame."""
        return bounded(self.low, self.high, self.bits, constant=not self.axes.timed)

    @property
    def assumption(self) -> str:
        """The assumption about frames under which a proof holds, in a sentence."""
        grid = f"on multiples of 2^-{self.bits}" if self.bits else "whole numbers"
        return f"frames are {self.kind}, {self.low:g} to {self.high:g}, {grid}"

    def encode(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Frames on the grid: the nearest multiples of 2^-bits."""
        return on_grid(frames, self.bits)

    def random(self, images: int, time_steps: int, seed: int) -> NDArray[np.float32]:
        """Random frames `[images, *frame]`, or `[images, T, *frame]`; a fifth of spikes and counts is not 0."""
        numbers = np.random.default_rng(seed)
        shape = (images, *((time_steps,) if self.axes.timed else ()), *self.frame)
        if self.kind == "real":
            return self.encode(numbers.uniform(self.low / 2, self.high / 2, shape).astype(np.float32))
        counts = np.ones(shape) if self.kind == "spikes" else numbers.integers(1, int(self.high) + 1, shape)
        return np.asarray((numbers.random(shape) < 0.2) * counts, np.float32)

    def tensor(self, frames: NDArray[np.float32], dtype: torch.dtype) -> Tensor:
        """`[images, (T,) *frame]` as the module's input."""
        x = torch.tensor(frames, dtype=dtype)
        time_first = x.transpose(0, 1) if self.axes.timed else x[None]
        return self.axes.from_time_first(time_first)

    def to_dict(self) -> dict[str, object]:
        """The inputs as the file's metadata hold them, JSON-compatible, without the shape of a frame."""
        return {"kind": self.kind, "axes": self.axes.names, "low": self.low, "high": self.high, "bits": self.bits}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], frame: tuple[int, ...]) -> "Inputs":
        """The inputs from `to_dict`'s dictionary, for frames of this shape.

        Raises:
            RefusedInput: the kind or the axes are unknown.
            KeyError, TypeError, ValueError: a key is missing, or a value is none of its kind.
        """
        bounds = (float(values["low"]), float(values["high"]))
        return cls.of(values["kind"], Axes(str(values["axes"])), frame, bounds, int(values["bits"]))
