"""Facts about a graph, derived once: a graph never changes, so what follows from it doesn't either."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from neuromorphic.ir.graph import Graph

T = TypeVar("T")


def fact(derive: Callable[[Graph], T]) -> Callable[[Graph], T]:
    """`derive`, whose results are kept with the graph.

    What it raises is not kept: it is derived, and raised, again.
    """

    @wraps(derive)
    def kept(graph: Graph) -> T:
        if kept not in graph.facts:
            graph.facts[kept] = derive(graph)
        return graph.facts[kept]  # type: ignore[no-any-return]

    return kept


def wiring_fact(derive: Callable[[Graph], T]) -> Callable[[Graph], T]:
    """The same of what follows from names, sources, shapes and types of operations alone.

    It is kept for all graphs that differ in parameters only (`Graph.with_operations`).
    """

    @wraps(derive)
    def kept(graph: Graph) -> T:
        if kept not in graph.wiring:
            graph.wiring[kept] = derive(graph)
        return graph.wiring[kept]  # type: ignore[no-any-return]

    return kept
