"""The figures of a document, by name: what the page shows, and what is written as files."""

import re
from collections.abc import Mapping

from energy.document import Account, Comparison, DeviceReport, Document, Part, Scheme
from energy.report.bars import Bar, bar_panels
from energy.report.break_even import break_even_panel
from energy.report.heatmap import rates
from energy.report.parts import SCHEMES, legend
from energy.report.ratios import ratio_ends, ratio_panel
from energy.report.scales import count_text, energy_text
from neuromorphic.pages.svg import Figure


def draw(document: Document) -> dict[str, Figure]:
    """The figures of a document, by a name that can be a file's; those that have nothing to show are left out."""
    snn = document.snn
    found: dict[str, Figure | None] = {
        "operations": _operations(document),
        "rates": rates(snn.populations, document.images) if snn.populations else None,
        "ratios": _ratios(document),
    }
    for name, report in document.devices.items():
        key = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
        found[f"totals-{key}"] = _totals(name, report)
        for scheme, account in report.accounts.items():
            found[f"layers-{key}-{scheme.replace('_', '-')}"] = _layers(name, scheme, account)
        found[f"break-even-{key}"] = break_even(name, report)
    return {name: figure for name, figure in found.items() if figure is not None and figure.panels}


def operations(document: Document) -> tuple[dict[str, dict[Part, float]], dict[str, dict[Part, float]]]:
    """Operations per image of each node of the encoder, by part, and of each layer of the twin."""
    snn, images = document.snn, document.images
    nodes: dict[str, dict[Part, float]] = {}
    for name, layer in snn.layers.items():
        coincidences = layer.attention.coincidences if layer.attention else 0
        nodes[name] = {"synapses": layer.sops, "macs": layer.macs, "attention": coincidences}
    for name, added in snn.additions_per_node.items():
        nodes.setdefault(name, {})["additions"] = added.total
    for name, compared in snn.comparisons_per_node.items():
        nodes.setdefault(name, {})["comparisons"] = compared
    for name, neurons in (*snn.populations.items(), *snn.membranes.items()):
        nodes.setdefault(name, {})["updates"] = neurons.updates
    twin: dict[str, dict[Part, float]] = {}
    if document.ann is not None:
        for name, twins in document.ann.layers.items():
            twin[name] = {"macs": twins.macs, "additions": twins.additions or 0}
    ours, theirs = (
        {name: {part: value / images for part, value in parts.items()} for name, parts in side.items()}
        for side in (nodes, twin)
    )
    return ours, theirs


def _operations(document: Document) -> Figure:
    ours, theirs = operations(document)
    sides = [("SNN, operations per image", _bars(ours))]
    if theirs:
        sides.append(("ANN, operations per image", _bars(theirs)))
    return _side_by_side("Operations per layer", sides, count=True)


def _layers(name: str, scheme: Scheme, account: Account) -> Figure:
    sides = [(f"SNN on {name}", _bars(account.layers))]
    sides += [(f"ANN on {one.ann_device}", _bars(one.ann_layers)) for one in account.comparisons]
    return _side_by_side(f"Energy per image and layer on {name}, {SCHEMES[scheme]}", sides)


def _totals(name: str, report: DeviceReport) -> Figure:
    """A panel per account, each with a scale of its own: accounts differ by orders of magnitude."""
    panels, parts = [], set[Part]()
    for scheme, account in report.accounts.items():
        bars = [Bar(f"SNN on {name}", account.parts)]
        bars += [Bar(f"ANN on {one.ann_device}", one.ann_parts) for one in account.comparisons]
        panels += bar_panels(SCHEMES[scheme].capitalize(), bars, max(bar.total for bar in bars), energy_text)
        parts |= _present(bars)
    return Figure(f"Energy per image on {name}, by account", panels, legend(parts))


def groups(document: Document) -> dict[str, dict[Scheme, Comparison]]:
    """All comparisons, by what both sides are priced on, and by scheme."""
    return {title: ones for name, report in document.devices.items() for title, ones in _pairs(name, report).items()}


def _pairs(name: str, report: DeviceReport) -> dict[str, dict[Scheme, Comparison]]:
    found: dict[str, dict[Scheme, Comparison]] = {}
    for scheme, account in report.accounts.items():
        for one in account.comparisons:
            found.setdefault(f"SNN on {name}, ANN on {one.ann_device}", {})[scheme] = one
    return found


def _ratios(document: Document) -> Figure | None:
    found = groups(document)
    if not found:
        return None
    ends = ratio_ends(one for ones in found.values() for one in ones.values())
    panels = [ratio_panel(title, ones, ends) for title, ones in found.items()]
    return Figure("Energy of the SNN over that of its ANN", panels)


def break_even(name: str, report: DeviceReport) -> Figure | None:
    """Cost against firing rate, a panel per device of the twin; None without comparisons."""
    panels = [break_even_panel(title, ones) for title, ones in _pairs(name, report).items()]
    drawn = [panel for panel in panels if panel is not None]
    return Figure(f"Cost ratio against firing rate, SNN on {name}", drawn) if drawn else None


def _bars(layers: Mapping[str, Mapping[Part, float]]) -> list[Bar]:
    bars = [Bar(name, parts) for name, parts in layers.items()]
    return [bar for bar in bars if bar.total > 0]


def _side_by_side(title: str, sides: list[tuple[str, list[Bar]]], *, count: bool = False) -> Figure:
    longest = max((bar.total for _, bars in sides for bar in bars), default=0.0)
    text = count_text if count else energy_text
    panels = [panel for words, bars in sides for panel in bar_panels(words, bars, longest, text)]
    return Figure(title, panels, legend(part for _, bars in sides for part in _present(bars)))


def _present(bars: list[Bar]) -> set[Part]:
    return {part for bar in bars for part, value in bar.parts.items() if value > 0}
