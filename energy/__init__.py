"""What a run of a graph costs: operations counted exactly, then priced by published figures.  No torch."""

from energy.ann import dense_baseline
from energy.assemble import assemble
from energy.bit_matched import bit_matched
from energy.counting import count
from energy.counts import AnnCounts, AnnLayer, LayerCounts, OperationCounts, PopulationCounts, SourceCounts
from energy.document import Accuracy, Document
from energy.inputs import with_input_kind
from energy.outputs import Outputs
from energy.prices import SHIPPED, Device, read_device, read_devices
from energy.provenance import provenance
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
