"""Which node computes what: MACs, SOPs, additions and updates by hand, and the JSON that tells them."""

import json

import nir
import numpy as np
import pytest

import energy
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, conv, lif, metadata, small_net

TWIN = {
    "parameters": 7,
    "layers": [{"name": "conv", "kind": "conv2d", "macs": 100}, {"name": "scores", "kind": "matmul", "macs": 11}],
}


@pytest.fixture
def run_of_small_net():
    nir_graph = small_net()
    nir_graph.metadata = metadata(4, twin=TWIN)
    graph = from_nir(nir_graph)
    return graph, run(graph, np.random.default_rng(1).normal(size=(5, 2, 6, 6)).astype(np.float32))


def network(nodes, edges):
    return from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(4), type_check=False))


def ends(shape, out_shape):
    return {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(out_shape))}


def test_a_small_net_by_hand(run_of_small_net):
    graph, trace = run_of_small_net
    counts = energy.count(graph, trace)
    assert list(counts.layers) == ["conv", "pool", "readout"]
    first, pool, readout = counts.layers.values()
    # The input is real: 4·6·6 outputs of 2·3·3 taps, 5 images of 4 steps; one frame for all of an image's steps.
    assert (first.kind, first.real_sources, first.macs, first.macs_once) == ("conv2d", ("input",), 2592 * 20, 2592 * 5)
    assert (first.sops, first.dense, first.rate) == (0, 0, None)
    # Spikes into windows that tile the map: one synapse each.
    assert (pool.kind, pool.real_sources, pool.macs, pool.sops) == ("pooling", (), 0, trace.spikes["lif"].count())
    assert pool.sops > 0
    # lif2 -> flat -> readout: flattening doesn't make spikes real.
    assert (readout.kind, readout.macs, readout.sops) == ("linear", 0, 5 * trace.spikes["lif2"].count())
    assert readout.dense == readout.dense_padded == 36 * 5 * 20
    assert counts.neuron_updates == (4 * 6 * 6 + 4 * 3 * 3) * 20
    assert (counts.additions.bias, counts.additions.pooling, counts.additions.fan_in) == ((4 * 36 + 5) * 20, 0, 0)
    assert counts.ann.macs == 111 * 5


def test_spike_driven_is_what_the_graph_declares_not_what_values_look_like():
    # Frames of zeros and ones are real all the same; a population that never fires is spike-driven all the same.
    graph = from_nir(small_net())
    frames = np.random.default_rng(0).integers(0, 2, (1, 2, 6, 6)).astype(np.float32)
    silent = {node.name: SpikeTrain.pack(np.zeros((1, 4, *node.shape), np.bool_)) for node in graph.populations}
    binary = energy.count(graph, run(graph, frames))
    never = energy.count(graph, Trace("reference", "float", silent, np.zeros((1, 4, 5), np.float32)))
    assert binary.layers["conv"].macs == never.layers["conv"].macs == 2592 * 4
    assert (never.sops, never.layers["readout"].macs, never.layers["readout"].rate) == (0, 0, 0.0)


def test_a_pool_of_spikes_sends_as_many_events():
    # lif -> pool -> flat -> readout: 4 spikes in each window of each step, and 3 additions for each of them.
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    flat = nir.Flatten({"input": np.array([1, 2, 2])}, 0, -1)
    nodes = {"lif": lif((1, 4, 4)), "pool": pool, "flat": flat, "readout": nir.Linear(np.ones((3, 4), np.float32))}
    graph = from_nir(chain(nodes, (1, 4, 4), (3,)))
    counts = energy.count(graph, run(graph, np.full((2, 1, 4, 4), 9.0, np.float32)))
    assert (counts.layers["pool"].sops, counts.layers["readout"].sops) == (16 * 4 * 2, 16 * 4 * 2 * 3)
    assert (counts.layers["readout"].real_sources, counts.macs, counts.macs_dense) == ((), 0, 0)
    assert counts.layers["readout"].dense_padded == 12 * 4 * 2
    assert counts.additions.bias == 0


def test_a_node_that_reads_spikes_and_real_values_does_both():
    nodes = {
        **ends((1, 2, 2), (1, 2, 2)),
        "lif": lif((1, 2, 2)),
        "both": conv(np.full((1, 1, 1, 1), 3.0), hw=(2, 2)),
        "pool": nir.SumPool2d(np.array([1, 1]), np.array([1, 1]), np.array([0, 0])),
    }
    edges = [
        ("input", "lif"),
        ("input", "both"),
        ("lif", "both"),
        ("both", "pool"),
        ("input", "pool"),
        ("pool", "output"),
    ]
    graph = network(nodes, edges)
    trace = run(graph, np.full((1, 1, 2, 2), 9.0, np.float32))
    counts = energy.count(graph, trace)
    both = counts.layers["both"]
    assert (both.sops, both.macs, both.macs_once, both.real_sources) == (4 * 4, 4 * 4, 4, ("input",))
    # `pool` adds up two real sources, 4 elements each, and then pools 4 taps, in 4 steps.
    assert (counts.additions.fan_in, counts.additions.pooling, counts.layers["pool"].macs) == (16, 16, 0)


def test_neurons_that_read_neurons_have_identity_synapses_per_edge():
    nodes = {**ends((3,), (3,)), "a": lif((3,), 0.5), "b": lif((3,), 3.0), "and": lif((3,), 1.0)}
    edges = [("input", "a"), ("input", "b"), ("a", "and"), ("b", "and"), ("and", "output")]
    graph = network(nodes, edges)
    trace = run(graph, np.array([[0.0, 2.0, 9.0]], np.float32))
    layers = energy.count(graph, trace).layers
    assert list(layers) == ["and"]
    sops = {s.source: s.sops for s in layers["and"].spiking_sources}
    assert sops == {"a": trace.spikes["a"].count(), "b": trace.spikes["b"].count()}
    assert sops["a"] > sops["b"] > 0
    assert (layers["and"].kind, layers["and"].dense) == ("identity", 2 * 3 * 4)
    assert layers["and"].rate == (sops["a"] + sops["b"]) / 24


def test_several_readers_of_a_population_count_each():
    weight = np.ones((2, 3), np.float32)
    nodes = {**ends((3,), (2,)), "lif": lif((3,)), "one": nir.Linear(weight), "two": nir.Linear(-weight)}
    edges = [("input", "lif"), ("lif", "one"), ("lif", "two"), ("one", "output"), ("two", "output")]
    graph = network(nodes, edges)
    trace = run(graph, np.full((1, 3), 9.0, np.float32))
    counts = energy.count(graph, trace)
    assert counts.sops == 2 * 2 * trace.spikes["lif"].count() == 2 * 2 * 12
    assert counts.additions.fan_in == 2 * 4  # the output adds two currents of 2 elements in 4 steps


def test_the_json_holds_what_the_interface_promises(run_of_small_net):
    graph, trace = run_of_small_net
    counts = energy.count(graph, trace)
    document = json.loads(energy.assemble(graph, counts, [], energy.provenance(graph)).model_dump_json())
    assert {"images", "time_steps", "snn", "ann", "devices"} <= set(document)
    assert (document["images"], document["time_steps"], document["devices"]) == (5, 4, {})
    snn = document["snn"]
    assert {"sops", "macs", "neuron_updates", "layers"} <= set(snn)
    for key in ("sops", "macs", "macs_once", "neuron_updates"):
        assert type(snn[key]) is int
    for key in ("sops", "macs", "macs_once"):
        assert snn[key] == sum(layer[key] for layer in snn["layers"].values())
    assert snn["sops"] == counts.per_image.sum() == round(5 * snn["sops_per_image"]["mean"])
    for name, train in trace.spikes.items():
        per_step = train.unpack().reshape(5, 4, -1).sum((0, 2)).tolist()
        assert snn["populations"][name]["spikes_per_step"] == per_step
        assert snn["populations"][name]["rate"] == sum(per_step) / (train.neurons * 20)
    assert document["ann"]["macs"] == 555
    assert document["ann"]["layers"]["scores"] == {"kind": "matmul", "macs": 55, "additions": None}


def test_without_a_twin_there_is_no_ann():
    graph = from_nir(small_net())
    counts = energy.count(graph, run(graph, np.zeros((1, 2, 6, 6), np.float32)))
    assert counts.ann is None
    assert energy.assemble(graph, counts, [], energy.provenance(graph)).ann is None


@pytest.mark.parametrize(
    "twin",
    [
        {"layers": []},
        {"parameters": 1},
        {"parameters": -1, "layers": []},
        {"parameters": 1, "layers": [{"name": "a", "kind": "conv2d"}]},
        {"parameters": 1, "layers": [{"name": "a", "kind": "conv2d", "macs": 1.5}]},
        {"parameters": 1, "layers": 2 * [{"name": "a", "kind": "conv2d", "macs": 1}]},
        ["conv"],
        {"parameters": 1, "layers": [{"name": "a", "kind": "conv2d", "macs": 10**30}]},
        {"parameters": 1, "layers": [{"name": "a", "kind": "linear", "macs": 1, "inputs": [[1]]}]},
        {
            "parameters": 1,
            "layers": [{"name": "a", "kind": "linear", "macs": 1, "inputs": [[1]], "weight": [], "output": [1]}],
        },
        {
            "parameters": 1,
            "layers": [
                {"name": "a", "kind": "linear", "macs": 1, "inputs": [[10**9] * 9], "weight": [1], "output": [1]}
            ],
        },
        # 3 rows of 4 products, and a product of 2 × 3 by 3 × 5.
        {
            "parameters": 15,
            "layers": [{"name": "a", "kind": "linear", "macs": 120, "inputs": [[4]], "weight": [3, 4], "output": [3]}],
        },
        {
            "parameters": 0,
            "layers": [
                {
                    "name": "a",
                    "kind": "matmul",
                    "macs": 29,
                    "inputs": [[2, 3], [3, 5]],
                    "weight": None,
                    "output": [2, 5],
                }
            ],
        },
    ],
)
def test_a_twin_that_is_no_table_is_refused(twin):
    nir_graph = small_net()
    nir_graph.metadata = metadata(4, twin=twin)

    def counted():
        graph = from_nir(nir_graph)
        return energy.count(graph, run(graph, np.zeros((1, 2, 6, 6), np.float32)))

    with pytest.raises(RefusedInput, match="twin"):
        counted()


def test_traces_of_other_graphs_are_refused(run_of_small_net):
    graph, trace = run_of_small_net

    def changed(**spikes):
        return Trace("reference", "float", {**trace.spikes, **spikes}, trace.outputs)

    other = SpikeTrain.pack(np.zeros((5, 4, 4, 3, 2), np.bool_))
    fewer = SpikeTrain.pack(np.zeros((4, 4, 4, 3, 3), np.bool_))
    short = SpikeTrain(trace.spikes["lif2"].bits[..., :-1], (4, 3, 3))
    with pytest.raises(RefusedInput, match="'alien' is only in the trace"):
        energy.count(graph, changed(alien=other))
    with pytest.raises(RefusedInput, match="'lif2' is only in the graph"):
        energy.count(graph, Trace("reference", "float", {"lif": trace.spikes["lif"]}, trace.outputs))
    for train in (other, fewer, short):
        with pytest.raises(RefusedInput, match="lif2"):
            energy.count(graph, changed(lif2=train))
    with pytest.raises(RefusedInput, match="outputs"):
        energy.count(graph, Trace("reference", "float", trace.spikes, trace.outputs[:0]))
