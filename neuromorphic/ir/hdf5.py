"""Checks HDF5 files from unknown sources before any of their arrays is read.

An HDF5 file can link into other files, store arrays in them, load code for filters, contain itself, and declare sizes
that no memory holds.
"""

from collections.abc import Collection, Iterator
from math import prod
from pathlib import Path

import h5py

from neuromorphic.errors import RefusedInput, shown

MAX_BYTES = 8 * 1024**3
"""Bytes that a file may declare in all; the base encoder's graph declares about 0.5 GiB, a trace of the small one on
10,000 images 1.8 GiB."""

MAX_DEPTH = 16
"""Levels of groups; a flat NIR graph has four, a trace two."""

FREE_BYTES = 64 * 1024**2
"""Bytes that a file may declare whatever it stores."""

MAX_RATIO = 1100
"""Further bytes that a file may declare for each byte that it stores; deflate shrinks zeros to a 1,032nd."""

NAME = 160
"""Characters of an object's name that a message quotes."""

MAX_OBJECTS = 50_000
"""Groups and datasets; a node has up to ten, the base encoder's graph 800 in all."""

MAX_TEXT = 64 * 1024**2
"""Bytes of text in all: the size of the file is no bound, since many strings can share one place in it."""

STRING = 64
"""Bytes that Python takes for an empty string in an array, about."""

FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
"""Filters that come with HDF5 and h5py, by HDF5's number; for any other one, HDF5 looks for a library to load."""


def survey(file: h5py.File, path: Path, ragged: Collection[str] = ()) -> None:
    """Refuse a file that reaches outside itself, loops, or is too large; reads no arrays but those of text.

    Args:
        file: opened for reading.
        path: named in messages.
        ragged: datasets, as `/spikes/times`, that may have rows of any length; their reader has to bound these.

    Raises:
        RefusedInput: anything but plain groups and datasets, stored in this file, of a bounded number and size.
    """
    size = stored = text = 0
    block = max(1, min(1024, MAX_TEXT // path.stat().st_size))
    for name, dataset in _datasets(file, path):
        where = f"{path}: {name}"
        _check_storage(dataset, where)
        size += _declared_bytes(dataset, where, ragged=name in ragged)
        if size > MAX_BYTES:
            raise RefusedInput(f"{where} brings the declared data to {size} bytes; expected at most {MAX_BYTES}")
        stored += dataset.id.get_storage_size()
        for length in _text_bytes(dataset, block):
            text += length
            if text > MAX_TEXT:
                raise RefusedInput(f"{where} brings the text to {text} bytes; expected at most {MAX_TEXT}")
    if size > FREE_BYTES + MAX_RATIO * stored:
        raise RefusedInput(
            f"{path}: declares {size} bytes and stores {stored}; expected at most {MAX_RATIO} times as many, which is "
            "what compression can do"
        )


def _datasets(file: h5py.File, path: Path) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every dataset with its name, shortened for messages; refuses all else that a file may hold."""
    # By HDF5's own calls, which don't open objects: h5py's take three times as long.
    waiting: list[tuple[str, h5py.h5g.GroupID, int]] = [("", file.id, 0)]
    seen = {h5py.h5o.get_info(file.id).addr}
    while waiting:
        prefix, group, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise RefusedInput(f"{path}: groups nested deeper than {MAX_DEPTH} at {prefix}; expected a flat graph")
        for key in group:
            text = key.decode(errors="surrogateescape")
            name = (
                f"{prefix}/{text}"
                if len(prefix) + len(text) < NAME
                else f"{prefix[: NAME // 2]}/...{text[-NAME // 2 :]}"
            )
            if group.links.get_info(key).type != h5py.h5l.TYPE_HARD:
                link = h5py.Group(group).get(text, getlink=True)
                raise RefusedInput(f"{path}: {name} is a {_link_kind(link)}; expected data in the file itself")
            item = h5py.h5o.get_info(group, key)
            if item.type not in (h5py.h5o.TYPE_GROUP, h5py.h5o.TYPE_DATASET):
                raise RefusedInput(f"{path}: {name} is a named type; expected groups and datasets only")
            if item.addr in seen:  # its place in the file, the same under all its names
                raise RefusedInput(f"{path}: {name} has another name too; expected groups and datasets with one each")
            seen.add(item.addr)
            if len(seen) > MAX_OBJECTS:
                raise RefusedInput(f"{path}: more than {MAX_OBJECTS} groups and datasets")
            if item.type == h5py.h5o.TYPE_GROUP:
                waiting.append((name, h5py.h5g.open(group, key), depth + 1))
            else:
                yield name, h5py.Dataset(h5py.h5d.open(group, key))


def _link_kind(link: object) -> str:
    if isinstance(link, h5py.ExternalLink):
        return f"link into another file ({shown(link.filename)})"
    return "soft link" if isinstance(link, h5py.SoftLink) else type(link).__name__


def _check_storage(dataset: h5py.Dataset, where: str) -> None:
    creation = dataset.id.get_create_plist()
    if creation.get_external_count() or creation.get_layout() == h5py.h5d.VIRTUAL:
        raise RefusedInput(f"{where} keeps its data in another file; expected data in the file itself")
    for i in range(creation.get_nfilters()):
        number = creation.get_filter(i)[0]
        if number not in FILTERS:
            known = ", ".join(FILTERS.values())
            raise RefusedInput(f"{where} went through filter {number}; expected one of {known}")


def _declared_bytes(dataset: h5py.Dataset, where: str, *, ragged: bool) -> int:
    """Bytes that are needed to read the dataset: all its elements, or one chunk where that is larger."""
    shape, dtype = dataset.shape, dataset.dtype
    if shape is None:
        raise RefusedInput(f"{where} is empty; expected data")
    row = h5py.check_vlen_dtype(dtype) if ragged else None
    if (row or dtype).kind not in "fiub" and h5py.check_string_dtype(dtype) is None:
        raise RefusedInput(f"{where} has the type {shown(dtype)}; expected numbers or text")
    return int(max(prod(shape), prod(dataset.chunks or ())) * dtype.itemsize)


def _text_bytes(dataset: h5py.Dataset, block: int) -> Iterator[int]:
    """Bytes of text of variable length, with Python's overhead for each string, some strings at a time."""
    kind = h5py.check_string_dtype(dataset.dtype)
    if kind is None or kind.length is not None:  # of fixed length: declared like numbers
        return
    if not dataset.shape:
        yield STRING + len(dataset[()])
        return
    rows = max(1, block // max(1, prod(dataset.shape[1:])))
    for start in range(0, len(dataset), rows):
        yield sum(STRING + len(text) for text in dataset[start : start + rows].flat)
