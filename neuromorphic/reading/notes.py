"""Assumptions about single nodes, where a file leaves something open; they are listed under "assumed"."""

from collections.abc import Iterator
from math import prod

import nir
import numpy as np

from neuromorphic.ops import Affine, Neurons
from neuromorphic.ops.neurons import FloatPopulation
from neuromorphic.reading.documents import NEURONS
from neuromorphic.reading.draft import Draft
from neuromorphic.reading.flattening import Passage
from neuromorphic.reading.parameters import declared_shape


def notes_of(draft: Draft, name: str) -> Iterator[str]:
    """The assumptions about a typed node."""
    node, operation = draft.raw[name], draft.operation(name)
    if isinstance(node, nir.Input):
        declared, taken = declared_shape(node.input_type["input"], draft.where(name)), draft.leaves(name)
        if prod(declared) != prod(taken):
            said = f"{list(declared)}, and its readers take {list(taken)}"
            yield f"{name} declares {said}: the rest are time or samples"
    if isinstance(node, Passage) and declared_shape(node.declared, draft.where(name)) != draft.leaves(name):
        yield f"{name} has the shape that arrives at it, {list(draft.leaves(name))}, not its own"
    arriving = [draft.leaves(s) for s in draft.fan_in[name]]
    if isinstance(node, nir.Conv1d | nir.Conv2d) and node.input_shape is not None:
        own, maps = np.atleast_1d(node.input_shape).tolist(), list(arriving[0][1:])
        if own != maps:
            yield f"{name} reads maps of {maps}, not of {own}, as it declares"
    if isinstance(operation, Affine) and len(arriving[0]) > 1:
        yield f"{name} reads {list(arriving[0])} in a row, its first axis outermost"
    if isinstance(operation, Neurons) and arriving[0] != draft.leaves(name):
        yield f"{name} reads {list(arriving[0])} as {list(draft.leaves(name))}, which its parameters say"
    if isinstance(operation, FloatPopulation) and operation.fires_at_rest:
        yield f"{name} fires although nothing arrives: its threshold is below where v begins"
    shape = draft.leaves(name)
    for key in NEURONS.get(type(node).__name__, ()):
        given = np.shape(getattr(node, key)) if isinstance(operation, Neurons) else ()
        if prod(given) not in (1, prod(shape)):
            yield f"{name}: {key}, {list(given)}, is the same for all of {list(shape)} that share it"
