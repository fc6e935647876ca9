"""The reference executor: the semantics of a graph, in numpy, plain enough to be their definition.

Everything is float64, one node after the other, one time step after the other, all images side by side.  There is no
latency here: what a frame causes, it causes in its own step, but for what passes a recurrent edge or a `Delay`.  Every
image starts from rest, with nothing under way.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.schedule import inputs
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node, in_one_row
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.ops.dynamics import Values, advance, at_rest
from neuromorphic.ops.loihi_widths import GRADED_BITS
from neuromorphic.ops.operations import (
    Affine,
    Conv1d,
    Conv2d,
    Delay,
    Flatten,
    MaxPool2d,
    Membranes,
    Population,
    Scale,
    SelfAttention,
    Sink,
    Source,
    SumPool2d,
)


def run(graph: Graph, frames: NDArray[np.float32], time_steps: int | None = None) -> Trace:
    """Execute `graph` on `frames`, each presented for T steps.

    Args:
        graph: a validated graph.
        frames: float32 `[N, *input shape]` as `encode` returns them; or `[N, T, *input shape]`, one frame per step.
        time_steps: T, where neither the frames nor the graph's metadata say.

    Returns:
        The trace of every population and of the output.

    Raises:
        RefusedInput: the frames don't have the shape of the graph's input, T is unknown, or the output is too large.
    """
    frames = per_step(graph, frames, time_steps)
    images, steps = frames.shape[:2]
    states = {
        node.name: at_rest(node.operation, images, node.shape)
        for node in graph.nodes.values()
        if isinstance(node.operation, Population | Membranes)
    }
    spikes = {node.name: np.zeros((images, steps, *node.shape), np.bool_) for node in graph.populations}
    outputs = np.zeros((images, steps, *graph.nodes[graph.output].shape), np.float32)
    read = {name: [(s, graph.lag(s, name)) for s in inputs(graph, name)] for name in graph.nodes}
    past: dict[str, list[Values]] = {s: [] for sources in read.values() for s, lag in sources if lag}
    lines: dict[str, list[Values]] = {n.name: [] for n in graph.nodes.values() if isinstance(n.operation, Delay)}
    for t in range(steps):
        values: dict[str, Values] = {}
        for node in graph.nodes.values():
            if isinstance(node.operation, Flatten):  # looked through
                continue
            if isinstance(node.operation, Source):
                values[node.name] = frames[:, t].astype(np.float64)
                continue
            x = np.zeros((images, *node.input_shape))
            for source, lag in read[node.name]:
                if lag <= t:
                    sent = past[source][t - lag] if lag else values[source]
                    x += sent.reshape(x.shape)
            if isinstance(node.operation, Population | Membranes):
                values[node.name] = advance(node.operation, states[node.name], x)
            elif isinstance(node.operation, Delay):
                lines[node.name].append(x)
                values[node.name] = _delayed(node.operation, lines[node.name])
            else:
                values[node.name] = apply(node, x)
            if node.spiking:
                spikes[node.name][:, t] = values[node.name] != 0
        for source, line in past.items():
            line.append(values[source])
        with np.errstate(over="ignore", invalid="ignore"):
            outputs[:, t] = values[graph.output]
    if not np.isfinite(outputs).all():
        raise RefusedInput(f"{graph.source}: its output leaves the range of float32; expected smaller weights")
    trains = {name: SpikeTrain.pack(s) for name, s in spikes.items()}
    left = None
    if graph.precision == "loihi2":
        left = {node.name: states[node.name].v.astype(np.int32) for node in graph.populations}
    return Trace("reference", graph.precision, trains, outputs, graph.metadata.readout, left)


def run_in_batches(
    graph: Graph,
    frames: NDArray[np.float32],
    time_steps: int | None = None,
    batch: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trace:
    """`run`, some images at a time: the same trace with memory for `batch` images only.

    Args:
        graph: as for `run`.
        frames: as for `run`.
        time_steps: as for `run`.
        batch: images side by side.
        progress: told (images done, images in all).
    """
    frames = per_step(graph, frames, time_steps)
    parts = []
    for i in range(0, len(frames), batch):
        progress(i, len(frames))
        parts.append(run(graph, frames[i : i + batch]))
    progress(len(frames), len(frames))
    spikes = {
        node.name: SpikeTrain(np.concatenate([part.spikes[node.name].bits for part in parts]), node.shape)
        for node in graph.populations
    }
    outputs = np.concatenate([part.outputs for part in parts])
    membranes = None
    if graph.precision == "loihi2":
        of_parts = [part.membranes for part in parts if part.membranes is not None]
        membranes = {name: np.concatenate([v[name] for v in of_parts]) for name in spikes}
    return Trace("reference", graph.precision, spikes, outputs, graph.metadata.readout, membranes)


def per_step(graph: Graph, frames: NDArray[np.float32], time_steps: int | None = None) -> NDArray[np.float32]:
    """Frames `[N, T, *input shape]` from such frames or from one frame per image (a view, not a copy).

    Raises:
        RefusedInput: another shape, a value that is not finite, or for a graph in integers no graded spike, or T is
            unknown or contradicts the file.
    """
    shape = graph.nodes[graph.input].shape
    known = graph.metadata.time_steps
    if frames.shape[1:] == shape:
        steps = time_steps or known
        if steps is None:
            raise RefusedInput(
                f"{graph.source}: the file doesn't say how many time steps an image takes; give a number"
            )
        frames = np.broadcast_to(frames[:, None], (len(frames), steps, *shape))
    elif frames.shape[2:] != shape:
        raise RefusedInput(f"frames have the shape {list(frames.shape[1:])}; {graph.source} reads {list(shape)}")
    elif time_steps not in (None, frames.shape[1]):
        raise RefusedInput(f"{time_steps} time steps asked for; there are frames for {frames.shape[1]}")
    if known is not None and frames.shape[1] != known:
        raise RefusedInput(f"{graph.source}: {frames.shape[1]} time steps asked for; the file is made for {known}")
    if not len(frames):
        raise RefusedInput("no images to run")
    if not np.isfinite(frames).all():
        raise RefusedInput("frames hold values that are not finite")
    if graph.precision == "loihi2":
        _check_graded(frames, graph.source)
    return frames


def _check_graded(frames: NDArray[np.float32], source: str) -> None:
    limit = 2 ** (GRADED_BITS - 1)
    odd = (frames != np.rint(frames)) | (frames < -limit) | (frames >= limit)
    if odd.any():
        raise RefusedInput(
            f"frames hold {frames[odd].flat[0]:g}; {source} reads integers from {-limit} to {limit - 1} "
            f"({GRADED_BITS} bits)"
        )


def _delayed(delay: Delay, line: list[Values]) -> Values:
    """What leaves a delay whose last input is that of `line`; all of its elements have waited `delay.lag` steps."""
    y = np.zeros_like(line[-1])
    for wait in np.unique(delay.steps - delay.lag):
        if wait < len(line):
            np.copyto(y, line[-1 - wait], where=delay.steps - delay.lag == wait)
    return y


def apply(node: Node, x: Values) -> Values:
    """The output of a node without state: float64 `[N, *input shape]` to `[N, *shape]`."""
    match node.operation:
        case Conv2d() as conv:
            return _convolve(conv, x, node.shape)
        case Conv1d() as conv:
            row, flat_map = in_one_row(node, conv)
            return _convolve(flat_map, x.reshape(-1, *row.input_shape), row.shape).reshape(-1, *node.shape)
        case Scale(scale=scale):
            return scale * x
        case SumPool2d(kernel=kernel, stride=stride, padding=padding, divisor=divisor):
            return np.asarray(sliding_windows(x, kernel, stride, padding, (1, 1)).sum((-2, -1))) / divisor
        case MaxPool2d(kernel=kernel, stride=stride, padding=padding):
            return np.asarray(sliding_windows(x, kernel, stride, padding, (1, 1), -np.inf).max((-2, -1)))
        case SelfAttention() as attention:
            return _attend(attention, x)
        case Affine(weight=weight, bias=bias):
            return np.asarray(x @ weight.T.astype(np.float64) + bias)
        case Flatten():
            return x.reshape(len(x), *node.shape)
        case Sink():
            return x
        case other:
            raise TypeError(f"node {node.name!r}: {type(other).__name__} has no output of its own")


def _convolve(conv: Conv2d, x: Values, shape: tuple[int, ...]) -> Values:
    kernel = (conv.weight.shape[2], conv.weight.shape[3])
    windows = sliding_windows(x, kernel, conv.stride, conv.padding, conv.dilation)
    images, channels, height, width = windows.shape[:4]
    grouped = windows.reshape(images, conv.groups, channels // conv.groups, height, width, *kernel)
    weight = conv.weight.reshape(conv.groups, -1, *conv.weight.shape[1:]).astype(np.float64)
    y = np.einsum("bgchwij,gocij->bgohw", grouped, weight, optimize=True)
    return np.asarray(y.reshape(images, *shape) + conv.bias[:, None, None])


def _attend(attention: SelfAttention, x: Values) -> Values:
    images, channels, height, width = x.shape
    size = channels // 3 // attention.heads
    q, k, v = x.reshape(images, 3, attention.heads, size, height * width).swapaxes(0, 1)
    k_v = np.einsum("bhim,bhjm->bhij", k, v)
    y = attention.scale * np.einsum("bhin,bhij->bhjn", q, k_v)
    return np.asarray(y.reshape(images, channels // 3, height, width))


def sliding_windows(
    x: Values,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    outside: float = 0.0,
) -> Values:
    """`[N, C, H', W', kernel height, kernel width]`: what each output position sees of `[N, C, H, W]`.

    Positions outside the map hold the value `outside`.
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel, stride, padding, dilation
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=outside)
    span = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, (2, 3))  # type: ignore[call-overload]
    return np.asarray(windows[:, :, ::sh, ::sw, ::dh, ::dw])
