"""Fingerprints of a graph, `sha256(nodes, edges, parameters)`, and of its frames, by which a trace tells its run.

Names, wiring, shapes and parameters count, as they compute: after dt, the reset and whatever else a file leaves open
were decided.  Metadata don't, so that a graph stays itself in another file, with other names of classes.
"""

import json
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.facts import fact
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.trace import Trace

SHOWN = 12
"""Digits of a fingerprint that a message shows."""


@fact
def fingerprint(graph: Graph) -> str:
    """64 hexadecimal digits, equal for graphs of equal nodes, in whatever order their file holds them."""
    digest = sha256(json.dumps(sorted(graph.recurrent)).encode())
    for name, node in sorted(graph.nodes.items()):
        arrays, rest = node.operation.parameters()
        kind = type(node.operation).__name__
        digest.update(json.dumps([name, kind, node.sources, node.input_shape, node.shape, rest]).encode())
        for key, array in arrays.items():
            digest.update(json.dumps([key, array.dtype.name, array.shape]).encode())
            digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def lineage(graph: Graph) -> tuple[str, ...]:
    """Fingerprints of a graph and of those that it was made of, nearest first: integers of the floats before them."""
    return (fingerprint(graph), *graph.made_of)


def check_trace(graph: Graph, trace: Trace) -> tuple[str, ...]:
    """Refuse a trace of another graph; what is assumed of one that doesn't say whose it is, in a sentence.

    The graph is that which ran, or one that it was made of.

    Raises:
        RefusedInput: the trace is of a graph with other nodes, edges or parameters.
    """
    if not trace.graphs:
        return (f"the trace doesn't say which graph ran; it is taken for a run of {graph.source}",)
    expected = fingerprint(graph)
    if expected not in trace.graphs:
        raise RefusedInput(
            f"{graph.source}: the trace is of another graph ({trace.graphs[0][:SHOWN]}; expected {expected[:SHOWN]}): "
            "of other nodes or parameters, or read with other options, such as --dt or --reset"
        )
    return ()


def of_frames(frames: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The sha256 of each image's frames `[N, T, *frame shape]`: uint8 `[N, 32]`; 0 and -0 are one number."""
    hashes = [sha256(np.asarray(image + np.float32(0), "<f4", "C").tobytes()).digest() for image in frames]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


UNTOLD = "the trace doesn't tell the frames that its run read; they are taken for those given"
"""The assumption about a trace without hashes of its frames."""


def check_frames(graph: Graph, trace: Trace, frames: NDArray[np.float32]) -> None:
    """Refuse other frames than those of a trace, where it tells them.

    Args:
        graph: that read them.
        trace: of its run.
        frames: of each image and step, `[N, T, *frame shape]`, as a float graph reads them.

    Raises:
        RefusedInput: those of an image differ.
    """
    if trace.frames is None:
        return
    odd = (trace.frames != of_frames(frames)).any(1)
    if odd.any():
        rounded = " (rounded or clipped, as the chip's integers may have)" if trace.precision == "loihi2" else ""
        raise RefusedInput(
            f"{graph.source}: the frames of image {int(odd.argmax())} are not those that the trace's run "
            f"read{rounded}; expected the same frames in the same order"
        )
