"""Quantised graphs in `.nir` files: floats that any reader understands, and the scheme that makes integers of them.

The file holds the numbers that the chip computes with, as floats: a reader that knows nothing of the scheme runs the
quantised network.  With the scheme, which is in the metadata, the integers come back exactly.
"""

import json
from pathlib import Path

import nir
import numpy as np

from neuromorphic.analysis.soft_resets import with_loops, with_soft_resets
from neuromorphic.errors import RefusedInput, named, shown
from neuromorphic.files import in_memory
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.metadata import FORMAT_VERSION
from neuromorphic.ir.metadata import KEY as METADATA
from neuromorphic.loihi2.certificate import check
from neuromorphic.loihi2.flat_file import written_flat
from neuromorphic.loihi2.integers import integers
from neuromorphic.loihi2.scheme import KEY, Scheme
from neuromorphic.ops import Conv2d, Shapes
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_nir


def integer_graph(graph: Graph) -> Graph | None:
    """The integer graph of a graph that was read from a quantised file; None where the file holds no scheme.

    A graph that consists of integers already, as one from a netx file, is checked and returned as it is.

    Raises:
        RefusedInput: the scheme is not understood, or doesn't fit the graph; or an integer is outside its width.
    """
    if graph.precision == "loihi2":
        with named(graph.source):
            check(graph)
        return graph
    document = graph.metadata.document.get(KEY)
    if document is None:
        return None
    scheme = Scheme.from_dict(document, graph.source)
    try:
        with named(graph.source), np.errstate(divide="raise", over="raise", invalid="raise"):
            return integers(with_soft_resets(graph), scheme)
    except RefusedInput:
        raise
    except (KeyError, ValueError, ArithmeticError) as error:  # a node without a unit, exponents of another number, ...
        raise RefusedInput(f"{graph.source}: metadata {KEY!r} doesn't fit the graph ({shown(error)})") from error


def write_quantised(model: Path, graph: Graph, scheme: Scheme, path: Path) -> None:
    """Write a copy of the file `model` with the numbers of its quantised graph to `path`, whole or not at all.

    Nodes stay in their subgraphs; but where nodes were folded or added, the file becomes flat.  The exporter's
    certificate and grids are left out, since they are of other weights.

    Args:
        model: the `.nir` file that was quantised, read by `read_graph` before.
        graph: the float graph with the chip's numbers that `quantise.calibrate` made of it.
        scheme: its scheme.
        path: of the new file.

    Raises:
        RefusedInput: `path` can't be written.
    """
    raw, metadata = read_nir(model), graph.metadata
    given = from_nir(raw, model, metadata.dt)
    graph = with_loops(graph, given)
    if {name: _wiring(node) for name, node in given.nodes.items()} == {n: _wiring(m) for n, m in graph.nodes.items()}:
        groups = _put_back(raw, graph)
    else:
        raw, groups = written_flat(graph, given, raw)
    written = {"format_version": FORMAT_VERSION, "dt": metadata.dt, "time_steps": metadata.time_steps}
    conventions = {
        "reset": metadata.reset,
        "integrators": metadata.integrators,
        "input_kind": metadata.input_kind,
    }
    kept = {k: v for k, v in metadata.document.items() if k not in ("certificate", "grids")}
    document = {**written, **conventions, **kept, "groups": groups}
    raw.metadata = {**raw.metadata, METADATA: json.dumps({**document, KEY: scheme.to_dict()}, allow_nan=False)}
    with in_memory(path) as buffer:
        nir.write(buffer, raw)


def _wiring(node: Node) -> tuple[type, tuple[str, ...], Shapes]:
    return type(node.operation), node.sources, node.shapes


def _put_back(raw: nir.NIRGraph, graph: Graph) -> dict[str, int]:
    """Give the nodes of a file the numbers of `graph`; returns the groups of kernels that are block-diagonal there."""
    groups: dict[str, int] = {}
    for node in graph.nodes.values():
        within, name = _located(raw, node.name)
        was = within.nodes[name]
        within.nodes[name] = node.operation.write(node.shapes, graph.metadata.dt, was)
        within.nodes[name].metadata = was.metadata
        if isinstance(node.operation, Conv2d) and np.all(np.asarray(was.groups) == 1) and node.operation.groups > 1:
            groups[node.name] = node.operation.groups
    return groups


def _located(graph: nir.NIRGraph, name: str) -> tuple[nir.NIRGraph, str]:
    """The subgraph that holds the node which `nesting.flat` calls `name`, and the node's name there."""
    if name in graph.nodes:
        return graph, name
    (inner, rest), *_ = (
        (node, name.removeprefix(f"{outer}."))
        for outer, node in graph.nodes.items()
        if isinstance(node, nir.NIRGraph) and name.startswith(f"{outer}.")
    )
    return _located(inner, rest)
