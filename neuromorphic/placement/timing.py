"""Latencies of what is placed: the longest paths from the graph's input."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from neuromorphic.analysis.longest_paths import EndlessCycle, longest_paths
from neuromorphic.errors import RefusedInput, number


def latencies(paths: Mapping[str, Sequence[tuple[str, int]]], source: str) -> dict[str, int]:
    """`latency(n) = max (0, latency(s) + steps)` over the paths (s, steps) of n.

    Args:
        paths: of everything that has a latency.
        source: named in messages.

    Raises:
        RefusedInput: a cycle takes more steps than it is late, so that no latencies fit.
    """
    try:
        return longest_paths(paths)
    except EndlessCycle as error:
        more = sum(max(steps for s, steps in paths[after] if s == before) for before, after in pairwise(error.cycle))
        raise RefusedInput(
            f"{source}: the cycle {error} takes {number(more, 'time step')} more on the chip than it is late; "
            "expected a Delay of as many more on it"
        ) from error
