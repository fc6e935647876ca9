"""Metadata, beside the nodes: time, images, labels, grids, certificate and origin, as one JSON string.

NIR's own metadata survives HDF5 only for simple values (None, lists of dictionaries and string lists don't), so the
graph carries one string under the key `spikeclip`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import nir

from export.populations import DT
from export.snap import Grid
from neuromorphic.analysis.rounding import Certificate
from neuromorphic.cluster.versions import installed
from neuromorphic.files import sha256_of
from neuromorphic.ir.metadata import FORMAT_VERSION, KEY, Readout
from neuromorphic.ops.extensions import EXTENSIONS
from spikeclip.checkpoint import Checkpoint
from spikeclip.twin import twin_table
from spikeclip.twin_checkpoint import TwinCheckpoint

FORMAT = "spikeclip-nir"
SCORES = "sum of time_weights[t] * output[t] over time steps t, plus bias if there is one, in float64"
LIBRARIES = ("torch", "spikingjelly", "nir", "numpy")


def extensions(graph: nir.NIRGraph) -> tuple[str, ...]:
    """Types of extension nodes in `graph`, in alphabetical order; readers that don't know them can't run it."""
    return tuple(sorted({type(node).__name__ for node in graph.nodes.values() if isinstance(node, EXTENSIONS)}))


def of(
    checkpoint: Checkpoint,
    input_bits: int,
    grids: dict[str, Grid],
    certificate: Certificate,
    tokens: int,
    readout: Readout,
    extensions: tuple[str, ...],
    expanded: tuple[str, ...],
    groups: Mapping[str, int],
) -> dict[str, str]:
    """The metadata of a graph: `{"spikeclip": JSON}`.

    Args:
        checkpoint: what the graph was made of.
        input_bits: frames are rounded to multiples of 2^-input_bits.
        grids: of every layer with weights.
        certificate: of every node.
        tokens: positions that the graph sums over; its readout's weight is divided by that number.
        readout: what the host does with the outputs.
        extensions: types of the extension nodes in it.
        expanded: names of attention nodes that stand there as standard nodes, named below them.
        groups: of the convolutions whose kernels are block-diagonal, by node.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dt": DT,
        "time_steps": checkpoint.config.time_steps,
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "input_bits": input_bits,
        "label_names": list(checkpoint.label_names),
        "readout": {"node": "readout", **stated(readout, tokens=tokens)},
        "grids": {name: asdict(grid) for name, grid in grids.items()},
        "certificate": certificate.to_dict(),
        "twin": twin_table(checkpoint.config, outputs=checkpoint.model.readout.out_features),
        **origin(checkpoint),
        "extensions": list(extensions),
        "expanded": list(expanded),
        "groups": {name: count for name, count in groups.items() if count > 1},
    }
    return {KEY: json.dumps(document, allow_nan=False)}


def stated(readout: Readout, **more: int) -> dict[str, Any]:
    """The host's part of a readout, in words and numbers; `more` stands between the two."""
    numbers = {"time_weights": readout.time_weights.tolist(), "bias": readout.bias.tolist()}
    return {"scores": SCORES, **more, **numbers}


def origin(checkpoint: Checkpoint | TwinCheckpoint, *libraries: str) -> dict[str, Any]:
    """The origin of a file: `producer`, `versions` and `checkpoint` of its metadata.

    Args:
        checkpoint: what it was made of.
        libraries: distributions that took part besides `LIBRARIES`.
    """
    return {
        "producer": producer(),
        "versions": versions(*LIBRARIES, *libraries),
        "checkpoint": {
            "sha256": None if checkpoint.path is None else sha256_of(checkpoint.path),
            "config": checkpoint.config.to_dict(),
            "card": checkpoint.card,
        },
    }


def producer() -> dict[str, str | None]:
    """The program that wrote a file."""
    return {"name": "spikeclip-export", "version": installed(["spikeclip"]).get("spikeclip")}


def versions(*libraries: str) -> dict[str, str | None]:
    """The versions of distributions; None for those that aren't installed."""
    return dict.fromkeys(libraries) | installed(libraries)
