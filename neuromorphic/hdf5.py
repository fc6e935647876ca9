"""A survey of HDF5 files that may come from anywhere, before any array of theirs is read.

HDF5 can link into other files, keep arrays in them, contain itself, and declare sizes that no memory holds.
"""

from pathlib import Path

import h5py

from neuromorphic.errors import RefusedInput

MAX_BYTES = 8 * 1024**3
"""Bytes that a file may declare in all; the base encoder's graph declares about 0.5 GiB,
a trace of 10,000 images of the small one 1.8."""

MAX_DEPTH = 16
"""Levels of groups; a flat NIR graph has four, a trace two."""

MAX_OBJECTS = 200_000
"""Groups and datasets; a node has up to ten."""


def survey(file: h5py.File, path: Path) -> None:
    """Refuse what reaches outside the file, loops, or is too large; reads no array.

    Args:
        file: opened for reading.
        path: named in messages.

    Raises:
        RefusedInput: anything but plain groups and datasets, stored in this file, of a bounded number and size.
    """
    waiting: list[tuple[str, h5py.Group, int]] = [("", file, 0)]
    objects, size = 0, 0
    while waiting:
        prefix, group, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise RefusedInput(f"{path}: groups nested deeper than {MAX_DEPTH} at {prefix[:80]}; expected a flat graph")
        for key in group:
            name = f"{prefix}/{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise RefusedInput(f"{path}: {name} is a {_link_kind(link)}; expected data in the file itself")
            item = group[key]
            objects += 1
            if objects > MAX_OBJECTS:
                raise RefusedInput(f"{path}: more than {MAX_OBJECTS} groups and datasets")
            if isinstance(item, h5py.Group):
                waiting.append((name, item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                size += _declared_bytes(item, f"{path}: {name}")
                if size > MAX_BYTES:
                    raise RefusedInput(
                        f"{path}: {name} brings the declared data to {size} bytes; expected at most {MAX_BYTES}"
                    )
            else:
                raise RefusedInput(f"{path}: {name} is a {type(item).__name__}; expected groups and datasets only")


def _link_kind(link: object) -> str:
    if isinstance(link, h5py.ExternalLink):
        return f"link into another file ({link.filename})"
    return "soft link" if isinstance(link, h5py.SoftLink) else type(link).__name__


def _declared_bytes(dataset: h5py.Dataset, where: str) -> int:
    if dataset.external or dataset.is_virtual:
        raise RefusedInput(f"{where} keeps its data in another file; expected data in the file itself")
    if dataset.shape is None:
        raise RefusedInput(f"{where} is empty; expected data")
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    if not is_text and dataset.dtype.kind not in "fiub":
        raise RefusedInput(f"{where} has the type {dataset.dtype}; expected numbers or text")
    return int(dataset.size) * int(dataset.dtype.itemsize)
