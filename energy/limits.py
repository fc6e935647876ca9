"""The limits of a report: everything that it leaves out, and says so."""

from collections.abc import Sequence

from energy.counts import OperationCounts
from energy.document import NotCounted
from energy.prices import Device
from neuromorphic.ir.graph import Graph
from neuromorphic.ops import Delay

LOIHI_2 = (
    "No energy per operation has been published for Loihi 2: the report has no prices for it, and none are derived "
    "from other chips."
)
RULE = (
    "What is spike-driven is declared, never guessed from values: a layer that reads a population, pools of its "
    "spikes, or an input of spikes or counts adds them up one by one (SOPs); every other layer counts MACs, one that "
    "reads membranes too."
)
DENSE = (
    "The ANN is the graph's own layers, each evaluated once per image on real values: nobody trained it, and whether "
    "it would be as accurate is not known."
)
MATCHED = (
    "Activations of the ANN in ceil(log2(T + 1)) bits are as many values as a neuron's spikes in T steps can tell "
    "(arXiv 2409.08290); the price of a product is taken to be proportional to the bits of this operand."
)


ALWAYS = (
    NotCounted(
        what="control, clocks, leakage, idle power",
        side="both",
        why="depend on the machine; an energy of operations and memory alone is less than that of any real one",
    ),
    NotCounted(
        what="routing of spikes, scheduling of events, queues",
        side="snn",
        why="depend on hardware and placement; a spike's address is written and read, its way isn't counted",
    ),
    NotCounted(
        what="hops of spikes between tiles of a chip",
        side="snn",
        why="depend on the placement; on Loihi 1 3.0 to 4.0 pJ each",
    ),
    NotCounted(
        what="decoding and normalising images, the host's weighted sum over time steps, the arg max",
        side="both",
        why="the same work on both sides, or a few operations per image",
    ),
    NotCounted(
        what="label embeddings of the text encoder",
        side="both",
        why="computed once per label set and folded into the readout",
    ),
    NotCounted(what="training", side="both", why="the report is of inference"),
)
"""Missing in every report."""


def not_counted(graph: Graph, counts: OperationCounts) -> list[NotCounted]:
    """Everything that no count of this run holds, and whom that favours."""
    found = list(ALWAYS)
    if any(isinstance(node.operation, Delay) for node in graph.nodes.values()):
        found.append(
            NotCounted(
                what="the order in which a Delay keeps spikes: a slot per step, or a time stamp",
                side="snn",
                why="depends on the machine; a spike that waits is written and read once, as any other; waiting itself "
                "is no operation",
            )
        )
    if counts.sops_under_way:
        found.append(
            NotCounted(
                what=f"{counts.sops_under_way:,} SOPs of spikes that are under way when their image ends",
                side="snn",
                why="no step of the image sums them, so that they change nothing; a machine without a gate between "
                "images computes them",
            )
        )
    if counts.ann is not None:
        found.append(
            NotCounted(
                what="softmax, LayerNorm, activations, residual additions and max-pooling of the ANN twin",
                side="ann",
                why="no MACs; leaving them out favours the twin",
            )
        )
        if not counts.ann.shaped:
            found.append(
                NotCounted(
                    what="biases and memory of the ANN twin",
                    side="ann",
                    why="the file's table of the twin gives no shapes: only the account without them is compared",
                )
            )
    return found


def notes(counts: OperationCounts, devices: Sequence[Device], ann_devices: Sequence[Device] = ()) -> list[str]:
    """Remarks without which the figures would be misread."""
    found = [RULE, LOIHI_2]
    if any(device.chip for device in devices):
        found.append(
            "A chip's figures are of a whole chip: they are not compared with a twin on bare operations of another "
            "process node."
        )
    if counts.attention.dense:
        found.append(
            "Totals take the additions of self-attention where spikes coincide; the other two conventions stand beside."
        )
    if counts.ann is not None and counts.ann.baseline == "dense":
        found.append(DENSE)
    if ann_devices:
        found.append(MATCHED)
    if not any(population.spikes for population in counts.populations.values()):
        found.append("No neuron fired in this run.")
    if counts.images == 1:
        found.append("One image: there is no interval, and no verdict but undecided.")
    return found
