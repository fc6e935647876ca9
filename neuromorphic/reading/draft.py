"""A graph while it is read, and the contracts that hold before and after each of the `passes`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

import nir

from neuromorphic.analysis.recurrence import components
from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.ops import Conventions, Delay, Neurons, Operation, Shape, Typed
from neuromorphic.reading.flattening import Passage

Raw = Mapping[str, "nir.NIRNode | Passage"]
FanIn = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Draft:
    """A graph while it is read.

    Attributes:
        source: named in messages.
        metadata: of the graph.
        conventions: of the file's writer.
        raw: NIR's nodes by name, without subgraphs.
        fan_in: by node, the names of its sources in alphabetical order.
        typed: by node, its operation and shapes; for a node that only flattens, the shape of its output.
        order: names in topological order.
        recurrent: edges that deliver one step later, as (neuron, reader).
    """

    source: str
    metadata: GraphMetadata
    conventions: Conventions
    raw: Raw
    fan_in: FanIn
    typed: Mapping[str, "Typed | Shape"] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    recurrent: frozenset[tuple[str, str]] = frozenset()

    def where(self, name: str) -> str:
        """The name of a node in messages."""
        return f"{self.source}: node {name!r}"

    def operation(self, name: str) -> Operation | None:
        """The operation of a typed node; None for one that only flattens."""
        typed = self.typed[name]
        return typed.operation if isinstance(typed, Typed) else None

    def leaves(self, name: str) -> Shape:
        """The shape of a typed node's output, as NIR has it."""
        typed = self.typed[name]
        return typed.leaves if isinstance(typed, Typed) else typed


Contract = Callable[[Draft], list[str]]


def edges_are_known(draft: Draft) -> list[str]:
    """Every source is a node."""
    return [f"{name} reads {s}" for name, before in draft.fan_in.items() for s in before if s not in draft.fan_in]


def all_are_typed(draft: Draft) -> list[str]:
    """Every node has shapes."""
    return [name for name in draft.fan_in if name not in draft.typed]


def shapes_agree(draft: Draft) -> list[str]:
    """Every source sends as many elements as its reader's input has."""
    found = []
    for name, before in draft.fan_in.items():
        typed = draft.typed[name]
        if isinstance(typed, Typed):
            found += [f"{s} -> {name}" for s in before if prod(draft.leaves(s)) != prod(typed.shapes.input)]
    return found


def parameters_are_full(draft: Draft) -> list[str]:
    """Every array of parameters of neurons has the shape of the neurons."""
    found = []
    for name, typed in draft.typed.items():
        if isinstance(typed, Typed) and isinstance(typed.operation, Neurons):
            arrays = {key: value for key, value in vars(typed.operation).items() if hasattr(value, "shape")}
            found += [f"{name}.{key}" for key, value in arrays.items() if value.shape != typed.shapes.output]
    return found


def none_only_flattens(draft: Draft) -> list[str]:
    """Every node has an operation."""
    return [name for name in draft.fan_in if draft.operation(name) is None]


def sources_come_first(draft: Draft) -> list[str]:
    """Sources come first in `order`, but for recurrent edges, and what a `Delay` reads on its own cycle."""
    place = {name: i for i, name in enumerate(draft.order)}
    component = components(draft.fan_in)
    found = []
    for name, before in draft.fan_in.items():
        for s in before:
            cyclic = isinstance(draft.operation(name), Delay) and component[s] == component[name]
            if place[s] >= place[name] and (s, name) not in draft.recurrent and not cyclic:
                found.append(f"{s} -> {name}")
    return found
