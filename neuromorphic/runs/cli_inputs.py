"""The inputs of a command: a graph, images, or frames from a file, and their classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.loihi2.integers import beyond, graded
from neuromorphic.loihi2.scheme import KEY
from neuromorphic.reading.events import parse_bin, read_with
from neuromorphic.reading.frames import FrameOptions, Frames, encode, find_frames, image_size, named_files
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph
from neuromorphic.runs.streaming import checked_steps, shards
from neuromorphic.runs.summary import classifies
from spikeclip.data import ImageSet, load_images
from spikeclip.module_options import ModuleOptions
from spikeclip.predictions import Truth, find_truth
from spikeclip.preprocess import Preprocessing, Resize, stated_resize

if TYPE_CHECKING:  # torch is needed by a module only
    from export.frontend.door import PreparedModule

Inputs = ImageSet | Frames
"""The inputs of a run: images, or frames from a file; both have names, labels and names of classes."""


@dataclass(frozen=True)
class Selection:
    """The images or the frames that a command is to run on.

    Attributes:
        images: SPEC of images; None for frames.
        files: of frames, by input (`reading.frames.named_files`); empty for images.
        layout: settings that a file of frames leaves open.
        limit: take the first N only.
        skip_broken: whether image files that can't be read are left out.
    """

    images: str | None
    files: Mapping[str, Path]
    layout: FrameOptions = field(default_factory=FrameOptions)
    limit: int | None = None
    skip_broken: bool = False

    @classmethod
    def of(
        cls,
        images: str | None,
        frames: Sequence[str] | None,
        bin_size: str | None,
        time_first: bool,
        time_steps: int | None,
        limit: int | None,
        skip_broken: bool,
    ) -> Self:
        """The selection from the options of a command.

        Raises:
            RefusedInput: two files are for one input, or `bin_size` is neither a time nor a number.
        """
        layout = FrameOptions(None if bin_size is None else parse_bin(bin_size), time_first, time_steps)
        return cls(images, named_files(frames or ()), layout, limit, skip_broken)

    @property
    def read(self) -> tuple[str | Path | None, ...]:
        """The files and folders that are read, which no output may replace; with recordings, what lies beside them."""
        return (self.images, *self.files.values(), *(path for each in self.files.values() for path in read_with(each)))

    def find(self, graph: Graph, prepared: "PreparedModule | None" = None) -> Inputs:
        """The images or frames: one of the two has to be named; for a module neither, which then gets random ones.

        Raises:
            RefusedInput: none or both are named, an option is for the other, or the files are refused.
        """
        if prepared is not None and self.images is None and not self.files:
            from export.frontend.command import random_inputs

            return random_inputs(prepared, self.limit)
        if (self.images is None) != bool(self.files):
            raise RefusedInput("nothing to run on, or two things; expected either --images SPEC or --frames FILE.npy")
        if self.images is None:
            return find_frames(graph, self.files, self.layout, self.limit)
        if self.layout.bin is not None or self.layout.time_first:
            raise RefusedInput("--bin and --time-first are of frames; expected --frames")
        return self._images(image_size(graph), stated_resize(graph.metadata.preprocessing, graph.source))

    def own_images(self, settings: Preprocessing, graph: Graph, found: Inputs) -> NDArray[np.uint8] | None:
        """The images with a checkpoint's own preprocessing; None if those `found` for the graph have the same."""
        stated = stated_resize(graph.metadata.preprocessing, graph.source)
        if isinstance(found, ImageSet) and (settings.image_size, settings.resize) == (image_size(graph), stated):
            return None
        return self._images(settings.image_size, settings.resize).images

    def _images(self, size: int, resize: Resize) -> ImageSet:
        return load_images(str(self.images), size, self.limit, resize, skip_broken=self.skip_broken)


def open_graph(model: Path | None, own: ModuleOptions | None, meant: Asked) -> "tuple[Graph, PreparedModule | None]":
    """The graph in the file `model`, or of a module; and the module, if one is named.

    Raises:
        RefusedInput: neither is named, or the one named is refused.
    """
    if own is not None:
        from export.frontend.command import opened

        return opened(model, own, meant)
    if model is None:
        raise RefusedInput("nothing to run; expected a graph (.nir), or --module FILE.py:FACTORY")
    return read_graph(model, asked=meant), None


def assumed_of(found: Inputs) -> tuple[str, ...]:
    """Assumptions about the inputs, or images that were left out, in sentences."""
    return found.left_out if isinstance(found, ImageSet) else found.assumed


def truth_of(graph: Graph, found: Inputs) -> Truth:
    """The class of each image, as an index of the graph's output, if images have labels and outputs are classes."""
    if not classifies(graph):
        return Truth(None)
    if isinstance(found, ImageSet) and "checkpoint" in graph.metadata.document and not graph.metadata.label_names:
        return Truth(None, ("the outputs are an embedding, not scores of classes: labels are not compared",))
    return find_truth(found, graph.metadata.label_names, graph.nodes[graph.output].shape[0], graph.source)


def frames_of(graph: Graph, found: Inputs, images: slice = slice(None)) -> NDArray[np.float32]:
    """The frames of some of the images, as `graph` reads them: as integers if it consists of integers."""
    if isinstance(found, ImageSet):
        return encode(graph, found.images[images])
    frames = found.floats(images)
    return graded(graph, frames) if graph.precision == "loihi2" else frames


def with_clipped(graph: Graph, found: Inputs) -> Inputs:
    """`found`, with an assumption if some of its numbers are beyond the integers that `graph` reads."""
    if isinstance(found, ImageSet):  # whose scale is made for all pixel levels
        return found
    count = sum(beyond(graph, found.floats(part)) for part in shards(graph, len(found.names)))
    if not count:
        return found
    scale = graph.metadata.document[KEY]["input_scale"]
    note = (
        f"{count:,} of {found.values.size:,} numbers of the frames are clipped: 8 bits, as calibrated, hold "
        f"{-128 / scale:.4g} to {127 / scale:.4g}"
    )
    return replace(found, assumed=(*found.assumed, note))


def steps_of(graph: Graph, found: Inputs, time_steps: int | None) -> int:
    """T, after a check of all frames; `time_steps`, if neither the frames nor the graph say T."""
    return checked_steps(graph, len(found.names), time_steps, lambda images: frames_of(graph, found, images))
