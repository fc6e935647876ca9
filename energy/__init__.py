"""The costs of a run: operations counted exactly, then priced by published figures.  No torch.

What a name needs is loaded at its first use.
"""

from typing import TYPE_CHECKING

from neuromorphic.lazy import loader

if TYPE_CHECKING:
    from energy.ann import dense_baseline
    from energy.assembly import assemble
    from energy.bit_matching import bit_matched
    from energy.counting import count
    from energy.counts import AnnCounts, AnnLayer, LayerCounts, OperationCounts, PopulationCounts, SourceCounts
    from energy.document import Accuracy, Document
    from energy.inputs import with_input_kind
    from energy.origin import provenance
    from energy.outputs import Outputs
    from energy.prices import Device, read_device, read_devices
    from energy.shipped import SHIPPED
    from energy.streaming import count_running, count_stored

__all__ = [
    "SHIPPED",
    "Accuracy",
    "AnnCounts",
    "AnnLayer",
    "Device",
    "Document",
    "LayerCounts",
    "OperationCounts",
    "Outputs",
    "PopulationCounts",
    "SourceCounts",
    "assemble",
    "bit_matched",
    "count",
    "count_running",
    "count_stored",
    "dense_baseline",
    "provenance",
    "read_device",
    "read_devices",
    "with_input_kind",
]

_HOMES = {
    "SHIPPED": "shipped",
    "Accuracy": "document",
    "AnnCounts": "counts",
    "AnnLayer": "counts",
    "Device": "prices",
    "Document": "document",
    "LayerCounts": "counts",
    "OperationCounts": "counts",
    "Outputs": "outputs",
    "PopulationCounts": "counts",
    "SourceCounts": "counts",
    "assemble": "assembly",
    "bit_matched": "bit_matching",
    "count": "counting",
    "count_running": "streaming",
    "count_stored": "streaming",
    "dense_baseline": "ann",
    "provenance": "origin",
    "read_device": "prices",
    "read_devices": "prices",
    "with_input_kind": "inputs",
}

__getattr__ = loader(__name__, _HOMES)
