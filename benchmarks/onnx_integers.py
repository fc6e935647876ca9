"""The integers as ONNX against the executor's: every spike, membrane and output, and processor time per image.

A graph is quantised on `--calibrate` and run on `--images` by ONNX Runtime, from uint8 images on, and by the fast
executor.  Then both are timed with one thread, in turn, on batches of 1 and of 16 images, ONNX without spikes.

    python -m benchmarks.onnx_integers model.nir --images cifar10:DIR:test --calibrate cifar10:DIR:train --limit 256
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.onnx_runtime import session
from export.onnx.integers.model import build
from neuromorphic.execution.fast import Activity, run
from neuromorphic.files import write_json
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.reading.frames import encode, image_size
from neuromorphic.reading.read import read_graph
from spikeclip.console import console, refusals, results
from spikeclip.data import load_images
from spikeclip.options import JsonOption

BATCH, ROUNDS = 16, 5
CALIBRATION_IMAGES = 64


def differences(found: dict[str, NDArray[Any]], expected: Activity) -> dict[str, int]:
    """Spikes compared, and spikes, membranes and outputs that differ, of one batch."""
    spikes = {name: found[name].reshape(train.shape) != train for name, train in expected.spikes.items()}
    left = {name: found[f"{name}/membranes"].reshape(expected.membranes[name].shape) for name in spikes}
    return {
        "spikes_compared": sum(different.size for different in spikes.values()),
        "spikes": sum(int(different.sum()) for different in spikes.values()),
        "membranes": sum(int((v != expected.membranes[name]).sum()) for name, v in left.items()),
        "outputs": int((found["outputs"].reshape(expected.outputs.shape) != expected.outputs).sum()),
    }


def compare(graph: Graph, images: NDArray[np.uint8], report: Callable[[str], None]) -> dict[str, int]:
    """`differences` of all images."""
    runtime, steps = session(build(graph, spikes=True).SerializeToString()), graph.metadata.time_steps or 1
    names = [output.name for output in runtime.get_outputs()]
    total: dict[str, int] = {}
    for start in range(0, len(images), BATCH):
        report(f"images {start} to {min(start + BATCH, len(images)) - 1}")
        batch = images[start : start + BATCH]
        found = dict(zip(names, runtime.run(None, {"images": batch}), strict=True))
        for key, count in differences(found, run(graph, encode(graph, batch), steps)).items():
            total[key] = total.get(key, 0) + count
    return total


def times(graph: Graph, images: NDArray[np.uint8]) -> dict[str, float]:
    """Milliseconds of processor time per image, median of rounds taken in turn, for each side and batch."""
    runtime, steps = session(build(graph).SerializeToString()), graph.metadata.time_steps or 1
    sides: dict[str, Callable[[NDArray[np.uint8]], Any]] = {
        "onnx": lambda batch: runtime.run(None, {"images": batch}),
        "executor": lambda batch: run(graph, encode(graph, batch), steps),
    }
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for size in (1, BATCH):
            for name, side in sides.items():
                begin = time.process_time()
                side(images[:size])
                found.setdefault(f"{name}_{size}", []).append(1e3 * (time.process_time() - begin) / size)
    return {name: median(durations) for name, durations in found.items()}


def main(
    model: Annotated[Path, typer.Argument(help="A .nir file of floats.")],
    images: Annotated[str, typer.Option(help="samples, FILE.npz, a folder, cifar10:DIR:test, ...")] = "samples",
    calibrate: Annotated[str, typer.Option(help="The same, to quantise on.")] = "samples",
    limit: Annotated[int | None, typer.Option(help="Take the first N images only.")] = None,
    json_path: JsonOption = None,
) -> None:
    """Compare and time; exit code 1 where a spike, a membrane or an output differs."""
    with refusals(), console.status("quantising") as status:
        floats = read_graph(model)
        shown = load_images(calibrate, image_size(floats), CALIBRATION_IMAGES).images
        graph, _ = quantise(floats, encode(floats, shown))
        found = load_images(images, image_size(floats), limit).images
        counts = compare(graph, found, status.update)
        status.update("timing")
        measured = times(graph, found)
    results.print(
        f"{len(found)} images: {counts['spikes_compared']:,} spikes compared; {counts['spikes']} spikes, "
        f"{counts['membranes']} membranes and {counts['outputs']} outputs differ"
    )
    for size in (1, BATCH):
        ours, theirs = measured[f"executor_{size}"], measured[f"onnx_{size}"]
        results.print(
            f"{size} at a time: ONNX Runtime {theirs:.1f} ms per image, executor {ours:.1f}: {theirs / ours:.2f}"
        )
    if json_path is not None:
        write_json(json_path, {"images": len(found), **counts, "ms": measured})
    if counts["spikes"] or counts["membranes"] or counts["outputs"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
