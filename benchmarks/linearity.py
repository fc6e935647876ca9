"""The fast executor's processor time against time steps, images and tokens: it should be a line each.

An untrained encoder is run at three sizes of each, all else alike, in floats and in integers, by compiled kernels where
Numba is installed.  Rounds time all sizes one after the other; the least of each counts.  Per unit of T and of tokens
the encoder's layers do the same work, but for what happens once per image: the first convolution reads frames that are
the same at every time step.

    python -m benchmarks.linearity --picture docs/linearity.svg --json linearity.json
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import typer
from matplotlib.figure import Figure
from rich.table import Table

import export
import neuromorphic
from benchmarks.random_checkpoint import random_checkpoint
from neuromorphic.execution import fast
from neuromorphic.files import atomic, write_json
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.pages.svg import BLUE, FAINT
from spikeclip.confusion import STYLE
from spikeclip.console import progress_bar, refusals, results
from spikeclip.data import load_images
from spikeclip.options import JsonOption

SIZES = {"time steps": (2, 4, 8), "images": (16, 32, 64), "tokens": (64, 144, 256)}
"""Sizes that vary; all else is as the middle of these, but tokens as the first."""

USUAL = {"time steps": 4, "images": 16, "tokens": 64}

PIXELS = 16
"""Of an image behind each token: the stem halves height and width twice."""


@dataclass(frozen=True)
class Point:
    """One size: what varies, how large it is, and seconds of processor time in floats and in integers."""

    axis: str
    size: int
    seconds: dict[str, float]


def runs(preset: str, time_steps: int, images: int, tokens: int) -> dict[str, Any]:
    """Functions that run an encoder of these sizes on so many images, by their arithmetic."""
    pixels = round((PIXELS * tokens) ** 0.5)
    shown = load_images("samples", pixels).images
    prepared = export.prepare(random_checkpoint(preset, shown, time_steps=time_steps, image_size=pixels))
    floats = neuromorphic.from_nir(prepared.graph, "floats")
    integers, _ = quantise(floats, neuromorphic.encode(floats, shown))
    repeated = np.resize(shown, (images, *shown.shape[1:]))
    found = {}
    for name, graph in (("floats", floats), ("integers", integers)):
        frames = neuromorphic.encode(graph, repeated)
        found[name] = lambda graph=graph, frames=frames: sum(part.images for part in fast.traces(graph, frames))
    return found


def measure(preset: str, rounds: int, report: Any) -> list[Point]:
    """The points of every size of everything that varies."""
    points = []
    for axis, sizes in SIZES.items():
        of_sizes = {}
        for size in sizes:
            report(f"{axis}: {size}")
            changed = {**USUAL, axis: size}
            of_sizes[size] = runs(preset, changed["time steps"], changed["images"], changed["tokens"])
        least = {size: dict.fromkeys(found, np.inf) for size, found in of_sizes.items()}
        for _ in range(rounds + 1):  # the first one compiles
            for size, found in of_sizes.items():
                for name, run in found.items():
                    begin = time.process_time()
                    run()
                    least[size][name] = min(least[size][name], time.process_time() - begin)
        points += [Point(axis, size, seconds) for size, seconds in least.items()]
    return points


def line(points: list[Point], name: str) -> tuple[float, float, float]:
    """Slope and offset of the line through points, and how far the worst is off it, relative to its time."""
    x, y = np.array([p.size for p in points]), np.array([p.seconds[name] for p in points])
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(offset), float(np.abs((slope * x + offset - y) / y).max())


def draw(points: list[Point], path: Path) -> None:
    """A panel for each of what varies: points, and the lines through them."""
    with mpl.rc_context(STYLE), atomic(path) as partial:
        figure = Figure(figsize=(11, 3.4), layout="constrained")
        for place, axis in zip(figure.subplots(1, len(SIZES)), SIZES, strict=True):
            own = [point for point in points if point.axis == axis]
            for name, colour in (("floats", BLUE), ("integers", FAINT)):
                slope, offset, _ = line(own, name)
                x = np.array([0, own[-1].size])
                place.plot(x, 1e3 * (slope * x + offset), color=colour, linewidth=0.8)
                place.plot([p.size for p in own], [1e3 * p.seconds[name] for p in own], "o", color=colour, label=name)
            place.set(title=axis, xlabel=axis, xlim=(0, None), ylim=(0, None))
        figure.axes[0].set_ylabel("ms of processor time")
        figure.axes[0].legend(frameon=False)
        figure.savefig(partial, format="svg", metadata={"Date": None})


def main(
    preset: Annotated[str, typer.Argument(help="Sizes of the untrained encoder.")] = "paper-tiny",
    rounds: Annotated[int, typer.Option(min=1, help="Times that each is run.")] = 3,
    picture: Annotated[Path | None, typer.Option(help="Draw it (.svg).")] = None,
    json_path: JsonOption = None,
) -> None:
    """Time the fast executor against time steps, images and tokens."""
    with refusals():
        fast.WORTHWHILE = 0  # short runs are compiled too
        with progress_bar("preparing") as advance:
            points = measure(preset, rounds, lambda text: advance(0, 1, text))
        table = Table("varies", "size", "floats, ms", "integers, ms", box=None)
        for axis in SIZES:
            own = [point for point in points if point.axis == axis]
            for point in own:
                table.add_row(axis, str(point.size), *(f"{1e3 * point.seconds[n]:.1f}" for n in ("floats", "integers")))
            table.add_row("", "off the line", *(f"{line(own, name)[2]:.1%}" for name in ("floats", "integers")))
        results.print(table)
        if picture is not None:
            draw(points, picture)
        if json_path is not None:
            write_json(json_path, {"preset": preset, "points": [vars(point) for point in points]})


if __name__ == "__main__":
    typer.run(main)
