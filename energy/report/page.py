"""The page: `report.html.j2` filled with a document.  No script, no font, no request to anywhere.

Its charts are tables whose cells hold bars, so that they are as wide as the screen and read in words too.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from energy.document import Account, Comparison, Document, Part
from energy.record import first_fault
from energy.report.alignment import Pair, align
from energy.report.figures import break_even, draw, groups, operations
from energy.report.heatmap import BRIGHT, RAMP, shade_of, step_rates
from energy.report.parts import MEMORY, PARTS, SCHEMES
from energy.report.ratios import ratio_ends
from energy.report.scales import Scale, count_text, energy_text, ratio_text
from neuromorphic.errors import RefusedInput
from neuromorphic.pages import render

GRADES = {
    "measured": "read off hardware",
    "simulated": "from a simulation of the circuit, before there was silicon",
    "estimated": "scaled or derived from other figures",
}

Row = tuple[Pair, Mapping[Part, float], Mapping[Part, float]]
"""Of a chart of layers: the names of both sides, and what each takes, by part."""

SIDES = {"snn": "SNN", "ann": "ANN", "both": "both"}


def html(document: Document | Mapping[str, Any]) -> str:
    """The whole page.

    Raises:
        RefusedInput: the mapping is no document.
    """
    read = _document(document)
    found = groups(read)
    every = [one for ones in found.values() for one in ones.values()]
    pairs = align(read.snn, read.ann, read.images, read.time_steps)
    rates = {name: step_rates(population, read.images) for name, population in read.snn.populations.items()}
    return render(
        "energy.report",
        "report.html.j2",
        style="report.css",
        filters={"energy": energy_text, "ratio": ratio_text, "whole": _whole},
        document=read,
        groups=found,
        every=every,
        answer=_answer(every),
        axis=Scale(*ratio_ends(every), 0, 100, logarithmic=True) if every else None,
        break_even={name: break_even(name, report) for name, report in read.devices.items()},
        pairs=pairs,
        operations=_operations(read, pairs),
        layers=_layers,
        rates=rates,
        highest=max((rate for row in rates.values() for rate in row), default=0.0),
        shade=shade_of,
        ramp=RAMP,
        bright=BRIGHT,
        words={part: words for part, (words, _) in PARTS.items()},
        memory=MEMORY,
        schemes=SCHEMES,
        grades=GRADES,
        sides=SIDES,
        energy=energy_text,
        count_text=count_text,
        ratio=ratio_text,
    )


def figures(document: Document | Mapping[str, Any]) -> dict[str, str]:
    """The figures, each the text of an SVG file, by a name that can be the file's.

    Raises:
        RefusedInput: the mapping is no document.
    """
    return {name: figure.standalone() for name, figure in draw(_document(document)).items()}


def _answer(every: list[Comparison]) -> str:
    """The comparisons in one sentence; empty without any."""
    if not every:
        return ""
    ratios = [one.ratio.mean for one in every]
    cheaper = sum(one.verdict == "cheaper" for one in every)
    span = ratio_text(ratios[0]) if len(every) == 1 else f"{ratio_text(min(ratios))} to {ratio_text(max(ratios))}"
    return (
        f"Cheaper in {cheaper} of {len(every)} comparisons: the SNN takes {span} times the energy of its ANN, by what "
        "is counted and by the precision of both."
    )


def _operations(document: Document, pairs: list[Pair]) -> list[Row]:
    """Rows of operations per image."""
    ours, theirs = operations(document)
    listed = {name for name, _ in pairs}
    return _rows([*pairs, *((name, None) for name in ours if name not in listed)], ours, theirs)


def _layers(pairs: list[Pair], account: Account, one: Comparison | None) -> list[Row]:
    """Rows of an account: names of both layers, energies by part of the encoder's and of the twin's.

    Nodes that are no layer of their own, such as pools, follow, with nothing beside them.
    """
    listed = {ours for ours, _ in pairs}
    theirs = {} if one is None else one.ann_layers
    rest: list[Pair] = [(name, None) for name in account.layers if name not in listed]
    return _rows([*pairs, *rest], account.layers, theirs)


def _rows(
    pairs: list[Pair], ours: Mapping[str, Mapping[Part, float]], theirs: Mapping[str, Mapping[Part, float]]
) -> list[Row]:
    """The rows of pairs that take something on either side."""
    rows = [(pair, ours.get(pair[0] or "", {}), theirs.get(pair[1] or "", {})) for pair in pairs]
    return [row for row in rows if sum(row[1].values()) + sum(row[2].values()) > 0]


def _document(document: Document | Mapping[str, Any]) -> Document:
    if isinstance(document, Document):
        return document
    try:
        return Document.model_validate(document)
    except ValidationError as error:
        raise RefusedInput(first_fault(error, "the document")) from error


def _whole(value: float) -> str:
    """A figure without decimals: `83,970,763`."""
    return f"{value:,.0f}"
