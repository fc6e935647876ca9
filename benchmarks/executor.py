"""The fast executor against PyTorch and ONNX Runtime: milliseconds per image of one encoder, in one run.

PyTorch runs the encoder, and ONNX Runtime the file that we export of it, at several batches and numbers of threads; the
fastest of each counts, by the clock and by processor time apart.  The fast executor runs as `--backend fast` does, in
floats and in integers, and so with all spikes, packed, some images after the other; besides, by numpy's kernels alone.
Each has a process of its own (`contenders`).  Every round times all of them one after the other, so that whatever else
the machine does weighs on all; the table holds medians.

The floor is what the encoder's dense products take at the rate of numpy's matrix product on one core.

    python -m benchmarks.executor spike-driven-small --images cifar10:DIR:test --json executor.json
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

import export
import neuromorphic
from benchmarks.contenders import BATCHES, Contender, Run, Shown, pytorch
from benchmarks.onnx_runtime import session
from export.onnx.model import build
from neuromorphic.execution import fast
from neuromorphic.files import write_json
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.ops import Weighted
from spikeclip.console import console, refusals, results
from spikeclip.options import JsonOption

BARS = {"integers": 3.0, "floats": 1.5}
"""So many times as fast as the better of the two the executor has to be."""

CALIBRATED = 32
"""Images that the integers are quantised on."""


def ours(shown: Shown, _threads: int) -> dict[str, Run]:
    """What is timed of the fast executor, by name: each runs all images."""
    loaded, images = shown.load()
    fast.WORTHWHILE = 0  # however few images there are
    floats = neuromorphic.from_nir(export.prepare(loaded).graph, "floats")
    frames = neuromorphic.encode(floats, images)
    integers, _ = quantise(floats, frames[:CALIBRATED])
    graded = neuromorphic.encode(integers, images)
    return {
        "floats": lambda: _pass(floats, frames),
        "integers": lambda: _pass(integers, graded),
        "floats, numpy": lambda: _by_numpy(floats, frames),
        "integers, numpy": lambda: _by_numpy(integers, graded),
    }


def _pass(graph: neuromorphic.Graph, frames: NDArray[np.float32]) -> None:
    for _ in fast.traces(graph, frames):
        pass


def _by_numpy(graph: neuromorphic.Graph, frames: NDArray[np.float32]) -> None:
    compiles, fast.COMPILES = fast.COMPILES, False
    try:
        _pass(graph, frames)
    finally:
        fast.COMPILES = compiles


def onnx_runtime(shown: Shown, threads: int) -> dict[str, Run]:
    """The same of ONNX Runtime."""
    loaded, images = shown.load()
    runtime = session(build(export.prepare(loaded)).SerializeToString(), threads=threads)

    def run(size: int) -> None:
        for i in range(0, len(images), size):
            runtime.run(None, {"images": images[i : i + size]})

    return {f"ONNX Runtime, {size} at a time, {threads} threads": partial(run, size) for size in BATCHES}


def floor(shown: Shown) -> float:
    """Milliseconds of one image's dense products at the rate of numpy's matrix product."""
    graph = neuromorphic.from_nir(export.prepare(shown.load()[0]).graph, "floats")
    operations = ((node, node.operation) for node in graph.nodes.values())
    products = sum(op.products(node.shapes) for node, op in operations if isinstance(op, Weighted))
    a = np.ones((1024, 1024), np.float32)
    durations = []
    for _ in range(9):
        begin = time.process_time()
        a @ a
        durations.append(time.process_time() - begin)
    return 1e3 * products * (graph.metadata.time_steps or 1) * median(durations) / a.size / len(a)


def measure(shown: Shown, rounds: int, report: Callable[[str], None]) -> dict[str, Any]:
    """All timings of one encoder, and their ratios, as a JSON document.

    Raises:
        RefusedInput: the checkpoint or the images are refused.
    """
    report("loading")
    lowest = floor(shown)
    cores = os.cpu_count() or 1
    settings = [(ours, cores), *((rival, n) for rival in (pytorch, onnx_runtime) for n in sorted({1, cores}))]
    taken: dict[str, list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        contenders = [stack.enter_context(Contender(make, shown, threads)) for make, threads in settings]
        for i in range(rounds + 1):  # the first one warms up
            for contender in contenders:
                for name in contender.names:
                    report(f"round {i} of {rounds}: {name}")
                    taken.setdefault(name, []).append(contender.timed(name))
    document: dict[str, Any] = {"format_version": 1, "checkpoint": shown.checkpoint, "images": shown.number}
    document |= {"rounds": rounds, "compiled": fast.COMPILES, "floor_ms": lowest}
    document["ms"] = {
        name: {
            "clock": 1e3 * median(each[0] for each in found[1:]) / shown.number,
            "processor": 1e3 * median(each[1] for each in found[1:]) / shown.number,
        }
        for name, found in taken.items()
    }
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
            f"{kind}: {ratios['clock']:.2f} times as fast as the better of PyTorch and ONNX Runtime by the clock (bar "
            f"{BARS[kind]:g}), {ratios['processor']:.2f} by processor time; {ratios['to_numpy']:.2f} times as fast as "
            f"by numpy; {ratios['to_floor']:.2f} of the floor"
        )


def main(
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint: its path, or the name of one that ships.")
    ] = "spike-driven-small",
    images: Annotated[str, typer.Option(help="samples, FILE.npz, a folder, cifar10:DIR:test, ...")] = "samples",
    number: Annotated[int, typer.Option(help="So many images, over again where there are fewer.")] = 128,
    rounds: Annotated[int, typer.Option(help="Timings of each, taken in turn.")] = 3,
    json_path: JsonOption = None,
) -> None:
    """Time the fast executor; exit code 1 where it misses a bar by the clock."""
    with refusals(), console.status("loading") as status:
        document = measure(Shown(checkpoint, images, number), rounds, status.update)
    show(document)
    if json_path is not None:
        write_json(json_path, document)
    if any(document["ratios"][kind]["clock"] < bar for kind, bar in BARS.items()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
