"""The cost of accuracy: a point for each checkpoint, measured by this project's commands, and a picture of all.

python scripts/pareto.py CHECKPOINT... --test cifar10:DIR:test -o pareto [--limit 32]

Each checkpoint is exported, folded and snapped (accuracy on all test images, before and after), simulated in Lava on
the first `--limit` of them, every spike compared with PyTorch, and placed on Loihi 2's cores; its operations are
counted and priced at 8 bits with all memory moved once per image, as are its ANN twin's.  `pareto.json` holds the
points, `pareto.svg` shows them; what was measured stays in `pareto/`, and is not measured again.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

DEVICE, ACCOUNT = "45nm-int8", "ideal_reuse"
BLUE, GREY = "#2f6fb0", "#5c6670"


@dataclass(frozen=True)
class Point:
    """One checkpoint.

    Attributes:
        name: of its file.
        time_steps: T.
        accuracy: of the exported graph, on all test images.
        before: of the checkpoint, on the same.
        sops_per_mac: synaptic operations over the MACs of the ANN twin.
        macs_per_mac: the encoder's own MACs, of the first layer and the readout, over the same.
        energy: picojoules per image at 8 bits with memory, on the images that were simulated.
        twin_energy: the twin's.
        cores: of Loihi 2.
    """

    name: str
    time_steps: int
    accuracy: float
    before: float
    sops_per_mac: float
    macs_per_mac: float
    energy: float
    twin_energy: float
    cores: int


def command(name: str, *options: str | Path) -> None:
    """Run the console script `spikeclip-NAME` of this interpreter's environment; its own errors are said by it."""
    path = Path(sys.executable).with_name(f"spikeclip-{name}")
    subprocess.run([path, *options], check=True)


def measure(checkpoint: str, test: str, limit: int, folder: Path) -> Point:
    """The point of a checkpoint; files that a command has written before are taken as they are."""
    stem = Path(checkpoint).stem
    graph, trace = folder / f"{stem}.nir", folder / f"{stem}.h5"
    exported, cores, counted = (folder / f"{stem}.{what}.json" for what in ("export", "cores", "energy"))
    if not exported.is_file():
        command("export", checkpoint, "-o", graph, "--test", test, "--json", exported)
    if not cores.is_file():
        command(
            "simulate", graph, "--images", test, "--limit", str(limit), "-o", trace,
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
        time_steps=energy["time_steps"],
        accuracy=found["exported"] / found["images"],
        before=found["original"] / found["images"],
        sops_per_mac=energy["snn"]["sops"] / energy["ann"]["macs"],
        macs_per_mac=energy["snn"]["macs"] / energy["ann"]["macs"],
        energy=judged["energy"]["mean"],
        twin_energy=twin["ann_energy"],
        cores=placed["cores"],
    )


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those (cost, accuracy) for which nothing is both as cheap and as good, from the cheapest on."""
    best: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or accuracy > best[-1][1]:
            best.append((cost, accuracy))
    return best


def draw(points: list[Point], path: Path) -> None:
    """Accuracy over operations, and over energy, both relative to the twin's; cores and time steps in words."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.2), layout="constrained")
    panels = (
        ("synaptic operations per MAC of the ANN twin", [p.sops_per_mac for p in points]),
        (
            "energy over the ANN twin's: 45 nm, 8 bits, memory moved once per image",
            [p.energy / p.twin_energy for p in points],
        ),
    )
    for place, (title, costs) in zip(figure.subplots(1, 2), panels, strict=True):
        accuracies = [100 * p.accuracy for p in points]
        place.step(*zip(*front([*zip(costs, accuracies, strict=True)]), strict=True), where="post", color=GREY, lw=1)
        place.scatter(costs, accuracies, color=BLUE, zorder=3)
        for point, cost, accuracy in zip(points, costs, accuracies, strict=True):
            text = f"{point.name}\nT = {point.time_steps}, {point.cores} cores"
            place.annotate(text, (cost, accuracy), (6, -4), textcoords="offset points", fontsize=8, va="top")
        place.axvline(1, color=GREY, lw=0.8, ls=":")
        place.set(xlabel=title, ylabel="test images right, %", xlim=(0, 1.25 * max([1, *costs])))
        place.margins(y=0.2)
    with matplotlib.rc_context({"svg.hashsalt": "spikeclip"}):  # the same figure is the same file
        figure.savefig(path, metadata={"Date": None})


def main(found: argparse.Namespace) -> None:
    """Measure what is not measured yet, and write both files."""
    folder = found.output
    folder.mkdir(parents=True, exist_ok=True)
    points = [measure(checkpoint, found.test, found.limit, folder) for checkpoint in found.checkpoints]
    document = {
        "test": Path(found.test.split(":")[0]).name,
        "device": DEVICE,
        "account": ACCOUNT,
        "simulated": found.limit,
    }
    document["points"] = [asdict(point) for point in points]
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
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder; .json and .svg stand beside it")
    main(parser.parse_args())
