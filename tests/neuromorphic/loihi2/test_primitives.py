"""NIR's synapses and delays in the chip's integers, against plain Python integers: reference, fast run, Lava."""

from dataclasses import replace

import nir
import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from neuromorphic.errors import RefusedInput
from neuromorphic.execution import reference
from neuromorphic.execution.fast import run
from neuromorphic.ir.parity import compare
from neuromorphic.loihi2.calibrate import Calibration
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.integers import integers
from neuromorphic.loihi2.quantise import calibrate, quantise
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from tests.neuromorphic.chip import agree, conv1d, fires, integrate_and_fire, whole
from tests.neuromorphic.graphs import DT, chain, conv, lif, metadata


def along(size, weight, bias, stride=1, padding=0, groups=1):
    return nir.Conv1d(size, np.asarray(weight, np.float32), stride, padding, 1, groups, np.asarray(bias, np.float32))


def one_dimensional(seed):
    """Frames `[2, 8]`: a convolution into LIF neurons, a factor for each, IF neurons that also read them as is."""
    rng = np.random.default_rng(seed)
    every = {
        "input": nir.Input(np.array([2, 8])),
        "conv": along(8, rng.normal(size=(4, 2, 3)), rng.normal(size=4) / 4, stride=2, padding=1),
        "lif": lif((4, 4), 0.3),
        "scale": nir.Scale(rng.normal(size=(4, 4)).astype(np.float32)),
        "group": along(4, rng.normal(size=(4, 2, 3)), np.zeros(4), padding=1, groups=2),
        "if": integrate_and_fire((4, 4), 0.8),
        "flat": nir.Flatten(np.array([4, 4]), 0, -1),
        "out": nir.Output(np.array([16])),
    }
    edges = [("input", "conv"), ("conv", "lif"), ("lif", "scale"), ("lif", "group"), ("scale", "if"), ("group", "if")]
    edges += [("lif", "if"), ("if", "flat"), ("flat", "out")]
    stored = nir.NIRGraph(every, edges, metadata=metadata(4), type_check=False)
    return stored, rng.normal(size=(6, 2, 8)).astype(np.float32)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["layer", "channel"]))
def test_one_dimensional_maps_and_factors_equal_plain_integers(seed, granularity):
    stored, frames = one_dimensional(seed)
    graph, scheme = quantise(from_nir(stored), frames, granularity)
    shown = np.clip(np.round(frames * scheme.input_scale), -128, 127).astype(np.float32)
    trace = agree(graph, shown, ())
    parameters = {name: node.operation for name, node in graph.nodes.items()}
    first, group = (whole(parameters[name].weight[..., 0]) for name in ("conv", "group"))
    factor, direct = whole(parameters["scale"].scale), whole(parameters["if.lif"].weight[..., 0])
    for image in range(len(frames)):
        currents = [conv1d(whole(shown[image]), first, 2, 1, 1)] * 4
        spikes, v = fires(parameters["lif"], currents)
        assert trace.spikes["lif"].unpack()[image].tolist() == spikes
        assert trace.membranes["lif"][image].tolist() == v
        arriving = []
        for s in spikes:
            grouped, itself = conv1d(s, group, 1, 1, 2), conv1d(s, direct, 1, 0, 4)
            arriving.append(
                [[factor[i][j] * s[i][j] + grouped[i][j] + itself[i][j] for j in range(4)] for i in range(4)]
            )
        spikes, v = fires(parameters["if"], arriving)
        assert trace.spikes["if"].unpack()[image].tolist() == spikes
        assert trace.membranes["if"][image].tolist() == v


def test_lava_runs_one_dimensional_maps_and_factors():
    stored, frames = one_dimensional(1)
    graph, scheme = quantise(from_nir(stored), frames)
    trace = agree(graph, np.clip(np.round(frames[:2] * scheme.input_scale), -128, 127), ("fused", "stock"))
    assert all(0 < train.count() < train.neurons * 8 for train in trace.spikes.values())


def test_the_file_brings_kernels_and_factors_back(tmp_path):
    stored, frames = one_dimensional(2)
    nir.write(tmp_path / "float.nir", stored)
    floats, scheme = calibrate(read_graph(tmp_path / "float.nir"), frames)
    write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "quantised.nir")
    again, expected = integer_graph(read_graph(tmp_path / "quantised.nir")), integers(floats, scheme)
    for name in ("conv", "group", "scale", "lif", "if"):
        for key, value in vars(expected.nodes[name].operation).items():
            assert np.array_equal(vars(again.nodes[name].operation)[key], value), (name, key)


def test_two_kernels_in_a_row_are_written_as_one_with_the_length_of_what_it_reads(tmp_path):
    rng = np.random.default_rng(3)
    nodes = {
        "first": along(8, rng.normal(size=(3, 2, 3)), np.zeros(3)),
        "second": along(6, rng.normal(size=(4, 3, 3)), np.zeros(4), stride=2),
        "lif": lif((4, 2), 0.3),
    }
    nir.write(tmp_path / "float.nir", chain(nodes, (2, 8), (4, 2)))
    floats, scheme = calibrate(read_graph(tmp_path / "float.nir"), rng.normal(size=(4, 2, 8)).astype(np.float32))
    write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "quantised.nir")
    written = nir.read(tmp_path / "quantised.nir").nodes
    assert {*written} == {"input", "second", "lif", "output"}
    assert (int(written["second"].input_shape), written["second"].weight.shape) == (8, (4, 2, 5))
    assert (int(written["second"].stride), int(written["second"].padding), int(written["second"].dilation)) == (2, 0, 1)


def late(*steps):
    return nir.Delay(np.array(steps) * DT)


def delays(seed):
    """Frames of 3 numbers, late by 0, 1 and 2 steps, into IF neurons; their spikes, late by 3, 1 and 0, into LIFs."""
    rng = np.random.default_rng(seed)
    every = {
        "input": nir.Input(np.array([3])),
        "wait": late(0, 1, 2),
        "w1": nir.Affine(rng.normal(size=(3, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32) / 4),
        "if": integrate_and_fire((3,), 0.6),
        "later": late(3, 1, 0),
        "w2": nir.Linear(rng.normal(size=(3, 3)).astype(np.float32)),
        "lif": lif((3,), 0.3),
        "out": nir.Output(np.array([3])),
    }
    edges = [("input", "wait"), ("wait", "w1"), ("w1", "if"), ("if", "later"), ("later", "lif"), ("later", "w2")]
    stored = nir.NIRGraph(every, [*edges, ("w2", "lif"), ("lif", "out")], metadata=metadata(6), type_check=False)
    return stored, rng.normal(size=(6, 3)).astype(np.float32)


def held_back(train, *steps):
    """`[T][n]`: each number so many steps later."""
    return [[train[t - wait][n] if t >= wait else 0 for n, wait in enumerate(steps)] for t in range(len(train))]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_delay_changes_no_number(seed):
    stored, frames = delays(seed)
    try:
        graph, scheme = quantise(from_nir(stored), frames)
    except RefusedInput as error:  # a bias too large beside its weights has no exponent of 3 bits
        if "bias exponent" not in str(error):
            raise
        reject()
    shown = np.clip(np.round(frames * scheme.input_scale), -128, 127).astype(np.float32)
    trace = agree(graph, shown, ())
    parameters = {name: node.operation for name, node in graph.nodes.items()}
    first, second = (whole(parameters[name].weight) for name in ("w1", "w2"))
    direct = whole(np.diag(parameters["lif.later"].scale))
    for image, frame in enumerate(whole(shown)):
        train = held_back([frame] * 6, 0, 1, 2)
        for name, matrices in (("if", (first,)), ("lif", (second, direct))):
            weight = [[sum(m[n][i] for m in matrices) for i in range(3)] for n in range(3)]
            arriving = [[[sum(w * x for w, x in zip(row, step, strict=True)) for row in weight]] for step in train]
            population = parameters[name]
            as_map = replace(
                population, threshold=population.threshold[None], bias_mantissa=population.bias_mantissa[None]
            )
            spikes, v = fires(as_map, arriving)
            sent = [step[0] for step in spikes]
            assert trace.spikes[name].unpack()[image].tolist() == sent
            assert trace.membranes[name][image].tolist() == v[0]
            train = held_back(sent, 3, 1, 0)


def test_the_fast_run_of_floats_waits_too():
    """What calibration measures itself by: the float graph's spikes."""
    stored, frames = delays(5)
    graph = from_nir(stored)
    expected, found = reference.run(graph, frames), run(graph, frames, 6)
    assert all(np.array_equal(train.unpack(), found.spikes[name]) for name, train in expected.spikes.items())
    calibration = Calibration(graph, frames, frames, 6)
    for name in ("if", "lif"):
        assert np.array_equal(calibration.fired(graph, name, calibration.spikes), calibration.spikes[name])
        assert 0 < calibration.spikes[name].mean() < 1


def test_lava_delays_in_integers():
    stored, frames = delays(5)
    graph, scheme = quantise(from_nir(stored), frames)
    agree(graph, np.clip(np.round(frames[:2] * scheme.input_scale), -128, 127), ("fused", "stock"))


def scaled(factors, seed=0):
    """A convolution and a matrix of which each has a factor per channel behind it, and neurons behind that."""
    rng = np.random.default_rng(seed)
    nodes = {
        "conv": conv(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2) / 4, padding=1, hw=(4, 4)),
        "scale": nir.Scale(factors),
        "lif": lif((2, 4, 4), 0.4),
        "flat": nir.Flatten(np.array([2, 4, 4]), 0, -1),
        "w": nir.Affine(rng.normal(size=(3, 32)).astype(np.float32), np.ones(3, np.float32) / 8),
        "again": nir.Scale(np.array([0.25, -1.0, 3.0], np.float32)),
        "if": integrate_and_fire((3,)),
    }
    return chain(nodes, (1, 4, 4), (3,)), rng.normal(size=(8, 1, 4, 4)).astype(np.float32)


def test_factors_of_channels_become_weights(tmp_path):
    """The same spikes as of the graph whose weights hold the factors already; written, they are read as they were."""
    factors = np.broadcast_to(np.array([0.5, -2.0], np.float32)[:, None, None], (2, 4, 4)).copy()
    stored, frames = scaled(factors)
    by_hand = scaled(np.ones((2, 4, 4), np.float32))[0]
    for name, scale in (("conv", factors[:, 0, 0]), ("w", stored.nodes["again"].scale)):
        node = by_hand.nodes[name]
        node.bias = node.bias * scale
        node.weight = node.weight * scale.reshape(-1, *[1] * (node.weight.ndim - 1))
    by_hand.nodes["again"].scale = np.ones(3, np.float32)
    graph, scheme = quantise(from_nir(stored), frames)
    expected, _ = quantise(from_nir(by_hand), frames)
    shown = np.clip(np.round(frames * scheme.input_scale), -128, 127).astype(np.float32)
    trace, other = agree(graph, shown, ()), reference.run(expected, shown)
    assert compare(trace, other).exact
    floats = reference.run(from_nir(stored), frames)
    assert np.mean(trace.spikes["lif"].unpack() != floats.spikes["lif"].unpack()) < 0.02
    assert 0.1 < floats.spikes["lif"].unpack().mean() < 0.9

    nir.write(tmp_path / "float.nir", stored)
    whole_file, scheme = calibrate(read_graph(tmp_path / "float.nir"), frames)
    write_quantised(tmp_path / "float.nir", whole_file, scheme, tmp_path / "quantised.nir")
    assert compare(reference.run(integer_graph(read_graph(tmp_path / "quantised.nir")), shown), trace).exact


def test_factors_that_differ_within_a_channel_are_refused():
    factors = np.ones((2, 4, 4), np.float32)
    factors[1, 2, 3] = 2
    stored, frames = scaled(factors)
    with pytest.raises(RefusedInput, match=r"'scale' scales currents; .* expected one factor per channel"):
        quantise(from_nir(stored), frames)


def test_lava_runs_folded_factors():
    stored, frames = scaled(np.full((2, 4, 4), 0.5, np.float32))
    graph, scheme = quantise(from_nir(stored), frames)
    agree(graph, np.clip(np.round(frames[:2] * scheme.input_scale), -128, 127), ("stock",))


def test_a_delay_of_frames_and_spikes_together_is_refused():
    """A frame counts in 1 / scale, a spike in 1."""
    every = {
        "input": nir.Input(np.array([1])),
        "a": lif((1,)),
        "late": late(1),
        "b": lif((1,)),
        "out": nir.Output(np.array([1])),
    }
    edges = [("input", "a"), ("input", "late"), ("a", "late"), ("late", "b"), ("b", "out")]
    graph = from_nir(nir.NIRGraph(every, edges, metadata=metadata(4), type_check=False))
    with pytest.raises(RefusedInput, match=r"late: sums .*, which count in different units"):
        quantise(graph, np.full((1, 1), 0.3, np.float32))
