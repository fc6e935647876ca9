"""Parts of an energy and schemes of an account: their words, and colours that colour-blind readers can tell apart.

Operations are filled.  Accesses to memory, and what a chip's routers carry, are hatched in the colour of what they
serve.  The colours are those of Okabe and Ito; `report.css` lightens some of them on a dark page.
"""

from collections.abc import Iterable

from markupsafe import Markup

from energy.document import Part, Scheme
from neuromorphic.pages.svg import WIDTH, Panel, element, label

PARTS: dict[Part, tuple[str, str]] = {
    "synapses": ("SOPs", "#0072b2"),
    "macs": ("MACs", "#d55e00"),
    "attention": ("self-attention", "#009e73"),
    "updates": ("neuron updates", "#cc79a7"),
    "additions": ("other additions", "#56b4e9"),
    "comparisons": ("comparisons", "#b8a900"),
    "weights": ("memory: weights", "#e69f00"),
    "states": ("memory: states", "#cc79a7"),
    "spikes": ("spikes carried", "#0072b2"),
    "activations": ("memory: activations", "#d55e00"),
}
"""Words and colour of each, in the order in which they are stacked."""

MEMORY = frozenset({"weights", "states", "spikes", "activations"})
"""Parts that are hatched."""

SCHEMES: dict[Scheme, str] = {
    "papers": "as papers count",
    "operations": "all operations",
    "ideal_reuse": "with memory, ideal reuse",
    "no_reuse": "with memory, no reuse",
    "chip": "published chip figures",
}
"""Short words for accounts; an account's own title says more."""


def swatch(part: Part, x: float, y: float, width: float, height: float, title: str | None = None) -> Markup:
    """A filled rectangle of a part; hatched by lines of the paper's colour where it is memory."""
    marks = [element("rect", x=x, y=y, width=width, height=height, fill=PARTS[part][1], class_=f"part-{part}")]
    if part in MEMORY:
        # Upright bars: a pattern would need an identifier, unique within whatever page the figure ends up in.
        count = int(width / 4)
        path = "".join(f"M{x + 4 * index + 3:.6g} {y:.6g}v{height:.6g}" for index in range(count))
        if path:
            marks.append(element("path", d=path, stroke="#ffffff", stroke_width=1.5, class_="hatch"))
    return element("g", *([] if title is None else [element("title", title)]), *marks)


def legend(shown: Iterable[Part]) -> Panel:
    """The meaning of the colours of the parts that are shown."""
    present = set(shown)
    order = [part for part in PARTS if part in present]
    marks: list[Markup] = []
    for index, part in enumerate(order):
        x, y = (index % 2) * WIDTH / 2, (index // 2) * 17
        marks += [swatch(part, x, y + 2, 26, 10), label(x + 32, y + 11, PARTS[part][0], size=11)]
    words = ", ".join(PARTS[part][0] for part in order)
    return Panel("Colours", f"In the order of the stacks: {words}.", (len(order) + 1) // 2 * 17 + 2, marks)
