"""Draw docs/architecture.svg: the packages, and the rooms of `neuromorphic`, each above what it imports.

python scripts/draw_architecture.py
"""

from pathlib import Path

from draw_pipeline import BLUE, GREEN, ORANGE, PURPLE, Box, arrow, picture

OUT = Path(__file__).resolve().parents[1] / "docs" / "architecture.svg"
WIDTH, HEIGHT = 1200, 640

SPIKECLIP = Box(
    30, 30, 220, 120, BLUE, "spikeclip", ("the model: encoder, training,", "data, labels, checkpoints", "torch")
)
EXPORT = Box(30, 220, 220, 120, ORANGE, "export", ("checkpoint or module", "to NIR and ONNX", "torch"))
ENERGY = Box(950, 30, 220, 120, PURPLE, "energy", ("operations counted, priced,", "reported", "no torch"))

ROOMS = (
    Box(330, 40, 260, 70, GREEN, "targets", ("refuses(graph), run(graph, frames)",)),
    Box(330, 150, 165, 70, GREEN, "lava", ("processes, network",)),
    Box(515, 150, 165, 70, GREEN, "placement", ("cores of a chip",)),
    Box(700, 150, 165, 70, GREEN, "inspection", ("words, picture",)),
    Box(330, 260, 260, 70, GREEN, "execution", ("the reference; the fast executor",)),
    Box(610, 260, 255, 70, GREEN, "loihi2", ("floats to the chip's integers",)),
    Box(330, 370, 260, 70, GREEN, "analysis", ("facts about a graph, once",)),
    Box(610, 370, 255, 70, GREEN, "reading", (".nir to Graph: passes",)),
    Box(330, 480, 535, 55, GREEN, "ir", ("Graph, Node, metadata, traces, parity",)),
    Box(330, 560, 535, 55, GREEN, "ops", ("one class per operation",)),
)


def drawing() -> str:
    """The picture as one SVG document."""
    frame = (
        f'<rect x="300" y="15" width="595" height="615" rx="14" fill="none" stroke="{GREEN}" stroke-dasharray="6 5"/>'
        f'<text x="745" y="65" class="title" fill="{GREEN}">neuromorphic</text>'
        '<text x="745" y="88" class="line">no torch; a room imports those below</text>'
    )
    arrows = (
        arrow([(140, 220), (140, 153)], "", (0, 0)),
        arrow([(250, 300), (297, 300)], "", (0, 0)),
        arrow([(950, 90), (898, 90)], "", (0, 0)),
    )
    boxes = (box.svg() for box in (SPIKECLIP, EXPORT, ENERGY, *ROOMS))
    return picture((WIDTH, HEIGHT), "The packages, and the rooms of neuromorphic", (frame, *arrows, *boxes))


if __name__ == "__main__":
    OUT.write_text(drawing(), encoding="utf-8")
