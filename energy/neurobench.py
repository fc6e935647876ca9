"""The counts in NeuroBench's metrics, under its names (github.com/NeuroBench/neurobench, version 2.3).

    footprint              bytes of weights, and of biases where a node has one other than 0: 4 for each
    connection_sparsity    share of zeros among the weights of convolutions and matrices, to 4 decimals
    activation_sparsity    1 - spikes / (neurons · steps · images), over all populations
    synaptic_operations    per image, of convolutions and matrices:
        Effective_ACs      spikes times the synapses that they arrive at
        Effective_MACs     the same of everything else: sums of spikes, and currents where they are not 0
        Dense              all synapses in every step

Neither a zero weight nor a tap on the padding is a synapse here.  Real inputs and membranes are taken to be never 0.
"""

from energy.counts import OperationCounts
from energy.record import Strict
from neuromorphic.ir.graph import Graph
from neuromorphic.ops import Affine, Conv2d, Weighted


class SynapticOperations(Strict):
    """NeuroBench's `synaptic_operations`, per image."""

    Effective_MACs: float
    Effective_ACs: float
    Dense: float


class NeuroBench(Strict):
    """NeuroBench's metrics."""

    footprint: int
    connection_sparsity: float
    activation_sparsity: float
    synaptic_operations: SynapticOperations


def neurobench(graph: Graph, counts: OperationCounts) -> NeuroBench:
    """The metrics of a run."""
    weighted = [n.operation for n in graph.nodes.values() if isinstance(n.operation, Weighted)]
    weights = [operation.weights for operation in weighted if isinstance(operation, Conv2d | Affine)]
    biases = sum(operation.bias_values.size for operation in weighted if operation.bias_values.any())
    held = sum(operation.weights.size for operation in weighted) + biases
    size = sum(w.size for w in weights)
    spikes = sum(population.spikes for population in counts.populations.values())
    updates = sum(population.updates for population in counts.populations.values())
    return NeuroBench(
        footprint=4 * held,
        connection_sparsity=round(sum(int((w == 0).sum()) for w in weights) / size, 4) if size else 0.0,
        activation_sparsity=(updates - spikes) / updates if updates else 0.0,
        synaptic_operations=SynapticOperations(
            Effective_MACs=counts.effective.macs / counts.images,
            Effective_ACs=counts.effective.acs / counts.images,
            Dense=counts.effective.dense / counts.images,
        ),
    )
