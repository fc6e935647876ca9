"""`spikeclip-simulate`: a `.nir` graph on images, in Lava, every spike compared with PyTorch on request."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuromorphic.errors import RefusedInput
from neuromorphic.files import check_outputs, write_json, write_text
from neuromorphic.targets.target import TARGETS, Lava
from spikeclip.console import command_line, examples, progress_bar, refusals, results, written
from spikeclip.module_options import ModuleOptions
from spikeclip.options import (
    AxesOption,
    BatchOption,
    BinOption,
    ClusterOption,
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
    ResumeOption,
    SkipBrokenOption,
    TimeFirstOption,
    TimeStepsOption,
    WeightsOption,
    WrittenByOption,
)

if TYPE_CHECKING:  # --help loads nothing that a run takes
    from neuromorphic.ir.graph import Graph

app = command_line()

CALIBRATION_IMAGES = 64
"""Images that units and rounding are chosen on."""

Backend = StrEnum("Backend", list(TARGETS))  # type: ignore[misc]

DEFAULT = Backend(Lava.name)

BACKENDS = "; ".join(f"{name}: {kind.says}" for name, kind in TARGETS.items())


class Profile(StrEnum):
    """The limits of a core: `placement.PROFILES`."""

    compiler = "compiler"
    chip = "chip"


class Precision(StrEnum):
    """The arithmetic."""

    float = "float"
    loihi2 = "loihi2"


class Grain(StrEnum):
    """What weights share an exponent in."""

    layer = "layer"
    channel = "channel"


@app.command(
    epilog=examples(
        "spikeclip simulate model.nir --images samples --check spike-driven-small -o run.h5",
        "spikeclip simulate model.nir --images cifar10:DIR:test --limit 500 --precision loihi2 "
        "--calibrate cifar10:DIR:train --check spike-driven-small --placement cores.json",
        "spikeclip simulate theirs.nir --frames spikes.npy --dt 1e-4 --html run.html",
        "spikeclip simulate --module mynet.py:make --weights best.pth --input 3,32,32 -T 4",
    )
)
def simulate(
    model: ModelOrModuleArgument = None,
    images: ImagesOption = None,
    frames: FramesOption = None,
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
    skip_broken: SkipBrokenOption = False,
    backend: Annotated[Backend, typer.Option(help=f"What runs the graph. {BACKENDS}.")] = DEFAULT,
    precision: Annotated[
        Precision | None, typer.Option(help="The arithmetic to simulate; float, but for files of integers (netx).")
    ] = None,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(help="Images to quantise on for --precision loihi2, as for --images; or frames, as for --frames."),
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
    ] = Profile.compiler,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the trace (HDF5).")] = None,
    json_path: JsonOption = None,
    html_path: Annotated[Path | None, typer.Option("--html", help="Write the run as one page to look at.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Seconds that Lava may take in all, or for a shard; else 300 without progress end it."
        ),
    ] = None,
    cluster: ClusterOption = None,
    resume: ResumeOption = None,
) -> None:
    """Simulate a graph in Lava, step by step as on Loihi, and compare every spike with the PyTorch model.

    In the integers of the chip (`--precision loihi2`) a graph is quantised first, on `--calibrate` images, unless its
    file is quantised already; final membranes are compared too. `--save-onnx` writes these integers for any runtime.

    Graphs of other libraries say nothing of preprocessing, time steps and dt: `--frames`, `--time-steps`, `--dt`.

    Exit codes: 0 done, 1 the comparison found a difference, 2 the input was refused, 3 the simulation failed, 70 a bug
    of ours.
    """
    with refusals():
        from neuromorphic.cluster.sharded import Sharing
        from neuromorphic.execution.frames import timed
        from neuromorphic.loihi2.certificate import certify
        from neuromorphic.placement import Limits, picture, place
        from neuromorphic.reading.events import parse_bin
        from neuromorphic.reading.frames import FrameOptions, named_files
        from neuromorphic.reading.provenance import asked
        from neuromorphic.runs.cli_inputs import assumed_of, inputs_for, open_graph, steps_of, truth_of
        from neuromorphic.runs.cli_integers import integers_of, widths_of
        from neuromorphic.runs.cli_shards import PYTORCH, Simulation, runner_of, simulated
        from neuromorphic.runs.summary import (
            assumptions,
            classifies,
            cores,
            counted,
            displaced,
            document,
            sentences,
            table,
        )
        from spikeclip.data import ImageSet
        from spikeclip.predictions import describe_images

        if check is not None and module is None and ":" in check:
            check, module = None, check
        sharing = Sharing.of(cluster, resume)
        own = ModuleOptions.of(module, weights, frame, time_steps, axes, input_kind, batch)
        if own is not None and sharing is not None:
            raise RefusedInput(f"--module {own.spec} runs in this process only; expected no --cluster and no --resume")
        if own is not None and (precision is Precision.loihi2 or check is not None):
            raise RefusedInput(f"--module {own.spec} is compared in floats; expected no --check and --precision float")
        files = named_files(frames or ())
        learnt = (*(calibrate or ()), *named_files(calibrate or ()).values())
        drawing = None if placement is None else placement.with_suffix(".svg")
        limits = Limits.of(profile.value)
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
            (model, images, check, *files.values(), *learnt, *(() if own is None else own.files)),
        )
        floats, prepared = open_graph(model, own, asked(dt, reset, integrators, written_by))
        precision, graph = _arithmetic(floats, precision), floats
        kind = TARGETS[backend.value]
        target = kind(timeout=timeout) if kind is Lava and timeout is not None else kind()
        layout = FrameOptions(None if bin_size is None else parse_bin(bin_size), time_first, time_steps)
        if check is not None and frames:
            raise RefusedInput(f"{', '.join(frames)}: --check takes images; expected --images SPEC")
        found = inputs_for(floats, prepared, images, files, layout, limit, skip_broken=skip_broken)
        if precision is Precision.loihi2:
            if check is not None and floats.metadata.document.get("expanded"):
                raise RefusedInput(
                    f"{model}: --check knows attention in standard nodes in floats only; expected no --check"
                )
            floats = timed(floats, None if isinstance(found, ImageSet) else found.floats(), time_steps)
            assert model is not None  # a module is refused above
            graph = integers_of(model, floats, calibrate, calibration_images, layout, granularity.value, quantized)
            if onnx is not None:
                from export.onnx.integers.model import save

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
        steps = steps_of(graph, found, time_steps)
        pytorch, pixels, first = None, None, 0
        if check is not None:
            pytorch, pixels = runner_of(check, floats, graph, found, heads, labels, str(images), limit, skip_broken)
        if html_path is not None:
            from neuromorphic.runs.content import SHOWN

            first = SHOWN
        simulation = Simulation(
            graph,
            steps,
            target,
            pytorch,
            prepared,
            floats=floats if first and graph is not floats else None,
            first=first,
            of_neurons=bool(placement or first),
            unproven=precision is Precision.loihi2 and bool(certify(graph).unproven),
        )
        with progress_bar(backend.value) as advance:
            run = simulated(simulation, found, pixels, sharing, output, advance)
        totals, report = run.totals, run.reports.get(PYTORCH)
        own_frames = None if isinstance(found, ImageSet) else found.values
        placed = None if placement is None else place(graph, limits, totals, frames=own_frames)
        accuracy = truth.accuracy(totals.answers.predictions)
        assumed = [*assumptions(graph), *assumed_of(found), *truth.assumed]
        said = [*assumed, *sentences(totals, accuracy, report)]
        if precision is Precision.loihi2:
            said += [*displaced(graph), *counted(graph), *widths_of(graph, totals.answers)]
        said += [] if placed is None else cores(placed)
        if classifies(graph):
            results.print(table(graph, totals, found.names, truth.classes, truth.label_names))
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
            from neuromorphic.runs.content import Run, described_graph
            from neuromorphic.runs.page import html  # jinja2 takes a while

            assert run.first is not None
            drawn, pixels = described_graph(graph, model), found.images if isinstance(found, ImageSet) else None
            page = Run(drawn, totals, run.first, run.reports, pixels, described, accuracy, placed, said)
            write_text(html_path, html(page))
        written(quantized, onnx, None if run.unwritten else output, placement, drawing, json_path, html_path)
        if run.unwritten is not None:
            raise RefusedInput(run.unwritten)
        if report is not None and not report.exact:
            raise typer.Exit(1)


def _arithmetic(graph: "Graph", asked_for: Precision | None) -> Precision:
    """As asked for; else that of the graph."""
    if asked_for is Precision.float and graph.precision != Precision.float.value:
        raise RefusedInput(f"{graph.source}: holds the integers of the chip; expected no --precision float")
    return asked_for or Precision(graph.precision)
