"""MACs and shapes of the ANN twin, from the layer table that travels in the `.nir` file."""

from collections.abc import Mapping
from math import prod
from typing import Any

from energy.counts import AnnCounts, AnnLayer, AnnShapes
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.graph import Graph

LIMIT = 2**48
"""Counts of one layer and image are below it, so that sums over many images and their bytes stay far within 64 bits."""


def ann_counts(graph: Graph, images: int) -> AnnCounts | None:
    """The twin's MACs for so many images; None where the file describes no twin.

    Raises:
        RefusedInput: the table is not `{"parameters": n, "layers": [{"name", "kind", "macs"}, ...]}`, or a layer has
            some of `"inputs": [shape, ...]`, `"weight": shape or null` and `"output": shape`, but not all of them.
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
            macs = _natural(layer["macs"]) * images
            layers[name] = AnnLayer(kind=str(layer["kind"]), macs=macs, shapes=shapes, additions=biases)
    except (LookupError, TypeError, ValueError) as error:
        raise RefusedInput(f"{graph.source}: its table of the ANN twin is not understood ({error!r})") from error
    return AnnCounts(images=images, parameters=parameters, layers=layers)


def _shapes(layer: Mapping[str, Any]) -> AnnShapes | None:
    if not {"inputs", "weight", "output"} & set(layer):
        return None
    inputs = [_elements(shape) for shape in layer["inputs"]]
    outputs = _elements(layer["output"])
    if layer["weight"] is not None:
        return AnnShapes(_elements(layer["weight"]), _natural(layer["weight"][0]), sum(inputs), outputs)
    return AnnShapes(0, 0, sum(inputs), outputs)


def _elements(shape: list[object]) -> int:
    return _natural(prod(_natural(n) for n in shape))


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < LIMIT:
        raise ValueError(f"{value!r} is no count")
    return value
