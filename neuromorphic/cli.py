"""`spikeclip-simulate`: a `.nir` graph on images, in Lava, every spike compared with PyTorch on request."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from neuromorphic.cli_comparisons import FLOATS, PYTORCH, with_checkpoint, with_floats, with_module
from neuromorphic.cli_inputs import Shown, frames_of, presented, shown, truth_of
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.frames import timed
from neuromorphic.files import check_outputs, write_json, write_text
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.certificate import certify
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.integers import integers
from neuromorphic.loihi2.quantise import calibrate as find_scheme
from neuromorphic.loihi2.quantise import with_scheme
from neuromorphic.loihi2.scheme import Granularity
from neuromorphic.ops import Overflows
from neuromorphic.placement import PROFILES, Limits, ProfileName, picture, place
from neuromorphic.reading.events import parse_bin
from neuromorphic.reading.frames import FrameOptions, Frames
from neuromorphic.reading.provenance import Asked, asked
from neuromorphic.reading.read import read_graph
from neuromorphic.reading.recordings import is_recording
from neuromorphic.streaming import Presented, passed
from neuromorphic.summary import (
    assumptions,
    classifies,
    cores,
    counted,
    displaced,
    document,
    sentences,
    table,
    widths,
)
from neuromorphic.targets import TARGETS, Lava
from spikeclip.console import console, progress_bar, refusals, results, written
from spikeclip.data import ImageSet, load_images
from spikeclip.module_options import ModuleOptions
from spikeclip.options import (
    AxesOption,
    BatchOption,
    BinOption,
    DtOption,
    FrameOption,
    FramesOption,
    HeadsOption,
    ImagesOption,
    InputKindOption,
    IntegratorsOption,
    JsonOption,
    LabelsOption,
    LimitOption,
    ModelOrModuleArgument,
    ModuleOption,
    ResetOption,
    TimeFirstOption,
    TimeStepsOption,
    WeightsOption,
    WrittenByOption,
)
from spikeclip.predictions import describe_images
from spikeclip.preprocess import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from export.frontend.door import PreparedModule

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

CALIBRATION_IMAGES = 64
"""Images that units and rounding are chosen on."""

Backend = StrEnum("Backend", list(TARGETS))  # type: ignore[misc]

DEFAULT = Backend(Lava.name)

BACKENDS = "; ".join(f"{name}: {kind.says}" for name, kind in TARGETS.items())


Profile = StrEnum("Profile", list(PROFILES))  # type: ignore[misc]
DEFAULT_PROFILE = Profile(Limits().profile)


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
    model: ModelOrModuleArgument = None,
    images: ImagesOption = None,
    frames_path: FramesOption = None,
    bin_size: BinOption = None,
    time_first: TimeFirstOption = False,
    time_steps: TimeStepsOption = None,
    dt: DtOption = None,
    reset: ResetOption = None,
    integrators: IntegratorsOption = None,
    written_by: WrittenByOption = None,
    check: Annotated[
        str | None,
        typer.Option(help="Checkpoint (path or shipped name) to compare every spike with; or a module, as --module."),
    ] = None,
    heads: HeadsOption = None,
    labels: LabelsOption = None,
    module: ModuleOption = None,
    weights: WeightsOption = None,
    frame: FrameOption = None,
    axes: AxesOption = None,
    input_kind: InputKindOption = None,
    batch: BatchOption = None,
    limit: LimitOption = None,
    backend: Annotated[Backend, typer.Option(help=f"What runs the graph. {BACKENDS}.")] = DEFAULT,
    precision: Annotated[
        Precision | None, typer.Option(help="The arithmetic to simulate; float, but for files of integers (netx).")
    ] = None,
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
    onnx: Annotated[
        Path | None,
        typer.Option("--save-onnx", help="Write the integers as a model of integer operators (.onnx; docs/onnx.md)."),
    ] = None,
    placement: Annotated[
        Path | None, typer.Option(help="Place the graph on Loihi 2's cores: JSON here, a picture (.svg) beside it.")
    ] = None,
    profile: Annotated[
        Profile,
        typer.Option("--limits", help="Of a core: as Intel's compiler fills them, or as the chip's brief states them."),
    ] = DEFAULT_PROFILE,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the trace (HDF5).")] = None,
    json_path: JsonOption = None,
    html_path: Annotated[Path | None, typer.Option("--html", help="Write the run as one page to look at.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help="Seconds that Lava may take in all; else 300 without progress end it."),
    ] = None,
) -> None:
    """Simulate a graph in Lava, step by step as on Loihi, and compare every spike with the PyTorch model.

    In the integers of the chip (`--precision loihi2`) a graph is quantised first, on `--calibrate` images, unless its
    file is quantised already; final membranes are compared too. `--save-onnx` writes these integers for any runtime.

    Graphs of other libraries say nothing of preprocessing, time steps and dt: `--frames`, `--time-steps`, `--dt`.

    Exit codes: 0 done, 1 the comparison found a difference, 2 the input was refused, 3 the simulation failed, 70 a bug
    of ours.

    Examples: `spikeclip-simulate model.nir --images samples --check spike-driven-small -o run.h5`,
    `spikeclip-simulate model.nir --images cifar10:DIR:test --limit 500 --precision loihi2
    --calibrate cifar10:DIR:train --check spike-driven-small --placement cores.json`,
    `spikeclip-simulate theirs.nir --frames spikes.npy --dt 1e-4 --html run.html`,
    `spikeclip-simulate --module mynet.py:make --weights best.pth --input 3,32,32 -T 4`
    """
    with refusals():
        if check is not None and module is None and ":" in check:
            check, module = None, check
        own = ModuleOptions.of(module, weights, frame, time_steps, axes, input_kind, batch)
        if own is not None and (precision is Precision.loihi2 or check is not None):
            raise RefusedInput(f"--module {own.spec} is compared in floats; expected no --check and --precision float")
        drawing = None if placement is None else placement.with_suffix(".svg")
        limits = Limits.of(cast(ProfileName, profile.value))
        check_outputs(
            {
                "-o": output,
                "--json": json_path,
                "--html": html_path,
                "--save-quantized": quantized,
                "--save-onnx": onnx,
                "--placement": placement,
                "--placement's picture": drawing,
            },
            (model, images, frames_path, calibrate, check, *(() if own is None else own.files)),
        )
        floats, prepared = _opened(model, own, asked(dt, reset, integrators, written_by))
        precision, graph = _arithmetic(floats, precision), floats
        kind = TARGETS[backend.value]
        target = kind(timeout=timeout) if kind is Lava and timeout is not None else kind()
        layout = FrameOptions(None if bin_size is None else parse_bin(bin_size), time_first, time_steps)
        found: Shown = (
            _random(prepared, limit)
            if prepared is not None and images is None and frames_path is None
            else shown(floats, images, frames_path, limit, layout, only_images=check is not None)
        )
        if precision is Precision.loihi2:
            if check is not None and floats.metadata.document.get("expanded"):
                raise RefusedInput(
                    f"{model}: --check knows attention in standard nodes in floats only; expected no --check"
                )
            floats = timed(floats, None if isinstance(found, ImageSet) else found.floats(), time_steps)
            assert model is not None  # a module is refused above
            graph = _integers(model, floats, calibrate, calibration_images, layout, granularity.value, quantized)
            if onnx is not None:
                from export.onnx.integers import save

                save(graph, onnx)
        elif calibrate or quantized or onnx:
            raise RefusedInput(
                "--calibrate, --save-quantized and --save-onnx are of the integers; expected --precision loihi2"
            )
        truth = truth_of(graph, found)
        # Before the run, which takes longer: a graph or a checkpoint that doesn't fit is refused at once.
        if reasons := target.refuses(graph):
            raise RefusedInput("; ".join(reasons))
        if placement is not None:
            place(graph, limits)
        given = presented(graph, found, time_steps)
        comparisons, compared = {}, None
        if check is not None:

            def images_for(settings: Preprocessing) -> "NDArray[np.uint8]":
                return load_images(str(images), settings.image_size, limit, settings.resize).images

            comparisons[PYTORCH], compared = with_checkpoint(check, floats, given, heads, labels, images_for)
        if prepared is not None:
            comparisons[PYTORCH] = with_module(prepared, given)
        if html_path is not None and graph is not floats:
            comparisons[FLOATS] = with_floats(presented(floats, found, time_steps))
        first = 0
        if html_path is not None:
            from neuromorphic.run_page import SHOWN  # jinja2 takes a while

            first = SHOWN
        with progress_bar(backend.value) as advance:
            run = passed(given.traces(target, advance), comparisons, output, first, of_neurons=bool(placement or first))
        totals, report = run.totals, run.reports.get(PYTORCH)
        if report is not None:
            report = replace(report, frames=compared)
        own_frames = None if isinstance(found, ImageSet) else found.values
        placed = None if placement is None else place(graph, limits, totals, frames=own_frames)
        accuracy = truth.accuracy(totals.answers.predictions)
        assumed = [*assumptions(graph), *(found.assumed if isinstance(found, Frames) else ()), *truth.assumed]
        said = [*assumed, *sentences(totals, accuracy, report)]
        if precision is Precision.loihi2:
            said += [*displaced(graph), *counted(graph), *_widths(given)]
        said += [] if placed is None else cores(placed)
        if classifies(graph):
            # Labels are the model's class numbers now, whatever they were in the images' source.
            names = () if graph.metadata.label_names else found.label_names
            results.print(table(graph, totals, found.names, truth.classes, names))
        for line in said:
            results.print(line, markup=False)
        if placed is not None and placement is not None and drawing is not None:
            write_json(placement, placed.to_dict())
            write_text(drawing, picture(placed))
        names = graph.metadata.label_names
        described = describe_images(found.names, totals.answers.scores, names, truth) if classifies(graph) else []
        if json_path is not None:
            result = {**document(graph, totals, report, accuracy), "assumed": assumed}
            write_json(json_path, {**result, "per_image": described} if classifies(graph) else result)
        if html_path is not None:
            from neuromorphic.run_page import Run, described_graph, html

            assert run.first is not None
            inspected, pixels = described_graph(graph, model), found.images if isinstance(found, ImageSet) else None
            page = Run(inspected, totals, run.first, run.reports, pixels, described, accuracy, placed, said)
            write_text(html_path, html(page))
        written(quantized, onnx, output, placement, drawing, json_path, html_path)
        if report is not None and not report.exact:
            raise typer.Exit(1)


def _arithmetic(graph: Graph, asked_for: Precision | None) -> Precision:
    """As asked for; else that of the graph."""
    if asked_for is Precision.float and graph.precision != Precision.float.value:
        raise RefusedInput(f"{graph.source}: holds the integers of the chip; expected no --precision float")
    return asked_for or Precision(graph.precision)


def _opened(model: Path | None, own: ModuleOptions | None, meant: Asked) -> "tuple[Graph, PreparedModule | None]":
    """The graph in a file, or of a module; and the module, where one was named."""
    if own is not None:
        from export.frontend.command import opened

        return opened(model, own, meant)
    if model is None:
        raise RefusedInput("nothing to simulate; expected a graph (.nir), or --module FILE.py:FACTORY")
    return read_graph(model, asked=meant), None


def _random(prepared: "PreparedModule", limit: int | None) -> Frames:
    from export.frontend.command import random_inputs

    frames, said = random_inputs(prepared, limit)
    names = tuple(f"input {i}" for i in range(len(frames)))
    return Frames(frames, names, "the module", assumed=(said,))


def _integers(
    model: Path,
    floats: Graph,
    calibrate: str | None,
    count: int,
    layout: FrameOptions,
    granularity: Granularity,
    quantized: Path | None,
) -> Graph:
    """The integer graph of the file `model`, quantised here unless it is already."""
    graph = integer_graph(floats)
    if graph is floats and quantized is None:  # a netx file: integers without floats behind them
        if calibrate is not None:
            console.print("the file holds integers: --calibrate changes nothing", markup=False)
        return graph
    if graph is not None:
        if calibrate or quantized:
            raise RefusedInput(f"{model}: is quantised already; expected no --calibrate and no --save-quantized")
        return graph
    if calibrate is None:
        raise RefusedInput(
            f"{model}: is not quantised; expected --calibrate SPEC, images (or FILE.npy, frames) to quantise it on"
        )
    path = Path(calibrate)
    recorded = floats.metadata.preprocessing is None or path.suffix == ".npy" or is_recording(path)
    calibrated = shown(floats, None if recorded else calibrate, path if recorded else None, count, layout)
    with progress_bar("quantising") as advance:
        rounded, scheme = find_scheme(floats, frames_of(floats, calibrated), granularity, progress=advance)
    if quantized is not None:
        write_quantised(model, rounded, scheme, quantized)
    return integers(with_scheme(rounded, scheme), scheme)


def _widths(given: Presented) -> list[str]:
    """Whether u and v keep to their widths: by proof, and where there is none, in this run."""
    proof = certify(given.graph)
    found: dict[str, Overflows] = {}
    if proof.unproven:
        with progress_bar("widths") as advance:
            found = given.overflows(advance)
    return widths(proof, found)


def main() -> None:
    """The entry point of the console script."""
    app()
