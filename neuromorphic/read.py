"""Reading `.nir` files that may come from anywhere.

`nir.read` follows links into other files, believes any declared size and checks by `assert`.  So the file is surveyed
first, without reading a single array: only plain groups and datasets, stored in this file, of a bounded size.
"""

from pathlib import Path

import h5py
import nir

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import Graph, from_nir

MAX_BYTES = 8 * 1024**3
"""Bytes that a file may declare in all; the base encoder's graph declares about 0.5 GiB."""

MAX_DEPTH = 16
"""Levels of groups; a flat NIR graph has four."""

MAX_OBJECTS = 200_000
"""Groups and datasets; a node has up to ten."""


def read_graph(path: str | Path) -> Graph:
    """The validated graph in the file at `path`.

    Raises:
        RefusedInput: the file is missing, truncated, not NIR, reaches outside itself, declares more than `MAX_BYTES`,
            or its graph is refused by `from_nir`.
    """
    path = Path(path)
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file; expected a .nir graph")
    try:
        with h5py.File(path, "r") as file:
            _survey(file, path)
            _check_version(file, path)
        graph = nir.read(path, type_check=False)
    except RefusedInput:
        raise
    except Exception as error:  # nir raises whatever its nodes' constructors do: KeyError, AssertionError, ...
        raise RefusedInput(
            f"{path}: not a readable NIR graph ({type(error).__name__}: {_first_line(error)})"
        ) from error
    if not isinstance(graph, nir.NIRGraph):
        raise RefusedInput(f"{path}: holds a single {type(graph).__name__}; expected a graph with nodes and edges")
    return from_nir(graph, path)


def _survey(file: h5py.File, path: Path) -> None:
    """Refuse what reaches outside the file, loops, or is too large; reads no array."""
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


def _check_version(file: h5py.File, path: Path) -> None:
    if "version" not in file or "node" not in file:
        raise RefusedInput(f"{path}: has no NIR version or node; expected a graph written by nir.write")
    version = file["version"][()]
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    major, _, minor = text.partition(".")
    if not (major.isdigit() and minor) or int(major) > 1:
        raise RefusedInput(f"{path}: NIR version {text[:40]!r}; expected 0.x or 1.x")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"
