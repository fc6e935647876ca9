"""Updates that are needed: by hand, and against membranes that a simulation shows to be zero."""

from dataclasses import replace

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import energy
from energy.events import Events
from energy.updates import driven, updates_needed
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.energy.test_sops import trace_of
from tests.neuromorphic.chip import integrate_and_fire
from tests.neuromorphic.graphs import DT, attention, chain, conv, lif, max_pool, metadata


def needed(graph, trace):
    return {name: found.tolist() for name, found in updates_needed(graph, trace, Events.of(graph, trace, None)).items()}


def spikes(*steps):
    """One image; a string per step, an x for each neuron that fires."""
    return np.array([[[c == "x" for c in step] for step in steps]])


def test_a_neuron_rests_until_something_arrives_and_again_after_its_spike():
    graph = from_nir(chain({"a": lif((3,)), "b": lif((3,))}, (3,), (3,)))
    trace = trace_of(graph, a=spikes("x..", "...", "x..", ".x."), b=spikes("...", "...", "x..", "..."))
    # b0: touched in step 0, leaks in 1, fires in 2, rests in 3.  b1: touched in step 3.  b2: never.
    # The graph's input arrives at every neuron of a in every step.
    assert needed(graph, trace) == {"a": [[3, 3, 3, 3]], "b": [[1, 1, 1, 1]]}


def test_every_image_begins_at_rest():
    graph = from_nir(chain({"a": lif((1,)), "b": lif((1,))}, (1,), (1,)))
    a = np.array([[[0], [1], [0], [0]], [[0], [0], [0], [1]]], np.bool_)
    assert needed(graph, trace_of(graph, a=a, b=np.zeros_like(a)))["b"] == [[0, 1, 1, 1], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("bias", "expected"), [([0.0, 0.0], [[0, 0, 2, 2]]), ([0.0, 1.0], [[1, 1, 2, 2]]), ([1.0, 1.0], [[2] * 4])]
)
def test_a_bias_arrives_in_every_step(bias, expected):
    # A weight of zero is a synapse all the same.
    nodes = {
        "a": lif((1,)),
        "layer": nir.Affine(np.array([[1.0], [0.0]], np.float32), np.array(bias, np.float32)),
        "b": lif((2,)),
    }
    graph = from_nir(chain(nodes, (1,), (2,)))
    trace = trace_of(graph, a=spikes(".", ".", "x", "."), b=np.zeros((1, 4, 2), np.bool_))
    assert needed(graph, trace)["b"] == expected


def test_attention_reaches_the_channels_of_a_head_at_the_tokens_of_its_queries():
    nodes = {"qkv": lif((12, 1, 3)), "product": attention((12, 1, 3), heads=2), "b": lif((4, 1, 3))}
    graph = from_nir(chain(nodes, (12, 1, 3), (4, 1, 3)))
    qkv = np.zeros((1, 4, 12, 1, 3), np.bool_)
    qkv[0, 1, 3, 0, 2] = True  # a query of head 1 at token 2: two channels
    qkv[0, 2, 5, 0, 0] = True  # a key: reaches no output without a query
    trace = trace_of(graph, qkv=qkv, b=np.zeros((1, 4, 4, 1, 3), np.bool_))
    assert needed(graph, trace)["b"] == [[0, 2, 2, 2]]


def test_windows_on_nothing_but_padding_receive_nothing():
    # A kernel of 1 with padding 1: the border of the output sees no input.
    nodes = {"conv": conv(np.ones((1, 1, 1, 1)), padding=1, hw=(2, 2)), "b": lif((1, 4, 4))}
    graph = from_nir(chain(nodes, (1, 2, 2), (1, 4, 4)))
    assert needed(graph, trace_of(graph, b=np.zeros((1, 4, 1, 4, 4), np.bool_)))["b"] == [[4] * 4]


def random_net(rng, pooled, stride, groups):
    """input -> LIF -> conv -> (max-pooling) -> LIF -> sum-pooling -> LIF -> affine -> LIF; no weight is negative."""
    weight = rng.random((4, 2, 3, 3)) + 0.1
    if groups == 2:
        weight[:2, 1] = weight[2:, 0] = 0.0
    size = (5 + 2 - 3) // stride + 1
    nodes = {
        "a": lif((2, 5, 5), 3.0),
        "conv": conv(weight, stride=stride, padding=1, hw=(5, 5)),
        **({"max": max_pool((4, size, size), stride=(1, 1))} if pooled else {}),
        "b": lif((4, size, size), 1.2),
        "sum": nir.SumPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])),
        "c": lif((4, size - 1, size - 1), 1.0),
        "flat": nir.Flatten({"input": np.array([4, size - 1, size - 1])}, 0, -1),
        "layer": nir.Linear(rng.random((3, 4 * (size - 1) ** 2)).astype(np.float32) + 0.1),
        "d": lif((3,), 2.0),
    }
    return from_nir(chain(nodes, (2, 5, 5), (3,)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([1, 2]), st.sampled_from([1, 2]), st.floats(0.2, 6.0))
def test_needed_are_all_but_membranes_of_zero_where_nothing_arrives(seed, pooled, stride, groups, drive):
    # Nothing cancels where all weights are positive: what the graph lets arrive is what isn't zero.
    rng = np.random.default_rng(seed)
    graph = random_net(rng, pooled, stride, groups)
    frames = (drive * (rng.random((3, 2, 5, 5)) + 0.01)).astype(np.float32)
    trace = run(graph, frames)
    expected = {node.name: np.zeros((3, 4), np.int64) for node in graph.populations}
    states = {node.name: node.operation.at_rest(3, node.shape) for node in graph.populations}
    for t in range(4):
        values = {graph.input: frames.astype(np.float64)}
        for node in graph.nodes.values():
            if node.name == graph.input:
                continue
            x = sum(values[source].reshape(3, *node.input_shape) for source in node.sources)
            if node.spiking:
                busy = (states[node.name].v != 0) | (x != 0)
                expected[node.name][:, t] = busy.reshape(3, -1).sum(1)
                values[node.name] = node.operation.advance(states[node.name], x)
            else:
                values[node.name] = x if node.name == graph.output else node.operation.apply(x, node.shapes)
    assert needed(graph, trace) == {name: found.tolist() for name, found in expected.items()}
    counts = energy.count(graph, trace)
    assert counts.neuron_updates_needed == sum(int(found.sum()) for found in expected.values())
    assert counts.neuron_updates_needed <= counts.neuron_updates


def test_chunks_change_nothing(monkeypatch):
    import energy.updates as module

    graph = random_net(np.random.default_rng(1), True, 1, 1)
    trace = run(graph, np.random.default_rng(2).random((5, 2, 5, 5)).astype(np.float32) * 3)
    whole = needed(graph, trace)
    monkeypatch.setattr(module, "CHUNK", 1)
    assert needed(graph, trace) == whole


@pytest.mark.parametrize(("tau", "multiplies"), [(2.0, False), (4.0, True), (1.0, False), (1.6, True)])
def test_leaks_by_powers_of_two_multiply_nothing(tau, multiplies):
    graph = from_nir(chain({"a": lif((2,), tau=tau)}, (2,), (2,)))
    counts = energy.count(graph, run(graph, np.ones((1, 2), np.float32)))
    assert counts.populations["a"].multiplications == multiplies


def test_several_sources_arrive_together():
    nodes = {name: lif((2,)) for name in ("a", "b", "and")}
    ends = {"input": nir.Input(np.array([2])), "output": nir.Output(np.array([2]))}
    edges = [("input", "a"), ("input", "b"), ("a", "and"), ("b", "and"), ("and", "output")]
    graph = from_nir(nir.NIRGraph({**ends, **nodes}, edges, metadata=metadata(4), type_check=False))
    silent = np.zeros((1, 4, 2), np.bool_)
    trace = trace_of(graph, a=spikes("..", "x.", "..", ".."), b=spikes("..", "..", ".x", ".."), **{"and": silent})
    assert needed(graph, trace)["and"] == [[0, 1, 2, 2]]


W = np.ones((2, 2), np.float32)


def fires():
    return integrate_and_fire((2,))


DRIVEN = {
    "weights and neurons behind real frames": (
        {"w": nir.Linear(W), "n": fires(), "v": nir.Linear(W), "m": fires()},
        "wn",
    ),
    "a constant goes on": ({"w": nir.Affine(W, np.ones(2, np.float32)), "n": fires()}, "wn"),
    "of one neuron alone": ({"w": nir.Affine(W, np.float32([1, 0])), "n": fires()}, "wn"),
    "a bias behind spikes": ({"n": fires(), "w": nir.Affine(W, np.ones(2, np.float32)), "m": fires()}, "nwm"),
    "a bias of one neuron alone": ({"n": fires(), "w": nir.Affine(W, np.float32([1, 0])), "m": fires()}, "n"),
    "nothing in the first step": ({"w": nir.Linear(W), "d": nir.Delay(np.full(2, DT)), "n": fires()}, "w"),
    "at once": ({"w": nir.Linear(W), "d": nir.Delay(np.zeros(2)), "n": fires()}, "wdn"),
}


@pytest.mark.parametrize("name", DRIVEN)
def test_what_sends_something_from_everywhere_in_every_step(name):
    nodes, expected = DRIVEN[name]
    graph = from_nir(chain(nodes, (2,), (2,)))
    assert {*driven(graph)} - {"input", "output"} == {*expected}
    assert "input" in driven(graph)
    spikes = replace(graph, metadata=replace(graph.metadata, input_kind="spikes"))
    assert "input" not in driven(spikes)
