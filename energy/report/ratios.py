"""Ratios: energy of the encoder over that of its ANN, image by image, on a logarithmic axis."""

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from energy.document import Comparison, Scheme, Verdict
from energy.report.parts import SCHEMES
from energy.report.scales import Scale, decades, ratio_text
from neuromorphic.pages.svg import INK, PAPER, WIDTH, Panel, element, label, line

COLOURS: dict[Verdict, str] = {"cheaper": "#0072b2", "not cheaper": "#d55e00", "undecided": "#5c6670"}

ROW = 30.0


def ratio_ends(comparisons: Iterable[Comparison]) -> tuple[float, float]:
    """The ends of an axis that holds every image's ratio, and 1."""
    return decades([v for one in comparisons for v in (one.ratio.minimum, one.ratio.maximum, 1.0) if v > 0])


def ratio_panel(title: str, comparisons: Mapping[Scheme, Comparison], ends: tuple[float, float]) -> Panel:
    """Energy over that of the twin, one row per scheme: the mean, its 95 % interval, lowest and highest image."""
    scale = Scale(*ends, 6.0, WIDTH - 6, logarithmic=True)
    bottom = len(comparisons) * ROW + 16
    at = scale(1)
    marks = []
    if at - scale.start > 80:
        marks.append(label(at - 5, 9, "← SNN cheaper", anchor="end", faint=True))
    if scale.end - at > 80:
        marks.append(label(at + 5, 9, "ANN cheaper →", faint=True))
    for tick in scale.ticks():
        x = scale(tick)
        anchor = "start" if x < 20 else "end" if x > WIDTH - 20 else "middle"
        marks.append(label(x, bottom + 14, f"{tick:g}", anchor=anchor, faint=True))
    for row, (scheme, one) in enumerate(comparisons.items()):
        y = 16 + row * ROW
        # Lines of the grid end where words begin.
        marks += [line(scale(tick), y + 13, scale(tick), y + 27) for tick in scale.ticks()]
        marks.append(element("line", x1=at, x2=at, y1=y + 13, y2=y + 27, stroke=INK, stroke_width=1.5, class_="one"))
        words = f"{ratio_text(one.ratio.mean)}, {one.verdict}"
        marks += [label(0, y + 10, SCHEMES[scheme], size=11), label(WIDTH, y + 10, words, size=11, anchor="end")]
        if one.ratio.minimum > 0:
            marks += _point(one, scale, y + 20)
    told = "; ".join(f"{SCHEMES[key]}: {ratio_text(one.ratio.mean)}, {one.verdict}" for key, one in comparisons.items())
    return Panel(title, f"{told}.", bottom + 22, marks)


def _point(one: Comparison, scale: Scale, y: float) -> list[Markup]:
    """Range and interval as lines; the mean as a disc (cheaper), square (not cheaper) or hollow diamond (undecided)."""
    colour, kind = COLOURS[one.verdict], f"verdict-{one.verdict.replace(' ', '-')}"
    x, ratio = scale(one.ratio.mean), one.ratio
    spans = [(ratio.minimum, ratio.maximum, 1.5), *([] if ratio.interval is None else [(*ratio.interval, 4.0)])]
    # The interval of a few images may reach below zero, and beyond all of them: it ends at the axis' ends.
    marks = [
        element("line", x1=scale(max(low, scale.low)), x2=scale(min(high, scale.high)), y1=y, y2=y, stroke=colour,
                stroke_width=width, class_=kind)
        for low, high, width in spans
    ]  # fmt: skip
    if one.verdict == "cheaper":
        mark = element("circle", cx=x, cy=y, r=5, fill=colour, stroke=PAPER, class_=f"{kind} point")
    elif one.verdict == "not cheaper":
        mark = element(
            "rect", x=x - 4.5, y=y - 4.5, width=9, height=9, fill=colour, stroke=PAPER, class_=f"{kind} point"
        )
    else:
        shape = f"M{x:.2f} {y - 6:g}l6 6l-6 6l-6 -6z"
        mark = element("path", d=shape, fill=PAPER, stroke=colour, stroke_width=2, class_=f"{kind} hollow")
    title = element("title", f"{ratio_text(ratio.mean)} ({ratio_text(ratio.minimum)} to {ratio_text(ratio.maximum)})")
    return [element("g", title, *marks, mark)]
