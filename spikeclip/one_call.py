"""`spikeclip.run`: what `spikeclip simulate` does, in one call, for a notebook."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, check_choice, first_line
from neuromorphic.execution.frames import timed
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.inputs import side_by_side
from neuromorphic.ir.trace import Trace
from neuromorphic.loihi2.file import integer_graph
from neuromorphic.loihi2.integers import graded
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.loihi2.scheme import Granularity
from neuromorphic.reading.frames import encode, find_frames
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph
from neuromorphic.runs.cli_inputs import Selection, frames_of
from neuromorphic.targets.target import TARGETS, target_of

Frames = str | Path | Sequence[Any] | NDArray[Any] | Mapping[str, Any]
"""Numbers, or a file of them; or such by the name of an input."""

CALIBRATED = 64
"""Images, or frames, that a graph is quantised on at most, where no others are given."""


def run(
    model: str | Path | Graph,
    frames: Frames | None = None,
    *,
    images: str | Path | NDArray[np.uint8] | None = None,
    precision: Literal["float", "loihi2"] = "float",
    calibrate: Frames | None = None,
    granularity: Granularity = "layer",
    backend: str = "lava",
    time_steps: int | None = None,
    limit: int | None = None,
    dt: float | None = None,
    reset: Literal["zero", "subtract"] | None = None,
    integrators: Literal["dt", "step"] | None = None,
    written_by: str | None = None,
    timeout: float | None = None,
) -> Trace:
    """The trace of a graph on frames or on images: `spikeclip.run("net.nir", frames, precision="loihi2")`.

    Warnings say what was assumed about the file, and where nothing spiked.

    Args:
        model: a `.nir` file, or a graph that was read.
        frames: what the input reads, `[N, *input shape]` or `[N, T, *input shape]`: numbers, or a file of them; of
            several inputs, such by the name of each.
        images: instead of frames: a SPEC as `--images` takes it, or uint8 `[N, H, W, C]` of the graph's size.
        precision: the arithmetic; `loihi2` quantises a graph of floats first.
        calibrate: what it is quantised on, of the same kind as what it is run on; by default the first 64 of that,
            with a warning.
        granularity: what weights share an exponent in: `layer` or `channel`.
        backend: `lava`, `fast` or `reference`.
        time_steps: T, where neither the frames nor the file say.
        limit: take the first N only.
        dt: seconds per time step, where the file doesn't say.
        reset: what a spike does to v, where the file doesn't say it.
        integrators: what IF and I multiply their input by: dt, as NIR has it, or 1 per step.
        written_by: the library that wrote the file, as `sinabs` or `norse@2`.
        timeout: seconds that Lava may take.

    Raises:
        RefusedInput: the file, the frames or an argument is refused, in one sentence.
        SimulationFailed: Lava failed.
    """
    if (frames is None) == (images is None):
        raise RefusedInput("nothing to run on, or two things; expected either frames or images")
    if not isinstance(model, str | Path | Graph):
        raise RefusedInput(f"model is of type {type(model).__name__}; expected a .nir file, or a graph that was read")
    for name, value in (("time_steps", time_steps), ("limit", limit)):
        if value is not None and (not isinstance(value, int | np.integer) or value < 1):
            raise RefusedInput(f"{name} is {value!r}; expected a whole number above 0")
    check_choice("backend", backend, TARGETS)
    check_choice("precision", precision, ("float", "loihi2"))
    given = Asked(dt, reset, integrators, written_by)
    graph = model if isinstance(model, Graph) else read_graph(model, asked=given)
    shown = _frames(graph, frames, images, limit)
    if precision == "loihi2" and graph.precision == "float":
        whole = integer_graph(graph)
        if whole is None:
            whole = _quantised(graph, shown, calibrate, frames is None, granularity, time_steps)
        # Frames of its own units: images go through its preprocessing, recordings through its scale.
        shown = graded(whole, shown) if images is None else _frames(whole, None, images, limit)
        graph = whole
    elif calibrate is not None:
        raise RefusedInput("calibrate is of the integers; expected precision='loihi2' and a graph of floats")
    trace = target_of(backend, timeout).run(graph, shown, time_steps)
    said = [f"assumed: {each}" for each in graph.metadata.assumed]
    if trace.spikes and not any(train.count() for train in trace.spikes.values()):
        said.append("nothing spiked in the whole run: are dt, integrators and the frames what the file means?")
    for each in said:
        warnings.warn(each, stacklevel=2)
    return trace


def _frames(graph: Graph, frames: Any, images: Any, limit: int | None) -> NDArray[np.float32]:
    """Float32 of one of the two."""
    if isinstance(frames, Mapping) and all(isinstance(each, str | Path) for each in frames.values()):
        return find_frames(graph, {name: Path(each) for name, each in frames.items()}, limit=limit).floats()
    if isinstance(frames, Mapping):
        arrays = {name: _numbers(each) for name, each in frames.items()}
        return np.asarray(side_by_side(graph, arrays)[:limit])
    if isinstance(frames, str | Path):
        return find_frames(graph, Path(frames), limit=limit).floats()
    if frames is not None:
        return _numbers(frames)[:limit]
    if isinstance(images, str | Path):
        return frames_of(graph, Selection(str(images), {}, limit=limit).find(graph))
    pixels = np.asarray(images)
    if pixels.dtype != np.uint8:
        raise RefusedInput(f"images are {pixels.dtype}; expected levels of 8 bits, uint8 [N, H, W, C]")
    return encode(graph, pixels[:limit])


def _numbers(frames: Any) -> NDArray[np.float32]:
    """Float32 of frames that are real and finite numbers."""
    try:
        if hasattr(frames, "detach"):  # a tensor of torch's: numpy takes no gradients, and none of its bfloat16
            frames = frames.detach().cpu()
            frames = frames.float() if "bfloat16" in str(frames.dtype) else frames
        given = np.asarray(frames)
    except (TypeError, ValueError, RuntimeError) as error:
        found = f"{type(frames).__name__}, not an array ({first_line(str(error))})"
        raise RefusedInput(f"frames are {found}; expected real numbers [N, T, ...] or [N, ...]") from error
    if given.dtype.kind not in "biuf" or not given.ndim:
        found = f"{given.dtype} {list(given.shape)}"
        raise RefusedInput(f"frames are {found}; expected real numbers [N, T, ...] or [N, ...]")
    with np.errstate(over="ignore"):
        values = given.astype(np.float32)
    if not np.isfinite(values).all():
        raise RefusedInput("frames hold values that are not finite")
    return values


def _quantised(
    graph: Graph,
    shown: NDArray[np.float32],
    calibrate: Any,
    of_images: bool,
    granularity: Granularity,
    time_steps: int | None,
) -> Graph:
    """The integer graph of a graph of floats."""
    if calibrate is None:
        seen = shown[:CALIBRATED]
        warnings.warn(f"quantised on the first {len(seen)} of what it runs on: give calibrate=", stacklevel=3)
    else:
        seen = _frames(graph, *((None, calibrate) if of_images else (calibrate, None)), CALIBRATED)
    floats = timed(graph, None if of_images else shown, time_steps)
    whole, _ = quantise(floats, seen, granularity)
    return whole
