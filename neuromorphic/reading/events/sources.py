"""Finds recordings: in one file, a folder, a folder for each class (N-MNIST), or the lists of DVS Gesture."""

import csv
from pathlib import Path

import numpy as np

from neuromorphic.arrays import MOST_CLASSES
from neuromorphic.errors import RefusedInput, shown
from neuromorphic.reading.events.formats import event_arrays, read_recording
from neuromorphic.reading.events.recording import Recording, Recordings
from neuromorphic.reading.events.spike_trains import holds_spike_trains, read_spike_trains

SUFFIXES = frozenset({".bin", ".aedat", ".npy", ".npz"})

GESTURE = (128, 128)
"""Pixels of the camera of DVS Gesture (DVS128)."""

LIMIT = 10**9
"""No data set has as many samples."""


def holds_events(path: Path) -> bool:
    """Whether there are events, and not frames, at `path`; in a folder, its first file decides."""
    if path.is_dir():
        return holds_events(files_by_class(path, 1)[0][0][1])
    if path.suffix.lower() in (".bin", ".aedat", ".txt"):
        return True
    if holds_spike_trains(path):
        return True
    return path.suffix.lower() in (".npy", ".npz") and path.is_file() and event_arrays(path) is not None


def find_recordings(path: Path, limit: int | None = None) -> Recordings:
    """The recordings at `path`.

    Args:
        path: a file of events; a folder of such files, or of one folder for each class, as `N-MNIST/Test`; an `.aedat`
            whose `_labels.csv` cuts it into samples, or a list of such, as `DvsGesture/trials_to_test.txt`; the HDF5
            of spoken digits, as `shd_test.h5`.
        limit: take the first so many samples.

    Raises:
        RefusedInput: nothing is there, or a file is broken or of another layout.
    """
    most = LIMIT if limit is None else limit
    if path.is_dir():
        return _folder(path, most)
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file or folder; expected frames or events")
    if path.suffix.lower() == ".txt":
        return _gestures(_listed(path), most)
    if path.suffix.lower() == ".aedat" and _labels_of(path).is_file():
        return _gestures([path], most)
    if holds_spike_trains(path):
        return read_spike_trains(path, most)
    return Recordings([read_recording(path, path.name)])


def read_with(path: Path) -> list[Path]:
    """The other files that are read with `path`: those that a list names, and tables of labels.

    Raises:
        RefusedInput: `path` is a list of other files than recordings.
    """
    suffix = path.suffix.lower()
    listed = _listed(path) if suffix == ".txt" and path.is_file() else []
    return [*listed, *(_labels_of(file) for file in (path, *listed) if file.suffix.lower() == ".aedat")]


def files_by_class(root: Path, most: int) -> tuple[list[tuple[int, Path]], tuple[str, ...]]:
    """The first `most` files of frames or events in `root`, or in its folders, one for each class.

    Returns:
        Each file with the index of its class, and the names of the classes: none if the files are in `root` itself.

    Raises:
        RefusedInput: there are none.
    """
    held = sorted(each for each in root.iterdir() if not _hidden(each))
    classes = [each.name for each in held if each.is_dir() and not _is_recording(each)]
    beside = next((each for each in held if each.is_file() and _is_recording(each)), None)
    if classes and beside is not None:
        raise RefusedInput(f"{root}: holds {beside.name} and the folder {classes[0]}; expected files, or classes")
    classes.sort(key=lambda name: (int(name), name) if name.isdecimal() else (LIMIT, name))
    groups = [root / name for name in classes] if classes else [root]
    deeper = [each for group in groups for each in group.iterdir() if each.is_dir() and not _hidden(each)]
    if classes and (lost := [each for each in deeper if any(_is_recording(file) for file in each.rglob("*"))]):
        raise RefusedInput(f"{lost[0]}: a folder in the folder of a class; expected files in folders of classes")
    found = [
        (number, file)
        for number, group in enumerate(groups)
        for file in sorted(group.iterdir())
        if _is_recording(file) and not _hidden(file)
    ][:most]
    if not found:
        raise RefusedInput(f"{root}: no frames or events in this folder; expected {', '.join(sorted(SUFFIXES))}")
    if odd := [file for _, file in found if not file.is_file()]:
        raise RefusedInput(f"{odd[0]}: is no file that can be read; expected frames or events")
    return found, tuple(classes)


def _hidden(path: Path) -> bool:
    """Whether a system hides it or put it there (`.DS_Store`, `._1.bin`, `__MACOSX`)."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def _is_recording(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _folder(root: Path, most: int) -> Recordings:
    found, classes = files_by_class(root, most)
    recordings = [read_recording(file, file.relative_to(root).as_posix()) for _, file in found]
    labels = np.asarray([number for number, _ in found], np.int64) if classes else None
    return Recordings(recordings, labels, classes)


def _listed(path: Path) -> list[Path]:
    """The files of recordings that a list of DVS Gesture names, one per line, in the folder of the list."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedInput(f"{path}: not a readable text file ({error})") from error
    files = [path.parent / line for line in lines if line]
    if not files or any(file.suffix.lower() != ".aedat" for file in files):
        raise RefusedInput(f"{path}: expected a list of .aedat files, one a line, as DVS Gesture's trials_to_test.txt")
    if missing := [file for file in files if not file.is_file()]:
        raise RefusedInput(f"{missing[0]}: not found; {path.name} lists it")
    return files


def _labels_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}_labels.csv")


def _gestures(files: list[Path], most: int) -> Recordings:
    """The labelled parts of recordings of DVS Gesture; classes count from 1 in its files, from 0 here."""
    recordings: list[Recording] = []
    labels: list[int] = []
    for file in files:
        if len(labels) >= most:
            break
        whole = read_recording(file, file.name)
        for number, (label, start, end) in enumerate(_trials(_labels_of(file))):
            inside = slice(*np.searchsorted(whole.t, (start, end)))
            columns = {"x": whole.x[inside], "y": whole.y[inside], "t": whole.t[inside]}
            polarities = {} if whole.p is None else {"p": whole.p[inside]}
            recordings.append(Recording.of({**columns, **polarities}, f"{file.stem}/{number}", file))
            labels.append(label - 1)
    return Recordings(recordings[:most], np.asarray(labels[:most], np.int64), (), GESTURE)


def _trials(path: Path) -> list[tuple[int, int, int]]:
    """Class, start and end in microseconds of each line.

    Raises:
        RefusedInput: the file is missing or has other columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        trials = [(int(row["class"]), int(row["startTime_usec"]), int(row["endTime_usec"])) for row in rows]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise RefusedInput(
            f"{path}: expected DVS Gesture's class,startTime_usec,endTime_usec in whole numbers ({shown(str(error))})"
        ) from error
    if not trials or not all(0 < label <= MOST_CLASSES for label, _, _ in trials):
        raise RefusedInput(f"{path}: expected classes from 1, in at least one line")
    if backwards := [(start, end) for _, start, end in trials if end <= start]:
        raise RefusedInput(f"{path}: a sample from {backwards[0][0]} to {backwards[0][1]} us; expected its end later")
    return trials
