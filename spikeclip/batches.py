"""Batches of training images: in an order that the seed and the epoch decide, shifted, mirrored and cut at random.

What is random is drawn on the CPU; images are gathered where the model is.  Both give the same bits on every device.
"""

from collections.abc import Iterator, Sized
from dataclasses import dataclass, replace

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
    images: Tensor
    inputs: Tensor
    labels: Tensor | None


@dataclass(frozen=True)
class Draws:
    """The augmentation of each image of a batch.

    Attributes:
        down: pixels that what is seen lies lower than the image's own upper edge, int64 `[B]`, some negative.
        right: pixels that it lies further to the right, int64 `[B]`.
        mirrored: whether left and right are exchanged, bool `[B]`.
    """

    down: NDArray[np.int64]
    right: NDArray[np.int64]
    mirrored: NDArray[np.bool_]

    def __getitem__(self, which: slice) -> "Draws":
        return Draws(self.down[which], self.right[which], self.mirrored[which])


def per_epoch(examples: Sized, recipe: Recipe) -> int:
    """Batches in an epoch: whole ones only, or the one that there is."""
    return max(1, len(examples) // recipe.batch_size)


def batches(
    images: ImageSet, preprocessing: Preprocessing, recipe: Recipe, epoch: int, device: str = "cpu"
) -> Iterator[Batch]:
    """Shuffled, augmented batches of one epoch; a function of seed and epoch only, so that a resumed run repeats it.

    Of several processes, each gets its share of the batches that one process alone would get.
    """
    rng = np.random.default_rng((recipe.seed, epoch))
    order = rng.permutation(len(images))
    held = torch.from_numpy(images.images).to(device)
    labels = None if images.labels is None else torch.from_numpy(images.labels).to(device)
    for i in range(per_epoch(images, recipe)):
        chosen = order[i * recipe.batch_size : (i + 1) * recipe.batch_size]
        draws = draw(len(chosen), images.images.shape[1], rng)
        if recipe.flips == "alternating":
            draws = replace(draws, mirrored=_alternating(len(images), recipe.seed, epoch)[chosen])
        cut = rng.integers(0, images.images.shape[1], (2, len(chosen))) if recipe.cutout else None
        mine = share(len(chosen))
        which = torch.from_numpy(chosen[mine]).to(device)
        made = augmented(held, which, draws[mine])
        if cut is not None:
            made = cut_out(made, cut[:, mine], recipe.cutout, preprocessing)
        yield Batch(chosen[mine], made, normalised(made, preprocessing), None if labels is None else labels[which])


def draw(count: int, size: int, rng: np.random.Generator) -> Draws:
    """Shifts by up to 4 of 32 pixels either way, and a mirror image with probability 1/2."""
    pad = max(1, CROP_PADDING * size // 32)
    down, right = rng.integers(0, 2 * pad + 1, (2, count)) - pad
    return Draws(down, right, rng.random(count) < 0.5)


def augmented(images: Tensor, which: Tensor, draws: Draws) -> Tensor:
    """Some of `images`, uint8 `[N, H, W, C]`, shifted and mirrored; what lies beyond an edge is reflected in it.

    Args:
        images: on any device.
        which: of them, int64 `[B]`, on the same.
        draws: for each of these.

    Returns:
        uint8 `[B, H, W, C]`.
    """
    down, right, mirrored = (
        torch.from_numpy(values).to(images.device) for values in (draws.down, draws.right, draws.mirrored)
    )
    rows = _reflected(down, images.shape[1])
    columns = _reflected(right, images.shape[2])
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    return images[which[:, None, None], rows[:, :, None], columns[:, None, :]]


def cut_out(images: Tensor, centres: NDArray[np.int64], side: int, preprocessing: Preprocessing) -> Tensor:
    """Images with a square each in the mean colour of the data set (DeVries and Taylor, arXiv 1708.04552).

    Args:
        images: uint8 `[B, H, W, C]`.
        centres: row and column of each square, int64 `[2, B]`; what lies beyond an edge is left out.
        side: of the squares, in pixels.
        preprocessing: has the mean, which becomes nearly 0.

    Returns:
        uint8 `[B, H, W, C]`.
    """
    at = torch.arange(images.shape[1], device=images.device)
    rows, columns = (
        (at >= first[:, None]) & (at < first[:, None] + side)
        for first in torch.from_numpy(centres).to(images.device) - side // 2
    )
    colour = torch.tensor([round(level) for level in preprocessing.mean], dtype=torch.uint8, device=images.device)
    return torch.where((rows[:, :, None] & columns[:, None, :])[..., None], colour, images)


def _reflected(shift: Tensor, size: int) -> Tensor:
    """Rows or columns that are seen after a shift: int64 `[B]` to int64 `[B, size]`, within the image."""
    seen = (shift[:, None] + torch.arange(size, device=shift.device)).abs()
    return (size - 1) - ((size - 1) - seen).abs()


def _alternating(count: int, seed: int, epoch: int) -> NDArray[np.bool_]:
    """Half of the images mirrored, and in the next epoch the other half (Jordan, arXiv 2404.00498)."""
    first = np.random.default_rng((seed, 2**32 - 1)).random(count) < 0.5  # no epoch has that number
    return first ^ bool(epoch % 2)


def normalised(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """`preprocessing(images)`, to the bit, on the device where the images are.

    Shapes: uint8 `[B, H, W, C]` to float32 `[B, C, H, W]`, channels last in memory.
    """
    mean, std = (
        torch.tensor(v, dtype=torch.float32, device=images.device) for v in (preprocessing.mean, preprocessing.std)
    )
    return ((images - mean) / std).permute(0, 3, 1, 2)
