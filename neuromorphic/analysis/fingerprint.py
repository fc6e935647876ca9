"""Fingerprints of a graph, `sha256(nodes, edges, parameters)`, and of its frames: a trace names its run by them.

Names, edges, shapes and parameters count, as they are computed with: after dt, the reset and all else that a file
leaves open were decided.  Metadata don't count, so the same graph in another file, with other names of classes, has the
same fingerprint.
"""

import json
from collections.abc import Iterator
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.facts import fact
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.trace import Trace

SHOWN = 12
"""Digits of a fingerprint that a message shows."""


@fact
def fingerprint(graph: Graph) -> str:
    """64 hexadecimal digits, the same for graphs of equal nodes, in any order."""
    digest = sha256(json.dumps(sorted(graph.recurrent)).encode())
    for name, node in sorted(graph.nodes.items()):
        arrays, rest = node.operation.parameters()
        kind = type(node.operation).__name__
        digest.update(json.dumps([name, kind, node.sources, node.input_shape, node.shape, rest]).encode())
        for key, array in arrays.items():
            digest.update(json.dumps([key, array.dtype.name, array.shape]).encode())
            digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def differences(graph: Graph, expected: Graph) -> tuple[str, ...]:
    """Where a graph computes with other nodes, edges or parameters than another, in a sentence each; none otherwise."""
    if fingerprint(graph) == fingerprint(expected):
        return ()
    found = [f"{name} is in one of both only" for name in sorted(graph.nodes.keys() ^ expected.nodes.keys())]
    for name in sorted(graph.nodes.keys() & expected.nodes.keys()):
        found += [f"{name}: {said}" for said in _differences(graph.nodes[name], expected.nodes[name])]
    if graph.recurrent != expected.recurrent:
        found.append("other edges are a step late")
    return tuple(found)


def _differences(node: Node, expected: Node) -> Iterator[str]:
    (arrays, rest), (others, expected_rest) = node.operation.parameters(), expected.operation.parameters()
    shapes = {key: array.shape for key, array in arrays.items()}
    if type(node.operation) is not type(expected.operation) or rest != expected_rest or node.shapes != expected.shapes:
        yield "is another operation, or has other settings"
    elif shapes != {key: array.shape for key, array in others.items()}:
        yield "has parameters of other shapes"
    else:
        for key, array in arrays.items():
            apart = np.abs(array.astype(np.float64) - others[key])
            if differ := np.count_nonzero(apart):
                yield f"{key} differs in {differ:,} of {apart.size:,} numbers, by up to {apart.max():.3g}"
    if sorted(node.sources) != sorted(expected.sources):
        yield "reads other nodes"


def lineage(graph: Graph) -> tuple[str, ...]:
    """Fingerprints of a graph and of those that it was made from, nearest first, as integers are made from floats."""
    return (fingerprint(graph), *graph.made_of)


def check_trace(graph: Graph, trace: Trace) -> tuple[str, ...]:
    """Refuse a trace of another graph.

    Args:
        graph: the graph that ran, or one that it was made from.
        trace: of the run.

    Returns:
        The assumption, a sentence, where the trace doesn't say which graph ran; else nothing.

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
    """The sha256 of each image's frames `[N, T, *frame shape]`: uint8 `[N, 32]`; 0 and -0 count as the same."""
    hashes = [sha256(np.asarray(image + np.float32(0), "<f4", "C").tobytes()).digest() for image in frames]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


UNTOLD = "the trace doesn't tell the frames that its run read; they are taken for those given"
"""The assumption about a trace without hashes of its frames."""


def check_frames(graph: Graph, trace: Trace, frames: NDArray[np.float32]) -> None:
    """Refuse other frames than those that the run of a trace read, where the trace has their hashes.

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
