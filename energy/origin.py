"""The origin of the figures: hashes of model and data, versions, seed and command."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from energy.document import Data, Provenance
from neuromorphic.cluster.versions import installed
from neuromorphic.files import sha256_of
from neuromorphic.ir.graph import Graph

LIBRARIES = ("spikeclip", "numpy", "scipy", "nir", "h5py")


def provenance(graph: Graph, data: Data | None = None, command: list[str] | None = None) -> Provenance:
    """The provenance of a report on `graph`: its file, the data and the command, where these are known."""
    model = Path(graph.source)
    checkpoint = _mapping(graph.metadata.document.get("checkpoint"))
    exported = {f"export: {name}": str(v) for name, v in _mapping(graph.metadata.document.get("versions")).items()}
    sha256, seed = checkpoint.get("sha256"), checkpoint.get("seed")
    return Provenance(
        model_sha256=sha256_of(model) if model.is_file() else None,
        checkpoint_sha256=sha256 if isinstance(sha256, str) else None,
        data=data,
        seed=seed if isinstance(seed, int) else None,
        versions={"python": platform.python_version(), **installed(LIBRARIES), **exported},
        command=command,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
