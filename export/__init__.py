"""From a spiking network in PyTorch to a NIR graph or an ONNX model that computes the same spikes, and its proof.

Torch loads at first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.convert import Prepared, prepare, write
    from export.frontend.door import PreparedModule, to_nir
    from export.onnx.model import to_onnx
    from export.recording import Recording, record

__all__ = ["Prepared", "PreparedModule", "Recording", "prepare", "record", "to_nir", "to_onnx", "write"]

_HOMES = {
    "PreparedModule": "export.frontend.door",
    "Recording": "export.recording",
    "record": "export.recording",
    "to_nir": "export.frontend.door",
    "to_onnx": "export.onnx.model",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "export.convert")), name)
