"""Checking: what PyTorch does on the frames that a graph ran on, for whoever holds a file and what it was made of."""

from collections.abc import Callable
from math import prod

import numpy as np
from numpy.typing import NDArray

from export.convert import Prepared, prepare
from export.integer import integer_model, record_integer
from export.recording import record
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ir.parity import NumberParity
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.reading.frames import encode
from spikeclip.checkpoint import load
from spikeclip.errors import RefusedInput
from spikeclip.labels import load_labels
from spikeclip.preprocess import Preprocessing

SOME = 256
"""Images whose frames are compared at a time."""

Frames = Callable[[slice], NDArray[np.float32]]
"""The frames of the images in a slice: float32 `[n, *input shape]`."""

Runner = Callable[[slice], Trace]
"""The trace of the images in a slice."""


def torch_runner(
    checkpoint: str,
    floats: Graph,
    graph: Graph,
    frames: Frames,
    *,
    heads: int | None = None,
    image_size: int | None = None,
    labels: str | None = None,
    own: Callable[[Preprocessing], NDArray[np.uint8]] | None = None,
) -> tuple[Runner, NumberParity | None]:
    """What runs a checkpoint's folded and snapped PyTorch model, or the same in integers.

    The frames of floats are the checkpoint's own, made of images by its own preprocessing, and compared with `frames`.

    Args:
        checkpoint: path or shipped name.
        floats: the graph that was exported from it.
        graph: what runs: the same, or its integers.
        frames: as `graph` reads them.
        heads: of a published checkpoint.
        image_size: of a published checkpoint.
        labels: label embeddings that a published checkpoint was exported with.
        own: the images, uint8 `[N, S, S, C]`, for a preprocessing; without it PyTorch gets `frames`.

    Returns:
        What runs the images in a slice, and how the frames of all images compare; None for them without `own`.

    Raises:
        RefusedInput: the checkpoint is refused, or the graph was not exported from it.
    """
    label_set = None if labels is None else load_labels(labels)
    loaded = load(checkpoint, heads=heads, image_size=image_size, labels=label_set)
    # A graph that was expanded is allowed as many neurons as it has.
    expanded = bool(floats.metadata.document.get("expanded"))
    prepared = prepare(loaded, expanded, sum(prod(node.shape) for node in floats.populations))
    names = [node.name for node in floats.populations]
    odd = sorted(set(names) ^ prepared.populations)
    if odd:
        raise RefusedInput(
            f"{floats.source}: not exported from checkpoint {checkpoint!r}: only one has node {odd[0]!r}"
        )
    images = None if own is None else own(loaded.preprocessing)
    expected, found = floats.nodes[floats.input].shape, prepared.frame_shape
    if images is not None and found != expected:
        raise RefusedInput(
            f"{floats.source}: reads frames of {list(expected)}; checkpoint {checkpoint!r} makes such of {list(found)}"
        )

    def made(part: slice) -> NDArray[np.float32]:
        return frames(part) if images is None else prepared.encode(images[part])

    compared = None
    if images is not None:
        parts = (slice(start, start + SOME) for start in range(0, len(images), SOME))
        compared = NumberParity.joined(
            [
                NumberParity.of(frames(part) if graph is floats else encode(floats, images[part]), made(part))
                for part in parts
            ]
        )
    if graph is not floats:
        return _integer_runner(prepared, graph, frames), compared
    readout = GraphMetadata.of(prepared.graph.metadata, checkpoint).readout

    def run(part: slice) -> Trace:
        recorded = record(prepared, made(part))
        # Populations inside of attention that was expanded into standard nodes have no layer in PyTorch.
        spikes = {name: SpikeTrain(*recorded.spikes[name]) for name in names if name in recorded.spikes}
        return Trace("torch", "float", spikes, recorded.outputs, readout)

    return run, compared


def _integer_runner(prepared: Prepared, graph: Graph, frames: Frames) -> Runner:
    """What runs the PyTorch model in the integers of `graph`, final membranes included."""
    numbers = {node.name: {**vars(node.operation), "sources": node.sources} for node in graph.nodes.values()}
    model = integer_model(prepared, numbers)

    def run(part: slice) -> Trace:
        recorded = record_integer(model, frames(part))
        spikes = {node.name: SpikeTrain(*recorded.spikes[node.name]) for node in graph.populations}
        return Trace("torch", "loihi2", spikes, recorded.outputs, graph.metadata.readout, recorded.membranes)

    return run
