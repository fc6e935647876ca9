"""From images to the frames that a graph's input node reads."""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.graph import Graph


def image_size(graph: Graph) -> int:
    """Height and width in pixels of the images that `graph` reads.

    Raises:
        RefusedInput: its input isn't a square map.
    """
    shape = graph.nodes[graph.input].shape
    if len(shape) != 3 or shape[1] != shape[2]:
        raise RefusedInput(f"{graph.source}: its input has the shape {list(shape)}; expected square images [C, S, S]")
    return shape[1]


def encode(graph: Graph, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`x = round(2^b (pixel - mean) / std) / 2^b`: normalised as the file says, on the grid of its inputs.

    Args:
        graph: with preprocessing in its metadata.
        images: uint8 `[N, H, W, C]` of the graph's input size.

    Returns:
        float32 `[N, C, H, W]`; every time step of an image presents the same frame.

    Raises:
        RefusedInput: the file has no preprocessing, or the images don't fit the graph's input.
    """
    settings = graph.metadata.preprocessing
    if settings is None:
        raise RefusedInput(f"{graph.source}: its metadata has no preprocessing; expected mean, std and image size")
    try:
        mean, std = (np.asarray(settings[key], np.float32) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RefusedInput(f"{graph.source}: preprocessing {shown(settings)} is not understood ({error!r})") from error
    expected = graph.nodes[graph.input].shape
    found = (images.shape[3], *images.shape[1:3])
    if found != expected or mean.shape != std.shape or mean.shape != expected[:1]:
        raise RefusedInput(f"images have the shape {list(found)}; {graph.source} reads {list(expected)}")
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise RefusedInput(f"{graph.source}: preprocessing {shown(settings)}; expected finite means, std above 0")
    x = np.ascontiguousarray(((images - mean) / std).transpose(0, 3, 1, 2), dtype=np.float32)
    return x if graph.metadata.input_bits is None else snap(x, graph.metadata.input_bits)


def snap(x: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """`round(2^bits x) / 2^bits`, halves to even: the nearest multiples of `2^-bits`."""
    scale = np.float32(2.0**bits)
    return np.asarray(np.round(x * scale) / scale, dtype=np.float32)
