"""Bins events into time steps: `x[n, t, c, row, column]` is the number of events of sample n there in step t.

A recording starts with its first event, at t0, as in tonic and SpikingJelly, unless its file says when it starts:

    1ms         step = floor((t - t0) / 1 ms)
    16          16 steps of equal length, L = floor((t_last - t0) / 16) ticks; the last step has the rest
    16:number   16 steps of equally many events, floor(n / 16); the last step has the rest

The last two are SpikingJelly's `frames_number` with `split_by="time"` and `split_by="number"`.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.hdf5 import MAX_BYTES
from neuromorphic.reading.events.recording import MICROSECOND, Recording, Recordings

UNITS = {"us": MICROSECOND, "µs": MICROSECOND, "ms": Fraction(1, 1000), "s": Fraction(1), "": Fraction(1)}

MOST_STEPS = 2**53
"""More steps than any frames have; larger numbers are clipped, so that they don't wrap, and refused as too large."""

WHOLE = 1e-9
"""Relative distance within which a quotient of seconds counts as an integer; float64 is precise to 1e-16."""


@dataclass(frozen=True)
class Bin:
    """The `seconds` of a step; or the number of `steps`, of equal length or (`by_number`) with equally many events."""

    seconds: Fraction | None = None
    steps: int | None = None
    by_number: bool = False


def parse_bin(text: str) -> Bin:
    """The `Bin` of an option's text: `1ms`, `500us`, `0.001` (seconds), `16` (steps), `16:number`.

    Raises:
        RefusedInput: it is anything else, or not above 0.
    """
    expected = f"--bin is {text!r}; expected a time per step, as 1ms, or a number of steps, as 16 or 16:number"
    if found := re.fullmatch(r"(\d+)(:number|:time)?", text):
        if not 1 <= int(found[1]) < 10**6:
            raise RefusedInput(expected)
        return Bin(steps=int(found[1]), by_number=found[2] == ":number")
    found = re.fullmatch(r"(\d*\.?\d+(?:[eE][+-]?\d{1,2})?)\s*(us|µs|ms|s|)", text)
    if not found or not (seconds := Fraction(found[1]) * UNITS[found[2]]):
        raise RefusedInput(expected)
    return Bin(seconds=seconds)


@dataclass(frozen=True)
class Grid:
    """Frames made from events.

    Attributes:
        frames: `[N, T, *input shape]`: booleans where no two events share a place and step, else uint16.
        assumed: assumptions, in sentences.
    """

    frames: NDArray[np.bool_] | NDArray[np.uint16]
    assumed: list[str] = field(default_factory=list)


def bin_events(
    source: Recordings, size: Bin, shape: tuple[int, ...], time_steps: int | None, where: object, *, once: bool
) -> Grid:
    """The number of events of each sample in every place and time step.

    Args:
        source: of the events.
        size: of a step.
        shape: of the input: `[2, H, W]` with the polarities as channels, `[1, H, W]` or `[H, W]` without them,
            `[2 H W]` if the camera is square or known; `[W]` for events without rows.
        time_steps: T; None for the steps of the longest recording.  Later events are left out.
        where: the file, named in messages.
        once: whether events that share a place and step are one spike.

    Raises:
        RefusedInput: the input is of another shape, an event lies outside of it, or there are none at all.
    """
    assumed: list[str] = []
    channels, rows, columns = _map(shape, source, where, assumed)
    steps = [_steps(recording, size) for recording in source.recordings]
    length = size.steps or time_steps or max((int(step.max(initial=-1)) + 1 for step in steps), default=0)
    if time_steps is not None and length != time_steps:
        raise RefusedInput(f"{where}: {length} steps by --bin; the graph takes {time_steps}")
    if not length:
        raise RefusedInput(f"{where}: holds no events; expected some, or --time-steps")
    places = channels * rows * columns
    if 4 * len(steps) * length * places > MAX_BYTES:
        raise RefusedInput(
            f"{where}: {len(steps)} samples of {length} steps; expected frames of at most {MAX_BYTES} bytes (--limit)"
        )
    counts = np.zeros((len(steps), length * places), np.uint16)
    after = 0
    for n, (recording, step) in enumerate(zip(source.recordings, steps, strict=True)):
        place = _places(recording, channels, rows, columns, where)
        inside = step < length
        after += int((~inside).sum())
        found = np.bincount(step[inside] * places + place[inside], minlength=length * places)
        if found.max(initial=0) > np.iinfo(np.uint16).max:
            raise RefusedInput(f"{where}: {found.max()} events in one place and step; expected fewer, or shorter steps")
        counts[n] = found
    if size.seconds is not None:
        assumed += _units(source)
    if after:
        total = sum(map(len, source.recordings))
        assumed.append(f"events after the {length} steps are left out: {after:,} of {total:,}")
    if not any(map(len, source.recordings)):
        assumed.append(f"{where}: no sample has an event")
    frames = counts.reshape(len(steps), length, *shape)
    most = int(frames.max(initial=0))
    if most > 1 and once:
        assumed.append(f"events that share a place and a step, up to {most}, are one spike: the input takes spikes")
    return Grid(frames.astype(np.bool_) if once or most <= 1 else frames, assumed)


def _units(source: Recordings) -> list[str]:
    """An assumption on the unit of times in columns, whose file doesn't state it, with the duration that follows."""
    columns = [r for r in source.recordings if len(r) and Path(r.name).suffix.lower() in (".npy", ".npz")]
    if not columns:
        return []
    units = " or ".join(sorted({"microseconds" if r.tick == MICROSECOND else "seconds" for r in columns}))
    longest = max(float((r.t[-1] - r.t[0]) * float(r.tick)) for r in columns)
    return [
        f"times of events are taken for {units} (whole numbers are microseconds): recordings of up to {longest:.3g} s"
    ]


def _map(shape: tuple[int, ...], source: Recordings, where: object, assumed: list[str]) -> tuple[int, int, int]:
    """Channels, rows and columns of the input."""
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) == 1 and all(recording.line for recording in source.recordings):
        shape = (1, 1, *shape)
    if len(shape) == 1:
        side = int(np.sqrt(shape[0] // 2))
        rows, columns = source.sensor or (side, side)
        if 2 * rows * columns == shape[0]:
            assumed.append(f"the {shape[0]} inputs are taken for 2 polarities of {rows} × {columns} pixels")
            shape = (2, rows, columns)
    if len(shape) != 3 or shape[0] not in (1, 2):
        raise RefusedInput(
            f"{where}: events for an input of {list(shape)}; expected [2, H, W], [1, H, W], [H, W] or [2 H W]"
        )
    polar = [recording.p is not None for recording in source.recordings]
    if shape[0] == 2 and not all(polar):
        raise RefusedInput(f"{where}: events without polarities; the input {list(shape)} takes two")
    if shape[0] == 1 and any(polar) and shape[:2] != (1, 1):
        assumed.append("both polarities of the events go to the input's one channel")
    return shape[0], shape[1], shape[2]


def _places(recording: Recording, channels: int, rows: int, columns: int, where: object) -> NDArray[np.int64]:
    """`(c rows + y) columns + x` of each event."""
    outside = np.flatnonzero((recording.x >= columns) | (recording.y >= rows))
    if len(outside):
        x, y = recording.x[outside[0]], recording.y[outside[0]]
        raise RefusedInput(
            f"{where}: {recording.name} has an event at row {y}, column {x}; the input has {rows} rows and {columns} "
            "columns"
        )
    c = recording.p if channels == 2 and recording.p is not None else 0
    return np.asarray((c * rows + recording.y) * columns + recording.x)


def _steps(recording: Recording, size: Bin) -> NDArray[np.int64]:
    """The step of each event."""
    events = len(recording)
    if not events:
        return np.zeros(0, np.int64)
    since: NDArray[Any] = recording.t - (recording.t[0] if recording.begin is None else recording.begin)
    if size.steps is None:
        return _quotient(since, (size.seconds or Fraction(1)) / recording.tick)
    if size.by_number:
        step = np.arange(events) // max(1, events // size.steps)
    elif since.dtype.kind == "f":
        step = np.floor(since / max(since[-1] / size.steps, np.finfo(np.float64).tiny))
    else:
        step = since // max(1, int(since[-1]) // size.steps)
    return np.asarray(np.minimum(step, size.steps - 1), np.int64)


def _quotient(since: NDArray[np.int64] | NDArray[np.float64], length: Fraction) -> NDArray[np.int64]:
    """`floor(since / length)`, exactly where `since` consists of integers."""
    if since.dtype.kind != "f":
        most = np.iinfo(np.int64).max // length.denominator
        if since[-1] <= most:
            return np.asarray(since * length.denominator // length.numerator, np.int64)
    return np.asarray(np.minimum(np.floor(nearly_whole(since / float(length))), MOST_STEPS), np.int64)


def nearly_whole(quotient: NDArray[np.float64]) -> NDArray[np.float64]:
    """`quotient`, rounded where it is an integer but for its last bits."""
    nearest = np.rint(quotient)
    return np.where(np.abs(quotient - nearest) <= WHOLE * np.maximum(1, np.abs(nearest)), nearest, quotient)
