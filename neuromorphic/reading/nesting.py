"""Graphs within graphs, made flat: node `n` of subgraph `g` becomes `g.n`.

A subgraph has one input and one output.  An edge into it ends at whatever reads its input, an edge out of it begins at
whatever its output reads; its own `Input` and `Output` become a flattening of nothing where they only pass on (NIR has
no other node that leaves everything as it is), so that no two edges become one.
"""

from collections.abc import Mapping

import nir

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.reading.flattening import Passage
from neuromorphic.reading.limits import check_names

MAX_NESTING = 8
"""Subgraphs within subgraphs; the libraries that write any write one."""


Nodes = dict[str, "nir.NIRNode | Passage"]
Edges = list[tuple[str, str]]


def flat(graph: nir.NIRGraph, source: str) -> tuple[Nodes, Edges]:
    """The nodes and edges of `graph` without subgraphs.

    Raises:
        RefusedInput: more nodes or edges than `limits` allows, an edge names no node or stands twice, a subgraph has
            not one input and one output, two nodes get one name, or subgraphs are nested too deeply.
    """
    nodes: Nodes = {}
    edges: Edges = []
    _add(graph, "", nodes, edges, source)
    check_names(nodes, edges, source)
    return nodes, edges


def _add(graph: nir.NIRGraph, prefix: str, nodes: Nodes, edges: Edges, source: str) -> None:
    where = f"{source}: subgraph {prefix[:-1]!r}" if prefix else source
    if prefix.count(".") > MAX_NESTING:
        raise RefusedInput(f"{where} is nested too deeply; expected at most {MAX_NESTING} subgraphs in each other")
    check_names(graph.nodes, graph.edges, where)
    ends: dict[str, tuple[str, str]] = {}
    for name, node in graph.nodes.items():
        here = prefix + name
        if isinstance(node, nir.NIRGraph):
            entry = _only(node, nir.Input, "input", f"{source}: subgraph {here!r}")
            leave = _only(node, nir.Output, "output", f"{source}: subgraph {here!r}")
            ends[name] = (f"{here}.{entry}", f"{here}.{leave}")
            _add(node, f"{here}.", nodes, edges, source)
            continue
        if here in nodes:
            raise RefusedInput(f"{source}: two nodes are called {here!r} without their subgraphs; expected one")
        ends[name] = (here, here)
        nodes[here] = _passage(node) if prefix and isinstance(node, nir.Input | nir.Output) else node
    seen: set[tuple[str, str]] = set()
    for before, after in graph.edges:
        for end in (before, after):
            if end not in graph.nodes:
                raise RefusedInput(f"{where}: an edge names node {shown(end)}, which the graph does not have")
        if (before, after) in seen:
            raise RefusedInput(f"{where}: the edge {before!r} -> {after!r} stands twice; expected once")
        seen.add((before, after))
        edges.append((ends[before][1], ends[after][0]))


def _only(graph: nir.NIRGraph, kind: type, word: str, where: str) -> str:
    nodes: Mapping[str, nir.NIRNode] = graph.nodes
    found = [name for name, node in nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        raise RefusedInput(f"{where} has {len(found)} {word} nodes ({', '.join(found[:4]) or 'none'}); expected one")
    return found[0]


def _passage(node: nir.Input | nir.Output) -> Passage:
    declared = node.input_type["input"] if isinstance(node, nir.Input) else node.output_type["output"]
    return Passage(declared)
