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
from neuromorphic.frames import encode, image_size
from neuromorphic.graph import Graph
from neuromorphic.read import read_graph
from spikeclip.console import progress_bar, refusals, require_folders, results

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def energy(
    model: Annotated[Path, typer.Argument(help="A graph written by spikeclip-export (.nir).")],
    images: Annotated[
        str | None,
        typer.Option(help="samples, FILE.npz, an image, a folder, cifar10:DIR[:train|:test] or cifar100:DIR[...]."),
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
    with refusals(RefusedInput):
        require_folders(json_path, csv_path, per_image, html_path, svg)
        names = list(SHIPPED) if device is None else device
        if svg is not None and svg.exists() and not svg.is_dir():
            raise RefusedInput(f"{svg}: is a file; expected a folder for the figures")
        devices = read_devices(names)
        graph = read_graph(model, dt)
        counts, data, run = _counts(graph, images, limit, trace)
        command = _command(model, images, limit, trace, dt, names)
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


def _counts(
    graph: Graph, images: str | None, limit: int | None, path: Path | None
) -> tuple[OperationCounts, Data, tuple[str, str]]:
    """Counts of the trace at `path`, or else of the numpy reference on `images`; what they are of, and what ran."""
    if path is not None:
        if images is not None or limit is not None:
            raise RefusedInput(f"{path}: a trace already holds its images; expected no --images and no --limit with it")
        with progress_bar("counting") as advance:
            counts, trace = count_stored(graph, path, progress=advance)
        return counts, Data(spec=str(path), sha256=sha256_of(path)), (trace.producer, trace.precision)
    if images is None:
        raise RefusedInput("nothing to count in; expected --images SPEC or --trace RUN.h5")
    from spikeclip.data import load_images

    loaded = load_images(images, image_size(graph), limit)
    with progress_bar("running and counting") as advance:
        counts = count_running(graph, encode(graph, loaded.images), progress=advance)
    return counts, Data(spec=images, sha256=loaded.sha256), ("reference", graph.precision)


def _command(
    model: Path, images: str | None, limit: int | None, trace: Path | None, dt: float | None, devices: list[str]
) -> list[str]:
    """What was asked for, without the files that it was written to."""
    words = ["spikeclip-energy", str(model)]
    for option, value in (("--images", images), ("--limit", limit), ("--trace", trace), ("--dt", dt)):
        words += [] if value is None else [option, str(value)]
    return words + [word for device in devices for word in ("--device", device)]


def main() -> None:
    """The entry point of the console script."""
    app()
