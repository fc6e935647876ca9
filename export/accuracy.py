"""What folding and snapping change: the original encoder and the exported one on the same images, in one pass."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from export.convert import Prepared
from spikeclip.data import ImageSet
from spikeclip.errors import RefusedInput


@dataclass(frozen=True)
class AccuracyChange:
    """Images that each model labels right, and those on which both predict the same."""

    images: int
    original: int
    exported: int
    same: int

    @property
    def points(self) -> float:
        """`100 (exported - original) / images`: the change of accuracy in percentage points."""
        return 100 * (self.exported - self.original) / self.images


@torch.no_grad()
def compare_accuracy(
    prepared: Prepared,
    images: ImageSet,
    batch: int = 32,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AccuracyChange:
    """Run the checkpoint's own model and the folded and snapped one on `images`.

    Raises:
        RefusedInput: the images have no labels.
    """
    if images.labels is None:
        raise RefusedInput(f"images {images.source!r}: no labels to measure accuracy with")
    checkpoint = prepared.checkpoint
    original = exported = same = 0
    for start in range(0, len(images), batch):
        pixels, labels = images.images[start : start + batch], images.labels[start : start + batch]
        before = checkpoint.model(torch.from_numpy(checkpoint.preprocessing(pixels))).argmax(1).numpy()
        after = prepared.model(torch.from_numpy(prepared.encode(pixels))).argmax(1).numpy()
        original += int(np.count_nonzero(before == labels))
        exported += int(np.count_nonzero(after == labels))
        same += int(np.count_nonzero(before == after))
        progress(min(start + batch, len(images)), len(images))
    return AccuracyChange(len(images), original, exported, same)
