"""A run in batches of images, as every executor takes them: traces of some images each, or one of all."""

from collections.abc import Callable, Iterator
from functools import wraps
from math import prod
from typing import ParamSpec

from neuromorphic.cluster.ranges import Progress
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.trace import Trace

P = ParamSpec("P")

MOST = 16
"""Images at a time beyond which the time per image does not fall any more."""

ROOM = 2**27
"""Bytes that the spikes of the images of a batch take at most, a byte each."""


def fitting(graph: Graph, time_steps: int) -> int:
    """Images at a time whose spikes, over T steps, fit `ROOM`; one at least, `MOST` at most."""
    neurons = sum(prod(node.shape) for node in graph.populations)
    return min(max(1, ROOM // max(1, neurons * time_steps)), MOST)


def told(parts: Iterator[Trace], images: int, progress: Progress) -> Iterator[Trace]:
    """`parts`, while `progress` is told (images done, images in all)."""
    done = 0
    progress(done, images)
    for part in parts:
        done += part.images
        progress(done, images)
        yield part


def joined(traces: Callable[P, Iterator[Trace]]) -> Callable[P, Trace]:
    """The function that returns the trace of all images at once; arguments and errors as of `traces`."""

    @wraps(traces)
    def run(*args: P.args, **kwargs: P.kwargs) -> Trace:
        return Trace.joined(list(traces(*args, **kwargs)))

    return run
