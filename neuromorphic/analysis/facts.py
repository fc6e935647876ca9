"""Facts about a graph are derived once and kept with it, since a graph never changes."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from neuromorphic.ir.graph import Graph

T = TypeVar("T")


def fact(derive: Callable[[Graph], T]) -> Callable[[Graph], T]:
    """Keep the results of `derive` with the graph.

    An exception is not kept: the next call derives, and raises, again.
    """
    return _kept(derive, lambda graph: graph.facts)


def wiring_fact(derive: Callable[[Graph], T]) -> Callable[[Graph], T]:
    """The same, for facts that follow from names, sources, shapes and types of operations alone.

    All graphs that differ in parameters only share them (`Graph.with_operations`).
    """
    return _kept(derive, lambda graph: graph.wiring)


def _kept(derive: Callable[[Graph], T], place: Callable[[Graph], dict[Any, Any]]) -> Callable[[Graph], T]:
    @wraps(derive)
    def kept(graph: Graph) -> T:
        known = place(graph)
        if kept not in known:
            known[kept] = derive(graph)
        return known[kept]  # type: ignore[no-any-return]

    return kept
