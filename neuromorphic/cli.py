"""`spikeclip-simulate`: a `.nir` graph on images, in Lava, every spike compared with PyTorch on request."""

import json
from dataclasses import replace
from enum import StrEnum
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.table import Table

from neuromorphic.errors import RefusedInput, SimulationFailed
from neuromorphic.frames import encode, image_size
from neuromorphic.graph import Graph
from neuromorphic.metadata import GraphMetadata
from neuromorphic.parity import ParityReport, compare
from neuromorphic.read import read_graph
from neuromorphic.trace import SpikeTrain, Trace
from spikeclip.console import console, progress_bar, refusals, require_folders, results

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spikeclip.data import ImageSet

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

ROWS = 12
"""Images that the table lists one by one; the rest is summed up."""


class Backend(StrEnum):
    """What runs the graph."""

    lava = "lava"
    reference = "reference"


class Precision(StrEnum):
    """The arithmetic."""

    float = "float"


@app.command()
def simulate(
    model: Annotated[Path, typer.Argument(help="A graph written by spikeclip-export (.nir).")],
    images: Annotated[
        str, typer.Option(help="samples, FILE.npz, an image, a folder, cifar10:DIR[:train|:test] or cifar100:DIR[...].")
    ],
    check: Annotated[
        str | None, typer.Option(help="Checkpoint (path or shipped name) to compare every spike with.")
    ] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads of a published --check checkpoint.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Label embeddings that it was exported with: FILE.npz or FILE.npz:KEY.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Take the first N images only.")] = None,
    backend: Annotated[Backend, typer.Option(help="Lava, or the numpy reference.")] = Backend.lava,
    precision: Annotated[Precision, typer.Option(help="The arithmetic to simulate.")] = Precision.float,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the trace (HDF5).")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the result as JSON.")] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that Lava may take in all; without it, 300 without progress end it.")
    ] = None,
) -> None:
    """Simulate a graph in Lava, step by step as on Loihi, and compare every spike with the PyTorch model.

    Exit codes: 0 done, 1 the comparison found a difference or Lava failed, 2 the input was refused.

    Example: `spikeclip-simulate model.nir --images samples --check spike-driven-small -o run.h5`
    """
    with refusals(RefusedInput):
        from spikeclip.data import load_images

        graph = read_graph(model)
        require_folders(output, json_path)
        found = load_images(images, image_size(graph), limit)
        frames = encode(graph, found.images)
        # Before Lava, which takes longer: a checkpoint that doesn't fit is refused at once.
        reference = None if check is None else torch_trace(check, graph, frames, heads, labels)
        try:
            trace = _run(graph, frames, backend, precision, timeout)
        except SimulationFailed as error:
            console.print(f"error: {error}", markup=False)
            raise typer.Exit(1) from error
        report = None if reference is None else compare(_of(trace, reference), reference)
    if output is not None:
        trace.write(output)
    accuracy = None if found.labels is None else float((trace.predictions == found.labels).mean())
    if json_path is not None:
        json_path.write_text(json.dumps(_document(graph, trace, report, accuracy), indent=2) + "\n")
    _print(graph, found, trace, report, accuracy)
    if report is not None and not report.exact:
        raise typer.Exit(1)


def torch_trace(
    checkpoint: str,
    graph: Graph,
    frames: "NDArray[np.float32]",
    heads: int | None = None,
    labels: str | None = None,
) -> Trace:
    """The trace of the checkpoint's folded and snapped PyTorch model on `frames`, float32 `[N, *input shape]`.

    Args:
        checkpoint: path or shipped name.
        graph: exported from it.
        frames: to run on.
        heads: of a published checkpoint.
        labels: label embeddings that a published checkpoint was exported with.

    Raises:
        RefusedInput: the checkpoint is refused, or the graph was not exported from it.
    """
    import export
    import spikeclip
    from spikeclip.labels import load_labels

    size = None if heads is None else image_size(graph)
    label_set = None if labels is None else load_labels(labels)
    loaded = spikeclip.load(checkpoint, heads=heads, image_size=size, labels=label_set)
    # A graph that was expanded is allowed as many neurons as it has.
    expanded = bool(graph.metadata.document.get("expanded"))
    neurons = sum(prod(node.shape) for node in graph.populations)
    prepared = export.prepare(loaded, standard_nodes=expanded, neuron_limit=neurons)
    names = [node.name for node in graph.populations]
    odd = sorted(set(names) ^ prepared.populations)
    if odd:
        raise RefusedInput(f"{graph.source}: not exported from checkpoint {checkpoint!r}: only one has node {odd[0]!r}")
    with progress_bar("PyTorch") as advance:
        recorded = export.record(prepared, frames, progress=advance)
    # Populations inside of attention that was expanded into standard nodes have no layer in PyTorch.
    spikes = {name: SpikeTrain(*recorded.spikes[name]) for name in names if name in recorded.spikes}
    readout = GraphMetadata.of(prepared.graph.metadata, checkpoint).readout
    return Trace("torch", "float", spikes, recorded.outputs, readout)


def _of(trace: Trace, reference: Trace) -> Trace:
    """`trace` without the populations that `reference` doesn't have."""
    return replace(trace, spikes={name: trace.spikes[name] for name in trace.spikes if name in reference.spikes})


def _run(
    graph: Graph, frames: "NDArray[np.float32]", backend: Backend, precision: Precision, timeout: float | None
) -> Trace:
    with progress_bar(backend.value) as advance:
        if backend is Backend.lava:
            from neuromorphic.simulation import simulate as run_in_lava

            return run_in_lava(graph, frames, precision=precision.value, timeout=timeout, progress=advance)
        from neuromorphic.reference import run_in_batches

        return run_in_batches(graph, frames, progress=advance)


def _document(graph: Graph, trace: Trace, report: ParityReport | None, accuracy: float | None) -> dict[str, object]:
    names = graph.metadata.label_names
    return {
        "format_version": 1,
        "model": graph.source,
        "producer": trace.producer,
        "precision": trace.precision,
        "images": trace.images,
        "time_steps": trace.time_steps,
        "predictions": [names[p] if names else int(p) for p in trace.predictions],
        "accuracy": accuracy,
        "spikes": {name: train.count() for name, train in trace.spikes.items()},
        **({} if report is None else report.to_dict()),
    }


def _print(graph: Graph, found: "ImageSet", trace: Trace, report: ParityReport | None, accuracy: float | None) -> None:
    names = graph.metadata.label_names
    table = Table(box=None, pad_edge=False)
    table.add_column("image")
    table.add_column("prediction" if names else "largest output")
    if found.labels is not None:
        table.add_column("label")
    for i, prediction in enumerate(trace.predictions[:ROWS]):
        row = [found.names[i], names[prediction] if names else str(prediction)]
        if found.labels is not None:
            label = found.labels[i]
            row.append(found.label_names[label] if found.label_names else names[label] if names else str(label))
        table.add_row(*row)
    results.print(table)
    if trace.images > ROWS:
        results.print(f"... and {trace.images - ROWS} more")
    neurons = sum(train.neurons for train in trace.spikes.values())
    spikes = sum(train.count() for train in trace.spikes.values())
    rate = spikes / (neurons * trace.images * trace.time_steps)
    results.print(
        f"{trace.images} images, {trace.time_steps} time steps, {neurons:,} neurons in {len(trace.spikes)} "
        f"populations: {spikes:,} spikes (rate {rate:.3f})"
    )
    if accuracy is not None:
        results.print(f"accuracy {accuracy:.2%} of {trace.images} images")
    if report is not None:
        if len(report.nodes) < len(trace.spikes):
            results.print(
                f"{len(trace.spikes) - len(report.nodes)} populations have no layer in PyTorch to compare with"
            )
        results.print(
            f"parity with PyTorch: {report.spikes_compared:,} spikes compared, {report.mismatches:,} mismatches; "
            f"{report.predictions_agree} of {report.images} predictions agree"
        )
        if report.first_mismatch is not None:
            results.print(f"first mismatch: {report.first_mismatch}", markup=False)


def main() -> None:
    """The entry point of the console script."""
    app()
