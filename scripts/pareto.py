"""The cost of accuracy: a point for each checkpoint, measured by this project's commands, and a picture of all.

python scripts/pareto.py CHECKPOINT... --test cifar10:DIR:test -o pareto [--limit 32] [--backend fast]

Each checkpoint is exported, folded and snapped (accuracy on all test images, before and after), simulated in Lava on
the first `--limit` of them, every spike compared with PyTorch, and placed on Loihi 2's cores; its operations are
counted and priced at 8 bits with all memory moved once per image, as are its ANN twin's.  `pareto.json` holds the
points, `pareto.svg` shows them; what was measured stays in `pareto/`, and is not measured again.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DEVICE, ACCOUNT = "45nm-int8", "ideal_reuse"
COLOURS = {"spike-driven": "#2f6fb0", "paper": "#c2571a"}
GREY = "#5c6670"

PLACES = (
    (8, 2, "left", "bottom"), (8, -2, "left", "top"), (-8, 2, "right", "bottom"), (-8, -2, "right", "top"),
    (8, 16, "left", "bottom"), (8, -16, "left", "top"), (-8, 16, "right", "bottom"), (-8, -16, "right", "top"),
)  # fmt: skip
"""Places of a name: the offset from its mark in points, and the corner of the text that stands there."""


@dataclass(frozen=True)
class Point:
    """One checkpoint.

    Attributes:
        name: of its file.
        architecture: `spike-driven` or `paper`.
        time_steps: T.
        accuracy: of the exported graph, on the test images.
        before: of the checkpoint, on the same.
        tested: how many those are.
        counted: images that operations were counted on.
        sops_per_mac: synaptic operations over the MACs of the ANN twin.
        macs_per_mac: the encoder's own MACs, of the first layer and the readout, over the same.
        energy: picojoules per image at 8 bits with memory, on the images that were simulated.
        twin_energy: the twin's.
        cores: of Loihi 2.
    """

    name: str
    architecture: str
    time_steps: int
    accuracy: float
    before: float
    tested: int
    counted: int
    sops_per_mac: float
    macs_per_mac: float
    energy: float
    twin_energy: float
    cores: int


def command(name: str, *options: str | Path) -> None:
    """Run the console script `spikeclip-NAME` of this interpreter's environment; its own errors are said by it."""
    path = Path(sys.executable).with_name(f"spikeclip-{name}")
    subprocess.run([path, *options], check=True)


def measure(checkpoint: str, test: str, limit: int, backend: str, folder: Path) -> Point:
    """The point of a checkpoint; files that a command has written before are taken as they are."""
    stem = Path(checkpoint).stem
    graph, trace = folder / f"{stem}.nir", folder / f"{stem}.h5"
    exported, cores, counted = (folder / f"{stem}.{what}.json" for what in ("export", "cores", "energy"))
    if not exported.is_file():
        command("export", checkpoint, "-o", graph, "--test", test, "--json", exported)
    if not cores.is_file():
        command(
            "simulate", graph, "--images", test, "--limit", str(limit), "-o", trace, "--backend", backend,
            "--check", checkpoint, "--placement", cores,
        )  # fmt: skip
    if not counted.is_file():
        command("energy", graph, "--trace", trace, "--json", counted)
    export, placed, energy = (json.loads(file.read_text()) for file in (exported, cores, counted))
    found, judged = export["accuracy"], energy["devices"][DEVICE]["accounts"][ACCOUNT]
    if not export["certificate"]["exact"]:
        sys.exit(f"{checkpoint}: not exact in every node; expected a checkpoint whose certificate is proven")
    (twin,) = (each for each in judged["comparisons"] if each["ann_device"] == DEVICE)
    return Point(
        name=stem,
        architecture="paper" if export["extensions"] else "spike-driven",
        time_steps=energy["time_steps"],
        accuracy=found["exported"] / found["images"],
        before=found["original"] / found["images"],
        tested=found["images"],
        counted=energy["images"],
        sops_per_mac=energy["snn"]["sops"] / energy["ann"]["macs"],
        macs_per_mac=energy["snn"]["macs"] / energy["ann"]["macs"],
        energy=judged["energy"]["mean"],
        twin_energy=twin["ann_energy"],
        cores=placed["cores"],
    )


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The Pareto front of points (cost, accuracy), from the cheapest on: nothing else is as cheap and as good."""
    best: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((cost, accuracy))
    return best


@dataclass(frozen=True)
class Panel:
    """Accuracy over one cost.

    Attributes:
        title: of the axis.
        cost: of a point.
        words: what the label of a point says of it.
        scale: of the axis, `linear` or `log`.
    """

    title: str
    cost: Callable[[Point], float]
    words: Callable[[Point], str]
    scale: str


PANELS = (
    Panel(
        "synaptic operations per MAC of its ANN twin",
        lambda p: p.sops_per_mac,
        lambda p: f"{p.sops_per_mac:.2f}, T = {p.time_steps}",
        "linear",
    ),
    Panel(
        "energy per image, µJ (45 nm, 8 bits, memory moved once)",
        lambda p: p.energy / 1e6,
        lambda p: f"{p.energy / 1e6:.3g} µJ, its twin {p.twin_energy / 1e6:.3g}",
        "log",
    ),
    Panel("cores of Loihi 2, an estimate", lambda p: p.cores, lambda p: f"{p.cores} cores", "log"),
)


def draw(points: list[Point], path: Path) -> None:
    """A panel for each cost, with 95 % intervals of the accuracies and the front of what nothing beats."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "spikeclip", "font.size": 9}):  # the same figure is the same file
        figure = Figure(figsize=(13, 5), layout="constrained")
        panels = [*zip(figure.subplots(1, 3, sharey=True), PANELS, strict=True)]
        for axes, panel in panels:
            _draw_panel(axes, panel, points)
        figure.axes[0].set_ylabel("test images right, %")
        figure.draw_without_rendering()  # from here on the axes have their places
        for axes, panel in panels:
            _label(axes, panel, points)
        figure.savefig(path, metadata={"Date": None})


def _draw_panel(axes: Any, panel: Panel, points: list[Point]) -> None:
    """Points, intervals, front and axes."""
    from matplotlib.ticker import LogLocator, NullLocator

    costs = [panel.cost(p) for p in points]
    steps = front([(cost, 100 * p.accuracy) for cost, p in zip(costs, points, strict=True)])
    axes.step(*zip(*steps, strict=True), where="post", color=GREY, lw=1, ls="--", zorder=1)
    for cost, p in zip(costs, points, strict=True):
        axes.errorbar(
            cost, 100 * p.accuracy, _half_width(p), fmt="o", ms=6, color=COLOURS[p.architecture], lw=1, capsize=2
        )
    axes.set(xlabel=panel.title, xscale=panel.scale)
    if panel.scale == "linear":
        axes.set_xlim(0, 1.3 * max([1, *costs]))
        axes.axvline(1, color=GREY, lw=0.8, ls=":")
    else:
        axes.set_xlim(min(costs) / 1.5, max(costs) * 4)  # room for the words of the last point
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(color="#e3e6e9", lw=0.6)
    axes.set_axisbelow(True)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def _half_width(p: Point) -> float:
    """Half of the 95 % interval of an accuracy, in points."""
    return 196 * math.sqrt(p.accuracy * (1 - p.accuracy) / p.tested)


def _label(axes: Any, panel: Panel, points: list[Point]) -> None:
    """Names beside the points, each where it covers no mark, no other name and no edge, if there is such a place."""
    from matplotlib.transforms import Bbox

    def mark(p: Point) -> Bbox:
        x, y = panel.cost(p), 100 * p.accuracy
        ends = axes.transData.transform([(x, y - _half_width(p)), (x, y + _half_width(p))])
        (left, low), (right, high) = ends
        return Bbox([(left - 5, low), (right + 5, high)])

    taken = [mark(p) for p in points]
    for p in points:
        text = axes.annotate(
            f"{p.name}\n{panel.words(p)}", (panel.cost(p), 100 * p.accuracy), (0, 0), textcoords="offset points",
            fontsize=8, color=COLOURS[p.architecture], linespacing=1.25,
            bbox={"boxstyle": "square,pad=0", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )  # fmt: skip
        for x, y, horizontal, vertical in PLACES:
            text.set(position=(x, y), ha=horizontal, va=vertical)
            box = text.get_window_extent()
            if axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def main(found: argparse.Namespace) -> None:
    """Measure what is not measured yet, and write both files."""
    folder = found.output
    folder.mkdir(parents=True, exist_ok=True)
    points = [measure(checkpoint, found.test, found.limit, found.backend, folder) for checkpoint in found.checkpoints]
    document = {"device": DEVICE, "account": ACCOUNT, "points": [asdict(point) for point in points]}
    folder.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")
    draw(points, folder.with_suffix(".svg"))
    for p in points:
        accuracy = f"{p.accuracy:.2%} ({p.before:.2%} before)"
        costs = (
            f"{p.sops_per_mac:.3f} SOPs per MAC  {p.energy / p.twin_energy:.3f} of the twin's energy  {p.cores} cores"
        )
        print(f"{p.name:32} T = {p.time_steps}  {accuracy}  {costs}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", help="paths, or names of those that ship")
    parser.add_argument("--test", required=True, help="labelled images, as spikeclip-export takes them")
    parser.add_argument("--limit", type=int, default=32, help="images to simulate, for operations and energy")
    parser.add_argument("--backend", default="lava", help="what simulates them: lava, fast or reference")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder; .json and .svg stand beside it")
    main(parser.parse_args())
