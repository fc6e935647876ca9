"""The counts as a table for people, and as rows for spreadsheets."""

import csv
import io

from rich.console import Group
from rich.table import Table
from rich.text import Text

from energy.counts import OperationCounts

CAVEAT = (
    "A SOP is one addition, a MAC one multiplication and one addition. Memory traffic, which can cost more than "
    "either, is not counted: fewer operations are not yet less energy."
)


def table(counts: OperationCounts) -> Group:
    """Operations per layer, as means per image, and the encoder's totals against its ANN twin's."""
    layers = Table(box=None, pad_edge=False)
    layers.add_column("layer", overflow="fold")
    layers.add_column("kind")
    for column in ("rate", "SOPs", "at rate 1", "MACs"):
        layers.add_column(column, justify="right")
    for name, layer in counts.layers.items():
        layers.add_row(
            name,
            layer.kind,
            "" if layer.rate is None else f"{layer.rate:.3f}",
            _per_image(layer.sops, counts) if layer.spiking else "",
            _per_image(layer.dense, counts) if layer.spiking else "",
            _per_image(layer.macs, counts) if layer.macs else "",
        )
    return Group(layers, Text(), *(Text(line) for line in summary(counts)))


def summary(counts: OperationCounts) -> list[str]:
    """The totals in sentences."""
    sops, added = counts.sops_per_image, counts.additions
    lines = [
        f"SNN: {_per_image(counts.sops, counts)} SOPs + {_per_image(counts.macs, counts)} MACs per image, mean of "
        f"{counts.images} (SOPs from {sops.min():,} to {sops.max():,}), T = {counts.time_steps}",
        f"     and {_per_image(counts.neuron_updates, counts)} neuron updates, "
        f"{_per_image(added.bias + added.pooling + added.fan_in, counts)} additions of biases, pools and branches",
    ]
    if counts.ann is None:
        lines.append("ANN twin: the file describes none, so that there is nothing to compare with")
        return [*lines, CAVEAT]
    lines.append(f"ANN twin: {_per_image(counts.ann.macs, counts)} MACs per image")
    if counts.ann.macs:
        lines.append(
            f"per MAC of the ANN twin: {counts.sops / counts.ann.macs:.3f} SOPs and "
            f"{counts.macs / counts.ann.macs:.3f} MACs"
        )
    return [*lines, CAVEAT]


def csv_text(counts: OperationCounts) -> str:
    """One row per layer of the encoder and of its ANN twin; sums over the images."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("network", "layer", "kind", "rate", "sops", "dense", "dense_padded", "macs", "macs_once"))
    for name, layer in counts.layers.items():
        rate = "" if layer.rate is None else layer.rate
        macs = (layer.macs, layer.macs_once)
        writer.writerow(("snn", name, layer.kind, rate, layer.sops, layer.dense, layer.dense_padded, *macs))
    for name, (kind, macs_of_twin) in ({} if counts.ann is None else counts.ann.layers).items():
        writer.writerow(("ann", name, kind, "", "", "", "", macs_of_twin, macs_of_twin))
    return text.getvalue()


def _per_image(total: int, counts: OperationCounts) -> str:
    return f"{total / counts.images:,.0f}"
