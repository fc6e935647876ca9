"""Latencies, delays and layers of graphs small enough to work out by hand."""

import nir
import numpy as np
import pytest

from neuromorphic.analysis.biases import biases
from neuromorphic.analysis.schedule import schedule
from neuromorphic.lava.layers import layers
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import attention, chain, conv, lif, max_pool, metadata, small_net


def one_by_one(weight=1.0, bias=0.0):
    return conv([[[[weight]]]], [bias], hw=(2, 2))


def residual():
    """input -> a -> x, whose current x two populations read; b also reads what b's own path brings, two synapses later.

    input - in - a - x ------ b - y - c - output
                   \\________________/
    """
    shape = (1, 2, 2)
    nodes = {
        "input": nir.Input(np.array(shape)),
        "in": one_by_one(bias=0.5),
        "a": lif(shape),
        "x": one_by_one(bias=0.25),
        "b": lif(shape),
        "y": one_by_one(weight=2.0, bias=0.125),
        "c": lif(shape),
        "output": nir.Output(np.array(shape)),
    }
    edges = [("input", "in"), ("in", "a"), ("a", "x"), ("x", "b"), ("b", "y"), ("x", "c"), ("y", "c"), ("c", "output")]
    return from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False))


def test_every_linear_node_of_a_chain_takes_a_step():
    timing = schedule(from_nir(small_net()))
    assert timing.latency == {
        "input": 0, "conv": 1, "lif": 1, "pool": 2, "lif2": 2, "readout": 3, "output": 3,
    }  # fmt: skip
    assert timing.depth == 3
    assert not any(timing.delay.values())


def test_the_shorter_branch_waits():
    timing = schedule(residual())
    assert [timing.latency[n] for n in ("a", "x", "b", "y", "c")] == [1, 2, 2, 3, 3]
    assert timing.delay["y", "c"] == 0
    assert timing.delay["x", "c"] == 1
    assert timing.delay["x", "b"] == 0


def test_spikes_that_reach_a_population_directly_take_a_step():
    shape = (2,)
    nodes = {
        "input": nir.Input(np.array(shape)),
        "a": lif(shape),
        "b": lif(shape),
        "and": lif(shape),
        "output": nir.Output(np.array(shape)),
    }
    edges = [("input", "a"), ("a", "b"), ("a", "and"), ("b", "and"), ("and", "output")]
    timing = schedule(from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False)))
    assert [timing.latency[n] for n in ("a", "b", "and", "output")] == [1, 2, 3, 3]
    assert timing.delay["a", "and"] == 1
    assert timing.delay["b", "and"] == 0


def test_flattening_takes_no_time_and_is_looked_through():
    graph = from_nir(small_net())
    assert graph.nodes["readout"].sources == ("lif2",)
    assert ("lif2", "readout") in schedule(graph).delay


def test_the_host_aligns_the_output_itself():
    assert not any(reader == "output" for _, reader in schedule(residual()).delay)


def test_a_layer_holds_the_linear_nodes_that_only_it_reads():
    graph = residual()
    found = {layer.head.name: layer for layer in layers(graph)}
    members = {head: [member.node.name for member in layer.members] for head, layer in found.items()}
    assert members == {"a": ["in", "a"], "x": ["x"], "b": ["b"], "c": ["y", "c"]}
    sources = {
        head: dict(zip((s.name for s in layer.sources), layer.delays, strict=True)) for head, layer in found.items()
    }
    assert sources == {"a": {"input": 1}, "x": {"a": 1}, "b": {"x": 0}, "c": {"b": 1, "x": 1}}


def test_biases_act_at_the_populations():
    graph = residual()
    arriving = {name: float(bias.flat[0]) for name, bias in biases(graph).items()}
    assert arriving == {"input": 0, "in": 0, "a": 0.5, "x": 0, "b": 0.25, "y": 0, "c": 0.375, "output": 0}


def test_a_bias_passes_through_the_linear_nodes_behind_it():
    shape = (1, 2, 2)
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    nodes = {
        "input": nir.Input(np.array(shape)),
        "conv": one_by_one(bias=0.5),
        "pool": pool,
        "lif": lif((1, 1, 1)),
        "output": nir.Output(np.array([1, 1, 1])),
    }
    edges = [("input", "conv"), ("conv", "pool"), ("pool", "lif"), ("lif", "output")]
    graph = from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False))
    assert biases(graph)["lif"] == pytest.approx(2.0)


def test_every_extension_node_takes_a_step():
    nodes = {
        "conv": conv(np.ones((3, 1, 1, 1)), hw=(4, 4)),
        "max": max_pool((3, 4, 4)),
        "a": lif((3, 2, 2)),
        "attention": attention((3, 2, 2)),
        "b": lif((1, 2, 2)),
    }
    timing = schedule(from_nir(chain(nodes, (1, 4, 4), (1, 2, 2))))
    assert [timing.latency[name] for name in nodes] == [1, 2, 2, 3, 3]


def test_biases_act_before_a_maximum_and_not_behind_it():
    nodes = {
        "first": one_by_one(bias=0.5),
        "max": max_pool((1, 2, 2), (1, 1), (1, 1), (0, 0)),
        "second": one_by_one(bias=0.25),
        "lif": lif((1, 2, 2)),
    }
    arriving = biases(from_nir(chain(nodes, (1, 2, 2), (1, 2, 2))))
    assert [float(arriving[name].flat[0]) for name in ("first", "max", "second", "lif")] == [0, 0.5, 0, 0.25]
