"""The page: `report.html.j2` filled with a document and its figures.  No script, no font, no request to anywhere."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic import ValidationError

from energy.document import Account, Document, Part
from energy.report.figures import draw, groups
from energy.report.heatmap import step_rates
from energy.report.parts import PARTS, SCHEMES
from energy.report.scales import energy_text, ratio_text
from energy.report.svg import printable
from neuromorphic.errors import RefusedInput

GRADES = {
    "measured": "read off hardware",
    "simulated": "from a simulation of the circuit, before there was silicon",
    "estimated": "scaled or derived from other figures",
}


def html(document: Document | Mapping[str, Any]) -> str:
    """The whole page.

    Raises:
        RefusedInput: the mapping is no document.
    """
    read = _document(document)
    found = groups(read)
    environment = Environment(
        loader=PackageLoader("energy.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"energy": energy_text, "ratio": ratio_text, "whole": _whole}
    page = environment.get_template("report.html.j2").render(
        document=read,
        drawn=draw(read),
        style=Markup((resources.files("energy.report") / "report.css").read_text()),
        groups=found,
        verdicts=[one.verdict for ones in found.values() for one in ones.values()],
        parts={part: words for part, (words, _) in PARTS.items()},
        schemes=SCHEMES,
        grades=GRADES,
        step_rates=step_rates,
        twins=_twins,
        energy=energy_text,
        ratio=ratio_text,
    )
    return page + "\n"


def figures(document: Document | Mapping[str, Any]) -> dict[str, str]:
    """The figures, each the text of an SVG file, by a name that can be the file's.

    Raises:
        RefusedInput: the mapping is no document.
    """
    drawn = draw(_document(document)).by_name()
    return {name: figure.standalone() for name, figure in drawn.items() if figure.panels}


def _twins(account: Account) -> list[tuple[str, dict[Part, float]]]:
    """The columns of the twin, one per device that it is priced on."""
    return [(f"ANN on {one.ann_device}", one.ann_parts) for one in account.comparisons]


def _document(document: Document | Mapping[str, Any]) -> Document:
    if isinstance(document, Document):
        return document
    try:
        return Document.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the document"
        raise RefusedInput(f"{key} is {str(first['input'])[:80]!r}; expected: {first['msg']}") from error


def _whole(value: float) -> str:
    """A figure without decimals: `83,970,763`."""
    return f"{value:,.0f}"
