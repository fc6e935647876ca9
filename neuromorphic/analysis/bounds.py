"""Bounds: how large any partial sum inside a graph can get, and the finest dyadic grid that its values lie on.

Each value is bounded by the sum p of its largest positive contributions and the sum n of its largest negative ones,
0 among both: whatever part of the contributions is summed, in whatever order, the result stays within [-n, p].  For a
convolution with weights w that reads values bounded by (p, n), w+ and w- being its positive and negative parts,

    p' = w+ p + w- n + b+        n' = w+ n + w- p + b-

and (p, n) of a spike is (1, 0).  Where several nodes are summed, their p and n add up.  A value on the grid of
multiples of 2^-k times a weight on 2^-m lies on 2^-(k+m).

A maximum of values is one of them: it keeps (p, n) and the grid of what it reads.  Self-attention of spikes,
`scale · Σ_i q_i Σ_m k_im v_m` over d channels and N tokens, sums d N products of spikes: (p, n) = (scale d N, 0).

Whatever sends spikes bounds a cycle: a spike is a spike, whatever caused it.  Membranes that are sent on (`LI`, `I`)
are bounded for T steps from rest; their grid is their populations' business (`certificate`).
"""

from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

import nir
import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.metadata import DEFAULT_DT
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from neuromorphic.ops.parameters import gain

Values = NDArray[np.float64]

POPULATIONS = (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold)
"""Types of nodes that send spikes."""

MEMBRANES = (nir.LI, nir.I)
"""Types of nodes that send their membranes."""


@dataclass(frozen=True)
class Range:
    """Bounds of an array's partial sums, per channel.

    Attributes:
        positive, negative: p and n, float64, broadcastable to the array: `[C, 1, 1]` or `[n]`.
        bits: every value is a multiple of 2^-bits.
        constant: whether the array is the same at every time step of an image, as are the frames and what is computed
            of them before the first neurons.
    """

    positive: Values
    negative: Values
    bits: int
    constant: bool = False

    @property
    def bound(self) -> float:
        """The largest magnitude that any partial sum of any element reaches."""
        return float(max(self.positive.max(), self.negative.max()))

    def __add__(self, other: "Range") -> "Range":
        positive, negative = self.positive + other.positive, self.negative + other.negative
        return Range(positive, negative, max(self.bits, other.bits), self.constant and other.constant)


def fraction_bits(values: NDArray[np.floating]) -> int:
    """The least k, perhaps negative, such that all `values` are multiples of 2^-k; 0 where all are 0.

    Raises:
        RefusedInput: a value is not finite.
    """
    x = np.asarray(values, np.float64)
    if not np.isfinite(x).all():
        raise RefusedInput("a value is not finite; expected numbers")
    mantissa, exponent = np.frexp(x[x != 0])
    if not mantissa.size:
        return 0
    # x = i 2^(exponent - 53) with an integer i; the lowest set bit of i says how far it can be shifted down.
    integers = np.abs(np.ldexp(mantissa, 53)).astype(np.int64)
    zeros = np.frexp((integers & -integers).astype(np.float64))[1] - 1
    return int((53 - exponent - zeros).max())


def pixel_range(mean: ArrayLike, std: ArrayLike, bits: int) -> Range:
    """Bounds of `(pixel - mean) / std` on multiples of 2^-bits, per channel: of all 256 levels, and 0 for padding.

    Args:
        mean: `[C]`, in pixel units.
        std: the same.
        bits: of the grid that frames are rounded to.
    """
    middle, width = (np.asarray(values, np.float32) for values in (mean, std))
    levels = (np.arange(256, dtype=np.uint8)[:, None] - middle) / width
    levels = np.round(levels * np.float32(2.0**bits)) / np.float32(2.0**bits)
    positive, negative = (np.maximum(s * levels.astype(np.float64), 0).max(0)[:, None, None] for s in (1, -1))
    return Range(positive, negative, bits, constant=True)


def magnitude_bits(bound: float, bits: int) -> int:
    """The least n >= 0 with `bound * 2^bits <= 2^n`: what an integer on that grid needs, without its sign."""
    mantissa, exponent = np.frexp(bound)
    return max(0, int(exponent) + bits - int(mantissa == 0.5)) if bound else 0


def sources(graph: nir.NIRGraph) -> dict[str, list[str]]:
    """What each node sums, by name, with currents behind what they are made of.

    Without cycles the order is topological; a cycle is cut where its spikes are sent.
    """
    found: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for before, after in graph.edges:
        found[after].append(before)
    try:
        return {name: found[name] for name in TopologicalSorter(found).static_order()}
    except CycleError:
        currents = {
            name: [s for s in before if not isinstance(graph.nodes[s], POPULATIONS)] for name, before in found.items()
        }
        return {name: found[name] for name in TopologicalSorter(currents).static_order()}


def propagate(
    graph: nir.NIRGraph, frames: Range, time_steps: int = 1, dt: float = DEFAULT_DT
) -> tuple[dict[str, Range], dict[str, Range]]:
    """The ranges of what each node reads (the sum at its input) and of what it returns.

    For neurons the first is the current before its resistance, and the second is a spike's.

    Args:
        graph: of the nodes that `export` writes.
        frames: range of the input, per channel.
        time_steps: T, for membranes that grow with it.
        dt: seconds per time step.

    Raises:
        RefusedInput: another type of node.
    """
    reads: dict[str, Range] = {}
    returns = {name: _spike(node) for name, node in graph.nodes.items() if isinstance(node, POPULATIONS)}
    for name, before in sources(graph).items():
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            reads[name] = returns[name] = frames
            continue
        first, *rest = (returns[source] for source in before)
        reads[name] = sum(rest, start=first)
        if name not in returns:
            returns[name] = _returns(name, node, reads[name], time_steps, dt)
    return reads, returns


def _spike(node: nir.LIF | nir.IF | nir.CubaLIF | nir.Threshold) -> Range:
    rank = np.ndim(node.threshold if isinstance(node, nir.Threshold) else node.r)
    return Range(np.ones((1,) * rank), np.zeros((1,) * rank), 0)


def _returns(name: str, node: nir.NIRNode, x: Range, time_steps: int, dt: float) -> Range:
    match node:
        case nir.LI() | nir.I():
            return _membranes(node, x, time_steps, dt)
        case nir.Scale():
            return _scaled(node.scale, x)
        case nir.Conv2d():
            sums = _weighted(node, x, node.weight.shape[1])
            return replace(sums, positive=sums.positive[:, None, None], negative=sums.negative[:, None, None])
        case nir.Affine() | nir.Linear():
            return _weighted(node, x, node.weight.shape[1])
        case nir.SumPool2d():
            area = float(np.prod(np.broadcast_to(node.kernel_size, 2)))
            return replace(x, positive=area * x.positive, negative=area * x.negative)
        case nir.Flatten():
            shape = tuple(int(size) for size in node.input_type["input"])
            p, n = (np.broadcast_to(v, shape).reshape(-1) for v in (x.positive, x.negative))
            return replace(x, positive=p, negative=n)
        case SpikingSelfAttention():
            most = np.full((1, 1, 1), node.scale * attention_terms(node))
            return Range(most, np.zeros((1, 1, 1)), fraction_bits(np.array(node.scale)))
        case nir.Output() | nir.Delay() | MaxPool2d():
            return replace(x, constant=False) if isinstance(node, nir.Delay) else x
    raise RefusedInput(f"node {name!r} is of type {type(node).__name__}, for which there is no bound")


def _scaled(scale: NDArray[np.floating], x: Range) -> Range:
    """`s x`, per channel the largest of its elements' factors."""
    factors = np.asarray(scale, np.float64)
    rising, falling = (per_channel(np.maximum(sign * factors, 0)) for sign in (1, -1))
    return Range(
        np.maximum(rising * x.positive, falling * x.negative),
        np.maximum(rising * x.negative, falling * x.positive),
        x.bits + fraction_bits(factors),
        x.constant,
    )


def per_channel(values: Values) -> Values:
    """The largest value of each channel: `[C, ...]` to `[C, 1, 1]`, of vectors the values themselves."""
    return values if values.ndim < 2 else values.max(tuple(range(1, values.ndim)), keepdims=True)


def _membranes(node: nir.LI | nir.I, x: Range, time_steps: int, dt: float) -> Range:
    """A membrane that decays stays between what drives it; one that doesn't grows by it T times."""
    driven = _scaled(node.r if isinstance(node, nir.LI) else gain(node.r, dt), x)
    if isinstance(node, nir.I):
        return replace(
            driven, positive=time_steps * driven.positive, negative=time_steps * driven.negative, constant=False
        )
    leak = np.asarray(node.v_leak, np.float64)
    return Range(
        driven.positive + per_channel(np.maximum(leak, 0)),
        driven.negative + per_channel(np.maximum(-leak, 0)),
        max(driven.bits, fraction_bits(leak)),
    )


def attention_terms(node: SpikingSelfAttention) -> int:
    """`d H W`: products of three spikes that an element of self-attention sums, with d = D / heads."""
    channels, height, width = (int(n) for n in node.input_shape)
    return channels // 3 // int(node.heads) * height * width


def _weighted(node: nir.Conv2d | nir.Affine | nir.Linear, x: Range, inputs: int) -> Range:
    """Per output channel; the weight is `[out, inputs]` or `[out, inputs, height, width]`."""
    p, n = (np.broadcast_to(v.reshape(-1), inputs) for v in (x.positive, x.negative))
    taps = node.weight.astype(np.float64).reshape(*node.weight.shape[:2], -1)
    rising, falling = np.maximum(taps, 0).sum(2), np.maximum(-taps, 0).sum(2)
    bias = np.zeros(1) if isinstance(node, nir.Linear) else node.bias.astype(np.float64)
    return Range(
        rising @ p + falling @ n + np.maximum(bias, 0),
        rising @ n + falling @ p + np.maximum(-bias, 0),
        max(fraction_bits(node.weight) + x.bits, fraction_bits(bias)),
        x.constant,
    )
