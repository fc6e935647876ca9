"""The frames that a graph's input node reads: from images, or as they are in a file."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import normalisation
from neuromorphic.ops.dyadic import on_grid
from neuromorphic.reading.recordings import is_recording, read_recording


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
        raise RefusedInput(
            f"{graph.source}: its metadata has no preprocessing (mean, std and image size); expected what its input "
            "reads instead of images (--frames FILE.npy)"
        )
    mean, std = (each.astype(np.float32) for each in normalisation(graph.metadata, graph.source))
    expected = graph.nodes[graph.input].shape
    found = (images.shape[3], *images.shape[1:3])
    if found != expected or mean.shape != expected[:1]:
        raise RefusedInput(f"images have the shape {list(found)}; {graph.source} reads {list(expected)}")
    x = np.ascontiguousarray(((images - mean) / std).transpose(0, 3, 1, 2), dtype=np.float32)
    return x if graph.metadata.input_bits is None else on_grid(x, graph.metadata.input_bits)


def read_frames(graph: Graph, path: Path, limit: int | None = None) -> NDArray[np.float32]:
    """The frames in the file at `path`, as they are.

    Args:
        graph: that reads them.
        path: `.npy`: numbers `[N, *input shape]`, or `[N, T, *input shape]` for one frame per step; or NIR's data
            format (`nir.write_data`).
        limit: take the first N only.

    Raises:
        RefusedInput: the file holds no such array, or numbers that are not finite in float32.
    """
    return as_floats(stored_frames(graph, path)[:limit], path)


def stored_frames(graph: Graph, path: Path) -> NDArray[Any]:
    """The frames in the file at `path`, of the type that they are stored in; see `read_frames`."""
    found = read_recording(graph, path) if is_recording(path) else _array(path)
    shape = graph.nodes[graph.input].shape
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
        raise RefusedInput(f"{path}: holds no array of numbers; expected [N, T, ...] or [N, ...] in a .npy file")
    if found.ndim not in (len(shape) + 1, len(shape) + 2) or found.shape[found.ndim - len(shape) :] != shape:
        raise RefusedInput(
            f"{path}: frames have the shape {list(found.shape)}; expected [N, T, ...] or [N, ...] of the input "
            f"{list(shape)} of {graph.source}"
        )
    return found


def as_floats(stored: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """`stored`, of the file at `path`, in float32.

    Raises:
        RefusedInput: numbers that are not finite there.
    """
    with np.errstate(over="ignore"):
        frames = np.asarray(stored, np.float32)
    if not np.isfinite(frames).all():
        raise RefusedInput(f"{path}: frames hold values that are not finite")
    return frames


def _array(path: Path) -> NDArray[Any]:
    """What numpy finds in the file, mapped into memory."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RefusedInput(f"{path}: not a readable .npy array ({error})") from error
    return found  # type: ignore[no-any-return]
