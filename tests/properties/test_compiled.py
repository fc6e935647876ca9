"""Compiled kernels equal the reference, and numpy's kernels, in every spike, membrane, output and overflow."""

from dataclasses import replace
from unittest import mock

import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from neuromorphic.analysis.exactness import exact_on
from neuromorphic.execution import fast, reference
from neuromorphic.ir.trace import Trace
from neuromorphic.ops import Affine, LoihiLif
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, conv, lif, max_pool
from tests.properties.random_graphs import examples, integer_examples

compiled = pytest.importorskip("neuromorphic.execution.compiled", reason="the extra `fast` is not installed")
fronts = pytest.importorskip("neuromorphic.execution.fronts", reason="the extra `fast` is not installed")
steps = pytest.importorskip("neuromorphic.execution.steps", reason="the extra `fast` is not installed")

MANY = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


def assert_same(graph, frames):
    """One way and the other; all images and one, which shares the sums of steps in pairs as large layers do."""
    expected = reference.run(graph, frames)
    plan = compiled.Compiled(graph, expected.time_steps)
    with mock.patch.object(fronts, "SHARED", 0):
        of_one = plan.run(frames[:1], compiled.packed)
    for ran in (plan.run(frames, compiled.packed), of_one):
        for name, train in expected.spikes.items():
            assert ran.kept[name].shape == train.shape
            np.testing.assert_array_equal(ran.kept[name].bits, train.bits[: len(ran.outputs)], err_msg=name)
            if expected.membranes is not None:
                np.testing.assert_array_equal(ran.membranes[name], expected.membranes[name][: len(ran.outputs)])
        np.testing.assert_array_equal(ran.outputs.astype(np.float32), expected.outputs[: len(ran.outputs)])
    ran = plan.run(frames, compiled.packed)
    stepped = fast.Execution(graph, len(frames), expected.time_steps)
    for _ in range(expected.time_steps):
        stepped.step({graph.input: frames})
    assert ran.overflows == stepped.overflows
    return plan


def in_singles(graph, frames):
    """`assert_same` in float32, which holds the sums of `random_graphs`."""
    with mock.patch.object(compiled, "doubles", return_value=frozenset()):
        assert_same(graph, frames)


@pytest.mark.slow
@settings(max_examples=150, **MANY)
@given(examples())
def test_floats_equal_the_reference(example):
    graph = from_nir(example.graph)
    assert_same(graph, example.frames)
    in_singles(graph, example.frames)


@pytest.mark.slow
@settings(max_examples=150, **MANY)
@given(integer_examples())
def test_integers_equal_the_reference(example):
    assert_same(example.graph, example.frames)


def test_every_kind_of_layer_equals_the_reference():
    """Frames, spikes, channels on their own, maxima, and what has no compiled kernel; on 6 and 8 positions."""
    rng = np.random.default_rng(0)

    def weights(*shape):
        return (rng.integers(-8, 12, shape) / 8).astype(np.float32)

    for width in (3, 4):
        net = chain(
            {
                "frames": conv(weights(4, 2, 3, 3), weights(4), padding=1, hw=(4, 2 * width)),
                "a": lif((4, 4, 2 * width), 0.5),
                "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
                "b": lif((4, 2, width), 0.75),
                "spikes": conv(weights(19, 4, 3, 3), weights(19), padding=1, hw=(2, width)),
                "max": max_pool((19, 2, width), stride=(1, 1)),
                "c": lif((19, 2, width), 0.25),
                "flat": nir.Flatten({"input": np.array([19, 2, width])}, 0, -1),
                "readout": nir.Affine(weights(3, 38 * width), weights(3)),
            },
            (2, 4, 2 * width),
            (3,),
        )
        frames = (rng.integers(-8, 9, (2, 2, 4, 2 * width)) / 4).astype(np.float32)
        in_singles(from_nir(net), frames)


LARGE = float(2**7 * (2**24 - 1))


@pytest.mark.parametrize(
    ("weights", "sums", "by_kernel"),
    [
        ([2.0**14, 2.0**14 - 1], np.int16, True),
        ([2.0**14, 2.0**14], np.int32, True),
        ([2.0**17 - 1, 1.0], np.int32, True),
        ([2.0**17, 1.0], np.int32, False),
        ([2.0**23, 2.0**23 - 1], np.int32, False),
        ([2.0**23, 2.0**23], np.int32, False),
        ([LARGE, 127.0], np.int32, False),
        ([LARGE, 128.0], np.float64, False),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_take_the_type_that_holds_them(weights, sums, by_kernel, sign):
    """2^15 leaves int16, 2^31 int32; what may wrap as u, or saturate below, is the operation's own to count."""
    net = chain(
        {
            "a": lif((2,), 0.5),
            "matrix": nir.Affine(np.ones((1, 2), np.float32), np.zeros(1, np.float32)),
            "b": lif((1,)),
        },
        (2,),
        (1,),
    )
    graph = from_nir(net)
    matrix = Affine(np.float32([[sign * w for w in weights]]), np.zeros(1, np.float32))
    always = LoihiLif(4096, np.zeros(2, np.int32), np.zeros(2, np.int32), 0)
    reader = LoihiLif(2048, np.full(1, 2**17 - 1, np.int32), np.zeros(1, np.int32), 0)
    operations = {"a": always, "matrix": matrix, "b": reader}
    nodes = {name: replace(node, operation=operations.get(name, node.operation)) for name, node in graph.nodes.items()}
    graph = replace(graph, nodes=nodes)
    plan = assert_same(graph, np.float32([[1, 1], [1, 0], [0, 1]]))
    assert plan.fronts["matrix"].sums == sums
    if sign > 0:
        assert ("b" in plan.neurons) is by_kernel


@pytest.mark.parametrize("above", [0, 1])
def test_an_integer_neuron_fires_strictly_above_its_threshold(above):
    graph = from_nir(chain({"a": lif((1,))}, (1,), (1,), time_steps=1))
    neuron = LoihiLif(2048, np.full(1, 100, np.int32), np.full(1, above, np.int32), 0)
    graph = replace(
        graph, nodes={n.name: replace(n, operation=neuron) if n.spiking else n for n in graph.nodes.values()}
    )
    assert_same(graph, np.float32([[100]]))
    assert reference.run(graph, np.float32([[100]])).spikes["a"].count() == above


def test_long_runs_are_compiled_in_parts_and_come_in_order(monkeypatch):
    rng = np.random.default_rng(1)
    net = chain({"c": conv(np.ones((4, 1, 1, 1)), hw=(4, 4)), "a": lif((4, 4, 4), 0.5)}, (1, 4, 4), (4, 4, 4))
    graph = from_nir(net)
    frames = rng.integers(-1, 3, (70, 1, 4, 4)).astype(np.float32)
    monkeypatch.setattr(fast, "WORTHWHILE", 0)
    monkeypatch.setattr(compiled, "fits", lambda graph, frames, time_steps: True)
    told = []
    parts = list(fast.traces(graph, frames, progress=lambda done, total: told.append((done, total))))
    assert len(parts) > 2
    assert told == [(sum(p.images for p in parts[:i]), 70) for i in range(len(parts) + 1)]
    expected = reference.run(graph, frames)
    np.testing.assert_array_equal(Trace.joined(parts).spikes["a"].bits, expected.spikes["a"].bits)
    np.testing.assert_array_equal(fast.run(graph, frames, 4).spikes["a"], expected.spikes["a"].unpack())


def test_what_rounds_or_waits_is_not_compiled():
    net = chain({"a": lif((2,), 0.5)}, (2,), (2,))
    graph, frames = from_nir(net), np.zeros((1, 2), np.float32)
    assert not compiled.fits(graph, frames, 4)
    delayed = chain({"d": nir.Delay(np.full(2, 1e-4, np.float32)), "a": lif((2,), 0.5)}, (2,), (2,))
    assert not compiled.fits(from_nir(delayed), frames, 4)


@pytest.mark.parametrize(("finest", "fitting"), [(-10, True), (-30, True), (-31, False)])
def test_what_only_float64_holds_is_compiled_in_float64(finest, fitting):
    """Weights of 2^20 and 2^-k take `k + 23` bits with the membranes' (`ops.charging`): 53 where k = 30."""
    matrix = nir.Affine(np.float32([[2.0**20, 2.0**finest]]), np.zeros(1, np.float32))
    shown = {"kind": "real", "axes": "BC", "low": -1.0, "high": 1.0, "bits": 0}
    net = chain({"fc": matrix, "lif": lif((1,), 2.0**18)}, (2,), (1,), 4, input=shown)
    graph, frames = from_nir(net), np.float32([[1, 1], [1, -1], [-1, 1]])
    assert not exact_on(graph, frames, 4)
    assert compiled.fits(graph, frames, 4) is fitting
    if fitting:
        assert_same(graph, frames)


@settings(max_examples=25, **MANY)
@given(integer_examples())
def test_a_layer_by_itself_equals_numpys(example):
    """What Lava's processes take, a step at a time."""
    rng = np.random.default_rng(0)
    for node in example.graph.nodes.values():
        compute = steps.layer(node, np.float32)
        if compute is not None:
            spikes = rng.integers(0, 2, (3, *node.input_shape), np.uint8)
            plain = node.operation.kernel(node.shapes, 3, np.float32, np.zeros(node.input_shape))
            np.testing.assert_array_equal(compute(spikes), plain(spikes), err_msg=node.name)


def test_an_output_adds_a_bias_that_float32_would_round():
    matrices = [nir.Affine(np.float32([[1.0]]), np.float32([bias])) for bias in (2.0**24, 1.0)]
    graph = from_nir(chain(dict(zip("ab", matrices, strict=True)), (1,), (1,), 4))
    plan = compiled.Compiled(graph, 4)
    outputs = plan.run(np.float32([[1.0]]), compiled.packed).outputs
    np.testing.assert_array_equal(outputs, np.full((1, 4, 1), 2.0**24 + 2))


@settings(max_examples=20, **MANY)
@given(integer_examples())
def test_a_trace_has_what_overflowed_in_all_of_its_batches(example):
    expected = fast.count_overflows(example.graph, example.frames)
    for batch in (1, 2, 16):
        parts = list(fast.traces(example.graph, example.frames, batch=batch))
        assert Trace.joined(parts).overflows == expected
    assert parts[0].part(slice(0, 1)).overflows is None
    assert reference.run(example.graph, example.frames).overflows is None
