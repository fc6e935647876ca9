"""Batches of a run, for all executors: traces of some images each, or one of all."""

from collections.abc import Callable, Iterator
from functools import wraps
from math import prod
from typing import ParamSpec

from neuromorphic.cluster.ranges import Progress
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.trace import Trace

P = ParamSpec("P")

MOST = 16
"""Images at a time; with more, the time per image doesn't fall any further."""

ROOM = 2**27
"""Bytes of the spikes of a batch, at most, at a byte for each."""


def fitting(graph: Graph, time_steps: int) -> int:
    """Images at a time, 1 to `MOST`, so that their spikes over T steps fit into `ROOM`."""
    neurons = sum(prod(node.shape) for node in graph.populations)
    return min(max(1, ROOM // max(1, neurons * time_steps)), MOST)


def told(parts: Iterator[Trace], images: int, progress: Progress) -> Iterator[Trace]:
    """`parts`, and a call of `progress` with each."""
    done = 0
    progress(done, images)
    for part in parts:
        done += part.images
        progress(done, images)
        yield part


def joined(traces: Callable[P, Iterator[Trace]]) -> Callable[P, Trace]:
    """A function that returns one trace of all images; arguments and errors as of `traces`."""

    @wraps(traces)
    def run(*args: P.args, **kwargs: P.kwargs) -> Trace:
        return Trace.joined(list(traces(*args, **kwargs)))

    return run
