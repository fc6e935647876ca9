"""Reading `.nir` files that may come from anywhere.

`nir.read` follows links into other files, believes any declared size and checks by `assert`.  So the file is surveyed
first (`hdf5.survey`), and what was read is checked by `graph.from_nir`.
"""

from pathlib import Path

import h5py
import nir

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import Graph, from_nir
from neuromorphic.hdf5 import survey


def read_graph(path: str | Path, dt: float | None = None) -> Graph:
    """The validated graph in the file at `path`.

    Args:
        path: a `.nir` file.
        dt: seconds per time step, where the file doesn't say.

    Raises:
        RefusedInput: the file is missing, truncated, not NIR, reaches outside itself, declares too much, or its
            graph is refused by `from_nir`.
    """
    path = Path(path)
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file; expected a .nir graph")
    try:
        with h5py.File(path, "r") as file:
            survey(file, path)
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
    return from_nir(graph, path, dt)


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
