"""The SpikeCLIP image encoder: configuration, model, ANN twin, data, training and checkpoints; and `run`, in one call.

`spikeclip.load(checkpoint)` needs PyTorch; `spikeclip.run(graph, frames)`, configuration, images and label sets
(`spikeclip.config`, `spikeclip.data`, `spikeclip.labels`, `spikeclip.preprocess`) don't.  What a name needs is loaded
at its first use.
"""

from typing import TYPE_CHECKING

from neuromorphic.lazy import loader
from spikeclip.errors import RefusedInput

if TYPE_CHECKING:
    from spikeclip.checkpoint import load
    from spikeclip.config import SpikeClipConfig, preset
    from spikeclip.one_call import run

__all__ = ["RefusedInput", "SpikeClipConfig", "load", "preset", "run"]

_HOMES = {"SpikeClipConfig": "config", "load": "checkpoint", "preset": "config", "run": "one_call"}

__getattr__ = loader(__name__, _HOMES)
