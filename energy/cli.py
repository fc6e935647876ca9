"""`spikeclip-energy`: the operations of a `.nir` graph on images, against those of an ANN, counted and priced."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy.shipped import SHIPPED
from neuromorphic.errors import RefusedInput
from spikeclip import options
from spikeclip.console import command_line, examples, refusals, results, written
from spikeclip.module_options import ModuleOptions

if TYPE_CHECKING:  # --help loads nothing that counting takes
    from neuromorphic.ir.graph import Graph
    from neuromorphic.ir.parity import ParityReport

app = command_line()

ALL_DEVICES = list(SHIPPED)

UNRECORDED = frozenset(
    {"model", "json_path", "csv_path", "per_image", "html_path", "svg", "neurobench", "cluster", "resume"}
)
"""Parameters that no figure follows from: the file, which stands before them, where results go, and who counts."""


@app.command(
    epilog=examples(
        "spikeclip energy model.nir --images samples --html report.html --json counts.json",
        "spikeclip energy theirs.nir --frames spikes.npy --dt 1e-4 --device 45nm-int8",
        "spikeclip energy --module mynet.py:make --weights best.pth --input 3,32,32 -T 4 --neurobench mynet.json",
    )
)
def energy(
    context: typer.Context,
    model: options.ModelOrModuleArgument = None,
    images: options.ImagesOption = None,
    frames: options.FramesOption = None,
    bin_size: options.BinOption = None,
    time_first: options.TimeFirstOption = False,
    time_steps: options.TimeStepsOption = None,
    limit: options.LimitOption = None,
    skip_broken: options.SkipBrokenOption = False,
    trace: Annotated[Path | None, typer.Option(help="Count in this trace of spikeclip-simulate (.h5) instead.")] = None,
    dt: options.DtOption = None,
    reset: options.ResetOption = None,
    integrators: options.IntegratorsOption = None,
    written_by: options.WrittenByOption = None,
    input_kind: options.InputKindOption = None,
    module: options.ModuleOption = None,
    weights: options.WeightsOption = None,
    frame: options.FrameOption = None,
    axes: options.AxesOption = None,
    batch: options.BatchOption = None,
    device: Annotated[
        list[str],
        typer.Option(
            help=f"Price on this device: {', '.join(SHIPPED)} (all of them by default), or a .toml. Repeatable.",
            show_default=False,
        ),
    ] = ALL_DEVICES,
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
    json_path: options.JsonOption = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="Write one row per layer as CSV.")] = None,
    per_image: Annotated[Path | None, typer.Option(help="Write one row per image, layer and time step as CSV.")] = None,
    html_path: Annotated[Path | None, typer.Option("--html", help="Write the report as one HTML file.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the report's figures into this folder, as SVG.")] = None,
    neurobench: Annotated[Path | None, typer.Option(help="Write NeuroBench's metrics as JSON.")] = None,
    cluster: options.ClusterOption = None,
    resume: options.ResumeOption = None,
) -> None:
    """Count the synaptic operations and MACs of a graph on images, and those of an ANN, and price both.

    Spikes come from the numpy reference, or from a trace, as of Lava. Counts are exact; prices are published figures,
    none of them measured on the hardware that you may have in mind: the report names the source of each.

    With `--module` it counts your own network, without a file: this runs your Python, and compares its spikes with
    those that are counted (docs/frontend.md). The ANN is the one that a file describes, else the same layers, once.

    Exit codes: 0 done, 1 a spike of the module differs from those counted, 2 the input was refused.
    """
    with refusals():
        from energy.ann import dense_baseline
        from energy.assembly import assemble
        from energy.bit_matching import bit_matched
        from energy.cli_runs import compared, running, stored
        from energy.document import Accuracy
        from energy.inputs import with_input_kind
        from energy.origin import provenance
        from energy.outputs import Outputs
        from energy.prices import read_devices
        from energy.table import table
        from neuromorphic.cluster.sharded import Sharing
        from neuromorphic.ir.trace_shards import folder_of
        from neuromorphic.reading.provenance import Asked
        from neuromorphic.runs.cli_inputs import Selection, open_graph
        from neuromorphic.runs.summary import assumptions

        given = _given(context)
        outputs = Outputs(json_path, csv_path, per_image, html_path, svg, neurobench)
        sharing = Sharing.of(cluster, resume)
        if sharing is not None and trace is not None:
            raise RefusedInput(f"{trace}: a trace already holds its run; expected no --cluster and no --resume with it")
        own = ModuleOptions.of(module, weights, frame, time_steps, axes, input_kind, batch)
        chosen = Selection.of(images, frames, bin_size, time_first, time_steps, limit, skip_broken)
        read = (model, *chosen.read, trace, *(() if own is None else own.files), *device, cluster)
        outputs.check(read, (resume, None if trace is None else folder_of(trace)))
        devices = read_devices(device)
        graph, prepared = open_graph(model, own, Asked(dt, reset, integrators, written_by))
        if own is None:
            graph = with_input_kind(graph, input_kind)
        if trace is None:
            run = running(graph, prepared, chosen, sharing)
        else:
            run = stored(graph, trace, chosen, given.keys() - (() if own is None else {"--time-steps"}))
        counts = run.counts
        own_layers = dense_baseline(run.graph, counts.images)
        if dense or (counts.ann is None and own_layers.macs):
            counts = counts.model_copy(update={"ann": own_layers})
        narrow = [bit_matched(one, counts.time_steps) for one in devices] if matched else []
        if matched and not any(narrow):
            bits = counts.time_steps.bit_length()
            raise RefusedInput(
                f"--bit-matched needs a device of integers of more than {bits} bits (T = {counts.time_steps}); "
                "expected one such as --device 45nm-int8"
            )
        right, stated = run.truth.accuracy(counts.predictions), _ann_accuracy(run.graph, ann_accuracy, dense)
        report = assemble(
            run.graph,
            counts,
            devices,
            provenance(run.graph, run.data, _command(model, given)),
            run.producer,
            run.precision,
            [*assumptions(run.graph), *run.assumed, *run.truth.assumed],
            Accuracy(snn=right, ann=stated),
            [one for one in narrow if one is not None],
        )
        agrees = None if prepared is None or run.frames is None else compared(prepared, graph, run.frames)
        parity = [] if agrees is None else [_parity(agrees)]
        report = report.model_copy(update={"notes": [*report.notes, *parity]})
        results.print(table(counts, report))
        for sentence in parity:
            results.print(sentence, markup=False)
        outputs.write(report, counts, written)
        if agrees is not None and agrees.mismatches:
            raise typer.Exit(1)


def _parity(report: "ParityReport") -> str:
    compared = f"{report.spikes_compared:,} spikes of {report.images} inputs"
    wrong = f"{report.mismatches:,}" if report.mismatches else "none"
    return f"parity: {compared}, your own forward against the graph that was counted: {wrong} different"


def _ann_accuracy(graph: "Graph", given: float | None, dense: bool) -> float | None:
    """The accuracy of the ANN as it was given, else as the file's table of the twin states it."""
    stated = None if dense or graph.metadata.twin is None else graph.metadata.twin.get("accuracy")
    if given is not None or stated is None:
        return given
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 <= stated <= 1:
        raise RefusedInput(f"{graph.source}: its ANN twin has the accuracy {stated!r}; expected 0 to 1")
    return float(stated)


def _given(context: typer.Context) -> dict[str, list[str]]:
    """The options that figures follow from, each with its values; a flag with none."""
    found: dict[str, list[str]] = {}
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in UNRECORDED or value is None or value is False or value in ((), []):
            continue
        values = value if isinstance(value, list | tuple) else [] if value is True else [value]
        found[max(parameter.opts, key=len)] = [str(each) for each in values]
    # Devices stand behind other values, and flags last, as in all reports so far.
    return dict(sorted(found.items(), key=lambda each: (each[0] == "--device") + 2 * (not each[1])))


def _command(model: Path | None, given: Mapping[str, list[str]]) -> list[str]:
    """The command, without the files that results go to."""
    words = ["spikeclip-energy", *([] if model is None else [str(model)])]
    for option, values in given.items():
        words += [option] if not values else [word for value in values for word in (option, value)]
    return words
