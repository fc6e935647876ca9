"""What folding and snapping change: the original encoder and the exported one on the same images, in one pass."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from export.convert import Prepared
from spikeclip.checkpoint import Checkpoint
from spikeclip.data import ImageSet
from spikeclip.errors import RefusedInput
from spikeclip.predictions import find_truth


@dataclass(frozen=True)
class AccuracyChange:
    """Images that each model labels right, and those on which both predict the same.

    Attributes:
        images: how many there are.
        original: labelled right by the checkpoint's own model.
        exported: labelled right by the folded and snapped one.
        same: on which both predict the same.
    """

    images: int
    original: int
    exported: int
    same: int

    @property
    def points(self) -> float:
        """`100 (exported - original) / images`: the change of accuracy in percentage points."""
        return 100 * (self.exported - self.original) / self.images


def find_labels(checkpoint: Checkpoint, images: ImageSet) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The labels of `images` as the checkpoint's classes, int64 `[N]`, and what was assumed (`predictions.find_truth`).

    Raises:
        RefusedInput: the images have no labels, or one of a class that the checkpoint doesn't have; or its outputs are
            an embedding, not scores of classes.
    """
    names, source = checkpoint.label_names, str(checkpoint.path)
    if not names:
        raise RefusedInput(f"{source}: its output is an embedding, not scores of classes; expected --labels")
    truth = find_truth(images, names, len(names), source)
    if truth.classes is None:
        raise RefusedInput(f"images {images.source!r}: no labels to measure accuracy with")
    return truth.classes, truth.assumed


@torch.no_grad()
def compare_accuracy(
    prepared: Prepared,
    images: ImageSet,
    labels: NDArray[np.int64],
    batch: int = 32,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AccuracyChange:
    """Run the checkpoint's own model and the folded and snapped one on `images`.

    Args:
        prepared: what is exported.
        images: of the checkpoint's size.
        labels: the right class of each, `[N]` (`find_labels`).
        batch: images at once.
        progress: told of every batch.
    """
    checkpoint = prepared.checkpoint
    original = exported = same = 0
    for start in range(0, len(images), batch):
        pixels, right = images.images[start : start + batch], labels[start : start + batch]
        before = checkpoint.model(torch.from_numpy(checkpoint.preprocessing(pixels))).argmax(1).numpy()
        after = prepared.model(torch.from_numpy(prepared.encode(pixels))).argmax(1).numpy()
        original += int(np.count_nonzero(before == right))
        exported += int(np.count_nonzero(after == right))
        same += int(np.count_nonzero(before == after))
        progress(min(start + batch, len(images)), len(images))
    return AccuracyChange(len(images), original, exported, same)
