"""The SpikeCLIP image encoder: configuration, model, ANN twin, data, training and checkpoints.

`spikeclip.load(checkpoint)` needs PyTorch; configuration, images and label sets (`spikeclip.config`, `spikeclip.data`,
`spikeclip.labels`, `spikeclip.preprocess`) don't, so nothing here imports it before it is asked for.
"""

from typing import TYPE_CHECKING, Any

from spikeclip.config import SpikeClipConfig, preset
from spikeclip.errors import RefusedInput

if TYPE_CHECKING:
    from spikeclip.checkpoint import load

__all__ = ["RefusedInput", "SpikeClipConfig", "load", "preset"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from spikeclip.checkpoint import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
