"""Snapping: weights and biases rounded to multiples of 2^-k, with the largest k for which nothing ever rounds again.

A population whose current is bounded by B stays exact on the grid 2^-k where `B 2^(k + h) <= 2^24`, h being the bits
that its membranes add (`certificate.headroom`).  So its k is `24 - h - ceil(log2 B)`.  A layer that several populations
read takes the smallest of their k; its weights lie on `2^-(k - b)` where it reads values on 2^-b, its biases on 2^-k.
"""

from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

from export.bounds import Range, magnitude_bits, propagate
from export.certificate import LIMIT, headroom

Weighted = nir.Conv2d | nir.Affine

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
    room = {
        name: LIMIT - (headroom(node, time_steps, dt) if isinstance(node, nir.LIF) else 0)
        for name, node in graph.nodes.items()
        if isinstance(node, nir.LIF | Weighted)
    }
    bits = {name: room[name] - magnitude_bits(bound, 0) for name, bound in _bounds(graph, frames, room).items()}
    while True:
        grids = _round(graph, frames, originals, bits)
        exceeding = [
            name
            for name, bound in _bounds(graph, frames, room).items()
            if magnitude_bits(bound, bits[name]) > room[name]
        ]
        if not exceeding:
            return grids
        for name in exceeding:
            bits[name] -= 1


def _bounds(graph: nir.NIRGraph, frames: Range, room: dict[str, int]) -> dict[str, float]:
    """Per population the bound of its current (before the gain), per layer with weights that of its own sums."""
    reads, returns = propagate(graph, frames)
    return {name: (reads if isinstance(graph.nodes[name], nir.LIF) else returns)[name].bound for name in room}


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
