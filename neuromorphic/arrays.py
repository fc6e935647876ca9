"""Arrays in numpy's files from anywhere: what is damaged or could run code is refused by name."""

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


@contextmanager
def opened_npz(path: Path) -> Iterator[NpzFile]:
    """The arrays of an `.npz`, each read when it is asked for.

    Raises:
        RefusedInput: it can't be read, is no zip archive, or is damaged; or an array holds Python objects, which only a
            pickle holds.  What is refused inside is passed on.
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


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    """Whatever numpy, zipfile and zlib raise at a damaged file, as one refusal."""
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
