"""Cycles: which edges deliver in the next step what was sent in this one.

A graph without cycles answers a frame within its step.  Around a cycle that can't be: something has to be of the step
before.  NIR's equations are in continuous time; forward Euler evaluates them all at the state of the last step.  Hence

    an edge is recurrent if it leaves a neuron and lies on a cycle without a `Delay`,

seen through flattening; it delivers at step t what the neuron sent at step t - 1, and nothing in an image's first
step.  This depends on no order and no names; for a population that reads itself through a matrix it is what snnTorch's
`RLeaky` and Norse's recurrent cells do.  A `Delay` of at least one step says itself how late it is, and breaks its
cycles; where all of a cycle's edges shall be in time but one, put a `Delay` there.
"""

from collections.abc import Callable, Mapping, Sequence

from neuromorphic.errors import RefusedInput

FanIn = Mapping[str, Sequence[str]]
Edge = tuple[str, str]


def recurrent_edges(
    fan_in: FanIn,
    neuron: Callable[[str], bool],
    passes: Callable[[str], bool],
    waits: Callable[[str], bool],
    source: str,
) -> frozenset[Edge]:
    """The recurrent edges, as (neuron, reader), flattening looked through.

    Args:
        fan_in: the sources of every node.
        neuron: whether a node is a neuron.
        passes: whether a node only flattens; in cycles there is none.
        waits: whether a node is a `Delay` of at least one step.
        source: named in messages.

    Raises:
        RefusedInput: a cycle without a neuron and without a `Delay`.
    """
    read = {name: seen_through(fan_in, name, passes) for name in fan_in if not passes(name)}
    timeless = {name: () if waits(name) else before for name, before in read.items()}
    component = components(timeless)
    same = {(s, name) for name, before in timeless.items() for s in before if component[s] == component[name]}
    recurrent = frozenset((s, name) for s, name in same if neuron(s))
    rest = {name: tuple(s for s in before if (s, name) not in recurrent) for name, before in timeless.items()}
    _check_acyclic(rest, source)
    return recurrent


def flattening_order(fan_in: FanIn, passes: Callable[[str], bool], source: str) -> list[str]:
    """The nodes that only flatten, sources first.

    Raises:
        RefusedInput: a cycle of them, which could not be looked through.
    """
    flat = {name: tuple(s for s in before if passes(s)) for name, before in fan_in.items() if passes(name)}
    _check_acyclic(flat, source)
    component = components(flat)
    return sorted(flat, key=component.__getitem__)


def _check_acyclic(fan_in: FanIn, source: str) -> None:
    component = components(fan_in)
    for name, before in fan_in.items():
        if any(component[s] == component[name] for s in before):
            cycle = sorted(other for other in fan_in if component[other] == component[name])
            raise RefusedInput(f"{source}: a cycle through {', '.join(cycle[:4])}; expected a neuron or a Delay on it")


def dependencies(
    fan_in: FanIn, recurrent: frozenset[Edge], passes: Callable[[str], bool], waits: Callable[[str], bool]
) -> dict[str, set[str]]:
    """Per node the sources to compute before it: all but those of recurrent edges and of a `Delay` on their cycle."""
    component = components(fan_in)
    needed: dict[str, set[str]] = {}
    for name, before in fan_in.items():
        seen = before if passes(name) else (*before, *seen_through(fan_in, name, passes))
        needed[name] = {s for s in seen if not (waits(name) and component[s] == component[name])}
    for neuron, reader in recurrent:
        waiting = [reader]
        while waiting:
            name = waiting.pop()
            needed[name].discard(neuron)
            waiting.extend(s for s in fan_in[name] if passes(s))
    return needed


def seen_through(fan_in: FanIn, name: str, passes: Callable[[str], bool]) -> tuple[str, ...]:
    """The sources of a node, flattening looked through; what arrives on two ways stands there twice."""
    found: list[str] = []
    waiting = list(reversed(fan_in[name]))
    while waiting:
        source = waiting.pop()
        if passes(source):
            waiting.extend(reversed(fan_in[source]))
        else:
            found.append(source)
    return tuple(found)


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
