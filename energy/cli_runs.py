"""The run that `spikeclip-energy` counts: one that starts here, or the trace of one."""

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy.counts import RECORDS, OperationCounts
from energy.document import Data
from energy.inputs import with_kind_of
from energy.streaming import Counting, count_stored
from neuromorphic.analysis.fingerprint import UNTOLD, check_trace, fingerprint
from neuromorphic.cluster.sharded import Sharing, sharded
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.frames import per_step
from neuromorphic.execution.reference import run as run_reference
from neuromorphic.files import sha256_of
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.parity import ParityReport
from neuromorphic.reading.frames import find_frames
from neuromorphic.runs.cli_inputs import Inputs, Selection, assumed_of, frames_of, truth_of
from neuromorphic.runs.streaming import shards
from spikeclip.console import progress_bar
from spikeclip.data import ImageSet
from spikeclip.predictions import Truth

if TYPE_CHECKING:  # torch is needed by a module only
    from export.frontend.door import PreparedModule

COMPARED_INPUTS = 4
"""The first ones, on which a module's spikes are compared with those that are counted."""

OF_RUNS = ("--images", "--frames", "--bin", "--time-steps", "--limit")
"""Options that say what to run, which a trace holds already."""


@dataclass(frozen=True)
class Run:
    """A run that was counted.

    Attributes:
        graph: with the kind of its input.
        counts: of it.
        data: what they are of.
        producer, precision: what ran.
        assumed: of the input.
        truth: the labels of the images.
        frames: that ran; None of a trace.
    """

    graph: Graph
    counts: OperationCounts
    data: Data
    producer: str
    precision: str
    assumed: list[str]
    truth: Truth
    frames: NDArray[np.float32] | None = None


def stored(graph: Graph, path: Path, chosen: Selection, given: Collection[str]) -> Run:
    """Counts of the trace at `path`, whose frames are needed only where the input sends spikes.

    Args:
        graph: that ran.
        path: of the trace.
        chosen: the frames.
        given: options of the command.

    Raises:
        RefusedInput: an option says what to run, or the trace is of another graph, or of another T than its file's.
    """
    needed = ("--frames", "--bin") if graph.metadata.input_kind in ("spikes", "counts") else ()
    if odd := [option for option in OF_RUNS if option in given and option not in needed]:
        raise RefusedInput(f"{path}: a trace already holds its run; expected no {' and no '.join(odd)} with it")
    found = find_frames(graph, chosen.files, chosen.layout) if chosen.files else None
    frames = None if found is None else found.floats()
    assumed = [] if found is None or frames is None else [*found.assumed, *with_kind_of(graph, frames, found.kind)[1]]
    with progress_bar("counting") as advance:
        counts, trace = count_stored(graph, path, progress=advance, frames=frames)
    if (steps := graph.metadata.time_steps) not in (None, trace.time_steps):
        raise RefusedInput(f"{graph.source}: is made for {steps} time steps; {path} has a run of {trace.time_steps}")
    data = Data(spec=str(path), sha256=sha256_of(path))
    assumed += check_trace(graph, trace)
    if frames is not None and trace.frames is None:
        assumed.append(UNTOLD)
    return Run(graph, counts, data, trace.producer, trace.precision, assumed, Truth(None))


def running(graph: Graph, prepared: "PreparedModule | None", chosen: Selection, sharing: Sharing | None) -> Run:
    """Counts of the numpy reference on images or frames as they were named, shard by shard.

    Raises:
        RefusedInput: none or both were named, or they don't fit the graph.
    """
    named = (chosen.images is not None) + bool(chosen.files)
    if named > 1 or (not named and prepared is None):
        raise RefusedInput("expected one of --images SPEC, --frames FILE.npy and --trace RUN.h5 to count in")
    found, time_steps = chosen.find(graph, prepared), chosen.layout.time_steps
    frames, truth = frames_of(graph, found), truth_of(graph, found)
    graph, assumed = with_kind_of(graph, frames, None if isinstance(found, ImageSet) else found.kind)
    steps = per_step(graph, frames, time_steps).shape[1]  # refused before a shard of them runs

    def of_run() -> dict[str, Any]:
        readout = graph.metadata.readout
        return {
            "command": "energy",
            "graph": fingerprint(graph),
            "readout": None if readout is None else {name: each.tolist() for name, each in vars(readout).items()},
            "input_kind": graph.metadata.input_kind,
            "ann": None if graph.metadata.twin is None else dict(graph.metadata.twin),
            "time_steps": steps,
            "frames": sha256(frames.tobytes()).hexdigest(),
        }

    task, parts = Counting(graph, time_steps), shards(graph, len(frames))
    with progress_bar("running and counting") as advance:
        ran = sharded(task, lambda number, part: frames[part], parts, sharing, of_run, RECORDS, progress=advance)
    counts, data, said = OperationCounts.joined(ran), _data(chosen, found), [*assumed_of(found), *assumed]
    return Run(graph, counts, data, "reference", graph.precision, said, truth, frames)


def _data(chosen: Selection, found: Inputs) -> Data:
    """The origin of the frames; of one file of frames with the file's own hash."""
    files = chosen.files
    of_files = ", ".join(f"{name}={path}" if name else str(path) for name, path in files.items())
    path, *more = files.values() or [None]
    digest = sha256_of(path) if path is not None and path.is_file() and not more else found.sha256
    return Data(spec=chosen.images or of_files or f"{len(found.names)} random inputs", sha256=digest)


def compared(prepared: "PreparedModule", graph: Graph, frames: NDArray[np.float32]) -> ParityReport:
    """The spikes of the first inputs, counted ones against those of the module's own forward."""
    from export.frontend.parity import compare_module

    first = frames[:COMPARED_INPUTS]
    return compare_module(prepared, run_reference(graph, first), prepared.record(first))
