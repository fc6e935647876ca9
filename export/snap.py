"""Snapping: weights and biases rounded to multiples of 2^-k, with the largest k for which nothing ever rounds again.

The k of a population is the largest with which its current and its membranes need no more than 24 bits
(`certificate.population_bits`).  A layer that several populations read takes the smallest of their k; its weights lie
on `2^-(k - b)` where it reads values on 2^-b, its biases on 2^-k.
"""

from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

from export.bounds import Range, magnitude_bits, propagate
from export.certificate import LIMIT, population_bits

Weighted = nir.Conv2d | nir.Affine

FINEST_BITS = 30
"""Weights finer than this are not worth keeping: the search starts here."""

COARSEST_BITS = 7
"""A layer's largest weight keeps at least 2^7 steps (8 bits with its sign), whatever that does to the proof."""


@dataclass(frozen=True)
class Grid:
    """Weights are multiples of 2^-weight_bits, biases of 2^-bias_bits; either may be negative."""

    weight_bits: int
    bias_bits: int


def snap(graph: nir.NIRGraph, frames: Range, time_steps: int, dt: float) -> dict[str, Grid]:
    """Round the weights of `graph`, in place; returns the grid of every layer with weights.

    Requires: what `certificate.certify` requires; each layer with weights is read by populations or the output.
    Ensures: every population whose tau is a power of two is exact, and so is every readout, unless that takes a grid so
    coarse that it would change the layer (`COARSEST_BITS`; the certificate then names the node).  Rounding can lift a
    bound over a power of two: k is then lowered and the original weights are rounded again.
    """
    originals = {
        name: (node.weight.copy(), node.bias.copy()) for name, node in graph.nodes.items() if isinstance(node, Weighted)
    }
    bits = dict.fromkeys((n for n, node in graph.nodes.items() if isinstance(node, nir.LIF | Weighted)), FINEST_BITS)
    _coarsen(graph, frames, bits, time_steps, dt)
    grids = _round(graph, frames, originals, bits)
    while _coarsen(graph, frames, bits, time_steps, dt):
        grids = _round(graph, frames, originals, bits)
    return grids


def _coarsen(graph: nir.NIRGraph, frames: Range, bits: dict[str, int], time_steps: int, dt: float) -> bool:
    """Lower the k of every node in `bits` until its present bounds fit; returns whether any was lowered."""
    reads, returns = propagate(graph, frames)
    before = dict(bits)
    for name in bits:
        node = graph.nodes[name]
        while (
            population_bits(node, reads[name], bits[name], time_steps, dt)
            if isinstance(node, nir.LIF)
            else magnitude_bits(returns[name].bound, bits[name])
        ) > LIMIT:
            bits[name] -= 1
    return bits != before


def _round(
    graph: nir.NIRGraph,
    frames: Range,
    originals: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
    bits: dict[str, int],
) -> dict[str, Grid]:
    reads, _ = propagate(graph, frames)
    grids: dict[str, Grid] = {}
    for name, (weight, bias) in originals.items():
        readers = [after for before, after in graph.edges if before == name and after in bits]
        weight_bits = min(bits[n] for n in (name, *readers)) - reads[name].bits
        weight_bits = max(weight_bits, COARSEST_BITS - int(np.frexp(np.abs(weight).max())[1]))
        k = weight_bits + reads[name].bits
        grids[name] = Grid(weight_bits, k)
        node = graph.nodes[name]
        node.weight, node.bias = _nearest(weight, weight_bits), _nearest(bias, k)
    return grids


def _nearest(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """The nearest multiples of 2^-bits, halves to even."""
    return np.asarray(np.ldexp(np.round(np.ldexp(values.astype(np.float64), bits)), -bits), np.float32)
