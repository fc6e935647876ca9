"""Lava against PyTorch: milliseconds per image of one encoder, in one run.

Measured are the fused models at the default batch and one image at a time, the plain PyTorch forward of the same
encoder at batch 1, and Lava's own processes on one image.  Each round times all but the last one after the other, so
that whatever else the machine does weighs on all of them; the table holds the medians over the rounds.

Before that, one batch is compared spike by spike with PyTorch, and the memory of Lava's processes is watched.

PyTorch runs with one thread and with as many as it likes, and the faster counts.  Lava's steady state is the time
between two batches that leave it, after the first: T steps, whatever the depth.  Startup (to compile the network and
start its processes) and filling the pipeline are reported apart.

    python -m benchmarks.lava CKPT --images cifar10:DIR:test --json lava.json
    python -m benchmarks.lava paper-base --random --no-stock
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
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
from benchmarks.memory import PeakMemory
from benchmarks.random_checkpoint import random_checkpoint
from neuromorphic.execution.batches import MOST as BATCH
from neuromorphic.files import write_json
from neuromorphic.ir.trace import Trace
from neuromorphic.lava.job import Models
from neuromorphic.lava.simulation import simulate
from spikeclip.config import preset
from spikeclip.console import console, refusals, results
from spikeclip.data import load_images
from spikeclip.options import JsonOption

BAR = 10.0
"""Lava may take so many times as long per image as PyTorch."""

BATCHES = 4
"""Batches of images per timing that leave Lava at steady state."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one run of Lava.

    Attributes:
        startup: until Lava's processes wait for the first step.
        filling: until the first batch has left.
        per_image: between two batches, divided by the images of a batch.
    """

    startup: float
    filling: float
    per_image: float


def time_lava(graph: neuromorphic.Graph, frames: NDArray[np.float32], batch: int, models: Models) -> Timing:
    """Run `BATCHES` + 1 batches of `frames`, float32 `[N, *input shape]`; stock models run a single image."""
    images = batch if models == "stock" else batch * (BATCHES + 1)
    marks: list[tuple[int, float]] = []
    begin = time.perf_counter()
    simulate(
        graph,
        np.resize(frames, (images, *frames.shape[1:])),
        precision=graph.precision,
        batch=batch,
        models=models,
        progress=lambda done, total: marks.append((done, time.perf_counter() - begin)),
    )
    started = marks[0][1]
    filled = next(at for done, at in marks if done)
    # Between batches that leave; or, where a single image ran, between any T steps, which cost the same.
    ticks = [at for done, at in marks if done] if images > batch else [at for _, at in marks[:-1]]
    gaps = [after - before for before, after in pairwise(ticks)]
    return Timing(1e3 * started, 1e3 * (filled - started), 1e3 * median(gaps) / batch)


def time_torch(model: torch.nn.Module, x: torch.Tensor, threads: int) -> float:
    """Milliseconds per image of `model` on x `[N, C, H, W]`, one image at a time, with so many threads."""
    torch.set_num_threads(threads)
    durations = []
    with torch.no_grad():
        for image in x.split(1):
            begin = time.perf_counter()
            model(image)
            durations.append(time.perf_counter() - begin)
    return 1e3 * median(durations[1:])  # the first one warms up


def check(prepared: export.Prepared, graph: neuromorphic.Graph, frames: NDArray[np.float32]) -> dict[str, Any]:
    """Lava's spikes on `frames`, float32 `[N, *input shape]`, against PyTorch's, and the memory that Lava takes."""
    recorded = export.record(prepared, frames)
    spikes = {node.name: recorded.spikes[node.name] for node in graph.populations}
    with PeakMemory() as memory:
        trace = simulate(graph, frames)
    report = neuromorphic.compare(trace, Trace("torch", "float", spikes, recorded.outputs, graph.metadata.readout))
    return {
        "images": report.images,
        "spikes_compared": report.spikes_compared,
        "mismatches": report.mismatches,
        "output_difference": report.output_difference,
        "lava_bytes": memory.bytes,
        "lava_processes": memory.processes,
    }


def measure(
    checkpoint: str, spec: str, random: bool, rounds: int, stock: bool, report: Callable[[str], None]
) -> dict[str, Any]:
    """All timings of one encoder and their ratios, as a JSON document.

    Args:
        checkpoint: a path, the name of one that ships, or the name of a preset where it is to be `random`.
        spec: images, as the commands take them.
        random: whether to take random weights.
        rounds: timings of each, taken in turn.
        stock: whether to run Lava's own processes too, which takes minutes.
        report: told what is being timed.

    Raises:
        RefusedInput: the checkpoint or the images are refused.
    """
    if random:
        images = load_images(spec, preset(checkpoint).image_size, 4 * BATCH).images
        loaded = random_checkpoint(checkpoint, images[:BATCH])
    else:
        loaded = spikeclip.load(checkpoint)
        images = load_images(spec, loaded.config.image_size, 4 * BATCH).images
    prepared = export.prepare(loaded)
    graph = neuromorphic.from_nir(prepared.graph, checkpoint)
    frames, pixels = neuromorphic.encode(graph, images), torch.from_numpy(loaded.preprocessing(images))
    pytorch: dict[int, list[float]] = {1: [], torch.get_num_threads(): []}
    fused: dict[int, list[Timing]] = {BATCH: [], 1: []}
    document: dict[str, Any] = {"format_version": 1, "checkpoint": checkpoint, "random": random}
    report("spikes")
    document["check"] = check(prepared, graph, frames[:BATCH])
    for i in range(rounds):
        report(f"round {i + 1} of {rounds}")
        for threads, durations in pytorch.items():
            durations.append(time_torch(loaded.model, pixels, threads))
        for batch, timings in fused.items():
            timings.append(time_lava(graph, frames, batch, "fused"))
    document.update(rounds=rounds, batch=BATCH)
    document["pytorch_ms_by_threads"] = {threads: median(durations) for threads, durations in pytorch.items()}
    document["pytorch_ms"] = min(document["pytorch_ms_by_threads"].values())
    document["fused"] = medians(fused[BATCH])
    document["fused_single"] = medians(fused[1])
    document["fused_to_pytorch"] = document["fused"]["per_image"] / document["pytorch_ms"]
    document["fused_single_to_pytorch"] = document["fused_single"]["per_image"] / document["pytorch_ms"]
    document["bar"] = BAR
    if stock:
        report("Lava's own processes, one image")
        document["stock"] = asdict(time_lava(graph, frames, 1, "stock"))
        document["stock_to_fused_single"] = document["stock"]["per_image"] / document["fused_single"]["per_image"]
    return document


def medians(timings: list[Timing]) -> dict[str, float]:
    """Of every figure, over several runs."""
    return {key: median(asdict(timing)[key] for timing in timings) for key in asdict(timings[0])}


def show(document: dict[str, Any]) -> None:
    """Print the document as a table."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "ms per image", "to PyTorch", "startup ms", "filling ms"):
        table.add_column(column, justify="left" if not column else "right")
    pytorch = document["pytorch_ms"]
    table.add_row("PyTorch, batch 1", f"{pytorch:.1f}", "1.0")
    rows = {"fused": f"Lava, batch {document['batch']}", "fused_single": "Lava, batch 1", "stock": "Lava, stock"}
    for key, label in rows.items():
        if timing := document.get(key):
            cost = timing["per_image"]
            times = (f"{timing['startup']:.0f}", f"{timing['filling']:.0f}")
            table.add_row(label, f"{cost:.1f}", f"{cost / pytorch:.1f}", *times)
    results.print(table)
    results.print(f"ratio {document['fused_to_pytorch']:.2f}, at most {document['bar']:g}")
    found = document["check"]
    results.print(
        f"{found['images']} images: {found['spikes_compared']:,} spikes compared, {found['mismatches']:,} mismatches; "
        f"{found['lava_bytes'] / 1e9:.1f} GB in {found['lava_processes']} processes"
    )


def main(
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint: its path, or the name of one that ships.")
    ] = "spike-driven-small",
    random: Annotated[bool, typer.Option(help="Take a preset of this name, with random weights.")] = False,
    images: Annotated[str, typer.Option(help="samples, FILE.npz, a folder, cifar10:DIR:test, ...")] = "samples",
    rounds: Annotated[int, typer.Option(help="Timings of each, taken in turn.")] = 5,
    stock: Annotated[bool, typer.Option(help="Time Lava's own processes too (minutes).")] = True,
    json_path: JsonOption = None,
) -> None:
    """Time Lava against PyTorch; exit code 1 where the ratio is over the bar or a spike differs."""
    with refusals(), console.status("loading") as status:
        document = measure(checkpoint, images, random, rounds, stock, status.update)
    show(document)
    if json_path is not None:
        write_json(json_path, document)
    if document["fused_to_pytorch"] > BAR or document["check"]["mismatches"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
