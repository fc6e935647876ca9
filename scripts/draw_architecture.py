"""Draw docs/architecture.svg: the packages, and the rooms of `neuromorphic`, each above what it imports.

python scripts/draw_architecture.py
"""

from pathlib import Path

from draw_pipeline import BLUE, GREEN, INK, ORANGE, PURPLE, Box, arrow, picture

OUT = Path(__file__).resolve().parents[1] / "docs" / "architecture.svg"
WIDTH, HEIGHT = 1200, 860

SPIKECLIP = Box(30, 30, 220, 120, BLUE, "spikeclip", ("the model: encoder,", "training, data, labels", "torch"))
EXPORT = Box(30, 220, 220, 120, ORANGE, "export", ("checkpoint or module", "to NIR and ONNX", "torch"))
ENERGY = Box(950, 30, 220, 120, PURPLE, "energy", ("operations, counted", "and priced", "no torch"))

ROOMS = (
    Box(330, 40, 260, 85, GREEN, "runs", ("what commands run and", "what they say of it")),
    Box(330, 145, 535, 65, GREEN, "targets", ("who runs a graph; a verdict for each",)),
    Box(330, 230, 535, 65, GREEN, "deploy", ("a folder that Lava runs by itself; lava-dl's .net",)),
    Box(330, 315, 165, 70, GREEN, "lava", ("processes, network",)),
    Box(515, 315, 165, 70, GREEN, "placement", ("cores of a chip",)),
    Box(700, 315, 165, 70, GREEN, "inspection", ("words, picture, proof",)),
    Box(330, 405, 260, 70, GREEN, "execution", ("the reference; the fast executor",)),
    Box(610, 405, 255, 70, GREEN, "loihi2", ("floats to the chip's integers",)),
    Box(330, 495, 260, 70, GREEN, "analysis", ("facts about a graph, once; proofs",)),
    Box(610, 495, 255, 70, GREEN, "reading", (".nir, .net and frames",)),
    Box(330, 585, 535, 65, GREEN, "ir", ("Graph, Node, metadata, traces, parity",)),
    Box(330, 670, 535, 65, GREEN, "ops", ("one class per operation",)),
    Box(330, 755, 165, 65, GREEN, "pages", ("what all pages share",)),
    Box(515, 755, 165, 65, GREEN, "cluster", ("shards, here or away",)),
    Box(700, 755, 165, 65, GREEN, "errors, files", ("refusals; whole files",)),
)


def drawing() -> str:
    """The picture as one SVG document."""
    frame = (
        f'<rect x="300" y="15" width="595" height="825" rx="14" fill="none" stroke="{GREEN}" stroke-dasharray="6 5"/>'
        f'<text x="745" y="65" class="title" fill="{GREEN}">neuromorphic</text>'
        f'<text x="745" y="88" class="line" fill="{INK}">no torch; rooms import those below</text>'
    )
    arrows = (
        arrow([(140, 220), (140, 153)], "", (0, 0)),
        arrow([(250, 90), (297, 90)], "", (0, 0)),
        arrow([(250, 300), (297, 300)], "", (0, 0)),
        arrow([(950, 90), (898, 90)], "", (0, 0)),
    )
    boxes = (box.svg() for box in (SPIKECLIP, EXPORT, ENERGY, *ROOMS))
    return picture((WIDTH, HEIGHT), "The packages, and the rooms of neuromorphic", (frame, *arrows, *boxes))


if __name__ == "__main__":
    OUT.write_text(drawing(), encoding="utf-8")
