"""Loihi 2's integers in Lava: milliseconds per image against floats, Lava's fixed-point processes and PyTorch.

The encoder is exported and quantised on the images given.  Measured as in `benchmarks.lava`: our models in float and in
integers at the default batch, in integers one image at a time, the float encoder in PyTorch at batch 1, and Lava's own
fixed-point processes on one image of the same integer graph.

Before that, some images are compared with the reference: every spike and every final membrane.

    python -m benchmarks.loihi2 CKPT --images cifar10:DIR:train --json loihi2.json
"""

from collections.abc import Callable
from dataclasses import asdict
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.table import Table

import export
import neuromorphic
import spikeclip
from benchmarks.lava import Timing, medians, time_lava, time_torch
from neuromorphic.execution.batches import MOST as BATCH
from neuromorphic.execution.reference import run
from neuromorphic.files import write_json
from neuromorphic.lava.job import Models
from neuromorphic.lava.simulation import simulate
from neuromorphic.loihi2.quantise import quantise
from spikeclip.console import console, refusals, results
from spikeclip.data import load_images
from spikeclip.options import JsonOption

COMPARED = 2
"""Images that our models run for the comparison; stock ones run the first."""


def check(graph: neuromorphic.Graph, frames: NDArray[np.float32], models: Models) -> dict[str, Any]:
    """Lava's spikes and final membranes on `frames`, float32 `[N, *input shape]`, against the reference's."""
    report = neuromorphic.compare(simulate(graph, frames, precision="loihi2", models=models), run(graph, frames))
    keys = ("images", "spikes_compared", "mismatches", "membranes_compared", "membrane_mismatches")
    return {key: getattr(report, key) for key in keys} | {"exact": report.exact}


def measure(checkpoint: str, spec: str, rounds: int, stock: bool, report: Callable[[str], None]) -> dict[str, Any]:
    """All timings of one encoder and their ratios, as a JSON document.

    Args:
        checkpoint: a path, or the name of one that ships.
        spec: images, as the commands take them; the integer graph is calibrated on them too.
        rounds: timings of each, taken in turn.
        stock: whether to run Lava's own processes too, which takes minutes.
        report: told what is being timed.

    Raises:
        RefusedInput: the checkpoint or the images are refused.
    """
    loaded = spikeclip.load(checkpoint)
    images = load_images(spec, loaded.config.image_size, 4 * BATCH).images
    floats = neuromorphic.from_nir(export.prepare(loaded).graph, checkpoint)
    report("quantising")
    integers, _ = quantise(floats, neuromorphic.encode(floats, images))
    frames, graded = neuromorphic.encode(floats, images), neuromorphic.encode(integers, images)
    pixels = torch.from_numpy(loaded.preprocessing(images))
    report("spikes")
    document: dict[str, Any] = {"format_version": 1, "checkpoint": checkpoint, "rounds": rounds, "batch": BATCH}
    document["check"] = check(integers, graded[:COMPARED], "fused")
    timings: dict[str, list[Timing]] = {"float": [], "loihi2": [], "loihi2_single": []}
    pytorch: dict[int, list[float]] = {1: [], torch.get_num_threads(): []}
    for i in range(rounds):
        report(f"round {i + 1} of {rounds}")
        for threads, durations in pytorch.items():
            durations.append(time_torch(loaded.model, pixels, threads))
        timings["float"].append(time_lava(floats, frames, BATCH, "fused"))
        timings["loihi2"].append(time_lava(integers, graded, BATCH, "fused"))
        timings["loihi2_single"].append(time_lava(integers, graded, 1, "fused"))
    document["pytorch_ms"] = min(median(durations) for durations in pytorch.values())
    document.update({key: medians(found) for key, found in timings.items()})
    if stock:
        report("Lava's own fixed-point processes, one image")
        document["stock_check"] = check(integers, graded[:1], "stock")
        document["stock"] = asdict(time_lava(integers, graded, 1, "stock"))
    document["ratios"] = _ratios(document)
    return document


def _ratios(document: dict[str, Any]) -> dict[str, float]:
    per_image = {key: document[key]["per_image"] for key in ("float", "loihi2", "loihi2_single")}
    ratios = {
        "loihi2_to_float": per_image["loihi2"] / per_image["float"],
        "loihi2_to_pytorch": per_image["loihi2"] / document["pytorch_ms"],
        "loihi2_single_to_pytorch": per_image["loihi2_single"] / document["pytorch_ms"],
    }
    if stock := document.get("stock"):
        ratios["stock_to_loihi2"] = stock["per_image"] / per_image["loihi2"]
        ratios["stock_to_loihi2_single"] = stock["per_image"] / per_image["loihi2_single"]
    return ratios


def show(document: dict[str, Any]) -> None:
    """Print the document as tables."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "ms per image", "startup ms", "filling ms"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("PyTorch in float, batch 1", f"{document['pytorch_ms']:.1f}")
    rows = {
        "float": f"Lava, float, batch {document['batch']}",
        "loihi2": f"Lava, loihi2, batch {document['batch']}",
        "loihi2_single": "Lava, loihi2, batch 1",
        "stock": "Lava's fixed-point processes",
    }
    for key, label in rows.items():
        if timing := document.get(key):
            table.add_row(label, *(f"{timing[part]:.1f}" for part in ("per_image", "startup", "filling")))
    results.print(table)
    for key, ratio in document["ratios"].items():
        results.print(f"{key.replace('_', ' ')}: {ratio:.2f}")
    for key, label in {"check": "ours", "stock_check": "Lava's own"}.items():
        if found := document.get(key):
            results.print(
                f"{label}, {found['images']} images: {found['spikes_compared']:,} spikes and "
                f"{found['membranes_compared']:,} final membranes compared with the reference; "
                f"{found['mismatches']:,} and {found['membrane_mismatches']:,} mismatches"
            )


def main(
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint: its path, or the name of one that ships.")
    ] = "spike-driven-small",
    images: Annotated[str, typer.Option(help="samples, FILE.npz, a folder, cifar10:DIR:train, ...")] = "samples",
    rounds: Annotated[int, typer.Option(help="Timings of each, taken in turn.")] = 5,
    stock: Annotated[bool, typer.Option(help="Run Lava's own fixed-point processes too (minutes).")] = True,
    json_path: JsonOption = None,
) -> None:
    """Time loihi2 in Lava; exit code 1 where a spike or a membrane differs from the reference."""
    with refusals(), console.status("loading") as status:
        document = measure(checkpoint, images, rounds, stock, status.update)
    show(document)
    if json_path is not None:
        write_json(json_path, document)
    if not all(document.get(key, {"exact": True})["exact"] for key in ("check", "stock_check")):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
