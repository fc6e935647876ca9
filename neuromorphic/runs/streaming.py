"""A run whose images pass: some are made, run, compared, counted and written, and then forgotten.

What stays are outputs, numbers of spikes, what comparisons found, and the spikes of the first images.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.exactness import rounds
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.batches import batches
from neuromorphic.execution.fast import count_overflows
from neuromorphic.execution.frames import per_step
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.parity import ROUNDING, ParityReport
from neuromorphic.ir.totals import Totals
from neuromorphic.ir.trace import Trace, growing
from neuromorphic.ops import Overflows
from neuromorphic.targets.target import Progress, Target

SOME = 256
"""Images whose frames are made at a time, at most."""

NUMBERS = 2**22
"""Numbers that the frames which are made at a time hold at most, where they are of several images."""

Comparison = Callable[[Trace, slice], ParityReport]
"""A trace of the images in a slice of a run, compared with what else runs on them."""


@dataclass(frozen=True)
class Presented:
    """What a graph is shown.

    Attributes:
        graph: that runs.
        images: how many.
        time_steps: T.
        frames: of the images in a slice, as the graph reads them: float32 `[n, *input shape]` or
            `[n, T, *input shape]`.
    """

    graph: Graph
    images: int
    time_steps: int
    frames: Callable[[slice], NDArray[np.float32]]

    @classmethod
    def checked(
        cls, graph: Graph, images: int, time_steps: int | None, frames: Callable[[slice], NDArray[np.float32]]
    ) -> "Presented":
        """Frames that fit the graph, all of them; `time_steps` where neither they nor the graph say T.

        Raises:
            RefusedInput: some don't, or nobody says T.
        """
        steps = {per_step(graph, frames(part), time_steps).shape[1] for part in batches(images, _some(graph))}
        return cls(graph, images, steps.pop(), frames)

    @property
    def rounding(self) -> float:
        """What outputs and scores may differ by from PyTorch's, relative to the largest; 0 where they are exact."""
        of_parts = (self.frames(part) for part in batches(self.images, _some(self.graph)))
        return ROUNDING if any(rounds(self.graph, frames, self.time_steps) for frames in of_parts) else 0.0

    def traces(self, target: Target, progress: Progress) -> Iterator[Trace]:
        """What the graph does, some images at a time; errors as of `Target.run`."""
        for part in batches(self.images, _some(self.graph) if target.restarts else self.images):

            def on(done: int, total: int, before: int = part.start) -> None:
                progress(before + done, self.images)

            yield from target.parts(self.graph, self.frames(part), self.time_steps, on)

    def overflows(self, progress: Progress) -> dict[str, Overflows]:
        """How often widths of a graph of integers were too small, by population (`fast.count_overflows`)."""
        total = {node.name: Overflows() for node in self.graph.populations}
        for part in batches(self.images, _some(self.graph)):
            for name, found in count_overflows(self.graph, self.frames(part)).items():
                total[name] += found
            progress(part.stop, self.images)
        return total


def _some(graph: Graph) -> int:
    """Images whose frames are made at a time."""
    numbers = prod(graph.frame_shape) * (graph.metadata.time_steps or 1)
    return min(SOME, max(1, NUMBERS // numbers))


@dataclass(frozen=True)
class Passed:
    """What stays of a run.

    Attributes:
        totals: of all images.
        reports: of each comparison, by what it was compared with.
        first: the trace of the first images, as many as were asked for.
        unwritten: why the trace could not be written; None where it was, or was not asked for.
    """

    totals: Totals
    reports: Mapping[str, ParityReport] = field(default_factory=dict)
    first: Trace | None = None
    unwritten: RefusedInput | None = None


def passed(
    traces: Iterator[Trace],
    comparisons: Mapping[str, Comparison],
    output: Path | None = None,
    first: int = 0,
    of_neurons: bool = False,
) -> Passed:
    """Take the traces of a run as they come.

    A disk that fills up ends the file, not the run: what was computed is worth more than where it was to be kept.

    Args:
        traces: of some images each, in their order.
        comparisons: of each of them, by what it is compared with.
        output: where the trace of all images is written, whole or not at all.
        first: images whose spikes are kept.
        of_neurons: whether the spikes of each neuron are counted.

    Raises:
        RefusedInput: as of what traces and comparisons raise.
    """
    totals: list[Totals] = []
    reports: dict[str, list[ParityReport]] = {name: [] for name in comparisons}
    kept: list[Trace] = []
    done, unwritten = 0, None
    with ExitStack() as file:
        write = None if output is None else file.enter_context(growing(output))
        for trace in traces:
            images = slice(done, done + trace.images)
            for name, compare in comparisons.items():
                reports[name].append(compare(trace, images))
            if write is not None:
                try:
                    write(trace)
                except RefusedInput as error:
                    write, unwritten = None, error
                    file.pop_all().__exit__(type(error), error, error.__traceback__)
            totals.append(Totals.of(trace, of_neurons))
            if done < first:
                kept.append(trace.part(slice(0, first - done)))
            done = images.stop
        try:
            file.close()
        except RefusedInput as error:
            unwritten = error
    joined = {name: ParityReport.joined(parts) for name, parts in reports.items()}
    return Passed(Totals.joined(totals), joined, Trace.joined(kept) if kept else None, unwritten)
