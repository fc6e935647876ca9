"""The certificate: which nodes of a graph compute without rounding, for every input and in any order of additions.

Every integer of magnitude up to 2^24 is a float32.  So a sum is exact in any order if every partial sum is a multiple
of some 2^-k and at most `2^24 2^-k`: a weighted sum (convolution, pooling, readout) that is bounded by B and lies on
the grid 2^-k needs `log2(B 2^k) <= 24` bits.  Neurons need the bits of their membranes (`ops.charging`).  A maximum is
one of its inputs, so `MaxPool2d` needs the bits of its input.

Self-attention of spikes sums products of spikes, which are 0 or 1: up to H W of them in `Kᵀ V`, up to d H W in
`Q (Kᵀ V)`, none of them negative.  So `log2(d H W) <= 24` covers every partial sum, also of `(Q Kᵀ) V`.  The factor
after them is exact if it is a power of two.

The published encoder's readout reads the residual stream, not spikes: its values alone may take 24 bits, and their sum
over tokens, times the weights of the readout, takes more.  Such nodes, which read currents and have no population
behind them, are computed in float64 and judged by its 53 bits.  Every implementation then gets the same float64
numbers, and rounds them once, to the same float32 outputs.  The stream itself, which is added up in float32, is judged
by 24 bits like all other nodes (`read_limit`).

A node is proven on one of three rungs: 24 bits, in float32; 53 bits, in float64, for graphs that need more than 24; or
either with decays that were snapped to p / 2^a.  Nodes on no rung are named, with the reason; a comparison of a run of
theirs holds for that run only.

The proof holds for direct sums of products, with or without fused multiply-add, and for nothing else: Winograd and
Fourier convolutions, TF32 and bfloat16 round.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, assert_never

import neuromorphic.ops as ops
from neuromorphic.analysis.facts import fact, wiring_fact
from neuromorphic.analysis.frame_sums import frame_sums
from neuromorphic.analysis.intervals import currents_in_order
from neuromorphic.analysis.partial_sums import partial_sums
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops.dyadic import is_power_of_two, magnitude_bits

SINGLE = 24
"""Bits of a float32's significand: integers up to 2^24 are exact."""

DOUBLE = 53
"""Bits of a float64's significand, for nodes that read currents and have no population behind them."""


@dataclass(frozen=True)
class NodeCertificate:
    """The proof of one node.

    Attributes:
        bound: of any partial sum; for a population, of its current before the gain.
        grid_bits: k of the grid 2^-k that these sums lie on; None where they lie on no grid.
        bits_needed: bits of the integers that the node computes with, membranes included, without sign.
        limit: the bits that are available: 24 in float32, 53 in float64.
        exact: whether the node is proven not to round.
        reason: why not; empty where exact.
        decay_bits: a, where a decay was snapped to a multiple of 2^-a; else None.
    """

    bound: float
    grid_bits: int | None
    bits_needed: int
    limit: int
    exact: bool
    reason: str
    decay_bits: int | None = None

    @property
    def rung(self) -> str:
        """The premise of the proof: the bits of a significand, and snapped decays; or no proof."""
        if not self.exact:
            return "no proof"
        return f"{self.limit} bits" + ("" if self.decay_bits is None else ", snapped decay")


@dataclass(frozen=True)
class Certificate:
    """The proof of a graph: `nodes` by name in alphabetical order, for `time_steps` from rest.

    Attributes:
        time_steps: T.
        nodes: by name.
        constant: whether frames are the same at every time step of an image.
        limit: bits that nodes before the last neurons may take.
    """

    time_steps: int
    nodes: dict[str, NodeCertificate]
    constant: bool = True
    limit: int = SINGLE

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
    graph: Graph,
    frames: ops.Sums,
    time_steps: int,
    limit: int = SINGLE,
    obstacles: Mapping[str, str] = MappingProxyType({}),
    decay_bits: Mapping[str, int] = MappingProxyType({}),
) -> Certificate:
    """Prove, from the graph's own weights, which nodes are exact.

    Args:
        graph: of floats.
        frames: bounds and grid of the input.
        time_steps: T, after which membranes are at rest again.
        limit: bits that nodes before the last neurons may take: 24, or 53 where everything computes in float64.
        obstacles: by node, a reason why it isn't exact although its numbers allow it.
        decay_bits: by node, a of decays that were snapped to multiples of 2^-a.
    """
    reads, sends = partial_sums(graph, frames, time_steps)
    allowed = limits(graph, limit)
    nodes: dict[str, NodeCertificate] = {}
    for name in sorted(graph.nodes):
        node = graph.nodes[name]
        claim = _claim(node, reads[name], sends[name], allowed, time_steps)
        if claim is not None:
            nodes[name] = _judged(claim, obstacles.get(name, ""), decay_bits.get(name))
    return Certificate(time_steps, nodes, frames.constant, limit)


@fact
def proven(graph: Graph) -> Certificate | None:
    """The certificate of a graph of floats in float32, from its weights; in float64 where its file claims that.

    None where the file doesn't say how many time steps an image has, or what its frames are (`frame_sums`); and for a
    graph with a cycle around which currents could grow.
    """
    narrow = _certified(graph, SINGLE)
    if narrow is None or narrow.exact or graph.metadata.certificate.get("limit") != DOUBLE:
        return narrow
    return proven_in_doubles(graph)


@fact
def proven_in_doubles(graph: Graph) -> Certificate | None:
    """The certificate of a graph of floats in which every node computes in float64; None as of `proven`."""
    return _certified(graph, DOUBLE)


def _certified(graph: Graph, limit: int) -> Certificate | None:
    frames, steps = frame_sums(graph), graph.metadata.time_steps
    if frames is None or steps is None or graph.precision != "float":
        return None
    try:
        return certify(graph, frames, steps, limit)
    except RefusedInput:
        return None


@wiring_fact
def readout_nodes(graph: Graph) -> frozenset[str]:
    """Names of the nodes that read currents, weighted spikes, and have no population behind them."""
    analog: set[str] = set()
    order = currents_in_order(graph)
    for name in order:
        node = graph.nodes[name]
        weighted = isinstance(node.operation, ops.Affine | ops.Conv2d | ops.SelfAttention)
        if weighted or (not node.spiking and not analog.isdisjoint(node.sources)):
            analog.add(name)
    driving = {name for name in order if graph.nodes[name].spiking}
    for name in reversed(order):
        if name in driving:
            driving.update(graph.nodes[name].sources)
    return frozenset(
        name for name, node in graph.nodes.items() if name not in driving and not analog.isdisjoint(node.sources)
    )


def limits(graph: Graph, limit: int = SINGLE) -> dict[str, int]:
    """Bits that each node may take: 53 of a readout's, else `limit`."""
    wide = readout_nodes(graph)
    return {name: DOUBLE if name in wide else limit for name in graph.nodes}


def read_limit(allowed: Mapping[str, int], read: Collection[str]) -> int:
    """Bits that the sum of the nodes `read` may take: it is computed in float64 if one of them is, else in float32."""
    return max(allowed[source] for source in read)


@dataclass(frozen=True)
class _Claim:
    """The claim that sums up to `bound` on the grid 2^-bits need `needed` bits, at most `limit`; or an obstacle."""

    bound: float
    bits: int | None
    needed: int
    limit: int
    obstacle: str = ""


def _claim(node: Node, read: ops.Sums, sent: ops.Sums, allowed: Mapping[str, int], steps: int) -> _Claim | None:
    """The claim that has to hold for a node; None for a node that computes nothing."""
    name, operation, sources = node.name, node.operation, node.sources
    match operation:
        case ops.Source():
            return None
        case ops.Sink() | ops.Delay():
            return None if len(sources) == 1 else _sum(read, read_limit(allowed, sources))
        case ops.SelfAttention(scale=scale):
            size, tokens = operation.head(node.shapes)
            terms = magnitude_bits(size * tokens, 0)
            obstacle = "" if is_power_of_two(scale) else f"scale is {scale}; expected a power of two"
            return _Claim(sent.bound, sent.bits, terms, SINGLE, obstacle)
        case ops.Affine() | ops.Conv2d() | ops.Scale() | ops.Fixed() | ops.Nonlinear():
            first, then = _sum(read, read_limit(allowed, sources)), _sum(sent, allowed[name])
            return _Claim(then.bound, then.bits, max(first.needed, then.needed), then.limit, _excess(first))
        case ops.Threshold():
            limit = read_limit(allowed, sources)
            return _Claim(read.bound, read.bits, 0, limit) if len(sources) == 1 else _sum(read, limit)
        case (
            ops.Lif()
            | ops.If()
            | ops.CubaLif()
            | ops.SoftLif()
            | ops.SoftIf()
            | ops.Integrator()
            | ops.Li()
            | ops.CubaLi()
        ):
            charging = operation.charging
            if read.bits is None:
                return _sum(read, allowed[name])
            needed = charging.bits_needed(read, steps)(read.bits)
            return _Claim(read.bound, read.bits, needed, allowed[name], charging.obstacle)
        case ops.ChipPopulation():
            raise TypeError(f"node {name!r}: integers of a chip need no proof of rounding")
        case unknown:
            assert_never(unknown)


def _sum(sums: ops.Sums, limit: int) -> _Claim:
    needed = 0 if sums.bits is None else magnitude_bits(sums.bound, sums.bits)
    return _Claim(sums.bound, sums.bits, needed, limit)


def _excess(claim: _Claim) -> str:
    """Why the claim doesn't hold; empty where it does."""
    if claim.obstacle:
        return claim.obstacle
    if claim.bits is None:
        return "what it reads lies on no dyadic grid, so that it is rounded"
    if claim.needed <= claim.limit:
        return ""
    name = "float32" if claim.limit == SINGLE else "float64"
    return (
        f"values up to {claim.bound:g} on multiples of 2^{-claim.bits} need {claim.needed} bits; {name} has "
        f"{claim.limit}"
    )


def _judged(claim: _Claim, obstacle: str, decay_bits: int | None) -> NodeCertificate:
    reason = _excess(claim) or obstacle
    return NodeCertificate(claim.bound, claim.bits, claim.needed, claim.limit, not reason, reason, decay_bits)
