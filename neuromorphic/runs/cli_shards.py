"""`spikeclip-simulate` shard by shard: simulates some images, compares, counts, and drops their spikes.

A run in one process and a run on a cluster have the same shards and add up the same results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.exactness import rounds
from neuromorphic.analysis.fingerprint import fingerprint
from neuromorphic.cluster.ranges import Progress
from neuromorphic.cluster.sharded import Sharing, sharded
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.fast import count_overflows
from neuromorphic.files import sha256_of
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import Readout
from neuromorphic.ir.parity import ROUNDING, Mismatch, NodeParity, NumberParity, ParityReport, compare_common
from neuromorphic.ir.totals import SpikeCount, Totals
from neuromorphic.ir.trace import FORMAT_VERSION, SpikeTrain, Trace
from neuromorphic.ir.trace_shards import file_of, folder_of, write_index
from neuromorphic.loihi2.scheme import KEY
from neuromorphic.ops import Overflows
from neuromorphic.reading.frames import image_size
from neuromorphic.runs.cli_inputs import Inputs, Selection, frames_of
from neuromorphic.runs.streaming import Comparison, RunSums, run_sums, shards, trace_file
from neuromorphic.targets.target import Fast, Target
from spikeclip.data import ImageSet

if TYPE_CHECKING:  # torch is needed by what is compared with it only
    from export.checking import TorchRunner
    from export.frontend.door import PreparedModule

PYTORCH, FLOATS = "PyTorch", "floats"
"""Names of the comparisons of a run."""


@dataclass(frozen=True)
class Shard:
    """The images of a shard.

    Attributes:
        number: of the shard, from 0.
        start: index of its first image in the run.
        found: the images, with the preprocessing of the graph's file.
        own: uint8 `[N, S, S, 3]`, the images with a checkpoint's own preprocessing; None if that is the same.
    """

    number: int
    start: int
    found: Inputs
    own: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, found: Inputs, own: NDArray[np.uint8] | None, number: int, images: slice) -> "Shard":
        """The shard of some images of a run, without their labels and names, which a run doesn't need."""
        bare: Inputs
        if isinstance(found, ImageSet):
            bare = replace(found, images=found.images[images], names=(), labels=None)
        else:
            bare = replace(found, values=np.asarray(found.values[images]), names=(), labels=None)
        return cls(number, images.start, bare, None if own is None else own[images])

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The images with a checkpoint's own preprocessing."""
        if self.own is not None:
            return self.own
        assert isinstance(self.found, ImageSet)  # a checkpoint is compared on images only
        return self.found.images


@dataclass(frozen=True)
class Simulation:
    """Simulates a shard: from its images to the sums of their run.  It holds no images, and is sent to workers.

    Attributes:
        graph: that runs.
        time_steps: T.
        target: that runs it.
        pytorch: the checkpoint to compare with; None without one.
        module: a user's module to compare with, likewise.
        floats: for a graph of integers, the graph of floats to compare with; None without one.
        first: number of images at the start of the run whose spikes are kept.
        of_neurons: whether the spikes of each neuron are counted.
        unproven: whether integers may leave their widths, so that this is counted.
        traces: index of a trace in shards; None where the trace is one file, or there is none.
    """

    graph: Graph
    time_steps: int
    target: Target
    pytorch: "TorchRunner | None" = None
    module: "PreparedModule | None" = None
    floats: Graph | None = None
    first: int = 0
    of_neurons: bool = False
    unproven: bool = False
    traces: Path | None = None

    def __call__(self, given: Shard, progress: Progress, write: Callable[[Trace], None] | None = None) -> RunSums:
        """Run a shard.

        Args:
            given: its images.
            progress: told (images done, images of the shard).
            write: adds traces to the file of the whole run.
        """
        frames = frames_of(self.graph, given.found)
        first = max(0, self.first - given.start)
        comparisons = self._comparisons(given, frames)
        own = None if self.traces is None else file_of(self.traces, given.number)
        with trace_file(own) as file:
            traces = self.target.parts(self.graph, frames, self.time_steps, progress)
            ran = run_sums(traces, comparisons, write if file is None else file.add, first, self.of_neurons)
        found = replace(
            ran,
            totals=replace(ran.totals, answers=self._watched(ran.totals.answers, frames)),
            rounds=self.pytorch is not None and rounds(self.graph, frames, self.time_steps),
        )
        if own is None or file is None:
            return found
        return replace(found, unwritten=file.unwritten, sha256=None if file.unwritten else sha256_of(own))

    def _watched(self, answers: Trace, frames: NDArray[np.float32]) -> Trace:
        """`answers` with overflows, also for targets that don't count them."""
        if answers.overflows is not None or not self.unproven:
            return answers
        return replace(answers, overflows=count_overflows(self.graph, frames))

    def _comparisons(self, given: Shard, frames: NDArray[np.float32]) -> Mapping[str, Comparison]:
        comparisons: dict[str, Comparison] = {}
        if self.pytorch is not None:
            comparisons[PYTORCH] = _with_checkpoint(self.pytorch, frames, given.pixels)
        if self.module is not None:
            comparisons[PYTORCH] = _with_module(self.module, frames)
        if self.floats is not None:
            comparisons[FLOATS] = _with_floats(self.floats, self.time_steps, frames_of(self.floats, given.found))
        return comparisons


def _with_checkpoint(pytorch: "TorchRunner", frames: NDArray[np.float32], pixels: NDArray[np.uint8]) -> Comparison:
    """Compares with the checkpoint in PyTorch, with its own preprocessing, whose frames are compared too.

    The tolerance for rounding is set when all shards are known (`_whole`).
    """

    def compare(trace: Trace, images: slice) -> ParityReport:
        report = compare_common(trace, pytorch.run(frames[images], pixels[images]))
        return replace(report, frames=pytorch.compare_frames(frames[images], pixels[images]))

    return compare


def _with_module(prepared: "PreparedModule", frames: NDArray[np.float32]) -> Comparison:
    """Compares with the module's own code on the same frames."""
    from export.frontend.parity import compare_module

    return lambda trace, images: compare_module(prepared, trace, prepared.record(frames[images]))


def _with_floats(graph: Graph, time_steps: int, frames: NDArray[np.float32]) -> Comparison:
    """Compares integers with the graph of floats on its own frames, but for final membranes, whose units differ."""

    def compare(trace: Trace, images: slice) -> ParityReport:
        other = Fast().run(graph, frames[images], time_steps)
        return compare_common(trace, replace(other, precision=trace.precision, membranes=None))

    return compare


CLASSES = (
    RunSums,
    Totals,
    SpikeCount,
    Trace,
    SpikeTrain,
    Readout,
    Overflows,
    ParityReport,
    NodeParity,
    NumberParity,
    Mismatch,
)
"""The classes of the records in the result of a shard."""


def runner_of(
    checkpoint: str,
    floats: Graph,
    graph: Graph,
    chosen: Selection,
    found: Inputs,
    heads: int | None,
    labels: str | None,
) -> "tuple[TorchRunner, NDArray[np.uint8] | None]":
    """The checkpoint in PyTorch to compare with, and the images with its own preprocessing (`Selection.own_images`).

    Args:
        checkpoint: path or shipped name.
        floats: the graph that was exported from it.
        graph: that runs: the same, or its integers.
        chosen: the selection of the images.
        found: the images, for the graph.
        heads: of a published checkpoint.
        labels: with which it was exported.
    """
    from export.checking import torch_runner

    size = None if heads is None else image_size(floats)
    runner = torch_runner(checkpoint, floats, graph, heads=heads, image_size=size, labels=labels)
    if graph is not floats and KEY not in floats.metadata.document:  # quantised here
        runner.check_parameters()
    return runner, chosen.own_images(runner.preprocessing, floats, found)


def simulated(
    simulation: Simulation,
    found: Inputs,
    own: NDArray[np.uint8] | None,
    sharing: Sharing | None,
    output: Path | None,
    progress: Progress,
) -> RunSums:
    """The whole run, shard by shard.

    In a run without `sharing`, the trace is one file; else it is a file for each shard, and an index.

    Args:
        simulation: of each shard.
        found: all images.
        own: all images with a checkpoint's own preprocessing, as in `Shard`.
        sharing: how shards are shared out; None for one after the other in this process.
        output: file of the trace; None for none.
        progress: told (images done, images in all).
    """
    images = len(found.names)
    parts = shards(simulation.graph, images)

    def given(number: int, part: slice) -> Shard:
        return Shard.of(found, own, number, part)

    if sharing is None:
        with trace_file(output) as file:
            task = partial(simulation, write=None if file is None else file.add)
            ran = sharded(task, given, parts if simulation.target.restarts else [slice(0, images)], progress=progress)
        return replace(_whole(simulation, ran), unwritten=None if file is None else file.unwritten)
    index = None if output is None else output.resolve()
    if index is not None:
        try:
            folder_of(index).mkdir(exist_ok=True)
        except OSError as error:
            raise RefusedInput(f"-o {output}: {folder_of(index)} can't be made ({error.strerror})") from error
    simulation = replace(simulation, traces=index)
    of_run = partial(_settings, simulation, found, own)
    if sharing.place is not None and isinstance(simulation.target, Fast):
        simulation = replace(simulation, target=Fast(cores=1))  # a worker has a core for each of its shards
    ran = sharded(simulation, given, parts, sharing, of_run, CLASSES, _stands(simulation), progress)
    if index is not None:
        hashes = [shard.sha256 for shard in ran if shard.sha256 is not None]
        if len(hashes) == len(ran):
            write_index(index, FORMAT_VERSION, [part.stop - part.start for part in parts], hashes)
    return _whole(simulation, ran)


def _settings(simulation: Simulation, found: Inputs, own: NDArray[np.uint8] | None) -> dict[str, Any]:
    """All that the results of shards depend on, for `--resume`."""
    graph, model = simulation.graph, Path(simulation.graph.source)
    return {
        "command": "simulate",
        "model": sha256_of(model) if model.is_file() else None,
        "graph": fingerprint(graph),
        "time_steps": simulation.time_steps,
        "target": repr(simulation.target),
        "data": found.sha256,
        "data of the checkpoint": None if own is None else sha256(np.ascontiguousarray(own).tobytes()).hexdigest(),
        "checkpoint": None if simulation.pytorch is None else simulation.pytorch.fingerprint,
        "floats": None if simulation.floats is None else fingerprint(simulation.floats),
        "first": simulation.first,
        "of_neurons": simulation.of_neurons,
        "trace": None if simulation.traces is None else str(simulation.traces),
    }


def _stands(simulation: Simulation) -> Callable[[int, RunSums], bool]:
    """Whether the kept result of a shard is still valid: whether its file of the trace, if one is asked for, exists."""

    def finished(number: int, shard: RunSums) -> bool:
        if simulation.traces is None:
            return True
        file = file_of(simulation.traces, number)
        return file.is_file() and sha256_of(file) == shard.sha256

    return finished


def _whole(simulation: Simulation, parts: Sequence[RunSums]) -> RunSums:
    """The sums of all shards; outputs may differ from a checkpoint's by rounding if those of some shard may."""
    run = RunSums.joined(parts)
    if simulation.pytorch is None:
        return run
    report = run.reports[PYTORCH].allowing(ROUNDING if run.rounds else 0.0)
    report = replace(report, parameters=simulation.pytorch.compare_parameters())
    return replace(run, reports={**run.reports, PYTORCH: report})
