"""What a run of a graph costs: operations counted exactly, then priced by published figures.  No torch."""

from energy.assemble import assemble
from energy.counting import count
from energy.counts import AnnCounts, AnnLayer, LayerCounts, OperationCounts, PopulationCounts, SourceCounts
from energy.document import Document
from energy.prices import SHIPPED, Device, read_device, read_devices
from energy.provenance import provenance
from energy.streaming import count_running, count_stored

__all__ = [
    "SHIPPED",
    "AnnCounts",
    "AnnLayer",
    "Device",
    "Document",
    "LayerCounts",
    "OperationCounts",
    "PopulationCounts",
    "SourceCounts",
    "assemble",
    "count",
    "count_running",
    "count_stored",
    "provenance",
    "read_device",
    "read_devices",
]
