"""Trains each stage for a few steps, in one process or under `torchrun`: `test_distributed` compares the weights."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from spikeclip.checkpoint import load
from spikeclip.config import SpikeClipConfig
from spikeclip.data import ImageSet
from spikeclip.distributed import processes, started_by_torchrun
from spikeclip.errors import RefusedInput
from spikeclip.fine_tuning import FineTuning
from spikeclip.labels import LabelSet
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe
from spikeclip.teacher import TwinTeacher
from spikeclip.training import train
from spikeclip.twin_training import train_twin

CONFIG = SpikeClipConfig(width=16, depth=1, image_size=16, embedding_width=8, time_steps=2)
PREPROCESSING = Preprocessing(image_size=16)
RECIPE = Recipe(schedule=((1, 1), (2, 1)), batch_size=8, learning_rate=1e-3, ema=0.5)
RECIPES = {
    "classify": RECIPE,
    "muon": replace(RECIPE, optimizer="muon"),
    "align": replace(RECIPE, stage="align", spike_budget=0.1),
    "dual": replace(RECIPE, stage="dual", ema=0.0),
}


def task() -> tuple[ImageSet, LabelSet]:
    """Three batches of noise, and vectors for two labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 16, 16, 3)).astype(np.uint8)
    names = tuple(str(i) for i in range(24))
    vectors = rng.normal(size=(2, 8)).astype(np.float32)
    return ImageSet(images, names, np.arange(24) % 2, ("a", "b"), "made"), LabelSet(("a", "b"), vectors)


class CutOff(Exception):
    """What stands for a power failure."""


def cut_off(done: int, total: int, text: str) -> None:
    """End training within its second epoch."""
    if text.startswith("epoch 2/") and done == 2:
        raise CutOff


def train_all(folder: Path, device: str, alone: Path | None = None) -> None:
    """Write `twin`, `classify`, `muon`, `align`, `dual`, `quantized` to `folder`; of several processes `resumed` too.

    Args:
        folder: where they go.
        device: PyTorch's name of it.
        alone: what one process wrote; its `dual` is what `quantized` starts from.  Two starts that differ in a last bit
            can round to other integers, and training tells such apart within a step.
    """
    images, labels = task()
    common = (PREPROCESSING, images, images, labels)
    twin = train_twin(CONFIG, replace(RECIPE, schedule=((1, 2),)), *common, folder / "twin.safetensors", device)
    for name, recipe in RECIPES.items():
        teacher = None if recipe.stage == "classify" else TwinTeacher(twin, device)
        cache = folder / f"{name}.npz" if name == "dual" else None
        out = folder / f"{name}.safetensors"
        train(CONFIG, recipe, *common, out, device, teacher=teacher, cache=cache)
    start = FineTuning(load((alone or folder) / "dual.safetensors"), quantized=True)
    train(CONFIG, replace(RECIPE, schedule=((2, 1),)), *common, folder / "quantized.safetensors", device, start=start)
    if processes() > 1:
        out = folder / "resumed.safetensors"
        try:
            train(CONFIG, RECIPE, *common, out, device, cut_off)
        except CutOff:
            train(CONFIG, RECIPE, *common, out, device)
        try:
            train(CONFIG, replace(RECIPE, batch_size=7), *common, folder / "odd.safetensors", device)
        except RefusedInput as error:
            (folder / "refusal.txt").write_text(str(error))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with started_by_torchrun("cpu") as own:
        train_all(Path(sys.argv[1]), own, Path(sys.argv[2]))
