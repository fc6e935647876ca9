"""Counting while the reference runs, or while a trace is read: memory for one batch, whatever the number of images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from energy.counting import count
from energy.counts import OperationCounts
from neuromorphic.cluster.ranges import batches
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.frames import per_step
from neuromorphic.execution.reference import run
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.inputs import Given
from neuromorphic.ir.trace import Trace


def count_running(
    graph: Graph,
    frames: Given,
    time_steps: int | None = None,
    batch: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> OperationCounts:
    """`count` of the numpy reference's run, some images at a time: each batch's trace is counted and dropped.

    Args:
        graph: a validated graph.
        frames: float32 `[N, *input shape]`, or one frame per step; of several inputs, such of each by its name.
        time_steps: T, where neither the frames nor the file say.
        batch: images side by side.
        progress: told (images done, images in all).

    Raises:
        RefusedInput: as `reference.run` and `count` do.
    """
    shown = per_step(graph, frames, time_steps)
    parts = []
    for images in batches(len(shown), batch):
        progress(images.start, len(shown))
        parts.append(count(graph, run(graph, shown[images]), frames=shown[images]))
    progress(len(shown), len(shown))
    return OperationCounts.joined(parts)


@dataclass(frozen=True)
class Counting:
    """`count_running` of a shard of a run's images, for workers of a cluster.

    Attributes:
        graph: a validated graph.
        time_steps: T, where neither the frames nor the file say.
    """

    graph: Graph
    time_steps: int | None

    def __call__(self, frames: NDArray[np.float32], progress: Callable[[int, int], None]) -> OperationCounts:
        """The counts of the shard with these frames; further arguments and errors as of `count_running`."""
        return count_running(self.graph, frames, self.time_steps, progress=progress)


def count_stored(
    graph: Graph,
    path: Path,
    batch: int = 256,
    progress: Callable[[int, int], None] = lambda done, total: None,
    frames: NDArray[np.float32] | None = None,
) -> tuple[OperationCounts, Trace]:
    """`count` of the trace in `path`, some images at a time; and the trace of the first of them, for what ran.

    Args:
        graph: that the trace is of.
        path: a trace of `spikeclip-simulate`.
        batch: images that are read at a time.
        progress: told (images done, images in all as far as they are known).
        frames: that the run read, where the input sends spikes or counts: `[N, T, *input shape]` or one per image.

    Raises:
        RefusedInput: as `Trace.read` and `count` do.
    """
    first = Trace.read(path, slice(0, batch))
    shown = None if frames is None else per_step(graph, frames, first.time_steps)

    def counted(trace: Trace, start: int) -> OperationCounts:
        return count(graph, trace, frames=None if shown is None else shown[start : start + trace.images])

    parts, done, trace = [counted(first, 0)], first.images, first
    while trace.images == batch:
        progress(done, done + batch)
        trace = Trace.read(path, slice(done, done + batch))
        if trace.images:
            parts.append(counted(trace, done))
        done += trace.images
    progress(done, done)
    if shown is not None and len(shown) != done:
        raise RefusedInput(f"{path}: holds {done} images; there are frames of {len(shown)}")
    return OperationCounts.joined(parts), first
