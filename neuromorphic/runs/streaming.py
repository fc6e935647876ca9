"""A run that streams its images: some are made, run, compared, counted and written at a time, and then dropped.

The outputs, the numbers of spikes, the reports of comparisons, and the spikes of the first images are kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuromorphic.cluster.ranges import batches
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.frames import per_step
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.parity import ParityReport
from neuromorphic.ir.totals import Totals
from neuromorphic.ir.trace import Trace, growing

SOME = 256
"""Images whose frames are made at a time, at most."""

NUMBERS = 2**22
"""Numbers in the frames that are made at a time, at most, unless they are of a single image."""

Comparison = Callable[[Trace, slice], ParityReport]
"""Compares a trace of the images in a slice of a run with another run on the same images."""


def shards(graph: Graph, images: int) -> list[slice]:
    """The shards of a run: images whose frames are in memory together."""
    numbers = prod(graph.frame_shape) * (graph.metadata.time_steps or 1)
    return list(batches(images, min(SOME, max(1, NUMBERS // numbers))))


def checked_steps(
    graph: Graph, images: int, time_steps: int | None, frames: Callable[[slice], NDArray[np.float32]]
) -> int:
    """T, after a check that all frames fit the graph; `time_steps`, if neither the frames nor the graph say T.

    `frames` makes the frames of the images in a slice, float32 `[n, *input shape]` or `[n, T, *input shape]`.

    Raises:
        RefusedInput: some frames don't fit, or T is unknown.
    """
    steps = {int(per_step(graph, frames(part), time_steps).shape[1]) for part in shards(graph, images)}
    return steps.pop()


@dataclass(frozen=True)
class RunSums:
    """The sums of a run, or of a shard, which are kept when its spikes are dropped.

    Attributes:
        totals: of all images.
        reports: of the comparisons, by name.
        first: the trace of the first images, as many as are asked for; None for none.
        unwritten: why the trace could not be written; None if it was, or is not asked for.
        rounds: whether PyTorch's outputs on some of the images may differ by rounding.
        sha256: of the shard's own file of the trace; None if it has none.
    """

    totals: Totals
    reports: Mapping[str, ParityReport] = field(default_factory=dict)
    first: Trace | None = None
    unwritten: str | None = None
    rounds: bool = False
    sha256: str | None = None

    @classmethod
    def joined(cls, parts: Sequence["RunSums"]) -> "RunSums":
        """The sums of all images of `parts`, the shards of a run, in their order; without hashes of their files."""
        kept = [part.first for part in parts if part.first is not None]
        unwritten = [part.unwritten for part in parts if part.unwritten is not None]
        return cls(
            Totals.joined([part.totals for part in parts]),
            {name: ParityReport.joined([part.reports[name] for part in parts]) for name in parts[0].reports},
            Trace.joined(kept) if kept else None,
            unwritten[0] if unwritten else None,
            any(part.rounds for part in parts),
        )


class TraceFile:
    """The file of a run's trace, to which traces are added while the run goes on.

    If the disk is full, the file ends, but not the run.

    Args:
        path: of the file, which is written whole or not at all.

    Attributes:
        unwritten: why it could not be written; None if it could.
    """

    def __init__(self, path: Path) -> None:
        self._file = ExitStack()
        self._add: Callable[[Trace], None] | None = self._file.enter_context(growing(path))
        self.unwritten: str | None = None

    def add(self, trace: Trace) -> None:
        """Write the trace of more images, unless writing has failed before."""
        if self._add is None:
            return
        try:
            self._add(trace)
        except RefusedInput as error:
            self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Put the file in its place; after an `error`, remove it."""
        self._add = None
        try:
            if error is None:
                self._file.close()
            else:
                self._file.pop_all().__exit__(type(error), error, error.__traceback__)
        except RefusedInput as refused:
            error = refused
        if isinstance(error, RefusedInput):
            self.unwritten = self.unwritten or str(error)


@contextmanager
def trace_file(path: Path | None) -> Iterator[TraceFile | None]:
    """The file of a trace, which is put at `path` at the end of the block; None without a path."""
    if path is None:
        yield None
        return
    file = TraceFile(path)
    try:
        yield file
    except BaseException as error:
        file.end(error)
        raise
    file.end()


def run_sums(
    traces: Iterator[Trace],
    comparisons: Mapping[str, Comparison],
    write: Callable[[Trace], None] | None = None,
    first: int = 0,
    of_neurons: bool = False,
) -> RunSums:
    """The sums of a run, from its traces, each of which is then dropped.

    Args:
        traces: of some images each, in their order.
        comparisons: to make with each trace, by name.
        write: adds a trace to a file.
        first: number of images at the start whose spikes are kept.
        of_neurons: whether the spikes of each neuron are counted.
    """
    totals: list[Totals] = []
    reports: dict[str, list[ParityReport]] = {name: [] for name in comparisons}
    kept: list[Trace] = []
    done = 0
    for trace in traces:
        images = slice(done, done + trace.images)
        for name, compare in comparisons.items():
            reports[name].append(compare(trace, images))
        if write is not None:
            write(trace)
        totals.append(Totals.of(trace, of_neurons))
        if done < first:
            kept.append(trace.part(slice(0, first - done)))
        done = images.stop
    joined = {name: ParityReport.joined(parts) for name, parts in reports.items()}
    return RunSums(Totals.joined(totals), joined, Trace.joined(kept) if kept else None)
