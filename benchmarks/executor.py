"""The fast executor against PyTorch and ONNX Runtime: milliseconds per image of one encoder, in one run.

PyTorch runs the encoder, and ONNX Runtime the file that we export of it, at several batches and numbers of threads; the
fastest of each counts, by the clock and by processor time apart.  The fast executor runs as `--backend fast` does, in
floats and in integers, and so with all spikes, packed, some images after the other; besides, by numpy's kernels alone.
Every round times all of them one after the other, so that whatever else the machine does weighs on all; the table holds
medians.

The floor is what the encoder's dense products take at the rate of numpy's matrix product on one core.

    python -m benchmarks.executor spike-driven-small --images cifar10:DIR:test --json executor.json
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.table import Table

import export
import neuromorphic
import spikeclip
from benchmarks.onnx_runtime import session
from export.onnx.model import build, write
from neuromorphic.execution import fast
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.ops import Weighted
from spikeclip.console import console, refusals, results
from spikeclip.data import load_images

BATCHES = (1, 4, 16, 64)
"""Images at a time that PyTorch and ONNX Runtime are tried with."""

BARS = {"integers": 3.0, "floats": 1.5}
"""So many times as fast as the better of the two the executor has to be."""

CALIBRATED = 32
"""Images that the integers are quantised on."""

Run = Callable[[], Any]


def contenders(
    loaded: spikeclip.checkpoint.Checkpoint, folder: Path, images: NDArray[np.uint8], report: Callable[[str], None]
) -> tuple[neuromorphic.Graph, dict[str, Run]]:
    """The float graph, and what is timed by name: each runs all images.

    Args:
        loaded: the encoder.
        folder: for the exported file.
        images: uint8 `[N, S, S, C]`.
        report: told what is being done.
    """
    report("exporting and quantising")
    prepared = export.prepare(loaded)
    write(build(prepared), folder / "model.onnx")
    floats = neuromorphic.from_nir(prepared.graph, "floats")
    frames = neuromorphic.encode(floats, images)
    integers, _ = quantise(floats, frames[:CALIBRATED])
    graded = neuromorphic.encode(integers, images)
    pixels = torch.from_numpy(loaded.preprocessing(images))
    runs: dict[str, Run] = {
        "floats": lambda: _pass(floats, frames),
        "integers": lambda: _pass(integers, graded),
        "floats, numpy": lambda: _by_numpy(floats, frames),
        "integers, numpy": lambda: _by_numpy(integers, graded),
    }
    for threads in sorted({1, os.cpu_count() or 1}):
        runtime = session(folder / "model.onnx", optimised=True, threads=threads)
        for size in BATCHES:
            runs[f"PyTorch, {size} at a time, {threads} threads"] = _torch(loaded.model, pixels, size, threads)
            runs[f"ONNX Runtime, {size} at a time, {threads} threads"] = _onnx(runtime, images, size)
    return floats, runs


def _pass(graph: neuromorphic.Graph, frames: NDArray[np.float32]) -> None:
    for _ in fast.traces(graph, frames):
        pass


def _by_numpy(graph: neuromorphic.Graph, frames: NDArray[np.float32]) -> None:
    compiles, fast.COMPILES = fast.COMPILES, False
    try:
        _pass(graph, frames)
    finally:
        fast.COMPILES = compiles


def _torch(model: torch.nn.Module, pixels: torch.Tensor, size: int, threads: int) -> Run:
    def run() -> None:
        torch.set_num_threads(threads)
        with torch.no_grad():
            for batch in pixels.split(size):
                model(batch)

    return run


def _onnx(runtime: Any, images: NDArray[np.uint8], size: int) -> Run:
    def run() -> None:
        for i in range(0, len(images), size):
            runtime.run(None, {"images": images[i : i + size]})

    return run


def floor(graph: neuromorphic.Graph) -> float:
    """Milliseconds of one image's dense products at the rate of numpy's matrix product."""
    operations = ((node, node.operation) for node in graph.nodes.values())
    products = sum(op.products(node.shapes) for node, op in operations if isinstance(op, Weighted))
    a = np.ones((1024, 1024), np.float32)
    durations = []
    for _ in range(9):
        begin = time.process_time()
        a @ a
        durations.append(time.process_time() - begin)
    return 1e3 * products * (graph.metadata.time_steps or 1) * median(durations) / a.size / len(a)


def measure(checkpoint: str, spec: str, limit: int, rounds: int, report: Callable[[str], None]) -> dict[str, Any]:
    """All timings of one encoder, and their ratios, as a JSON document.

    Raises:
        RefusedInput: the checkpoint or the images are refused.
    """
    loaded = spikeclip.load(checkpoint)
    images = load_images(spec, loaded.config.image_size, limit).images
    fast.WORTHWHILE = 0  # however few images there are
    with TemporaryDirectory() as folder:
        floats, runs = contenders(loaded, Path(folder), images, report)
        taken: dict[str, list[tuple[float, float]]] = {key: [] for key in runs}
        for i in range(rounds + 1):  # the first one warms up
            for key, run in runs.items():
                report(f"round {i} of {rounds}: {key}")
                clock, processor = time.perf_counter(), time.process_time()
                run()
                taken[key].append((time.perf_counter() - clock, time.process_time() - processor))
        lowest = floor(floats)
    document: dict[str, Any] = {"format_version": 1, "checkpoint": checkpoint, "images": len(images), "rounds": rounds}
    document["compiled"] = fast.COMPILES
    document["ms"] = {
        key: {
            "clock": 1e3 * median(each[0] for each in found[1:]) / len(images),
            "processor": 1e3 * median(each[1] for each in found[1:]) / len(images),
        }
        for key, found in taken.items()
    }
    document["floor_ms"] = lowest
    document["ratios"] = {kind: _ratios(document["ms"], kind, lowest) for kind in BARS}
    return document


def _ratios(ms: Mapping[str, Mapping[str, float]], kind: str, lowest: float) -> dict[str, float]:
    """How many times as fast as the better of the two the executor is, and how far from the floor."""
    others = [times for key, times in ms.items() if key.startswith(("PyTorch", "ONNX"))]
    faster = {by: min(times[by] for times in others) / ms[kind][by] for by in ("clock", "processor")}
    return {**faster, "to_numpy": ms[f"{kind}, numpy"]["processor"] / ms[kind]["processor"],
            "to_floor": ms[kind]["processor"] / lowest}  # fmt: skip


def show(document: dict[str, Any]) -> None:
    """Print the document as a table and sentences."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "ms per image", "of processor"):
        table.add_column(column, justify="right" if column else "left")
    for key, times in document["ms"].items():
        table.add_row(key, f"{times['clock']:.1f}", f"{times['processor']:.1f}")
    results.print(table)
    results.print(f"floor of dense products: {document['floor_ms']:.1f} ms")
    for kind, ratios in document["ratios"].items():
        results.print(
            f"{kind}: {ratios['clock']:.2f} times as fast as the better of PyTorch and ONNX Runtime by the clock, "
            f"{ratios['processor']:.2f} by processor time (bar {BARS[kind]:g}); {ratios['to_numpy']:.2f} times as fast "
            f"as by numpy; {ratios['to_floor']:.2f} of the floor"
        )


def main(
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint: its path, or the name of one that ships.")
    ] = "spike-driven-small",
    images: Annotated[str, typer.Option(help="samples, FILE.npz, a folder, cifar10:DIR:test, ...")] = "samples",
    limit: Annotated[int, typer.Option(help="Take the first N images only.")] = 64,
    rounds: Annotated[int, typer.Option(help="Timings of each, taken in turn.")] = 3,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
) -> None:
    """Time the fast executor; exit code 1 where it misses a bar by processor time."""
    with refusals(), console.status("loading") as status:
        document = measure(checkpoint, images, limit, rounds, status.update)
    show(document)
    if json_path is not None:
        json_path.write_text(json.dumps(document, indent=2) + "\n")
    if any(document["ratios"][kind]["processor"] < bar for kind, bar in BARS.items()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
