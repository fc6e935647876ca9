"""Cycles, and their recurrent edges, which deliver in the next time step.

A graph without cycles answers a frame within its time step.  On a cycle that is impossible: some value has to be of the
step before.  NIR's equations are in continuous time; forward Euler evaluates them all at the state of the last step.
Hence

    an edge is recurrent if it leaves a neuron and lies on a cycle without a `Delay`;

it delivers at step t what the neuron sent at step t - 1, and nothing in the first step of an image.  The rule depends
on no order and no names; for a population that reads itself through a matrix it is what snnTorch's `RLeaky` and Norse's
recurrent cells do.  A `Delay` of at least one step has its own time, and breaks its cycles; to make a single edge of a
cycle take a time step, put a `Delay` on it.
"""

from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter

from neuromorphic.errors import RefusedInput

FanIn = Mapping[str, Sequence[str]]
Edge = tuple[str, str]


def recurrent_edges(
    fan_in: FanIn, neuron: Callable[[str], bool], waits: Callable[[str], bool], source: str
) -> frozenset[Edge]:
    """The recurrent edges, as (neuron, reader).

    Args:
        fan_in: the sources of every node.
        neuron: whether a node is a neuron.
        waits: whether a node is a `Delay` of at least one step.
        source: named in messages.

    Raises:
        RefusedInput: a cycle without a neuron and without a `Delay`.
    """
    timeless = {name: () if waits(name) else before for name, before in fan_in.items()}
    component = components(timeless)
    same = {(s, name) for name, before in timeless.items() for s in before if component[s] == component[name]}
    recurrent = frozenset((s, name) for s, name in same if neuron(s))
    rest = {name: tuple(s for s in before if (s, name) not in recurrent) for name, before in timeless.items()}
    check_acyclic(rest, source)
    return recurrent


def check_acyclic(fan_in: FanIn, source: str) -> None:
    """Refuse cycles.

    Raises:
        RefusedInput: there is one.
    """
    component = components(fan_in)
    for name, before in fan_in.items():
        if any(component[s] == component[name] for s in before):
            cycle = sorted(other for other in fan_in if component[other] == component[name])
            raise RefusedInput(f"{source}: a cycle through {', '.join(cycle[:4])}; expected a neuron or a Delay on it")


def paths_through(fan_in: FanIn, passing: Callable[[str], bool]) -> dict[str, tuple[int, int]]:
    """By node, the paths that lead to it through nodes that are `passing`, and the most such nodes on one of them.

    A source that isn't passing begins a path.  A passing node counts on its own paths, too.

    Args:
        fan_in: the sources of every node; the passing ones form no cycle (`check_acyclic`).
        passing: whether a node only passes on what it reads.

    Returns:
        (paths, nodes in a row) by name, passing nodes first, in topological order.
    """
    inner = {name: tuple(filter(passing, before)) for name, before in fan_in.items() if passing(name)}
    component = components(inner)
    found: dict[str, tuple[int, int]] = {}
    for name in [*sorted(inner, key=component.__getitem__), *(name for name in fan_in if name not in inner)]:
        before = [found[s] if s in inner else (1, 0) for s in fan_in[name]]
        paths, rows = sum(paths for paths, _ in before), max((row for _, row in before), default=0)
        found[name] = (paths, rows + (name in inner))
    return found


def topological(fan_in: FanIn, recurrent: frozenset[Edge], waits: Callable[[str], bool]) -> list[str]:
    """Names in topological order: sources come first, but for recurrent edges, and what a `Delay` reads on its cycle.

    Where the order is free it is alphabetical, since HDF5 keeps no order.
    """
    component = components(fan_in)
    waiting: dict[str, set[str]] = {}
    for name, before in fan_in.items():
        cyclic = {s for s in before if waits(name) and component[s] == component[name]}
        waiting[name] = {s for s in before if (s, name) not in recurrent} - cyclic
    sorter, order = TopologicalSorter(waiting), list[str]()
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        sorter.done(*ready)
        order += ready
    return order


def components(fan_in: FanIn) -> dict[str, int]:
    """The strongly connected component of every node, numbered with sources first (Tarjan's algorithm, iterative)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    found: dict[str, int] = {}
    path: list[str] = []
    finished = 0
    for root in fan_in:
        if root in number:
            continue
        work = [(root, iter(fan_in[root]))]
        number[root] = low[root] = len(number)
        path.append(root)
        while work:
            name, rest = work[-1]
            for source in rest:
                if source not in number:
                    number[source] = low[source] = len(number)
                    path.append(source)
                    work.append((source, iter(fan_in[source])))
                    break
                if source not in found:
                    low[name] = min(low[name], number[source])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == number[name]:
                    while name not in found:
                        found[path.pop()] = finished
                    finished += 1
    return found
