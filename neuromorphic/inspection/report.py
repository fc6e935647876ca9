"""The result of an inspection: every node, totals, and whether the arithmetic is proven."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any, assert_never

import numpy as np

from neuromorphic.analysis.schedule import Schedule, schedule
from neuromorphic.analysis.soft_resets import population_of_parts, with_soft_resets
from neuromorphic.errors import number
from neuromorphic.inspection import describe
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.loihi2.scheme import KEY
from neuromorphic.ops import Delay, Linear, Membranes, Nonlinear, Operation, Population, Sink, Source, Weighted


@dataclass(frozen=True)
class NodeReport:
    """A node.

    Attributes:
        name: in the file.
        type: in the file.
        extension: whether it is an extension of NIR.
        sources: names of the nodes that it sums.
        input_shape, shape: of that sum, and of its output.
        latency: time steps from a frame's arrival to the node's answer.
        delays: by source, the time steps by which its output is delayed, without those of 0.
        neurons: their number; 0 for a node that has none.
        parameters: numbers in its weights and biases.
        synapses: that end in it; None where they were not counted.
        settings: fields of its operation.
        words: the same in words.
    """

    name: str
    type: str
    extension: bool
    sources: tuple[str, ...]
    input_shape: tuple[int, ...]
    shape: tuple[int, ...]
    latency: int
    delays: Mapping[str, int]
    neurons: int
    parameters: int
    synapses: int | None
    settings: Mapping[str, Any]
    words: str

    @property
    def sizes(self) -> list[str]:
        """Its numbers of neurons, parameters and synapses in words, without those of 0."""
        counts = ((self.neurons, "neurons"), (self.parameters, "parameters"), (self.synapses, "synapses"))
        return [f"{count:,} {what}" for count, what in counts if count]


@dataclass(frozen=True)
class Proof:
    """Whether a graph computes without rounding.

    Attributes:
        claimed: the claim of the file: `{"exact": bool, "nodes": {...}}`; None where it makes none.
        proven: the same from the file's weights alone; None without a proof.
        reason: why there is no proof.
    """

    claimed: Mapping[str, Any] | None
    proven: Mapping[str, Any] | None
    reason: str = ""

    @property
    def contradicted(self) -> tuple[str, ...]:
        """Names of the nodes that are exact by the claim of the file, but not by the proof."""
        if self.claimed is None or self.proven is None:
            return ()
        found: Mapping[str, Any] = self.proven["nodes"]
        claimed: Mapping[str, Any] = self.claimed.get("nodes", {})
        return tuple(n for n, node in found.items() if not node["exact"] and claimed.get(n, {}).get("exact"))


@dataclass(frozen=True)
class Inspection:
    """The description of a graph.

    Attributes:
        graph: that is described.
        timing: its schedule.
        nodes: in topological order.
        proof: of its arithmetic.
    """

    graph: Graph
    timing: Schedule
    nodes: tuple[NodeReport, ...]
    proof: Proof = field(default_factory=lambda: Proof(None, None))

    @property
    def totals(self) -> dict[str, int]:
        """Sums over all nodes; of synapses, those that were counted."""
        return {
            "nodes": len(self.nodes),
            "edges": sum(len(node.sources) for node in self.nodes),
            "populations": len(self.graph.populations),
            "neurons": sum(node.neurons for node in self.nodes),
            "parameters": sum(node.parameters for node in self.nodes),
            "synapses": sum(node.synapses or 0 for node in self.nodes),
        }

    @property
    def populations(self) -> str:
        """The number of populations, in words."""
        return number(len(self.graph.populations), "population")

    @property
    def extensions(self) -> tuple[str, ...]:
        """The types of extension nodes, in alphabetical order."""
        return tuple(sorted({node.type for node in self.nodes if node.extension}))

    @property
    def precision(self) -> str:
        """`loihi2` for a quantised file, else `float`."""
        return "loihi2" if KEY in self.graph.metadata.document else self.graph.precision

    def to_dict(self) -> dict[str, Any]:
        """The inspection as a JSON-compatible dictionary."""
        metadata = self.graph.metadata
        document = metadata.document
        return {
            "format_version": 1,
            "model": self.graph.source,
            "precision": self.precision,
            "dt": metadata.dt,
            "reset": metadata.reset,
            "integrators": metadata.integrators,
            "assumed": list(metadata.assumed),
            "time_steps": metadata.time_steps,
            "depth": self.timing.depth,
            "recurrent": [list(edge) for edge in sorted(self.graph.recurrent)],
            "totals": self.totals,
            "extensions": list(self.extensions),
            "input": {"shape": list(self.graph.nodes[self.graph.input].shape), "bits": metadata.input_bits},
            "inputs": {name: list(self.graph.nodes[name].shape) for name in self.graph.inputs},
            "outputs": {name: list(self.graph.nodes[name].shape) for name in self.graph.outputs},
            "preprocessing": metadata.preprocessing,
            "label_names": list(metadata.label_names),
            "readout": document.get("readout"),
            "scheme": document.get(KEY),
            "producer": document.get("producer"),
            "certificate": asdict(self.proof),
            "nodes": [asdict(node) for node in self.nodes],
        }


def inspect(graph: Graph, synapses: Mapping[str, int] | None = None, proof: Proof | None = None) -> Inspection:
    """Describe `graph`.

    Args:
        graph: any validated graph.
        synapses: that end in each node, by name, if they were counted.
        proof: of its arithmetic; without one, the claim of the file.

    Raises:
        RefusedInput: no schedule fits the graph.
    """
    timing = _timing(graph)
    nodes = tuple(_node(graph, node, timing, synapses) for node in graph.nodes.values())
    return Inspection(graph, timing, nodes, proof or Proof(graph.metadata.certificate or None, None))


def _timing(graph: Graph) -> Schedule:
    """The schedule on the chip, where the loop of a soft reset is one population: its four nodes answer together."""
    timing, whole = schedule(with_soft_resets(graph)), population_of_parts(graph)
    if not whole:
        return timing
    latency = {name: timing.latency[whole.get(name, name)] for name in graph.nodes}
    edges = ((source, node.name) for node in graph.nodes.values() for source in node.sources)
    delay = {(s, n): timing.delay.get((whole.get(s, s), whole.get(n, n)), 0) for s, n in edges}
    return Schedule(latency, delay, timing.depth)


def _node(graph: Graph, node: Node, timing: Schedule, synapses: Mapping[str, int] | None) -> NodeReport:
    delays = {s: timing.delay.get((s, node.name), 0) for s in node.sources}
    return NodeReport(
        name=node.name,
        type=node.operation.nir_name,
        extension=describe.is_extension(node.operation),
        sources=node.sources,
        input_shape=node.input_shape,
        shape=node.shape,
        latency=timing.latency[node.name],
        delays={source: steps for source, steps in delays.items() if steps},
        neurons=prod(node.shape) if node.neurons else 0,
        parameters=_parameters(node.operation),
        synapses=None if synapses is None else synapses.get(node.name, 0),
        settings=describe.numbers(node.operation),
        words=describe.words(node.operation),
    )


def _parameters(operation: Operation) -> int:
    return operation.weights.size + operation.bias_values.size if isinstance(operation, Weighted) else 0


def synapses(graph: Graph) -> dict[str, int]:
    """The number of synapses that end in each node that has some, by name.

    Neurons have synapses of weight 1: one per neuron, for each source whose spikes or frames arrive directly.
    """
    found: dict[str, int] = {}
    for node in graph.nodes.values():
        match node.operation:
            case Linear() as linear:
                found[node.name] = int(linear.fan_out(node.shapes).sum(dtype=np.int64))
            case Population():
                sources = [graph.nodes[name].operation for name in node.sources]
                found[node.name] = prod(node.shape) * sum(isinstance(s, Population | Source) for s in sources)
            case Membranes():
                found[node.name] = prod(node.shape)
            case Source() | Sink() | Delay() | Nonlinear():
                pass
            case unknown:
                assert_never(unknown)
    return found
