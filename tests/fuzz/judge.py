"""What may become of a file: it is refused in one sentence, or it runs.  Anything else is a bug."""

import time
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

import energy
from neuromorphic.analysis.schedule import schedule
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.ir import hdf5
from neuromorphic.loihi2.file import integer_graph
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.placement import place
from neuromorphic.reading import limits
from neuromorphic.reading.frames import encode
from neuromorphic.reading.read import read_graph

SECONDS = 2.0
"""Of the processor, that a case may take; seen are hundredths, and 0.3 of the first one, which imports."""

LENGTH = 1000
"""Characters of a refusal beyond the path."""

SMALL = 2**12
"""Elements that the nodes of a graph have in all, which is quantised and placed too."""

SMALLER = {"MAX_ELEMENTS": 2**20, "MAX_GRAPH_ELEMENTS": 2**21, "MAX_PRODUCTS": 2**24, "MAX_STEP_ELEMENTS": 2**23}
"""Limits that thousands of graphs can be run within; what holds for them holds for the real ones in proportion."""

DECLARED = 2**27
"""Bytes that a file may declare, likewise."""


class Bug(AssertionError):
    """A refusal that is no sentence, or a case that took too long."""


def judge(path: Path, read=read_graph, *, integers: bool = True) -> str:
    """`refused`, `stopped` (read, but refused when run) or `ran`; raises whatever else happens.

    Args:
        path: of the file.
        read: what reads it.
        integers: whether it is quantised and placed too, which takes longer than everything else.
    """
    begin = time.process_time()
    try:
        graph = read(path)
    except RefusedInput as error:
        outcome = "refused"
        check_sentence(error, path)
    else:
        outcome = exercise(graph, path, integers=integers)
    if time.process_time() - begin > SECONDS:
        raise Bug(f"{outcome} after {time.process_time() - begin:.1f} s")
    return outcome


def check_sentence(error: RefusedInput, path: Path | str) -> None:
    said = str(error)
    if not said.startswith(str(path)):
        raise Bug(f"does not start with the file: {said}")
    if not said.isprintable() or "Traceback" in said or len(said) > LENGTH + len(str(path)):
        raise Bug(f"not one sentence: {said!r}")
    if "MemoryError" in said or "RecursionError" in said:
        raise Bug(f"refused by running out: {said}")


def exercise(graph, path: Path | str, *, integers: bool = True) -> str:
    """Runs a graph that was accepted for a step or two, counts, schedules it; a small one in integers, on cores too."""
    try:
        integers = integers and small(graph)
        whole = integer_graph(graph) or (in_integers(graph) if integers else None)
        for this in filter(None, (graph, whole)):
            steps = min(this.metadata.time_steps or 2, 2)
            metadata = replace(this.metadata, time_steps=steps, readout=None)
            short = replace(this, metadata=metadata)
            shape = short.nodes[short.input].shape
            frames = np.random.default_rng(0).integers(-8, 9, (1, *shape)).astype(np.float32)
            energy.count(short, run(short, frames))
            schedule(short)
            if integers:
                place(short)
            if metadata.preprocessing is not None and len(shape) == 3:
                encode(this, np.zeros((1, *shape[1:], shape[0]), np.uint8))
    except RefusedInput as error:
        check_sentence(error, path)
        return "stopped"
    return "ran"


def small(graph) -> bool:
    return sum(prod(node.shape) for node in graph.nodes.values()) <= SMALL


def in_integers(graph):
    """A graph in the chip's integers."""
    graph = replace(graph, metadata=replace(graph.metadata, time_steps=2))
    frames = np.random.default_rng(1).integers(-8, 9, (2, *graph.nodes[graph.input].shape)).astype(np.float32)
    return quantise(graph, frames)[0]


def shrink_limits() -> None:
    """Put the limits of `SMALLER` in place, in this process."""
    for name, value in SMALLER.items():
        setattr(limits, name, value)
    hdf5.MAX_BYTES = DECLARED
