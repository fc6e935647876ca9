"""Fuses matrices and convolutions with the linear nodes that they read.

    W2 (W1 x + b1) + b2 = (W2 W1) x + W2 b1 + b2

A fused graph sends the same, but for the rounding of products.  The second node keeps its name, and reads what the
first one reads.  Where it sums several linear nodes, there is a product for each, and all readers of the second node
read all products.  Nodes that nothing reads any more are removed.
"""

from collections.abc import Collection
from dataclasses import replace

from neuromorphic.analysis.order import arranged
from neuromorphic.ir.graph import Graph, Node, unused
from neuromorphic.ops import Affine, Conv2d, Linear
from neuromorphic.ops.products import product


def fused(graph: Graph, names: Collection[str]) -> Graph:
    """`graph`, in which those of the nodes `names` that read linear nodes are fused with them where they can be."""
    nodes = dict(graph.nodes)
    waiting = [name for name in graph.nodes if name in names]
    while waiting:
        node = nodes[waiting.pop(0)]
        made = _products(nodes, node)
        if made is None:
            continue
        nodes |= {each.name: each for each in made}
        _read_all(nodes, node.name, [each.name for each in made])
        waiting += [each.name for each in made if any(_linear(nodes, s) for s in each.sources)]
    if all(node is graph.nodes.get(name) for name, node in nodes.items()):
        return graph
    unread = {name for name in graph.nodes if _linear(nodes, name) and graph.readers(name)}
    return arranged(graph, _without_unread(nodes, unread))


def _linear(nodes: dict[str, Node], name: str) -> bool:
    return isinstance(nodes[name].operation, Linear)


def _products(nodes: dict[str, Node], node: Node) -> list[Node] | None:
    """Nodes whose outputs add up to the output of `node`, the first with its name; None where nothing can be fused."""
    found: list[Node] = []
    left, second = list(node.sources), node.operation
    if not isinstance(second, Affine | Conv2d):
        return None
    for source in node.sources:
        before = nodes[source]
        if not isinstance(before.operation, Linear):
            continue
        # The bias is added once.
        one = product(before.operation, before.shapes, second.unbiased() if found else second, node.shapes)
        if one is None:
            return None
        operation, shapes = one
        left.remove(source)
        found.append(Node(node.name, operation, before.sources, *shapes))
    if not found:
        return None
    if left:  # its other sources, which are not linear
        found.append(replace(node, operation=second.unbiased(), sources=tuple(left)))
    return [each if not i else replace(each, name=unused(f"{node.name}.{i}", nodes)) for i, each in enumerate(found)]


def _read_all(nodes: dict[str, Node], name: str, parts: list[str]) -> None:
    """Let every reader of `name` read all of `parts` instead."""
    if len(parts) == 1:
        return
    for reader in [node for node in nodes.values() if name in node.sources]:
        sources = [s for source in reader.sources for s in (parts if source == name else [source])]
        nodes[reader.name] = replace(reader, sources=tuple(sorted(sources)))


def _without_unread(nodes: dict[str, Node], some: set[str]) -> dict[str, Node]:
    """`nodes` without those of `some` that nothing reads, again and again."""
    left = dict(nodes)
    while unread := some & (left.keys() - {s for node in left.values() for s in node.sources}):
        for name in unread:
            del left[name]
    return left
