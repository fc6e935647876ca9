"""`spikeclip-energy`: the operations of a `.nir` graph on images, against those of an ANN, counted and priced."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from energy.ann import dense_baseline
from energy.assemble import assemble
from energy.bit_matched import bit_matched
from energy.counts import OperationCounts
from energy.document import Accuracy, Data
from energy.inputs import with_input_kind, with_kind_of
from energy.outputs import Outputs
from energy.prices import SHIPPED, read_devices
from energy.provenance import provenance, sha256_of
from energy.streaming import count_running, count_stored
from energy.table import table
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import InputKind
from neuromorphic.reading.events import parse_bin
from neuromorphic.reading.frames import FrameOptions, Frames, encode, find_frames, image_size
from neuromorphic.reading.provenance import asked
from neuromorphic.reading.read import read_graph
from neuromorphic.summary import assumptions, classifies
from spikeclip.console import progress_bar, refusals, results
from spikeclip.data import ImageSet, load_images
from spikeclip.options import (
    BinOption,
    DtOption,
    FramesOption,
    ImagesOption,
    IntegratorsOption,
    JsonOption,
    LimitOption,
    ModelArgument,
    ResetOption,
    TimeFirstOption,
    TimeStepsOption,
    WrittenByOption,
)
from spikeclip.predictions import Truth, find_truth
from spikeclip.preprocess import stated_resize

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

InputKindOption = StrEnum("InputKindOption", list(get_args(InputKind)))  # type: ignore[misc]


@app.command()
def energy(
    model: ModelArgument,
    images: ImagesOption = None,
    frames_path: FramesOption = None,
    bin_size: BinOption = None,
    time_first: TimeFirstOption = False,
    time_steps: TimeStepsOption = None,
    limit: LimitOption = None,
    trace: Annotated[Path | None, typer.Option(help="Count in this trace of spikeclip-simulate (.h5) instead.")] = None,
    dt: DtOption = None,
    reset: ResetOption = None,
    integrators: IntegratorsOption = None,
    written_by: WrittenByOption = None,
    input_kind: Annotated[
        InputKindOption | None,
        typer.Option(
            "--input-kind",
            help="Input of spikes or counts is added up (SOPs), real input multiplied; where the file doesn't say.",
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Price on this device: {', '.join(SHIPPED)} (all of them by default), or a .toml. Repeatable."
        ),
    ] = None,
    dense: Annotated[
        bool,
        typer.Option("--dense-baseline", help="Compare with the graph's own layers, once on real values."),
    ] = False,
    matched: Annotated[
        bool, typer.Option("--bit-matched", help="Compare also with an ANN of activations of ceil(log2(T + 1)) bits.")
    ] = False,
    ann_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="Accuracy of the ANN, from 0 to 1, to stand beside the verdict.")
    ] = None,
    json_path: JsonOption = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="Write one row per layer as CSV.")] = None,
    per_image: Annotated[Path | None, typer.Option(help="Write one row per image, layer and time step as CSV.")] = None,
    html_path: Annotated[Path | None, typer.Option("--html", help="Write the report as one HTML file.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the report's figures into this folder, as SVG.")] = None,
    neurobench: Annotated[Path | None, typer.Option(help="Write NeuroBench's metrics as JSON.")] = None,
) -> None:
    """Count the synaptic operations and MACs of a graph on images, and those of an ANN, and price both.

    Spikes come from the numpy reference, or from a trace, as of Lava. Counts are exact; prices are published figures,
    none of them measured on the hardware that you may have in mind: the report names the source of each.

    Example: `spikeclip-energy model.nir --images samples --html report.html --json counts.json`
    """
    outputs = Outputs(json_path, csv_path, per_image, html_path, svg, neurobench)
    with refusals():
        names = list(SHIPPED) if device is None else device
        outputs.check((model, images, frames_path, trace, *names))
        devices = read_devices(names)
        read = read_graph(model, asked=asked(dt, reset, integrators, written_by))
        graph = with_input_kind(read, cast(InputKind | None, input_kind and input_kind.value))
        layout = FrameOptions(None if bin_size is None else parse_bin(bin_size), time_first, time_steps)
        shown = {
            "--images": images,
            "--frames": frames_path,
            "--bin": bin_size,
            "--time-steps": time_steps,
            "--limit": limit,
        }
        if trace is not None:
            given = [option for option, value in shown.items() if value is not None]
            run = _stored(graph, trace, frames_path, layout, given)
        else:
            run = _running(graph, images, frames_path, layout, limit)
        counts = run.counts
        if dense:
            counts = counts.model_copy(update={"ann": dense_baseline(run.graph, counts.images)})
        meant = {"--reset": reset, "--integrators": integrators, "--written-by": written_by}
        options = {
            **shown,
            "--trace": trace,
            "--dt": dt,
            **meant,
            "--input-kind": input_kind,
            "--ann-accuracy": ann_accuracy,
        }
        switches = {"--time-first": time_first, "--dense-baseline": dense, "--bit-matched": matched}
        flags = [flag for flag, given in switches.items() if given]
        command = [*_command(model, options, names), *flags]
        narrow = [bit_matched(one, counts.time_steps) for one in devices] if matched else []
        if matched and not any(narrow):
            bits = counts.time_steps.bit_length()
            raise RefusedInput(
                f"--bit-matched needs a device of integers of more than {bits} bits (T = {counts.time_steps}); "
                "expected one such as --device 45nm-int8"
            )
        accuracy = Accuracy(
            snn=run.truth.accuracy(counts.predictions), ann=_ann_accuracy(run.graph, ann_accuracy, dense)
        )
        report = assemble(
            run.graph,
            counts,
            devices,
            provenance(run.graph, run.data, command),
            run.producer,
            run.precision,
            [*assumptions(run.graph), *run.assumed, *run.truth.assumed],
            accuracy,
            [one for one in narrow if one is not None],
        )
    results.print(table(counts, report))
    with refusals():
        outputs.write(report, counts)


@dataclass(frozen=True)
class _Run:
    """What was counted.

    Attributes:
        graph: with the kind of its input.
        counts: of it.
        data: what they are of.
        producer, precision: what ran.
        assumed: of the input.
        truth: the labels of the images.
    """

    graph: Graph
    counts: OperationCounts
    data: Data
    producer: str
    precision: str
    assumed: list[str]
    truth: Truth


def _stored(graph: Graph, path: Path, frames_path: Path | None, layout: FrameOptions, given: list[str]) -> _Run:
    """Counts of the trace at `path`, whose frames are needed only where the input sends spikes."""
    spiking = graph.metadata.input_kind in ("spikes", "counts")
    if odd := [option for option in given if not (spiking and option in ("--frames", "--bin"))]:
        raise RefusedInput(f"{path}: a trace already holds its run; expected no {' and no '.join(odd)} with it")
    found = None if frames_path is None else find_frames(graph, frames_path, layout)
    frames = None if found is None else found.floats()
    assumed = [] if found is None or frames is None else [*found.assumed, *with_kind_of(graph, frames, found.kind)[1]]
    with progress_bar("counting") as advance:
        counts, trace = count_stored(graph, path, progress=advance, frames=frames)
    return _Run(
        graph,
        counts,
        Data(spec=str(path), sha256=sha256_of(path)),
        trace.producer,
        trace.precision,
        assumed,
        Truth(None),
    )


def _running(
    graph: Graph, images: str | None, frames_path: Path | None, layout: FrameOptions, limit: int | None
) -> _Run:
    """Counts of the numpy reference on images or frames."""
    if (images is None) == (frames_path is None):
        raise RefusedInput("expected one of --images SPEC, --frames FILE.npy and --trace RUN.h5 to count in")
    shown: Frames | ImageSet
    if frames_path is not None:
        shown = find_frames(graph, frames_path, layout, limit)
        frames, kind, said = shown.floats(), shown.kind, shown.assumed
        data = Data(spec=str(frames_path), sha256=sha256_of(frames_path) if frames_path.is_file() else shown.sha256)
    else:
        if layout.bin is not None or layout.time_first:
            raise RefusedInput("--bin and --time-first are of frames; expected --frames")
        resize = stated_resize(graph.metadata.preprocessing, graph.source)
        shown = load_images(str(images), image_size(graph), limit, resize)
        frames, kind, said = encode(graph, shown.images), None, ()
        data = Data(spec=str(images), sha256=shown.sha256)
    truth = Truth(None)
    if shown.labels is not None and classifies(graph) and (frames_path is not None or graph.metadata.label_names):
        truth = find_truth(shown, graph.metadata.label_names, graph.nodes[graph.output].shape[0], graph.source)
    graph, assumed = with_kind_of(graph, frames, kind)
    with progress_bar("running and counting") as advance:
        counts = count_running(graph, frames, layout.time_steps, progress=advance)
    return _Run(graph, counts, data, "reference", graph.precision, [*said, *assumed], truth)


def _ann_accuracy(graph: Graph, given: float | None, dense: bool) -> float | None:
    """As given, or as the file's table of the twin says."""
    stated = None if dense or graph.metadata.twin is None else graph.metadata.twin.get("accuracy")
    if given is not None or stated is None:
        return given
    if not isinstance(stated, int | float) or not 0 <= stated <= 1:
        raise RefusedInput(f"{graph.source}: its ANN twin has the accuracy {stated!r}; expected 0 to 1")
    return float(stated)


def _command(model: Path, options: Mapping[str, object], devices: list[str]) -> list[str]:
    """What was asked for, without the files that it was written to."""
    words = ["spikeclip-energy", str(model)]
    for option, value in options.items():
        words += [] if value is None else [option, str(value)]
    return words + [word for device in devices for word in ("--device", device)]


def main() -> None:
    """The entry point of the console script."""
    app()
