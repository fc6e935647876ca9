"""The SpikeCLIP image encoder: configuration, model, ANN twin, data, training and checkpoints; and `run`, in one call.

`spikeclip.load(checkpoint)` needs PyTorch; `spikeclip.run(graph, frames)`, configuration, images and label sets
(`spikeclip.config`, `spikeclip.data`, `spikeclip.labels`, `spikeclip.preprocess`) don't.  What a name needs is loaded
at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spikeclip.errors import RefusedInput

if TYPE_CHECKING:
    from spikeclip.checkpoint import load
    from spikeclip.config import SpikeClipConfig, preset
    from spikeclip.one_call import run

__all__ = ["RefusedInput", "SpikeClipConfig", "load", "preset", "run"]

_ROOMS = {"SpikeClipConfig": "config", "load": "checkpoint", "preset": "config", "run": "one_call"}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"spikeclip.{_ROOMS[name]}"), name)
