"""`python -m benchmarks.netx [FILE.net ...]`: lava-dl's own reader beside ours on chains that we write, and on files.

python -m benchmarks.netx [FILE.net ...] [--json netx.json]        (make netx)
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

from benchmarks.netx.chains import STEPS, chains
from benchmarks.netx.traces import KEYS, traces
from neuromorphic.deploy.netx import write_netx
from neuromorphic.files import write_json
from neuromorphic.ir.graph import Graph
from neuromorphic.ops import Population
from neuromorphic.reading.netx.graph import from_layers
from neuromorphic.reading.read import read_graph
from spikeclip.console import refusals, results
from spikeclip.options import JsonOption


def main(
    files: Annotated[list[Path] | None, typer.Argument(help="netx files from elsewhere.")] = None,
    json_path: JsonOption = None,
) -> None:
    """Compare spikes, u and v of every neuron and step."""
    document = []
    with TemporaryDirectory() as folder, refusals():
        work = [(name, _written(name, layers, Path(folder)), frames) for name, layers, frames in chains()]
        work += [(str(path), path, _frames(read_graph(path))) for path in files or ()]
        for name, path, frames in work:
            graph = read_graph(path)
            found = differences(graph, frames, Path(folder))
            results.print(f"{name}: " + ", ".join(f"{n:,} of {total:,} {key}" for key, (n, total) in found.items()))
            document.append({"file": name, **{key: {"differ": n, "compared": of} for key, (n, of) in found.items()}})
    if json_path is not None:
        write_json(json_path, document)


def _written(name: str, layers: tuple[object, ...], folder: Path) -> Path:
    """The chain in a file that our writer made of the graph that our reader makes of it."""
    path = folder / f"{name}.net"
    write_netx(from_layers(layers, name), path)  # type: ignore[arg-type]
    return path


def _frames(graph: Graph) -> np.ndarray:
    """Spikes, or integers of 7 bits where neurons read the frames."""
    draw, shape = np.random.default_rng(0), (2, STEPS, *graph.nodes[graph.input].shape)
    reads = isinstance(graph.readers(graph.input)[0].operation, Population)
    return draw.integers(-4, 77, shape) if reads else (draw.random(shape) < 0.1).astype(np.int64)


def differences(graph: Graph, frames: np.ndarray, folder: Path) -> dict[str, tuple[int, int]]:
    """How many spikes, u and v of neurons and steps differ between lava-dl and the reference, of how many."""
    shown, answered = folder / "frames.npy", folder / "lava_dl.npz"
    np.save(shown, frames)
    subprocess.run(
        [sys.executable, "-m", "benchmarks.netx.lava_dl", graph.source, str(shown), str(answered)], check=True
    )
    theirs, ours = np.load(answered), traces(graph, frames.astype(np.float32))
    found = {}
    for key in KEYS:
        pairs = [(theirs[f"{key}.{k}"], of[key]) for k, of in enumerate(ours.values())]
        found[key] = (sum(int((a != b).sum()) for a, b in pairs), sum(b.size for _, b in pairs))
    return found


if __name__ == "__main__":
    typer.run(main)
