"""Which nodes of a graph float32 computes exactly, and which need float64."""

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.facts import fact
from neuromorphic.analysis.frame_sums import frame_sums
from neuromorphic.analysis.intervals import fractions, graded_intervals
from neuromorphic.analysis.rounding import SINGLE, Certificate, proven, proven_in_doubles, readout_nodes
from neuromorphic.ir.graph import Graph
from neuromorphic.ops import Sink, Source


@fact
def doubles(graph: Graph) -> frozenset[str]:
    """Names of the nodes that have to compute in float64.

    In a graph of floats these are the nodes of a readout, whose sums are proven exact in float64 only; or all nodes, if
    any other node is not proven exact in float32 (`rounding`).  In a graph of integers, they are the nodes whose sums
    may need more than 24 bits.
    """
    if graph.precision == "loihi2":
        return _wide(graph)
    proof = proven(graph)
    if proof is None or not proof.exact or proof.limit != SINGLE:
        return _computing(graph)
    return readout_nodes(graph) & _computing(graph)


def _computing(graph: Graph) -> frozenset[str]:
    return frozenset(n.name for n in graph.nodes.values() if not isinstance(n.operation, Source | Sink))


def _wide(graph: Graph) -> frozenset[str]:
    """Names of the nodes that read or send a sum of integers that may reach 2^24, and of those that send fractions.

    Every term may be 0, so partial sums lie within the bounds of the whole sum.
    """
    sums = graded_intervals(graph)
    large = {name for name, x in sums.items() if x.bound >= 2**SINGLE} | fractions(graph)
    return frozenset(name for name in graph.nodes if name in large or not large.isdisjoint(graph.edges_from[name]))


def doubles_on(graph: Graph, frames: NDArray[np.float32], time_steps: int) -> frozenset[str]:
    """`doubles`, if the proof covers `frames`; else all nodes that compute.

    Arguments as of `exact_on`.
    """
    if graph.precision == "loihi2" or exact_on(graph, frames, time_steps):
        return doubles(graph)
    return _computing(graph)


def exact_on(graph: Graph, frames: NDArray[np.float32], time_steps: int) -> bool:
    """Whether its weights prove that a graph of floats computes `frames` without rounding, in float32 and `doubles`.

    Args:
        graph: whose file says what its frames are.
        frames: float32 `[N, *input shape]`, the same at every time step, or `[N, T, *input shape]`.
        time_steps: T.
    """
    return _covers(proven(graph), graph, frames, time_steps)


def exact_in_doubles_on(graph: Graph, frames: NDArray[np.float32], time_steps: int) -> bool:
    """The same, also for graphs that are not proven exact in float32, whose nodes then all compute in float64."""
    proof = proven(graph)
    if proof is not None and not proof.exact:
        proof = proven_in_doubles(graph)
    return _covers(proof, graph, frames, time_steps)


def _covers(proof: Certificate | None, graph: Graph, frames: NDArray[np.float32], time_steps: int) -> bool:
    expected = frame_sums(graph)
    if proof is None or expected is None or expected.bits is None or not proof.exact or time_steps > proof.time_steps:
        return False
    if expected.constant and frames.ndim > len(graph.frame_shape) + 1:
        if frames.strides[1] != 0 and not (frames == frames[:, :1]).all():
            return False
        frames = frames[:, 0]
    values = frames.astype(np.float64)
    scaled = values * 2.0**expected.bits
    within = (values >= expected.reach.low).all() and (values <= expected.reach.high).all()
    return bool(within and (scaled == np.rint(scaled)).all())


def rounds(graph: Graph, frames: NDArray[np.float32], time_steps: int) -> bool:
    """Whether outputs on `frames` may differ by rounding between two programs, since no proof covers them.

    The exporter's certificate counts, too: it alone covers PyTorch's side, which may round where a graph doesn't.
    Arguments as of `exact_on`.
    """
    if graph.precision == "loihi2":
        return not fractions(graph).isdisjoint(graph.outputs)
    return graph.metadata.certificate.get("exact") is not True or not exact_on(graph, frames, time_steps)
