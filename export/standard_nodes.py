"""Self-attention in standard nodes: every `SpikingSelfAttention` becomes neurons that multiply and count.

With q, k, v in {0, 1}, N tokens and d channels per head, the node's sums are

    y[j, n] = Σ_i q[i, n] M[i, j]        M[i, j] = Σ_m k[i, m] v[j, m]  in 0, ..., N

1. `k[i, m] ∧ v[j, m]` is a neuron, for every pair (i, j) of a head's channels at every token; M counts its spikes.
2. M is read out bit by bit, the highest first, by neurons that compare what the bits above them leave with 2^b:

       bit_b = [M - Σ_{c > b} 2^c bit_c >= 2^b]        so that        Σ_{b < B} 2^b bit_b = min(M, 2^B - 1)

3. `q[i, n] ∧ bit_b[i, j]` is a neuron again, and `scale Σ_b 2^b Σ_i` of its spikes is the current y.

All of them are stateless: with tau = dt a LIF neuron's step is `v += x - v`, so `v = x`, exactly since x is a small
integer.  What they compare with lies half way between two integers.

B is the number of bits of N, or less.  A neuron that reads nothing but this current, all of it >= 0, has v >= 0; in
exact arithmetic `v + (r x - v) / tau >= r x / tau`, so it fires whatever v is where `r x / tau` alone exceeds its
threshold, which all sums y >= c do for some c.  If `2^B - 1 >= c`, a count M that is cut off there belongs to a current
that is c or more with and without the cut: the same spike.  Behind the published attention (scale 1/8, threshold 1/2,
tau 2) c = 8 and four bits do.  In numbers of neurons: (B + 1) D d N + B D d, with D = heads d.
"""

from dataclasses import dataclass

import nir
import numpy as np
from numpy.typing import NDArray

from export.populations import DT, Shape, population
from neuromorphic.ops.extensions import SpikingSelfAttention
from spikeclip.errors import RefusedInput

CHIP_NEURONS = 128 * 8192
"""Neurons of one Loihi 2 chip: 128 cores of up to 8,192 each (Intel's technology brief of 2021)."""

KERNEL_BYTES = 2**30
"""Bytes of kernels that an expansion may take in memory: NIR holds block-diagonal kernels with all their zeros."""


@dataclass(frozen=True)
class Attention:
    """One attention node, and what it takes in standard nodes.

    Attributes:
        name: of the node.
        population: name of the population that holds Q, K and V.
        readers: names of the populations that read the node.
        heads: number of heads.
        head_width: channels per head, d.
        size: height and width of the map.
        scale: factor of the sums.
        bits: number of bits of M that are read out, B.
    """

    name: str
    population: str
    readers: tuple[str, ...]
    heads: int
    head_width: int
    size: tuple[int, int]
    scale: float
    bits: int

    @property
    def channels(self) -> int:
        """Channels of what leaves the node, D."""
        return self.heads * self.head_width

    @property
    def pairs(self) -> int:
        """Pairs (i, j) of all heads, D d."""
        return self.channels * self.head_width

    @property
    def tokens(self) -> int:
        """Positions of the map, N."""
        return self.size[0] * self.size[1]

    @property
    def neurons(self) -> int:
        """Neurons: products of K and V, bits, and products of Q with the bits."""
        return self.pairs * (self.tokens * (1 + self.bits) + self.bits)

    @property
    def synapses(self) -> int:
        """Synapses from neuron to neuron, out of the population of Q, K and V and into each of the readers."""
        to_products = 2 * self.tokens
        to_bits = self.bits * self.tokens + self.bits * (self.bits - 1) // 2
        to_gates = 2 * self.bits * self.tokens
        to_readers = self.bits * self.tokens * len(self.readers)
        return self.pairs * (to_products + to_bits + to_gates + to_readers)

    @property
    def nodes(self) -> int:
        """Nodes of the graph that stand for this one."""
        return 4 + 4 * self.bits + max(0, self.bits - 1)

    @property
    def kernel_bytes(self) -> int:
        """Bytes of the kernels."""
        of_spikes = 2 * self.pairs * 3 * self.channels
        of_bits = (self.bits - 1) * self.pairs**2
        of_currents = self.bits * self.channels * self.pairs
        return 4 * (of_spikes + of_bits + of_currents)


@dataclass(frozen=True)
class Cost:
    """The size of a graph with its attention in standard nodes.

    Attributes:
        attention: of every attention node, in the order of the graph's nodes.
        others: neurons that the graph has already.
    """

    attention: tuple[Attention, ...]
    others: int

    @property
    def neurons(self) -> int:
        """Neurons of the whole graph, expanded."""
        return self.others + sum(a.neurons for a in self.attention)

    @property
    def kernel_bytes(self) -> int:
        """Bytes of the kernels that the expansion adds."""
        return sum(a.kernel_bytes for a in self.attention)


def cost(graph: nir.NIRGraph) -> Cost:
    """The size of the graph that `expand` would make, without making it.

    Raises:
        RefusedInput: an attention node that has no such form: it reads something else than the spikes of one
            population, or something else than populations reads it, or its scale is not a power of two.
    """
    names = (name for name, node in graph.nodes.items() if isinstance(node, SpikingSelfAttention))
    others = sum(int(np.size(node.r)) for node in graph.nodes.values() if isinstance(node, nir.LIF))
    return Cost(tuple(_attention(graph, name) for name in names), others)


def expand(graph: nir.NIRGraph, neuron_limit: int = CHIP_NEURONS, kernel_limit: int = KERNEL_BYTES) -> nir.NIRGraph:
    """`graph` with every attention node replaced by Conv2d, SumPool2d and LIF nodes, named below it.

    Requires: every attention node reads the spikes of one population and is read by populations only; its scale is a
    power of two.
    Ensures: populations of `graph` keep their names and, wherever the arithmetic of those behind the attention doesn't
    round, all of their spikes.  The new neurons and currents never round.  `graph` stays as it is; what isn't
    attention is shared with it, metadata included.

    Args:
        graph: of standard nodes and `SpikingSelfAttention`.
        neuron_limit: most neurons of the whole result.
        kernel_limit: most bytes of the kernels that it adds.

    Raises:
        RefusedInput: as `cost` does, a name is taken, or the result is larger than a limit.
    """
    price = cost(graph)
    for what, found, limit, option in (
        ("neurons", price.neurons, neuron_limit, "neuron_limit (--max-neurons)"),
        ("bytes of kernels", price.kernel_bytes, kernel_limit, "kernel_limit"),
    ):
        if price.attention and found > limit:
            raise RefusedInput(
                f"the graph with {', '.join(repr(a.name) for a in price.attention)} in standard nodes takes {found:,} "
                f"{what}; the limit is {limit:,}: raise {option}, please, or keep the extension node"
            )
    replaced = {a.name for a in price.attention}
    nodes = {name: node for name, node in graph.nodes.items() if name not in replaced}
    edges = [edge for edge in graph.edges if replaced.isdisjoint(edge)]
    for attention in price.attention:
        added, wires = _standard(attention)
        for name in added:
            if name in graph.nodes:
                raise RefusedInput(f"node {name!r} has the name that a part of {attention.name!r} takes")
        nodes.update(added)
        edges.extend(wires)
    return nir.NIRGraph(nodes, edges, metadata=graph.metadata)


def _attention(graph: nir.NIRGraph, name: str) -> Attention:
    node = graph.nodes[name]
    sources = [before for before, after in graph.edges if after == name]
    readers = tuple(after for before, after in graph.edges if before == name)
    channels, height, width = shape = tuple(int(n) for n in node.input_shape)
    heads, scale = int(node.heads), float(node.scale)
    if len(sources) != 1 or not isinstance(graph.nodes[sources[0]], nir.LIF):
        raise RefusedInput(f"node {name!r} reads {' + '.join(sources) or 'nothing'}; expected one population's spikes")
    found = tuple(np.shape(graph.nodes[sources[0]].r))
    if found != shape or heads < 1 or channels % (3 * heads):
        raise RefusedInput(
            f"node {name!r} reads {list(found)} with {heads} heads; expected {list(shape)}, a third of its channels "
            "divisible by the heads"
        )
    if not readers or not all(isinstance(graph.nodes[reader], nir.LIF) for reader in readers):
        raise RefusedInput(f"node {name!r} is read by {', '.join(readers) or 'nothing'}; expected populations")
    if np.frexp(scale)[0] != 0.5:
        raise RefusedInput(f"node {name!r} has the scale {scale}; expected a power of two")
    greatest = max(_greatest(graph, name, reader, scale, height * width) for reader in readers)
    head_width = channels // 3 // heads
    return Attention(name, sources[0], readers, heads, head_width, (height, width), scale, greatest.bit_length())


def _greatest(graph: nir.NIRGraph, name: str, reader: str, scale: float, tokens: int) -> int:
    """The count M from which on `reader` can't tell one from another: c of the module's docstring, at most N."""
    lif = graph.nodes[reader]
    steps = np.asarray(lif.tau, np.float32) / np.float32(DT)
    dyadic = np.all(np.frexp(steps)[0] == 0.5) and steps.min() >= 1
    at_rest = not np.any(lif.v_leak) and not np.any(lif.v_reset) and np.all(lif.r > 0) and np.all(lif.v_threshold >= 0)
    alone = [before for before, after in graph.edges if after == reader] == [name]
    if not (dyadic and at_rest and alone):
        return tokens
    # A quotient that rounds up to an integer costs one more, never one too few.
    quotient = lif.v_threshold.astype(np.float64) * steps / (lif.r.astype(np.float64) * scale)
    return int(min(tokens, np.floor(quotient.max()) + 1))


def _standard(attention: Attention) -> tuple[dict[str, nir.NIRNode], list[tuple[str, str]]]:
    """The nodes that compute one attention node, by name, and all edges into and out of them."""
    d, channels, pairs, size = attention.head_width, attention.channels, attention.pairs, attention.size
    # Pair (i, j) of head h is channel (h d + j) d + i, so that the pairs of an output channel stand side by side.
    head, j, i = (n.reshape(-1) for n in np.indices((attention.heads, d, d)))
    q, k, v = head * d + i, channels + head * d + i, 2 * channels + head * d + j
    map_shape, point = (pairs, *size), (pairs, 1, 1)
    spread = nir.SumPool2d(np.array(size), np.array([1, 1]), np.array(size) - 1)
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[tuple[str, str]] = []

    def add(part: str, node: nir.NIRNode, *sources: str) -> str:
        name = f"{attention.name}.{part}"
        nodes[name] = node
        edges.extend((source, name) for source in sources)
        return name

    k_and_v = add("k_and_v.sum", _conv(_picks(3 * channels, k, v), size), attention.population)
    products = add("k_and_v", _at_least(2, map_shape), k_and_v)
    q_copies = add("q", _conv(_picks(3 * channels, q), size), attention.population)
    count = add("count", nir.SumPool2d(np.array(size), np.array(size), np.array([0, 0])), products)
    remainder = [count]
    for b in reversed(range(attention.bits)):
        bit = add(f"bit{b}", _at_least(2**b, point), *remainder)
        if b:
            remainder.append(add(f"bit{b}.taken", _conv(-(2.0**b) * np.eye(pairs, dtype=np.float32), (1, 1)), bit))
        everywhere = add(f"bit{b}.spread", spread, bit)
        gate = add(f"q_and_bit{b}", _at_least(2, map_shape), q_copies, everywhere)
        weight = attention.scale * 2.0**b * _picks(channels, head * d + j).T
        current = add(f"current{b}", _conv(weight, size), gate)
        edges.extend((current, reader) for reader in attention.readers)
    return nodes, edges


def grouped(attention: Attention) -> dict[str, int]:
    """The convolutions of its standard nodes whose channels don't see each other, by name, with their groups."""
    found = {f"{attention.name}.current{b}": attention.channels for b in range(attention.bits)}
    return found | {f"{attention.name}.bit{b}.taken": attention.pairs for b in range(1, attention.bits)}


def _at_least(count: int, shape: Shape) -> nir.LIF:
    """`x >= count` of integers x, without memory: tau is one step, and the threshold lies below `count` by a half."""
    return population(shape, 1.0, 1.0, np.float32(count - 0.5))


def _picks(channels: int, *picked: NDArray[np.intp]) -> NDArray[np.float32]:
    """`[pairs, channels]`: row p has ones at the channels `picked[...][p]`."""
    rows = np.arange(len(picked[0]))
    weight = np.zeros((len(rows), channels), np.float32)
    for columns in picked:
        weight[rows, columns] = 1
    return weight


def _conv(weight: NDArray[np.float32], size: tuple[int, int]) -> nir.Conv2d:
    """`y = W x` at every position of a map of that size, W `[out, in]`."""
    kernel = weight.astype(np.float32)[:, :, None, None]
    bias = np.zeros(len(weight), np.float32)
    return nir.Conv2d(size, kernel, (1, 1), (0, 0), (1, 1), groups=1, bias=bias)
