"""Makes graphs with subgraphs flat: node `n` of subgraph `g` becomes `g.n`.

A subgraph has one input and one output.  Edges into it lead to its `Input`, edges out of it start at its `Output`;
these two become a `Passage`, `y = x`, which is removed later, so that no two edges become one here.
"""

from collections.abc import Collection, Mapping

import nir

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.reading.flattening import Passage
from neuromorphic.reading.limits import check_names

MAX_NESTING = 8
"""Subgraphs within subgraphs; the libraries that write any write one."""


Nodes = dict[str, "nir.NIRNode | Passage"]
Edges = list[tuple[str, str]]


def flat(graph: nir.NIRGraph, source: str) -> tuple[Nodes, Edges, tuple[str, ...]]:
    """The nodes and edges of `graph` without subgraphs; and assumptions, in sentences.

    Raises:
        RefusedInput: more nodes or edges than `limits` allows, an edge names no node or stands twice, a subgraph has
            not one input and one output, two nodes get one name, or subgraphs are nested too deeply.
    """
    nodes: Nodes = {}
    edges: Edges = []
    assumed: list[str] = []
    _add(graph, "", nodes, edges, source, assumed)
    check_names(nodes, edges, source)
    return nodes, edges, tuple(assumed)


def _add(graph: nir.NIRGraph, prefix: str, nodes: Nodes, edges: Edges, source: str, assumed: list[str]) -> None:
    where = f"{source}: subgraph {prefix[:-1]!r}" if prefix else source
    if prefix.count(".") > MAX_NESTING:
        raise RefusedInput(f"{where} is nested too deeply; expected at most {MAX_NESTING} subgraphs in each other")
    check_names(graph.nodes, graph.edges, where)
    split = _split(graph)
    ends = {name: (f"{prefix}{name}.input", f"{prefix}{name}.output") for name in split}
    for name, node in graph.nodes.items():
        here = prefix + name
        if isinstance(node, nir.NIRGraph):
            entry = _only(node, nir.Input, "input", f"{source}: subgraph {here!r}")
            leave = _only(node, nir.Output, "output", f"{source}: subgraph {here!r}")
            ends[name] = (f"{here}.{entry}", f"{here}.{leave}")
            _add(node, f"{here}.", nodes, edges, source, assumed)
            continue
        if here in nodes:
            raise RefusedInput(f"{source}: two nodes are called {here!r} without their subgraphs; expected one")
        ends[name] = (here, here)
        inner = bool(prefix) or name.rpartition(".")[0] in split
        nodes[here] = _passage(node) if inner and isinstance(node, nir.Input | nir.Output) else node
    seen: set[tuple[str, str]] = set()
    if meant := _only_one_meant(graph, ends):
        wrong, right = meant
        ends[wrong] = ends[right]
        assumed.append(f"{where}: edges name {shown(wrong)}, and none {right!r}; they are taken for one node")
    for before, after in graph.edges:
        for end in (before, after):
            if end not in ends:
                raise RefusedInput(f"{where}: an edge names node {shown(end)}, which the graph does not have")
        if (before, after) in seen:
            raise RefusedInput(f"{where}: the edge {before!r} -> {after!r} stands twice; expected once")
        seen.add((before, after))
        edges.append((ends[before][1], ends[after][0]))


def _split(graph: nir.NIRGraph) -> frozenset[str]:
    """Names of subgraphs that are flat in the file already: edges name `g`, and nodes are `g.input` and `g.output`."""
    nodes: Mapping[str, nir.NIRNode] = graph.nodes
    named = {end for edge in graph.edges for end in edge} - nodes.keys()
    return frozenset(
        name
        for name in named
        if isinstance(nodes.get(f"{name}.input"), nir.Input) and isinstance(nodes.get(f"{name}.output"), nir.Output)
    )


def _only_one_meant(graph: nir.NIRGraph, known: Collection[str]) -> tuple[str, str] | None:
    """The only name in edges that no node has, and the only node that no edge names, if there is one of each."""
    named = {end for edge in graph.edges for end in edge}
    unknown, unnamed = named - set(known), graph.nodes.keys() - named
    return (unknown.pop(), unnamed.pop()) if len(unknown) == len(unnamed) == 1 else None


def _only(graph: nir.NIRGraph, kind: type, word: str, where: str) -> str:
    nodes: Mapping[str, nir.NIRNode] = graph.nodes
    found = [name for name, node in nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        raise RefusedInput(f"{where} has {len(found)} {word} nodes ({', '.join(found[:4]) or 'none'}); expected one")
    return found[0]


def _passage(node: nir.Input | nir.Output) -> Passage:
    declared = node.input_type["input"] if isinstance(node, nir.Input) else node.output_type["output"]
    return Passage(declared)
