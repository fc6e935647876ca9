"""Batches of training images: in an order that the seed and the epoch decide, shifted and mirrored at random."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from spikeclip.data import ImageSet
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe

CROP_PADDING = 4
"""Pixels that an image is shifted by at most, for each 32 pixels of its size."""


def batches(
    images: ImageSet, preprocessing: Preprocessing, recipe: Recipe, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled, augmented batches of one epoch; a function of seed and epoch only, so that a resumed run repeats it."""
    assert images.labels is not None  # for the type checker; `training.train` refuses a set without labels
    rng = np.random.default_rng((recipe.seed, epoch))
    order = rng.permutation(len(images))
    for i in range(max(1, len(images) // recipe.batch_size)):
        chosen = order[i * recipe.batch_size : (i + 1) * recipe.batch_size]
        x = preprocessing(augment(images.images[chosen], rng))
        batch = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
        yield batch, torch.from_numpy(images.labels[chosen])


def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image shifted by up to 4 of 32 pixels (edges reflected) and mirrored with probability 1/2.

    Shapes: uint8 `[N, H, W, C]` to the same.
    """
    n, height, width, _ = images.shape
    pad = max(1, CROP_PADDING * height // 32)
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    top, left = rng.integers(0, 2 * pad + 1, (2, n))
    rows = top[:, None] + np.arange(height)
    columns = left[:, None] + np.arange(width)
    mirrored = rng.random(n) < 0.5
    columns[mirrored] = columns[mirrored, ::-1]
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
