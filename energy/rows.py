"""The counts as rows for spreadsheets."""

import csv
from collections.abc import Iterator
from typing import Any, TextIO

import numpy as np

from energy.counts import AttentionTotals, OperationCounts

COLUMNS = (
    *("network", "layer", "kind", "rate", "sops", "sops_under_way", "dense", "dense_padded"),
    *("macs", "macs_once", "macs_summed", "macs_dense"),
    *("attention_coincidences", "attention_one_sided", "attention_dense", "attention_dense_scores_first"),
    *("neurons", "spikes", "neuron_updates", "neuron_updates_needed"),
    *("bias_additions", "pooling_additions", "fan_in_additions", "comparisons"),
)


def write_layers(counts: OperationCounts, file: TextIO) -> None:
    """One row per node of the encoder that computes something, and per layer of its ANN twin; sums over the images."""
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_nodes(counts))
    for name, twin in ({} if counts.ann is None else counts.ann.layers).items():
        macs = dict.fromkeys(("macs", "macs_once", "macs_summed", "macs_dense"), twin.macs)
        row = {"network": "ann", "layer": name, "kind": twin.kind, **macs}
        if twin.additions is not None:
            row["bias_additions"] = twin.additions
        writer.writerow(row)


def write_images(counts: OperationCounts, file: TextIO) -> None:
    """One row per image, node and time step: SOPs and coincidences of layers, spikes and needed updates of neurons.

    SOPs stand in the step in which they are summed.
    """
    columns = ("image", "layer", "step", "sops", "attention_coincidences", "spikes", "neuron_updates_needed")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    zero = np.zeros((counts.images, counts.time_steps), np.int64)
    figures = {}
    for name in _names(counts):
        layer, population, neurons = counts.layers.get(name), counts.populations.get(name), counts.neurons.get(name)
        sops = zero if layer is None else layer.per_step
        attention = zero if layer is None or layer.attention is None else layer.attention.per_step
        spikes = zero if population is None else population.per_step
        needed = zero if neurons is None else neurons.needed
        figures[name] = np.stack([sops, attention, spikes, needed], axis=-1)
    for image in range(counts.images):
        for name, found in figures.items():
            for step, numbers in enumerate(found[image].tolist()):
                writer.writerow((image, name, step, *numbers))


def _names(counts: OperationCounts) -> list[str]:
    """The names of all nodes that compute something: layers, then neurons, then the rest."""
    rest = (*counts.additions_per_node, *counts.comparisons_per_node)
    return list(dict.fromkeys([*counts.layers, *counts.neurons, *rest]))


def _nodes(counts: OperationCounts) -> Iterator[dict[str, Any]]:
    for name in _names(counts):
        row: dict[str, Any] = {"network": "snn", "layer": name, "kind": "additions"}
        if neurons := counts.neurons.get(name):
            row |= {
                "kind": "membranes",
                "neurons": neurons.neurons,
                "neuron_updates": neurons.updates,
                "neuron_updates_needed": neurons.updates_needed,
            }
        if population := counts.populations.get(name):
            row |= {"kind": "population", "spikes": population.spikes}
        if layer := counts.layers.get(name):
            row |= {
                "kind": layer.kind,
                "rate": "" if layer.rate is None else layer.rate,
                "sops": layer.sops,
                "sops_under_way": sum(source.sops_under_way for source in layer.spiking_sources),
                "dense": layer.dense,
                "dense_padded": layer.dense_padded,
                "macs": layer.macs,
                "macs_once": layer.macs_once,
                "macs_summed": layer.macs_summed,
                "macs_dense": layer.macs_dense,
            }
            if layer.attention is not None:
                row |= {f"attention_{key}": getattr(layer.attention, key) for key in AttentionTotals.model_fields}
        if added := counts.additions_per_node.get(name):
            row |= {
                "bias_additions": added.bias,
                "pooling_additions": added.pooling,
                "fan_in_additions": added.fan_in,
            }
        if name in counts.comparisons_per_node:
            row |= {"kind": "max-pooling", "comparisons": counts.comparisons_per_node[name]}
        yield row
