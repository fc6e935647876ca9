"""Spiking self-attention `Q (Kᵀ V)`: both of its products, counted under three conventions.

With d channels per head and N tokens, in every head and time step anew:

    product    terms                          coincidences             one-sided    dense
    Kᵀ V       k[i, m] · v[j, m]              both are 1               nnz(K) · d   d · d · N
    Q (Kᵀ V)   q[i, n] · (Kᵀ V)[i, j]         q is 1, the sum isn't 0  nnz(Q) · d   d · d · N

Spikes are 0 or 1: every term is a selection and an addition, and there is no multiplication.
"""

from math import prod

import numpy as np
from numpy.typing import NDArray

from energy.counts import AttentionCounts, ProductCounts
from neuromorphic.cluster.ranges import batches
from neuromorphic.ir.graph import Node
from neuromorphic.ir.trace import SpikeTrain
from neuromorphic.ops import SelfAttention

CHUNK = 2**22
"""Elements of spikes and of sums `Kᵀ V` that are in memory at a time."""


def attention_counts(node: Node, operation: SelfAttention, train: SpikeTrain) -> AttentionCounts:
    """The additions of a self-attention node on the spikes of its population as they arrive, `[3 D, H, W]` per step."""
    images, steps = train.bits.shape[:2]
    heads, tokens = operation.heads, prod(node.shape[1:])
    width = node.shape[0] // heads
    sums, outputs = np.zeros((2, images, steps), np.int64), np.zeros((2, images, steps), np.int64)
    chunk = max(1, CHUNK // (steps * (train.neurons + heads * width * width)))
    for part in batches(images, chunk):
        spikes = train.unpack(part.start, part.stop).reshape(-1, steps, 3, heads, width, tokens)
        q, k, v = np.moveaxis(spikes, 2, 0)
        # Spikes of all channels of a head, by token: their products are the coincidences, without the d · d sums.
        coincident = k.sum(-2, dtype=np.int64) * v.sum(-2, dtype=np.int64)
        # A sum of spikes is zero in float32 only if it is zero, however large the others are.
        filled = k.astype(np.float32) @ v.astype(np.float32).swapaxes(-1, -2) > 0
        fired = q.sum(-1, dtype=np.int64)
        sums[:, part] = [_per_step(coincident), width * _per_step(k)]
        outputs[:, part] = [_per_step(fired * filled.sum(-1, dtype=np.int64)), width * _per_step(fired)]
    frames = images * steps
    dense = heads * width * width * tokens * frames
    return AttentionCounts(
        source=node.sources[0],
        spikes=train.count(),
        updates=train.neurons * frames,
        products={
            name: ProductCounts(coincidences_per_step=met, one_sided_per_step=carried, dense=dense)
            for name, (met, carried) in (("KV", sums), ("Q(KV)", outputs))
        },
        dense_scores_first=2 * heads * width * tokens * tokens * frames,
    )


def _per_step(counts: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Sums of each image and step: int64 `[images, T]`."""
    return np.asarray(counts.reshape(*counts.shape[:2], -1).sum(2, dtype=np.int64))
