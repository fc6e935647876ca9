"""The frames of a run, one for every image and time step."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.inputs import Given, of_inputs, side_by_side
from neuromorphic.ops.widths import GRADED_BITS, GRADED_LEAST, GRADED_MOST


def per_step(graph: Graph, given: Given, time_steps: int | None = None) -> NDArray[np.float32]:
    """Frames with an axis of time: float32 `[N, T, *frame shape]`; a view, where there is one frame per image.

    Args:
        graph: that reads them.
        given: float32 `[N, *frame shape]` or `[N, T, *frame shape]`; or such arrays by the name of the input.
        time_steps: T, where neither the frames nor the graph's metadata say.

    Raises:
        RefusedInput: another shape, a value that is not finite or, for a graph in integers, no graded spike; or T is
            unknown or contradicts the file.
    """
    frames = np.asarray(side_by_side(graph, given), np.float32) if isinstance(given, Mapping) else given
    shape = graph.frame_shape
    known = graph.metadata.time_steps
    if frames.shape[1:] == shape:
        frames = np.broadcast_to(frames[:, None], (len(frames), steps_of(graph, time_steps), *shape))
    elif frames.shape[2:] != shape:
        raise RefusedInput(f"frames have the shape {list(frames.shape[1:])}; {graph.source} reads {list(shape)}")
    elif time_steps not in (None, frames.shape[1]):
        raise RefusedInput(f"{time_steps} time steps asked for; there are frames for {frames.shape[1]}")
    if known is not None and frames.shape[1] != known:
        raise RefusedInput(f"{graph.source}: {frames.shape[1]} time steps asked for; the file is made for {known}")
    if not frames.size:
        raise RefusedInput(f"frames have the shape {list(frames.shape)}: nothing to run on; expected some of each")
    if not np.isfinite(frames).all():
        raise RefusedInput("frames hold values that are not finite")
    if graph.precision == "loihi2":
        _check_graded(frames, graph.source)
    return frames


def steps_of(graph: Graph, stated: int | None = None) -> int:
    """T: `stated`, else as in the graph's metadata.

    Raises:
        RefusedInput: neither says T.
    """
    steps = stated or graph.metadata.time_steps
    if steps is None:
        raise RefusedInput(
            f"{graph.source}: the file doesn't say how many time steps an image takes; expected --time-steps"
        )
    return steps


def _check_graded(frames: NDArray[np.float32], source: str) -> None:
    odd = (frames != np.rint(frames)) | (frames < GRADED_LEAST) | (frames > GRADED_MOST)
    if odd.any():
        raise RefusedInput(
            f"frames hold {frames[odd].flat[0]:g}; {source} reads integers from {GRADED_LEAST} to {GRADED_MOST} "
            f"({GRADED_BITS} bits)"
        )


def timed(graph: Graph, frames: NDArray[np.float32] | None, time_steps: int | None = None) -> Graph:
    """`graph` with T in its metadata, since the widths of integers depend on T.

    T is the graph's; else `time_steps`; else that of the frames, if they have an axis of time.

    Raises:
        RefusedInput: none of these says T.
    """
    if graph.metadata.time_steps is not None:
        return graph
    length = None if frames is None or still(graph, frames) else frames.shape[1]
    return replace(graph, metadata=replace(graph.metadata, time_steps=steps_of(graph, time_steps or length)))


def still(graph: Graph, frames: NDArray[np.float32]) -> bool:
    """Whether there is one frame per image, the same in every step."""
    return frames.ndim == len(graph.frame_shape) + 1


def read_at(graph: Graph, frames: NDArray[np.float32], t: int) -> dict[str, NDArray[np.float32]]:
    """The frames of every input in step t, `[B, *input shape]` by name; `frames` has an axis of time or not."""
    return of_inputs(graph, frames if still(graph, frames) else frames[:, t])
