"""LIF populations, one time step after the other."""

from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

from export.onnx.builder import Builder
from export.populations import DT


@dataclass(frozen=True)
class Fired:
    """Spikes of a population.

    Attributes:
        stacked: name of the spikes as numbers, float32 `[T N, C, H, W]`, all images of a step after those of the last.
        steps: names of the spikes of each step, bool `[N, C, H, W]`.
    """

    stacked: str
    steps: tuple[str, ...]


def add_population(builder: Builder, name: str, lif: nir.LIF, current: str, constant: bool, time_steps: int) -> Fired:
    """`v = (1 - d) v + d r x`, d = dt / tau; a spike where `v > v_threshold`, strictly; then v = 0.

    That is NIR's `v += d (r x - v)` in the order with the fewest operations, of which one, `d r x`, is done for all
    steps at once.  A certificate covers it: with d = 2^-a, `d r x` and `(1 - d) v = v - d v` are numbers that it proves
    to need no more bits than a float32 has (`neuromorphic.analysis.rounding`), so neither they nor their sum round.

    Requires: v_leak and v_reset are 0, as lowering makes them.

    Args:
        builder: gets the operators.
        name: of the population.
        lif: its parameters.
        current: name of what it reads, float32 `[N, C, H, W]` if it is constant, else `[T N, C, H, W]`.
        constant: whether that is the same at every step.
        time_steps: T.
    """
    decay = np.asarray(1 / (lif.tau / np.float32(DT)), np.float32)  # the quotient first, as readers of NIR have it
    drive = _scaled(builder, f"{name}/drive", current, decay * lif.r)
    drives = [drive] * time_steps
    if not constant:
        drives = builder.split([f"{name}/drive.{t}" for t in range(time_steps)], drive, axis=0)
    threshold = _parameter(builder, f"{name}/threshold", lif.v_threshold)
    steps: list[str] = []
    v = ""
    for t, x in enumerate(drives):
        if t:
            rest = builder.add("Where", f"{name}/rest.{t}", steps[-1], builder.number(0.0), v)
            left = _scaled(builder, f"{name}/left.{t}", rest, 1 - decay)
            v = builder.add("Add", f"{name}/v.{t}", left, x)
        else:
            v = x  # from rest
        steps.append(builder.add("Greater", f"{name}/fired.{t}", v, threshold))
    fired = builder.add("Concat", f"{name}/fired", *steps, axis=0)
    return Fired(builder.cast(f"{name}/spikes", fired, np.float32), tuple(steps))


def _scaled(builder: Builder, output: str, x: str, factor: NDArray[np.float32]) -> str:
    """`factor x`: x itself where all factors are 1."""
    if (factor == 1).all():
        return x
    return builder.add("Mul", output, x, _parameter(builder, f"{output}/factor", factor))


def _parameter(builder: Builder, name: str, values: NDArray[np.float32]) -> str:
    """A number that all neurons share, or one for each of them, `[C, H, W]`."""
    first = values.flat[0]
    return builder.number(float(first)) if (values == first).all() else builder.constant(name, values)
