"""Reads `.nir` files, and netx files of lava-dl, from unknown sources.

`nir.read` follows links into other files, trusts any declared size and checks by `assert`.  So the file is checked
first (`ir.hdf5.survey`), and so is the graph that was read (`build.from_nir`).  A damaged file can crash or hang HDF5's
library; so that reads it in a copy of this process before (`rehearsal.rehearse`).
"""

import re
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from nir.serialization import hdf2dict

from neuromorphic.errors import RefusedInput, all_of, first_line, shown
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.hdf5 import survey
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.documents import check_kind, lenient, made_of, unmade, without_reset
from neuromorphic.reading.netx.file import read_layers
from neuromorphic.reading.netx.graph import from_layers
from neuromorphic.reading.provenance import Asked, Origin
from neuromorphic.reading.rehearsal import rehearse


def read_graph(path: str | Path, dt: float | None = None, asked: Asked | None = None) -> Graph:
    """The validated graph in the file at `path`; that of a netx file is in the integers of the chip.

    Args:
        path: a `.nir` file, or a netx file of lava-dl.
        dt: seconds per time step, where the file doesn't say.
        asked: dt, and other statements of the caller about what the file leaves open.

    Raises:
        RefusedInput: the file is missing, truncated, neither NIR nor netx, reaches outside itself, declares too much,
            or its graph is refused by `from_nir` or `from_layers`; or HDF5's library crashes or hangs on it.
    """
    path = Path(path)
    if path.is_dir():
        raise RefusedInput(f"{path}: is a folder; expected a .nir graph")
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file; expected a .nir graph")
    check_kind(path)
    rehearse(lambda: read_layers(path) or _stored(path), path)
    if layers := read_layers(path):
        return from_layers(layers, path, asked or Asked(dt=dt))
    graph, origin = read_with_origin(path)
    return from_nir(graph, path, dt, asked=asked, origin=origin)


def read_nir(path: Path) -> nir.NIRGraph:
    """The graph that `nir.read` would make of the file at `path`, without its type check, after the survey.

    Raises:
        RefusedInput: as of `read_with_origin`.
    """
    return read_with_origin(path)[0]


def read_with_origin(path: Path) -> tuple[nir.NIRGraph, Origin]:
    """The same, with the file's statements about where it comes from.

    Raises:
        RefusedInput: the file is truncated, not NIR, reaches outside itself or declares too much.
    """
    try:
        version, stored = _stored(path)
        document = lenient(stored, str(path))
        origin = Origin(version, without_reset(document))
        with np.errstate(all="ignore"):  # nir works out shapes before anyone has checked what from
            graph = _made(document, str(path))
    except RefusedInput:
        raise
    except Exception as error:  # for a damaged file, h5py and nir raise anything
        said = f"{type(error).__name__}: {first_line(str(error))}"
        raise RefusedInput(f"{path}: not a readable NIR graph ({said})") from error
    if not isinstance(graph, nir.NIRGraph):  # which nir writes and reads, too
        graph = nir.NIRGraph({type(graph).__name__.lower(): graph}, [], type_check=False)
    return graph, origin


def _stored(path: Path) -> tuple[str, dict[str, Any]]:
    """The version and the document in the file at `path`, after the survey: all that HDF5's library is needed for."""
    with h5py.File(path, "r") as file:
        survey(file, path)
        return _version(file, path), hdf2dict(file["node"])


def _version(file: h5py.File, path: Path) -> str:
    """The version that the file names; empty where it names none, which `nir.read` doesn't ask for."""
    if "node" not in file:
        raise RefusedInput(f"{path}: has no NIR node; expected a graph written by nir.write")
    version = file["version"][()] if "version" in file else b""
    text = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    numbered = re.match(r"v?(\d+)\.", text)
    if numbered and int(numbered[1]) > 1:
        raise RefusedInput(f"{path}: NIR version {shown(text)}; expected 0.x or 1.x")
    return text if numbered else ""


def _made(document: dict[str, Any], source: str) -> nir.NIRNode:
    """The graph that nir makes from a document; refused with a sentence for each node that it can't make."""
    try:
        return made_of(document)
    except Exception:
        if reasons := unmade(document, source):
            raise RefusedInput(all_of(reasons, source)) from None
        raise
