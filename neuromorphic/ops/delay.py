"""`Delay`, and the delay line that computes it."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import nir
import numpy as np

from neuromorphic.errors import RefusedInput
from neuromorphic.ops.operation import Operation
from neuromorphic.ops.parameters import delay_steps
from neuromorphic.ops.types import Array, Conventions, Int64, Interval, Shape, Shapes, Typed
from neuromorphic.ops.widths import DELAY_BITS


@final
@dataclass(frozen=True)
class Delay(Operation):
    """`y[t] = x[t - steps]`, element by element, within one image; 0 in its first steps.

    Attributes:
        steps: int64 of the node's shape, 0 or more.
    """

    nir_types: ClassVar = (nir.Delay,)

    steps: Int64

    @classmethod
    def read(cls, node: nir.Delay, shape: Shape, where: str, given: Conventions) -> Typed:
        steps = delay_steps(node.delay, given.dt, where)
        if steps.size != 1 and steps.shape != shape:
            raise RefusedInput(f"{where}: delay has the shape {list(steps.shape)}; expected {list(shape)}")
        whole = np.broadcast_to(steps.reshape(()) if steps.size == 1 else steps, shape)
        return Typed.elementwise(cls(whole), shape)

    def write(self, shapes: Shapes, dt: float, like: nir.Delay | None = None) -> nir.Delay:
        return nir.Delay(np.asarray(self.steps * dt)) if like is None else like

    @property
    def lag(self) -> int:
        """The least delay of all elements, in steps."""
        return int(self.steps.min())

    def steps_before(self, spikes: bool) -> int:
        return 0

    def interval(self, x: Interval, shapes: Shapes, steps: int) -> Interval:
        """The bounds of x and 0, which is the output in the first steps."""
        return Interval(np.minimum(x.low, 0), np.maximum(x.high, 0))

    def grid(self, bits: int | None, steps: int) -> int | None:
        return bits

    def products(self, shapes: Shapes) -> int:
        return prod(shapes.input)

    def largest_array(self, shapes: Shapes) -> int:
        return int(prod(shapes.input) * (self.steps.max() + 1))

    def refusal(self, reads_currents: bool) -> str:
        if self.steps.max() < 2**DELAY_BITS:
            return ""
        return f"waits {self.steps.max()} steps; expected at most {2**DELAY_BITS - 1}, which is what a synapse can"


class DelayLine:
    """`y[t] = x[t - wait]`, element by element, `wait = steps - lag`; 0 in the first steps of an image.

    Args:
        delay: the operation; its lag is accounted for on the edges into the node.
        shape: of x: that of the node, with or without axes in front.
    """

    def __init__(self, delay: Delay, shape: tuple[int, ...]) -> None:
        self.lag = delay.lag
        self.wait = np.broadcast_to(delay.steps - delay.lag, shape)
        self.waits = tuple(int(n) for n in np.unique(self.wait))
        self.past = np.zeros((self.waits[-1] + 1, *shape))

    def __call__(self, x: Array, step: int) -> Array:
        """The output in step `step` of an image, for the input `x` of the same step."""
        size = len(self.past)
        self.past[step % size] = x
        y = np.zeros_like(x)
        for wait in self.waits:
            if wait <= step:
                np.copyto(y, self.past[(step - wait) % size], where=self.wait == wait, casting="unsafe")
        return y
