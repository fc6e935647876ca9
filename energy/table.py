"""The report as tables for people."""

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from energy.counts import LayerCounts, OperationCounts
from energy.document import Comparison, Document
from neuromorphic.tables import uncut

CAVEAT = (
    "A SOP is one addition, a MAC one multiplication and one addition. Prices are published figures, estimated or "
    "simulated, and no measurement of this model; control, leakage and routing are in none of them."
)

MICRO = 1e6
"""Picojoules in a microjoule."""


def table(counts: OperationCounts, report: Document) -> Group:
    """Operations per layer, as means per image, the encoder's totals against its ANN twin's, and what both take."""
    layers = Table(box=None, pad_edge=False)
    layers.add_column("layer", overflow="fold")
    layers.add_column("kind", overflow="fold")
    for column in ("rate", "SOPs", *(("attention",) if counts.attention.dense else ()), "at rate 1", "MACs"):
        layers.add_column(column, justify="right", overflow="fold")
    for name, layer in counts.layers.items():
        layers.add_row(*_row(name, layer, counts))
    lines = [Text(line) for line in [*summary(counts), *said(report)]]
    return Group(uncut(layers), Text(), *lines, Text(), prices(report), Text(), Text(CAVEAT))


def said(report: Document) -> list[str]:
    """Accuracy, and what was taken for granted, in sentences."""
    lines = [f"assumed: {sentence}" for sentence in report.assumed]
    if report.accuracy.snn is not None:
        ann = "unknown (--ann-accuracy)" if report.accuracy.ann is None else f"{report.accuracy.ann:.2%}"
        lines.insert(0, f"accuracy: SNN {report.accuracy.snn:.2%} of {report.images} images, ANN {ann}")
    return lines


def prices(report: Document) -> Table:
    """Microjoules per image on every device, under every account, and the verdicts; 80 columns wide."""
    rows = Table(box=None, pad_edge=False)
    for column in ("SNN on", "µJ", "ANN on", "µJ", "ratio", "95 % interval", "verdict"):
        rows.add_column(column, justify="right" if column in ("µJ", "ratio") else "left", overflow="fold")
    for name, device in report.devices.items():
        rows.add_row(name)
        for scheme, account in device.accounts.items():
            energy = _microjoules(account.energy.mean)
            if not account.comparisons:
                rows.add_row(f" {scheme}", energy, "(a chip)" if device.device.chip else "(none)")
            for comparison in account.comparisons:
                rows.add_row(f" {scheme}", energy, *_compared(comparison))
    return uncut(rows)


def _compared(comparison: Comparison) -> list[str]:
    interval = comparison.ratio.interval
    return [
        comparison.ann_device,
        _microjoules(comparison.ann_energy),
        f"{comparison.ratio.mean:.3g}",
        "(one image)" if interval is None else f"{interval[0]:.3g} to {interval[1]:.3g}",
        comparison.verdict,
    ]


def _microjoules(picojoules: float) -> str:
    energy = picojoules / MICRO
    return f"{energy:,.0f}" if energy >= 1000 else f"{energy:.4g}"


def _row(name: str, layer: LayerCounts, counts: OperationCounts) -> list[str]:
    attention = layer.attention
    row = [
        escape(name),  # may look like rich's markup
        layer.kind,
        "" if layer.rate is None else f"{layer.rate:.3f}",
        _per_image(layer.sops, counts) if layer.spiking_sources else "",
    ]
    if counts.attention.dense:
        row.append("" if attention is None else _per_image(attention.coincidences, counts))
    dense = layer.dense if attention is None else attention.dense
    row.append(_per_image(dense, counts) if layer.rate is not None else "")
    row.append(_per_image(layer.macs, counts) if layer.macs else "")
    return row


def summary(counts: OperationCounts) -> list[str]:
    """The totals in sentences."""
    sops, added = counts.sops_per_image, counts.additions
    lines = [
        f"SNN: {_per_image(counts.sops, counts)} SOPs + {_per_image(counts.macs, counts)} MACs per image, mean of "
        f"{counts.images} (SOPs from {sops.minimum:,.0f} to {sops.maximum:,.0f}), T = {counts.time_steps}"
    ]
    if counts.sops_under_way:
        lines.append(
            f"     without {_per_image(counts.sops_under_way, counts)} SOPs of spikes that are under way when their "
            "image ends: no step sums them"
        )
    attention = counts.attention
    if attention.dense:
        lines.append(
            f"     and {_per_image(attention.coincidences, counts)} additions of self-attention where spikes coincide "
            f"({_per_image(attention.one_sided, counts)} one-sided, {_per_image(attention.dense, counts)} dense)"
        )
    lines.append(
        f"     and {_per_image(counts.neuron_updates, counts)} neuron updates "
        f"({_per_image(counts.neuron_updates_needed, counts)} without neurons at rest), "
        f"{_per_image(added.total, counts)} additions of biases, pools and branches"
    )
    if counts.comparisons:
        lines.append(f"     and {_per_image(counts.comparisons, counts)} comparisons of max-pooling")
    if counts.ann is None:
        lines.append(
            "ANN: the file describes none, and no layer of the graph multiplies: there is nothing to compare with"
        )
        return lines
    word = {"twin": "ANN twin", "dense": "ANN of the same layers, once"}[counts.ann.baseline]
    lines.append(f"{word}: {_per_image(counts.ann.macs, counts)} MACs per image")
    if counts.ann.macs:
        added_up = f", {attention.coincidences / counts.ann.macs:.3f} additions of self-attention"
        lines.append(
            f"per MAC of the {word}: {counts.sops / counts.ann.macs:.3f} SOPs"
            f"{added_up if attention.dense else ''} and {counts.macs / counts.ann.macs:.3f} MACs"
        )
    return lines


def _per_image(total: int, counts: OperationCounts) -> str:
    return f"{total / counts.images:,.0f}"
