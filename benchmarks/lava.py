"""Lava against PyTorch: milliseconds per image of one encoder, in floats and in Loihi 2's integers, in one run.

Measured are our models of Lava's processes at the default batch and one image at a time, Lava's own on one image, and
the plain PyTorch forward of the same encoder, one image and as many at a time.  Each round times all but Lava's own one
after the other, so that whatever else the machine does weighs on all of them; the table holds the medians over the
rounds.  The integers are quantised on the images given.

Before that, one batch in floats is compared spike by spike with PyTorch, and the memory of Lava's processes is watched;
and some images in integers are compared with the reference, every spike and every final membrane.

PyTorch runs in processes of its own, with one thread and with one for each core, at several batches (`contenders`).
Lava's steady state is the time between two batches that leave it, after the first: T steps, whatever the depth.
Startup (to compile the network and start its processes) and filling the pipeline are reported apart.

    python -m benchmarks.lava CKPT --images cifar10:DIR:test --json lava.json
    python -m benchmarks.lava paper-base --random --no-stock
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

import export
import neuromorphic
from benchmarks.contenders import Contender, Shown, pytorch
from benchmarks.memory import PeakMemory
from benchmarks.random_checkpoint import find_encoder
from neuromorphic.execution import fast
from neuromorphic.execution.batches import MOST as BATCH
from neuromorphic.execution.reference import run
from neuromorphic.files import write_json
from neuromorphic.ir.parity import ParityReport
from neuromorphic.ir.trace import Trace
from neuromorphic.lava.job import Models
from neuromorphic.lava.simulation import simulate
from neuromorphic.loihi2.quantise import quantise
from spikeclip.console import console, refusals, results
from spikeclip.options import JsonOption

BAR = 10.0
"""Lava may take so many times as long per image as PyTorch one image at a time."""

BATCHES = 4
"""Batches of images per timing that leave Lava at steady state."""

COMPARED = 2
"""Images that our models run in integers for the comparison; stock ones run the first."""


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


def time_lava(graph: neuromorphic.Graph, frames: NDArray[np.float32], batch: int, models: Models = "fused") -> Timing:
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


def check_floats(prepared: export.Prepared, graph: neuromorphic.Graph, frames: NDArray[np.float32]) -> dict[str, Any]:
    """Lava's spikes on `frames`, float32 `[N, *input shape]`, against PyTorch's, and the memory that Lava takes."""
    recorded = export.record(prepared, frames)
    spikes = {node.name: recorded.spikes[node.name] for node in graph.populations}
    with PeakMemory() as memory:
        trace = simulate(graph, frames)
    report = neuromorphic.compare(trace, Trace("torch", "float", spikes, recorded.outputs, graph.metadata.readout))
    return {**_figures(report), "lava_bytes": memory.bytes, "lava_processes": memory.processes}


def check_integers(graph: neuromorphic.Graph, frames: NDArray[np.float32], models: Models = "fused") -> dict[str, Any]:
    """Lava's spikes and final membranes on `frames`, float32 `[N, *input shape]`, against the reference's."""
    trace = simulate(graph, frames, precision="loihi2", models=models)
    return _figures(neuromorphic.compare(trace, run(graph, frames)))


def _figures(report: ParityReport) -> dict[str, Any]:
    keys = ("images", "spikes_compared", "mismatches", "membranes_compared", "membrane_mismatches", "output_difference")
    return {key: getattr(report, key) for key in keys}


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
    fast.WORTHWHILE = 0  # Lava's layers take compiled kernels, however few images there are
    loaded, images = find_encoder(checkpoint, random, spec, 4 * BATCH)
    prepared = export.prepare(loaded)
    floats = neuromorphic.from_nir(prepared.graph, checkpoint)
    frames = neuromorphic.encode(floats, images)
    report("quantising")
    integers, _ = quantise(floats, frames)
    graded = neuromorphic.encode(integers, images)
    report("spikes")
    checks = {
        "floats": check_floats(prepared, floats, frames[:BATCH]),
        "integers": check_integers(integers, graded[:COMPARED]),
    }
    sides = {"floats": (floats, frames), "integers": (integers, graded)}
    timings: dict[str, list[Timing]] = {f"{name}, {batch} at a time": [] for name in sides for batch in (BATCH, 1)}
    rivals: dict[str, list[float]] = {}
    shown = Shown(checkpoint, spec, 4 * BATCH, random)
    with ExitStack() as stack:
        threads = sorted({1, os.cpu_count() or 1})
        contenders = [stack.enter_context(Contender(pytorch, shown, number)) for number in threads]
        for contender in contenders:
            for name in contender.names:
                contender.timed(name)  # which warms it up
        for i in range(rounds):
            report(f"round {i + 1} of {rounds}")
            for contender in contenders:
                for name in contender.names:
                    rivals.setdefault(name, []).append(1e3 * contender.timed(name)[0] / shown.number)
            for name, (graph, given) in sides.items():
                for batch in (BATCH, 1):
                    timings[f"{name}, {batch} at a time"].append(time_lava(graph, given, batch))
    lava = {key: medians(found) for key, found in timings.items()}
    for name, (graph, given) in sides.items() if stock else ():
        report(f"Lava's own processes in {name}, one image")
        lava[f"{name}, Lava's own"] = asdict(time_lava(graph, given, 1, "stock"))
    if stock:
        checks["integers, Lava's own"] = check_integers(integers, graded[:1], "stock")
    found = {name: median(durations) for name, durations in rivals.items()}
    one = min(ms for name, ms in found.items() if name.startswith("PyTorch, 1 at"))
    best = min(found.values())
    return {
        "format_version": 4,
        "checkpoint": checkpoint,
        "random": random,
        "rounds": rounds,
        "checks": checks,
        "pytorch_ms": found,
        "lava": lava,
        "to_pytorch": {key: timing["per_image"] / one for key, timing in lava.items()},
        "to_best": {key: timing["per_image"] / best for key, timing in lava.items()},
        "bar": BAR,
    }


def medians(timings: list[Timing]) -> dict[str, float]:
    """Of every figure, over several runs."""
    return {key: median(asdict(timing)[key] for timing in timings) for key in asdict(timings[0])}


def show(document: dict[str, Any]) -> None:
    """Print the document as a table and sentences."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "ms per image", "to one at a time", "to the best", "startup ms", "filling ms"):
        table.add_column(column, justify="left" if not column else "right")
    for name, ms in document["pytorch_ms"].items():
        table.add_row(name, f"{ms:.1f}")
    for key, timing in document["lava"].items():
        ratios = (f"{document[ratio][key]:.2f}" for ratio in ("to_pytorch", "to_best"))
        times = (f"{timing['per_image']:.1f}", *ratios)
        table.add_row(f"Lava, {key}", *times, f"{timing['startup']:.0f}", f"{timing['filling']:.0f}")
    results.print(table)
    results.print(f"floats, {BATCH} at a time: at most {document['bar']:g} times PyTorch one at a time")
    for key, found in document["checks"].items():
        results.print(
            f"{key}, {found['images']} images: {found['spikes_compared']:,} spikes and {found['membranes_compared']:,} "
            f"final membranes compared; {found['mismatches']:,} and {found['membrane_mismatches']:,} mismatches"
        )
    memory = document["checks"]["floats"]
    results.print(f"{memory['lava_bytes'] / 1e9:.1f} GB in {memory['lava_processes']} processes")


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
    """Time Lava against PyTorch; exit code 1 where the ratio is over the bar, or a spike or a membrane differs."""
    with refusals(), console.status("loading") as status:
        document = measure(checkpoint, images, random, rounds, stock, status.update)
    show(document)
    if json_path is not None:
        write_json(json_path, document)
    wrong = any(found["mismatches"] or found["membrane_mismatches"] for found in document["checks"].values())
    if wrong or document["to_pytorch"][f"floats, {BATCH} at a time"] > BAR:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
