"""Counts as records of the document."""

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from energy import document
from energy.attention import AttentionCounts
from energy.counts import Additions, AnnCounts, LayerCounts, NeuronCounts, OperationCounts, PopulationCounts
from energy.statistics import distribution


def snn(counts: OperationCounts) -> document.Snn:
    """Counts of the encoder."""
    nodes = counts.attention
    return document.Snn(
        sops=counts.sops,
        sops_under_way=counts.sops_under_way,
        macs=counts.macs,
        macs_once=counts.macs_once,
        macs_summed=counts.macs_summed,
        attention=document.AttentionTotals(
            coincidences=counts.attention_additions,
            one_sided=sum(node.one_sided for node in nodes),
            dense=sum(node.dense for node in nodes),
            dense_scores_first=sum(node.dense_scores_first for node in nodes),
        ),
        neuron_updates=counts.neuron_updates,
        neuron_updates_needed=counts.neuron_updates_needed,
        additions=_additions(counts.additions),
        additions_per_node={name: _additions(added) for name, added in counts.additions_of.items()},
        comparisons=counts.comparisons,
        comparisons_per_node=dict(counts.comparisons_of),
        sops_per_image=distribution(counts.sops_per_image),
        attention_per_image=distribution(counts.attention_per_image),
        layers={name: _layer(layer, (counts.images, counts.time_steps)) for name, layer in counts.layers.items()},
        populations={name: _population(population) for name, population in counts.populations.items()},
        membranes={name: document.Neurons(**_neurons(found)) for name, found in counts.membranes.items()},
    )


def ann(counts: AnnCounts) -> document.Ann:
    """Counts of the ANN twin."""
    layers = {}
    for name, layer in counts.layers.items():
        shapes = layer.shapes
        additions = None if shapes is None else (shapes.outputs if shapes.biases else 0) * counts.images
        layers[name] = document.AnnLayer(kind=layer.kind, macs=layer.macs, additions=additions)
    return document.Ann(macs=counts.macs, parameters=counts.parameters, layers=layers)


def _layer(layer: LayerCounts, frames: tuple[int, int]) -> document.SnnLayer:
    per_step: NDArray[np.int64] = sum((source.per_step for source in layer.spiking), start=np.zeros(frames, np.int64))
    return document.SnnLayer(
        kind=layer.kind,
        sops=layer.sops,
        sops_per_step=per_step.sum(0).tolist(),
        sops_per_image=distribution(per_step.sum(1)),
        dense=layer.dense,
        dense_padded=layer.dense_padded,
        rate=layer.rate,
        macs=layer.macs,
        macs_once=layer.macs_once,
        macs_summed=layer.macs_summed,
        attention=None if layer.attention is None else _attention(layer.attention),
        spiking_sources=[
            document.SpikingSource(
                source=s.source,
                spikes=s.spikes,
                sops=int(s.per_step.sum()),
                sops_under_way=s.under_way,
                dense=s.dense,
                rate=s.rate,
            )
            for s in layer.spiking
        ],
        real_sources=list(layer.real),
    )


def _attention(counts: AttentionCounts) -> document.LayerAttention:
    products = {
        name: document.Product(
            coincidences=int(product.coincidences.sum()),
            one_sided=int(product.one_sided.sum()),
            dense=product.dense,
        )
        for name, product in (("KV", counts.sums), ("Q(KV)", counts.outputs))
    }
    return document.LayerAttention(source=counts.source, spikes=counts.spikes, products=products, **counts.totals())


def _population(population: PopulationCounts) -> document.Population:
    spikes = int(population.spikes.sum())
    return document.Population(
        **_neurons(population),
        spikes=spikes,
        rate=spikes / population.updates,
        spikes_per_step=population.spikes.sum(0).tolist(),
        spikes_per_image=distribution(population.spikes.sum(1)),
    )


def _neurons(counts: NeuronCounts) -> dict[str, int]:
    return {"neurons": counts.neurons, "updates": counts.updates, "updates_needed": int(counts.needed.sum())}


def _additions(added: Additions) -> document.Additions:
    return document.Additions(**asdict(added))
