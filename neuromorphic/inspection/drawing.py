"""Draws a graph as SVG: a box for each node, in the order of the signal from top to bottom; without scripts."""

from pathlib import Path

from neuromorphic.inspection.describe import size, window
from neuromorphic.inspection.layout import Lane, Layout, plan
from neuromorphic.inspection.report import Inspection, NodeReport
from neuromorphic.ops import Linear, Sink, Source
from neuromorphic.pages.svg import cleaned, shortened

CHARACTER = 5.85
"""Width of a character of a node's name; most names have less than `LONGEST`."""
LONGEST = 32
BOX, ROW, GAP = 29, 41, 18
"""Heights of a box and of a row, and the space between the boxes of a row."""
MARGIN, LANE, HEAD, SIDE = 16, 11, 98, 46
"""Space around the picture, between lanes, above the rows, and for latencies on their left."""

LEAST = 640.0
"""Width of the smallest picture, so that its title fits."""

LEGEND = {
    "end": "input, output",
    "population": "population: neurons",
    "synapses": "synapses",
    "plain": "neither",
    "extension": "extension of NIR",
}
"""Kinds of nodes, and their names in the legend."""

STYLE = """text{font-family:Helvetica,Arial,sans-serif;font-size:10px;fill:#5c6670}
.name{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:9.6px;fill:#1b1f24}
.title{font-size:15px;font-weight:bold;fill:#1b1f24}.ground{fill:#fff}.band{fill:#f3f5f8}
.box{stroke-width:1.2}.end{fill:#e8ebef;stroke:#5c6670}.population{fill:#d6e6f7;stroke:#2f6fb0}
.synapses{fill:#fbeeda;stroke:#c08a3e}.plain{fill:#fff;stroke:#aab2bb}
.extension{fill:#eadff5;stroke:#7a4fa3;stroke-dasharray:4 2}.open{fill:#b8375f}
.edge{fill:none;stroke:#8a939d;stroke-width:1.2}.lane{fill:none;stroke:#2e8b57;stroke-width:1.4}
.back{fill:none;stroke:#b8375f;stroke-width:1.4;stroke-dasharray:5 3}
.tip{fill:#8a939d}.lanetip{fill:#2e8b57}.backtip{fill:#b8375f}
@media (prefers-color-scheme:dark){text{fill:#a3adb8}.name,.title{fill:#e9edf1}.ground{fill:#14171b}.band{fill:#1b2026}
.end{fill:#2a3037;stroke:#8a939d}.population{fill:#17324d;stroke:#5d9bd8}.synapses{fill:#3b2f1b;stroke:#c99a55}
.plain{fill:#14171b;stroke:#58616b}.extension{fill:#33254a;stroke:#a884d4}.edge{stroke:#6f7983}.tip{fill:#6f7983}
.lane{stroke:#57b584}.lanetip{fill:#57b584}.back{stroke:#e0718f}.backtip,.open{fill:#e0718f}}"""


def draw(found: Inspection) -> str:
    """The text of an SVG file; hovering over a box shows all about its node.

    Rows are grouped by latency, which is written on the left.  Edges that would cross boxes run beside the rows: those
    that lead down, which have delays, in green; those that lead back in red, dashed.
    """
    return _Drawing(found).text()


def inline(found: Inspection) -> str:
    """The same as an element of a page, which has to apply `STYLE` to it, below `.graph`.

    Nodes have their names in `data-node`, edges have them in `data-from` and `data-to`.
    """
    drawing = _Drawing(found)
    return drawing.root(f'class="graph" role="group" aria-label="{cleaned(Path(found.graph.source).name)}"', "")


class _Drawing:
    """The layout in pixels."""

    def __init__(self, found: Inspection) -> None:
        self.found = found
        self.layout: Layout = plan(found.nodes)
        longest = max(len(node.name) for node in found.nodes)
        self.box = max(150.0, min(longest, LONGEST) * CHARACTER + 18)
        half = (self.layout.reach + 0.5) * (self.box + GAP)
        before = MARGIN + SIDE + LANE * self.layout.count(upward=True)
        behind = LANE * self.layout.count(upward=False) + MARGIN
        self.width = max(before + 2 * half + behind, LEAST)
        self.centre = (self.width + before - behind) / 2
        self.left, self.right = self.centre - half, self.centre + half
        self.height = HEAD + self.layout.rows * ROW + MARGIN

    def text(self) -> str:
        title = cleaned(Path(self.found.graph.source).name)
        return self.root(
            f'xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}"',
            f"<title>{title}</title>\n<style>{STYLE}</style>\n",
        )

    def root(self, attributes: str, head: str) -> str:
        """The `svg` element of the whole drawing."""
        parts = [*self._bands(), *self._edges(), *(self._node(node) for node in self.found.nodes), *self._legend()]
        totals = self.found.totals
        title = Path(self.found.graph.source).name
        steps = self.found.graph.metadata.time_steps
        said = (
            f"{totals['nodes']} nodes, {totals['neurons']:,} neurons in {self.found.populations}, "
            f"{totals['parameters']:,} parameters, {totals['synapses']:,} synapses; depth {self.found.timing.depth}"
            + (f", {steps} time steps" if steps else "")
        )
        return "\n".join(
            [
                f'<svg {attributes} viewBox="0 0 {self.width:.0f} {self.height:.0f}" width="{self.width:.0f}" '
                f'height="{self.height:.0f}">\n{head}'
                f'<rect class="ground" width="{self.width:.0f}" height="{self.height:.0f}"/>',
                f'<text x="{MARGIN}" y="28" class="title">{cleaned(title)}</text>',
                f'<text x="{MARGIN}" y="46">{cleaned(said)}</text>',
                *parts,
                "</svg>\n",
            ]
        )

    def _x(self, name: str) -> float:
        return self.centre + self.layout.places[name].x * (self.box + GAP)

    def _top(self, name: str) -> float:
        return HEAD + self.layout.places[name].row * ROW + (ROW - BOX) / 2

    def _bands(self) -> list[str]:
        parts = [f'<text x="{MARGIN}" y="{HEAD - 4}">latency</text>']
        for i, (latency, (first, behind)) in enumerate(self.layout.bands.items()):
            y, height = HEAD + first * ROW, (behind - first) * ROW
            if i % 2 == 0:
                parts.append(
                    f'<rect class="band" x="{MARGIN}" y="{y}" width="{self.width - 2 * MARGIN:.0f}" height="{height}"/>'
                )
            parts.append(f'<text x="{MARGIN + 6}" y="{y + ROW / 2 + 3:.0f}">{latency}</text>')
        return parts

    def _node(self, node: NodeReport) -> str:
        kind = self._kind(node)
        x, y = self._x(node.name), self._top(node.name)
        centred = f'x="{x:.1f}" text-anchor="middle"'
        operation = self.found.graph.nodes[node.name].operation
        below = f"{node.type}{window(operation)} → {size(node.shape)}"
        parts = [
            f'<g data-node="{cleaned(node.name)}"><title>{cleaned(_everything(node))}</title>',
            _shape(kind, x - self.box / 2, y, self.box),
            f'<text {centred} y="{y + 13:.1f}" class="name">{cleaned(shortened(node.name, LONGEST))}</text>',
            f'<text {centred} y="{y + 24.5:.1f}">{cleaned(below)}</text>',
        ]
        if node.name in self._unproven():
            parts.append(f'<circle class="open" cx="{x + self.box / 2 - 7:.1f}" cy="{y + 7:.1f}" r="3.2"/>')
        return "".join([*parts, "</g>"])

    def _kind(self, node: NodeReport) -> str:
        operation = self.found.graph.nodes[node.name].operation
        if isinstance(operation, Source | Sink):
            return "end"
        if node.extension:
            return "extension"
        if node.neurons:
            return "population"
        return "synapses" if isinstance(operation, Linear) else "plain"

    def _unproven(self) -> set[str]:
        document = self.found.proof.proven or self.found.proof.claimed or {}
        return {name for name, proof in document.get("nodes", {}).items() if not proof.get("exact", True)}

    def _edges(self) -> list[str]:
        parts = []
        for source, reader in self.layout.direct:
            x, y = self._x(source), self._top(source) + BOX
            to, end = self._x(reader), self._top(reader)
            bend = min(end - y, ROW) * 0.6
            path = f"M{x:.1f} {y:.1f}C{x:.1f} {y + bend:.1f} {to:.1f} {end - bend - 3:.1f} {to:.1f} {end - 4:.1f}"
            parts += [_line("edge", path, source, reader), _tip("tip", to, end, 0, 1)]
        for lane in sorted(self.layout.lanes, key=lambda lane: -lane.index):
            parts += self._lane(lane)
        return parts

    def _lane(self, lane: Lane) -> list[str]:
        """One line out of the source and along the lane, and one more into each reader."""
        side, kind = (-1, "back") if lane.upward else (1, "lane")
        x = (self.left - LANE * (lane.index + 0.4)) if lane.upward else self.right + LANE * (lane.index + 0.4)
        begin, out = self._exit(lane.source, side, x)
        parts = []
        for reader in lane.readers:
            inside = reader != lane.source and self.layout.last_in_row(reader, right=side > 0)
            turn = self._top(reader) + BOX / 2 if inside else self._top(reader) - 5
            r = 6 if turn > begin else -6
            path = f"{out}V{turn - r:.1f}Q{x:.1f} {turn:.1f} {x - side * 6:.1f} {turn:.1f}"
            if inside:
                edge = self._x(reader) + side * self.box / 2
                path += f"H{edge + side * 4:.1f}"
                tip = _tip(f"{kind}tip", edge, turn, -side, 0)
            else:
                to = self._x(reader) + side * self.box / 4
                path += f"H{to + side * 4:.1f}Q{to:.1f} {turn:.1f} {to:.1f} {turn + 2:.1f}"
                tip = _tip(f"{kind}tip", to, self._top(reader), 0, 1)
            waits = self._delay(lane.source, reader)
            parts += [_line(kind, path, lane.source, reader, waits), tip]
        return parts

    def _delay(self, source: str, reader: str) -> int:
        return self.found.timing.delay.get((source, reader), 0)

    def _exit(self, name: str, side: int, lane: float) -> tuple[float, str]:
        """The height at which a line from a box reaches its lane, and the path as far as that."""
        if self.layout.last_in_row(name, right=side > 0):
            x, y = self._x(name) + side * self.box / 2, self._top(name) + BOX / 2
            return y, f"M{x:.1f} {y:.1f}H{lane - side * 6:.1f}Q{lane:.1f} {y:.1f} {lane:.1f} {y + side * 6:.1f}"
        x, y = self._x(name) + side * self.box / 4, self._top(name) + BOX
        turn = y + 5
        start = f"M{x:.1f} {y:.1f}V{turn - 3:.1f}Q{x:.1f} {turn:.1f} {x + side * 4:.1f} {turn:.1f}"
        return turn, f"{start}H{lane - side * 6:.1f}Q{lane:.1f} {turn:.1f} {lane:.1f} {turn + side * 6:.1f}"

    def _legend(self) -> list[str]:
        kinds = {self._kind(node) for node in self.found.nodes}
        parts, x = [], float(MARGIN)
        for kind, words in LEGEND.items():
            if kind in kinds:
                parts.append(_shape(kind, x, 56, 20, 12))
                parts.append(f'<text x="{x + 25:.0f}" y="66">{words}</text>')
                x += 25 + len(words) * 5.2 + 14
        for kind, words in (("lane", "edge that waits"), ("back", "edge back")):
            if any(lane.upward is (kind == "back") for lane in self.layout.lanes):
                parts.append(f'<path class="{kind}" d="M{x:.0f} 62h20"/>')
                parts.append(f'<text x="{x + 25:.0f}" y="66">{words}</text>')
                x += 25 + len(words) * 5.2 + 14
        if self._unproven():
            parts.append(f'<circle class="open" cx="{x + 4:.0f}" cy="62" r="3.2"/>')
            parts.append(f'<text x="{x + 12:.0f}" y="66">not proven exact</text>')
        return parts


def _shape(kind: str, x: float, y: float, width: float, height: float = BOX) -> str:
    if kind == "extension":
        cut = height / 4
        corners = (
            f"M{x + cut:.1f} {y:.1f}h{width - 2 * cut:.1f}l{cut:.1f} {cut:.1f}v{height - 2 * cut:.1f}"
            f"l{-cut:.1f} {cut:.1f}h{-(width - 2 * cut):.1f}l{-cut:.1f} {-cut:.1f}v{-(height - 2 * cut):.1f}z"
        )
        return f'<path class="box {kind}" d="{corners}"/>'
    radius = {"end": height / 2, "population": height / 3.2}.get(kind, 1.5)
    return f'<rect class="box {kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" rx="{radius:.1f}"/>'


def _line(kind: str, path: str, source: str, reader: str, waits: int = 0) -> str:
    words = f"{source} → {reader}" + (f", waits {waits} steps" if waits else "")
    ends = f'data-from="{cleaned(source)}" data-to="{cleaned(reader)}"'
    return f'<path class="{kind}" {ends} d="{path}"><title>{cleaned(words)}</title></path>'


def _tip(kind: str, x: float, y: float, right: int, down: int) -> str:
    """The head of an arrow that ends at (x, y)."""
    a, b = (x - 6 * right - 3 * down, y - 6 * down - 3 * right), (x - 6 * right + 3 * down, y - 6 * down + 3 * right)
    return f'<path class="{kind}" d="M{x:.1f} {y:.1f}L{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}z"/>'


def _everything(node: NodeReport) -> str:
    lines = [f"{node.name}: {node.type}", f"{size(node.input_shape)} → {size(node.shape)}, latency {node.latency}"]
    if node.words:
        lines.append(node.words)
    return "\n".join([*lines, *node.sizes, *(f"reads {s}" for s in node.sources)])
