"""The certificate: which nodes of a graph compute without rounding, for every image and in any order.

An integer of magnitude up to 2^24 is a float32, so a sum is exact in any order where every partial sum is a multiple
of some 2^-k and at most `2^24 2^-k`.  A weighted sum (convolution, pooling, readout) bounded by B on the grid 2^-k
therefore needs `log2(B 2^k) <= 24` bits.

A LIF population reads a current x, |x| <= B, a multiple of 2^-k (both after multiplication with its gain), and
computes `v += d (x - v)` with d = 2^-a, T times from rest:

- Where x and v lie in [-B, B], so does v + d (x - v), a mean of both; a reset to 0 stays there too.
- If v is a multiple of 2^-(k + a (t-1)) before step t, then v + d (x - v) is one of 2^-(k + a t).  So membranes need
  `log2(B 2^(k + a T))` bits.
- x - v lies in [-2B, 2B] on 2^-(k + a (T-1)), which takes `k + a (T-1) + 1` for the exponent: no more, unless a = 0.
- d x, d v and the difference of the two lie in [-B, B] on 2^-(k + a T): covered.  The same holds of v - d v.

Hence a population is exact where `log2(B 2^(k + max(a T, a (T-1) + 1))) <= 24`.  The comparison with the threshold
takes no arithmetic beyond this: the sign of a float32 difference is right even where the difference is rounded.

Where x is the same at every step, as behind the first convolutions of an image, less is enough.  With x <= 0 no v is
ever above 0, rounded or not, since every operation is monotone: no spike.  With x > 0, `v_1 = d x` is exact; either it
fires and v = 0 again, or x < h / d for the threshold h, and then x, all v and all differences lie in [0, h / d], on
2^-(k + a T).  So `log2(B 2^k) <= 24` and `log2(h 2^(k + a + max(a T, 1))) <= 24` do.

A maximum is one of the values that it is taken of, so `MaxPool2d` needs the bits of what it reads.

Self-attention of spikes sums products of spikes, 0 or 1: `Kᵀ V` up to H W of them, `Q (Kᵀ V)` up to d H W, nothing
negative, so `log2(d H W) <= 24` covers every partial sum, of `(Q Kᵀ) V` too.  The factor behind them is exact where it
is a power of two.

The published encoder reads its residual stream out, not spikes: its values alone may take 24 bits, and their sum over
tokens times the weights of the readout takes more.  Such nodes, which read currents and have no population behind them,
are computed in float64 and judged by its 53 bits.  Their results are the same float64 numbers everywhere, which each
implementation rounds once, to the same float32 outputs.  What torch adds up in float32, the stream itself, is judged
by 24 bits like the rest (`read_limit`).

What is proven is proven of direct sums of products, with or without fused multiply-add, and of nothing else: Winograd
and Fourier convolutions, TF32 and bfloat16 round.
"""

from dataclasses import asdict, dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from export.bounds import Range, attention_terms, fraction_bits, magnitude_bits, propagate, sources
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention

LIMIT = 24
"""Bits of a float32's significand: integers up to 2^24 are exact."""

READOUT_LIMIT = 53
"""Bits of a float64's significand, which nodes that read currents may take where nothing behind them spikes."""


@dataclass(frozen=True)
class NodeCertificate:
    """What was proven of one node.

    Attributes:
        bound: of any partial sum; of a population, of its current before the gain.
        grid_bits: k of the grid 2^-k that these sums lie on.
        bits_needed: of the integers that the node computes with, membranes included, without sign.
        limit: the bits that there are: 24 of a float32, 53 of a float64.
        exact: whether the node is proven not to round.
        reason: why not; empty where exact.
    """

    bound: float
    grid_bits: int
    bits_needed: int
    limit: int
    exact: bool
    reason: str


@dataclass(frozen=True)
class Certificate:
    """What was proven of a graph: `nodes` by name in alphabetical order, for `time_steps` from rest."""

    time_steps: int
    nodes: dict[str, NodeCertificate]

    @property
    def exact(self) -> bool:
        """Whether every node is proven exact."""
        return all(node.exact for node in self.nodes.values())

    @property
    def unproven(self) -> tuple[str, ...]:
        """Names of the nodes that are not."""
        return tuple(name for name, node in self.nodes.items() if not node.exact)

    def to_dict(self) -> dict[str, Any]:
        """The certificate as a JSON-compatible dictionary."""
        return {
            "exact": self.exact,
            "limit": LIMIT,
            "frames": "the same at every time step of an image",
            "time_steps": self.time_steps,
            "nodes": {name: asdict(node) for name, node in self.nodes.items()},
        }


def certify(graph: nir.NIRGraph, frames: Range, time_steps: int, dt: float) -> Certificate:
    """Prove what can be proven, from the graph's own weights.

    Args:
        graph: of Input, Conv2d, SumPool2d, Flatten, Affine, LIF, Output and the two extension nodes.
        frames: range of the input, per channel.
        time_steps: T, after which membranes are at rest again.
        dt: seconds per time step.
    """
    reads, returns = propagate(graph, frames)
    limit = limits(graph)
    before = sources(graph)
    nodes: dict[str, NodeCertificate] = {}
    for name in sorted(graph.nodes):
        node = graph.nodes[name]
        if isinstance(node, nir.LIF):
            nodes[name] = _population(node, reads[name], time_steps, dt)
        elif isinstance(node, SpikingSelfAttention):
            nodes[name] = _attention(node, returns[name])
        elif isinstance(node, nir.Conv2d | nir.SumPool2d | nir.Affine | MaxPool2d):
            nodes[name] = _sums(reads[name], read_limit(limit, before[name]), returns[name], limit[name])
    return Certificate(time_steps, nodes)


def limits(graph: nir.NIRGraph) -> dict[str, int]:
    """Bits that each node may take: 53 where it reads currents and no population is behind it, else 24."""
    before = sources(graph)
    analog: set[str] = set()
    for name, read in before.items():
        node = graph.nodes[name]
        weighted = isinstance(node, nir.Conv2d | nir.Affine | SpikingSelfAttention)
        if weighted or (not isinstance(node, nir.LIF) and not analog.isdisjoint(read)):
            analog.add(name)
    driving: set[str] = set()
    for name in reversed(before):
        if isinstance(graph.nodes[name], nir.LIF):
            driving.add(name)
        if name in driving:
            driving.update(before[name])
    readout = {name for name, read in before.items() if name not in driving and not analog.isdisjoint(read)}
    return {name: READOUT_LIMIT if name in readout else LIMIT for name in before}


def read_limit(limit: dict[str, int], read: list[str]) -> int:
    """Bits that the sum of the nodes `read` may take: as they come, it is computed in float32 or in float64."""
    return max(limit[source] for source in read)


def population_bits(lif: nir.LIF, current: Range, bits: int, time_steps: int, dt: float) -> int:
    """Bits that a population needs whose current, before the gain, lies in `current`'s bounds on the grid 2^-bits.

    A tau that isn't a power of two counts as the next one above; nothing is proven of it.
    """
    gain = np.abs(np.asarray(lif.r, np.float64))
    k = bits + fraction_bits(gain)
    bound = max(float((gain * current.positive).max()), float((gain * current.negative).max()))
    a = max(0, int(np.ceil(np.log2(float(_steps(lif, dt).max())))))
    if not current.constant:
        return magnitude_bits(bound, k + max(a * time_steps, a * (time_steps - 1) + 1))
    threshold = float(lif.v_threshold.max())
    return max(magnitude_bits(bound, k), magnitude_bits(threshold, k + a + max(a * time_steps, 1)))


def _steps(lif: nir.LIF, dt: float) -> NDArray[np.float32]:
    """Tau in time steps, divided in float32 as readers do."""
    return np.asarray(np.asarray(lif.tau, np.float32) / np.float32(dt), np.float32)


def _sums(read: Range, read_limit: int, result: Range, limit: int) -> NodeCertificate:
    first, needed = (magnitude_bits(r.bound, r.bits) for r in (read, result))
    obstacle = _excess(read.bound, read.bits, first, read_limit)
    return _judge(result.bound, result.bits, max(first, needed), obstacle, limit)


def _attention(node: SpikingSelfAttention, result: Range) -> NodeCertificate:
    obstacle = "" if np.frexp(node.scale)[0] == 0.5 else f"scale is {node.scale}; expected a power of two"
    return _judge(result.bound, result.bits, magnitude_bits(attention_terms(node), 0), obstacle, LIMIT)


def _population(lif: nir.LIF, read: Range, time_steps: int, dt: float) -> NodeCertificate:
    steps = _steps(lif, dt)
    obstacle = ""
    if np.any(np.frexp(steps)[0] != 0.5) or steps.min() < 1:
        obstacle = f"tau is {float(steps.max())} time steps; expected a power of two"
    elif np.any(lif.v_leak) or np.any(lif.v_reset):
        obstacle = "v_leak or v_reset is not 0"
    return _judge(read.bound, read.bits, population_bits(lif, read, read.bits, time_steps, dt), obstacle, LIMIT)


def _judge(bound: float, bits: int, needed: int, obstacle: str, limit: int) -> NodeCertificate:
    obstacle = obstacle or _excess(bound, bits, needed, limit)
    return NodeCertificate(bound, bits, needed, limit, not obstacle, obstacle)


def _excess(bound: float, bits: int, needed: int, limit: int) -> str:
    if needed <= limit:
        return ""
    name = "float32" if limit == LIMIT else "float64"
    return f"values up to {bound:g} on multiples of 2^{-bits} need {needed} bits; {name} has {limit}"
