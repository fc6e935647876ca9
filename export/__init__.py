"""From a checkpoint to a NIR graph that computes the same spikes, with the proof of it; torch loads at first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.convert import Prepared, prepare, to_nir, write
    from export.recording import Recording, record

__all__ = ["Prepared", "Recording", "prepare", "record", "to_nir", "write"]

_HOMES = {"Recording": "export.recording", "record": "export.recording"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "export.convert")), name)
