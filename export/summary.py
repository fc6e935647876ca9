"""The summary of an export: as a JSON document, and as a table for people."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nir
from rich.table import Table

from export.accuracy import AccuracyChange
from export.convert import Prepared
from export.frontend.door import PreparedModule
from export.frontend.margin import Margin
from export.metadata import extensions
from export.populations import thresholds
from neuromorphic.ir.parity import ParityReport
from neuromorphic.ops import READERS, Operation, Population
from spikeclip.twin import twin_table
from spikeclip.twin_checkpoint import TwinCheckpoint

if TYPE_CHECKING:  # a package that a .nir doesn't need
    from onnx import ModelProto


def describe(
    prepared: Prepared, output: Path, model: "ModelProto | None", change: AccuracyChange | None
) -> dict[str, Any]:
    """The document of an encoder.

    Args:
        prepared: what was converted.
        output: the file that was written.
        model: what it holds; None for a `.nir`.
        change: of the accuracy; None where it was not measured.
    """
    return {
        **_file(output, model),
        **_converted(prepared),
        "standard_nodes": {
            a.name: {"neurons": a.neurons, "synapses": a.synapses, "nodes": a.nodes}
            for a in (() if prepared.expansion is None else prepared.expansion.attention)
        },
        "input_bits": prepared.input_bits,
        "accuracy": None if change is None else {**asdict(change), "points": change.points},
    }


def describe_module(
    prepared: PreparedModule, output: Path, parity: ParityReport | None, run: Mapping[str, Margin]
) -> dict[str, Any]:
    """The document of a user's module.

    Args:
        prepared: what was converted.
        output: the file that was written.
        parity: of its spikes; None where they were not compared.
        run: margins of the inputs that they were compared on; empty where a proof covers every input.
    """
    return {
        **_file(output, None),
        **_converted(prepared),
        "input": prepared.inputs.to_dict(),
        "rungs": prepared.certificate.rungs,
        "notes": list(prepared.notes),
        "assumed": [prepared.inputs.assumption],
        "accuracy": None,
        "parity": None if parity is None else parity.to_dict(),
        "margins": {name: margin.to_dict() for name, margin in run.items()},
    }


def _converted(prepared: Prepared | PreparedModule) -> dict[str, Any]:
    """The part that the documents of an encoder and of a user's module share."""
    graph = prepared.graph
    layers = [node for node in graph.nodes.values() if isinstance(node, nir.Conv2d | nir.Affine)]
    spiking = populations(graph)
    return {
        "nodes": len(graph.nodes),
        "edges": len(graph.edges),
        "extensions": list(extensions(graph)),
        "populations": len(spiking),
        "neurons": sum(thresholds(node).size for node in spiking),
        "weights": sum(int((node.weight != 0).sum()) for node in layers),
        "time_steps": prepared.certificate.time_steps,
        "grids": {name: asdict(grid) for name, grid in prepared.grids.items()},
        "certificate": prepared.certificate.to_dict(),
    }


def populations(graph: nir.NIRGraph) -> list[nir.NIRNode]:
    """The nodes that send spikes."""
    return [node for node in graph.nodes.values() if issubclass(READERS.get(type(node), Operation), Population)]


def describe_twin(twin: TwinCheckpoint, output: Path, model: "ModelProto") -> dict[str, Any]:
    """The document of an ANN twin; the arguments are those of `describe`."""
    (score,) = model.graph.output
    found = twin_table(twin.config, outputs=score.type.tensor_type.shape.dim[1].dim_value)
    return {
        **_file(output, model),
        "twin": True,
        "parameters": found["parameters"],
        "macs": sum(layer["macs"] for layer in found["layers"]),
    }


def _file(output: Path, model: "ModelProto | None") -> dict[str, Any]:
    document = {
        "format_version": 1,
        "format": "nir" if model is None else "onnx",
        "graph": str(output),
        "bytes": output.stat().st_size,
    }
    if model is None:
        return document
    return {
        **document,
        "opset": model.opset_import[0].version,
        "operators": len(model.graph.node),
        "outputs": [value.name for value in model.graph.output],
    }


def table(document: dict[str, Any]) -> Table:
    """A document of `describe`, `describe_module` or `describe_twin` as a table for people."""
    found = Table(show_header=False, box=None, pad_edge=False)
    found.add_row(
        "model" if document["format"] == "onnx" else "graph", f"{document['graph']}, {document['bytes'] / 1e6:.1f} MB"
    )
    if document["format"] == "onnx":
        outputs = document["outputs"]
        populations = f" and the spikes of {len(outputs) - 1} populations" if len(outputs) > 1 else ""
        found.add_row("operators", f"{document['operators']}, of ONNX's opset {document['opset']}")
        found.add_row("outputs", f"{outputs[0]}{populations}")
    if "twin" in document:
        found.add_row("parameters", f"{document['parameters']:,}")
        found.add_row("MACs", f"{document['macs']:,} per image")
    else:
        _add_encoder(found, document)
    return found


def _add_encoder(found: Table, document: dict[str, Any]) -> None:
    found.add_row("nodes", f"{document['nodes']}, {document['edges']} edges")
    if document["extensions"] and document["format"] == "nir":
        known = f"{', '.join(document['extensions'])}: only readers that know these nodes can run the file"
        found.add_row("extensions", known)
    found.add_row("neurons", f"{document['neurons']:,} in {document['populations']} populations")
    found.add_row("weights", f"{document['weights']:,} not zero")
    found.add_row("time steps", str(document["time_steps"]))
    nodes: dict[str, dict[str, Any]] = document["certificate"]["nodes"]
    unproven = {name: node["reason"] for name, node in nodes.items() if not node["exact"]}
    proven = f"exact in all {len(nodes)} nodes; {_bits(nodes)}"
    if (rungs := document.get("rungs")) is not None:
        found.add_row("rungs", ", ".join(f"{count} nodes: {rung}" for rung, count in rungs.items()))
    found.add_row("certificate", proven if not unproven else f"not exact in {len(unproven)} of {len(nodes)} nodes")
    for name, reason in unproven.items():
        found.add_row("", f"{name}: {reason}")
    if (parity := document.get("parity")) is not None:
        compared = f"{parity['spikes_compared']:,} spikes of {parity['images']} random inputs"
        wrong = parity["mismatches"]
        found.add_row("parity", f"{compared}, your own forward against the graph: {wrong or 'none'} different")
        outputs = parity["outputs"]
        if outputs["differ"] and not outputs["difference"] <= outputs["tolerance"]:
            found.add_row(
                "", f"what it returns differs by up to {outputs['difference']:.3g} of {outputs['largest']:.3g}"
            )
    if margins := document.get("margins"):
        found.add_row("margin", _margin(margins))
    if (accuracy := document["accuracy"]) is not None:
        n = accuracy["images"]
        before, after = accuracy["original"] / n, accuracy["exported"] / n
        found.add_row(
            "accuracy", f"{before:.2%} before, {after:.2%} after ({accuracy['points']:+.2f} points), {n} images"
        )


def _margin(margins: dict[str, dict[str, Any]]) -> str:
    """A sentence on whether the compared inputs are proven, although not every input is."""
    name, least = min(margins.items(), key=lambda item: item[1]["nearest"] / item[1]["error"])
    near = f"{least['nearest']:.2g} from a membrane to its threshold ({name}), float64 errs by {least['error']:.2g}"
    if all(margin["covered"] for margin in margins.values()):
        return f"{near} at most: no order of sums sends other spikes on these inputs"
    return f"{near}: another order of sums may send other spikes"


def _bits(nodes: dict[str, dict[str, Any]]) -> str:
    """The most bits needed, `"24 of 24 bits needed"`, and in float64 where only a readout is computed in it."""
    limits = sorted({node["limit"] for node in nodes.values()})
    first, *others = (
        f"{max(node['bits_needed'] for node in nodes.values() if node['limit'] == limit)} of {limit}"
        for limit in limits
    )
    return f"{first} bits needed" + "".join(f", {bits} in the readout" for bits in others)
