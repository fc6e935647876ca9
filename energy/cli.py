"""`spikeclip-energy`: the operations of a `.nir` graph on images, against those of an ANN, counted and priced."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from energy.shipped import SHIPPED
from neuromorphic.errors import RefusedInput
from spikeclip.console import command_line, examples, progress_bar, refusals, results, start, written
from spikeclip.options import (
    DtOption,
    FramesOption,
    ImagesOption,
    IntegratorsOption,
    JsonOption,
    LimitOption,
    ModelArgument,
    ResetOption,
    SkipBrokenOption,
    TimeStepsOption,
    WrittenByOption,
)

if TYPE_CHECKING:  # --help loads nothing that counting takes
    from energy.counts import OperationCounts
    from energy.document import Data
    from neuromorphic.ir.graph import Graph
    from neuromorphic.ir.metadata import InputKind
    from spikeclip.predictions import Truth

app = command_line()


class InputKindOption(StrEnum):
    """The choices of `--input-kind`: `metadata.InputKind`."""

    REAL = "real"
    SPIKES = "spikes"
    COUNTS = "counts"


@app.command(
    epilog=examples(
        "spikeclip energy model.nir --images samples --html report.html --json counts.json",
        "spikeclip energy theirs.nir --frames spikes.npy --dt 1e-4 --device 45nm-int8",
    )
)
def energy(
    model: ModelArgument,
    images: ImagesOption = None,
    frames_path: FramesOption = None,
    time_steps: TimeStepsOption = None,
    limit: LimitOption = None,
    skip_broken: SkipBrokenOption = False,
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
    """
    with refusals():
        from energy.ann import dense_baseline
        from energy.assembly import assemble
        from energy.bit_matching import bit_matched
        from energy.document import Accuracy
        from energy.inputs import with_input_kind
        from energy.origin import provenance
        from energy.outputs import Outputs
        from energy.prices import read_devices
        from energy.table import table
        from neuromorphic.reading.provenance import asked
        from neuromorphic.reading.read import read_graph
        from neuromorphic.summary import assumptions

        outputs = Outputs(json_path, csv_path, per_image, html_path, svg, neurobench)
        names = list(SHIPPED) if device is None else device
        outputs.check((model, images, frames_path, trace, *names))
        devices = read_devices(names)
        read = read_graph(model, asked=asked(dt, reset, integrators, written_by))
        graph = with_input_kind(read, cast("InputKind | None", input_kind and input_kind.value))
        shown = {"--images": images, "--frames": frames_path, "--time-steps": time_steps, "--limit": limit}
        if trace is not None:
            run = _stored(graph, trace, frames_path, [option for option, value in shown.items() if value is not None])
        else:
            run = _running(graph, images, frames_path, time_steps, limit, skip_broken)
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
        switches = {"--skip-broken": skip_broken, "--dense-baseline": dense, "--bit-matched": matched}
        flags = [flag for flag, given in switches.items() if given]
        command = [*_command(model, options, names), *flags]
        narrow = [bit_matched(one, counts.time_steps) for one in devices] if matched else []
        if matched and not any(narrow):
            raise RefusedInput("--bit-matched needs a device of integers; expected one such as --device 45nm-int8")
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
        outputs.write(report, counts)
        written(json_path, csv_path, per_image, html_path, svg, neurobench)


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

    graph: "Graph"
    counts: "OperationCounts"
    data: "Data"
    producer: str
    precision: str
    assumed: list[str]
    truth: "Truth"


def _stored(graph: "Graph", path: Path, frames_path: Path | None, given: list[str]) -> _Run:
    """Counts of the trace at `path`, whose frames are needed only where the input sends spikes."""
    from energy.document import Data
    from energy.inputs import with_kind_of
    from energy.origin import sha256_of
    from energy.streaming import count_stored
    from neuromorphic.reading.frames import read_frames
    from spikeclip.predictions import Truth

    spiking = graph.metadata.input_kind in ("spikes", "counts")
    if odd := [option for option in given if not (spiking and option == "--frames")]:
        raise RefusedInput(f"{path}: a trace already holds its run; expected no {' and no '.join(odd)} with it")
    frames = None if frames_path is None else read_frames(graph, frames_path)
    assumed = [] if frames is None else with_kind_of(graph, frames, frames.dtype)[1]
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
    graph: "Graph",
    images: str | None,
    frames_path: Path | None,
    time_steps: int | None,
    limit: int | None,
    skip_broken: bool,
) -> _Run:
    """Counts of the numpy reference on images or frames."""
    from energy.document import Data
    from energy.inputs import with_kind_of
    from energy.origin import sha256_of
    from energy.streaming import count_running
    from neuromorphic.reading.frames import as_floats, encode, image_size, stored_frames
    from neuromorphic.summary import classifies
    from spikeclip.data import load_images
    from spikeclip.predictions import Truth, find_truth
    from spikeclip.preprocess import stated_resize

    if (images is None) == (frames_path is None):
        raise RefusedInput("expected one of --images SPEC, --frames FILE.npy and --trace RUN.h5 to count in")
    truth, left_out = Truth(None), []
    if frames_path is not None:
        stored = stored_frames(graph, frames_path)[:limit]
        frames, dtype = as_floats(stored, frames_path), stored.dtype
        data = Data(spec=str(frames_path), sha256=sha256_of(frames_path))
    else:
        resize = stated_resize(graph.metadata.preprocessing, graph.source)
        loaded = load_images(str(images), image_size(graph), limit, resize, skip_broken=skip_broken)
        left_out = list(loaded.left_out)
        frames, data = encode(graph, loaded.images), Data(spec=str(images), sha256=loaded.sha256)
        dtype = frames.dtype
        if loaded.labels is not None and classifies(graph) and graph.metadata.label_names:
            outputs = graph.nodes[graph.output].shape[0]
            truth = find_truth(loaded, graph.metadata.label_names, outputs, graph.source)
    graph, assumed = with_kind_of(graph, frames, dtype)
    assumed += left_out
    with progress_bar("running and counting") as advance:
        counts = count_running(graph, frames, time_steps, progress=advance)
    return _Run(graph, counts, data, "reference", graph.precision, assumed, truth)


def _ann_accuracy(graph: "Graph", given: float | None, dense: bool) -> float | None:
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
    start(app)
