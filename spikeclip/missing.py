"""Why an import failed, in one sentence: which extra has the package, or what stands in the place of ours."""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

EXTRAS = MappingProxyType(
    {
        "torch": "torch",
        "safetensors": "torch",
        "spikingjelly": "torch",
        "onnx": "onnx",
        "onnxruntime": "onnx",
        "transformers": "clip",
        "tokenizers": "clip",
        "matplotlib": "plot",
        "skimage": "data",
        "scipy": "data",
        "distributed": "cluster",
        "dask_jobqueue": "cluster",
    }
)
"""The extra of `pyproject.toml` that brings a package, by the name that it is imported by."""

OURS = ("spikeclip", "export", "neuromorphic", "energy")
"""The packages of this project, by the names that they are imported by."""


def why_missing(error: ImportError) -> str | None:
    """The sentence on an import that failed; None if it is a bug of ours."""
    package = (error.name or "").partition(".")[0]
    if package in OURS:
        return _shadowed(package)
    if package in EXTRAS and find_spec(package) is None:
        return f"{package} is not installed; expected pip install 'spikeclip[{EXTRAS[package]}]' before"
    return None


def _shadowed(package: str) -> str | None:
    """The sentence on a foreign module that is imported under the name of one of our packages; None if it is ours."""
    found = getattr(sys.modules.get(package), "__file__", None)
    ours = Path(__file__).parents[1]
    if found is None or Path(found).parents[1] == ours:
        return None
    return (
        f"{found} was imported as {package!r} in the place of spikeclip's own package of that name; expected it under "
        "another name, or Python started elsewhere"
    )
