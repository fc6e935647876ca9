"""Heat map of firing rates: `rate[p, t] = spikes[p, t] / (neurons[p] · images)`, population by time step."""

from collections.abc import Mapping

from markupsafe import Markup

from energy.counts import PopulationCounts
from energy.report.scales import ratio_text
from neuromorphic.pages.svg import FAINT, INK, LINE, PAPER, WIDTH, Figure, Panel, element, label, name_label, pages

ROW = 18.0
ROWS = 40
NAMES = 148.0
MEAN = 44.0
"""Widths of the columns of names and of means."""

RAMP = (
    *("#fdf6c3", "#fdd88f", "#fbb465", "#f48d53", "#e26752"),
    *("#c4475b", "#9d2f63", "#742365", "#4a1e5c", "#211745"),
)
"""From a silent step to the busiest: lightness falls evenly, so that it also reads in grey."""

BRIGHT = 5
"""The number of colours of the ramp that are so bright that text on them is dark."""

READABLE = 30.0
"""Width of a cell that has room for its value."""


def rates(populations: Mapping[str, PopulationCounts], images: int) -> Figure:
    """The heat map; at most `ROWS` populations in one panel."""
    found = {name: step_rates(population, images) for name, population in populations.items()}
    highest = max((rate for row in found.values() for rate in row), default=0.0)
    panels = []
    for title, chunk in pages("Firing rates by population and time step", list(found), ROWS):
        busiest = max(chunk, key=lambda name: populations[name].rate)
        silent = sum(populations[name].spikes == 0 for name in chunk)
        panels.append(
            Panel(
                title,
                f"{len(chunk)} populations; the busiest is {busiest} at a rate of "
                f"{ratio_text(populations[busiest].rate)}; {silent} never fire. The table holds every rate.",
                len(chunk) * ROW + 58,
                [
                    *_cells({name: found[name] for name in chunk}, populations, highest),
                    *_key(len(chunk) * ROW + 32, highest),
                ],
            )
        )
    return Figure("Firing rates", panels)


def step_rates(population: PopulationCounts, images: int) -> list[float]:
    """Spikes per neuron in each time step."""
    return [spikes / (population.neurons * images) for spikes in population.spikes_per_step]


def _cells(
    found: Mapping[str, list[float]], populations: Mapping[str, PopulationCounts], highest: float
) -> list[Markup]:
    steps = len(next(iter(found.values())))
    width = (WIDTH - NAMES - MEAN) / steps
    every = max(1, round(24 / width))
    marks = [label(0, 12, "population", faint=True), label(WIDTH, 12, "mean", anchor="end", faint=True)]
    marks += [
        label(NAMES + (step + 0.5) * width, 12, f"t={step + 1}" if width >= READABLE else f"{step + 1}",
              anchor="middle", faint=True)
        for step in range(0, steps, every)
    ]  # fmt: skip
    for row, (name, values) in enumerate(found.items()):
        y = 18 + row * ROW
        marks.append(name_label(0, y + 12.5, name, NAMES - 6))
        for step, rate in enumerate(values):
            marks.append(_cell(NAMES + step * width, y, width, rate, highest, f"{name}, step {step + 1}"))
        marks.append(label(WIDTH, y + 12.5, _rate_text(populations[name].rate), anchor="end"))
    return marks


def _cell(x: float, y: float, width: float, rate: float, highest: float, name: str) -> Markup:
    """One step: coloured by its rate; an empty frame where nothing fires."""
    shade = shade_of(rate, highest)
    gap = 1.0 if width > 6 else 0.0
    marks = [
        element("title", f"{name}: {ratio_text(rate)}"),
        element("rect", x=x, y=y, width=width - gap, height=ROW - 1, fill=PAPER, stroke=LINE, class_="silent")
        if rate == 0
        else element("rect", x=x, y=y, width=width - gap, height=ROW - 1, fill=RAMP[shade]),
    ]
    if width >= READABLE:
        # Text keeps its colour in the dark theme, since cells do; that of an empty frame follows the page.
        ink, kind = (FAINT, "faint") if rate == 0 else (INK if shade < BRIGHT else PAPER, None)
        marks.append(
            element("text", _rate_text(rate), x=x + width / 2, y=y + 12.5, font_size=9.5, text_anchor="middle",
                    fill=ink, class_=kind)
        )  # fmt: skip
    return element("g", *marks)


def shade_of(rate: float, highest: float) -> int:
    """Which colour of the ramp a rate has."""
    return min(int(rate / highest * len(RAMP)), len(RAMP) - 1) if highest else 0


def _rate_text(rate: float) -> str:
    return "0" if rate == 0 else "<.001" if rate < 0.0005 else f"{rate:.3f}".removeprefix("0")


def _key(y: float, highest: float) -> list[Markup]:
    """The ramp from 0 to the highest rate, and what an empty frame means."""
    width = 12.0
    marks = [
        element("rect", x=NAMES + index * width, y=y, width=width, height=9, fill=colour)
        for index, colour in enumerate(RAMP)
    ]
    end = NAMES + len(RAMP) * width
    return [
        *marks,
        label(NAMES, y + 20, "0", faint=True),
        label(end, y + 20, ratio_text(highest), anchor="end", faint=True),
        element("rect", x=0.5, y=y, width=12, height=9, fill=PAPER, stroke=LINE, class_="silent"),
        label(18, y + 8.5, "no spike at all", faint=True),
    ]
