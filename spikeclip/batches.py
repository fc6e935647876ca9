"""Batches of training images: in an order that the seed and the epoch decide, shifted and mirrored at random."""

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeclip.data import ImageSet
from spikeclip.distributed import share
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe

CROP_PADDING = 4
"""Pixels that an image is shifted by at most, for each 32 pixels of its size."""


@dataclass(frozen=True)
class Batch:
    """Images of one step, as the student and as a teacher read them: one process's share of them.

    Attributes:
        indices: which of the set's images, int64 `[B]`.
        images: augmented, uint8 `[B, H, W, 3]`.
        inputs: the same, preprocessed, float32 `[B, 3, H, W]`.
        labels: int64 `[B]`, or None where the set has none.
    """

    indices: NDArray[np.int64]
    images: NDArray[np.uint8]
    inputs: Tensor
    labels: Tensor | None


def per_epoch(examples: Sized, recipe: Recipe) -> int:
    """Batches in an epoch: whole ones only, or the one that there is."""
    return max(1, len(examples) // recipe.batch_size)


def batches(images: ImageSet, preprocessing: Preprocessing, recipe: Recipe, epoch: int) -> Iterator[Batch]:
    """Shuffled, augmented batches of one epoch; a function of seed and epoch only, so that a resumed run repeats it.

    Of several processes, each gets its share of the batches that one process alone would get.
    """
    rng = np.random.default_rng((recipe.seed, epoch))
    order = rng.permutation(len(images))
    for i in range(per_epoch(images, recipe)):
        chosen = order[i * recipe.batch_size : (i + 1) * recipe.batch_size]
        draws = draw(len(chosen), images.images.shape[1], rng)
        mine = share(len(chosen))
        made = shift(images.images[chosen[mine]], *(values[mine] for values in draws))
        inputs = torch.from_numpy(preprocessing(made)).contiguous(memory_format=torch.channels_last)
        labels = None if images.labels is None else torch.from_numpy(images.labels[chosen[mine]])
        yield Batch(chosen[mine], made, inputs, labels)


def augment(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each image shifted by up to 4 of 32 pixels (edges reflected) and mirrored with probability 1/2.

    Shapes: uint8 `[N, H, W, C]` to the same.
    """
    return shift(images, *draw(len(images), images.shape[1], rng))


def draw(count: int, size: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Shifts downwards and to the right in [0, 2 padding], and whether to mirror: each `[count]`."""
    top, left = rng.integers(0, 2 * _padding(size) + 1, (2, count))
    return top, left, rng.random(count) < 0.5


def shift(
    images: NDArray[np.uint8], top: NDArray[Any], left: NDArray[Any], mirrored: NDArray[Any]
) -> NDArray[np.uint8]:
    """`images`, uint8 `[N, H, W, C]`, shifted and mirrored by what `draw` gave for each."""
    n, height, width, _ = images.shape
    pad = _padding(height)
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    rows = top[:, None] + np.arange(height)
    columns = left[:, None] + np.arange(width)
    columns[mirrored] = columns[mirrored, ::-1]
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _padding(size: int) -> int:
    return max(1, CROP_PADDING * size // 32)
