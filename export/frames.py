"""The input's grid: frames are multiples of 2^-b, as coarse as the preprocessing allows."""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.frame_sums import pixel_sums
from neuromorphic.ops import Sums
from neuromorphic.ops.dyadic import fraction_bits, on_grid
from spikeclip.errors import RefusedInput
from spikeclip.preprocess import Preprocessing

FINEST_BITS = 12
"""Preprocessings whose values need a finer grid than 2^-12 are rounded."""


def input_bits(preprocessing: Preprocessing) -> int:
    """The smallest b such that all preprocessed pixel values are multiples of 2^-b; else a b that rounds them slightly.

    With mean 128 and std 64 that is 6.  Where no b up to 12 is exact, `b = ceil(log2 std) + 2` for the largest std
    moves a value by at most 2^-(b+1), an eighth of the step between two pixel levels.
    """
    exact = fraction_bits(_levels(preprocessing))
    if exact <= FINEST_BITS:
        return max(0, exact)
    return min(FINEST_BITS, max(0, int(np.ceil(np.log2(max(preprocessing.std))))) + 2)


def frame_range(preprocessing: Preprocessing, bits: int) -> Sums:
    """Bounds of the frames of any image, per channel: over all pixel levels, and 0 for padding."""
    return pixel_sums(*_normalisation(preprocessing), bits)


def encode(preprocessing: Preprocessing, bits: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Preprocessed images on the grid 2^-bits: uint8 `[N, H, W, C]` to float32 `[N, C, H, W]`."""
    return on_grid(preprocessing(images), bits)


def check_frames(frames: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Refuse frames of a shape other than `[N, *shape]`, N at least 1.

    Raises:
        RefusedInput: they have another shape.
    """
    if not len(frames) or frames.shape[1:] != shape:
        expected = ", ".join(map(str, shape))
        raise RefusedInput(f"frames have the shape {list(frames.shape)}; expected [N, {expected}] and at least one")


def _levels(preprocessing: Preprocessing) -> NDArray[np.float32]:
    """The numbers of the 256 pixel levels: float32 `[256, C]`."""
    mean, std = _normalisation(preprocessing)
    return np.asarray((np.arange(256, dtype=np.uint8)[:, None] - mean) / std, np.float32)


def _normalisation(preprocessing: Preprocessing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.asarray(preprocessing.mean, np.float32), np.asarray(preprocessing.std, np.float32)
