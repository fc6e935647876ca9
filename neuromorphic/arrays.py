"""Reads arrays from numpy's files of unknown sources; files that are damaged or could run code are refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, first_line, shown

ZIP = b"PK"
"""First bytes of an `.npz`, which is a zip archive."""

BEGINNING = 24
"""Bytes of another file that a message quotes."""

MOST_CLASSES = 2**31
"""No data set has as many; beyond int64 a label would wrap."""


@contextmanager
def opened_npz(path: Path) -> Iterator[NpzFile]:
    """The arrays of an `.npz`, each read at its use.

    Raises:
        RefusedInput: it can't be read, is no zip archive, or is damaged; or an array holds Python objects, which would
            need a pickle.  A `RefusedInput` of the block is passed on.
    """
    with _refusing(path, ".npz file"), path.open("rb") as file:
        begin = file.read(BEGINNING)
        if not begin.startswith(ZIP):
            held = f"begins with {shown(begin)}" if begin else "is empty"
            raise RefusedInput(f"{path}: {held}; expected a zip archive of arrays, as numpy.savez writes it")
        file.seek(0)
        with np.load(file, allow_pickle=False) as found:
            yield found


def mapped_npy(path: Path) -> NDArray[Any]:
    """The array of a `.npy`, left on the disk and mapped into memory.

    Raises:
        RefusedInput: it can't be read, is damaged, or holds Python objects.
    """
    with _refusing(path, ".npy array"):
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")  # type: ignore[no-untyped-call]
    return array


def texts(array: NDArray[Any], what: str) -> tuple[str, ...]:
    """The strings of an array `[N]` of text, or of bytes in UTF-8.

    Args:
        array: of any type.
        what: it is, with its file, named in refusals.

    Raises:
        RefusedInput: it holds something else, or has other axes.
    """
    if array.ndim != 1 or array.dtype.kind not in "SU":
        raise RefusedInput(f"{what} are {array.dtype} {list(array.shape)}; expected strings [N]")
    try:
        found = array if array.dtype.kind == "U" else np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise RefusedInput(f"{what} are bytes that are no UTF-8 ({error})") from error
    return tuple(found.tolist())


def class_labels(
    labels: NDArray[Any], samples: int, names: tuple[str, ...], where: object, whose: str
) -> NDArray[np.int64]:
    """`labels` as int64 `[samples]`: indices of classes, from 0, and below the number of names if there are names.

    Args:
        labels: of any type; `[samples]` or `[samples, 1]`.
        samples: their number.
        names: of the classes, or none.
        where: the file, named in messages.
        whose: the source of the names, for messages.

    Raises:
        RefusedInput: they are not integers, not one for each sample, or one is no such index.
    """
    if labels.shape == (samples, 1):  # as Keras keeps them
        labels = labels[:, 0]
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        held = f"labels are {labels.dtype} {list(labels.shape)}"
        raise RefusedInput(f"{where}: {held}; expected integers [{samples}], one for each sample")
    wrong = np.flatnonzero((labels < 0) | (labels >= (len(names) or MOST_CLASSES)))
    if len(wrong):
        known = f"{whose} has {len(names)} names" if names else "expected the numbers of classes, from 0"
        raise RefusedInput(f"{where}: a label is {labels[wrong[0]]} (sample {wrong[0]}); {known}")
    return labels.astype(np.int64)


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    """Turn any exception of numpy, zipfile and zlib about a damaged file into a `RefusedInput`."""
    try:
        yield
    except RefusedInput:
        raise
    except Exception as error:
        said = first_line(str(error), type(error).__name__)
        if "Object arrays" in said or "Python objects" in said:
            raise RefusedInput(
                f"{path}: holds Python objects, which could run code; expected numbers or text"
            ) from error
        raise RefusedInput(f"{path}: not a readable {what} ({said})") from error
