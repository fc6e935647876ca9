"""`spikeclip-energy`: the operations of a `.nir` graph on images, against those of its ANN twin, counted and priced."""

from pathlib import Path
from typing import Annotated

import typer

from energy.assemble import assemble
from energy.counts import OperationCounts
from energy.document import Data
from energy.prices import SHIPPED, read_devices
from energy.provenance import provenance, sha256_of
from energy.rows import write_images, write_layers
from energy.streaming import count_running, count_stored
from energy.table import table
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.reading.frames import encode, image_size, read_frames
from neuromorphic.reading.read import read_graph
from spikeclip.console import progress_bar, refusals, require_folders, results

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def energy(
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
    limit: Annotated[int | None, typer.Option(help="Take the first N images only.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Count in this trace of spikeclip-simulate (.h5) instead.")] = None,
    dt: Annotated[float | None, typer.Option(help="Seconds per time step, where the file doesn't say.")] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Price on this device: {', '.join(SHIPPED)} (all of them by default), or a .toml. Repeatable."
        ),
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the report as JSON.")] = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="Write one row per layer as CSV.")] = None,
    per_image: Annotated[Path | None, typer.Option(help="Write one row per image, layer and time step as CSV.")] = None,
    html_path: Annotated[Path | None, typer.Option("--html", help="Write the report as one HTML file.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the report's figures into this folder, as SVG.")] = None,
) -> None:
    """Count the synaptic operations and MACs of a graph on images, and those of its ANN twin, and price both.

    Spikes come from the numpy reference, or from a trace, as of Lava. Counts are exact; prices are published figures,
    none of them measured on the hardware that you may have in mind: the report names the source of each.

    Example: `spikeclip-energy model.nir --images samples --html report.html --json counts.json`
    """
    with refusals():
        require_folders(json_path, csv_path, per_image, html_path, svg)
        names = list(SHIPPED) if device is None else device
        if svg is not None and svg.exists() and not svg.is_dir():
            raise RefusedInput(f"{svg}: is a file; expected a folder for the figures")
        devices = read_devices(names)
        graph = read_graph(model, dt)
        shown = {"--images": images, "--frames": frames_path, "--time-steps": time_steps, "--limit": limit}
        if trace is not None:
            counts, data, run = _stored(graph, trace, [option for option, value in shown.items() if value is not None])
        else:
            counts, data, run = _running(graph, images, frames_path, time_steps, limit)
        command = _command(model, {**shown, "--trace": trace, "--dt": dt}, names)
        report = assemble(graph, counts, devices, provenance(graph, data, command), *run)
    if json_path is not None:
        json_path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if csv_path is not None:
        with csv_path.open("w") as file:
            write_layers(counts, file)
    if per_image is not None:
        with per_image.open("w") as file:
            write_images(counts, file)
    if html_path is not None or svg is not None:
        from energy.report import figures, html

        if html_path is not None:
            html_path.write_text(html(report), encoding="utf-8")
        if svg is not None:
            svg.mkdir(exist_ok=True)
            for name, figure in figures(report).items():
                (svg / f"{name}.svg").write_text(figure, encoding="utf-8")
    results.print(table(counts, report))


def _stored(graph: Graph, path: Path, given: list[str]) -> tuple[OperationCounts, Data, tuple[str, str]]:
    """Counts of the trace at `path`; what they are of, and what ran."""
    if given:
        raise RefusedInput(f"{path}: a trace already holds its run; expected no {' and no '.join(given)} with it")
    with progress_bar("counting") as advance:
        counts, trace = count_stored(graph, path, progress=advance)
    return counts, Data(spec=str(path), sha256=sha256_of(path)), (trace.producer, trace.precision)


def _running(
    graph: Graph, images: str | None, frames_path: Path | None, time_steps: int | None, limit: int | None
) -> tuple[OperationCounts, Data, tuple[str, str]]:
    """Counts of the numpy reference on images or frames; what they are of, and what ran."""
    if (images is None) == (frames_path is None):
        raise RefusedInput("expected one of --images SPEC, --frames FILE.npy and --trace RUN.h5 to count in")
    if frames_path is not None:
        frames = read_frames(graph, frames_path, limit)
        data = Data(spec=str(frames_path), sha256=sha256_of(frames_path))
    else:
        from spikeclip.data import load_images
        from spikeclip.preprocess import stated_resize

        resize = stated_resize(graph.metadata.preprocessing, graph.source)
        loaded = load_images(str(images), image_size(graph), limit, resize)
        frames, data = encode(graph, loaded.images), Data(spec=str(images), sha256=loaded.sha256)
    with progress_bar("running and counting") as advance:
        counts = count_running(graph, frames, time_steps, progress=advance)
    return counts, data, ("reference", graph.precision)


def _command(model: Path, options: dict[str, object], devices: list[str]) -> list[str]:
    """What was asked for, without the files that it was written to."""
    words = ["spikeclip-energy", str(model)]
    for option, value in options.items():
        words += [] if value is None else [option, str(value)]
    return words + [word for device in devices for word in ("--device", device)]


def main() -> None:
    """The entry point of the console script."""
    app()
