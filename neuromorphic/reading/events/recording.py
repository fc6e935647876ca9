"""A recording: the events of one sample."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput

MICROSECOND = Fraction(1, 10**6)
SECOND = Fraction(1)

NAMES = {
    "x": ("x",),
    "y": ("y",),
    "p": ("p", "pol", "polarity", "polarities", "on"),
    "t": ("t", "ts", "time", "timestamp", "timestamps"),
}
"""Names of the columns of events in libraries (tonic, SpikingJelly, Prophesee, DSEC, rpg)."""


@dataclass(frozen=True)
class Recording:
    """Events in the order of their times.

    Attributes:
        x, y: int64 `[events]`, column and row of the pixel, from 0.
        p: int64 `[events]`, 1 if the pixel became brighter, 0 if darker; None where a file has no polarities.
        t: `[events]`, times in ticks, int64 or float64.
        tick: seconds of a tick.
        name: of the sample, as `7/00012.bin`.
        line: whether events have no rows but belong to neurons in a line, as spoken digits in tonic (SHD, SSC).
        begin: start of the first time step, in ticks; None for the first event.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    p: NDArray[np.int64] | None
    t: NDArray[Any]
    tick: Fraction
    name: str
    line: bool = False
    begin: float | None = None

    def __len__(self) -> int:
        return len(self.t)

    @classmethod
    def of(
        cls,
        columns: dict[str, NDArray[Any]],
        name: str,
        where: object,
        tick: Fraction | None = None,
        begin: float | None = None,
    ) -> "Recording":
        """The recording from columns of any numbers: sorted by time, with polarities 0 and 1.

        Where the layout doesn't define the unit of time, integers, also as floats, are microseconds, as event cameras
        write them, and times with fractions are seconds.

        Args:
            columns: `x`, `t` and, if there are any, `y` and `p`, by these names.
            name: of the sample.
            where: the file, named in messages.
            tick: seconds of a tick, where the layout defines it.
            begin: start of the first time step, in ticks; None for the first event.

        Raises:
            RefusedInput: columns of different lengths, or no numbers in them; pixels that are not whole or below 0;
                times that are not finite, or before `begin`; polarities other than 0 and 1, or -1 and 1.
        """
        lengths = {key: column.shape for key, column in columns.items()}
        if len(set(lengths.values())) != 1 or columns["t"].ndim != 1:
            found = ", ".join(f"{key} {list(shape)}" for key, shape in lengths.items())
            raise RefusedInput(f"{where}: events have {found}; expected columns of one length")
        if odd := [key for key, column in columns.items() if column.dtype.kind not in "biuf"]:
            raise RefusedInput(f"{where}: {odd[0]} of its events is {columns[odd[0]].dtype}; expected numbers")
        x = _whole(columns["x"], "x", where)
        y = _whole(columns["y"], "y", where) if "y" in columns else np.zeros_like(x)
        p = _polarities(columns["p"], where) if "p" in columns else None
        t = columns["t"]
        if t.dtype.kind == "f":
            t = t.astype(np.float64)
            if not np.isfinite(t).all():
                raise RefusedInput(f"{where}: times of its events are not finite")
            if tick is None and (t == np.rint(t)).all() and np.abs(t).max(initial=0) < 2**53:
                t = t.astype(np.int64)
        else:
            if t.dtype == np.uint64 and t.max(initial=0) > np.iinfo(np.int64).max:
                raise RefusedInput(f"{where}: an event at {t.max()}; expected times below 2^63")
            t = t.astype(np.int64)
        if len(t) and t.dtype.kind == "i" and int(t.max()) - int(t.min()) > np.iinfo(np.int64).max:
            raise RefusedInput(f"{where}: events from {t.min()} to {t.max()}; expected times less than 2^63 apart")
        if begin is not None and t.min(initial=0) < begin:
            raise RefusedInput(f"{where}: an event at {t.min()}; expected times from {begin:g}")
        tick = tick or (SECOND if t.dtype.kind == "f" else MICROSECOND)
        order = np.argsort(t, kind="stable")
        polarities = None if p is None else p[order]
        return cls(x[order], y[order], polarities, t[order], tick, name, "y" not in columns, begin)


@dataclass(frozen=True)
class Recordings:
    """Recordings of samples, and what is known of them.

    Attributes:
        recordings: of all samples, in order.
        labels: int64 `[samples]`, or None.
        label_names: names of the classes; the labels are indices into them.  May be empty.
        sensor: rows and columns of the camera, where the layout defines them.
    """

    recordings: list[Recording]
    labels: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    sensor: tuple[int, int] | None = None


def columns_of(names: "set[str] | tuple[str, ...]", needed: str = "xyt") -> dict[str, str] | None:
    """The names of the columns x, y, p and t, by these; None where one of the `needed` is missing."""
    folded = {str(name).lower(): str(name) for name in names}
    found = {key: next((folded[name] for name in known if name in folded), None) for key, known in NAMES.items()}
    columns = {key: name for key, name in found.items() if name is not None}
    return columns if set(needed) <= columns.keys() else None


def _whole(column: NDArray[Any], key: str, where: object) -> NDArray[np.int64]:
    if column.dtype.kind == "f" and not (np.isfinite(column) & (column == np.rint(column))).all():
        raise RefusedInput(f"{where}: {key} of its events is not whole; expected numbers of pixels")
    if len(column) and column.min() < 0:
        raise RefusedInput(f"{where}: {key} of its events is {column.min()}; expected numbers of pixels, from 0")
    return column.astype(np.int64)


def _polarities(column: NDArray[Any], where: object) -> NDArray[np.int64]:
    found = set(np.unique(column).tolist())
    if not (found <= {0, 1} or found <= {-1, 1}):
        raise RefusedInput(f"{where}: polarities {sorted(found)[:4]}; expected 0 and 1, or -1 and 1")
    return (column > 0).astype(np.int64)
