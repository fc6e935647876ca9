"""From a spiking network in PyTorch to a NIR graph or an ONNX model that computes the same spikes, and its proof.

Torch loads at first use.
"""

from typing import TYPE_CHECKING

from neuromorphic.lazy import loader

if TYPE_CHECKING:
    from export.convert import Prepared, prepare, write
    from export.frontend.door import PreparedModule, to_nir
    from export.onnx.model import to_onnx
    from export.recording import Recording, record

__all__ = ["Prepared", "PreparedModule", "Recording", "prepare", "record", "to_nir", "to_onnx", "write"]

_HOMES = {
    "Prepared": "convert",
    "PreparedModule": "frontend.door",
    "Recording": "recording",
    "prepare": "convert",
    "record": "recording",
    "to_nir": "frontend.door",
    "to_onnx": "onnx.model",
    "write": "convert",
}

__getattr__ = loader(__name__, _HOMES)
