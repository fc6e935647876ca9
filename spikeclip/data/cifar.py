"""CIFAR-10 and CIFAR-100, as their authors' binary files or as the pickles that torchvision downloads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeclip.class_names import read_names
from spikeclip.data.image_set import Found, check_range, find_root
from spikeclip.data.official_names import official_names
from spikeclip.data.pickles import read_pickle
from spikeclip.errors import RefusedInput

SPLITS = ("train", "test")

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Layout:
    """The files of one of the two data sets.

    Attributes:
        kind: its name in a SPEC.
        folder: of the binary files.
        files: binary ones of each split: records of label bytes and of the R, G and B planes of a 32 × 32 image.
        label_bytes: of a record; the last one is the label.
        names_file: names of the classes, one a line.
        pickled_folder: of the pickles.
        pickled: those of each split: dictionaries of `data` uint8 `[N, 3072]` and labels.
        labels_key: of the labels in a pickle.
        pickled_names: the pickle with the names of the classes, and its key.
    """

    kind: str
    folder: str
    files: dict[str, tuple[str, ...]]
    label_bytes: int
    names_file: str
    pickled_folder: str
    pickled: dict[str, tuple[str, ...]]
    labels_key: str
    pickled_names: tuple[str, str]


_CIFAR10 = _Layout(
    kind="cifar10",
    folder="cifar-10-batches-bin",
    files={"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
    label_bytes=1,
    names_file="batches.meta.txt",
    pickled_folder="cifar-10-batches-py",
    pickled={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    labels_key="labels",
    pickled_names=("batches.meta", "label_names"),
)

_CIFAR100 = _Layout(
    kind="cifar100",
    folder="cifar-100-binary",
    files={"train": ("train.bin",), "test": ("test.bin",)},
    label_bytes=2,
    names_file="fine_label_names.txt",
    pickled_folder="cifar-100-python",
    pickled={"train": ("train",), "test": ("test",)},
    labels_key="fine_labels",
    pickled_names=("meta", "fine_label_names"),
)

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Planes `[N, 3072]` and labels `[N]` of one file."""


def find_cifar10(directory: Path, split: str, limit: int | None) -> Found:
    """The images of CIFAR-10 in `directory`, its `cifar-10-batches-bin` or its `cifar-10-batches-py`.

    Raises:
        RefusedInput: a file is missing, is of another layout, or has a label beyond the names.
    """
    return _find(_CIFAR10, directory, split, limit)


def find_cifar100(directory: Path, split: str, limit: int | None) -> Found:
    """The images of CIFAR-100, with its 100 fine labels; folders are `cifar-100-binary` and `cifar-100-python`.

    Raises:
        RefusedInput: as of `find_cifar10`.
    """
    return _find(_CIFAR100, directory, split, limit)


def _find(layout: _Layout, directory: Path, split: str, limit: int | None) -> Found:
    files, read = layout.files[split], _read_records
    root = find_root(directory, files[0], layout.folder)
    if not (root / files[0]).exists():
        files, read = layout.pickled[split], _read_pickled
        root = find_root(directory, files[0], layout.pickled_folder)
        if not (root / files[0]).exists():
            raise RefusedInput(
                f"{directory}: {layout.files[split][0]} not found, nor {files[0]}, here or in {layout.folder} or "
                f"{layout.pickled_folder}; expected {layout.kind} as its authors or torchvision keep it"
            )
    parts = _read_parts(layout, root, files, read, limit)
    planes = np.concatenate([part[0] for part in parts])[:limit]
    labels = np.concatenate([part[1] for part in parts])[:limit]
    whose, classes = _find_names(layout, root)
    labels = check_range(labels, len(classes), str(root), whose)
    pictures = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Found(pictures, tuple(f"{split}/{i}" for i in range(len(pictures))), labels, classes)


def _read_parts(
    layout: _Layout, root: Path, files: tuple[str, ...], read: Callable[[_Layout, Path], Part], limit: int | None
) -> list[Part]:
    """The files in order, as many as `limit` images take."""
    parts: list[Part] = []
    for name in files:
        if limit is not None and sum(len(planes) for planes, _ in parts) >= limit:
            break
        if not (root / name).is_file():
            raise RefusedInput(f"{root / name}: not found; expected all files of {layout.kind} in one folder")
        parts.append(read(layout, root / name))
    return parts


def _read_records(layout: _Layout, file: Path) -> Part:
    data = np.fromfile(file, np.uint8)
    record = layout.label_bytes + PIXELS
    if not len(data) or len(data) % record:
        raise RefusedInput(f"{file}: {len(data)} bytes; expected a multiple of {record}, the size of a record")
    table = data.reshape(-1, record)
    return table[:, layout.label_bytes :], table[:, layout.label_bytes - 1].astype(np.int64)


def _read_pickled(layout: _Layout, file: Path) -> Part:
    found = read_pickle(file)
    data, labels = found.get("data"), found.get(layout.labels_key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != PIXELS:
        what = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise RefusedInput(f"{file}: data is {what}; expected uint8 [N, {PIXELS}]")
    numbers = np.asarray([] if labels is None else labels)
    if numbers.shape != data.shape[:1] or numbers.dtype.kind not in "iu" or not len(numbers):
        raise RefusedInput(
            f"{file}: {layout.labels_key} are {numbers.dtype} {list(numbers.shape)}; expected integers [{len(data)}], "
            "one for each image"
        )
    return data, numbers.astype(np.int64)


def _find_names(layout: _Layout, root: Path) -> tuple[str, tuple[str, ...]]:
    """The source of the names of the classes, and the names: of the file beside the images, or the official ones."""
    if (root / layout.names_file).is_file():
        return layout.names_file, read_names(root / layout.names_file)
    file, key = layout.pickled_names
    if not (root / file).is_file():
        return layout.kind, official_names(layout.kind)
    names = read_pickle(root / file).get(key)
    if not isinstance(names, list) or not names or not all(isinstance(name, str | bytes) for name in names):
        raise RefusedInput(f"{root / file}: no list of names {key}; expected {layout.kind} as torchvision keeps it")
    return file, tuple(name if isinstance(name, str) else name.decode("utf-8", "replace") for name in names)
