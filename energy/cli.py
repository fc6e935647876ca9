"""`spikeclip-energy`: the operations of a `.nir` graph on images, against those of an ANN, counted and priced."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy.shipped import SHIPPED
from neuromorphic.errors import RefusedInput
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
    ImagesOption,
    InputKindOption,
    IntegratorsOption,
    JsonOption,
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

if TYPE_CHECKING:  # --help loads nothing that counting takes
    import numpy as np
    from numpy.typing import NDArray

    from energy.counts import OperationCounts
    from energy.document import Data
    from export.frontend.door import PreparedModule
    from neuromorphic.cluster.sharded import Sharing
    from neuromorphic.ir.graph import Graph
    from neuromorphic.ir.metadata import InputKind
    from neuromorphic.ir.parity import ParityReport
    from neuromorphic.reading.frames import FrameOptions
    from spikeclip.predictions import Truth

app = command_line()

COMPARED_INPUTS = 4
"""The first ones, on which a module's spikes are compared with those that are counted."""


@app.command(
    epilog=examples(
        "spikeclip energy model.nir --images samples --html report.html --json counts.json",
        "spikeclip energy theirs.nir --frames spikes.npy --dt 1e-4 --device 45nm-int8",
        "spikeclip energy --module mynet.py:make --weights best.pth --input 3,32,32 -T 4 --neurobench mynet.json",
    )
)
def energy(
    model: ModelOrModuleArgument = None,
    images: ImagesOption = None,
    frames: FramesOption = None,
    bin_size: BinOption = None,
    time_first: TimeFirstOption = False,
    time_steps: TimeStepsOption = None,
    limit: LimitOption = None,
    skip_broken: SkipBrokenOption = False,
    trace: Annotated[Path | None, typer.Option(help="Count in this trace of spikeclip-simulate (.h5) instead.")] = None,
    dt: DtOption = None,
    reset: ResetOption = None,
    integrators: IntegratorsOption = None,
    written_by: WrittenByOption = None,
    input_kind: InputKindOption = None,
    module: ModuleOption = None,
    weights: WeightsOption = None,
    frame: FrameOption = None,
    axes: AxesOption = None,
    batch: BatchOption = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Price on this device: {', '.join(SHIPPED)} (all of them by default), or a .toml. Repeatable."
        ),
    ] = None,
    dense: Annotated[
        bool,
        typer.Option(
            "--dense-baseline",
            help="Compare with the graph's own layers, once on real values, whatever ANN the file describes.",
        ),
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
    cluster: ClusterOption = None,
    resume: ResumeOption = None,
) -> None:
    """Count the synaptic operations and MACs of a graph on images, and those of an ANN, and price both.

    Spikes come from the numpy reference, or from a trace, as of Lava. Counts are exact; prices are published figures,
    none of them measured on the hardware that you may have in mind: the report names the source of each.

    With `--module` it counts your own network, without a file: this runs your Python, and compares its spikes with
    those that are counted (docs/frontend.md). The ANN is the one that a file describes, else the same layers, once.
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
        from neuromorphic.cluster.sharded import Sharing
        from neuromorphic.reading.events import parse_bin
        from neuromorphic.reading.frames import FrameOptions, named_files
        from neuromorphic.reading.provenance import asked
        from neuromorphic.runs.cli_inputs import open_graph
        from neuromorphic.runs.summary import assumptions

        outputs = Outputs(json_path, csv_path, per_image, html_path, svg, neurobench)
        names = list(SHIPPED) if device is None else device
        sharing = Sharing.of(cluster, resume)
        if sharing is not None and trace is not None:
            raise RefusedInput(f"{trace}: a trace already holds its run; expected no --cluster and no --resume with it")
        own = ModuleOptions.of(module, weights, frame, time_steps, axes, input_kind, batch)
        files = named_files(frames or ())
        outputs.check((model, images, *files.values(), trace, *(() if own is None else own.files), *names))
        devices = read_devices(names)
        meant = {"--dt": dt, "--reset": reset, "--integrators": integrators, "--written-by": written_by}
        graph, prepared = open_graph(model, own, asked(dt, reset, integrators, written_by))
        if own is None:
            graph = with_input_kind(graph, None if input_kind is None else input_kind.value)
        layout = FrameOptions(None if bin_size is None else parse_bin(bin_size), time_first, time_steps)
        shown = {
            "--images": images,
            "--frames": frames or None,
            "--bin": bin_size,
            "--time-steps": time_steps,
            "--limit": limit,
        }
        if trace is not None:
            of_module = set() if own is None else {"--time-steps"}
            given = [option for option, value in shown.items() if value is not None and option not in of_module]
            run = _stored(graph, trace, files, layout, given)
        else:
            inputs = _inputs(graph, prepared, images, files, layout, limit, skip_broken)
            run = _running(graph, inputs, time_steps, sharing)
        counts = run.counts
        own_layers = dense_baseline(run.graph, counts.images)
        if dense or (counts.ann is None and own_layers.macs):
            counts = counts.model_copy(update={"ann": own_layers})
        options = {
            **shown,
            "--trace": trace,
            **meant,
            "--module": module,
            "--weights": weights,
            "--input": frame,
            "--axes": axes,
            "--batch": batch,
            "--input-kind": input_kind,
            "--ann-accuracy": ann_accuracy,
        }
        switches = {
            "--time-first": time_first,
            "--skip-broken": skip_broken,
            "--dense-baseline": dense,
            "--bit-matched": matched,
        }
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
        compared = None if prepared is None or run.frames is None else _compared(prepared, graph, run.frames)
        parity = None if compared is None else _parity(compared)
        report = report.model_copy(update={"notes": [*report.notes, *([] if parity is None else [parity])]})
        results.print(table(counts, report))
        if parity is not None:
            results.print(parity, markup=False)
        outputs.write(report, counts)
        written(json_path, csv_path, per_image, html_path, svg, neurobench)
        if compared is not None and compared.mismatches:
            raise typer.Exit(1)


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
        frames: that ran; None of a trace.
    """

    graph: "Graph"
    counts: "OperationCounts"
    data: "Data"
    producer: str
    precision: str
    assumed: list[str]
    truth: "Truth"
    frames: "NDArray[np.float32] | None" = None


def _stored(graph: "Graph", path: Path, files: Mapping[str, Path], layout: "FrameOptions", given: list[str]) -> _Run:
    """Counts of the trace at `path`, whose frames are needed only where the input sends spikes."""
    from energy.document import Data
    from energy.inputs import with_kind_of
    from energy.streaming import count_stored
    from neuromorphic.files import sha256_of
    from neuromorphic.reading.frames import find_frames
    from spikeclip.predictions import Truth

    spiking = graph.metadata.input_kind in ("spikes", "counts")
    if odd := [option for option in given if not (spiking and option in ("--frames", "--bin"))]:
        raise RefusedInput(f"{path}: a trace already holds its run; expected no {' and no '.join(odd)} with it")
    found = find_frames(graph, files, layout) if files else None
    frames = None if found is None else found.floats()
    assumed = [] if found is None or frames is None else [*found.assumed, *with_kind_of(graph, frames, found.kind)[1]]
    with progress_bar("counting") as advance:
        counts, trace = count_stored(graph, path, progress=advance, frames=frames)
    from neuromorphic.analysis.fingerprint import check_trace

    assumed = [*assumed, *check_trace(graph, trace)]
    return _Run(
        graph,
        counts,
        Data(spec=str(path), sha256=sha256_of(path)),
        trace.producer,
        trace.precision,
        assumed,
        Truth(None),
    )


@dataclass(frozen=True)
class _Inputs:
    """What a graph runs on: frames, of the kind that their file says, and what is known of them."""

    frames: "NDArray[np.float32]"
    kind: "InputKind | None"
    data: "Data"
    truth: "Truth"
    assumed: tuple[str, ...] = ()


def _inputs(
    graph: "Graph",
    prepared: "PreparedModule | None",
    images: str | None,
    files: Mapping[str, Path],
    layout: "FrameOptions",
    limit: int | None,
    skip_broken: bool,
) -> _Inputs:
    """Images or frames as they were named; of a module, random frames where none were."""
    from energy.document import Data
    from neuromorphic.files import sha256_of
    from neuromorphic.runs.cli_inputs import assumed_of, frames_of, inputs_for, truth_of
    from spikeclip.data import ImageSet

    if (images is None) != bool(files) and not (images is None and prepared is not None):
        raise RefusedInput("expected one of --images SPEC, --frames FILE.npy and --trace RUN.h5 to count in")
    found = inputs_for(graph, prepared, images, files, layout, limit, skip_broken=skip_broken)
    of_files = ", ".join(f"{name}={path}" if name else str(path) for name, path in files.items())
    spec = images or of_files or f"{len(found.names)} random inputs"
    path, *more = files.values() or [None]
    digest = sha256_of(path) if path is not None and path.is_file() and not more else found.sha256
    frames, kind = frames_of(graph, found), None if isinstance(found, ImageSet) else found.kind
    return _Inputs(frames, kind, Data(spec=spec, sha256=digest), truth_of(graph, found), assumed_of(found))


def _running(graph: "Graph", inputs: _Inputs, time_steps: int | None, sharing: "Sharing | None") -> _Run:
    """Counts of the numpy reference on them, shard by shard."""
    from energy.counts import RECORDS, OperationCounts
    from energy.inputs import with_kind_of
    from energy.streaming import Counting
    from neuromorphic.analysis.fingerprint import fingerprint
    from neuromorphic.cluster.sharded import sharded
    from neuromorphic.execution.frames import per_step
    from neuromorphic.runs.streaming import shards

    graph, assumed = with_kind_of(graph, inputs.frames, inputs.kind)
    per_step(graph, inputs.frames, time_steps)  # before a shard of them runs

    def of_run() -> dict[str, Any]:
        return {
            "command": "energy",
            "graph": fingerprint(graph),
            "input_kind": graph.metadata.input_kind,
            "ann": None if graph.metadata.twin is None else dict(graph.metadata.twin),
            "time_steps": time_steps,
            "frames": sha256(inputs.frames.tobytes()).hexdigest(),
        }

    with progress_bar("running and counting") as advance:
        counts = OperationCounts.joined(
            sharded(
                Counting(graph, time_steps),
                lambda number, part: inputs.frames[part],
                shards(graph, len(inputs.frames)),
                sharing,
                of_run,
                RECORDS,
                progress=advance,
            )
        )
    said = [*inputs.assumed, *assumed]
    return _Run(graph, counts, inputs.data, "reference", graph.precision, said, inputs.truth, inputs.frames)


def _compared(prepared: "PreparedModule", graph: "Graph", frames: "NDArray[np.float32]") -> "ParityReport":
    """The spikes of the first inputs, counted ones against those of the module's own forward."""
    from export.frontend.parity import compare_module
    from neuromorphic.execution.reference import run as run_reference

    first = frames[:COMPARED_INPUTS]
    return compare_module(prepared, run_reference(graph, first), prepared.record(first))


def _parity(report: "ParityReport") -> str:
    compared = f"{report.spikes_compared:,} spikes of {report.images} inputs"
    wrong = f"{report.mismatches:,}" if report.mismatches else "none"
    return f"parity: {compared}, your own forward against the graph that was counted: {wrong} different"


def _ann_accuracy(graph: "Graph", given: float | None, dense: bool) -> float | None:
    """As given, or as the file's table of the twin says."""
    stated = None if dense or graph.metadata.twin is None else graph.metadata.twin.get("accuracy")
    if given is not None or stated is None:
        return given
    if not isinstance(stated, int | float) or not 0 <= stated <= 1:
        raise RefusedInput(f"{graph.source}: its ANN twin has the accuracy {stated!r}; expected 0 to 1")
    return float(stated)


def _command(model: Path | None, options: Mapping[str, object], devices: list[str]) -> list[str]:
    """What was asked for, without the files that it was written to."""
    words = ["spikeclip-energy", *([] if model is None else [str(model)])]
    for option, value in options.items():
        values = value if isinstance(value, list) else [] if value is None else [value]
        words += [word for each in values for word in (option, str(each))]
    return words + [word for device in devices for word in ("--device", device)]
