"""A picture of the chips as SVG, with a box for each core: its population and its operations; without scripts."""

from collections.abc import Iterator
from itertools import groupby

from neuromorphic.errors import number
from neuromorphic.pages.svg import cleaned, shortened
from neuromorphic.placement.report import Core, Placement

COLUMNS = 16
"""Cores in a row: Loihi 2's mesh is 8 × 16."""
BOX, HEIGHT, PITCH, ROW, MARGIN, LINE = 44, 24, 46, 27, 24, 18
PANEL = COLUMNS * PITCH
CHARACTER = 6.1
"""Width of a character of a name."""
LEGEND = 3
"""Columns of the legend."""
HUES = (
    *((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0)),
    *((86, 180, 233), (122, 79, 163), (138, 122, 31), (184, 55, 95), (92, 102, 112)),
)
"""The colours of Okabe and Ito, as on all pages, and four more."""
WHITENED = (0.45, 0.66)
"""Shares of white in a layer's colour, alternating between its populations; text on it is dark."""
LOW, HIGH = (225, 232, 240), (178, 34, 52)
"""Colours of no and of the most activity."""

STYLE = """text{font-family:system-ui,Helvetica,Arial,sans-serif;font-size:12px;fill:#1b1f24}
.name{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:10px}
.on{fill:#10151a}.bright{fill:#fff}.title{font-size:15px;font-weight:bold}.ground{fill:#fff}
.free{fill:none;stroke:#b4bac1;stroke-width:1}
@media (prefers-color-scheme:dark){text{fill:#e8ebee}.on{fill:#10151a}.bright{fill:#fff}.ground{fill:#14181c}
.free{stroke:#4a525a}}"""


def picture(placement: Placement) -> str:
    """The chips twice: coloured by population, and below by synaptic operations per step; hovering describes a core.

    Cores show the number of their population in the legend, and its name where there is room.  Populations of a layer,
    that is with the same name up to the second dot, have one colour in two shades.  Operations are those of the trace;
    without a trace, those of a step in which every neuron fires.
    """
    names = [entry.population.name for entry in placement.placed]
    fills = _fills(names)
    numbers = {name: i for i, name in enumerate(names, 1)}
    activity = placement.measured or placement.full_rate
    operations = [int(n) / activity.steps for n in activity.operations]
    most = max(operations)
    title = f"{number(len(placement.cores), 'core')} on {number(placement.chips, 'chip')}"
    what = "measured" if placement.measured else "all neurons firing"

    y = MARGIN + LINE
    parts = [_text(MARGIN, y - 10, f"{title}, by population", "title")]
    for chip in range(placement.chips):
        parts.append(_text(MARGIN, y + chip * _chip_height(placement) + LINE - 6, f"chip {chip + 1}"))
    names_of_rows = list(_names(placement, numbers, y))
    for x, top, population, words in names_of_rows:  # where a name passes from core to core, its ground does
        look = f'width="{len(words) * CHARACTER:g}" height="12" fill="{fills[population]}"'
        parts.append(f'<rect x="{x}" y="{top + 6}" {look}/>')
    for index, core, x, top in _places(placement, y):
        parts.append(_box(x, top, fills[core.population] if core else None, _words(core, index, operations)))
    parts += [_text(x, top + 16, words, "name on") for x, top, _, words in names_of_rows]
    y += _height(placement) + LINE
    parts += _legend(placement, names, fills, y)
    y += -(-len(names) // LEGEND) * LINE + 2 * LINE
    parts.append(_text(MARGIN, y - 10, f"synaptic operations per step, {what}", "title"))
    for index, core, x, top in _places(placement, y):
        part = operations[index] / most if core and most else 0.0
        parts.append(_box(x, top, _heat(part) if core else None, _words(core, index, operations)))
        if core:
            ink = "name bright" if part > 0.7 else "name on"
            parts.append(_text(x + BOX / 2, top + 16, _short(operations[index]), ink, middle=True))
    y += _height(placement) + LINE
    parts += _scale(most, y)
    width, height = 2 * MARGIN + PANEL, y + 28 + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="{cleaned(title)}">',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{width}" height="{height}"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _fills(names: list[str]) -> dict[str, str]:
    """The colour of each population."""
    layers = {layer: HUES[i % len(HUES)] for i, layer in enumerate(dict.fromkeys(map(_layer, names)))}
    found = {}
    for _, members in groupby(names, _layer):
        for i, name in enumerate(members):
            white = WHITENED[i % len(WHITENED)]
            found[name] = _hex([c + (255 - c) * white for c in layers[_layer(name)]])
    return found


def _layer(name: str) -> str:
    return ".".join(name.split(".")[:2])


def _height(placement: Placement) -> int:
    return placement.chips * _chip_height(placement)


def _chip_height(placement: Placement) -> int:
    return -(-placement.limits.cores_per_chip // COLUMNS) * ROW + LINE + 6


def _places(placement: Placement, y: int) -> Iterator[tuple[int, Core | None, int, int]]:
    """Index, core, x and y of every core on every chip, below `y`; the core is None where it is free."""
    for index in range(placement.chips * placement.limits.cores_per_chip):
        chip, slot = divmod(index, placement.limits.cores_per_chip)
        row, column = divmod(slot, COLUMNS)
        core = placement.cores[index] if index < len(placement.cores) else None
        yield index, core, MARGIN + column * PITCH, y + chip * _chip_height(placement) + LINE + row * ROW


def _names(placement: Placement, numbers: dict[str, int], y: int) -> Iterator[tuple[int, int, str, str]]:
    """For each run of a population's cores in a row: x, y, the population, and its number, with its name if it fits."""
    held = [(top, core.population, x) for _, core, x, top in _places(placement, y) if core]
    for (top, name), run in groupby(held, lambda place: place[:2]):
        xs = [x for _, _, x in run]
        room = int((len(xs) * PITCH - 8) / CHARACTER)
        said = f"{numbers[name]} {name}"
        words = shortened(said, room) if room >= min(len(said), 14) else str(numbers[name])
        yield xs[0] + 4, top, name, words


def _words(core: Core | None, index: int, operations: list[float]) -> str:
    if core is None:
        return f"core {index}: free"
    axes = (("channels", core.channels), ("rows", core.rows), ("columns", core.columns))
    block = ", ".join(f"{axis} {first}-{last - 1}" for axis, (first, last) in axes)
    return (
        f"core {index}: {core.population}, {block}; {core.neurons} neurons, {core.memory} bytes, "
        f"{operations[index]:.0f} operations per step"
    )


def _heat(part: float) -> str:
    return _hex([low + (high - low) * part for low, high in zip(LOW, HIGH, strict=True)])


def _hex(colour: list[float]) -> str:
    return "#" + "".join(f"{round(part):02x}" for part in colour)


def _short(count: float) -> str:
    """A number of operations that fits into a box: 12.3k."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit * 0.9995:
            return f"{count / unit:.3g}{suffix}"
    return f"{count:.0f}"


def _box(x: int, y: int, fill: str | None, words: str) -> str:
    look = 'class="free"' if fill is None else f'fill="{fill}"'
    box = f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="3" {look}>'
    return f"{box}<title>{cleaned(words)}</title></rect>"


def _text(x: float, y: float, words: str, kind: str = "", *, middle: bool = False) -> str:
    look = (f' class="{kind}"' if kind else "") + (' text-anchor="middle"' if middle else "")
    return f'<text x="{x:g}" y="{y:g}"{look}>{cleaned(words)}</text>'


def _legend(placement: Placement, names: list[str], fills: dict[str, str], top: int) -> list[str]:
    """Number, name and cores of every population, column after column."""
    cores = {name: sum(core.population == name for core in placement.cores) for name in names}
    rows = -(-len(names) // LEGEND)
    wide = PANEL / LEGEND
    parts = []
    for i, name in enumerate(names):
        x, y = MARGIN + i // rows * wide, top + i % rows * LINE
        parts.append(f'<rect x="{x:g}" y="{y:g}" width="22" height="14" rx="2" fill="{fills[name]}"/>')
        parts.append(_text(x + 11, y + 11, str(i + 1), "name on", middle=True))
        said = f", {number(cores[name], 'core')}"
        parts.append(_text(x + 28, y + 11, shortened(name, int((wide - 34) / CHARACTER) - len(said)) + said, "name"))
    return parts


def _scale(most: float, top: int) -> list[str]:
    """Colours from no operations to the most, in steps."""
    steps, parts = 12, []
    width = PANEL / 2 / steps
    for i in range(steps):
        fill = _heat(i / (steps - 1))
        parts.append(
            f'<rect x="{MARGIN + i * width:.2f}" y="{top}" width="{width + 0.5:.2f}" height="12" fill="{fill}"/>'
        )
    busiest = _text(MARGIN + PANEL / 2 + 8, top + 11, f"{most:,.0f}: the busiest core")
    return [*parts, _text(MARGIN, top + 26, "0"), busiest]
