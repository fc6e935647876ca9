"""Break-even plots: `cost(r) = (fixed + proportional · r / rate) / ann_energy`, the same energy where it is 1."""

from collections.abc import Mapping

from markupsafe import Markup

from energy.document import Comparison, Scheme
from energy.report.parts import SCHEMES
from energy.report.scales import Scale, decades, ratio_text
from neuromorphic.pages.svg import INK, PAPER, WIDTH, Panel, element, label, line

LINES: dict[Scheme, tuple[str, str | None]] = {
    "papers": ("#56b4e9", "2 3"),
    "operations": ("#0072b2", None),
    "ideal_reuse": ("#e69f00", "7 3"),
    "no_reuse": ("#d55e00", "9 2 2 2"),
    "chip": ("#009e73", None),
}
"""Colour and dashes of each scheme's curve."""

LEFT, PLOT, ROW = 34.0, 210.0, 30.0


def cost(comparison: Comparison, rate: float) -> float:
    """Energy over that of the twin if the mean firing rate were `rate`; nothing spikes where the run has no rate."""
    growing = comparison.proportional * rate / comparison.rate if comparison.rate else 0.0
    return (comparison.fixed + growing) / comparison.ann_energy


def break_even_panel(title: str, comparisons: Mapping[Scheme, Comparison]) -> Panel | None:
    """One curve per scheme; None where no comparison has a cost that a logarithmic axis can hold."""
    drawn = {key: one for key, one in comparisons.items() if one.ann_energy > 0 and cost(one, 1.0) > 0}
    if not drawn:
        return None
    marked = [rate for one in drawn.values() for rate in (one.rate, one.break_even_rate) if rate and rate < 1]
    x = Scale(decades([*marked, 0.05])[0], 1.0, LEFT, WIDTH - 6, logarithmic=True)
    ends = [value for one in drawn.values() for value in (cost(one, x.low), cost(one, 1.0)) if value > 0]
    y = Scale(*decades([*ends, 1.0]), PLOT, 6.0, logarithmic=True)
    marks = _axes(x, y)
    for scheme, one in drawn.items():
        marks += _curve(scheme, one, x, y)
    for row, (scheme, one) in enumerate(drawn.items()):
        marks += _entry(scheme, one, PLOT + 40 + row * ROW)
    told = "; ".join(f"{SCHEMES[scheme]}: {_told(one)}" for scheme, one in drawn.items())
    return Panel(title, f"Cost ratio against firing rate. {told}.", PLOT + 40 + len(drawn) * ROW, marks)


def _axes(x: Scale, y: Scale) -> list[Markup]:
    marks = []
    for tick in x.ticks():
        anchor = "end" if x(tick) > WIDTH - 12 else "middle"
        marks += [
            line(x(tick), y.end, x(tick), PLOT),
            label(x(tick), PLOT + 13, f"{tick:g}", anchor=anchor, faint=True),
        ]
    for tick in y.ticks():
        marks += [
            line(LEFT, y(tick), x.end, y(tick)),
            label(LEFT - 4, y(tick) + 3.5, f"{tick:g}", anchor="end", faint=True),
        ]
    middle = (LEFT + WIDTH) / 2
    return [
        *marks,
        line(LEFT, y.end, LEFT, PLOT, strong=True),
        line(LEFT, PLOT, x.end, PLOT, strong=True),
        label(middle, PLOT + 27, "firing rate, weighted by fan-out", anchor="middle", faint=True),
        element("rect", x=LEFT, y=y.end, width=x.end - LEFT, height=y(1) - y.end, fill="#d55e00", fill_opacity=0.07),
        element("line", x1=LEFT, x2=x.end, y1=y(1), y2=y(1), stroke=INK, stroke_width=1.2, class_="one"),
        label(LEFT + 5, y.end + 11, "ANN cheaper", faint=True),
        label(LEFT + 5, PLOT - 6, "SNN cheaper", faint=True),
    ]


def _curve(scheme: Scheme, one: Comparison, x: Scale, y: Scale) -> list[Markup]:
    colour, dashes = LINES[scheme]
    rates = [x.low * (1 / x.low) ** (step / 60) for step in range(61)]
    shown = [(x(rate), y(cost(one, rate))) for rate in rates if cost(one, rate) > 0]
    path = "M" + "L".join(f"{a:.2f} {b:.2f}" for a, b in shown)
    marks = [
        element("path", d=path, fill="none", stroke=colour, stroke_width=2, stroke_dasharray=dashes,
                class_=f"scheme-{scheme}")
    ]  # fmt: skip
    if one.break_even_rate and x.low <= one.break_even_rate <= 1:
        marks.append(
            element("circle", cx=x(one.break_even_rate), cy=y(1), r=4, fill=PAPER, stroke=colour, stroke_width=1.5,
                    class_=f"scheme-{scheme} hollow")
        )  # fmt: skip
    if one.rate:
        marks.append(
            element("circle", cx=x(one.rate), cy=y(cost(one, one.rate)), r=4.5, fill=colour, stroke=PAPER,
                    stroke_width=1, class_=f"scheme-{scheme} point")
        )  # fmt: skip
    return marks


def _entry(scheme: Scheme, one: Comparison, y: float) -> list[Markup]:
    colour, dashes = LINES[scheme]
    return [
        element("path", d=f"M0 {y + 8:g}h28", fill="none", stroke=colour, stroke_width=2, stroke_dasharray=dashes,
                class_=f"scheme-{scheme}"),
        element("circle", cx=14, cy=y + 8, r=4, fill=colour, stroke=PAPER, class_=f"scheme-{scheme} point"),
        label(36, y + 12, SCHEMES[scheme], size=11),
        label(36, y + 24, _told(one), faint=True),
    ]  # fmt: skip


def _told(one: Comparison) -> str:
    """This run's point, and where its curve crosses 1."""
    if not one.rate:
        return f"nothing spikes, ratio {ratio_text(cost(one, 0))}"
    run = f"ratio {ratio_text(cost(one, one.rate))} at rate {ratio_text(one.rate)}"
    if one.break_even_rate is None:
        return f"{run}; no rate breaks even"
    if one.break_even_rate > 1:
        return f"{run}; cheaper at every rate"
    return f"{run}; breaks even at {ratio_text(one.break_even_rate)}"
