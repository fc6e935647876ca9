"""The counts as a table for people, and as rows for spreadsheets."""

import csv
import io

from rich.console import Group
from rich.table import Table
from rich.text import Text

from energy.counts import LayerCounts, OperationCounts
from energy.document import Comparison, Document

CAVEAT = (
    "A SOP is one addition, a MAC one multiplication and one addition. Prices are published figures, estimated or "
    "simulated, and no measurement of this model; control, leakage and routing are in none of them."
)

MICRO = 1e6
"""Picojoules in a microjoule."""

COLUMNS = (
    *("network", "layer", "kind", "rate", "sops", "dense", "dense_padded", "macs", "macs_once", "macs_summed"),
    *("attention_coincidences", "attention_one_sided", "attention_dense", "attention_dense_scores_first"),
)


def table(counts: OperationCounts, report: Document) -> Group:
    """Operations per layer, as means per image, the encoder's totals against its ANN twin's, and what both take."""
    layers = Table(box=None, pad_edge=False)
    layers.add_column("layer", overflow="fold")
    layers.add_column("kind")
    for column in ("rate", "SOPs", *(("attention",) if counts.attention else ()), "at rate 1", "MACs"):
        layers.add_column(column, justify="right")
    for layer in counts.layers.values():
        layers.add_row(*_row(layer, counts))
    lines = [Text(line) for line in summary(counts)]
    return Group(layers, Text(), *lines, Text(), prices(report), Text(), Text(CAVEAT))


def prices(report: Document) -> Table:
    """Energy per image on every device, under every account, and the verdicts; an interval is one of the mean ratio."""
    rows = Table(box=None, pad_edge=False)
    for column in ("SNN on", "account", "µJ", "ANN twin on", "µJ", "SNN / ANN", "95 % interval", "verdict"):
        rows.add_column(column, justify="right" if column in ("µJ", "SNN / ANN") else "left", no_wrap=True)
    for name, device in report.devices.items():
        for scheme, account in device.accounts.items():
            energy = f"{account.energy.mean / MICRO:,.4g}"
            if not account.comparisons:
                reason = "a chip's figures: not compared" if device.device.chip else "nothing to compare with"
                rows.add_row(name, scheme, energy, reason)
            for comparison in account.comparisons:
                rows.add_row(name, scheme, energy, *_compared(comparison))
    return rows


def _compared(comparison: Comparison) -> list[str]:
    interval = comparison.ratio.interval
    return [
        comparison.ann_device,
        f"{comparison.ann_energy / MICRO:,.4g}",
        f"{comparison.ratio.mean:.3g}",
        "" if interval is None else f"{interval[0]:.3g} to {interval[1]:.3g}",
        comparison.verdict,
    ]


def _row(layer: LayerCounts, counts: OperationCounts) -> list[str]:
    attention = layer.attention
    row = [
        layer.node,
        layer.kind,
        "" if layer.rate is None else f"{layer.rate:.3f}",
        _per_image(layer.sops, counts) if layer.spiking else "",
    ]
    if counts.attention:
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
        f"{counts.images} (SOPs from {sops.min():,} to {sops.max():,}), T = {counts.time_steps}"
    ]
    if counts.attention:
        one_sided, dense = sum(a.one_sided for a in counts.attention), sum(a.dense for a in counts.attention)
        lines.append(
            f"     and {_per_image(counts.attention_additions, counts)} additions of self-attention where spikes "
            f"coincide ({_per_image(one_sided, counts)} one-sided, {_per_image(dense, counts)} dense)"
        )
    lines.append(
        f"     and {_per_image(counts.neuron_updates, counts)} neuron updates "
        f"({_per_image(counts.neuron_updates_needed, counts)} without neurons at rest), "
        f"{_per_image(added.total, counts)} additions of biases, pools and branches"
    )
    if counts.comparisons:
        lines.append(f"     and {_per_image(counts.comparisons, counts)} comparisons of max-pooling")
    if counts.ann is None:
        lines.append("ANN twin: the file describes none, so that there is nothing to compare with")
        return lines
    lines.append(f"ANN twin: {_per_image(counts.ann.macs, counts)} MACs per image")
    if counts.ann.macs:
        attention = f", {counts.attention_additions / counts.ann.macs:.3f} additions of self-attention"
        lines.append(
            f"per MAC of the ANN twin: {counts.sops / counts.ann.macs:.3f} SOPs"
            f"{attention if counts.attention else ''} and {counts.macs / counts.ann.macs:.3f} MACs"
        )
    return lines


def csv_text(counts: OperationCounts) -> str:
    """One row per layer of the encoder and of its ANN twin; sums over the images."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for name, layer in counts.layers.items():
        row = {
            "network": "snn",
            "layer": name,
            "kind": layer.kind,
            "rate": "" if layer.rate is None else layer.rate,
            "sops": layer.sops,
            "dense": layer.dense,
            "dense_padded": layer.dense_padded,
            "macs": layer.macs,
            "macs_once": layer.macs_once,
            "macs_summed": layer.macs_summed,
        }
        if layer.attention is not None:
            row |= {f"attention_{name}": value for name, value in layer.attention.totals().items()}
        writer.writerow(row)
    for name, twin in ({} if counts.ann is None else counts.ann.layers).items():
        macs = dict.fromkeys(("macs", "macs_once", "macs_summed"), twin.macs)
        writer.writerow({"network": "ann", "layer": name, "kind": twin.kind, **macs})
    return text.getvalue()


def _per_image(total: int, counts: OperationCounts) -> str:
    return f"{total / counts.images:,.0f}"
