"""Synaptic operations: spikes times the synapses that they travel along."""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.trace import SpikeTrain

CHUNK = 2**24
"""Spikes that are unpacked at a time, at a byte each."""


def synaptic_operations(train: SpikeTrain, fan_outs: NDArray[np.int64]) -> NDArray[np.int64]:
    """`SOPs[n, k] = Σ_t Σ_i spike[n, t, i] · fan_out[i, k]`: one SOP is one spike arriving at one synapse.

    Args:
        train: spikes of a population.
        fan_outs: int64 `[neurons, k]`, one column per node that reads the population.

    Returns:
        int64 `[images, k]`.
    """
    images, steps = train.bits.shape[:2]
    operations = np.zeros((images, fan_outs.shape[1]), np.int64)
    chunk = max(1, CHUNK // max(1, steps * train.neurons))
    for start in range(0, images, chunk):
        spikes = train.unpack(start, start + chunk)
        per_neuron = spikes.reshape(*spikes.shape[:2], -1).sum(1, dtype=np.int64)
        operations[start : start + chunk] = per_neuron @ fan_outs
    return operations
