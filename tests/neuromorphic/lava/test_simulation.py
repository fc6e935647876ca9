"""Lava, with our models and with its own, equals the reference in every spike."""

import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from neuromorphic.analysis.exactness import doubles, doubles_on
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import fast
from neuromorphic.execution.reference import run
from neuromorphic.ir.parity import compare
from neuromorphic.lava.simulation import simulate
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import attention, chain, conv, lif, max_pool, metadata, one_neuron, small_net
from tests.properties.random_graphs import examples


def frames(graph, images, seed=0, steps=None):
    shape = graph.nodes[graph.input].shape
    lead = (images,) if steps is None else (images, steps)
    return (np.random.default_rng(seed).integers(-32, 33, (*lead, *shape)) / 16).astype(np.float32)


def assert_equal(trace, reference):
    report = compare(trace, reference)
    assert report.exact, report.first_mismatch
    assert report.output_difference == 0
    assert trace.outputs.dtype == np.float32
    assert sum(train.count() for train in trace.spikes.values()) > 0


def spike_driven(c=12, wide=130):
    """A block as the encoder's: a shared current, an AND of two populations, a token sum, a broadcast, a gate.

    Behind it come 130 channels: more than Lava's own model of Conv takes.
    """
    rng = np.random.default_rng(3)
    shape, token = (c, 2, 3), (c, 1, 1)

    def pointwise(cin, cout):
        weight = np.round(rng.normal(size=(cout, cin, 1, 1)) * 64) / 64
        return conv(weight, np.round(rng.normal(size=cout) * 8) / 8, hw=(2, 3))

    broadcast = np.zeros((c, c, 2, 3), np.float32)
    broadcast[np.arange(c), np.arange(c)] = 1
    nodes = {
        "input": nir.Input(np.array((3, 2, 3))),
        "stem": pointwise(3, c),
        "s": lif(shape),
        "q": pointwise(c, c),
        "q.lif": lif(shape, 0.5),
        "k.lif": lif(shape, 0.25, r=2.0),
        "and": lif(shape, 0.9),
        "sum": nir.SumPool2d(np.array([2, 3]), np.array([2, 3]), np.array([0, 0])),
        "mask": lif(token, 0.5),
        "broadcast": nir.Conv2d((1, 1), broadcast, (1, 1), (1, 2), (1, 1), 1, np.zeros(c, np.float32)),
        "gate": lif(shape, 0.9),
        "spread": pointwise(c, wide),
        "wide": lif((wide, 2, 3)),
        "proj": pointwise(wide, 3),
        "last": lif((3, 2, 3)),
        "flat": nir.Flatten({"input": np.array((3, 2, 3))}, 0, -1),
        "readout": nir.Affine(np.round(rng.normal(size=(4, 18)) * 64).astype(np.float32) / 64, np.ones(4, np.float32)),
        "output": nir.Output(np.array([4])),
    }
    edges = [
        ("input", "stem"), ("stem", "s"), ("s", "q"), ("q", "q.lif"), ("q", "k.lif"), ("stem", "k.lif"),
        ("q.lif", "and"), ("k.lif", "and"), ("and", "sum"), ("sum", "mask"), ("mask", "broadcast"),
        ("broadcast", "gate"), ("s", "gate"), ("gate", "spread"), ("spread", "wide"), ("wide", "proj"),
        ("proj", "last"), ("input", "last"), ("last", "flat"), ("flat", "readout"), ("readout", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False)


def published():
    """The published encoder's parts: a maximum of currents, attention, a readout of the currents of a residual stream.

    And what they could meet: biases that differ by position before the maximum, two branches into it, several readers.
    """
    rng = np.random.default_rng(4)
    stream, tokens = (4, 3, 3), (12, 3, 3)

    def random(cout, cin, kernel, hw):
        weight = np.round(rng.normal(size=(cout, cin, kernel, kernel)) * 16) / 16
        return conv(weight, np.round(rng.normal(size=cout) * 16) / 16, padding=kernel // 2, hw=hw)

    nodes = {
        "input": nir.Input(np.array((2, 5, 5))),
        "conv": random(4, 2, 3, (5, 5)),
        "blur": nir.SumPool2d(np.array([3, 3]), np.array([1, 1]), np.array([1, 1])),
        "max": max_pool((4, 5, 5)),
        "stem": lif(stream),
        "x": random(4, 4, 3, (3, 3)),
        "a": lif(stream, 0.5),
        "qkv": random(12, 4, 1, (3, 3)),
        "qkv.lif": lif(tokens, 0.25),
        "product": attention(tokens, heads=2, scale=0.125),
        "out": lif(stream, 0.25),
        "proj": random(4, 4, 1, (3, 3)),
        "b": lif(stream, 0.5),
        "mean": nir.SumPool2d(np.array([3, 3]), np.array([3, 3]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array((4, 1, 1))}, 0, -1),
        "readout": nir.Affine(np.round(rng.normal(size=(5, 4)) * 64).astype(np.float32) / 64, np.zeros(5, np.float32)),
        "output": nir.Output(np.array([5])),
    }
    edges = [
        ("input", "conv"), ("conv", "blur"), ("conv", "max"), ("blur", "max"), ("max", "stem"), ("max", "b"),
        ("stem", "x"), ("x", "a"), ("a", "qkv"), ("qkv", "qkv.lif"), ("qkv.lif", "product"), ("product", "out"),
        ("out", "proj"), ("x", "b"), ("proj", "b"), ("product", "b"), ("x", "mean"), ("proj", "mean"),
        ("max", "mean"), ("mean", "flat"), ("flat", "readout"), ("readout", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(
        nodes, edges, metadata=metadata(readout={"time_weights": [0.5, -1.0, 2.0, 1.0]}), type_check=False
    )


@pytest.mark.parametrize(
    ("build", "models"),
    [
        (small_net, "fused"), (spike_driven, "fused"), (published, "fused"),
        (spike_driven, "stock"), (published, "stock"),
        pytest.param(small_net, "stock", marks=pytest.mark.slow),  # the others have all of its nodes
    ],
)  # fmt: skip
def test_equals_the_reference(build, models):
    graph = from_nir(build())
    x = frames(graph, 3)
    assert_equal(simulate(graph, x, models=models), run(graph, x))


@pytest.mark.parametrize("batch", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 5)), 2, 7])
def test_any_batch_gives_the_same_trace(batch):
    graph = from_nir(small_net())
    x = frames(graph, 5)
    assert_equal(simulate(graph, x, batch=batch), run(graph, x))


@pytest.mark.parametrize("models", ["fused", pytest.param("stock", marks=pytest.mark.slow)])
def test_takes_a_frame_for_every_step(models):
    graph = from_nir(small_net(time_steps=3))
    x = frames(graph, 2, steps=3)
    assert_equal(simulate(graph, x, models=models), run(graph, x))


EXACT = {"input": {"low": -2, "high": 2, "axes": "BCHW", "bits": 4}}
"""What a file says of frames as `frames` makes them."""


def coarse_net(**nudged):
    """The nodes of `small_net` with weights on multiples of 2^-4, one of them moved by as much as is said."""
    nodes = {name: node for name, node in small_net().nodes.items() if name not in ("input", "output")}
    for name, node in nodes.items():
        if hasattr(node, "weight"):
            node.weight = (np.round(node.weight * 16) / 16).astype(np.float32)
            node.bias = (np.round(node.bias * 16) / 16).astype(np.float32)
            node.weight.flat[0] += nudged.get(name, 0)
    return from_nir(chain(nodes, (2, 6, 6), (5,), **EXACT))


def test_single_precision_is_used_where_the_weights_prove_it():
    graph = coarse_net()
    assert doubles(graph) == set()
    x = frames(graph, 3)
    assert_equal(simulate(graph, x), run(graph, x))


def test_long_runs_take_compiled_kernels(monkeypatch):
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    monkeypatch.setattr(fast, "WORTHWHILE", 0)
    graph = coarse_net()
    x = frames(graph, 5)
    assert_equal(simulate(graph, x, batch=2), run(graph, x))


@pytest.mark.parametrize("nudged", ["conv", "readout"])
def test_double_precision_is_used_everywhere_where_one_weight_is_too_fine(nudged):
    assert doubles(coarse_net(**{nudged: 2.0**-20})) == {"conv", "lif", "pool", "lif2", "readout"}


def test_double_precision_is_used_on_frames_that_the_proof_does_not_hold_for():
    graph, computing = coarse_net(), {"conv", "lif", "pool", "lif2", "readout"}
    x = frames(graph, 2)
    assert doubles_on(graph, x, 4) == set()
    assert doubles_on(graph, 2 * x, 4) == computing, "out of bounds"
    assert doubles_on(graph, x + np.float32(2.0**-6), 4) == computing, "off the grid"
    assert doubles_on(graph, x, 5) == computing, "more steps than were proven"
    assert doubles_on(graph, frames(graph, 2, steps=4), 4) == computing, "frames of every step"


def test_double_precision_is_used_in_a_readout_of_currents():
    """`(1 + 2^-12) (1 + 2^-14) - (1 + 2^-12 + 2^-14)` is 2^-26, which float32 rounds to 0."""
    currents = np.zeros((2, 2, 1, 1))
    currents[0, 0], currents[1, 1] = 1 + 2.0**-12, 1 + 2.0**-12 + 2.0**-14
    nodes = {
        "lif": lif((2, 1, 1)),
        "conv": conv(currents, hw=(1, 1)),
        "flat": nir.Flatten({"input": np.array((2, 1, 1))}, 0, -1),
        "readout": nir.Affine(np.array([[1 + 2.0**-14, -1]], np.float32), np.zeros(1, np.float32)),
    }
    graph = from_nir(chain(nodes, (2, 1, 1), (1,), input={"low": 0, "high": 4, "axes": "BCHW", "bits": 0}))
    assert doubles(graph) == {"readout"}
    outputs = simulate(graph, np.full((1, 2, 1, 1), 4, np.float32)).outputs
    np.testing.assert_array_equal(outputs, np.full((1, 4, 1), 2.0**-26, np.float32))


def test_a_certificate_that_the_weights_contradict_is_not_believed():
    """In float32 0.3 + 0.1 is 0.4, no more than the threshold; in float64 the sum of these float32 is more."""
    claim = {"bound": 1.0, "grid_bits": 0, "bits_needed": 1, "limit": 24, "exact": True, "reason": ""}
    lie = {"exact": True, "limit": 24, "time_steps": 1, "nodes": {"fc": claim, "thr": claim}}
    nodes = {
        "fc": nir.Affine(np.array([[0.3, 0.1]], np.float32), np.zeros(1, np.float32)),
        "thr": nir.Threshold(np.array([0.4], np.float32)),
    }
    stated = {"input": {"low": 0, "high": 1, "axes": "BF", "bits": 0}}
    graph = from_nir(chain(nodes, (2,), (1,), time_steps=1, certificate=lie, **stated))
    ones = np.ones((1, 2), np.float32)
    assert_equal(simulate(graph, ones), run(graph, ones))


def test_the_trace_scores_as_the_graph_says():
    graph = from_nir(published())
    trace = simulate(graph, frames(graph, 2))
    weights = np.array([0.5, -1.0, 2.0, 1.0])[:, None]
    np.testing.assert_array_equal(trace.scores, (weights * trace.outputs.astype(np.float64)).sum(1))


def test_images_follow_each_other_without_a_trace_of_the_last():
    graph = from_nir(small_net())
    x = frames(graph, 4)
    both, alone = simulate(graph, x, batch=1), simulate(graph, x[2:3], batch=1)
    for name, train in both.spikes.items():
        np.testing.assert_array_equal(train.bits[2:3], alone.spikes[name].bits)


def test_a_single_time_step_is_enough_for_an_image():
    graph = from_nir(small_net(time_steps=1))
    x = frames(graph, 3, seed=1)
    assert_equal(simulate(graph, x, batch=2), run(graph, x))


def test_progress_counts_images():
    graph = from_nir(small_net())
    seen = []
    simulate(graph, frames(graph, 5), batch=2, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 5)
    assert seen[-1] == (5, 5)
    assert seen == sorted(seen)


@pytest.mark.slow
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.generate],  # a Lava run takes seconds: no shrinking
)
@given(examples(max_populations=4))
def test_lavas_own_processes_equal_the_reference_on_random_graphs(example):
    graph = from_nir(example.graph)
    report = compare(simulate(graph, example.frames, models="stock"), run(graph, example.frames))
    assert report.exact, report.first_mismatch
    assert report.output_difference == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "half"}, "precision 'half'"),
        ({"models": "fast"}, "models 'fast'"),
        ({"batch": 0}, "batch 0"),
        ({"batch": 4, "models": "stock"}, "batch 4 with stock models"),
        ({"time_steps": 7}, "7 time steps"),
    ],
)
def test_refuses_what_it_has_not(arguments, message):
    graph = from_nir(small_net())
    with pytest.raises(RefusedInput, match=message):
        simulate(graph, frames(graph, 1), **arguments)


def test_stock_neurons_refuse_a_gain_of_zero():
    graph = from_nir(one_neuron(r=0.0))
    with pytest.raises(RefusedInput, match="'lif' has a gain or weight of 0"):
        simulate(graph, frames(graph, 1), models="stock")
