"""What a run of a graph costs in operations, counted exactly: synaptic operations, MACs, neuron updates.  No torch."""

from energy.counting import count
from energy.counts import AnnCounts, LayerCounts, OperationCounts, PopulationCounts, SourceCounts

__all__ = ["AnnCounts", "LayerCounts", "OperationCounts", "PopulationCounts", "SourceCounts", "count"]
