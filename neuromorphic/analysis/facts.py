"""Facts about a graph, derived once: a graph never changes, so what follows from it doesn't either."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from neuromorphic.ir.graph import Graph

T = TypeVar("T")


def fact(derive: Callable[[Graph], T]) -> Callable[[Graph], T]:
    """`derive`, whose results are kept with the graph.

    What it raises is not kept: it is derived, and raised, again.
    """
    return _kept(derive, lambda graph: graph.facts)


def wiring_fact(derive: Callable[[Graph], T]) -> Callable[[Graph], T]:
    """The same of what follows from names, sources, shapes and types of operations alone.

    It is kept for all graphs that differ in parameters only (`Graph.with_operations`).
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
