"""`spikeclip-simulate`: a `.nir` graph on images, in Lava, every spike compared with PyTorch on request."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuromorphic.errors import RefusedInput
from neuromorphic.files import check_outputs, write_json, write_text
from neuromorphic.targets import TARGETS, Lava, Target
from spikeclip.console import command_line, console, examples, progress_bar, refusals, results, start, written
from spikeclip.module_options import ModuleOptions
from spikeclip.options import (
    AxesOption,
    BatchOption,
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
    SkipBrokenOption,
    TimeStepsOption,
    WeightsOption,
    WrittenByOption,
)

if TYPE_CHECKING:  # --help loads nothing that a run takes
    import numpy as np
    from numpy.typing import NDArray

    from export.frontend.door import PreparedModule
    from neuromorphic.ir.graph import Graph
    from neuromorphic.ir.parity import ParityReport
    from neuromorphic.ir.trace import Trace
    from neuromorphic.loihi2.scheme import Granularity
    from neuromorphic.ops import Overflows
    from neuromorphic.reading.provenance import Asked
    from spikeclip.data import ImageSet
    from spikeclip.predictions import Truth

app = command_line()

CALIBRATION_IMAGES = 64
"""Images that units and rounding are chosen on."""

Backend = StrEnum("Backend", list(TARGETS))  # type: ignore[misc]

DEFAULT = Backend(Lava.name)

BACKENDS = "; ".join(f"{name}: {kind.says}" for name, kind in TARGETS.items())


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
        "spikeclip simulate theirs.nir --frames spikes.npy --dt 1e-4",
        "spikeclip simulate --module mynet.py:make --weights best.pth --input 3,32,32 -T 4",
    )
)
def simulate(
    model: ModelOrModuleArgument = None,
    images: ImagesOption = None,
    frames_path: FramesOption = None,
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
    json_path: JsonOption = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help="Seconds that Lava may take in all; else 300 without progress end it."),
    ] = None,
) -> None:
    """Simulate a graph in Lava, step by step as on Loihi, and compare every spike with the PyTorch model.

    In the integers of the chip (`--precision loihi2`) a graph is quantised first, on `--calibrate` images, unless its
    file is quantised already; final membranes are compared too.

    Graphs of other libraries say nothing of preprocessing, time steps and dt: `--frames`, `--time-steps`, `--dt`.

    Exit codes: 0 done, 1 the comparison found a difference, 2 the input was refused, 3 the simulation failed, 70 a bug
    of ours.
    """
    with refusals():
        from neuromorphic.execution.frames import timed
        from neuromorphic.ir.parity import compare_common
        from neuromorphic.placement import picture, place
        from neuromorphic.reading.provenance import asked
        from neuromorphic.summary import (
            assumptions,
            classifies,
            cores,
            counted,
            displaced,
            document,
            outputs_differ,
            sentences,
            table,
        )
        from spikeclip.predictions import describe_images

        if check is not None and module is None and ":" in check:
            check, module = None, check
        own = ModuleOptions.of(module, weights, frame, time_steps, axes, input_kind, batch)
        if own is not None and (precision is Precision.loihi2 or check is not None):
            raise RefusedInput(f"--module {own.spec} is compared in floats; expected no --check and --precision float")
        drawing = None if placement is None else placement.with_suffix(".svg")
        check_outputs(
            {
                "-o": output,
                "--json": json_path,
                "--save-quantized": quantized,
                "--placement": placement,
                "--placement's picture": drawing,
            },
            (model, images, frames_path, calibrate, check, *(() if own is None else own.files)),
        )
        floats, prepared = _opened(model, own, asked(dt, reset, integrators, written_by))
        precision, graph = _arithmetic(floats, precision), floats
        target = _target(backend, timeout)
        if prepared is not None and images is None and frames_path is None:
            found = _random(prepared, limit)
        else:
            found = _shown(floats, images, frames_path, limit, only_images=check is not None, skip_broken=skip_broken)
        if precision is Precision.loihi2:
            if check is not None and floats.metadata.document.get("expanded"):
                raise RefusedInput(
                    f"{model}: --check knows attention in standard nodes in floats only; expected no --check"
                )
            floats = timed(floats, None if found.images is not None else found.frames, time_steps)
            assert model is not None  # a module is refused above
            graph = _integers(model, floats, calibrate, calibration_images, granularity.value, quantized)
        elif calibrate or quantized:
            raise RefusedInput("--calibrate and --save-quantized are of the integers; expected --precision loihi2")
        truth = _truth(graph, found)
        frames = _frames(graph, found)
        # Before the run, which takes longer: a graph or a checkpoint that doesn't fit is refused at once.
        if reasons := target.refuses(graph):
            raise RefusedInput("; ".join(reasons))
        if placement is not None:
            place(graph)
        reference = None if check is None else _reference(check, floats, graph, frames, heads, labels)
        with progress_bar(backend.value) as advance:
            trace = target.run(graph, frames, time_steps, progress=advance)
        report = None if reference is None else compare_common(trace, reference)
        if prepared is not None:
            report = _compared(prepared, trace, frames)
        placed = None if placement is None else place(graph, trace=trace)
        accuracy = truth.accuracy(trace.predictions)
        assumed = [*assumptions(graph), *truth.assumed, *found.assumed]
        said = [*assumed, *sentences(trace, accuracy, report)]
        if precision is Precision.loihi2:
            said += [*displaced(graph), *counted(graph), *_widths(graph, frames)]
        said += [] if placed is None else cores(placed)
        if classifies(graph):
            # Labels are the model's class numbers now, whatever they were in the images' source.
            names = () if graph.metadata.label_names else found.label_names
            results.print(table(graph, trace, found.names, truth.classes, names))
        for line in said:
            results.print(line, markup=False)
        if output is not None:
            trace.write(output)
        if placed is not None and placement is not None and drawing is not None:
            write_json(placement, placed.to_dict())
            write_text(drawing, picture(placed))
        if json_path is not None:
            result = {**document(graph, trace, report, accuracy), "assumed": assumed}
            if classifies(graph):
                result["per_image"] = describe_images(found.names, trace.scores, graph.metadata.label_names, truth)
            write_json(json_path, result)
        written(quantized, output, placement, drawing, json_path)
        if report is not None and (not report.exact or outputs_differ(trace, report)):
            raise typer.Exit(1)


def _arithmetic(graph: "Graph", asked_for: Precision | None) -> Precision:
    """As asked for; else that of the graph."""
    if asked_for is Precision.float and graph.precision != Precision.float.value:
        raise RefusedInput(f"{graph.source}: holds the integers of the chip; expected no --precision float")
    return asked_for or Precision(graph.precision)


def _target(backend: Backend, timeout: float | None) -> Target:
    kind = TARGETS[backend.value]
    return kind(timeout=timeout) if kind is Lava and timeout is not None else kind()


@dataclass(frozen=True)
class _Shown:
    """What a graph is run on: images, or frames as they are."""

    images: "ImageSet | None"
    frames: "NDArray[np.float32]"
    names: Sequence[str]
    assumed: Sequence[str] = ()

    @property
    def label_names(self) -> Sequence[str]:
        """Names that the images' own labels index."""
        return () if self.images is None else self.images.label_names


def _opened(model: Path | None, own: ModuleOptions | None, meant: "Asked") -> "tuple[Graph, PreparedModule | None]":
    """The graph in a file, or of a module; and the module, where one was named."""
    if own is not None:
        from export.frontend.command import opened

        return opened(model, own, meant)
    if model is None:
        raise RefusedInput("nothing to simulate; expected a graph (.nir), or --module FILE.py:FACTORY")
    from neuromorphic.reading.read import read_graph

    return read_graph(model, asked=meant), None


def _random(prepared: "PreparedModule", limit: int | None) -> _Shown:
    from export.frontend.command import random_inputs

    frames, said = random_inputs(prepared, limit)
    return _Shown(None, frames, [f"input {i}" for i in range(len(frames))], (said,))


def _compared(prepared: "PreparedModule", trace: "Trace", frames: "NDArray[np.float32]") -> "ParityReport":
    from export.frontend.parity import compare_module

    return compare_module(prepared, trace, prepared.record(frames))


def _shown(
    graph: "Graph",
    images: str | None,
    frames: Path | None,
    limit: int | None,
    *,
    only_images: bool,
    skip_broken: bool = False,
) -> _Shown:
    """The images or the frames that were named; exactly one of the two has to be.

    Args:
        graph: that reads them.
        images: SPEC of images.
        frames: file of frames.
        limit: take the first N only.
        only_images: whether something was asked for that takes images.
        skip_broken: whether files that can't be read are left out.
    """
    import numpy as np

    from neuromorphic.reading.frames import image_size, read_frames
    from spikeclip.data import load_images
    from spikeclip.preprocess import stated_resize

    if (images is None) == (frames is None):
        raise RefusedInput("nothing to run on, or two things; expected either --images SPEC or --frames FILE.npy")
    if frames is not None:
        if only_images:
            raise RefusedInput(f"{frames}: --check takes images; expected --images SPEC")
        read = read_frames(graph, frames, limit)
        return _Shown(None, read, [f"frames {i}" for i in range(len(read))])
    resize = stated_resize(graph.metadata.preprocessing, graph.source)
    found = load_images(str(images), image_size(graph), limit, resize, skip_broken=skip_broken)
    return _Shown(found, np.zeros(0, np.float32), found.names, found.left_out)


def _truth(graph: "Graph", found: _Shown) -> "Truth":
    """The right class of each image in the graph's numbering, where images have labels and outputs are classes."""
    from neuromorphic.summary import classifies
    from spikeclip.predictions import Truth, find_truth

    if found.images is None or not classifies(graph):
        return Truth(None)
    if "checkpoint" in graph.metadata.document and not graph.metadata.label_names:
        return Truth(None, ("the outputs are an embedding, not scores of classes: labels are not compared",))
    return find_truth(found.images, graph.metadata.label_names, graph.nodes[graph.output].shape[0], graph.source)


def _frames(graph: "Graph", found: _Shown) -> "NDArray[np.float32]":
    """What `graph` reads, in its integers where it consists of some."""
    from neuromorphic.loihi2.integers import graded
    from neuromorphic.reading.frames import encode

    if found.images is not None:
        return encode(graph, found.images.images)
    return graded(graph, found.frames) if graph.precision == "loihi2" else found.frames


def _integers(
    model: Path, floats: "Graph", calibrate: str | None, count: int, granularity: "Granularity", quantized: Path | None
) -> "Graph":
    """The integer graph of the file `model`, quantised here unless it is already."""
    from neuromorphic.loihi2.file import integer_graph, write_quantised
    from neuromorphic.loihi2.integers import integers
    from neuromorphic.loihi2.quantise import calibrate as find_scheme
    from neuromorphic.loihi2.quantise import with_scheme
    from neuromorphic.reading.recordings import is_recording

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
    recorded = calibrate.endswith(".npy") or is_recording(Path(calibrate))
    images, path = (None, Path(calibrate)) if recorded else (calibrate, None)
    shown = _shown(floats, images, path, count, only_images=False)
    with progress_bar("quantising") as advance:
        rounded, scheme = find_scheme(floats, _frames(floats, shown), granularity, progress=advance)
    if quantized is not None:
        write_quantised(model, rounded, scheme, quantized)
    return integers(with_scheme(rounded, scheme), scheme)


def _reference(
    checkpoint: str,
    floats: "Graph",
    graph: "Graph",
    frames: "NDArray[np.float32]",
    heads: int | None,
    labels: str | None,
) -> "Trace":
    from export.checking import torch_trace
    from neuromorphic.reading.frames import image_size

    size = None if heads is None else image_size(floats)
    with progress_bar("PyTorch") as advance:
        return torch_trace(
            checkpoint, floats, graph, frames, heads=heads, image_size=size, labels=labels, progress=advance
        )


def _widths(graph: "Graph", frames: "NDArray[np.float32]") -> list[str]:
    """Whether u and v keep to their widths: by proof, and where there is none, in this run."""
    from neuromorphic.execution.fast import count_overflows
    from neuromorphic.loihi2.certificate import certify
    from neuromorphic.summary import widths

    proof = certify(graph)
    found: dict[str, Overflows] = {}
    if proof.unproven:
        with progress_bar("widths") as advance:
            found = count_overflows(graph, frames, advance)
    return widths(proof, found)


def main() -> None:
    """The entry point of the console script."""
    start(app)
