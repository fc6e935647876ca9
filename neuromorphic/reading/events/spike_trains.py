"""Reads times and units of spikes in HDF5: the Spiking Heidelberg Digits and Speech Commands (Cramer et al., 2020).

spikes/times     seconds since the start of the recording, a row of any length for each sample
spikes/units     the neurons, of 700 in a line, that spike at these times
labels           the class of each sample
extra/keys       the names of the classes
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuromorphic.arrays import class_labels
from neuromorphic.errors import RefusedInput, shown
from neuromorphic.ir.hdf5 import MAX_BYTES, survey
from neuromorphic.reading.events.recording import SECOND, Recording, Recordings

TIMES, UNITS, LABELS, NAMES = "spikes/times", "spikes/units", "labels", "extra/keys"


def holds_spike_trains(path: Path) -> bool:
    """Whether the file at `path` exists and is HDF5 with times and units of spikes."""
    try:
        with h5py.File(path, "r") as file:
            return TIMES in file and UNITS in file
    except (OSError, RuntimeError, KeyError, ValueError):  # whatever HDF5's library finds wrong
        return False


def read_spike_trains(path: Path, most: int) -> Recordings:
    """The first `most` samples of a file.

    Raises:
        RefusedInput: it reaches outside itself, is damaged, or has other rows, times below 0, or labels that don't fit.
    """
    try:
        with h5py.File(path, "r") as file:
            survey(file, path, ragged=(f"/{TIMES}", f"/{UNITS}"))
            times, units = _rows(file, TIMES, path), _rows(file, UNITS, path)
            if len(times) != len(units):
                raise RefusedInput(f"{path}: {len(times)} rows of {TIMES}, {len(units)} of {UNITS}; expected as many")
            recordings: list[Recording] = []
            held = 0
            for n in range(min(len(times), most)):
                columns = {"x": np.asarray(units[n]), "t": np.asarray(times[n])}
                held += 8 * columns["t"].size
                if held > MAX_BYTES:
                    raise RefusedInput(f"{path}: more than {MAX_BYTES} bytes of events by sample {n}; expected fewer")
                recordings.append(Recording.of(columns, f"{path.stem}/{n}", f"{path}: sample {n}", SECOND, begin=0.0))
            labels, names = _labels(file, len(times), path)
    except RefusedInput:
        raise
    except Exception as error:  # h5py raises whatever it finds: KeyError, OSError, ValueError, RuntimeError
        raise RefusedInput(f"{path}: not readable as times and units of spikes ({shown(error)})") from error
    return Recordings(recordings, None if labels is None else labels[:most], names)


def _rows(file: h5py.File, key: str, path: Path) -> Any:
    """The rows of numbers under `key`; each is read at its use."""
    rows = file[key]
    if not isinstance(rows, h5py.Dataset) or len(rows.shape) != 1 or h5py.check_vlen_dtype(rows.dtype) is None:
        raise RefusedInput(f"{path}: {key} is {shown(rows)}; expected a row of numbers for each sample")
    return rows


def _labels(file: h5py.File, samples: int, path: Path) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """The class of each sample, or None, and the names of the classes, or none."""
    if LABELS not in file:
        return None, ()
    names = tuple(file[NAMES].asstr()[()].tolist()) if NAMES in file else ()
    return class_labels(np.asarray(file[LABELS][()]), samples, names, path, NAMES), names
