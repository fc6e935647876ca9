"""A graph: its nodes, in topological order, with shapes; what `reading` makes of a file, and everything else walks."""

from collections.abc import Mapping
from dataclasses import dataclass

from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ops.operations import Conv1d, Conv2d, Delay, LoihiLif, Membranes, Operation, Population, Shape


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Attributes:
        name: its name in the file.
        operation: what it computes, with its parameters.
        sources: names of the nodes whose outputs it sums.
        input_shape: shape of that sum.
        shape: shape of its output, without time and batch.
    """

    name: str
    operation: Operation
    sources: tuple[str, ...]
    input_shape: Shape
    shape: Shape

    @property
    def spiking(self) -> bool:
        """Whether its output is a spike train."""
        return isinstance(self.operation, Population)

    @property
    def neurons(self) -> bool:
        """Whether it is made of neurons: populations, and membranes that are its output."""
        return isinstance(self.operation, Population | Membranes)


def in_one_row(node: Node, conv: Conv1d) -> tuple[Node, Conv2d]:
    """The node of a `Conv1d` as that of the `Conv2d` of maps `[C, 1, N]` that it is, and this convolution."""
    weight = conv.weight[:, :, None]
    flat_map = Conv2d(weight, conv.bias, (1, conv.stride), (0, conv.padding), (1, conv.dilation), conv.groups)
    (channels, size), (out_channels, out_size) = node.input_shape, node.shape
    return Node(node.name, flat_map, node.sources, (channels, 1, size), (out_channels, 1, out_size)), flat_map


@dataclass(frozen=True)
class Graph:
    """A NIR graph, validated.

    Attributes:
        nodes: by name, in topological order: sources come before what reads them in the same step.
        input: name of the one input node.
        output: name of the one output node.
        metadata: what the exporter wrote of time, images, labels and grids.
        source: file that it was read from, for messages.
        recurrent: edges on cycles that deliver a step later, as (neuron, reader), flattening looked through
            (`recurrence`).
    """

    nodes: Mapping[str, Node]
    input: str
    output: str
    metadata: GraphMetadata
    source: str
    recurrent: frozenset[tuple[str, str]] = frozenset()

    @property
    def populations(self) -> tuple[Node, ...]:
        """The spiking nodes, in topological order."""
        return tuple(node for node in self.nodes.values() if node.spiking)

    @property
    def precision(self) -> str:
        """`loihi2` where populations compute in the integers of the chip, else `float`."""
        return "loihi2" if any(isinstance(node.operation, LoihiLif) for node in self.populations) else "float"

    def lag(self, source: str, reader: str) -> int:
        """`reader` sums at step t what `source` sent at step `t - lag` of an image; flattening looked through."""
        operation = self.nodes[reader].operation
        own = operation.lag if isinstance(operation, Delay) else 0
        return own + int((source, reader) in self.recurrent)

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that have `name` among their sources."""
        return tuple(node for node in self.nodes.values() if name in node.sources)
