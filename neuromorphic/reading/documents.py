"""Prepares a file before NIR's nodes are made from it: adds what old writers left out, and names files of other kinds.

`nir.read` fails on missing parameters with any exception that its constructors raise.  Nothing here guesses a number:
what is added follows from the node's other parameters, or may be absent in NIR.
"""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neuromorphic.errors import RefusedInput, all_of, first_line, shown
from neuromorphic.ops import READERS
from neuromorphic.reading.formats import ARCHIVE, LFS, beginning

KNOWN = ", ".join(sorted(kind.__name__ for kind in (*READERS, nir.Flatten)))
"""The types of nodes that can be read, for messages."""

NEURONS = {
    "IF": ("r", "v_threshold", "v_reset"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    "LI": ("tau", "r", "v_leak"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
}
"""Parameters with one number per neuron, or one for all neurons, by type of node."""

BESIDES = frozenset({"type", "shape", "metadata"})
"""Keys of a node's document besides the parameters of its type."""

SIGNATURES = (
    (b"\x89HDF\r\n\x1a\n", ""),
    (LFS[0], f"{LFS[1]}; expected `git lfs pull` first"),
    (ARCHIVE[0], f"{ARCHIVE[1]}; expected a graph written by nir.write"),
    (b"\x80\x02", "a pickle; expected a graph written by nir.write"),
    (b"\x80\x04", "a pickle; expected a graph written by nir.write"),
    (b"\x93NUMPY", "a .npy array; expected a graph written by nir.write"),
    (b"", "no HDF5 file; expected a graph written by nir.write"),
)
"""First bytes of files, and a description for a message; the first match counts."""


def check_kind(path: Path) -> None:
    """Refuse a file that is not HDF5; the message says what it is.

    Raises:
        RefusedInput: it is not HDF5.
    """
    begin = beginning(path)
    said = next(words for signature, words in SIGNATURES if begin.startswith(signature))
    if said and begin:
        raise RefusedInput(f"{path}: is {said}")
    if not begin:
        raise RefusedInput(f"{path}: is empty; expected a graph written by nir.write")


def lenient(document: dict[str, Any], source: str) -> dict[str, Any]:
    """The document of a graph in the form that nir's constructors take, subgraphs included.

    Nir's type check is turned off: it refuses grouped kernels, and adds inputs and outputs where it infers shapes.

    Raises:
        RefusedInput: nodes were written in part; all of them are named.
    """
    reasons = []
    for name, node in _nodes(document):
        if "type" not in node:
            where = f"node {name!r}" if name else "the graph"
            reasons.append(f"{source}: {where} has no type: the file was written in part, or a name holds '/'")
        elif node["type"] == "NIRGraph":
            node["type_check"] = False
        elif node["type"] in ("Conv1d", "Conv2d"):
            node.setdefault("input_shape", None)
        elif keys := NEURONS.get(node["type"]):
            _broadcast(node, keys)
    if reasons:
        raise RefusedInput(all_of(reasons, source))
    return document


def unmade(document: dict[str, Any], source: str) -> list[str]:
    """A sentence for each node that nir's constructors can't make."""
    reasons = []
    for name, node in _nodes(document):
        if node["type"] == "NIRGraph":
            continue
        kind = vars(nir.ir).get(str(node["type"]))
        if not is_dataclass(kind):
            reasons.append(f"{source}: node {name!r} is of type {shown(node['type'])}; expected one of {KNOWN}")
            continue
        where = f"{source}: node {name!r} of type {shown(node['type'])}"
        try:
            made_of(node)
        except Exception as error:  # nir raises anything: KeyError, AssertionError, ...
            lacks = [f.name for f in fields(kind) if f.init and _required(f) and f.name not in node]
            strange = sorted(node.keys() - {f.name for f in fields(kind) if f.init} - BESIDES)
            if lacks:
                reasons.append(f"{where} lacks {', '.join(lacks)}")
            elif strange:
                reasons.append(
                    f"{where} has {', '.join(map(shown, strange))}, which NIR's {node['type']} does not have"
                )
            else:
                why = f"{type(error).__name__}: {first_line(str(error))}"
                reasons.append(f"{where} can't be made of what it holds ({why})")
    return reasons


def made_of(document: dict[str, Any]) -> nir.NIRNode:
    """The node that nir makes from a copy of a document: some of its constructors remove entries of their argument."""
    return nir.dict2NIRNode(_copied(document))


def _copied(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of the document, in which only the arrays are shared."""
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in document.items()}


def _required(parameter: "Field[Any]") -> bool:
    return parameter.default is MISSING and parameter.default_factory is MISSING


def _nodes(document: dict[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """A graph and all its nodes, also in subgraphs, with their names; those in a subgraph begin with its name."""
    yield name, document
    if document.get("type") == "NIRGraph":
        for inner, node in document.get("nodes", {}).items():
            yield from _nodes(node, f"{name}.{inner}" if name else inner)


def _broadcast(node: dict[str, Any], keys: tuple[str, ...]) -> None:
    """Broadcast single numbers to the shape of the node's arrays."""
    arrays = {key: np.asarray(node[key]) for key in keys if node.get(key) is not None}
    shapes = {array.shape for array in arrays.values() if array.size > 1}
    shapes = shapes or {max((array.shape for array in arrays.values()), key=len, default=())}
    if len(shapes) == 1 and all(array.dtype.kind in "fiub" for array in arrays.values()):
        shape = shapes.pop()
        node.update({k: np.full(shape, a.reshape(())) for k, a in arrays.items() if a.size == 1 and a.shape != shape})


def without_reset(document: dict[str, Any]) -> bool:
    """Whether a graph has spiking neurons without a v_reset."""
    if document.get("type") == "NIRGraph":
        return any(without_reset(node) for node in document.get("nodes", {}).values())
    return document.get("type") in ("IF", "LIF", "CubaLIF") and document.get("v_reset") is None
