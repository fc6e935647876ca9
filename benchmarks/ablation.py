"""Ablation of a training recipe: a small encoder, one choice changed at a time, the same processor time for each.

Every variant is trained from random weights by the product's own `spikeclip.training.train`, on the same images: the
base for `--epochs`, the others for as many whole epochs as cost the same.  What their steps cost is measured first, in
turns and in processor time, the least of several: a busy machine lengthens all of them, and only ratios count.  Then
the encoder is folded and snapped, and the graph labels the first `--test-images` test images; its operations are
counted on the first of them.  The teacher's features are asked once, before, and are not in the budget.

One JSON line per finished run goes to `OUTPUT/runs.jsonl`; the same command goes on where it was cut off, and prints
the table of what is there.

    OMP_NUM_THREADS=1 nice -n 19 python -m benchmarks.ablation --data cifar10:DIR:train --test cifar10:DIR:test \
        --labels FILE.npz:KEY -o ablation
"""

import json
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

import energy
from export.convert import prepare
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.fast import run_in_batches
from neuromorphic.files import write_text
from neuromorphic.reading.build import from_nir
from spikeclip.batches import per_epoch
from spikeclip.checkpoint import Checkpoint
from spikeclip.config import SpikeClipConfig, preset
from spikeclip.console import console, refusals, results
from spikeclip.data import ImageSet, load_images
from spikeclip.labels import LabelSet, load_labels
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe
from spikeclip.teacher import Teacher, cached_features, load_teacher
from spikeclip.training import train
from spikeclip.training_run import Progress

TEACHER = "twin-small"
COUNTED = 64
"""Test images that operations are counted on."""

MEASURED_STEPS, ROUNDS = 6, 4
"""Steps that the cost of one is measured on, in each of so many turns; the first is dearer and left out."""


@dataclass(frozen=True)
class Variant:
    """One row of the ablation: the fields of the configuration and of the recipe that differ from the base.

    Attributes:
        name: of the row.
        sizes: fields of `SpikeClipConfig`.
        settings: fields of `Recipe`.
    """

    name: str
    sizes: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def config(self) -> SpikeClipConfig:
        """`spike-driven-small-early` at a quarter of its width, one time step."""
        base = {"width": 32, "time_steps": 1, "stem_pools": (2, 3), "stem_channels": (4, 12, 24, 32)}
        return preset("spike-driven-small-early", **(base | self.sizes))

    def recipe(self, epochs: int, seed: int) -> Recipe:
        """Muon and the teacher's logits, batches of 64."""
        base = {"stage": "dual", "optimizer": "muon", "batch_size": 64, "calibration_images": 1024, "seed": seed}
        return Recipe(schedule=((self.config().time_steps, epochs),), **(base | self.settings))


VARIANTS = (
    Variant("base"),
    Variant("stem: pools behind the 3rd and 4th convolution", {"stem_pools": (3, 4), "stem_channels": ()}),
    Variant("optimiser: AdamW", settings={"optimizer": "adamw"}),
    Variant("teacher: none", settings={"stage": "classify"}),
    Variant("T = 2", {"time_steps": 2}),
    Variant("regulariser: at most 0.1 spikes per synapse", settings={"spike_budget": 0.1}),
)


@dataclass(frozen=True)
class Setting:
    """The data that all runs share.

    Attributes:
        train: images to train on.
        test: images to label.
        labels: their names and vectors.
        teacher: of the stages that have one.
        features: file of the teacher's features.
    """

    train: ImageSet
    test: ImageSet
    labels: LabelSet
    teacher: Teacher
    features: Path

    def run(self, variant: Variant, recipe: Recipe, out: Path, told: Progress) -> Checkpoint:
        """Train a variant by `recipe`, and return its checkpoint."""
        taught = recipe.stage != "classify"
        config = variant.config()
        return train(
            config, recipe, Preprocessing(config.image_size), self.train, None, self.labels, out, progress=told,
            teacher=self.teacher if taught else None, cache=self.features if taught else None, save_every=recipe.epochs,
        )  # fmt: skip


class _Enough(Exception):
    """Steps have been taken."""


def step_seconds(setting: Setting, variant: Variant) -> float:
    """Processor seconds of a training step, the least of a few."""
    ends: list[float] = []

    def told(done: int, total: int, text: str) -> None:
        ends.append(time.process_time())
        if done > MEASURED_STEPS:
            raise _Enough

    with tempfile.TemporaryDirectory() as folder, suppress(_Enough):
        setting.run(variant, variant.recipe(epochs=1, seed=0), Path(folder) / "few.safetensors", told)
    return min(after - before for before, after in pairwise(ends))


def relative_costs(setting: Setting, kept: Path) -> dict[str, float]:
    """The cost of a step of each variant over that of the base; measured once and kept, for all runs to share."""
    if not kept.is_file():
        rounds = [[step_seconds(setting, variant) for variant in VARIANTS] for _ in range(ROUNDS)]
        base, *_ = least = [min(seconds) for seconds in zip(*rounds, strict=True)]
        costs = {variant.name: seconds / base for variant, seconds in zip(VARIANTS, least, strict=True)}
        write_text(kept, json.dumps(costs))
    found: dict[str, float] = json.loads(kept.read_text())
    return found


def measure(checkpoint: Checkpoint, test: ImageSet) -> dict[str, float]:
    """Accuracy of the exported graph, and SOPs per MAC of its ANN twin."""
    prepared = prepare(checkpoint)
    graph = from_nir(prepared.graph, "ablation")
    frames = prepared.encode(test.images)
    right = run_in_batches(graph, frames, batch=50).predictions == test.known_labels
    counts = energy.count(graph, run_in_batches(graph, frames[:COUNTED], batch=16))
    if counts.ann is None:
        raise RefusedInput("the exported graph describes no ANN twin; expected one of an encoder")
    return {"accuracy": float(right.mean()), "sops_per_mac": counts.sops / counts.ann.macs}


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a row per variant, with the figures of every seed."""
    lines = ["| what differs | test accuracy | SOPs per MAC | cost of a step | epochs | steps |", "|" + "---|" * 6]
    for name in dict.fromkeys(run["variant"] for run in runs):
        first, *_ = same = [run for run in runs if run["variant"] == name]
        accuracies = ", ".join(f"{run['accuracy']:.1%}" for run in same)
        sops = ", ".join(f"{run['sops_per_mac']:.3f}" for run in same)
        lines.append(f"| {name} | {accuracies} | {sops} | {first['cost']:.2f} | {first['epochs']} | {first['steps']} |")
    return "\n".join(lines)


def main(
    data: Annotated[str, typer.Option(help="Training images, as cifar10:DIR:train.")],
    test: Annotated[str, typer.Option(help="Test images, as cifar10:DIR:test.")],
    labels: Annotated[str, typer.Option(help="Label embeddings: FILE.npz:KEY.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of runs.jsonl, costs.json and features.npz.")],
    epochs: Annotated[int, typer.Option(help="Epochs of the base; others have as many as cost the same.")] = 10,
    images: Annotated[int, typer.Option(help="Training images.")] = 5000,
    test_images: Annotated[int, typer.Option(help="Test images.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Runs of each variant.")] = 2,
) -> None:
    """Train what isn't trained yet, seed by seed, and print the table."""
    with refusals():
        output.mkdir(parents=True, exist_ok=True)
        seen, held_out = load_images(data, 32, images), load_images(test, 32, test_images)
        setting = Setting(seen, held_out, load_labels(labels), load_teacher(TEACHER), output / "features.npz")
        cached_features(setting.teacher, seen, setting.features)
        costs = relative_costs(setting, output / "costs.json")
        log = output / "runs.jsonl"
        runs = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
        for seed in range(seeds):
            for variant in VARIANTS:
                if any((run["variant"], run["seed"]) == (variant.name, seed) for run in runs):
                    continue
                cost = costs[variant.name]
                found = trained_and_measured(setting, variant, seed, max(1, round(epochs / cost)))
                runs.append({"variant": variant.name, "seed": seed, "cost": cost, **found})
                with log.open("a") as file:
                    file.write(json.dumps(runs[-1]) + "\n")
                console.print(json.dumps(runs[-1]))
    results.print(table(runs))


def trained_and_measured(setting: Setting, variant: Variant, seed: int, epochs: int) -> dict[str, float]:
    """Train for so many epochs; steps, processor seconds, accuracy and operations."""
    recipe = variant.recipe(epochs, seed)
    steps = epochs * per_epoch(setting.train, recipe)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        checkpoint = setting.run(variant, recipe, Path(folder) / "run.safetensors", lambda done, total, text: None)
        used = time.process_time() - began
        return {"epochs": epochs, "steps": steps, "seconds": used, **measure(checkpoint, setting.test)}


if __name__ == "__main__":
    typer.run(main)
