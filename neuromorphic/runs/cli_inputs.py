"""What a command runs, a graph, and on what: images, or frames as they are in a file; and their right classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.integers import graded
from neuromorphic.reading.frames import FrameOptions, Frames, encode, find_frames, image_size
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph
from neuromorphic.runs.streaming import checked_steps
from neuromorphic.runs.summary import classifies
from spikeclip.data import ImageSet, load_images
from spikeclip.module_options import ModuleOptions
from spikeclip.predictions import Truth, find_truth
from spikeclip.preprocess import Preprocessing, stated_resize

if TYPE_CHECKING:  # torch is needed by a module only
    from export.frontend.door import PreparedModule

Inputs = ImageSet | Frames
"""What a graph is run on: images, or frames as they are; both have names, labels and names of these."""

AS_STORED = FrameOptions()
"""Of frames that leave nothing open."""


def open_graph(model: Path | None, own: ModuleOptions | None, meant: Asked) -> "tuple[Graph, PreparedModule | None]":
    """The graph in the file `model`, or of a module; and the module, where one was named.

    Raises:
        RefusedInput: neither was named, or one of them is refused.
    """
    if own is not None:
        from export.frontend.command import opened

        return opened(model, own, meant)
    if model is None:
        raise RefusedInput("nothing to run; expected a graph (.nir), or --module FILE.py:FACTORY")
    return read_graph(model, asked=meant), None


def inputs_for(
    graph: Graph,
    prepared: "PreparedModule | None",
    images: str | None,
    frames: Mapping[str, Path],
    layout: FrameOptions,
    limit: int | None,
    *,
    skip_broken: bool,
) -> Inputs:
    """As of `find_inputs`; for a module that none were named for, random ones, which say so."""
    if prepared is None or images is not None or frames:
        return find_inputs(graph, images, frames, layout, limit, skip_broken=skip_broken)
    from export.frontend.command import random_inputs

    return random_inputs(prepared, limit)


def find_inputs(
    graph: Graph,
    images: str | None,
    frames: Mapping[str, Path],
    layout: FrameOptions = AS_STORED,
    limit: int | None = None,
    *,
    skip_broken: bool = False,
) -> Inputs:
    """The images or the frames that were named; exactly one of the two has to be.

    Args:
        graph: that reads them.
        images: SPEC of images.
        frames: files of frames, by input (`reading.frames.named_files`); none for images.
        layout: what a file of frames leaves open.
        limit: take the first N only.
        skip_broken: whether image files that can't be read are left out.

    Raises:
        RefusedInput: none or both were named, an option is of the other kind, or they are refused themselves.
    """
    if (images is None) != bool(frames):
        raise RefusedInput("nothing to run on, or two things; expected either --images SPEC or --frames FILE.npy")
    if frames:
        return find_frames(graph, frames, layout, limit)
    if layout.bin is not None or layout.time_first:
        raise RefusedInput("--bin and --time-first are of frames; expected --frames")
    resize = stated_resize(graph.metadata.preprocessing, graph.source)
    return load_images(str(images), image_size(graph), limit, resize, skip_broken=skip_broken)


def assumed_of(found: Inputs) -> tuple[str, ...]:
    """What was taken for granted of them, or left out, in sentences."""
    return found.left_out if isinstance(found, ImageSet) else found.assumed


def truth_of(graph: Graph, found: Inputs) -> Truth:
    """The right class of each image in the graph's numbering, where images have labels and outputs are classes."""
    if not classifies(graph):
        return Truth(None)
    if isinstance(found, ImageSet) and "checkpoint" in graph.metadata.document and not graph.metadata.label_names:
        return Truth(None, ("the outputs are an embedding, not scores of classes: labels are not compared",))
    return find_truth(found, graph.metadata.label_names, graph.nodes[graph.output].shape[0], graph.source)


def frames_of(graph: Graph, found: Inputs, images: slice = slice(None)) -> NDArray[np.float32]:
    """What `graph` reads of some of the images, in its integers where it consists of some."""
    if isinstance(found, ImageSet):
        return encode(graph, found.images[images])
    frames = found.floats(images)
    return graded(graph, frames) if graph.precision == "loihi2" else frames


def steps_of(graph: Graph, found: Inputs, time_steps: int | None) -> int:
    """T, after a check of all frames that `graph` reads of the images; `time_steps` where nobody else says T.

    Raises:
        RefusedInput: as of `checked_steps`.
    """
    return checked_steps(graph, len(found.names), time_steps, lambda images: frames_of(graph, found, images))


def own_images(
    settings: Preprocessing, graph: Graph, found: Inputs, spec: str, limit: int | None, *, skip_broken: bool
) -> NDArray[np.uint8] | None:
    """The images as a checkpoint's preprocessing has them made; None where the graph's file makes them the same.

    Args:
        settings: the checkpoint's.
        graph: whose file `found` was made for.
        found: by `find_inputs`, of the same SPEC and options.
        spec: SPEC of images.
        limit: take the first N only.
        skip_broken: whether image files that can't be read are left out.

    Raises:
        RefusedInput: as of `load_images`.
    """
    stated = stated_resize(graph.metadata.preprocessing, graph.source)
    if isinstance(found, ImageSet) and (settings.image_size, settings.resize) == (image_size(graph), stated):
        return None
    return load_images(spec, settings.image_size, limit, settings.resize, skip_broken=skip_broken).images
