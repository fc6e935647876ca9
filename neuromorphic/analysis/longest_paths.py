"""The longest paths through a graph with steps on its edges, around cycles too (Bellman and Ford's)."""

from collections.abc import Mapping, Sequence


class EndlessCycle(Exception):
    """Around `cycle`, names of which the last is the first again, the paths grow for ever."""

    def __init__(self, cycle: list[str]) -> None:
        super().__init__(" -> ".join(cycle))
        self.cycle = cycle


def longest_paths(paths: Mapping[str, Sequence[tuple[str, int]]]) -> dict[str, int]:
    """`longest(n) = max (0, longest(s) + steps)` over the paths (s, steps) of n: one pass, but for cycles.

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
    """Found backwards from a name whose path still grows."""
    seen: list[str] = []
    while name not in seen:
        seen.append(name)
        name = max(paths[name], key=lambda path: longest[path[0]] + path[1])[0]
    return [*seen[seen.index(name) :], name][::-1]
