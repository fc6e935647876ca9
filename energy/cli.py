"""`spikeclip-energy`: the operations of a `.nir` graph on images, against those of its ANN twin."""

import json
from pathlib import Path
from typing import Annotated

import typer

from energy.counting import count
from energy.table import csv_text, table
from neuromorphic.errors import RefusedInput
from neuromorphic.frames import encode, image_size
from neuromorphic.graph import Graph
from neuromorphic.read import read_graph
from neuromorphic.reference import run_in_batches
from neuromorphic.trace import Trace
from spikeclip.console import progress_bar, refusals, require_folders, results

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

FORMAT_VERSION = 1


@app.command()
def energy(
    model: Annotated[Path, typer.Argument(help="A graph written by spikeclip-export (.nir).")],
    images: Annotated[
        str | None,
        typer.Option(help="samples, FILE.npz, an image, a folder, cifar10:DIR[:train|:test] or cifar100:DIR[...]."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Take the first N images only.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Count in this trace of spikeclip-simulate (.h5) instead.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the counts as JSON.")] = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="Write one row per layer as CSV.")] = None,
) -> None:
    """Count the synaptic operations and MACs of a graph on images, and the MACs of its ANN twin.

    Spikes come from the numpy reference, or from a trace, as of Lava. Counts are exact; they are no energy yet: that
    takes the prices of a device, and what memory costs there.

    Example: `spikeclip-energy model.nir --images samples --json counts.json`
    """
    with refusals(RefusedInput):
        require_folders(json_path, csv_path)
        graph = read_graph(model)
        shown = _trace(graph, images, limit, trace)
        with progress_bar("counting") as advance:
            counts = count(graph, shown, advance)
    if json_path is not None:
        origin = {"model": graph.source, "producer": shown.producer, "precision": shown.precision}
        document = {"format_version": FORMAT_VERSION, **origin, **counts.to_dict()}
        json_path.write_text(json.dumps(document, indent=2) + "\n")
    if csv_path is not None:
        csv_path.write_text(csv_text(counts))
    results.print(table(counts))


def _trace(graph: Graph, images: str | None, limit: int | None, path: Path | None) -> Trace:
    """The trace at `path`, or else that of the numpy reference on `images`."""
    if path is not None:
        if images is not None or limit is not None:
            raise RefusedInput(f"{path}: a trace already holds its images; expected no --images and no --limit with it")
        return Trace.read(path)
    if images is None:
        raise RefusedInput("nothing to count in; expected --images SPEC or --trace RUN.h5")
    from spikeclip.data import load_images

    frames = encode(graph, load_images(images, image_size(graph), limit).images)
    with progress_bar("running") as advance:
        return run_in_batches(graph, frames, progress=advance)


def main() -> None:
    """The entry point of the console script."""
    app()
