"""Recognises files that are no frames by their first bytes, for messages."""

from pathlib import Path

from neuromorphic.errors import RefusedInput

LFS = (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for")
ARCHIVE = (b"PK\x03\x04", "a zip archive, as torch.save writes it")
"""First bytes of a zip archive, as which an `.npz` begins, too; and a description."""

FORMATS = (
    (b"#!AER-DAT4", "AEDAT 4, which inivation's DV writes"),
    (b"% ", "a recording of Prophesee's (RAW or DAT)"),
    (b"MATLAB 5.0", "MATLAB's"),
    (b"\x80", "a pickle, which could run code"),
    (LFS[0], f"{LFS[1]} (`git lfs pull`)"),
)
"""First bytes of files, and a description."""

READ = "frames in .npy or .npz, NIR's data format (nir.write_data), or events, as columns x, y, t and p in .npz"
"""The formats that can be read, for messages."""

SUFFIXES = (".npy", ".npz", ".bin", ".txt", ".aedat")
"""Endings of files that have readers of their own; HDF5 files have any ending."""


def beginning(path: Path) -> bytes:
    """The first 64 bytes of a file, or as many as it has.

    Raises:
        RefusedInput: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise RefusedInput(f"{path}: can't be read ({error.strerror})") from error


def check_format(path: Path) -> None:
    """Refuse a file of a format that can't be read; the message names the format if it is known.

    Raises:
        RefusedInput: it has such a format.
    """
    if not path.is_file() or path.suffix.lower() == ".aedat":  # whose versions the reader of events knows
        return
    begin = beginning(path)
    known = next((words for signature, words in FORMATS if begin.startswith(signature)), None)
    signature, words = ARCHIVE
    if begin.startswith(signature) and path.suffix.lower() != ".npz":
        known = words
    if known is None and path.suffix.lower() not in SUFFIXES and not begin.startswith((b"\x93NUMPY", b"\x89HDF")):
        known = "of no format that is read"
    if known is not None:
        raise RefusedInput(f"{path}: is {known}; expected {READ}")
