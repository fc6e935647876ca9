"""Plans a graph in Lava's own processes: Conv, Dense, Sparse, their versions with delays, LIFReset and LIF.

Synapses read spikes or frames, and each process of synapses leads to one population.  Spikes that have to be delayed
are delayed by synapses that can (DelayDense, DelaySparse).  Conv can't, so its input comes from relays: neurons, one
for each of the source, that repeat its spikes one step after these have passed such synapses.

Lava holds maps as [W, H, C], and so do all arrays here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, identity

import neuromorphic.ops as ops
from neuromorphic.analysis.biases import biases
from neuromorphic.analysis.schedule import schedule
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.inputs import several_ends
from neuromorphic.lava.convolution import conv_weight, conv_windows
from neuromorphic.loihi2.certificate import PopulationProof, certify_widths
from neuromorphic.ops.loihi import UNITY
from neuromorphic.ops.matrices import matrix
from neuromorphic.ops.widths import ALIGNMENT, DELAY_BITS, shift

FRAMES = "frames"
"""The source of synapses that read the graph's input."""

MOST_WAIT = 2**DELAY_BITS - 1
"""Time steps by which synapses with delays can delay spikes, besides their own."""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Synapses:
    """A process of synapses from one source to one population.

    Attributes:
        kind: Conv, Dense or Sparse.
        name: of its arrays.
        source: a population, a relay, or the frames.
        wait: its delay in time steps, besides its own step; 0 for Conv.
        arrays: weights; for Sparse, the parts of a CSR matrix.
        settings: of the process.
        fan_out: number of synapses of each element of the source, flat, in the graph's order.
    """

    kind: str
    name: str
    source: str
    wait: int
    arrays: Arrays
    settings: dict[str, Any]
    fan_out: NDArray[np.int64]


@dataclass(frozen=True)
class Relay:
    """Neurons that repeat the spikes of a source after `wait` time steps."""

    name: str
    source: str
    shape: ops.Shape
    wait: int


@dataclass(frozen=True)
class Population:
    """A LIFReset process, and the synapses that lead to it.

    Attributes:
        name: in the graph.
        shape: in Lava's order.
        arrays: vth and bias_mant, where they differ between neurons.
        settings: of the process.
        latency: step of the network, from 0, in which it answers a frame of step 0.
        relays: that its synapses are the first to read.
        synapses: that lead to it.
    """

    name: str
    shape: ops.Shape
    arrays: Arrays
    settings: dict[str, Any]
    latency: int
    relays: tuple[Relay, ...]
    synapses: tuple[Synapses, ...]


@dataclass(frozen=True)
class Plan:
    """The processes of a graph, in topological order.

    Attributes:
        input_shape: of a frame, in Lava's order.
        populations: of the chip.
        depth: the largest latency of a population.
        unproven: sentences on populations whose u or v could leave 24 bits.
        sums: for the host, by population: the matrix from its spikes to the outputs, in a step; None where the host
            does more than sum.
        constant: that the host adds in every step.
    """

    input_shape: ops.Shape
    populations: tuple[Population, ...]
    depth: int
    unproven: tuple[str, ...]
    sums: dict[str, csr_matrix] | None
    constant: NDArray[np.float64]


def plan(graph: Graph) -> Plan:
    """The plan of a graph of integers.

    Raises:
        RefusedInput: all that Lava's own processes lack for it, one sentence each.
    """
    if reasons := several_ends(graph):
        raise RefusedInput("; ".join(reasons))
    planner = _Planner(graph)
    populations = tuple(planner.population(node) for node in graph.populations)
    if planner.reasons:
        raise RefusedInput(f"{graph.source}: {'; '.join(dict.fromkeys(planner.reasons))}")
    sums, constant = host(graph)
    return Plan(
        in_lava(graph.nodes[graph.input].shape),
        populations,
        max(each.latency for each in populations),
        tuple(proof.sentence(name) for name, proof in planner.proofs.items() if not proof.proven),
        sums,
        constant,
    )


def in_lava(shape: ops.Shape) -> ops.Shape:
    """`[W, H, C]` of `[C, H, W]`."""
    return shape[::-1]


def to_lava(values: NDArray[Any], axes: int) -> NDArray[Any]:
    """`values` with the last `axes` axes in Lava's order."""
    kept = values.ndim - axes
    return np.ascontiguousarray(values.transpose(*range(kept), *reversed(range(kept, values.ndim))))


def order(shape: ops.Shape) -> NDArray[np.int64]:
    """For each element in Lava's order, its index in the graph's order."""
    return to_lava(np.arange(prod(shape)).reshape(shape), len(shape)).reshape(-1)


@dataclass
class _Path:
    """A path to a population: from a source of spikes or frames, through one node of synapses or none, with a delay."""

    source: Node
    synapses: Node | None
    wait: int


@dataclass
class _Planner:
    """Makes the populations of a plan, and collects what Lava's processes lack.

    Attributes:
        graph: in integers.
        reasons: sentences on what Lava's processes lack.
        relayed: names of the relays so far.
    """

    graph: Graph
    reasons: list[str] = field(default_factory=list)
    relayed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.timing = schedule(self.graph)
        self.proofs = certify_widths(self.graph).populations
        if self.graph.recurrent:
            edges = ", ".join(f"{a} -> {b}" for a, b in sorted(self.graph.recurrent)[:4])
            self.reasons.append(
                f"spikes that lead back ({edges}) would reach the next image; Lava's processes can't hold them up"
            )

    def population(self, node: Node) -> Population:
        """A population, with its synapses and relays."""
        settings, arrays = self._neurons(node, node.of(ops.LoihiLif))
        relays: list[Relay] = []
        synapses = tuple(self._connection(node, path, relays) for path in self._paths(node))
        latency = self.timing.latency[node.name]
        return Population(node.name, in_lava(node.shape), arrays, settings, latency, tuple(relays), synapses)

    def _neurons(self, node: Node, lif: ops.LoihiLif) -> tuple[dict[str, Any], Arrays]:
        decays = [np.unique(each) for each in (lif.decay, lif.current_decay)]
        if any(len(each) > 1 for each in decays):
            self.reasons.append(f"{node.name} has several decays; expected one, which is what a process of Lava has")
        if np.any(lif.drive):
            self.reasons.append(f"{node.name} has a drive, biases in front of currents that last; expected none")
        if not lif.rests_after_spike:
            self.reasons.append(
                f"{node.name} subtracts with its spikes, which on the chip is a neuron of microcode of one's own; "
                "expected a reset to a value, which is what Lava's processes have"
            )
        decay, current = (int(each[0]) for each in decays)
        proof = self.proofs[node.name]
        settings: dict[str, Any] = {"du": current - 1, "dv": decay, "bias_exp": lif.bias_exponent}
        if decay == UNITY:  # no memory
            settings |= {"dv": UNITY - 1} if _forgets(lif, proof) else {"dv": 0, "reset_interval": 1}
        arrays: Arrays = {}
        for key, values in (("vth", lif.threshold), ("bias_mant", lif.bias_mantissa)):
            if np.ptp(values):
                arrays[f"{node.name}.{key}"] = to_lava(values.astype(np.int32), values.ndim)
            else:
                settings[key] = int(values.flat[0])
        return settings, arrays

    def _paths(self, population: Node) -> Iterator[_Path]:
        """All paths from spikes or frames to a population."""
        waiting: list[tuple[Node, Node | None, int]] = [(population, None, 0)]
        while waiting:
            node, synapses, wait = waiting.pop()
            for name in node.sources:
                before, waited = self.graph.nodes[name], wait + self.timing.delay[name, node.name]
                match before.operation:
                    case ops.Source() | ops.Neurons():
                        yield _Path(before, synapses, waited)
                    case ops.Nonlinear():
                        self.reasons.append(
                            f"{name} is a {before.operation.nir_name}, which no process of Lava's computes"
                        )
                    case ops.Delay():
                        self.reasons.append(
                            f"{name} holds up spikes of one image, which would reach the next; expected none"
                        )
                    case ops.Affine() | ops.Scale() | ops.Conv2d() | ops.Fixed():
                        if synapses is not None:
                            self.reasons.append(f"{synapses.name} reads currents ({name}); expected spikes")
                        else:
                            waiting.append((before, before, waited))
                    case ops.Sink():
                        raise TypeError(f"node {name!r} is an output, and is read")
                    case unknown:
                        assert_never(unknown)

    def _connection(self, population: Node, path: _Path, relays: list[Relay]) -> Synapses:
        """The process of a path; if it is the first one that needs a relay, that is added to `relays`."""
        source = FRAMES if isinstance(path.source.operation, ops.Source) else path.source.name
        node = path.synapses
        label = f"{population.name} <- {source}" if node is None else node.name
        if node is not None and len(node.sources) > 1:
            label = f"{label} <- {source}"
        if node is not None and isinstance(node.operation, ops.Conv2d) and _is_conv(path, node.operation, population):
            wait = path.wait
            if wait and source != FRAMES:
                source, wait = self._relay(path.source, wait, relays), 0
            arrays, settings = _kernel(label, node.operation)
            fan_out = node.operation.fan_out(node.shapes).reshape(-1)
            return Synapses("Conv", label, source, wait, arrays, settings, fan_out)
        wait = path.wait
        if wait > MOST_WAIT and source != FRAMES:
            source, wait = self._relay(path.source, wait - MOST_WAIT, relays), MOST_WAIT
        weights = (
            identity(prod(path.source.shape), format="csr")
            if node is None
            else matrix(node.shapes, node.of(ops.Linear))
        )
        fan_out = np.diff(weights.tocsc().indptr).astype(np.int64)
        weights = csr_matrix(weights[order(population.shape)][:, order(path.source.shape)])
        weights.sort_indices()
        exponent = self._exponent(label, weights.data)
        doubled = csr_matrix(weights * 2.0 ** (1 - exponent)).astype(np.int16)
        settings = {"weight_exp": exponent - 1}
        if node is not None and isinstance(node.operation, ops.Affine):
            fan_out = np.full(fan_out.shape, doubled.shape[0])
            arrays = {f"{label}.weights": doubled.toarray()}
            return Synapses("Dense", label, source, wait, arrays, settings, fan_out)
        parts = {"data": doubled.data, "indices": doubled.indices, "indptr": doubled.indptr}
        arrays = {f"{label}.{part}": values for part, values in parts.items()}
        return Synapses("Sparse", label, source, wait, arrays, settings, fan_out)

    def _exponent(self, name: str, weight: NDArray[Any]) -> int:
        exponent = shift(weight)
        if exponent is None:
            self.reasons.append(f"{name} has weights that are not 8-bit integers times one power of two")
        return exponent or 0

    def _relay(self, source: Node, wait: int, relays: list[Relay]) -> str:
        """The relay that repeats `source` after `wait` steps; for longer delays than synapses have, relays in a row."""
        before = source.name
        while wait:
            steps = min(wait, MOST_WAIT + 1)
            name = f"{before} after {steps}"
            if name not in self.relayed:
                self.relayed.add(name)
                relays.append(Relay(name, before, in_lava(source.shape), steps))
            before, wait = name, wait - steps
        return before


def _is_conv(path: _Path, conv: ops.Conv2d, population: Node) -> bool:
    """Whether Lava's Conv can compute a convolution: without groups, evenly padded, and between maps as they are."""
    shapes = (path.source.shape, population.shape)
    ends = () if path.synapses is None else (path.synapses.input_shape, path.synapses.shape)
    return bool(conv.groups == 1 and not any(conv.beyond) and shapes == ends)


def _forgets(lif: ops.LoihiLif, proof: PopulationProof) -> bool:
    """Whether v, where it doesn't fire, is so small that losing 4095 of 4096 leaves 0."""
    return bool(max(int(lif.threshold.max()) << ALIGNMENT, -proof.membrane) < UNITY)


def _kernel(label: str, conv: ops.Conv2d) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and the settings of the process `Conv`."""
    return {f"{label}.weight": np.ascontiguousarray(conv_weight(conv), np.int32)}, {**conv_windows(conv)}


def host(graph: Graph) -> tuple[dict[str, csr_matrix] | None, NDArray[np.float64]]:
    """The matrices from the spikes of a step to its outputs, None where the host does more than sum, and a constant."""
    shape = graph.nodes[graph.output].shape
    constant = biases(graph)[graph.output].reshape(-1)
    found: dict[str, csr_matrix] = {}
    waiting: list[tuple[str, Any]] = [
        (s, identity(prod(shape), format="csr")) for s in graph.nodes[graph.output].sources
    ]
    while waiting:
        name, rows = waiting.pop()
        node = graph.nodes[name]
        match node.operation:
            case ops.ChipPopulation():
                behind = csr_matrix(rows[:, order(node.shape)])
                found[name] = found[name] + behind if name in found else behind
            case ops.Affine() | ops.Scale() | ops.Conv2d() as weighted:
                waiting += [(s, rows @ matrix(node.shapes, weighted)) for s in node.sources]
            case ops.Fixed() as fixed:
                waiting += [(s, rows @ matrix(node.shapes, fixed) / fixed.divisor) for s in node.sources]
            case ops.Source() | ops.Sink() | ops.Delay() | ops.Nonlinear() | ops.Neurons():
                return None, constant
            case unknown:
                assert_never(unknown)
    return found, constant
