"""The kind of the input: real numbers, spikes or counts of spikes; it is declared, never guessed from values.

    real      multiplied, in every step (MACs)
    spikes    0 or 1 for each element and step: additions (SOPs)
    counts    so many spikes for each element and step: as many additions

It is declared by the file (`input_kind` in its metadata), by whoever counts, or by an array of booleans.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import InputKind


def with_input_kind(graph: Graph, kind: InputKind | None) -> Graph:
    """`graph` whose input is of this kind; None leaves it as the file says.

    Raises:
        RefusedInput: the file says another.
    """
    stated = graph.metadata.input_kind
    if kind is None or kind == stated:
        return graph
    if stated is not None:
        raise RefusedInput(f"{graph.source}: an input of {kind} asked for; the file says {stated}")
    return replace(graph, metadata=replace(graph.metadata, input_kind=kind))


def with_kind_of(graph: Graph, frames: NDArray[np.generic], kind: InputKind | None) -> tuple[Graph, list[str]]:
    """`graph` with the kind that its frames have, and what was taken for granted, in sentences.

    Args:
        graph: of a stated kind or none.
        frames: that its input reads, `[N, ...]`.
        kind: that their file says: booleans are spikes, events are spikes or counts.

    Raises:
        RefusedInput: frames that are not of the stated kind.
    """
    if graph.metadata.input_kind is not None:
        check_kind(graph, frames)
        return graph, []
    if kind is not None:
        return with_input_kind(graph, kind), [
            f"the input is taken for {kind}: its frames are booleans or events (--input-kind)"
        ]
    if ((frames == 0) | (frames == 1)).all():
        return graph, [
            "the input is taken for real numbers, although all of its frames are 0 or 1; if these are spikes, say so "
            "(--input-kind spikes), and they are added up instead of multiplied"
        ]
    return graph, []


def check_kind(graph: Graph, frames: NDArray[np.generic]) -> None:
    """Refuse frames `[N, ...]` that are not of the kind of `graph`'s input.

    Raises:
        RefusedInput: a value, by its image, that no spikes or counts have.
    """
    kind = graph.metadata.input_kind
    if kind not in ("spikes", "counts"):
        return
    values = np.asarray(frames, np.float64)
    odd = (values != np.rint(values)) | (values < 0) | (values > (1 if kind == "spikes" else 2**31))
    if odd.any():
        image = int(np.argwhere(odd)[0, 0])
        expected = "0 and 1" if kind == "spikes" else "whole numbers from 0 to 2^31"
        raise RefusedInput(
            f"{graph.source}: its input are {kind}, and the frames of image {image} hold {values[odd][0]:g}; expected "
            f"{expected}"
        )
