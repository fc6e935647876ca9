"""Confusion matrices as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuromorphic.files import whole
from spikeclip.errors import RefusedInput

SUFFIXES = (".png", ".svg", ".pdf")
MOST_CELLS = 20
"""Classes up to which cells hold their counts and axes their names."""

FOREIGN = "(foreign)"
"""What the column of all foreign names is called."""


@dataclass(frozen=True)
class Panel:
    """One matrix of a picture.

    Attributes:
        title: stands above it.
        counts: images of class i taken for class j: `[classes, classes]`, or with a column more for foreign names.
        classes: names of the rows.
        names: of the columns, without that of foreign names.
    """

    title: str
    counts: NDArray[np.int64]
    classes: Sequence[str]
    names: Sequence[str]


def check_picture(path: Path) -> None:
    """Refuse a name that says no format.

    Raises:
        RefusedInput: it ends in none of `SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise RefusedInput(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")


def draw(panels: Sequence[Sequence[Panel]], path: Path) -> None:
    """Write rows of confusion matrices to `path`; colours are shares of the images of one class.

    Args:
        panels: rows of them.
        path: PNG, SVG or PDF, by its suffix.
    """
    import matplotlib  # takes a second to import
    from matplotlib.figure import Figure

    across = max(len(row) for row in panels)
    figure = Figure(figsize=(6.0 * across, 5.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), across, squeeze=False)
    for places, row in zip(axes, panels, strict=True):
        for place in places[len(row) :]:
            place.set_axis_off()
        for place, panel in zip(places, row, strict=False):
            shares = panel.counts / np.maximum(panel.counts.sum(1, keepdims=True), 1)
            place.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
            place.set(title=panel.title, xlabel="taken for", ylabel="class")
            if max(shares.shape) <= MOST_CELLS + 1:
                names = [*panel.names, FOREIGN][: shares.shape[1]]
                place.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
                place.set_yticks(range(len(panel.classes)), panel.classes)
                for (i, j), share in np.ndenumerate(shares):
                    if count := panel.counts[i, j]:
                        place.text(j, i, count, ha="center", va="center", color="w" if share > 0.5 else "k")
    with matplotlib.rc_context({"svg.hashsalt": "spikeclip"}):  # the same figure is the same file
        kind = path.suffix.lower().removeprefix(".")
        with whole(path) as partial:
            figure.savefig(partial, format=kind, dpi=100, metadata={"Date": None} if kind == "svg" else None)
