"""`spikeclip-simulate`: a `.nir` graph on images, in Lava, every spike compared with PyTorch on request."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from neuromorphic.errors import RefusedInput, SimulationFailed
from neuromorphic.execution.fast import count_overflows
from neuromorphic.execution.frames import still
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ir.parity import ParityReport, compare
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.loihi2.certificate import certify
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.integers import graded, integers
from neuromorphic.loihi2.quantise import calibrate as find_scheme
from neuromorphic.loihi2.scheme import KEY, Granularity
from neuromorphic.ops.loihi import Overflows
from neuromorphic.placement import picture, place
from neuromorphic.reading.frames import encode, image_size, read_frames
from neuromorphic.reading.read import read_graph
from neuromorphic.summary import assumptions, classifies, cores, sentences, table, widths
from spikeclip.console import console, progress_bar, refusals, require_folders, results
from spikeclip.data import ImageSet, load_images
from spikeclip.predictions import Truth, describe_images, find_truth
from spikeclip.preprocess import stated_resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export import Prepared

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

CALIBRATION_IMAGES = 64
"""Images that units and rounding are chosen on."""


class Backend(StrEnum):
    """What runs the graph."""

    lava = "lava"
    reference = "reference"


class Precision(StrEnum):
    """The arithmetic."""

    float = "float"
    loihi2 = "loihi2"


class Grain(StrEnum):
    """What weights share an exponent in."""

    layer = "layer"
    channel = "channel"


@app.command()
def simulate(
    model: Annotated[Path, typer.Argument(help="A graph (.nir), written by spikeclip-export or by another library.")],
    images: Annotated[
        str | None,
        typer.Option(help="samples, FILE.npz, an image, a folder, or KIND:DIR[:SPLIT], as cifar10:DIR (docs/data.md)."),
    ] = None,
    frames_path: Annotated[
        Path | None,
        typer.Option("--frames", help="Instead of images, what the input reads: .npy."),
    ] = None,
    time_steps: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Time steps per image, where the file doesn't say.")
    ] = None,
    dt: Annotated[float | None, typer.Option(help="Seconds per time step, where the file doesn't say.")] = None,
    check: Annotated[
        str | None, typer.Option(help="Checkpoint (path or shipped name) to compare every spike with.")
    ] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads of a published --check checkpoint.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Label embeddings that it was exported with: FILE.npz or FILE.npz:KEY.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first N images only.")] = None,
    backend: Annotated[Backend, typer.Option(help="Lava, or the numpy reference.")] = Backend.lava,
    precision: Annotated[Precision, typer.Option(help="The arithmetic to simulate.")] = Precision.float,
    calibrate: Annotated[
        str | None,
        typer.Option(help="Images to quantise on for --precision loihi2, as for --images; or frames: FILE.npy."),
    ] = None,
    calibration_images: Annotated[int, typer.Option(min=1, help="Take the first N of them.")] = CALIBRATION_IMAGES,
    granularity: Annotated[
        Grain, typer.Option(help="Weights share an exponent in each layer, or in each output channel.")
    ] = Grain.layer,
    quantized: Annotated[
        Path | None, typer.Option("--save-quantized", help="Write the quantised graph (.nir); it needs no --calibrate.")
    ] = None,
    placement: Annotated[
        Path | None, typer.Option(help="Place the graph on Loihi 2's cores: JSON here, a picture (.svg) beside it.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the trace (HDF5).")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the result as JSON.")] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that Lava may take in all; without it, 300 without progress end it.")
    ] = None,
) -> None:
    """Simulate a graph in Lava, step by step as on Loihi, and compare every spike with the PyTorch model.

    In the integers of the chip (`--precision loihi2`) a graph is quantised first, on `--calibrate` images, unless its
    file is quantised already; final membranes are compared too.

    Graphs of other libraries say nothing of preprocessing, time steps and dt: `--frames`, `--time-steps`, `--dt`.

    Exit codes: 0 done, 1 the comparison found a difference or Lava failed, 2 the input was refused.

    Examples: `spikeclip-simulate model.nir --images samples --check spike-driven-small -o run.h5`,
    `spikeclip-simulate model.nir --images cifar10:DIR:test --limit 500 --precision loihi2
    --calibrate cifar10:DIR:train --check spike-driven-small --placement cores.json`,
    `spikeclip-simulate theirs.nir --frames spikes.npy --dt 1e-4`
    """
    with refusals(RefusedInput):
        floats = graph = read_graph(model, dt)
        require_folders(output, json_path, quantized, placement)
        found = _shown(floats, images, frames_path, limit, only_images=check is not None)
        if precision is Precision.loihi2:
            if check is not None and floats.metadata.document.get("expanded"):
                raise RefusedInput(
                    f"{model}: --check knows attention in standard nodes in floats only; expected no --check"
                )
            floats = _timed(floats, found.frames, time_steps)
            graph = _integers(model, floats, calibrate, calibration_images, granularity.value, quantized)
        elif calibrate or quantized:
            raise RefusedInput("--calibrate and --save-quantized are of the integers; expected --precision loihi2")
        truth = _truth(graph, found)
        frames = _frames(graph, found)
        # Before Lava, which takes longer: a checkpoint or a graph that doesn't fit is refused at once.
        if placement is not None:
            place(graph)
        reference = None if check is None else torch_trace(check, floats, graph, frames, heads, labels)
        try:
            trace = _run(graph, frames, time_steps, backend, precision, timeout)
        except SimulationFailed as error:
            console.print(f"error: {error}", markup=False)
            raise typer.Exit(1) from error
        report = None if reference is None else compare(_of(trace, reference), reference)
        placed = None if placement is None else place(graph, trace=trace)
    if output is not None:
        trace.write(output)
    if placed is not None and placement is not None:
        placement.write_text(json.dumps(placed.to_dict(), indent=2) + "\n")
        placement.with_suffix(".svg").write_text(picture(placed), encoding="utf-8")
    accuracy = truth.accuracy(trace.predictions)
    assumed = [*assumptions(graph), *truth.assumed]
    if json_path is not None:
        document = {**_document(graph, trace, report, accuracy), "assumed": assumed}
        if classifies(graph):
            document["per_image"] = describe_images(found.names, trace.scores, graph.metadata.label_names, truth)
        json_path.write_text(json.dumps(document, indent=2) + "\n")
    if classifies(graph):
        # Labels are the model's class numbers now, whatever they were in the images' source.
        names = () if graph.metadata.label_names else found.label_names
        results.print(table(graph, trace, found.names, truth.classes, names))
    said = [*assumed, *sentences(trace, accuracy, report)]
    said += _widths(graph, frames) if precision is Precision.loihi2 else []
    said += [] if placed is None else cores(placed)
    for line in said:
        results.print(line, markup=False)
    if report is not None and not report.exact:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Shown:
    """What a graph is run on: images, or frames as they are."""

    images: ImageSet | None
    frames: "NDArray[np.float32]"
    names: Sequence[str]

    @property
    def label_names(self) -> Sequence[str]:
        """Names that the images' own labels index."""
        return () if self.images is None else self.images.label_names


def _shown(graph: Graph, images: str | None, frames: Path | None, limit: int | None, *, only_images: bool) -> _Shown:
    """The images or the frames that were named; exactly one of the two has to be.

    Args:
        graph: that reads them.
        images: SPEC of images.
        frames: file of frames.
        limit: take the first N only.
        only_images: whether something was asked for that takes images.
    """
    if (images is None) == (frames is None):
        raise RefusedInput("nothing to run on, or two things; expected either --images SPEC or --frames FILE.npy")
    if frames is not None:
        if only_images:
            raise RefusedInput(f"{frames}: --check takes images; expected --images SPEC")
        read = read_frames(graph, frames, limit)
        return _Shown(None, read, [f"frames {i}" for i in range(len(read))])
    resize = stated_resize(graph.metadata.preprocessing, graph.source)
    found = load_images(str(images), image_size(graph), limit, resize)
    return _Shown(found, np.zeros(0, np.float32), found.names)


def _truth(graph: Graph, found: _Shown) -> Truth:
    """The right class of each image in the graph's numbering, where images have labels and outputs are classes."""
    if found.images is None or not classifies(graph):
        return Truth(None)
    if "checkpoint" in graph.metadata.document and not graph.metadata.label_names:
        return Truth(None, ("the outputs are an embedding, not scores of classes: labels are not compared",))
    return find_truth(found.images, graph.metadata.label_names, graph.nodes[graph.output].shape[0], graph.source)


def _frames(graph: Graph, found: _Shown) -> "NDArray[np.float32]":
    """What `graph` reads, in its integers where it consists of some."""
    if found.images is not None:
        return encode(graph, found.images.images)
    return graded(graph, found.frames) if graph.precision == "loihi2" else found.frames


def _timed(graph: Graph, frames: "NDArray[np.float32]", time_steps: int | None) -> Graph:
    """`graph` with T in its metadata, which its widths depend on; of frames, the second axis may say it."""
    if graph.metadata.time_steps is not None:
        return graph
    # Of images there are no frames yet, and one for each.
    shown = None if not frames.size or still(graph, frames) else frames.shape[1]
    steps = time_steps or shown
    if steps is None:
        raise RefusedInput(f"{graph.source}: the file doesn't say how many time steps an image takes; give a number")
    return replace(graph, metadata=replace(graph.metadata, time_steps=steps))


def _integers(
    model: Path, floats: Graph, calibrate: str | None, count: int, granularity: Granularity, quantized: Path | None
) -> Graph:
    """The integer graph of the file `model`, quantised here unless it is already."""
    graph = integer_graph(floats)
    if graph is not None:
        if calibrate or quantized:
            raise RefusedInput(f"{model}: is quantised already; expected no --calibrate and no --save-quantized")
        return graph
    if calibrate is None:
        raise RefusedInput(
            f"{model}: is not quantised; expected --calibrate SPEC, images (or FILE.npy, frames) to quantise it on"
        )
    images, path = (None, Path(calibrate)) if calibrate.endswith(".npy") else (calibrate, None)
    shown = _shown(floats, images, path, count, only_images=False)
    with progress_bar("quantising") as advance:
        rounded, scheme = find_scheme(floats, _frames(floats, shown), granularity, progress=advance)
    if quantized is not None:
        write_quantised(model, rounded, scheme, quantized)
    document = {**rounded.metadata.document, KEY: scheme.to_dict()}
    return integers(replace(rounded, metadata=replace(rounded.metadata, document=document)), scheme)


def _widths(graph: Graph, frames: "NDArray[np.float32]") -> list[str]:
    """Whether u and v keep to their widths: by proof, and where there is none, in this run."""
    proof = certify(graph)
    found: dict[str, Overflows] = {}
    if proof.unproven:
        with progress_bar("widths") as advance:
            found = count_overflows(graph, frames, advance)
    return widths(proof, found)


def torch_trace(
    checkpoint: str,
    floats: Graph,
    graph: Graph,
    frames: "NDArray[np.float32]",
    heads: int | None = None,
    labels: str | None = None,
) -> Trace:
    """The trace of the checkpoint's folded and snapped PyTorch model, or of the same in integers, on `frames`.

    Args:
        checkpoint: path or shipped name.
        floats: the graph that was exported from it.
        graph: what runs: the same, or its integers.
        frames: float32 `[N, *input shape]`.
        heads: of a published checkpoint.
        labels: label embeddings that a published checkpoint was exported with.

    Raises:
        RefusedInput: the checkpoint is refused, or the graph was not exported from it.
    """
    import export
    import spikeclip
    from spikeclip.labels import load_labels

    size = None if heads is None else image_size(floats)
    label_set = None if labels is None else load_labels(labels)
    loaded = spikeclip.load(checkpoint, heads=heads, image_size=size, labels=label_set)
    # A graph that was expanded is allowed as many neurons as it has.
    expanded = bool(floats.metadata.document.get("expanded"))
    neurons = sum(prod(node.shape) for node in floats.populations)
    prepared = export.prepare(loaded, standard_nodes=expanded, neuron_limit=neurons)
    names = [node.name for node in floats.populations]
    odd = sorted(set(names) ^ prepared.populations)
    if odd:
        raise RefusedInput(
            f"{floats.source}: not exported from checkpoint {checkpoint!r}: only one has node {odd[0]!r}"
        )
    if graph is not floats:
        return _integer_trace(prepared, graph, frames)
    with progress_bar("PyTorch") as advance:
        recorded = export.record(prepared, frames, progress=advance)
    # Populations inside of attention that was expanded into standard nodes have no layer in PyTorch.
    spikes = {name: SpikeTrain(*recorded.spikes[name]) for name in names if name in recorded.spikes}
    readout = GraphMetadata.of(prepared.graph.metadata, checkpoint).readout
    return Trace("torch", "float", spikes, recorded.outputs, readout)


def _integer_trace(prepared: "Prepared", graph: Graph, frames: "NDArray[np.float32]") -> Trace:
    """The trace of the PyTorch model in the integers of `graph`, final membranes included."""
    from export.integer import integer_model, record_integer

    numbers = {node.name: {**vars(node.operation), "sources": node.sources} for node in graph.nodes.values()}
    with progress_bar("PyTorch") as advance:
        recorded = record_integer(integer_model(prepared, numbers), frames, progress=advance)
    spikes = {node.name: SpikeTrain(*recorded.spikes[node.name]) for node in graph.populations}
    return Trace("torch", "loihi2", spikes, recorded.outputs, graph.metadata.readout, recorded.membranes)


def _of(trace: Trace, reference: Trace) -> Trace:
    """`trace` without the populations that `reference` doesn't have."""
    return replace(trace, spikes={name: trace.spikes[name] for name in trace.spikes if name in reference.spikes})


def _run(
    graph: Graph,
    frames: "NDArray[np.float32]",
    time_steps: int | None,
    backend: Backend,
    precision: Precision,
    timeout: float | None,
) -> Trace:
    with progress_bar(backend.value) as advance:
        if backend is Backend.lava:
            from neuromorphic.lava.simulation import simulate as run_in_lava

            settings: Any = {"precision": precision.value, "timeout": timeout}
            return run_in_lava(graph, frames, time_steps, progress=advance, **settings)
        from neuromorphic.execution.reference import run_in_batches

        return run_in_batches(graph, frames, time_steps, progress=advance)


def _document(graph: Graph, trace: Trace, report: ParityReport | None, accuracy: float | None) -> dict[str, object]:
    names = graph.metadata.label_names
    return {
        "format_version": 1,
        "model": graph.source,
        "producer": trace.producer,
        "precision": trace.precision,
        "images": trace.images,
        "time_steps": trace.time_steps,
        "dt": graph.metadata.dt,
        "predictions": [names[p] if names else int(p) for p in trace.predictions] if classifies(graph) else None,
        "accuracy": accuracy,
        "spikes": {name: train.count() for name, train in trace.spikes.items()},
        **({} if report is None else report.to_dict()),
        **({} if trace.precision == "float" else {"scheme": graph.metadata.document.get(KEY)}),
    }


def main() -> None:
    """The entry point of the console script."""
    app()
