"""`Graph` and `Node`: validated, with shapes, in topological order; made by `reading`, used by all other rooms."""

import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ir.shown import Shown
from neuromorphic.ops import AnyOperation, ChipPopulation, Delay, Neurons, Population, Shape, Shapes, Sink, Source

T = TypeVar("T")


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Attributes:
        name: in the file.
        operation: its computation, with parameters.
        sources: names of the nodes whose outputs it sums; one name appears twice if its output arrives on two paths.
        input_shape: shape of that sum; the output of a source has as many elements, in the same order.
        shape: shape of its output, without time and batch.
    """

    name: str
    operation: AnyOperation
    sources: tuple[str, ...]
    input_shape: Shape
    shape: Shape

    @property
    def shapes(self) -> Shapes:
        """The input's and the output's shape, as methods of operations take them."""
        return Shapes(self.input_shape, self.shape)

    def of(self, role: Callable[..., T]) -> T:
        """Its operation, if that is an instance of `role`, as `Weighted`; else a TypeError."""
        if not isinstance(self.operation, role):  # type: ignore[arg-type]
            raise TypeError(f"node {self.name!r} is a {type(self.operation).__name__}; expected a {role.__name__}")
        return self.operation  # type: ignore[return-value]

    @property
    def spiking(self) -> bool:
        """Whether its output is a spike train."""
        return isinstance(self.operation, Population)

    @property
    def neurons(self) -> bool:
        """Whether it is made of neurons: a population, or neurons that send their membranes."""
        return isinstance(self.operation, Neurons)


@dataclass(frozen=True, repr=False, eq=False)
class Graph(Shown):
    """A validated graph; it never changes.

    Attributes:
        nodes: by name, in topological order: sources come before the nodes that read them in the same time step.
        input: name of the input node; the first one, if there are several.
        output: name of the output node; if there are several, of the one for scores and predictions.
        metadata: from the exporter, on time, images, labels and grids.
        source: file that it was read from, for messages; it doesn't count in comparisons.
        recurrent: edges on cycles that deliver one step later, as (neuron, reader) (`analysis.recurrence`).
        made_of: fingerprints of the graphs that it was made from, nearest first (`analysis.fingerprint`).
        facts: derived from it, by the function that derives them (`analysis.facts`).
        wiring: likewise, facts that follow from names, sources, shapes and types of operations alone.
    """

    nodes: Mapping[str, Node]
    input: str
    output: str
    metadata: GraphMetadata
    source: str = field(compare=False)
    recurrent: frozenset[tuple[str, str]] = frozenset()
    made_of: tuple[str, ...] = field(default=(), compare=False)
    facts: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    wiring: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def populations(self) -> tuple[Node, ...]:
        """The spiking nodes, in topological order."""
        return tuple(node for node in self.nodes.values() if node.spiking)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all input nodes, `input` first."""
        return self._ends(Source, self.input)

    @property
    def frame_shape(self) -> Shape:
        """Shape of a frame: that of the input; for several inputs, all their elements in a row (`ir.inputs`)."""
        shapes = [self.nodes[name].shape for name in self.inputs]
        return shapes[0] if len(shapes) == 1 else (sum(map(math.prod, shapes)),)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of all output nodes, `output` first."""
        return self._ends(Sink, self.output)

    def _ends(self, kind: type[Source | Sink], first: str) -> tuple[str, ...]:
        names = sorted(node.name for node in self.nodes.values() if isinstance(node.operation, kind))
        return tuple(sorted(names, key=lambda name: name != first))

    @property
    def precision(self) -> str:
        """`loihi2` where populations compute in the integers of the chip, else `float`."""
        return "loihi2" if any(isinstance(node.operation, ChipPopulation) for node in self.populations) else "float"

    def title(self) -> str:
        """The graph in one line."""
        neurons = sum(math.prod(node.shape) for node in self.populations)
        steps = "?" if self.metadata.time_steps is None else self.metadata.time_steps
        return (
            f"{self.source}: {len(self.nodes)} nodes, {neurons:,} neurons in {len(self.populations)} populations, "
            f"T = {steps}, {self.precision}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row for each node."""
        return [
            {
                "node": node.name,
                "operation": type(node.operation).__name__,
                "shape": str(list(node.shape)),
                "reads": ", ".join(node.sources),
            }
            for node in self.nodes.values()
        ]

    def lag(self, source: str, reader: str) -> int:
        """The lag of an edge: `reader` sums at step t what `source` sent at step `t - lag` of an image."""
        operation = self.nodes[reader].operation
        own = operation.lag if isinstance(operation, Delay) else 0
        return own + int((source, reader) in self.recurrent)

    @cached_property
    def edges_from(self) -> Mapping[str, tuple[str, ...]]:
        """By node, the names of the nodes that read it: one for each edge, in topological order."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            for source in node.sources:
                found[source].append(node.name)
        return {name: tuple(read) for name, read in found.items()}

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that have `name` among their sources."""
        return tuple(self.nodes[reader] for reader in dict.fromkeys(self.edges_from[name]))

    def before(self, names: Iterable[str], passes: Callable[[Node], bool]) -> frozenset[str]:
        """Names of nodes that lead to `names`: their sources, the sources of those that `passes` accepts, and so on."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            for source in self.nodes[waiting.pop()].sources:
                if source not in found:
                    found.add(source)
                    waiting += [source] if passes(self.nodes[source]) else []
        return frozenset(found)

    def assuming(self, *sentences: str) -> "Graph":
        """The same graph with further assumptions, in sentences."""
        return replace(self, metadata=replace(self.metadata, assumed=(*self.metadata.assumed, *sentences)))

    def with_operations(self, operations: Mapping[str, AnyOperation]) -> "Graph":
        """The same graph with other parameters: operations by node, each of the same type as the node's own.

        Raises:
            TypeError: one is of another type.
        """
        for name, operation in operations.items():
            if type(operation) is not type(self.nodes[name].operation):
                raise TypeError(f"node {name!r}: a {type(operation).__name__} in place of another operation")
        changed = {name: replace(self.nodes[name], operation=operation) for name, operation in operations.items()}
        result = replace(self, nodes={**self.nodes, **changed})
        object.__setattr__(result, "wiring", self.wiring)
        return result


def unused(name: str, *taken: Container[str]) -> str:
    """`name`, or `name` with as many `+` behind it as make it a name that is not `taken`."""
    while any(name in names for names in taken):
        name += "+"
    return name
