"""Snapping: weights and biases rounded to multiples of 2^-k, with the largest k for which nothing ever rounds again.

The k of a population is the largest with which its current and its membranes need no more than 24 bits
(`certificate.population_bits`).  A layer that several populations read, perhaps behind a maximum, takes the smallest of
their k; its weights lie on `2^-(k - b)` where it reads values on 2^-b, its biases on 2^-k.  What a readout adds up of
currents must fit into 24 bits like a population's current; its own weights get what its limit of 53 bits leaves them.
"""

from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.bounds import POPULATIONS, Range, fraction_bits, magnitude_bits, propagate, sources
from neuromorphic.analysis.certificate import LIMIT, NEURONS, limits, population_bits, read_limit
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention

Weighted = nir.Conv2d | nir.Affine
Pooling = nir.SumPool2d | MaxPool2d

FINEST_BITS = 30
"""Weights finer than this are not worth keeping: the search starts here."""

COARSEST_BITS = 7
"""A layer's largest weight keeps at least 2^7 steps (8 bits with its sign), whatever that does to the proof."""


COARSEST = -64
"""Grids are searched down to this: what then still doesn't fit is not proven, and named."""


@dataclass(frozen=True)
class Grid:
    """Weights are multiples of 2^-weight_bits, biases of 2^-bias_bits; either may be negative."""

    weight_bits: int
    bias_bits: int


def snap(graph: nir.NIRGraph, frames: Range, time_steps: int, dt: float, most: int = LIMIT) -> dict[str, Grid]:
    """Round the weights of `graph`, in place; returns the grid of every layer with weights.

    `most` are the bits that nodes before the last neurons may take.

    Requires: what `certificate.certify` requires; the outputs of layers with weights are read by populations,
    poolings or the graph's output.
    Ensures: every population whose tau is a power of two is exact, and so is every readout, unless that takes a grid so
    coarse that it would change the layer (`COARSEST_BITS`; the certificate then names the node).  Rounding can lift a
    bound over a power of two: k is then lowered and the original weights are rounded again.
    """
    originals = {
        name: (node.weight.copy(), node.bias.copy()) for name, node in graph.nodes.items() if isinstance(node, Weighted)
    }
    limit = limits(graph, most)
    bits = {
        name: FINEST_BITS if limit[name] == most or isinstance(node, Pooling) else limit[name]
        for name, node in graph.nodes.items()
        if isinstance(node, (*NEURONS, nir.Conv2d, nir.Affine, nir.SumPool2d, MaxPool2d))
    }
    _coarsen(graph, frames, bits, limit, time_steps, dt, most)
    grids = _round(graph, frames, originals, bits)
    while _coarsen(graph, frames, bits, limit, time_steps, dt, most):
        grids = _round(graph, frames, originals, bits)
    return grids


def _coarsen(
    graph: nir.NIRGraph,
    frames: Range,
    bits: dict[str, int],
    limit: dict[str, int],
    time_steps: int,
    dt: float,
    most: int,
) -> bool:
    """Lower the k of every node in `bits` until its present bounds fit; returns whether any was lowered."""
    reads, returns = propagate(graph, frames, time_steps)
    before, read = dict(bits), sources(graph)
    for name in bits:
        node = graph.nodes[name]
        sum_limit = read_limit(limit, read[name])
        while bits[name] > COARSEST and (
            population_bits(node, reads[name], bits[name], time_steps, dt) > most
            if isinstance(node, NEURONS)
            else magnitude_bits(returns[name].bound, bits[name]) > limit[name]
            or (isinstance(node, Pooling) and magnitude_bits(reads[name].bound, bits[name]) > sum_limit)
        ):
            bits[name] -= 1
    return bits != before


def _round(
    graph: nir.NIRGraph,
    frames: Range,
    originals: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
    bits: dict[str, int],
) -> dict[str, Grid]:
    """Round the layers from the input on, so that each finds the grid of what it reads settled."""
    readers = _readers(graph)
    lies_on: dict[str, int] = {}
    grids: dict[str, Grid] = {}
    for name, read in sources(graph).items():
        node = graph.nodes[name]
        # Around a cycle a source may come later: what is sent there are spikes.
        lies_on[name] = max((lies_on.get(source, 0) for source in read), default=frames.bits)
        if isinstance(node, Weighted):
            weight, bias = originals[name]
            weight_bits = min(FINEST_BITS, min(bits[n] for n in (name, *readers[name])) - lies_on[name])
            weight_bits = max(weight_bits, COARSEST_BITS - int(np.frexp(np.abs(weight).max())[1]))
            lies_on[name] += weight_bits
            grids[name] = Grid(weight_bits, lies_on[name])
            node.weight, node.bias = _nearest(weight, weight_bits), _nearest(bias, lies_on[name])
        elif isinstance(node, POPULATIONS):
            lies_on[name] = 0
        elif isinstance(node, nir.Scale):
            lies_on[name] += fraction_bits(node.scale)
        elif isinstance(node, SpikingSelfAttention):
            lies_on[name] = fraction_bits(np.array(node.scale))
    return {name: grids[name] for name in originals}


def _readers(graph: nir.NIRGraph) -> dict[str, set[str]]:
    """The populations that each node's values reach without a weight between, and the poolings on the way."""
    read = sources(graph)
    found: dict[str, set[str]] = {name: set() for name in read}
    for name in reversed(read):
        node = graph.nodes[name]
        passing = isinstance(node, Pooling)
        reached = {name} if isinstance(node, NEURONS) else {name, *found[name]} if passing else set()
        for source in read[name]:
            found[source] |= reached
    return found


def _nearest(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """The nearest multiples of 2^-bits, halves to even."""
    return np.asarray(np.ldexp(np.round(np.ldexp(values.astype(np.float64), bits)), -bits), np.float32)
