"""ONNX Runtime against PyTorch: every spike and prediction, the file's size, and processor time per image.

The encoder is folded, snapped and exported with all its spikes as outputs.  ONNX Runtime runs the file with one thread
and with two, with its graph optimisations and without, and PyTorch the snapped model.  Then both are timed one image at
a time with one thread, in turn, from uint8 images to scores, the file without spikes.

    python -m benchmarks.onnx_runtime CKPT --images cifar10:DIR:test --limit 256 --json onnx.json
    python -m benchmarks.onnx_runtime paper-base --random --limit 16
"""

import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import onnxruntime
import torch
import typer
from numpy.typing import NDArray
from rich.table import Table
from safetensors.torch import save

import export
from benchmarks.random_checkpoint import find_encoder
from export.onnx.builder import write
from export.onnx.model import build
from neuromorphic.files import write_json
from spikeclip.checkpoint import Checkpoint
from spikeclip.console import console, refusals, results
from spikeclip.options import JsonOption

BATCH = 16
SETTINGS = tuple(product((True, False), (1, 2)))
"""Graph optimisations on or off, and threads."""

TIMED = 16
"""Images that are timed."""


def session(model: Path | bytes, optimised: bool = True, threads: int = 1) -> onnxruntime.InferenceSession:
    """ONNX Runtime with a file, or with its content, on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def compare(
    prepared: export.Prepared, path: Path, images: NDArray[np.uint8], progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Count the spikes and predictions that differ from PyTorch's, for each of `SETTINGS`.

    Args:
        prepared: the snapped model.
        path: its file, with spikes.
        images: uint8 `[N, S, S, C]`.
        progress: told how far it is.
    """
    sessions = [session(path, *setting) for setting in SETTINGS]
    keys = ("spikes_compared", "mismatches", "predictions_compared", "prediction_mismatches")
    rows = [{"optimised": o, "threads": t, **dict.fromkeys(keys, 0)} for o, t in SETTINGS]
    for start in range(0, len(images), BATCH):
        progress(f"spikes of images {start} to {min(start + BATCH, len(images)) - 1}")
        batch = images[start : start + BATCH]
        frames = prepared.encode(batch)
        recording, scores = export.record(prepared, frames), prepared.model(torch.from_numpy(frames)).numpy()
        for row, runtime in zip(rows, sessions, strict=True):
            names = [output.name for output in runtime.get_outputs()]
            found = dict(zip(names, runtime.run(None, {"images": batch}), strict=True))
            for name, train in recording.spikes.items():
                row["spikes_compared"] += found[name].size
                row["mismatches"] += int((found[name] != train.unpack()).sum())
            row["predictions_compared"] += len(batch)
            row["prediction_mismatches"] += int((found[names[0]].argmax(1) != scores.argmax(1)).sum())
    return rows


def time_images(run: Callable[[NDArray[np.uint8]], Any], images: NDArray[np.uint8]) -> float:
    """Milliseconds of processor time per image, one image at a time: what else the machine does doesn't count."""
    durations = []
    for i in range(len(images)):
        begin = time.process_time()
        run(images[i : i + 1])
        durations.append(time.process_time() - begin)
    return 1e3 * median(durations[1:])  # the first one warms up


def measure(
    loaded: Checkpoint, images: NDArray[np.uint8], rounds: int, folder: Path, report: Callable[[str], None]
) -> dict[str, Any]:
    """Everything of one encoder, as a JSON document.

    Args:
        loaded: the encoder.
        images: uint8 `[N, S, S, C]`.
        rounds: timings of each, taken in turn.
        folder: for the files.
        report: told what is being done.
    """
    bare, full = folder / "bare.onnx", folder / "full.onnx"
    report("exporting")
    begin, busy = time.perf_counter(), time.process_time()
    prepared = export.prepare(loaded)
    write(build(prepared), bare)
    seconds, processor = time.perf_counter() - begin, time.process_time() - busy
    write(build(prepared, spikes=True), full)
    document: dict[str, Any] = {
        "format_version": 1,
        "certificate": prepared.certificate.exact,
        "export_seconds": seconds,
        "export_processor_seconds": processor,
        "file_bytes": bare.stat().st_size,
        "weight_bytes": len(save(loaded.model.state_dict())),
        "runs": compare(prepared, full, images, report),
    }
    torch.set_num_threads(1)
    runtime = session(bare, optimised=True, threads=1)
    runs: dict[str, Callable[[NDArray[np.uint8]], Any]] = {
        "pytorch_ms": lambda x: prepared.model(torch.from_numpy(prepared.encode(x))),
        "onnx_runtime_ms": lambda x: runtime.run(None, {"images": x}),
    }
    found: dict[str, list[float]] = {key: [] for key in runs}
    for i in range(rounds):
        report(f"timing, round {i + 1} of {rounds}")
        for key, run in runs.items():
            found[key].append(time_images(run, images[:TIMED]))
    document |= {key: median(durations) for key, durations in found.items()}
    document["ratios"] = {
        "file_to_weights": document["file_bytes"] / document["weight_bytes"],
        "onnx_runtime_to_pytorch": document["onnx_runtime_ms"] / document["pytorch_ms"],
    }
    return document


def show(document: dict[str, Any]) -> None:
    """Print the document as a table and sentences."""
    table = Table(box=None, pad_edge=False)
    for column in ("optimisations", "threads", "spikes compared", "mismatches", "predictions", "mismatches"):
        table.add_column(column, justify="right")
    for row in document["runs"]:
        counts = ("spikes_compared", "mismatches", "predictions_compared", "prediction_mismatches")
        table.add_row("on" if row["optimised"] else "off", str(row["threads"]), *(f"{row[key]:,}" for key in counts))
    results.print(table)
    ratios = document["ratios"]
    results.print(
        f"exported in {document['export_seconds']:.1f} s, {document['export_processor_seconds']:.1f} s of them on a "
        f"processor; {document['file_bytes'] / 1e6:.1f} MB, "
        f"{ratios['file_to_weights']:.2f} times the weights"
    )
    results.print(
        f"processor time of one image: ONNX Runtime {document['onnx_runtime_ms']:.1f} ms, PyTorch "
        f"{document['pytorch_ms']:.1f} ms ({ratios['onnx_runtime_to_pytorch']:.2f} of it)"
    )


def main(
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint: its path, or the name of one that ships.")
    ] = "spike-driven-small",
    images: Annotated[str, typer.Option(help="samples, FILE.npz, a folder, cifar10:DIR:test, ...")] = "samples",
    limit: Annotated[int | None, typer.Option(help="Take the first N images only.")] = None,
    random: Annotated[
        bool, typer.Option("--random", help="Random weights; the checkpoint is a preset's name.")
    ] = False,
    rounds: Annotated[int, typer.Option(help="Timings of each, taken in turn.")] = 5,
    json_path: JsonOption = None,
) -> None:
    """Compare ONNX Runtime with PyTorch; exit code 1 where a spike or a prediction differs."""
    with refusals(), console.status("loading") as status, TemporaryDirectory() as folder:
        loaded, found = find_encoder(checkpoint, random, images, limit)
        document = measure(loaded, found, rounds, Path(folder), status.update)
    show(document)
    if json_path is not None:
        write_json(json_path, {"checkpoint": checkpoint, "random": random, **document})
    if any(row["mismatches"] or row["prediction_mismatches"] for row in document["runs"]):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
