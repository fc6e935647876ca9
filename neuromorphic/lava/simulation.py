"""Simulates a graph in Lava, in a child process, step by step as on the chip, and records every spike."""

import sys
from collections.abc import Iterator
from pathlib import Path

from neuromorphic.analysis.exactness import doubles_on
from neuromorphic.analysis.schedule import schedule
from neuromorphic.analysis.soft_resets import in_one, with_soft_resets
from neuromorphic.cluster.ranges import Progress, silent
from neuromorphic.errors import RefusedInput, SimulationFailed
from neuromorphic.execution.batches import fitting, joined
from neuromorphic.execution.fast import compiles
from neuromorphic.execution.frames import per_step
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.inputs import Given
from neuromorphic.ir.trace import Trace
from neuromorphic.lava.job import Job, Models
from neuromorphic.lava.runner import SILENCE, guarded_folder, run_group
from neuromorphic.lava.stock_limits import refusals

_ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")},  # Lava's processes are the parallelism
    # glibc keeps the memory of arrays that are gone for those of the next step: to ask the system for each anew took
    # half of the time that it spent in the system.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
}


NAME = "neuromorphic.child"
"""A word in the command line of the child and of Lava's processes, for `pgrep -f`, wherever their module moves to."""


def traces(
    graph: Graph,
    frames: Given,
    time_steps: int | None = None,
    *,
    precision: str = "float",
    batch: int | None = None,
    models: Models = "fused",
    timeout: float | None = None,
    silence: float = SILENCE,
    progress: Progress = silent,
) -> Iterator[Trace]:
    """Run `graph` in Lava on `frames`, each presented for T steps, images back to back; yield traces of some images.

    Every spike equals that of `reference.run` where the arithmetic is exact.  Nodes compute in float32, and behind the
    last population in float64, if the graph's weights prove that to be exact for such frames (`analysis.rounding`);
    without a proof all compute in float64.  Integers need no proof: their sums are bounded (`analysis.exactness`).

    Args:
        graph: a validated graph.
        frames: float32 `[N, *input shape]` as `encode` returns them; or `[N, T, *input shape]`, one frame per step;
            of several inputs, such of each by its name.
        time_steps: T, where neither the frames nor the graph's metadata say.
        precision: the arithmetic, `float`; or `loihi2` for a graph in the integers of the chip.
        batch: images at a time, each on its own copy of the chip; as many as fit by default (`batches.fitting`), 1 with
            stock models.
        models: `fused` for one process per layer, `stock` for the processes of Lava that run on Loihi (slow).
        timeout: seconds that it may take in all; no limit by default.
        silence: seconds that T steps may take.
        progress: called with (images done, images) once Lava has started, and after every batch.

    Returns:
        Traces of some images each, in their order, of every population and of the output, shifted back by their
        latencies.

    Raises:
        RefusedInput: the frames don't fit the graph, or an argument has no such value.
        SimulationFailed: Lava died, raised, or ran over a limit.
    """
    _check_precision(graph, precision)
    if models not in ("fused", "stock"):
        raise RefusedInput(f"models {models!r}; expected 'fused' or 'stock'")
    shown = per_step(graph, frames, time_steps)
    images, steps = shown.shape[:2]
    batch = min(_batch(batch, models) or fitting(graph, steps), images)
    if reasons := refusals(graph, stock=models == "stock"):
        raise RefusedInput("; ".join(reasons))
    repeats = shown.strides[1] == 0
    compiled = models == "fused" and compiles(graph, images, steps)
    chip, doubles = with_soft_resets(graph), in_one(graph, doubles_on(graph, shown, steps))
    job = Job(chip, shown[:, :1] if repeats else shown, steps, batch, models, doubles, compiled)
    depth = schedule(chip).depth

    def on_line(line: str) -> None:
        done = max(0, int(line.split()[0]) - depth) // steps * batch
        progress(min(done, images), images)

    with guarded_folder() as place:
        folder = place.folder
        try:
            job.write(folder)
        except OSError as error:
            raise SimulationFailed(f"{folder}: Lava's input can't be written there ({error.strerror})") from error
        command = (sys.executable, "-P", "-m", "neuromorphic.lava.child", str(folder), NAME)
        # Python's own sockets and the like go where they are removed with the rest, even if Lava is killed.
        environment = {**_ENVIRONMENT, "TMPDIR": str(folder)}
        run_group(command, on_line, timeout=timeout, silence=silence, environment=environment, guard=place.guard)
        yield from job.traces(folder)


simulate = joined(traces)
"""The trace of all images."""


def _check_precision(graph: Graph, precision: str) -> None:
    if precision not in ("float", "loihi2"):
        raise RefusedInput(f"precision {precision!r}; expected 'float' or 'loihi2'")
    if precision != graph.precision:
        hint = "; quantise it first" if precision == "loihi2" else ""
        raise RefusedInput(f"{graph.source}: precision {precision!r} asked of a graph in {graph.precision!r}{hint}")


def _batch(asked: int | None, models: Models) -> int | None:
    if models == "stock":
        if asked not in (None, 1):
            raise RefusedInput(f"batch {asked} with stock models; expected 1, since they have no batch axis")
        return 1
    if asked is not None and asked < 1:
        raise RefusedInput(f"batch {asked}; expected at least 1")
    return asked
