"""SVG from strings: escaped elements, and panels for a page or, side by side, for a file of their own.

Every mark has its colour of the light theme as an attribute, which any reader of SVG understands, and a class, by which
a page's style sheet changes it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import TypeVar
from xml.sax.saxutils import escape as xml_escape

from markupsafe import Markup, escape

Row = TypeVar("Row")

WIDTH = 360.0
"""Width of every panel: that of a phone, so that text keeps its size there."""

GAP = 28.0
"""Space between the panels of a file."""

CHARACTER = 0.61
"""Width of a monospaced character over the size of its font."""

INK, FAINT, LINE, PAPER = "#1b1f24", "#5c6670", "#d5dae0", "#ffffff"
BLUE = "#0072b2"

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(value: object) -> object:
    """Text with the characters that XML forbids replaced, since names come from files; other values are unchanged."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("\ufffd", value)
    return value


def cleaned(text: str) -> str:
    """Text for SVG that is written as a string: escaped, and `printable`."""
    return xml_escape(str(printable(text)), {'"': "&quot;"})


def element(tag: str, *children: str, **attributes: str | float | None) -> Markup:
    """`<tag key="value">children</tag>`; text and all values are escaped, markup isn't.

    Args:
        tag: name of the element.
        *children: markup, or text.
        **attributes: `class_` and `stroke_width` stand for `class` and `stroke-width`; None leaves one out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(shown))}"'
        for key, value in attributes.items()
        if value is not None
        for shown in [value if isinstance(value, str) else f"{value:.6g}"]
    )
    inner = "".join(escape(printable(child)) for child in children)
    return Markup(f"<{tag}{given}>{inner}</{tag}>")


def label(x: float, y: float, text: str, *, size: float = 10, anchor: str = "start", faint: bool = False) -> Markup:
    """A line of text with its baseline at y."""
    return element(
        "text",
        text,
        x=x,
        y=y,
        font_size=size,
        text_anchor=None if anchor == "start" else anchor,
        fill=FAINT if faint else INK,
        class_="faint" if faint else "ink",
    )


def name_label(x: float, y: float, name: str, width: float) -> Markup:
    """A name from a file, monospaced; one too long for `width` loses its middle, and hovering shows it whole."""
    shown = shortened(name, int(width / (10 * CHARACTER)))
    return element(
        "text",
        shown,
        *([] if shown == name else [element("title", name)]),
        x=x,
        y=y,
        font_size=10,
        font_family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
        fill=INK,
        class_="ink",
    )


def shortened(name: str, characters: int) -> str:
    """The name; or, if it is longer than `characters`, its first and last characters around an ellipsis."""
    if len(name) <= characters:
        return name
    kept = max(2, characters - 1)
    return f"{name[: kept // 2]}…{name[len(name) - (kept - kept // 2) :]}"


def line(x1: float, y1: float, x2: float, y2: float, *, strong: bool = False) -> Markup:
    """A line of an axis or grid."""
    return element(
        "line",
        x1=x1,
        y1=y1,
        x2=x2,
        y2=y2,
        stroke=FAINT if strong else LINE,
        stroke_width=1,
        class_="axis" if strong else "grid",
    )


def pages(title: str, rows: Sequence[Row], most: int) -> list[tuple[str, Sequence[Row]]]:
    """The rows in their order, divided evenly among the fewest panels with at most `most` rows, with titles.

    If there are several panels, their titles are numbered.
    """
    count = ceil(len(rows) / most)
    titles = [title] if count == 1 else [f"{title} ({number} of {count})" for number in range(1, count + 1)]
    ends = [len(rows) * number // count for number in range(count + 1)] if count else [0]
    return [(each, rows[start:end]) for each, (start, end) in zip(titles, pairwise(ends), strict=True)]


@dataclass(frozen=True)
class Panel:
    """One drawing of `WIDTH` by `height`.

    Attributes:
        title: read out, and shown above it.
        description: its main figures, for screen readers.
        height: without the title.
        marks: elements.
    """

    title: str
    description: str
    height: float
    marks: Sequence[Markup]

    def inline(self, key: str) -> Markup:
        """The panel as an element of a page, in which no other panel has the same `key`."""
        return element(
            "svg",
            element("title", self.title, id=f"{key}-title"),
            element("desc", self.description, id=f"{key}-desc"),
            *self.marks,
            class_="panel",
            role="img",
            aria_labelledby=f"{key}-title {key}-desc",
            viewBox=f"0 0 {WIDTH:g} {self.height:g}",
            width=WIDTH,
            height=self.height,
        )


@dataclass(frozen=True)
class Figure:
    """Panels that belong together.

    Attributes:
        title: of all of them.
        panels: from left to right; colours have the same meaning in all.
        legend: of the colours; None if the panels explain them.
    """

    title: str
    panels: Sequence[Panel]
    legend: Panel | None = None

    def standalone(self) -> str:
        """The text of an SVG file: a title, the legend, and the panels side by side, each below its own title."""
        top = 26.0 + (self.legend.height + 8 if self.legend else 0)
        width = max(len(self.panels), 1) * (WIDTH + GAP) - GAP
        height = top + 20 + max((panel.height for panel in self.panels), default=0)
        placed = [label(0, 16, self.title, size=13)]
        if self.legend:
            placed.append(_moved(0, 26, *self.legend.marks))
        for column, panel in enumerate(self.panels):
            x = column * (WIDTH + GAP)
            placed += [label(x, top + 10, panel.title, size=11), _moved(x, top + 20, *panel.marks)]
        root = element(
            "svg",
            element("title", self.title),
            element("desc", " ".join(panel.description for panel in self.panels)),
            *placed,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"-8 -4 {width + 16:g} {height + 12:g}",
            width=width + 16,
            height=height + 12,
            font_family="Helvetica, Arial, sans-serif",
        )
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}\n'


def _moved(x: float, y: float, *marks: Markup) -> Markup:
    return element("g", *marks, transform=f"translate({x:g} {y:g})")
