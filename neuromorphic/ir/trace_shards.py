"""A trace in shards: a file for each range of images, written by the process that ran it, and an index.

    run.h5                  the index: `shards/images`, int64 [n], and `shards/sha256`, uint8 [n, 32]
    run.h5.shards/00000.h5  a trace of the first `images[0]` images, and so on

The index is read as one trace.  The names of the files follow from the name of the index, so that an index can't lead
anywhere else; a file whose hash is another than the index says is refused.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np

from neuromorphic.errors import RefusedInput
from neuromorphic.files import in_memory, sha256_of

GROUP = "shards"


def folder_of(index: Path) -> Path:
    """The folder of the shards of an index."""
    return index.with_name(f"{index.name}.{GROUP}")


def file_of(index: Path, number: int) -> Path:
    """The file of a shard, counted from 0."""
    return folder_of(index) / f"{number:05d}.h5"


def write_index(index: Path, version: int, images: Sequence[int], hashes: Sequence[str]) -> None:
    """Write the index of shards: the number of images of each, and the hash of its file.

    Raises:
        RefusedInput: the system refuses.
    """
    with in_memory(index) as memory, h5py.File(memory, "w") as file:
        file.attrs["format_version"] = version
        file[f"{GROUP}/images"] = np.array(images, np.int64)
        file[f"{GROUP}/sha256"] = np.array([list(bytes.fromhex(each)) for each in hashes], np.uint8)


def parts_of(file: h5py.File, index: Path, images: slice) -> list[tuple[Path, slice]]:
    """The files of an open index that hold the asked images (one file at least), each with a slice of its own images.

    Raises:
        RefusedInput: the index is damaged, or a file is missing or has another hash.
    """
    sizes, digests = np.asarray(file[f"{GROUP}/images"]), np.asarray(file[f"{GROUP}/sha256"])
    if sizes.dtype != np.int64 or digests.dtype != np.uint8 or digests.shape != (len(sizes), 32) or not len(sizes):
        raise RefusedInput(f"{index}: an index of {sizes.shape} shards and {digests.shape} hashes; expected one each")
    if sizes.min() < 1:
        raise RefusedInput(f"{index}: a shard of {sizes.min()} images; expected one at least")
    ends = np.cumsum(sizes).tolist()
    asked = range(ends[-1])[images]
    found = []
    for number, (size, end) in enumerate(zip(sizes.tolist(), ends, strict=True)):
        own = _within(asked, end - size, end)
        if own.start < own.stop or (number == 0 and not asked):
            path = file_of(index, number)
            _check(path, digests[number].tobytes().hex(), index)
            found.append((path, own))
    return found


def _within(asked: range, begin: int, end: int) -> slice:
    """The asked images among those from `begin` to before `end`, counted from `begin`."""
    if asked.step < 1:
        raise ValueError(f"images in steps of {asked.step}; expected 1 or more")
    before = max(0, begin - asked.start)
    first = asked.start + -(-before // asked.step) * asked.step
    return slice(first - begin, max(first, min(asked.stop, end)) - begin, asked.step)


def _check(path: Path, expected: str, index: Path) -> None:
    try:
        state = path.stat()
        found = _sha256_once(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise RefusedInput(f"{index}: its shard {path} is not readable ({error.strerror})") from error
    if found != expected:
        raise RefusedInput(f"{path}: isn't the file that {index} was made of; expected sha256 {expected[:12]}...")


@lru_cache(maxsize=4096)
def _sha256_once(path: Path, changed: int, size: int) -> str:
    """The hash of a file of this time of change and size, computed once."""
    return sha256_of(path)
