"""What a run is compared with: a checkpoint's PyTorch model, a module, or the floats behind integers."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.graph import Graph
from neuromorphic.ir.parity import NumberParity, ParityReport, compare_common
from neuromorphic.ir.trace import Trace
from neuromorphic.reading.frames import image_size
from neuromorphic.runs.streaming import Comparison, Presented
from neuromorphic.targets.target import Fast
from spikeclip.preprocess import Preprocessing

if TYPE_CHECKING:
    from export.frontend.door import PreparedModule


PYTORCH, FLOATS = "PyTorch", "floats"
"""Names of what a run is compared with."""


def with_checkpoint(
    checkpoint: str,
    floats: Graph,
    shown: Presented,
    heads: int | None,
    labels: str | None,
    images: str,
    limit: int | None,
    skip_broken: bool,
) -> tuple[Comparison, NumberParity | None]:
    """What PyTorch does on `images`, from the checkpoint's own preprocessing on; and how the file's frames compare.

    Args:
        checkpoint: path or shipped name.
        floats: the graph that was exported from it.
        shown: what runs: the same on its frames, or its integers.
        heads: of a published checkpoint.
        labels: that it was exported with.
        images: SPEC of them.
        limit: take the first N only.
        skip_broken: whether image files that can't be read are left out.
    """
    from export.checking import torch_runner
    from spikeclip.data import load_images

    def own(settings: Preprocessing) -> NDArray[np.uint8]:
        return load_images(images, settings.image_size, limit, settings.resize, skip_broken=skip_broken).images

    size = None if heads is None else image_size(floats)
    run, frames = torch_runner(
        checkpoint, floats, shown.graph, shown.frames, heads=heads, image_size=size, labels=labels, own=own
    )
    rounding = shown.rounding
    return (lambda trace, those: compare_common(trace, run(those), rounding)), frames


def with_module(prepared: "PreparedModule", shown: Presented) -> Comparison:
    """The module's own code on the same frames."""
    from export.frontend.parity import compare_module

    return lambda trace, images: compare_module(prepared, trace, prepared.record(shown.frames(images)))


def with_floats(shown: Presented) -> Comparison:
    """The graph of floats behind one of integers, on its own frames; final membranes, in another unit, are left out."""

    def compare(trace: Trace, images: slice) -> ParityReport:
        other = Fast().run(shown.graph, shown.frames(images), shown.time_steps)
        return compare_common(trace, replace(other, precision=trace.precision, membranes=None))

    return compare
