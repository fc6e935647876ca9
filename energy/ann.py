"""MACs and shapes of the ANN: the twin, whose layer table travels in the `.nir` file, or the graph's own layers."""

from collections.abc import Mapping
from math import prod
from typing import Any, assert_never

from energy.counts import AnnCounts, AnnLayer, AnnShapes
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph
from neuromorphic.ops import Delay, MaxPool2d, Neurons, SelfAttention, Sink, Source, SumPool2d, Weighted

LIMIT = 2**48
"""Counts of one layer and image are below it, so that sums over many images and their bytes stay far within 64 bits."""


def ann_counts(graph: Graph, images: int) -> AnnCounts | None:
    """The twin's MACs for so many images; None where the file describes no twin.

    Raises:
        RefusedInput: the table is not `{"parameters": n, "layers": [{"name", "kind", "macs"}, ...]}`, or a layer has
            some of `"inputs": [shape, ...]`, `"weight": shape or null` and `"output": shape`, but not all of them, or
            other MACs than these make.
    """
    twin = graph.metadata.twin
    if twin is None:
        return None
    layers: dict[str, AnnLayer] = {}
    try:
        parameters = _natural(twin["parameters"])
        for layer in twin["layers"]:
            name = str(layer["name"])
            if name in layers:
                raise ValueError(f"layer {name!r} stands twice")
            shapes = _shapes(layer)
            biases = None if shapes is None else (shapes.outputs if shapes.biases else 0) * images
            macs = _natural(layer["macs"])
            if shapes is not None and macs != (made := shapes.outputs * _summed(layer)):
                raise ValueError(f"layer {name!r} has {macs} MACs, its shapes make {made}")
            layers[name] = AnnLayer(kind=str(layer["kind"]), macs=macs * images, shapes=shapes, additions=biases)
    except (LookupError, TypeError, ValueError) as error:
        raise RefusedInput(f"{graph.source}: its table of the ANN twin is not understood ({error!r})") from error
    return AnnCounts(images=images, baseline="twin", parameters=parameters, layers=layers)


def dense_baseline(graph: Graph, images: int) -> AnnCounts:
    """The MACs of the graph's own layers, each evaluated once per image on real values, taps on the padding included.

    That is the ANN that a graph is compared with for want of a twin: an activation stands for each population.
    Self-attention counts both of its products; pools and neurons multiply nothing.  Where the file says which nodes are
    layers of the network that it was made of, they alone are counted.
    """
    own = graph.metadata.layers
    layers: dict[str, AnnLayer] = {}
    parameters = 0
    for name, node in graph.nodes.items():
        if own is not None and name not in own:
            continue
        inputs, outputs = prod(node.input_shape), prod(node.shape)
        match node.operation:
            case Weighted() as weighted:
                biases = weighted.bias_values.size if weighted.bias_values.any() else 0
                shapes = AnnShapes(weighted.weights.size, biases, inputs, outputs)
                kind, macs = str(weighted.kind), weighted.taps(node.shapes)
            case SelfAttention() as attention:
                shapes, kind, macs = AnnShapes(0, 0, inputs, outputs), "matmul", attention.products(node.shapes)
            case SumPool2d() | MaxPool2d() | Neurons() | Source() | Sink() | Delay():
                continue
            case unknown:
                assert_never(unknown)
        parameters += shapes.weights + shapes.biases
        additions = outputs * images if shapes.biases else 0
        layers[name] = AnnLayer(kind=kind, macs=macs * images, shapes=shapes, additions=additions)
    return AnnCounts(images=images, baseline="dense", parameters=parameters, layers=layers)


def _shapes(layer: Mapping[str, Any]) -> AnnShapes | None:
    if not {"inputs", "weight", "output"} & set(layer):
        return None
    inputs = [_elements(shape) for shape in layer["inputs"]]
    outputs = _elements(layer["output"])
    if layer["weight"] is not None:
        return AnnShapes(_elements(layer["weight"]), _natural(layer["weight"][0]), sum(inputs), outputs)
    return AnnShapes(0, 0, sum(inputs), outputs)


def _summed(layer: Mapping[str, Any]) -> int:
    """The products that each output is a sum of: a row of the weight, or of the first factor, has as many."""
    return _elements(layer["inputs"][0][-1:] if layer["weight"] is None else layer["weight"][1:])


def _elements(shape: list[object]) -> int:
    return _natural(prod(_natural(n) for n in shape))


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < LIMIT:
        raise ValueError(f"{value!r} is no count")
    return value
