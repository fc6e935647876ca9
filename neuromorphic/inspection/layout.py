"""The layout of a graph in a picture: rows of nodes from top to bottom, by latency, and lanes for edges beside them.

A node is below its sources, and below all nodes of a smaller latency.  An edge that would cross a box runs in a lane
beside the rows: on their right if it leads down, as residual connections do, on their left if it leads back up.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from neuromorphic.inspection.report import NodeReport


@dataclass(frozen=True)
class Place:
    """The place of a box: its row, from the top, and its centre, as a number of boxes from the middle."""

    row: int
    x: float


@dataclass(frozen=True)
class Lane:
    """The edges of one source that run beside the rows.

    Attributes:
        source: the node where they start.
        readers: the nodes where they end, from top to bottom.
        index: number of lanes between this one and the rows.
        upward: whether they lead back up, on the left.
    """

    source: str
    readers: tuple[str, ...]
    index: int
    upward: bool


@dataclass(frozen=True)
class Layout:
    """The layout of a picture.

    Attributes:
        places: of the nodes, by name.
        bands: by latency, its first row and the row after its last.
        direct: edges that are drawn directly, as (source, reader).
        lanes: all other edges.
    """

    places: Mapping[str, Place]
    bands: Mapping[int, tuple[int, int]]
    direct: tuple[tuple[str, str], ...]
    lanes: tuple[Lane, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return 1 + max(place.row for place in self.places.values())

    @property
    def reach(self) -> float:
        """The number of boxes from the middle to the centre of the outermost one."""
        return max(abs(place.x) for place in self.places.values())

    def count(self, upward: bool) -> int:
        """The number of lanes on one side."""
        return 1 + max((lane.index for lane in self.lanes if lane.upward is upward), default=-1)

    def last_in_row(self, name: str, right: bool = True) -> bool:
        """Whether a box is the last one of its row on one side."""
        place = self.places[name]
        beside = [p.x for p in self.places.values() if p.row == place.row]
        return place.x == (max(beside) if right else min(beside))


def plan(nodes: Sequence[NodeReport]) -> Layout:
    """The layout of nodes, which are in topological order."""
    places, bands = _places(nodes)
    direct: list[tuple[str, str]] = []
    down: dict[str, list[str]] = {}
    up: dict[str, list[str]] = {}
    for node in nodes:
        for source in node.sources:
            if places[source].row >= places[node.name].row:
                up.setdefault(source, []).append(node.name)
            elif _clear(places, source, node.name):
                direct.append((source, node.name))
            else:
                down.setdefault(source, []).append(node.name)
    lanes = (*_lanes(places, down, False), *_lanes(places, up, True))
    return Layout(places, bands, tuple(direct), lanes)


def _places(nodes: Sequence[NodeReport]) -> tuple[dict[str, Place], dict[int, tuple[int, int]]]:
    steps: dict[str, int] = {}  # within the nodes of one latency
    latency = {node.name: node.latency for node in nodes}
    for node in nodes:
        before = (s for s in node.sources if s in steps and latency[s] == node.latency)
        steps[node.name] = 1 + max((steps[s] for s in before), default=-1)
    keys = sorted({(latency[name], step) for name, step in steps.items()})
    row = {key: i for i, key in enumerate(keys)}
    members: dict[int, list[NodeReport]] = {}
    for node in nodes:
        members.setdefault(row[latency[node.name], steps[node.name]], []).append(node)
    places: dict[str, Place] = {}
    for index, found in sorted(members.items()):
        # In the order of the mean place of their sources, so that few lines cross; alphabetical where that is equal.
        found.sort(key=lambda node: _mean(places[s].x for s in node.sources if s in places))
        for i, node in enumerate(found):
            places[node.name] = Place(index, i - (len(found) - 1) / 2)
    bands = {
        steps: (min(rows), max(rows) + 1)
        for steps in sorted(set(latency.values()))
        if (rows := [row[key] for key in keys if key[0] == steps])
    }
    return places, bands


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def _clear(places: Mapping[str, Place], source: str, reader: str) -> bool:
    """Whether a line between two boxes crosses no box in the rows between them."""
    start, end = places[source], places[reader]
    left, right = min(start.x, end.x) - 0.6, max(start.x, end.x) + 0.6
    return not any(start.row < p.row < end.row and left < p.x < right for p in places.values())


def _lanes(places: Mapping[str, Place], edges: Mapping[str, list[str]], upward: bool) -> list[Lane]:
    """The lanes of edges, by source: short lanes next to the rows, long ones outside of them."""
    spans = {}
    for source, found in edges.items():
        rows = [places[name].row for name in (source, *found)]
        spans[source] = (min(rows), max(rows))
    taken: list[list[tuple[int, int]]] = []
    lanes = []
    for source in sorted(spans, key=lambda name: (spans[name][1] - spans[name][0], spans[name], name)):
        top, bottom = spans[source]
        free = (i for i, used in enumerate(taken) if all(bottom < first or last < top for first, last in used))
        index = next(free, len(taken))
        if index == len(taken):
            taken.append([])
        taken[index].append((top, bottom))
        readers = tuple(sorted(edges[source], key=lambda name: places[name].row))
        lanes.append(Lane(source, readers, index, upward))
    return lanes
