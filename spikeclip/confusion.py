"""Confusion matrices as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuromorphic.files import atomic
from neuromorphic.pages.svg import FAINT, INK, LINE, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
"""Of pictures; each says the format."""

MOST_CELLS = 20
"""Classes up to which cells hold their counts and axes their names."""

STYLE = {
    "svg.hashsalt": "spikeclip",  # the same figure is the same file
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": LINE,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
"""Of matplotlib's settings, what makes a picture look as the pages do."""

CELL = "#56b4e9"
"""The colour of a cell that holds all images of its class; a cell with fewer is as opaque as their share."""

DARK_COLOURS = {PAPER: "#14181c", INK: "#e8ebee", FAINT: "#a3adb7", LINE: "#3a424b", CELL: "#1f6fa8"}
"""The colours of an SVG where the system is dark, by those of the light theme: counts can be read on both."""

FOREIGN = "(foreign)"
"""The heading of the column of all foreign names."""


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


def draw(panels: Sequence[Sequence[Panel]], path: Path) -> None:
    """Write rows of confusion matrices to `path`; the opacity of a cell is its share of the images of one class.

    Args:
        panels: rows of them.
        path: PNG, SVG or PDF, by its suffix.
    """
    import matplotlib  # takes a second to import
    from matplotlib.figure import Figure

    across = max(len(row) for row in panels)
    kind = path.suffix.lower().removeprefix(".")
    with matplotlib.rc_context(STYLE), atomic(path) as partial:
        figure = Figure(figsize=(6.0 * across, 5.6 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), across, squeeze=False)
        for places, row in zip(axes, panels, strict=True):
            for place in places[len(row) :]:
                place.set_axis_off()
            for place, panel in zip(places, row, strict=False):
                _draw(place, panel)
        figure.savefig(partial, format=kind, dpi=100, metadata={"Date": None} if kind == "svg" else None)
        if kind == "svg":
            partial.write_text(partial.read_text().replace("</style>", f"{_dark_style()}</style>", 1))


def _dark_style() -> str:
    """CSS that exchanges the colours of every mark where the system is dark.

    matplotlib writes `style="fill: #1b1f24"` into its marks and gives them no classes, so that marks are selected by
    that text, and the rules need `!important`.
    """
    rules = (
        f'[style*="{part}: {light}"] {{{part}: {dark} !important}}'
        for light, dark in DARK_COLOURS.items()
        for part in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme: dark) {{{' '.join(rules)}}}"


def _draw(place: "Axes", panel: Panel) -> None:
    """One matrix; of few classes with its counts, and a frame around every right one."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Rectangle

    shares = panel.counts / np.maximum(panel.counts.sum(1, keepdims=True), 1)
    many = max(shares.shape) > MOST_CELLS + 1
    rows, columns = (np.arange(count + 1) - 0.5 for count in shares.shape)
    place.pcolormesh(columns, rows, shares, cmap=ListedColormap([CELL]), alpha=shares, rasterized=many)
    place.set(title=panel.title, xlabel="taken for", ylabel="class", aspect="equal")
    place.invert_yaxis()
    if many:
        return
    names = [*panel.names, FOREIGN][: shares.shape[1]]
    place.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    place.set_yticks(range(len(panel.classes)), panel.classes)
    for (i, j), count in np.ndenumerate(panel.counts):
        if j < len(panel.names) and panel.classes[i] == panel.names[j]:
            place.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=FAINT, linewidth=0.8))
        if count:
            place.text(j, i, count, ha="center", va="center", color=INK)
