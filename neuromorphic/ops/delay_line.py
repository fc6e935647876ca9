"""What a `Delay` makes its elements wait beyond the lag of the edges into it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ops.operations import Delay

Array = NDArray[Any]


class DelayLine:
    """`y[t] = x[t - wait]`, element by element, `wait = steps - lag`; 0 in the first steps of an image.

    Args:
        delay: the operation.
        shape: of x: the node's, with or without axes before it.
    """

    def __init__(self, delay: Delay, shape: tuple[int, ...]) -> None:
        self.lag = delay.lag
        self.wait = np.broadcast_to(delay.steps - delay.lag, shape)
        self.waits = tuple(int(n) for n in np.unique(self.wait))
        self.past = np.zeros((self.waits[-1] + 1, *shape))

    def __call__(self, x: Array, step: int) -> Array:
        """What leaves in step `step` of an image, at which `x` arrives."""
        size = len(self.past)
        self.past[step % size] = x
        y = np.zeros_like(x)
        for wait in self.waits:
            if wait <= step:
                np.copyto(y, self.past[(step - wait) % size], where=self.wait == wait, casting="unsafe")
        return y
