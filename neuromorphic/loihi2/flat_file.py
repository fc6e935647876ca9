"""A graph as NIR's nodes in one flat graph, for files whose nodes are no longer those that were read."""

from math import prod

import nir
import numpy as np

from neuromorphic.errors import RefusedInput, named
from neuromorphic.ir.graph import Graph, Node, unused
from neuromorphic.ops import Conv2d, Neurons, Shape
from neuromorphic.reading.nesting import flat


def written_flat(graph: Graph, given: Graph, raw: nir.NIRGraph) -> tuple[nir.NIRGraph, dict[str, int]]:
    """`graph` as a graph of NIR, and the groups of its block-diagonal kernels by node, for the metadata.

    Where shapes differ along an edge a `Flatten` is added, which our graphs do without.  Nodes that the graph `given`
    of the file `raw` has, too, are written as they are there.
    """
    before, *_ = flat(raw, graph.source)
    written: dict[str, nir.NIRNode] = {}
    edges: list[tuple[str, str]] = []
    groups: dict[str, int] = {}
    leaves: dict[str, Shape] = {name: _shape(node, node.shape, graph) for name, node in graph.nodes.items()}
    for name, node in graph.nodes.items():
        same = name in given.nodes and _same(node, given.nodes[name])
        like = before.get(name) if same else None
        written[name] = _conv1d(node) if like is None and _is_1d(node, graph) else _node(node, graph, like)
        if isinstance(node.operation, Conv2d) and node.operation.groups > 1 and np.all(written[name].groups == 1):
            groups[name] = node.operation.groups
        shape = _read_shape(node, graph, leaves)
        for index, source in enumerate(node.sources):
            if leaves[source] == shape:
                edges.append((source, name))
                continue
            flatten = unused(f"{name}.flat{index}", graph.nodes, written)
            with named(graph.source):
                written[flatten] = _flatten(name, leaves[source], shape)
            edges += [(source, flatten), (flatten, name)]
    return nir.NIRGraph(written, edges, metadata=raw.metadata, type_check=False), groups


def _node(node: Node, graph: Graph, like: nir.NIRNode | None) -> nir.NIRNode:
    written = node.operation.write(node.shapes, graph.metadata.dt, like)
    if like is not None:
        written.metadata = like.metadata
    return written


def _same(node: Node, other: Node) -> bool:
    return (type(node.operation), node.sources, node.shapes) == (type(other.operation), other.sources, other.shapes)


def _is_1d(node: Node, graph: Graph) -> bool:
    """Whether a convolution is a `Conv1d` of `[C, N]` in NIR; our graphs have maps `[C, N, 1]` for it."""
    return isinstance(node.operation, Conv2d) and any(_flat_source(graph, source) for source in node.sources)


def _flat_source(graph: Graph, name: str) -> bool:
    node = graph.nodes[name]
    return _is_1d(node, graph) if isinstance(node.operation, Conv2d) else len(node.shape) == 2


def _shape(node: Node, shape: Shape, graph: Graph) -> Shape:
    """The shape as NIR has it."""
    return shape[:2] if _is_1d(node, graph) else shape


def _read_shape(node: Node, graph: Graph, leaves: dict[str, Shape]) -> Shape:
    """The input shape of a node as NIR has it; `[n]` for neurons in a map that read a matrix."""
    shape = _shape(node, node.input_shape, graph)
    in_a_row = (prod(shape),)
    rows = isinstance(node.operation, Neurons) and any(leaves[source] == in_a_row for source in node.sources)
    return in_a_row if rows else shape


def _conv1d(node: Node) -> nir.Conv1d:
    conv = node.of(Conv2d)
    one = conv.write(node.shapes, 1.0)
    return nir.Conv1d(
        node.input_shape[1], one.weight[..., 0], conv.stride[0], conv.padding[0], conv.dilation[0], one.groups, one.bias
    )


def _flatten(reader: str, shape: Shape, wanted: Shape) -> nir.Flatten:
    """The node that makes `wanted` of `shape`, for `reader`.

    Raises:
        RefusedInput: NIR has none.
    """
    for start in range(len(shape)):
        for end in range(start, len(shape)):
            if (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]) == wanted:
                return nir.Flatten({"input": np.array(shape)}, start, end)
    raise RefusedInput(f"{reader} reads {list(shape)} as {list(wanted)}; NIR has no node that a file could say it by")
