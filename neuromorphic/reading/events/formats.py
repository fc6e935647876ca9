"""Readers of files of events: N-MNIST's `.bin`, `.aedat` of version 3.1, structured arrays, columns in an `.npz`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.arrays import mapped_npy, opened_npz
from neuromorphic.errors import RefusedInput, shown
from neuromorphic.reading.events.recording import NAMES, Recording, columns_of

OVERFLOW = 240
"""Row of a mark in N-MNIST and N-Caltech101, which is no event: all times behind it are 2^13 µs later."""

EVENTS = "the events as columns x, y, t and p in an .npz, as SpikingJelly's events_np has them"
"""The form in which any camera's events can be read, for messages."""

FIELDS = ", ".join(f"{key} (or {' or '.join(others)})" if others else key for key, (_, *others) in NAMES.items())
"""The fields of a structured array, for messages."""

PACKET = np.dtype(
    [
        ("type", "<u2"),
        ("source", "<u2"),
        ("size", "<u4"),
        ("offset", "<u4"),
        ("overflow", "<u4"),
        ("capacity", "<u4"),
        ("number", "<u4"),
        ("valid", "<u4"),
    ]
)
"""Head of a packet in AEDAT 3.1, 28 bytes."""

POLARITY = 1
"""The type of packets with events of pixels; other packets (frames, inertia) are skipped."""


def read_recording(path: Path, name: str) -> Recording:
    """The events in a file; the ending of its name says the format.

    Raises:
        RefusedInput: it isn't readable, or holds something else.
    """
    suffix = path.suffix.lower()
    if suffix == ".bin":
        return _read_bin(path, name)
    if suffix == ".aedat":
        return _read_aedat(path, name)
    found = event_arrays(path)
    if found is None:
        raise RefusedInput(f"{path}: holds no events; expected a structured array, or arrays x, y, t and p")
    return Recording.of(found, name, path)


def event_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """x, y, t and p in a `.npy` or `.npz`; None where it holds something else.

    Raises:
        RefusedInput: it isn't readable.
    """
    if path.suffix.lower() != ".npz":
        array = mapped_npy(path)
        fields = _fields(array)
        if fields is None and array.dtype.names is not None:
            raise RefusedInput(f"{path}: has the fields {', '.join(array.dtype.names)}; expected {FIELDS}")
        return fields
    with opened_npz(path) as found:
        columns = columns_of(set(found.files))
        if columns is not None:
            return {key: found[name] for key, name in columns.items()}
        arrays = [] if "frames" in found else [found[name] for name in found.files]
    return next((fields for fields in map(_fields, arrays) if fields is not None), None)


def other_arrays(path: Path) -> list[str]:
    """The names of other arrays in an `.npz` of events; none for other files.

    Raises:
        RefusedInput: it isn't readable.
    """
    if path.suffix.lower() != ".npz":
        return []
    with opened_npz(path) as found:
        columns = columns_of(set(found.files))
        structured = (name for name in found.files if _fields(found[name]) is not None)
        return sorted({*found.files} - {*(columns.values() if columns is not None else [next(structured)])})


def _fields(array: NDArray[Any]) -> dict[str, NDArray[Any]] | None:
    """x, y, t and p of a structured array, without y for neurons in a line; None for other arrays."""
    columns = columns_of(array.dtype.names or (), needed="xt")
    return None if columns is None else {key: array[field] for key, field in columns.items()}


def _read_bin(path: Path, name: str) -> Recording:
    """Events of five bytes: x, y, 1 bit of polarity, 23 bits of microseconds, big-endian (Orchard et al., 2015)."""
    data = np.fromfile(path, np.uint8)
    if len(data) % 5:
        raise RefusedInput(f"{path}: {len(data)} bytes; expected a multiple of 5, as events of N-MNIST take")
    x, y, *rest = data.reshape(-1, 5).T.astype(np.int64)
    t = (rest[0] & 0x7F) << 16 | rest[1] << 8 | rest[2]
    mark = y == OVERFLOW
    t += np.cumsum(mark) << 13
    columns = {"x": x, "y": y, "p": rest[0] >> 7, "t": t}
    return Recording.of({key: column[~mark] for key, column in columns.items()}, name, path)


def _read_aedat(path: Path, name: str) -> Recording:
    """Packets of 8-byte events: `x << 17 | y << 2 | p << 1 | valid`, then microseconds (inivation's AEDAT 3.1)."""
    data = path.read_bytes()
    if data.startswith(b"#!AER-DAT2"):
        raise RefusedInput(
            f"{path}: is AEDAT 2, of whose addresses tonic and SpikingJelly make different pixels and polarities; "
            f"expected {EVENTS}"
        )
    if not data.startswith(b"#!AER-DAT3.1"):
        raise RefusedInput(
            f"{path}: begins with {shown(data[:12])}; expected AEDAT 3.1, as of DVS Gesture, or {EVENTS}"
        )
    place = _behind_head(data)
    if not place:
        raise RefusedInput(f"{path}: cut within its head; expected events behind it")
    parts = []
    while place < len(data):
        if place + PACKET.itemsize > len(data):
            raise RefusedInput(f"{path}: cut within a packet's head, at byte {place}")
        packet = np.frombuffer(data, PACKET, 1, place)[0]
        place += PACKET.itemsize
        size, held = int(packet["size"]), int(packet["number"])
        whole = size * int(packet["capacity"])
        polarity = packet["type"] == POLARITY
        if size * held > whole or place + size * held > len(data) or (polarity and size != 8):
            raise RefusedInput(f"{path}: a packet of {held} events of {size} bytes at byte {place}, cut or damaged")
        if polarity:
            events = np.frombuffer(data, "<u4", 2 * held, place).reshape(-1, 2).astype(np.int64)
            valid = events[:, 0] & 1 == 1
            events[:, 1] += int(packet["overflow"]) << 31
            parts.append(events[valid])
        place += whole
    word, t = np.concatenate([np.zeros((0, 2), np.int64), *parts]).T
    columns = {"x": word >> 17 & 0x7FFF, "y": word >> 2 & 0x7FFF, "p": word >> 1 & 1, "t": t}
    return Recording.of(columns, name, path)


def _behind_head(data: bytes) -> int:
    """The index behind the lines that begin with `#`; 0 if one of these has no end."""
    place = 0
    while data[place : place + 1] == b"#":
        end = data.find(b"\n", place) + 1
        line, place = data[place:end], end
        if not end or line.startswith(b"#!END-HEADER"):
            break
    return place
