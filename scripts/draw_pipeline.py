"""Draw docs/pipeline.svg: what the four packages do, from a checkpoint to a verdict.

python scripts/draw_pipeline.py
"""

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

OUT = Path(__file__).resolve().parents[1] / "docs" / "pipeline.svg"
WIDTH, HEIGHT = 1200, 400
BLUE, ORANGE, GREEN, PURPLE, GREY = "#2f6fb0", "#b85a14", "#257a4b", "#7a4fa3", "#5c6670"
BOX, PAPER, INK = "#ffffff", "#fbfbfc", "#222222"

DARK = {
    BLUE: "#7ab8f5", ORANGE: "#f0a267", GREEN: "#6cc997", PURPLE: "#c3a0ea", GREY: "#9aa4ae",
    BOX: "#1c2128", PAPER: "#14181d", INK: "#e6e9ec",
}  # fmt: skip
"""The colour that replaces each colour if the reader's theme is dark."""


@dataclass(frozen=True)
class Box:
    """A rounded box with a title and lines of text below it."""

    x: int
    y: int
    width: int
    height: int
    colour: str
    title: str
    lines: tuple[str, ...]

    def svg(self) -> str:
        """The box as SVG elements."""
        middle = self.x + self.width / 2
        parts = [
            f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="10" '
            f'fill="{BOX}" stroke="{self.colour}" stroke-width="2.5"/>',
            f'<text x="{middle}" y="{self.y + 27}" class="title" fill="{self.colour}">{escape(self.title)}</text>',
        ]
        for i, line in enumerate(self.lines):
            parts.append(
                f'<text x="{middle}" y="{self.y + 50 + 19 * i}" class="line" fill="{INK}">{escape(line)}</text>'
            )
        return "\n".join(parts)


def arrow(points: list[tuple[int, int]], label: str, label_at: tuple[int, int]) -> str:
    """A line through `points` with a head at its end, and a command's name beside it."""
    path = " ".join(f"{x},{y}" for x, y in points)
    line = f'<polyline points="{path}" fill="none" stroke="{GREY}" stroke-width="2" marker-end="url(#head)"/>'
    return f'{line}\n<text x="{label_at[0]}" y="{label_at[1]}" class="command" fill="{INK}">{escape(label)}</text>'


def picture(size: tuple[int, int], words: str, parts: tuple[str, ...]) -> str:
    """An SVG document of that size; `words` are what a screen reader says."""
    width, height = size
    dark = "".join(f'[fill="{a}"]{{fill:{b}}}[stroke="{a}"]{{stroke:{b}}}' for a, b in DARK.items())
    style = (
        "text{font-family:Helvetica,Arial,sans-serif;text-anchor:middle}"
        ".title{font-size:19px;font-weight:bold}.line{font-size:14.5px}"
        ".command{font-family:Menlo,Consolas,monospace;font-size:13px}"
        f"@media(prefers-color-scheme:dark){{{dark}}}"
    )
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
            f'aria-label="{escape(words)}">',
            f"<style>{style}</style>",
            f'<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
            f'<path d="M0,0 L10,5 L0,10 z" fill="{GREY}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
            *parts,
            "</svg>\n",
        )
    )


def drawing() -> str:
    """The picture as one SVG document."""
    boxes = (
        Box(
            20, 130, 190, 140, BLUE, "trained network",
            ("SpikeCLIP's encoder, or", "a module of your own:", "PyTorch, SpikingJelly,", "snnTorch, Norse"),
        ),
        Box(
            362, 130, 210, 140, ORANGE, "model.nir",
            ("BatchNorm folded", "weights on dyadic grids", "AND, OR, sums as neurons", "certificate: what is exact"),
        ),
        Box(
            735, 130, 175, 140, GREEN, "Lava",
            ("Loihi's timing", "one step per synapse", "floats, or the chip's", "integers on its cores"),
        ),
        Box(
            975, 40, 205, 110, GREEN, "parity",
            ("every spike compared:", "0 mismatches, or the", "first one by name"),
        ),
        Box(
            975, 250, 205, 110, PURPLE, "operations",
            ("SOPs by true fan-out", "beside the ANN's MACs", "per layer, as integers"),
        ),
    )  # fmt: skip
    arrows = (
        arrow([(210, 200), (356, 200)], "spikeclip-export", (285, 188)),
        arrow([(572, 200), (729, 200)], "spikeclip-simulate", (653, 188)),
        arrow([(115, 130), (115, 70), (969, 70)], "spikeclip-simulate --check: PyTorch's spikes", (480, 58)),
        arrow([(467, 270), (467, 330), (969, 330)], "spikeclip-energy", (630, 318)),
        arrow([(910, 180), (938, 180), (938, 120), (969, 120)], "trace", (962, 184)),
        arrow([(910, 220), (938, 220), (938, 285), (969, 285)], "trace", (962, 224)),
    )
    words = (
        "From a trained network by spikeclip-export to a NIR graph, by spikeclip-simulate to Lava and a parity report, "
        "by spikeclip-energy to operation counts"
    )
    return picture((WIDTH, HEIGHT), words, (*arrows, *(box.svg() for box in boxes)))


if __name__ == "__main__":
    OUT.write_text(drawing())
