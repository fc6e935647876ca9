"""Verdicts: whether each target computes a graph faithfully, approximately or not at all, and why.

faithful      every spike is that of the graph
approximate   spikes can differ; how many do is measured if there are frames
refused       the target can't run the graph, for these reasons
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.deploy import MISSING
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.fast import run_in_batches
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.parity import compare_common
from neuromorphic.ir.trace import Trace
from neuromorphic.loihi2.file import integer_graph
from neuromorphic.loihi2.integers import graded
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.loihi2.supported import microcode
from neuromorphic.loihi2.supported import refusals as no_integers
from neuromorphic.targets.target import Fast, Lava, Reference, Target

Kind = Literal["faithful", "approximate", "refused"]
Others = Mapping[str, Callable[[Graph], list[str]]]
"""Further targets that run integers, by name: functions that list all reasons why they can't run a graph."""

MEASURE = "measure with --images or --frames"
INTEGERS, STOCK, FOLDER = "loihi2", "lava stock", "deploy"


@dataclass(frozen=True)
class Disagreement:
    """Spikes of a target that differ from those of the graph.

    Attributes:
        images: that were run.
        spikes: neurons and steps compared.
        different: of them.
        outputs: the greatest difference of an output, in the graph's unit; None where the target's unit is another.
    """

    images: int
    spikes: int
    different: int
    outputs: float | None

    def __str__(self) -> str:
        return f"{self.different / max(1, self.spikes):.3%} of {self.spikes:,} spikes differ, on {self.images} images"


@dataclass(frozen=True)
class Verdict:
    """Whether a target computes a graph, and how well.

    Attributes:
        target: its name.
        kind: faithful, approximate or refused.
        reasons: why, a sentence each; all reasons if it is refused.
        disagreement: as measured; None where it wasn't measured.
    """

    target: str
    kind: Kind
    reasons: tuple[str, ...]
    disagreement: Disagreement | None = None

    def __str__(self) -> str:
        said = [*self.reasons, *([str(self.disagreement)] if self.disagreement else [])]
        return f"{self.kind}: {'; '.join(said)}"


def verdicts(
    graph: Graph, exact: bool, frames: NDArray[np.float32] | None = None, others: Others | None = None
) -> tuple[Verdict, ...]:
    """Judge `graph` on the reference, the fast executor, Lava, the chip's integers, and all that runs these integers.

    Args:
        graph: as it was read.
        exact: whether its arithmetic is proven not to round.
        frames: to measure disagreement on, `[N, *input shape]` or `[N, T, *input shape]`; a graph of floats is also
            quantised on them.
        others: further targets that run integers.
    """
    runs = _Runs(graph, frames)
    return (
        Verdict(Reference.name, "faithful", ("it is the definition",)),
        _of_floats(runs, Fast(), exact),
        _of_floats(runs, Lava(), exact),
        *_of_integers(runs, others or {}),
    )


class _Runs:
    """A graph and frames to run it on, if there are any."""

    def __init__(self, graph: Graph, frames: NDArray[np.float32] | None) -> None:
        self.graph, self.frames = graph, frames
        self.own = None if frames is None else Reference().run(graph, frames)

    def disagreement(self, trace: Trace, unit: bool) -> Disagreement | None:
        """The disagreement of a target's trace; `unit` says whether its outputs are in the graph's unit."""
        if self.own is None:
            return None
        # Spikes can be compared, whatever they were computed in; membranes can't.
        report = compare_common(replace(trace, precision=self.own.precision, membranes=None), self.own)
        spikes = sum(node.compared for node in report.nodes.values())
        different = sum(node.mismatches for node in report.nodes.values())
        return Disagreement(report.images, spikes, different, report.output_difference if unit else None)


def _of_floats(runs: _Runs, target: Target, exact: bool) -> Verdict:
    if reasons := target.refuses(runs.graph):
        return Verdict(target.name, "refused", tuple(reasons))
    if exact:
        return Verdict(target.name, "faithful", ("no sum rounds, proven from the weights",))
    why = "sums may round in another order: not proven otherwise"
    if runs.frames is None:
        return Verdict(target.name, "approximate", (why, MEASURE))
    return Verdict(target.name, "approximate", (why,), runs.disagreement(target.run(runs.graph, runs.frames), True))


def _of_integers(runs: _Runs, others: Others) -> list[Verdict]:
    """The verdicts on the integers themselves, and on all targets that run them."""
    readers: Others = {STOCK: Lava(stock=True).refuses, FOLDER: _no_folder, **others}
    try:
        integers = integer_graph(runs.graph)
    except RefusedInput as error:
        return [Verdict(name, "refused", (str(error),)) for name in (INTEGERS, *readers)]
    if integers is not None:
        own = Verdict(INTEGERS, "faithful", ("the file holds these integers", *microcode(integers)))
        return [own, *(_reader(name, integers, refuses) for name, refuses in readers.items())]
    reasons = no_integers(runs.graph)
    if not reasons and runs.frames is not None and runs.own is not None:
        return _quantised(runs, runs.frames, runs.own.time_steps, readers)
    if not reasons:
        why = ("the graph would be quantised, which moves spikes", MEASURE, *microcode(runs.graph))
        behind = (f"reads the integers, which the file doesn't hold: {MEASURE}",)
        return [Verdict(INTEGERS, "approximate", why), *(Verdict(name, "approximate", behind) for name in readers)]
    return [
        Verdict(INTEGERS, "refused", tuple(reasons)),
        *(Verdict(name, "refused", ("reads the integers, which the graph has none of",)) for name in readers),
    ]


def _quantised(runs: _Runs, frames: NDArray[np.float32], time_steps: int, readers: Others) -> list[Verdict]:
    timed = replace(runs.graph, metadata=replace(runs.graph.metadata, time_steps=time_steps))
    try:
        integers, _ = quantise(timed, frames)
    except RefusedInput as error:
        return [Verdict(name, "refused", (str(error),)) for name in (INTEGERS, *readers)]
    found = runs.disagreement(run_in_batches(integers, graded(integers, frames)), False)
    own = Verdict(INTEGERS, "approximate", ("quantised on these frames", *microcode(integers)), found)
    return [own, *(_reader(name, integers, refuses, found) for name, refuses in readers.items())]


def _no_folder(integers: Graph) -> list[str]:
    """Why `spikeclip-deploy` can write no folder of a graph of integers; empty if it can."""
    if find_spec("scipy") is None:
        return [MISSING]
    from neuromorphic.deploy.plan import plan

    try:
        plan(integers)
    except RefusedInput as error:
        return [str(error)]
    return []


def _reader(
    name: str, integers: Graph, refuses: Callable[[Graph], list[str]], found: Disagreement | None = None
) -> Verdict:
    """The verdict on a target that runs integers; `found` is their disagreement, where they were quantised here."""
    if reasons := refuses(integers):
        return Verdict(name, "refused", tuple(reasons))
    if found is None:
        return Verdict(name, "faithful", ("computes the file's integers",))
    return Verdict(name, "approximate", ("computes these integers",), found)
