"""What a command runs a graph on: images, or frames as they are in a file; and the right classes of them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.integers import graded
from neuromorphic.reading.frames import FrameOptions, Frames, encode, find_frames, image_size
from neuromorphic.streaming import Presented
from neuromorphic.summary import classifies
from spikeclip.data import ImageSet, load_images
from spikeclip.predictions import Truth, find_truth
from spikeclip.preprocess import stated_resize

Shown = ImageSet | Frames
"""What a graph is run on: images, or frames as they are; both have names, labels and names of these."""


def shown(
    graph: Graph,
    images: str | None,
    frames: Path | None,
    limit: int | None,
    layout: FrameOptions,
    *,
    only_images: bool = False,
) -> Shown:
    """The images or the frames that were named; exactly one of the two has to be.

    Args:
        graph: that reads them.
        images: SPEC of images.
        frames: file of frames.
        limit: take the first N only.
        layout: what a file of frames leaves open.
        only_images: whether something was asked for that takes images.
    """
    if (images is None) == (frames is None):
        raise RefusedInput("nothing to run on, or two things; expected either --images SPEC or --frames FILE.npy")
    if frames is not None:
        if only_images:
            raise RefusedInput(f"{frames}: --check takes images; expected --images SPEC")
        return find_frames(graph, frames, layout, limit)
    if layout.bin is not None or layout.time_first:
        raise RefusedInput("--bin and --time-first are of frames; expected --frames")
    resize = stated_resize(graph.metadata.preprocessing, graph.source)
    return load_images(str(images), image_size(graph), limit, resize)


def truth_of(graph: Graph, found: Shown) -> Truth:
    """The right class of each image in the graph's numbering, where images have labels and outputs are classes."""
    if not classifies(graph):
        return Truth(None)
    if isinstance(found, ImageSet) and "checkpoint" in graph.metadata.document and not graph.metadata.label_names:
        return Truth(None, ("the outputs are an embedding, not scores of classes: labels are not compared",))
    return find_truth(found, graph.metadata.label_names, graph.nodes[graph.output].shape[0], graph.source)


def frames_of(graph: Graph, found: Shown, images: slice = slice(None)) -> NDArray[np.float32]:
    """What `graph` reads of some of the images, in its integers where it consists of some."""
    if isinstance(found, ImageSet):
        return encode(graph, found.images[images])
    frames = found.floats(images)
    return graded(graph, frames) if graph.precision == "loihi2" else frames


def presented(graph: Graph, found: Shown, time_steps: int | None) -> Presented:
    """What `graph` is shown, checked; `time_steps` where nobody else says T."""
    return Presented.checked(graph, len(found.names), time_steps, lambda images: frames_of(graph, found, images))
