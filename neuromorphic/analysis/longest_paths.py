"""The longest paths through a graph with steps on its edges, also with cycles (the Bellman-Ford algorithm)."""

from collections.abc import Mapping, Sequence


class EndlessCycle(Exception):
    """Paths grow without end around `cycle`, a list of names that ends with its first one."""

    def __init__(self, cycle: list[str]) -> None:
        super().__init__(" -> ".join(cycle))
        self.cycle = cycle


def longest_paths(paths: Mapping[str, Sequence[tuple[str, int]]]) -> dict[str, int]:
    """`longest(n) = max (0, longest(s) + steps)` over the paths (s, steps) of n; one pass suffices without cycles.

    Args:
        paths: of every name; steps may be negative.

    Raises:
        EndlessCycle: a cycle has more than 0 steps in all.
    """
    longest = dict.fromkeys(paths, 0)
    for _ in range(len(paths) + 1):
        changed = ""
        for name, before in paths.items():
            least = max((longest[s] + steps for s, steps in before), default=0)
            if least > longest[name]:
                longest[name], changed = least, name
        if not changed:
            return longest
    raise EndlessCycle(_cycle(paths, longest, changed))


def _cycle(paths: Mapping[str, Sequence[tuple[str, int]]], longest: Mapping[str, int], name: str) -> list[str]:
    """The cycle, found by going backwards from a name whose path still grows."""
    seen: list[str] = []
    while name not in seen:
        seen.append(name)
        name = max(paths[name], key=lambda path: longest[path[0]] + path[1])[0]
    return [*seen[seen.index(name) :], name][::-1]
