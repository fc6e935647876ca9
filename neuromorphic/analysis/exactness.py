"""Which nodes of a graph float32 computes exactly, and which need float64."""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.facts import fact
from neuromorphic.analysis.intervals import fractions, graded_intervals
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import normalisation
from neuromorphic.ops import Sink, Source

SINGLE = 24
"""Bits of a float32's significand, and the limit of a proof that names none."""


@fact
def doubles(graph: Graph) -> frozenset[str]:
    """Names of the nodes that have to compute in float64.

    Those whose sums the exporter's certificate proves exact in float64 only (`limit` 53, not 24 bits); and, where it
    leaves a single node unproven, every node.  Of a graph in integers, those whose sums may need more than 24 bits.
    """
    if graph.precision == "loihi2":
        return _wide(graph)
    proofs = graph.metadata.certificate.get("nodes", {})
    computing = [n.name for n in graph.nodes.values() if not isinstance(n.operation, Source | Sink)]
    if not all(proofs.get(name, {}).get("exact") is True for name in computing):
        return frozenset(computing)
    return frozenset(name for name in computing if proofs[name].get("limit", SINGLE) != SINGLE)


def _wide(graph: Graph) -> frozenset[str]:
    """Names of the nodes with a sum of integers, read or returned, that may reach 2^24, and of those of fractions.

    Every term may be 0, so partial sums stay within the bounds of the whole.
    """
    sums = graded_intervals(graph)
    large = {name for name, x in sums.items() if max(-x.low.min(), x.high.max()) >= 2**SINGLE} | fractions(graph)
    readers = {name: [reader.name for reader in graph.readers(name)] for name in graph.nodes}
    return frozenset(name for name in graph.nodes if name in large or not large.isdisjoint(readers[name]))


def exact_on(graph: Graph, frames: NDArray[np.float32]) -> bool:
    """Whether a graph of floats computes `frames` without rounding: as its file proves, for pixels on its grid.

    Args:
        graph: with the exporter's certificate in its metadata.
        frames: float32 `[N, *input shape]` or `[N, T, *input shape]`.
    """
    settings, bits = graph.metadata.preprocessing, graph.metadata.input_bits
    if graph.precision != "float" or not graph.metadata.certificate.get("exact") or not settings or bits is None:
        return False
    mean, std = normalisation(graph.metadata, graph.source)
    grid = 2.0**bits
    low, high = np.floor(((0 - mean) / std).min() * grid), np.ceil(((255 - mean) / std).max() * grid)
    on_grid = frames.astype(np.float64) * grid
    return bool((on_grid == np.rint(on_grid)).all() and on_grid.min() >= low and on_grid.max() <= high)
