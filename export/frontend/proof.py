"""The proof of a lowered graph: the coarsest rung that every node stands on.

1. 24 bits: everything in float32.
2. 53 bits: everything in float64.
3. 53 bits with decays snapped to the nearest p / 2^a: a as large as T steps leave room for, 6 at least.
Where no rung holds for every node, decays stay as they are, the graph is snapped for 53 bits, and the certificate names
the nodes.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import nir
import numpy as np

from export.frontend.context import Context
from export.frontend.lowering import Lowering, lower
from export.frontend.neurons.equations import Neurons
from export.frontend.nodes import Population
from export.frontend.output import add_output
from export.frontend.populations import decay_of, seconds
from export.frontend.signals import Signal
from export.populations import DT
from export.snap import Grid, snap, write_weights
from neuromorphic.analysis.partial_sums import partial_sums
from neuromorphic.analysis.rounding import DOUBLE, SINGLE, Certificate, certify
from neuromorphic.ops import CubaLif, Li, Lif, Sums
from neuromorphic.ops.charging import COARSE_DECAY
from neuromorphic.ops.dyadic import fraction_bits
from neuromorphic.reading.build import from_nir
from spikeclip.errors import RefusedInput

LEAST_DECAY_BITS = 6
"""Decays are not snapped to multiples coarser than 2^-6: that would be another neuron."""

SOURCE = "the module"
"""The graph's name in messages."""

WEIGHT_BITS = 10
"""Fraction bits that snapped decays leave to weights."""


@dataclass(frozen=True)
class Proven:
    """A graph with snapped numbers, and what was proven of it."""

    lowering: Lowering
    graph: nir.NIRGraph
    grids: dict[str, Grid]
    certificate: Certificate


def prove(context: Context, result: Signal, frames: Sums) -> Proven:
    """Lower, snap and certify; decays are snapped where that makes every node exact.

    Args:
        context: the nodes; decays of theirs may be changed.
        result: what the module returns.
        frames: range of the input.
    """
    steps = context.time_steps
    lowering = lower(context, result)
    add_output(lowering, result)
    single = _snapped(lowering, frames, steps, SINGLE, {})
    if single.certificate.exact:
        return single
    del single
    best = _snapped(lowering, frames, steps, DOUBLE, {})
    odd = _odd_decays(context, lowering)
    if best.certificate.exact or not odd:
        return best
    originals = {index: context.nodes[index] for index in odd}
    for bits in range(_decay_bits(lowering, frames, steps), LEAST_DECAY_BITS - 1, -1):
        for index, node in originals.items():
            assert isinstance(node.operation, Population)
            neurons = _snapped_decay(node.operation.neurons, bits)
            context.nodes[index] = replace(node, operation=replace(node.operation, neurons=neurons))
        lowering = lower(context, result)
        add_output(lowering, result)
        found = _snapped(lowering, frames, steps, DOUBLE, dict.fromkeys(_neuron_names(lowering, odd), bits))
        if found.certificate.exact:
            return found
    for index, node in originals.items():
        context.nodes[index] = node
    return best


def _snapped(lowering: Lowering, frames: Sums, steps: int, limit: int, decays: Mapping[str, int]) -> Proven:
    # Nodes get other arrays, which themselves stay as they are: at 224x224 pixels they are gigabytes.
    nodes = {name: copy.copy(node) for name, node in lowering.nodes.items()}
    try:
        graph = nir.NIRGraph(nodes, list(lowering.edges))
    except ValueError as error:  # its check of shapes takes every kernel for a square
        raise RefusedInput(
            f"NIR has no such graph: {error}; expected kernels that are square, since it infers shapes by their height"
        ) from error
    snapped, grids = snap(from_nir(graph, SOURCE, DT), frames, steps, limit)
    write_weights(snapped, graph)
    certificate = certify(snapped, frames, steps, limit, lowering.obstacles, decays)
    return Proven(replace(lowering, nodes=graph.nodes), graph, grids, certificate)


def _odd_decays(context: Context, lowering: Lowering) -> list[int]:
    """Indices of the populations with a decay that is no multiple of 2^-10."""
    found = []
    for index in lowering.used:
        operation = context.nodes[index].operation
        if isinstance(operation, Population) and any(
            fraction_bits(np.array(rate)) > COARSE_DECAY for rate in _rates(operation.neurons)
        ):
            found.append(index)
    return found


def _rates(neurons: Neurons) -> tuple[float, ...]:
    return (neurons.decay,) if neurons.synapse is None else (neurons.decay, 1 - neurons.synapse)


def _decay_bits(lowering: Lowering, frames: Sums, steps: int) -> int:
    """The largest a with `log2 B + 10 + a T <= 53` for the largest current B; at most 10."""
    graph = from_nir(nir.NIRGraph(lowering.nodes, lowering.edges), SOURCE, DT)
    reads, _ = partial_sums(graph, frames, steps)
    leaky = (name for name, node in graph.nodes.items() if isinstance(node.operation, Lif | Li | CubaLif))
    bound = max(reads[name].bound for name in leaky)
    room = DOUBLE - WEIGHT_BITS - int(np.ceil(np.log2(max(bound, 1.0))))
    return min(COARSE_DECAY, room // steps)


def _snapped_decay(neurons: Neurons, bits: int) -> Neurons:
    """The same neurons with decays on multiples of 2^-bits, none of them 0."""

    def near(rate: float) -> float:
        """The nearest p / 2^bits above 0 that readers of the file get back from its tau."""
        middle = int(np.round(np.ldexp(rate, bits)))
        steps = range(max(1, middle - 8), min(2**bits, middle + 8) + 1)
        fit = [p / 2.0**bits for p in steps if decay_of(seconds(p / 2.0**bits)) == p / 2.0**bits]
        return min(fit, key=lambda p: abs(p - rate))

    decay = near(neurons.decay) if neurons.decay else 0.0
    gain = decay if neurons.gain == neurons.decay else neurons.gain
    synapse = None if neurons.synapse is None else 1 - near(1 - neurons.synapse)
    return replace(neurons, decay=decay, gain=gain, synapse=synapse)


def _neuron_names(lowering: Lowering, indices: list[int]) -> list[str]:
    """Names of the nodes that hold these populations' decays."""
    names = [lowering.names[index] for index in indices]
    return [f"{name}.membrane" if f"{name}.membrane" in lowering.nodes else name for name in names]
