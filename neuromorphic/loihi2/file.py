"""A quantised graph in a file: NIR whose floats are the chip's numbers, with the scheme in its metadata."""

import copy
import json

import nir
import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.graph import Affine, Conv2d, Graph, Lif
from neuromorphic.loihi2.scheme import KEY, Scheme
from neuromorphic.metadata import KEY as DOCUMENT


def to_nir(graph: nir.NIRGraph, floats: Graph, scheme: Scheme) -> nir.NIRGraph:
    """`graph` with the numbers of `floats`, and with `scheme` in its metadata.

    What the exporter proved of the floats that were there before is left out: it doesn't hold for these.

    Args:
        graph: the graph that was quantised, with an exporter's metadata.
        floats: what `quantise.calibrate` made of it.
        scheme: likewise.

    Raises:
        RefusedInput: the graph has no metadata to hold the scheme.
    """
    if DOCUMENT not in graph.metadata:
        raise RefusedInput(f"{floats.source}: no metadata {DOCUMENT!r}; expected an exporter's, with the time steps")
    result = copy.deepcopy(graph)
    for name, node in floats.nodes.items():
        stored = result.nodes[name]
        match node.operation:
            case Lif(threshold=threshold):
                stored.v_threshold = threshold
            case Conv2d() as conv:
                stored.weight, stored.bias = _dense(conv), conv.bias
            case Affine(weight=weight, bias=bias):
                stored.weight = weight
                if isinstance(stored, nir.Affine):
                    stored.bias = bias
    document = json.loads(graph.metadata[DOCUMENT])
    kept = {key: value for key, value in document.items() if key not in ("certificate", "grids")}
    result.metadata = {**graph.metadata, DOCUMENT: json.dumps({**kept, KEY: scheme.to_dict()})}
    return result


def scheme_of(graph: Graph) -> Scheme | None:
    """The scheme in a graph's metadata; None where it is not quantised.

    Raises:
        RefusedInput: the metadata holds one that is not understood, or that misses a node.
    """
    if KEY not in graph.metadata.document:
        return None
    scheme = Scheme.from_dict(graph.metadata.document[KEY], graph.source)
    expected = {node.name for node in graph.populations}
    if missing := expected - set(scheme.populations) | expected - set(scheme.units):
        raise RefusedInput(f"{graph.source}: its scheme misses {', '.join(sorted(missing))}; expected every population")
    return scheme


def _dense(conv: Conv2d) -> NDArray[np.float32]:
    """The kernel with a block-diagonal instead of groups, as NIR holds it."""
    out, inner = conv.weight.shape[:2]
    dense = np.zeros((out, inner * conv.groups, *conv.weight.shape[2:]), np.float32)
    rows = np.arange(out)[:, None]
    dense[rows, rows // (out // conv.groups) * inner + np.arange(inner)] = conv.weight
    return dense
