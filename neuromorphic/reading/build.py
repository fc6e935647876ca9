"""Builds a validated graph from NIR's: shapes are checked, neurons are in time steps, nodes in topological order.

What is not understood is refused here, by name.
"""

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import cast

import nir

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ops import AnyOperation, Sink, Source, Typed
from neuromorphic.reading.draft import Draft
from neuromorphic.reading.nesting import flat
from neuromorphic.reading.passes import PASSES
from neuromorphic.reading.provenance import Asked, Origin, understood

NOTHING, NOWHERE = Asked(), Origin()


def from_nir(
    graph: nir.NIRGraph,
    source: str | Path = "graph",
    dt: float | None = None,
    *,
    asked: Asked | None = None,
    origin: Origin = NOWHERE,
) -> Graph:
    """The validated view of `graph`.

    Args:
        graph: as `nir.read` returns it, perhaps with subgraphs.
        source: named in messages.
        dt: seconds per time step, where the file doesn't say.
        asked: dt, and other statements of the caller about what the file leaves open.
        origin: statements of the file about where it comes from.

    Raises:
        RefusedInput: what a pass refuses (`passes`), no input, no output, an output that is read, or a dt that the
            file contradicts.
    """
    draft = drafted(graph, str(source), asked or Asked(dt=dt), origin)
    for step in PASSES:
        draft = step.run(draft)
    return _graph(draft)


def drafted(graph: nir.NIRGraph, source: str, asked: Asked = NOTHING, origin: Origin = NOWHERE) -> Draft:
    """The draft that the passes start from: with metadata and conventions, and without subgraphs."""
    raw, edges, notes = flat(graph, source)
    stated = GraphMetadata.of(graph.metadata, source, asked.dt)
    metadata, conventions = understood(stated, raw.values(), asked, origin, source)
    metadata = replace(metadata, assumed=(*metadata.assumed, *notes))
    fan_in: dict[str, list[str]] = {name: [] for name in raw}
    for before, after in edges:
        fan_in[after].append(before)
    return Draft(source, metadata, conventions, raw, {name: tuple(sorted(before)) for name, before in fan_in.items()})


def _graph(draft: Draft) -> Graph:
    nodes: dict[str, Node] = {}
    for name in draft.order:
        typed = cast(Typed, draft.typed[name])
        operation = cast(AnyOperation, typed.operation)
        nodes[name] = Node(name, operation, draft.fan_in[name], typed.shapes.input, typed.shapes.output)
    source, inputs, outputs = draft.source, _of(nodes, Source), _of(nodes, Sink)
    for ends, what in ((inputs, "input"), (outputs, "output")):
        if not ends:
            raise RefusedInput(f"{source}: 0 {what} nodes; expected one")
    for output in outputs:
        if beyond := sorted(name for name, node in nodes.items() if output in node.sources):
            raise RefusedInput(
                f"{source}: node {beyond[0]!r} reads the output {output!r}; expected the end of the graph"
            )
    result = Graph(nodes, inputs[0], outputs[0], draft.metadata, source, draft.recurrent)
    if len(outputs) > 1:
        note = f"of the outputs {', '.join(outputs)}, scores and predictions are those of {outputs[0]}; traces hold all"
        metadata = replace(draft.metadata, assumed=(*draft.metadata.assumed, note))
        result = replace(result, metadata=metadata)
    _check_readout(result)
    return result


def _of(nodes: dict[str, Node], kind: type) -> list[str]:
    return sorted(node.name for node in nodes.values() if isinstance(node.operation, kind))


def _check_readout(graph: Graph) -> None:
    readout, classes = graph.metadata.readout, prod(graph.nodes[graph.output].shape)
    if readout is not None and readout.bias.size not in (0, classes):
        raise RefusedInput(
            f"{graph.source}: metadata readout has a bias of {readout.bias.size} numbers; its output has {classes}"
        )
    names = graph.metadata.label_names
    if len(names) not in (0, classes):
        raise RefusedInput(f"{graph.source}: metadata has {len(names)} label_names; its output has {classes}")
