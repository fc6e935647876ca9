"""Delivery: spikes in the step in which they are summed, `y[t, f] = x[t - lag[f], f]`; what arrives behind it is lost.

Nothing of one image is summed in the next, so that what is under way when an image ends never arrives.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.trace import SpikeTrain

Sent = TypeVar("Sent", np.bool_, np.int64)


def delivered(train: SpikeTrain, lag: NDArray[np.int64]) -> SpikeTrain:
    """The spikes of a population as they arrive, `lag` steps late: int64 `[neurons]`, or `[]` for one lag of all."""
    if not lag.any():
        return train
    bits = np.zeros_like(train.bits)
    steps, each = bits.shape[1], np.broadcast_to(lag, train.neurons)
    for wait in np.unique(each):
        if wait < steps:
            bits[:, wait:] |= train.bits[:, : steps - wait] & np.packbits(each == wait)
    return SpikeTrain(bits, train.shape)


def later(sent: NDArray[Sent], lag: NDArray[np.int64]) -> NDArray[Sent]:
    """An array `[images, T, *shape]` as it arrives, `lag` steps late: int64 of the size of `shape`, or `[]`."""
    if not lag.any():
        return sent
    arrived = np.zeros_like(sent)
    steps = sent.shape[1]
    each = lag.reshape(sent.shape[2:]) if lag.size > 1 else np.broadcast_to(lag, sent.shape[2:])
    for wait in np.unique(each):
        if wait < steps:
            np.copyto(arrived[:, wait:], sent[:, : steps - wait], where=each == wait)
    return arrived
