"""The chips as SVG: a square per core, coloured by layer and by what happens on it; no scripts, nothing to load."""

from xml.sax.saxutils import escape

from neuromorphic.placement.report import Core, Placement

COLUMNS = 16
"""Cores in a row: Loihi 2's mesh is 8 × 16."""
SQUARE, PITCH, MARGIN, LINE = 20, 23, 24, 18
PANEL = COLUMNS * PITCH
LEFT, RIGHT, TOP = MARGIN, MARGIN + PANEL + 48, MARGIN + 2 * LINE
HUES = ("#2f6fb0", "#c8641b", "#2e8b57", "#7a4fa3", "#b8375f", "#8a7a1f", "#3aa0a8", "#5c6670", "#d98ca6", "#74b05a")
LOW, HIGH = (225, 232, 240), (178, 34, 52)
"""Colours of no and of the most activity."""

STYLE = """text{font-family:Helvetica,Arial,sans-serif;font-size:13px;fill:#222}
.title{font-size:14px;font-weight:bold}.ground{fill:#fbfbfc}.free{fill:none;stroke:#b4bac1;stroke-width:1}
@media (prefers-color-scheme:dark){text{fill:#e6e6e6}.ground{fill:#16191d}.free{stroke:#4a525a}}"""


def picture(placement: Placement) -> str:
    """The chips, left by layer and right by synaptic operations per step; hovering over a core says what it holds.

    A layer is a population's name up to its second dot; its populations differ in shade.  Operations are those of the
    trace; where there is none, of a step in which every neuron fires.
    """
    names = [entry.population.name for entry in placement.placed]
    colours = {layer: HUES[i % len(HUES)] for i, layer in enumerate(dict.fromkeys(map(_layer, names)))}
    shades = {name: "" if i % 2 else ' opacity="0.72"' for i, name in enumerate(names)}  # tells neighbours apart
    activity = placement.measured or placement.full_rate
    operations = [int(n) / activity.steps for n in activity.operations]
    most = max(operations)

    per_chip = placement.limits.cores_per_chip
    chip_height = -(-per_chip // COLUMNS) * PITCH + LINE + 10
    parts = []
    for chip in range(placement.chips):
        y = TOP + chip * chip_height
        parts += [_text(x, y + LINE - 6, f"chip {chip + 1}") for x in (LEFT, RIGHT)]
        for slot in range(per_chip):
            index = chip * per_chip + slot
            row, column = divmod(slot, COLUMNS)
            layer = heat = 'class="free"'
            words = f"core {index}: free"
            if index < len(placement.cores):
                core = placement.cores[index]
                layer = f'fill="{colours[_layer(core.population)]}"{shades[core.population]}'
                heat = f'fill="{_heat(operations[index] / most if most else 0.0)}"'
                words = _words(core, operations[index])
            for x, look in ((LEFT, layer), (RIGHT, heat)):
                parts.append(_square(x + column * PITCH, y + LINE + row * PITCH, look, words))
    below = TOP + placement.chips * chip_height + LINE
    parts += _legend(colours, below) + _scale(most, below)

    width, height = RIGHT + PANEL + MARGIN, below + (len(colours) + 1) // 2 * LINE + LINE + MARGIN
    number = len(placement.cores)
    title = f"{number} core{'s' * (number != 1)} on {placement.chips} chip{'s' if placement.chips > 1 else ''}"
    what = "measured" if placement.measured else "all neurons firing"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="{escape(title)}">',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{width}" height="{height}"/>',
            _text(LEFT, MARGIN + 6, f"{title}, by layer", "title"),
            _text(RIGHT, MARGIN + 6, f"synaptic operations per step, {what}", "title"),
            *parts,
            "</svg>\n",
        ]
    )


def _layer(name: str) -> str:
    return ".".join(name.split(".")[:2])


def _words(core: Core, operations: float) -> str:
    axes = (("channels", core.channels), ("rows", core.rows), ("columns", core.columns))
    block = ", ".join(f"{axis} {first}-{last - 1}" for axis, (first, last) in axes)
    return (
        f"core {core.index}: {core.population}, {block}; {core.neurons} neurons, {core.memory} bytes, "
        f"{operations:.0f} operations per step"
    )


def _heat(part: float) -> str:
    red, green, blue = (round(low + (high - low) * part) for low, high in zip(LOW, HIGH, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _square(x: int, y: int, look: str, words: str) -> str:
    square = f'<rect x="{x}" y="{y}" width="{SQUARE}" height="{SQUARE}" rx="3" {look}>'
    return f"{square}<title>{escape(words)}</title></rect>"


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    look = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{look}>{escape(words)}</text>'


def _legend(colours: dict[str, str], top: int) -> list[str]:
    parts = []
    for i, (layer, colour) in enumerate(colours.items()):
        x, y = LEFT + i % 2 * PANEL // 2, top + i // 2 * LINE
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(_text(x + 18, y + 11, layer))
    return parts


def _scale(most: float, top: int) -> list[str]:
    """Colours from no operations to the most, in steps."""
    steps, parts = 12, []
    width = PANEL / 2 / steps
    for i in range(steps):
        fill = _heat(i / (steps - 1))
        parts.append(
            f'<rect x="{RIGHT + i * width:.2f}" y="{top}" width="{width + 0.5:.2f}" height="12" fill="{fill}"/>'
        )
    busiest = _text(RIGHT + PANEL / 2 - 20, top + 28, f"{most:,.0f}: the busiest core")
    return [*parts, _text(RIGHT, top + 28, "0"), busiest]
