"""The bounds of a graph's frames, and the grid that they lie on, as the file describes them."""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import normalisation
from neuromorphic.ops import Interval, Sums
from neuromorphic.ops.dyadic import on_grid


def frame_sums(graph: Graph) -> Sums | None:
    """Bounds and grid of the frames that the graph was made for; None where its file doesn't say.

    Images are normalised (`preprocessing` in the metadata) and the same at every time step; the frames of a user's
    module lie between two numbers (`input`).

    Raises:
        RefusedInput: the file's preprocessing is not understood.
    """
    metadata, shape = graph.metadata, graph.frame_shape
    if metadata.preprocessing is not None and metadata.input_bits is not None:
        mean, std = (each.astype(np.float32) for each in normalisation(metadata, graph.source))
        return pixel_sums(mean, std, metadata.input_bits) if len(shape) == 3 and mean.shape == shape[:1] else None
    match metadata.document.get("input"):
        case {"low": int() | float() as low, "high": int() | float() as high, "bits": int() as bits, "axes": str(axes)}:
            return bounded(low, high, bits, "T" not in axes) if -np.inf < low <= high < np.inf else None
    return None


def pixel_sums(mean: NDArray[np.float32], std: NDArray[np.float32], bits: int) -> Sums:
    """Bounds of the frames of any image, per channel `[C, 1, 1]`: of all pixel levels, rounded to 2^-bits, and of 0."""
    levels = on_grid((np.arange(256, dtype=np.uint8)[:, None] - mean) / std, bits).astype(np.float64)
    low, high = np.minimum(levels, 0).min(0), np.maximum(levels, 0).max(0)
    return Sums(Interval(low[:, None, None], high[:, None, None]), bits, constant=True)


def bounded(low: float, high: float, bits: int, constant: bool) -> Sums:
    """Frames between two numbers on the grid 2^-bits; `constant` where they are the same at every time step."""
    return Sums(Interval(np.minimum(np.array(low), 0.0), np.maximum(np.array(high), 0.0)), bits, constant)
