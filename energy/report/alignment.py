"""Which layer of the twin stands beside which of the encoder: one of as much work.

The work of a layer is its SOPs at a rate of 1 in one step, or its MACs on real values: about the MACs of the twin's
layer, which also counts taps on the padding.  Among layers of the same work the names decide, by the words they share.
Those of a dense baseline have the encoder's names.
"""

import re
from collections.abc import Mapping

from energy.counts import AnnCounts, OperationCounts

AS_MUCH = 1.3
"""Greatest ratio of two layers' work at which they may be the same layer."""

Pair = tuple[str | None, str | None]
"""Names of a layer of the encoder and of one of the twin; None where the other has none like it."""


def align(snn: OperationCounts, ann: AnnCounts | None, images: int, steps: int) -> list[Pair]:
    """Pairs that hold every layer of both once, in the encoder's order.

    A layer of the twin stands beside the encoder's layer that is like it, else behind the twin's layer before it.
    """
    work = {name: max(layer.dense / steps, layer.macs_once) / images for name, layer in snn.layers.items()}
    theirs = {} if ann is None else {name: layer.macs / images for name, layer in ann.layers.items()}
    same = {name: name for name in work.keys() & theirs.keys()}
    found = same if ann is not None and ann.baseline == "dense" else _pairs(work, theirs)
    rows: list[Pair] = [(name, found.get(name)) for name in work]
    taken = set(found.values())
    place = 0
    for name in theirs:
        if name in taken:
            place = next(i for i, row in enumerate(rows) if row[1] == name) + 1
        else:
            rows.insert(place, (None, name))
            place += 1
    return rows


def _pairs(work: Mapping[str, float], theirs: Mapping[str, float]) -> dict[str, str]:
    """The twin's layer of an encoder's, by name; the pairs that are most alike first."""
    likeness = [
        (-_alike(ours, other), i, k, ours, other)
        for i, ours in enumerate(work)
        for k, other in enumerate(theirs)
        if _as_much(work[ours], theirs[other])
    ]
    found: dict[str, str] = {}
    for *_, ours, other in sorted(likeness):
        if ours not in found and other not in found.values():
            found[ours] = other
    last = [next(reversed(list(names)), None) for names in (work, theirs)]
    if last[0] and last[1] and last[0] not in found and last[1] not in found.values():
        found[last[0]] = last[1]
    return found


def _as_much(one: float, other: float) -> bool:
    low, high = sorted((one, other))
    return low > 0 and high <= AS_MUCH * low


def _alike(one: str, other: str) -> float:
    """Share of the words that both names have."""
    a, b = (set(re.split(r"[._/]", name)) for name in (one, other))
    return len(a & b) / len(a | b)
