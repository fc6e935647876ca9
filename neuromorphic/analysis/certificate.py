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

Hence a population is exact where `log2(B 2^(k + max(a T, a (T-1) + 1))) <= 24`.  A decay d = p / 2^a needs the same,
and one bit more where d > 1/2, since d (x - v) reaches 2 d B.  A leak toward l and a reset to r count as currents: B
covers them, and 2^-k.  The comparison with the threshold
takes no arithmetic beyond this: the sign of a float32 difference is right even where the difference is rounded.

Integrate-and-fire, `v += x`, grows: `log2(T B 2^k) <= 24`.  A synaptic current `i += d' (w x - i)` before the membrane
adds its own a' T to a T.  A soft reset is written as a membrane (`LI` or `I`) whose spikes come back as a current in
the next step, which B covers like the others; the comparison behind it (`Threshold`) computes nothing.

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

These are the rungs: 24 bits, float32; 53 bits, float64, for graphs that 24 are too few for; the same with decays
snapped to p / 2^a.  Nodes on no rung are named, with the reason, and what a run of theirs shows holds for that run.

What is proven is proven of direct sums of products, with or without fused multiply-add, and of nothing else: Winograd
and Fourier convolutions, TF32 and bfloat16 round.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.bounds import (
    POPULATIONS,
    Range,
    attention_terms,
    fraction_bits,
    magnitude_bits,
    propagate,
    sources,
)
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from neuromorphic.ops.parameters import gain

LIMIT = 24
"""Bits of a float32's significand: integers up to 2^24 are exact."""

COARSE_DECAY = 10
"""Decays that are multiples of 2^-10 are told from those that no grid of use holds."""

NEURONS = (nir.LIF, nir.IF, nir.CubaLIF, nir.LI, nir.I)
"""Types of nodes with membranes."""

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
        decay_bits: a, where a decay was snapped to a multiple of 2^-a; None where none was.
    """

    bound: float
    grid_bits: int
    bits_needed: int
    limit: int
    exact: bool
    reason: str
    decay_bits: int | None = None

    @property
    def rung(self) -> str:
        """What the proof rests on: the bits of a significand, and snapped decays; or no proof."""
        if not self.exact:
            return "no proof"
        return f"{self.limit} bits" + ("" if self.decay_bits is None else ", snapped decay")


@dataclass(frozen=True)
class Certificate:
    """What was proven of a graph: `nodes` by name in alphabetical order, for `time_steps` from rest.

    Attributes:
        time_steps: T.
        nodes: by name.
        constant: whether frames are the same at every time step of an image.
        limit: bits that nodes before the last neurons may take.
    """

    time_steps: int
    nodes: dict[str, NodeCertificate]
    constant: bool = True
    limit: int = LIMIT

    @property
    def exact(self) -> bool:
        """Whether every node is proven exact."""
        return all(node.exact for node in self.nodes.values())

    @property
    def unproven(self) -> tuple[str, ...]:
        """Names of the nodes that are not."""
        return tuple(name for name, node in self.nodes.items() if not node.exact)

    @property
    def rungs(self) -> dict[str, int]:
        """How many nodes stand on each rung."""
        found = [node.rung for node in self.nodes.values()]
        return {rung: found.count(rung) for rung in sorted(set(found))}

    def to_dict(self) -> dict[str, Any]:
        """The certificate as a JSON-compatible dictionary."""
        return {
            "exact": self.exact,
            "limit": self.limit,
            "frames": "the same at every time step of an image" if self.constant else "any at every time step",
            "time_steps": self.time_steps,
            "nodes": {name: {**asdict(node), "rung": node.rung} for name, node in self.nodes.items()},
        }


def certify(
    graph: nir.NIRGraph,
    frames: Range,
    time_steps: int,
    dt: float,
    limit: int = LIMIT,
    obstacles: Mapping[str, str] = MappingProxyType({}),
    decay_bits: Mapping[str, int] = MappingProxyType({}),
) -> Certificate:
    """Prove what can be proven, from the graph's own weights.

    Args:
        graph: of the nodes that `export` writes.
        frames: range of the input, per channel.
        time_steps: T, after which membranes are at rest again.
        dt: seconds per time step.
        limit: bits that nodes before the last neurons may take: 24, or 53 where everything computes in float64.
        obstacles: by node, what makes a proof impossible though its numbers would allow it.
        decay_bits: by node, a of decays that were snapped to multiples of 2^-a.
    """
    reads, returns = propagate(graph, frames, time_steps, dt)
    allowed = limits(graph, limit)
    before = sources(graph)
    nodes: dict[str, NodeCertificate] = {}
    for name in sorted(graph.nodes):
        node = graph.nodes[name]
        if isinstance(node, nir.Threshold):
            (membrane,) = before[name]
            nodes[name] = _judge(reads[name].bound, reads[name].bits, 0, "", allowed[membrane])
        elif isinstance(node, NEURONS):
            nodes[name] = _population(node, reads[name], time_steps, dt, limit)
        elif isinstance(node, SpikingSelfAttention):
            nodes[name] = _attention(node, returns[name])
        elif isinstance(node, nir.Conv2d | nir.SumPool2d | nir.Affine | nir.Linear | nir.Scale | MaxPool2d):
            nodes[name] = _sums(reads[name], read_limit(allowed, before[name]), returns[name], allowed[name])
        else:
            continue
        reason = nodes[name].reason or obstacles.get(name, "")
        nodes[name] = replace(nodes[name], exact=not reason, reason=reason, decay_bits=decay_bits.get(name))
    return Certificate(time_steps, nodes, frames.constant, limit)


def limits(graph: nir.NIRGraph, limit: int = LIMIT) -> dict[str, int]:
    """Bits that each node may take: 53 where it reads currents and no population is behind it, else `limit`."""
    before = sources(graph)
    analog: set[str] = set()
    for name, read in before.items():
        node = graph.nodes[name]
        weighted = isinstance(node, nir.Conv2d | nir.Affine | nir.Linear | SpikingSelfAttention)
        if weighted or (not isinstance(node, POPULATIONS) and not analog.isdisjoint(read)):
            analog.add(name)
    driving = {name for name in before if isinstance(graph.nodes[name], POPULATIONS)}
    for name in reversed(before):
        if name in driving:
            driving.update(before[name])
    readout = {name for name, read in before.items() if name not in driving and not analog.isdisjoint(read)}
    return {name: READOUT_LIMIT if name in readout else limit for name in before}


def read_limit(limit: dict[str, int], read: list[str]) -> int:
    """Bits that the sum of the nodes `read` may take: as they come, it is computed in float32 or in float64."""
    return max(limit[source] for source in read)


def population_bits(neurons: nir.NIRNode, current: Range, bits: int, time_steps: int, dt: float) -> int:
    """Bits that neurons need whose current, before the gain, lies in `current`'s bounds on the grid 2^-bits.

    A decay that is no multiple of 2^-10 counts as the power of two below it; nothing is proven of it.
    """
    factor = gain(neurons.r, dt) if isinstance(neurons, nir.IF | nir.I) else neurons.r
    factor = np.abs(np.asarray(factor, np.float64))
    if isinstance(neurons, nir.CubaLIF):
        factor = factor * np.abs(np.asarray(neurons.w_in, np.float64))
    others = [np.asarray(getattr(neurons, name, 0.0), np.float64) for name in ("v_leak", "v_reset")]
    k = max(bits + fraction_bits(factor), *(fraction_bits(x) for x in others))
    bound = max(float((factor * current.positive).max()), float((factor * current.negative).max()))
    bound = max(bound + float(np.abs(others[0]).max()), float(np.abs(others[1]).max()))
    if isinstance(neurons, nir.IF | nir.I):
        return magnitude_bits(time_steps * bound + float(np.abs(others[1]).max()), k)
    rates = [_decay(getattr(neurons, name), dt) for name in ("tau", "tau_mem", "tau_syn") if hasattr(neurons, name)]
    a = sum(_decay_bits(rate) for rate in rates)
    half = int(any(0.5 < rate.max() < 1 for rate in rates))
    still = current.constant and isinstance(neurons, nir.LIF) and not half and not any(x.any() for x in others)
    if not still:
        return magnitude_bits(bound, k + max(a * time_steps + half, a * (time_steps - 1) + 1))
    threshold = float(neurons.v_threshold.max())
    return max(magnitude_bits(bound, k), magnitude_bits(threshold, k + a + max(a * time_steps, 1)))


def _decay_bits(decay: NDArray[np.float64]) -> int:
    """A of a decay p / 2^a; of one that is none, of the power of two below it."""
    bits = max(0, fraction_bits(decay))
    return bits if bits <= COARSE_DECAY else int(np.ceil(-np.log2(decay.min())))


def _decay(tau: NDArray[np.floating], dt: float) -> NDArray[np.float64]:
    """`dt / tau`, computed in float32 as readers do."""
    steps = np.asarray(tau, np.float32) / np.float32(dt)
    return np.asarray(np.float32(1) / steps, np.float64)


def _sums(read: Range, read_limit: int, result: Range, limit: int) -> NodeCertificate:
    first, needed = (magnitude_bits(r.bound, r.bits) for r in (read, result))
    obstacle = _excess(read.bound, read.bits, first, read_limit)
    return _judge(result.bound, result.bits, max(first, needed), obstacle, limit)


def _attention(node: SpikingSelfAttention, result: Range) -> NodeCertificate:
    obstacle = "" if np.frexp(node.scale)[0] == 0.5 else f"scale is {node.scale}; expected a power of two"
    return _judge(result.bound, result.bits, magnitude_bits(attention_terms(node), 0), obstacle, LIMIT)


def _population(neurons: nir.NIRNode, read: Range, time_steps: int, dt: float, limit: int) -> NodeCertificate:
    needed = population_bits(neurons, read, read.bits, time_steps, dt)
    obstacle = ""
    taus = [getattr(neurons, name) for name in ("tau", "tau_mem", "tau_syn") if hasattr(neurons, name)]
    if any(fraction_bits(_decay(tau, dt)) > COARSE_DECAY for tau in taus):
        tau = max(float((np.asarray(tau) / np.float32(dt)).max()) for tau in taus)
        obstacle = f"tau is {tau:g} time steps, whose inverse is no multiple of 2^-{COARSE_DECAY}"
    return _judge(read.bound, read.bits, needed, obstacle, limit)


def _judge(bound: float, bits: int, needed: int, obstacle: str, limit: int) -> NodeCertificate:
    obstacle = obstacle or _excess(bound, bits, needed, limit)
    return NodeCertificate(bound, bits, needed, limit, not obstacle, obstacle)


def _excess(bound: float, bits: int, needed: int, limit: int) -> str:
    if needed <= limit:
        return ""
    name = "float32" if limit == LIMIT else "float64"
    return f"values up to {bound:g} on multiples of 2^{-bits} need {needed} bits; {name} has {limit}"
