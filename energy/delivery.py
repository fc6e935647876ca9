"""Delivery: spikes in the step in which they are summed, `y[t, f] = x[t - late[f], f]`; what arrives behind it is lost.

Nothing of one image is summed in the next, so that what is under way when an image ends never arrives.
"""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.trace import SpikeTrain


def delivered(train: SpikeTrain, lag: NDArray[np.int64]) -> SpikeTrain:
    """The spikes of a population as they arrive.

    Args:
        train: as they are sent.
        lag: steps, `[neurons]` or `[]`.
    """
    if not lag.any():
        return train
    bits = np.zeros_like(train.bits)
    steps, each = bits.shape[1], np.broadcast_to(lag, train.neurons)
    for wait in np.unique(each):
        if wait < steps:
            bits[:, wait:] |= train.bits[:, : steps - wait] & np.packbits(each == wait)
    return SpikeTrain(bits, train.shape)


def later(sent: NDArray[np.bool_], lag: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The same for booleans `[images, T, *shape]`; `lag` are steps, of that shape or `[]`."""
    if not lag.any():
        return sent
    arrived = np.zeros_like(sent)
    steps, each = sent.shape[1], np.broadcast_to(lag, sent.shape[2:])
    for wait in np.unique(each):
        if wait < steps:
            arrived[:, wait:] |= sent[:, : steps - wait] & (each == wait)
    return arrived


def steps_delivered(lag: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """How many of an image's steps deliver something sent in the same image: `max(0, T - lag)`, of `late`'s shape."""
    return np.maximum(0, steps - lag)
