"""Spiking self-attention `Q (Kᵀ V)`: both of its products, counted under three conventions.

With d channels per head and N tokens, in every head and time step anew:

    product    terms                          coincidences             one-sided    dense
    Kᵀ V       k[i, m] · v[j, m]              both are 1               nnz(K) · d   d · d · N
    Q (Kᵀ V)   q[i, n] · (Kᵀ V)[i, j]         q is 1, the sum isn't 0  nnz(Q) · d   d · d · N

Spikes are 0 or 1: every term is a selection and an addition, and there is no multiplication.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.graph import Node
from neuromorphic.ir.trace import SpikeTrain
from neuromorphic.ops import SelfAttention

CHUNK = 2**22
"""Elements of spikes and of sums `Kᵀ V` that are in memory at a time."""


@dataclass(frozen=True)
class ProductCounts:
    """Additions of one product, under three conventions; `coincidences <= one_sided <= dense`, step by step.

    Attributes:
        coincidences: int64 `[images, T]`, terms of which neither factor is zero.
        one_sided: int64 `[images, T]`, terms of which the spike that comes first, of K or of Q, is 1: it is carried to
            all d channels of the other factor, whatever they hold.
        dense: terms, over all images and steps.
    """

    coincidences: NDArray[np.int64]
    one_sided: NDArray[np.int64]
    dense: int


@dataclass(frozen=True)
class AttentionCounts:
    """Additions of one self-attention node.

    Attributes:
        source: name of the population that holds Q, K and V.
        spikes: of it that arrive, over all images and steps.
        updates: of its neurons, over all images and steps: the spikes at a firing rate of 1.
        sums: of `Kᵀ V`.
        outputs: of `Q (Kᵀ V)`.
        dense_scores_first: terms of both products in the order `(Q Kᵀ) V`, over all images and steps: that of the
            published code, quadratic in the number of tokens.
    """

    source: str
    spikes: int
    updates: int
    sums: ProductCounts
    outputs: ProductCounts
    dense_scores_first: int

    @property
    def per_step(self) -> NDArray[np.int64]:
        """Coincidences of both products, which totals go by: int64 `[images, T]`."""
        return self.sums.coincidences + self.outputs.coincidences

    @property
    def per_image(self) -> NDArray[np.int64]:
        """The same: int64 `[images]`."""
        return np.asarray(self.per_step.sum(1))

    @property
    def coincidences(self) -> int:
        """Of both products, over all images."""
        return int(self.per_step.sum())

    @property
    def one_sided(self) -> int:
        """Of both products, over all images."""
        return int(self.sums.one_sided.sum() + self.outputs.one_sided.sum())

    @property
    def dense(self) -> int:
        """Terms of both products in the order `Q (Kᵀ V)`, over all images and steps."""
        return self.sums.dense + self.outputs.dense

    def totals(self) -> dict[str, int]:
        """Both products under every convention, over all images."""
        return {
            "coincidences": self.coincidences,
            "one_sided": self.one_sided,
            "dense": self.dense,
            "dense_scores_first": self.dense_scores_first,
        }


def attention_counts(node: Node, operation: SelfAttention, train: SpikeTrain) -> AttentionCounts:
    """The additions of a self-attention node on the spikes of the population that it reads.

    Args:
        node: reads one population.
        operation: of `node`.
        train: the spikes of that population as they arrive, `[3 D, H, W]` per step.
    """
    images, steps = train.bits.shape[:2]
    heads, tokens = operation.heads, prod(node.shape[1:])
    width = node.shape[0] // heads
    sums, outputs = np.zeros((2, images, steps), np.int64), np.zeros((2, images, steps), np.int64)
    chunk = max(1, CHUNK // (steps * (train.neurons + heads * width * width)))
    for start in range(0, images, chunk):
        part = slice(start, start + chunk)
        spikes = train.unpack(part.start, part.stop).reshape(-1, steps, 3, heads, width, tokens)
        q, k, v = np.moveaxis(spikes, 2, 0)
        # Spikes of all channels of a head, by token: their products are the coincidences, without the d · d sums.
        met = k.sum(-2, dtype=np.int64) * v.sum(-2, dtype=np.int64)
        # A sum of spikes is zero in float32 only if it is zero, however large the others are.
        filled = k.astype(np.float32) @ v.astype(np.float32).swapaxes(-1, -2) > 0
        fired = q.sum(-1, dtype=np.int64)
        sums[:, part] = [_per_step(met), width * _per_step(k)]
        outputs[:, part] = [_per_step(fired * filled.sum(-1, dtype=np.int64)), width * _per_step(fired)]
    frames = images * steps
    dense = heads * width * width * tokens * frames
    return AttentionCounts(
        source=node.sources[0],
        spikes=train.count(),
        updates=train.neurons * frames,
        sums=ProductCounts(sums[0], sums[1], dense),
        outputs=ProductCounts(outputs[0], outputs[1], dense),
        dense_scores_first=2 * heads * width * tokens * tokens * frames,
    )


def _per_step(counts: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Sums of each image and step: int64 `[images, T]`."""
    return np.asarray(counts.reshape(*counts.shape[:2], -1).sum(2, dtype=np.int64))
