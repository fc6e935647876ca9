"""Counting against the simulation that it rides on, and the memory that many images take; no torch.

Each round runs the numpy reference on a batch and then counts that batch's trace, so that whatever else the machine
does weighs on both; the figure is the median over the rounds of (run + count) / run.  Then the counts of as many images
as are asked for are kept and joined, of random spikes (a quarter of all), since their memory doesn't depend on what
fires.

    python -m benchmarks.energy MODEL.nir --json energy.json
"""

import resource
import sys
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

import energy
from energy.counts import OperationCounts
from neuromorphic.execution.reference import run
from neuromorphic.files import write_json
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.reading.read import read_graph
from spikeclip.console import console, refusals, results
from spikeclip.options import JsonOption

RATIO_BAR = 1.3
"""Simulating and counting may take so many times as long as simulating."""

MEMORY_BAR = 2e9
"""Bytes of resident memory that counts of many images may take, everything included."""

BATCH = 16
"""Images side by side."""


def ratio(graph: Graph, rounds: int) -> dict[str, Any]:
    """Seconds of running and of counting, and the median ratio."""
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(BATCH, *graph.nodes[graph.input].shape)).astype(np.float32)
    timings = []
    for _ in range(rounds):
        begin = time.perf_counter()
        trace = run(graph, frames)
        ran = time.perf_counter()
        energy.count(graph, trace)
        timings.append((ran - begin, time.perf_counter() - ran))
    return {
        "rounds": rounds,
        "run_s": median(ran for ran, _ in timings),
        "count_s": median(counted for _, counted in timings),
        "ratio": median((ran + counted) / ran for ran, counted in timings),
    }


def memory(graph: Graph, images: int) -> dict[str, Any]:
    """Peak resident bytes of this process while it counts so many images, and after it priced them."""
    rng = np.random.default_rng(1)
    parts = [energy.count(graph, random_trace(graph, min(BATCH, images - i), rng)) for i in range(0, images, BATCH)]
    counts = OperationCounts.joined(parts)
    report = energy.assemble(graph, counts, energy.read_devices(energy.SHIPPED), energy.provenance(graph))
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"images": counts.images, "sops": counts.sops, "json_bytes": len(report.model_dump_json()), "bytes": peak}


def random_trace(graph: Graph, images: int, rng: np.random.Generator) -> Trace:
    """A trace in which every neuron fires with probability 1/4."""
    steps = graph.metadata.time_steps or 1
    spikes = {}
    for node in graph.populations:
        neurons = int(np.prod(node.shape))
        bits = rng.integers(0, 256, (2, images, steps, -(-neurons // 8)), dtype=np.uint8)
        last = np.packbits(np.arange(8 * bits.shape[-1]) < neurons)  # no spikes behind the last neuron
        spikes[node.name] = SpikeTrain(bits[0] & bits[1] & last, node.shape)
    outputs = np.zeros((images, steps, *graph.nodes[graph.output].shape), np.float32)
    return Trace("random", graph.precision, spikes, outputs)


def main(
    model: Annotated[Path, typer.Argument(help="A graph written by spikeclip-export (.nir).")],
    rounds: Annotated[int, typer.Option(help="Timings of each, taken in turn.")] = 5,
    images: Annotated[int, typer.Option(help="Images whose counts are kept.")] = 10_000,
    json_path: JsonOption = None,
) -> None:
    """Time counting, and watch its memory; exit code 1 where a bar is missed."""
    with refusals(), console.status("running and counting"):
        graph = read_graph(model)
        document = {"format_version": 1, "model": str(model), "memory": memory(graph, images)}
        document |= {"time": ratio(graph, rounds), "bars": {"ratio": RATIO_BAR, "bytes": MEMORY_BAR}}
    timing, kept = document["time"], document["memory"]
    results.print(
        f"run {timing['run_s']:.2f} s, count {timing['count_s']:.3f} s for {BATCH} images: "
        f"ratio {timing['ratio']:.3f}, at most {RATIO_BAR:g}"
    )
    results.print(f"{kept['images']:,} images: {kept['bytes'] / 1e9:.2f} GB, at most {MEMORY_BAR / 1e9:g} GB")
    if json_path is not None:
        write_json(json_path, document)
    if timing["ratio"] > RATIO_BAR or kept["bytes"] > MEMORY_BAR:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
