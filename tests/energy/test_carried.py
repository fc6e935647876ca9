"""Cycles, delays and membranes: every count of random graphs against spikes carried along every way one by one."""

from collections import Counter
from math import prod

import nir
import numpy as np
import pytest

import energy
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.energy.carried import Carried
from tests.neuromorphic import oracle
from tests.neuromorphic.compositions import Composer, tangle
from tests.neuromorphic.graphs import DT
from tests.neuromorphic.oracle import NEURONS, Oracle


def compare(nir_graph, frames):
    """Every count of `energy` with one made one by one; returns the counts."""
    graph = from_nir(nir_graph, dt=DT)
    counts = energy.count(graph, run(graph, frames))
    images, steps = frames.shape[:2]
    carried = Carried(Oracle(nir_graph, frames[0], DT), steps)
    spikes, _ = oracle.run(nir_graph, frames)
    sent = [carried.sent({name: trains[image] for name, trains in spikes.items()}) for image in range(images)]
    _spikes_agree(carried, counts, sent)
    _dense_agrees(carried, counts, spikes, images)
    for name in carried.shapes:
        layer, added = counts.layers.get(name), counts.additions_per_node.get(name)
        found = (layer.macs, layer.macs_once, layer.macs_summed, layer.macs_dense) if layer else (0, 0, 0, 0)
        assert found == tuple(map(sum, zip(*(carried.macs(name, one) for one in sent), strict=True))), name
        assert sorted(layer.real_sources if layer else []) == (sorted(carried.real(name)) if layer else []), name
        found = (added.bias, added.pooling, added.fan_in) if added else (0, 0, 0)
        assert found == tuple(images * additions for additions in carried.additions(name)), name
    _updates_agree(carried, counts, spikes)
    return counts


def _spikes_agree(carried, counts, sent):
    images, steps = len(sent), carried.steps
    expected, under_way, read = Counter(), Counter(), Counter()
    for image, of_image in enumerate(sent):
        for source, events in of_image.items():
            sops, arrived = carried.carry(source, events)
            for (reader, t), found in sops.items():
                if t < steps:
                    expected[source, reader, image, t] += found
                else:
                    under_way[source, reader] += found
            for (reader, t), found in arrived.items():
                read[reader, image] += found * (t < steps)
    found, late = Counter(), Counter()
    for name, layer in counts.layers.items():
        for one in layer.spiking_sources:
            assert one.spikes == sum(of_image[one.source].total() for of_image in sent)
            late[one.source, name] += one.sops_under_way
            for (image, t), sops in np.ndenumerate(one.per_step):
                found[one.source, name, image, t] += int(sops)
    assert +found == +expected
    assert +late == +under_way
    assert counts.sops == sum(expected.values()) == counts.per_image.sum()
    assert counts.sops_under_way == sum(under_way.values())
    assert +read == +Counter({(name, image): sum(int(way[image]) for way in ways)
                             for name, ways in counts.events_read.items() for image in range(images)})  # fmt: skip


def _dense_agrees(carried, counts, spikes, images):
    expected, padded = Counter(), Counter()
    full = carried.sent({name: np.ones(trains.shape[1:], bool) for name, trains in spikes.items()})
    for source, events in full.items():
        for (reader, t), found in carried.carry(source, events)[0].items():
            expected[reader] += found * images * (t < carried.steps)
        for reader, ways in carried.ways(source).items():
            if reader in carried.synapses:
                padded[reader] += ways * carried.products(reader) * images * carried.steps
    assert +Counter({name: layer.dense for name, layer in counts.layers.items()}) == +expected
    assert +Counter({name: layer.dense_padded for name, layer in counts.layers.items()}) == +padded


def _updates_agree(carried, counts, spikes):
    images = counts.images
    neurons = {name for name, node in carried.nodes.items() if isinstance(node, NEURONS)}
    assert counts.neurons.keys() == neurons
    assert counts.populations.keys() == spikes.keys()
    assert counts.neuron_updates == sum(prod(carried.shapes[name]) for name in neurons) * carried.steps * images
    for image in range(images):
        own = {name: train[image] for name, train in spikes.items()}
        touched = carried.touched(own)
        for name in neurons:
            expected = carried.needed(name, own.get(name), touched[name])
            assert counts.neurons[name].needed[image].tolist() == expected, name


def composed(seeds, length=5):
    compose = Composer(seeds[0])
    for seed in seeds:
        compose.rng = np.random.default_rng(seed)
        compose.branch(f"c{seed}_", length)
    return compose


@pytest.mark.parametrize("seed", range(150))
def test_compositions_of_all_primitives_with_cycles(seed):
    compose = composed([seed])
    compare(compose.graph(), compose.frames(2, 4))


@pytest.mark.parametrize("seed", range(0, 150, 10))
def test_several_branches_at_once(seed):
    compose = composed(range(seed, seed + 3), length=8)
    compare(compose.graph(), compose.frames(2, 6))


def test_among_them_is_everything_that_can_be_late():
    """Or else the tests above show little: late spikes, membranes and what they drive, pooled spikes, currents."""
    late = driven = membranes = pooled = currents = 0
    for seed in range(150):
        compose = composed([seed])
        graph = from_nir(compose.graph(), dt=DT)
        counts = energy.count(graph, run(graph, compose.frames(2, 4)))
        late += counts.sops_under_way > 0
        membranes += bool(counts.membranes)
        driven += any(name in counts.membranes for layer in counts.layers.values() for name in layer.real_sources)
        weighing = [layer for layer in counts.layers.values() if layer.kind in ("conv2d", "linear", "scale")]
        pooled += any(s.source not in counts.populations for layer in weighing for s in layer.spiking_sources)
        currents += counts.macs < counts.macs_dense
    assert min(late, membranes, driven, pooled, currents) >= 10


def echoes(nir_graph):
    """Whether a way leads from a Delay to itself through nothing but Delay and Flatten nodes."""
    passing = {name for name, node in nir_graph.nodes.items() if isinstance(node, nir.Delay | nir.Flatten)}
    behind = {pair for pair in nir_graph.edges if passing.issuperset(pair)}
    for _ in passing:
        behind |= {(a, d) for a, b in behind for c, d in behind if b == c}
    return any(a == b for a, b in behind)


@pytest.mark.parametrize("seeds", [range(200), pytest.param(range(200, 600), marks=pytest.mark.slow)])
def test_tangles_of_edges_at_random(seeds):
    found = refused = late = 0
    for seed in seeds:
        nir_graph, frames = tangle(seed)
        try:
            graph = from_nir(nir_graph, dt=DT)
        except RefusedInput:
            continue
        if echoes(nir_graph):
            with pytest.raises(RefusedInput, match="a Delay on a cycle of nothing but Delay nodes"):
                energy.count(graph, run(graph, frames))
            refused += 1
            continue
        late += compare(nir_graph, frames).sops_under_way > 0
        found += 1
    assert found >= len(seeds) // 3
    assert late >= len(seeds) // 30
    assert refused >= 1
