"""Synaptic operations: spikes times the synapses that they travel along."""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.cluster.ranges import batches
from neuromorphic.ir.trace import SpikeTrain

CHUNK = 2**24
"""Bytes of packed spikes that are looked at in one go."""


def synaptic_operations(train: SpikeTrain, fan_outs: NDArray[np.int64]) -> NDArray[np.int64]:
    """`SOPs[n, t] = Σ_f f · |spikes[n, t] ∧ (fan_out = f)|`: one SOP is one spike arriving at one synapse.

    Neurons of equal fan-out are counted together, in the packed bits: positions of a map differ at its borders only,
    and where strides skip some.

    Args:
        train: spikes of a population.
        fan_outs: int64 `[neurons]`.

    Returns:
        int64 `[images, T]`.
    """
    images, steps, width = train.bits.shape
    operations = np.zeros((images, steps), np.int64)
    masks = [(int(f), np.packbits(fan_outs == f)) for f in np.unique(fan_outs) if f]
    chunk = max(1, CHUNK // max(1, steps * width))
    for part in batches(images, chunk):
        for fan_out, mask in masks:
            operations[part] += fan_out * spikes_per_step(train.bits[part] & mask)
    return operations


def spikes_per_step(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Spikes in packed bits `[images, T, bytes]`: int64 `[images, T]`."""
    return np.asarray(np.bitwise_count(bits).sum(-1, dtype=np.int64))
