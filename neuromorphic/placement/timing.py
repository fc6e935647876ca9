"""Latencies of what is placed: the longest ways from the graph's input, around cycles too (Bellman and Ford's)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from neuromorphic.errors import RefusedInput


def latencies(ways: Mapping[str, Sequence[tuple[str, int]]], source: str) -> dict[str, int]:
    """`latency(n) = max (0, latency(s) + steps)` over the ways (s, steps) of n.

    Args:
        ways: of everything that has a latency.
        source: named in messages.

    Raises:
        RefusedInput: a cycle takes more steps than it is late, so that no latencies fit.
    """
    latency = dict.fromkeys(ways, 0)
    for _ in range(len(ways) + 1):
        changed = ""
        for name, before in ways.items():
            least = max((latency[s] + steps for s, steps in before), default=0)
            if least > latency[name]:
                latency[name], changed = least, name
        if not changed:
            return latency
    cycle = _cycle(ways, latency, changed)
    raise RefusedInput(
        f"{source}: the cycle {' -> '.join(cycle)} takes {_steps(ways, cycle)} steps more on the chip than it is late; "
        "expected a Delay of as many more on it"
    )


def _cycle(ways: Mapping[str, Sequence[tuple[str, int]]], latency: Mapping[str, int], name: str) -> list[str]:
    """A cycle that lets latencies grow for ever, found backwards from a name whose latency still does."""
    seen: list[str] = []
    while name not in seen:
        seen.append(name)
        name = max(ways[name], key=lambda way: latency[way[0]] + way[1])[0]
    return [*seen[seen.index(name) :], name][::-1]


def _steps(ways: Mapping[str, Sequence[tuple[str, int]]], cycle: Sequence[str]) -> int:
    return sum(max(steps for s, steps in ways[after] if s == before) for before, after in pairwise(cycle))
