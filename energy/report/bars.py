"""Stacked bars: one per layer, or one per network; lengths start at zero, on one scale wherever they are compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from energy.document import Part
from energy.report.parts import PARTS, swatch
from energy.report.scales import Scale
from neuromorphic.pages.svg import WIDTH, Panel, label, line, name_label, pages

ROW = 25.0
ROWS = 30
"""In one panel at most: what fits on a printed page."""


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        name: what is written above it.
        parts: their lengths; those that are zero are left out.
    """

    name: str
    parts: Mapping[Part, float]

    @property
    def total(self) -> float:
        """The length of the whole bar."""
        return sum(self.parts.values())


def bar_panels(title: str, bars: Sequence[Bar], longest: float, text: Callable[[float], str]) -> list[Panel]:
    """Panels of at most `ROWS` bars each, the axis below each of them.

    Args:
        title: of the first panel; the others repeat it with a number.
        bars: from top to bottom.
        longest: the value that takes the whole width: that of the longest bar among all that are compared.
        text: how a value is written.
    """
    total = sum(bar.total for bar in bars)
    panels = []
    for numbered, chunk in pages(title, bars, ROWS):
        top = max(chunk, key=lambda bar: bar.total)
        panels.append(
            Panel(
                numbered,
                f"{len(chunk)} of {len(bars)} rows, {text(total)} in all; the longest here is {top.name} with "
                f"{text(top.total)}. The table holds every figure.",
                len(chunk) * ROW + 22,
                _marks(chunk, longest, text),
            )
        )
    return panels


def _marks(bars: Sequence[Bar], longest: float, text: Callable[[float], str]) -> list[Markup]:
    scale = Scale(0, longest if longest > 0 else 1, 0, WIDTH)
    bottom = len(bars) * ROW + 2
    marks = []
    for tick in scale.ticks():
        x = scale(tick)
        anchor = "start" if x < 20 else "end" if x > WIDTH - 20 else "middle"
        marks += [line(x, 0, x, bottom), label(x, bottom + 14, text(tick) if tick else "0", anchor=anchor, faint=True)]
    for row, bar in enumerate(bars):
        y = row * ROW
        marks += [name_label(0, y + 10, bar.name, WIDTH - 72), label(WIDTH, y + 10, text(bar.total), anchor="end")]
        marks += [*stack(bar, y + 13.5, 8, scale, text), line(0, y + 12.5, 0, y + 22.5, strong=True)]
    return marks


def stack(bar: Bar, y: float, height: float, scale: Scale, text: Callable[[float], str]) -> list[Markup]:
    """The parts of a bar one behind the other, in the order of `PARTS`."""
    marks: list[Markup] = []
    before = 0.0
    for part, (words, _) in PARTS.items():
        value = bar.parts.get(part, 0.0)
        if value > 0:
            x = scale(before)
            before += value
            marks.append(swatch(part, x, y, scale(before) - x, height, f"{bar.name}: {words} {text(value)}"))
    return marks
