"""The change by folding and snapping: the original and the exported encoder on the same images, in one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.convert import Prepared
from neuromorphic.cluster.ranges import batches
from neuromorphic.cluster.sharded import Sharing, sharded
from spikeclip.checkpoint import Checkpoint, fingerprint
from spikeclip.data import ImageSet
from spikeclip.errors import RefusedInput
from spikeclip.predictions import known_classes

BATCH = 32
SHARD = 256
"""Images that run together on a cluster: whole batches, as they would be without one."""


@dataclass(frozen=True)
class AccuracyChange:
    """Counts of the images that each model labels right, and of those on which both predict the same class.

    Attributes:
        images: number of images.
        original: images that the checkpoint's own model labels right.
        exported: images that the folded and snapped model labels right.
        same: images on which both predict the same class.
    """

    images: int
    original: int
    exported: int
    same: int

    def __add__(self, other: "AccuracyChange") -> "AccuracyChange":
        """The change over the images of both."""
        return AccuracyChange(
            self.images + other.images,
            self.original + other.original,
            self.exported + other.exported,
            self.same + other.same,
        )

    @property
    def points(self) -> float:
        """`100 (exported - original) / images`: the change of accuracy in percentage points."""
        return 100 * (self.exported - self.original) / self.images


def find_labels(checkpoint: Checkpoint, images: ImageSet) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The labels of `images` as the checkpoint's classes, int64 `[N]`, and what was assumed (`known_classes`).

    Raises:
        RefusedInput: the images have no labels, or one of a class that the checkpoint doesn't have; or its outputs are
            an embedding, not scores of classes.
    """
    names, source = checkpoint.label_names, str(checkpoint.path)
    if not names:
        raise RefusedInput(f"{source}: its output is an embedding, not scores of classes; expected --labels")
    return known_classes(images, names, len(names), source)


@dataclass(frozen=True)
class Comparing:
    """Both models of a checkpoint on a shard of a run's images, for workers of a cluster.

    Attributes:
        prepared: what is exported.
        batch: images at once.
    """

    prepared: Prepared
    batch: int

    @torch.no_grad()
    def __call__(
        self, shard: tuple[NDArray[np.uint8], NDArray[np.int64]], progress: Callable[[int, int], None]
    ) -> AccuracyChange:
        """The change on the images and labels of the shard."""
        images, labels = shard
        checkpoint, prepared = self.prepared.checkpoint, self.prepared
        found = AccuracyChange(0, 0, 0, 0)
        for part in batches(len(images), self.batch):
            pixels, right = images[part], labels[part]
            before = checkpoint.model(torch.from_numpy(checkpoint.preprocessing(pixels))).argmax(1).numpy()
            after = prepared.model(torch.from_numpy(prepared.encode(pixels))).argmax(1).numpy()
            counts = (int(np.count_nonzero(each)) for each in (before == right, after == right, before == after))
            found += AccuracyChange(len(pixels), *counts)
            progress(found.images, len(images))
        return found


def compare_accuracy(
    prepared: Prepared,
    images: ImageSet,
    labels: NDArray[np.int64],
    batch: int = BATCH,
    progress: Callable[[int, int], None] = lambda done, total: None,
    sharing: Sharing | None = None,
) -> AccuracyChange:
    """Run the checkpoint's own model and the folded and snapped one on `images`.

    Args:
        prepared: what is exported.
        images: of the checkpoint's size.
        labels: the right class of each, `[N]` (`find_labels`).
        batch: images at once.
        progress: told of every batch.
        sharing: how shards of the images are shared out; None for one after the other, here.
    """
    shards = [*batches(len(images), SHARD)]

    def run() -> dict[str, Any]:
        checkpoint = prepared.checkpoint
        return {
            "command": "export --test",
            "checkpoint": fingerprint(checkpoint.model, checkpoint.config, checkpoint.preprocessing),
            "exported": fingerprint(prepared.model, prepared.input_bits),
            "data": images.sha256,
            "labels": sha256(labels.tobytes()).hexdigest(),
        }

    def given(number: int, part: slice) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        return images.images[part], labels[part]

    found = sharded(Comparing(prepared, batch), given, shards, sharing, run, (AccuracyChange,), progress=progress)
    return sum(found, start=AccuracyChange(0, 0, 0, 0))
