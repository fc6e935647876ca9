"""Reading `.nir` files that may come from anywhere.

`nir.read` follows links into other files, believes any declared size and checks by `assert`.  So the file is surveyed
first (`hdf5.survey`), and what was read is checked by `graph.from_nir`.  HDF5's library, which a damaged file can crash
or hang, reads it in a copy of this process before (`rehearsal.rehearse`).
"""

from pathlib import Path

import h5py
import nir
import numpy as np

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.graph import Graph, from_nir
from neuromorphic.hdf5 import survey
from neuromorphic.rehearsal import rehearse


def read_graph(path: str | Path) -> Graph:
    """The validated graph in the file at `path`.

    Raises:
        RefusedInput: the file is missing, truncated, not NIR, reaches outside itself, declares too much, or its
            graph is refused by `from_nir`; or HDF5's library crashes or hangs on it.
    """
    path = Path(path)
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file; expected a .nir graph")
    rehearse(lambda: _read(path), path)
    return from_nir(_read(path), path)


def _read(path: Path) -> nir.NIRGraph:
    """What `nir.read` makes of a file that passed the survey."""
    try:
        with h5py.File(path, "r") as file:
            survey(file, path)
            _check_version(file, path)
        with np.errstate(all="ignore"):  # nir works out shapes before anyone has checked what from
            graph = nir.read(path, type_check=False)
    except RefusedInput:
        raise
    except Exception as error:  # nir raises whatever its nodes' constructors do: KeyError, AssertionError, ...
        raise RefusedInput(
            f"{path}: not a readable NIR graph ({type(error).__name__}: {_first_line(error)})"
        ) from error
    if not isinstance(graph, nir.NIRGraph):
        raise RefusedInput(f"{path}: holds a single {type(graph).__name__}; expected a graph with nodes and edges")
    return graph


def _check_version(file: h5py.File, path: Path) -> None:
    if "version" not in file or "node" not in file:
        raise RefusedInput(f"{path}: has no NIR version or node; expected a graph written by nir.write")
    version = file["version"][()]
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    major, _, minor = text.partition(".")
    if not (major.isdigit() and minor) or int(major) > 1:
        raise RefusedInput(f"{path}: NIR version {shown(text)}; expected 0.x or 1.x")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"
