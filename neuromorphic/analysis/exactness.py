"""Which nodes of a graph float32 computes exactly, and which need float64."""

import nir
import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.bounds import Range, pixel_range
from neuromorphic.analysis.certificate import LIMIT, Certificate, certify
from neuromorphic.analysis.facts import fact
from neuromorphic.analysis.intervals import fractions, graded_intervals
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.metadata import normalisation
from neuromorphic.ops import Sink, Source


@fact
def proven(graph: Graph) -> Certificate | None:
    """What the weights of a graph of floats prove of its own frames; None where they prove nothing.

    The certificate in a file is a claim: it says that a proof is worth trying, and nothing else of it is believed.
    """
    frames, steps = frame_range(graph), graph.metadata.time_steps
    if not graph.metadata.certificate or graph.precision != "float" or frames is None or steps is None:
        return None
    try:
        return certify(as_nir(graph), frames, steps, graph.metadata.dt)
    except (RefusedInput, ValueError, ArithmeticError):  # nodes, or compositions of shapes, that no proof knows
        return None


@fact
def doubles(graph: Graph) -> frozenset[str]:
    """Names of the nodes that have to compute in float64, on the graph's own frames.

    Those whose sums are proven exact in float64 only (of 53, not 24 bits); and, where a single node is unproven, every
    node.  Of a graph in integers, those whose sums may need more than 24 bits.
    """
    if graph.precision == "loihi2":
        return _wide(graph)
    proof, computing = proven(graph), _computing(graph)
    if proof is None or not all(name in proof.nodes and proof.nodes[name].exact for name in computing):
        return computing
    return frozenset(name for name in computing if proof.nodes[name].limit != LIMIT)


def doubles_on(graph: Graph, frames: NDArray[np.float32]) -> frozenset[str]:
    """`doubles` of any frames `[N, *input shape]` or `[N, T, *input shape]`: all nodes where no proof covers them."""
    return doubles(graph) if graph.precision == "loihi2" or exact_on(graph, frames) else _computing(graph)


def _computing(graph: Graph) -> frozenset[str]:
    return frozenset(node.name for node in graph.nodes.values() if not isinstance(node.operation, Source | Sink))


def as_nir(graph: Graph) -> nir.NIRGraph:
    """A graph of floats in NIR's nodes, flattened where a node reads vectors of a map.

    Raises:
        RefusedInput: a spike takes the threshold off, which no node of NIR says.
    """
    nodes, edges = {}, []
    for node in graph.nodes.values():
        if getattr(node.operation, "subtracts", False):
            raise RefusedInput(f"{graph.source}: node {node.name!r} subtracts its threshold; expected a reset")
        nodes[node.name] = node.operation.write(node.shapes, graph.metadata.dt)
        for source in node.sources:
            shape = graph.nodes[source].shape
            if len(shape) == len(node.input_shape):
                edges.append((source, node.name))
                continue
            flat = f"{source} flat for {node.name}"
            nodes[flat] = nir.Flatten({"input": np.array(shape)}, 0, -1)
            edges += [(source, flat), (flat, node.name)]
    return nir.NIRGraph(nodes, edges, type_check=False)


def _wide(graph: Graph) -> frozenset[str]:
    """Names of the nodes with a sum of integers, read or returned, that may reach 2^24, and of those of fractions.

    Every term may be 0, so partial sums stay within the bounds of the whole.
    """
    sums = graded_intervals(graph)
    large = {name for name, x in sums.items() if max(-x.low.min(), x.high.max()) >= 2**LIMIT} | fractions(graph)
    readers = {name: [reader.name for reader in graph.readers(name)] for name in graph.nodes}
    return frozenset(name for name in graph.nodes if name in large or not large.isdisjoint(readers[name]))


def frame_range(graph: Graph) -> Range | None:
    """Bounds of the frames that the file is made for, as its metadata says; None where it doesn't."""
    metadata, shape = graph.metadata, graph.nodes[graph.input].shape
    if metadata.preprocessing is not None and metadata.input_bits is not None:
        mean, std = normalisation(metadata, graph.source)
        fits = len(shape) == 3 and mean.shape == shape[:1]
        return pixel_range(mean, std, metadata.input_bits) if fits else None
    match metadata.document.get("input"):
        case {"low": int() | float() as low, "high": int() | float() as high, "bits": int() as bits, "axes": str(axes)}:
            ones = np.ones((1,) * len(shape))
            return Range(max(high, 0) * ones, max(-low, 0) * ones, bits, constant="T" not in axes)
    return None


def exact_on(graph: Graph, frames: NDArray[np.float32]) -> bool:
    """Whether a graph of floats computes `frames` without rounding: as its weights prove, for frames in its bounds.

    Args:
        graph: any.
        frames: float32 `[N, *input shape]` or `[N, T, *input shape]`.
    """
    proof, within = proven(graph), frame_range(graph)
    if proof is None or within is None or not proof.exact:
        return False
    timed = frames.ndim > len(graph.nodes[graph.input].shape) + 1
    if timed and within.constant and not (frames == frames[:, :1]).all():
        return False
    shown = frames[:, 0] if timed and within.constant else frames
    on_grid = shown.astype(np.float64) * 2.0**within.bits
    return bool(
        (on_grid == np.rint(on_grid)).all() and (shown <= within.positive).all() and (-shown <= within.negative).all()
    )


def rounds(graph: Graph, frames: NDArray[np.float32]) -> bool:
    """Whether outputs on `frames` may differ by rounding between two programs: no proof covers them.

    The exporter's certificate is heard too, since it alone knows of PyTorch's side, which may round where a graph
    doesn't.
    """
    if graph.precision == "loihi2":
        return graph.output in fractions(graph)
    return graph.metadata.certificate.get("exact") is not True or not exact_on(graph, frames)
