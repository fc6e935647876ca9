"""What stands beside the nodes: time, images, labels, grids, certificate and origin, as one JSON string.

NIR's own metadata survives HDF5 only for simple values (None, lists of dictionaries and string lists don't), so the
graph carries one string under the key `spikeclip`.
"""

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from export.certificate import Certificate
from export.populations import DT
from export.snap import Grid
from spikeclip.checkpoint import Checkpoint
from spikeclip.twin import twin_table

KEY = "spikeclip"
FORMAT = "spikeclip-nir"
FORMAT_VERSION = 1
LIBRARIES = ("torch", "spikingjelly", "nir", "numpy")


def of(
    checkpoint: Checkpoint, input_bits: int, grids: dict[str, Grid], certificate: Certificate, tokens: int
) -> dict[str, str]:
    """The metadata of a graph: `{"spikeclip": JSON}`.

    Args:
        checkpoint: what the graph was made of.
        input_bits: frames are rounded to multiples of 2^-input_bits.
        grids: of every layer with weights.
        certificate: of every node.
        tokens: positions that the readout sums over; its weight is divided by that number.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dt": DT,
        "time_steps": checkpoint.config.time_steps,
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "input_bits": input_bits,
        "label_names": list(checkpoint.label_names),
        "readout": {"node": "readout", "tokens": tokens, "scores": "mean over time steps"},
        "grids": {name: asdict(grid) for name, grid in grids.items()},
        "certificate": certificate.to_dict(),
        "twin": twin_table(checkpoint.config, outputs=len(checkpoint.label_names)),
        "producer": {"name": "spikeclip-export", "version": _version("spikeclip")},
        "versions": {name: _version(name) for name in LIBRARIES},
        "checkpoint": {"sha256": _sha256(checkpoint), "config": checkpoint.config.to_dict(), "card": checkpoint.card},
        "extensions": [],
    }
    return {KEY: json.dumps(document, allow_nan=False)}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None  # run from a source tree that isn't installed


def _sha256(checkpoint: Checkpoint) -> str | None:
    if checkpoint.path is None:
        return None
    with checkpoint.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
