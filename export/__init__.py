"""From a checkpoint to a NIR graph or an ONNX model that computes the same spikes, with the proof of it.

Torch loads at first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.convert import Prepared, prepare, to_nir, write
    from export.onnx.model import to_onnx
    from export.recording import Recording, record

__all__ = ["Prepared", "Recording", "prepare", "record", "to_nir", "to_onnx", "write"]

_HOMES = {"Recording": "export.recording", "record": "export.recording", "to_onnx": "export.onnx.model"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "export.convert")), name)
