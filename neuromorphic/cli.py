"""`spikeclip-simulate`: a `.nir` graph on images, in Lava, every spike compared with PyTorch on request."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neuromorphic.errors import RefusedInput
from neuromorphic.targets.target import TARGETS, Lava, target_of
from spikeclip import options
from spikeclip.console import command_line, examples, progress_bar, refusals
from spikeclip.module_options import ModuleOptions

if TYPE_CHECKING:  # --help loads nothing that a run takes
    from neuromorphic.cluster.sharded import Sharing
    from neuromorphic.ir.graph import Graph

app = command_line()

CALIBRATION_IMAGES = 64
"""Images that units and rounding are chosen on."""

Backend = StrEnum("Backend", list(TARGETS))  # type: ignore[misc]

DEFAULT = Backend(Lava.name)

BACKENDS = "; ".join(f"{name}: {kind.says}" for name, kind in TARGETS.items())


Precision = Literal["float", "loihi2"]
Profile = Literal["compiler", "chip"]


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
    model: options.ModelOrModuleArgument = None,
    images: options.ImagesOption = None,
    frames: options.FramesOption = None,
    bin_size: options.BinOption = None,
    time_first: options.TimeFirstOption = False,
    time_steps: options.TimeStepsOption = None,
    dt: options.DtOption = None,
    reset: options.ResetOption = None,
    integrators: options.IntegratorsOption = None,
    written_by: options.WrittenByOption = None,
    check: Annotated[
        str | None,
        typer.Option(help="Checkpoint (path or shipped name) to compare every spike with; or a module, as --module."),
    ] = None,
    heads: options.HeadsOption = None,
    labels: options.LabelsOption = None,
    module: options.ModuleOption = None,
    weights: options.WeightsOption = None,
    frame: options.FrameOption = None,
    axes: options.AxesOption = None,
    input_kind: options.InputKindOption = None,
    batch: options.BatchOption = None,
    limit: options.LimitOption = None,
    skip_broken: options.SkipBrokenOption = False,
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
        Literal["layer", "channel"],
        typer.Option(help="Weights share an exponent in each layer, or in each output channel."),
    ] = "layer",
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
    ] = "compiler",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the trace (HDF5).")] = None,
    json_path: options.JsonOption = None,
    html_path: Annotated[Path | None, typer.Option("--html", help="Write the run as one page to look at.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Seconds that Lava may take in all, or for a shard; else 300 without progress end it."
        ),
    ] = None,
    cluster: options.ClusterOption = None,
    resume: options.ResumeOption = None,
) -> None:
    """Simulate a graph in Lava, step by step as on Loihi, and compare every spike with the PyTorch model.

    In the integers of the chip (`--precision loihi2`) a graph is quantised first, on `--calibrate` images, unless its
    file is quantised already; final membranes are compared too. `--save-onnx` writes these integers for any runtime.

    Graphs of other libraries say nothing of preprocessing, time steps and dt: `--frames`, `--time-steps`, `--dt`.

    Exit codes: 0 done, 1 the comparison found a difference, 2 the input was refused, 3 the simulation failed, 70 a bug
    of ours.
    """
    with refusals(), ExitStack() as stack:
        from energy.inputs import check_kind, with_input_kind
        from neuromorphic.cluster.sharded import Sharing
        from neuromorphic.execution.frames import timed
        from neuromorphic.loihi2.certificate import certify_widths
        from neuromorphic.loihi2.scheme import KEY
        from neuromorphic.placement import Limits, place, with_run
        from neuromorphic.reading.provenance import Asked
        from neuromorphic.runs.cli_inputs import Selection, open_graph, steps_of, truth_of, with_clipped
        from neuromorphic.runs.cli_integers import Quantising
        from neuromorphic.runs.cli_outcome import Outcome, Outputs
        from neuromorphic.runs.cli_shards import Simulation, runner_of, simulated
        from spikeclip.data import ImageSet

        if check is not None and module is None and ":" in check:
            check, module = None, check
        sharing = Sharing.of(cluster, resume)
        own = ModuleOptions.of(module, weights, frame, time_steps, axes, input_kind, batch)
        _check_together(own, sharing, precision, check, frames)
        chosen = Selection.of(images, frames, bin_size, time_first, time_steps, limit, skip_broken)
        quantising = Quantising(calibrate or (), calibration_images, granularity, quantized)
        limits = Limits.of(profile)
        outputs = Outputs(output, json_path, html_path, placement, quantized, onnx)
        read = (model, check, labels, *chosen.read, *quantising.read, *(() if own is None else own.files), cluster)
        outputs.check(read, (resume,))

        floats, prepared = open_graph(model, own, Asked(dt, reset, integrators, written_by))
        if own is None:
            floats = with_input_kind(floats, input_kind)
        in_integers = _of_integers(floats, precision)
        if not in_integers and (calibrate or quantized or onnx):
            raise RefusedInput(
                "--calibrate, --save-quantized and --save-onnx are of the integers; expected --precision loihi2"
            )
        if check is not None and in_integers and floats.metadata.document.get("expanded"):
            raise RefusedInput(
                f"{model}: --check knows attention in standard nodes in floats only; expected no --check"
            )
        found = chosen.find(floats, prepared)
        if not isinstance(found, ImageSet) and found.kind is None:
            check_kind(floats, found.values)
        if sharing is not None:
            sharing = stack.enter_context(sharing.started(() if check is None else ("export.checking",)))
        graph = floats
        if in_integers:
            floats = timed(floats, None if isinstance(found, ImageSet) else found.floats(), time_steps)
            assert model is not None  # a module is refused above
            graph = quantising.integers_of(model, floats, chosen.layout)
            found = with_clipped(graph, found)
        if onnx is not None:
            from export.onnx.integers.model import save

            save(graph, onnx)

        # Before the run, which takes longer: a graph or a checkpoint that doesn't fit is refused at once.
        truth, target = truth_of(graph, found), target_of(backend.value, timeout)
        if reasons := target.refuses(graph):
            raise RefusedInput("; ".join(reasons))
        placed = None if placement is None else place(graph, limits)
        steps = steps_of(graph, found, time_steps)
        pytorch, pixels = None, None
        if check is not None:
            pytorch, pixels = runner_of(check, floats, graph, chosen, found, heads, labels)
            if in_integers and KEY in floats.metadata.document:
                graph = graph.assuming(
                    f"the file's integers are taken for those of {check}: PyTorch computes with them"
                )
            if pytorch.prepared.checkpoint.label_names and not graph.metadata.label_names:
                graph = graph.assuming(f"the file names no classes; they are taken for those of {check}, in its order")
        simulation = Simulation(
            graph,
            steps,
            target,
            pytorch,
            prepared,
            floats=floats if html_path and graph is not floats else None,
            first=outputs.shown,
            of_neurons=bool(placement or html_path),
            unproven=in_integers and bool(certify_widths(graph).unproven),
        )
        with progress_bar(backend.value) as advance:
            run = simulated(simulation, found, pixels, sharing, output, advance)
        if placed is not None:
            placed = with_run(placed, graph, run.totals, None if isinstance(found, ImageSet) else found.values)
        outcome = Outcome(graph, model, found, truth, run, placed)
        outcome.show()
        outcome.write(outputs)
        if run.unwritten is not None:
            raise RefusedInput(run.unwritten)
        if outcome.parity is not None and not outcome.parity.exact:
            raise typer.Exit(1)


def _check_together(
    own: ModuleOptions | None,
    sharing: "Sharing | None",
    precision: Precision | None,
    check: str | None,
    frames: list[str] | None,
) -> None:
    """Refuse options that don't go with each other."""
    if own is not None and sharing is not None:
        raise RefusedInput(f"--module {own.spec} runs in this process only; expected no --cluster and no --resume")
    if own is not None and (precision == "loihi2" or check is not None):
        raise RefusedInput(f"--module {own.spec} is compared in floats; expected no --check and --precision float")
    if check is not None and frames:
        raise RefusedInput(f"{', '.join(frames)}: --check takes images; expected --images SPEC")


def _of_integers(graph: "Graph", asked_for: Precision | None) -> bool:
    """Whether the chip's integers are simulated, as asked for, else as the graph consists of some."""
    if asked_for == "float" and graph.precision != "float":
        raise RefusedInput(f"{graph.source}: holds the integers of the chip; expected no --precision float")
    return (asked_for or graph.precision) == "loihi2"
