"""Why Lava can't run a graph: cycles without a schedule; and what Lava's own processes, as on Loihi, lack."""

from collections.abc import Iterator
from typing import assert_never

import numpy as np

from neuromorphic.analysis.biases import biases
from neuromorphic.analysis.schedule import schedule
from neuromorphic.analysis.soft_resets import with_soft_resets
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.lava import MISSING, installed
from neuromorphic.ops import (
    Affine,
    Conv2d,
    CubaLif,
    Delay,
    Fixed,
    If,
    Lif,
    LoihiLif,
    Membranes,
    Neurons,
    Nonlinear,
    Scale,
    Sink,
    SoftIf,
    SoftLif,
    Source,
    Threshold,
)
from neuromorphic.ops.loihi import UNITY
from neuromorphic.ops.widths import ALIGNMENT, STATE_LIMIT, shift

LARGEST_CURRENT = 3 * STATE_LIMIT // 2**ALIGNMENT - 1
"""The largest synaptic input with which Lava's u, which wraps only once, stays within 24 bits, from u = 0."""


def largest_current(current_decay: int) -> int:
    """The largest synaptic input that Lava's u wraps correctly, whatever is left of u from the steps before."""
    left = STATE_LIMIT // 2**ALIGNMENT if current_decay < UNITY else 0
    return int(LARGEST_CURRENT - left)


def refusals(graph: Graph, *, stock: bool) -> list[str]:
    """All reasons why Lava can't run `graph`, one sentence each.

    Args:
        graph: of floats or integers.
        stock: whether Lava's own processes shall compute it.
    """
    graph = with_soft_resets(graph)
    found = [] if installed() else [MISSING]
    found += [reason for node in graph.nodes.values() for reason in _of_stock(graph, node)] if stock else []
    try:
        schedule(graph)
    except RefusedInput as error:
        found.append(str(error))
    return found


def _of_stock(graph: Graph, node: Node) -> Iterator[str]:
    """Reasons why Dense, Sparse, Conv and LIFReset can't compute a node."""
    where, biased = f"{graph.source}: node {node.name!r}", bool(biases(graph)[node.name].any())
    if node.spiking and not node.of(Neurons).rests_after_spike:
        yield f"{where} subtracts with its spikes; Lava's own neurons are set to 0, expected fused models"
    match node.operation:
        case Membranes():
            yield f"{where} sends its membranes; no process of Lava's does, expected fused models"
        case Lif() | If() | CubaLif() as neurons:
            if biased and neurons.filters_current:
                yield f"{where} filters a bias; Lava's neurons add theirs behind the filter, expected none"
            # The threshold is divided by the gain.
            least = min(float(values.min()) for key, values in vars(neurons).items() if key in ("gain", "weight"))
            if least <= 0:
                yield f"{where} has a gain or weight of {least:g}; expected more than 0"
        case LoihiLif(drive=drive, decay=decay, current_decay=current_decay):
            if np.ptp(decay) or np.ptp(current_decay):
                yield f"{where} has several decays; a process of Lava's neurons has one, expected fused models"
            if biased:
                yield f"{where} reads a bias; in integers Lava's neurons take their own only"
            if shift(drive.astype(np.float32)) is None:
                yield f"{where} has a drive that is no 8-bit integers times one power of two"
        case Conv2d(beyond=beyond) as conv:
            if graph.precision == "loihi2" and shift(conv.weight, conv.largest_exponent) is None:
                yield f"{where} has weights that are no 8-bit integers nor all twice such; Lava's Conv takes no others"
            if any(beyond):
                yield f"{where} pads more below or to the right; Lava's Conv pads both sides alike"
        case Affine() | Scale() as synapses:
            if graph.precision == "loihi2" and shift(synapses.weights) is None:
                process = "Dense" if isinstance(synapses, Affine) else "Sparse"
                yield (
                    f"{where} has weights that are not 8-bit integers times one power of two; Lava's {process} takes "
                    "no others"
                )
        case Threshold() | SoftLif() | SoftIf() | Source() | Sink() | Delay() | Fixed() | Nonlinear():
            pass
        case unknown:
            assert_never(unknown)
