"""NIR's primitives in the chip's integers, each against plain Python integers: reference, the fast run, Lava."""

from dataclasses import replace

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromorphic import reference
from neuromorphic.errors import RefusedInput
from neuromorphic.graph import LoihiLif, from_nir
from neuromorphic.loihi2.calibrate import Calibration
from neuromorphic.loihi2.certificate import certify
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.integers import integers
from neuromorphic.loihi2.quantise import calibrate, quantise
from neuromorphic.loihi2.run import run
from neuromorphic.loihi2.scheme import Scheme
from neuromorphic.loihi2.streams import streams
from neuromorphic.loihi2.units import Units
from neuromorphic.parity import compare
from neuromorphic.read import read_graph
from neuromorphic.simulation import simulate
from tests.neuromorphic.graphs import DT, chain, conv, lif, metadata

LIMIT = 2**23


def neuron(currents, decay, threshold, bias):
    """Spikes and the last v of one neuron, from what it is sent in every step, in Python's integers."""
    v, spikes = 0, []
    for x in currents:
        u = (64 * x) % 2**24
        u -= 2**24 if u > LIMIT else 0
        kept = abs(v) * (4096 - decay) // 4096
        v = max(1 - LIMIT, min(LIMIT - 1, (kept if v >= 0 else -kept) + u + bias))
        spikes.append(v > 64 * threshold)
        v = 0 if spikes[-1] else v
    return spikes, v


def integrate_and_fire(shape, threshold=1.0, r=1.0):
    return nir.IF(np.full(shape, r / DT, np.float32), np.full(shape, threshold, np.float32))


def agree(graph, frames, models):
    """Whether the reference, the fast run and Lava agree on an integer graph, as the reference's trace."""
    expected = reference.run(graph, frames)
    for each in models:
        report = compare(simulate(graph, frames, precision="loihi2", models=each, timeout=120), expected)
        assert report.exact, (each, report.first_mismatch)
    if frames.ndim == len(graph.nodes[graph.input].shape) + 1:
        activity = run(graph, frames, expected.time_steps)
        for name, train in expected.spikes.items():
            assert np.array_equal(train.unpack(), activity.spikes[name]), name
            assert np.array_equal(expected.membranes[name], activity.membranes[name]), name
    return expected


def two_layers(seed, steps=6):
    """Frames of 4 numbers into 5 IF neurons, these into 3; biases too."""
    rng = np.random.default_rng(seed)
    nodes = {
        "w1": nir.Affine(rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=5).astype(np.float32) / 4),
        "if1": integrate_and_fire((5,), 1.5, 0.7),
        "w2": nir.Affine(rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=3).astype(np.float32) / 8),
        "if2": integrate_and_fire((3,), 1.0),
    }
    return chain(nodes, (4,), (3,), steps), rng.normal(size=(8, 4)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_an_if_equals_plain_integers(seed):
    stored, frames = two_layers(seed)
    graph, scheme = quantise(from_nir(stored), frames)
    whole = np.clip(np.round(frames * scheme.input_scale), -128, 127).astype(np.float32)
    trace = agree(graph, whole, ())
    arriving = [[[int(x) for x in image]] * 6 for image in whole]
    for synapses, name in (("w1", "if1"), ("w2", "if2")):
        weight, population = graph.nodes[synapses].operation.weight, graph.nodes[name].operation
        assert population.decay == 0
        spikes, membranes = trace.spikes[name].unpack(), trace.membranes[name]
        for image, trains in enumerate(arriving):
            for n, row in enumerate(weight.astype(int).tolist()):
                currents = [sum(w * int(x) for w, x in zip(row, step, strict=True)) for step in trains]
                fired, v = neuron(currents, 0, int(population.threshold[n]), int(population.bias[n]))
                assert spikes[image, :, n].tolist() == fired
                assert membranes[image, n] == v
        arriving = spikes.tolist()


def test_lava_runs_an_if_in_integers():
    stored, frames = two_layers(3)
    graph, scheme = quantise(from_nir(stored), frames)
    whole = np.clip(np.round(frames[:2] * scheme.input_scale), -128, 127).astype(np.float32)
    agree(graph, whole, ("fused", "stock"))


def test_the_file_brings_an_ifs_integers_back(tmp_path):
    stored, frames = two_layers(4)
    nir.write(tmp_path / "float.nir", stored)
    floats, scheme = calibrate(read_graph(tmp_path / "float.nir"), frames)
    write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "quantised.nir")
    again, whole = integer_graph(read_graph(tmp_path / "quantised.nir")), integers(floats, scheme)
    for name in ("if1", "if2"):
        assert np.array_equal(again.nodes[name].operation.threshold, whole.nodes[name].operation.threshold)
        assert np.array_equal(again.nodes[name].operation.bias, whole.nodes[name].operation.bias)


@pytest.mark.parametrize("threshold", [0.5, 1.0, 1.75, 2.0, 6.9, 7.0, 12.0])
def test_an_if_that_counts_is_exact(threshold):
    """Spikes that count 1 and -2: all 256 trains of two neurons in 4 steps, in fractions that don't round."""
    nodes = {
        "w": nir.Affine(np.eye(2, dtype=np.float32), np.zeros(2, np.float32)),
        "s": lif((2,), 1.0, tau=2.0, r=2.0),
        "count": nir.Affine(np.array([[1.0, -2.0]], np.float32), np.zeros(1, np.float32)),
        "if": integrate_and_fire((1,), threshold),
    }
    spikes = np.arange(256)[:, None] >> np.arange(8) & 1
    frames = (4.0 * spikes.reshape(256, 4, 2)).astype(np.float32)
    graph = from_nir(chain(nodes, (2,), (1,)))
    whole, scheme = quantise(graph, frames[:, 0] + 1)
    assert scheme.populations["if"].exact
    trace = reference.run(whole, np.round(frames * scheme.input_scale))
    assert np.array_equal(trace.spikes["s"].unpack(), frames > 0)
    for train, fired in zip(frames > 0, trace.spikes["if"].unpack()[..., 0], strict=True):
        v = 0
        for (up, down), spike in zip(train.tolist(), fired.tolist(), strict=True):
            v += up - 2 * down
            assert spike == (v > threshold)
            v = 0 if spike else v


def counted(steps, weight=-(2.0**13)):
    """One IF of integers that 1 spike a step pulls down by 64 · 2^13 = 2^19."""
    nodes = {"s": lif((1,)), "w": nir.Affine(np.ones((1, 1)), np.zeros(1)), "if": integrate_and_fire((1,))}
    graph = from_nir(chain(nodes, (1,), (1,), steps))
    one = np.ones(1, np.int32)
    nodes = dict(graph.nodes)
    nodes["w"] = replace(
        nodes["w"], operation=replace(nodes["w"].operation, weight=np.full((1, 1), weight, np.float32))
    )
    for name in ("s", "if"):
        nodes[name] = replace(nodes[name], operation=LoihiLif(0, one, 0 * one, 0))
    return replace(graph, nodes=nodes)


@pytest.mark.parametrize(("steps", "saturating"), [(1, 0), (15, 0), (16, 1), (100, 1)])
def test_without_a_leak_t_steps_bound_the_membrane(steps, saturating):
    """-2^23 is reached in the 16th step, where v ends at 1 - 2^23."""
    graph = counted(steps)
    proof = certify(graph).populations["if"]
    assert (proof.wrapping, proof.saturating) == (0, saturating)
    assert proof.membrane == -steps * 2**19
    found = run(graph, np.full((1, 1), 127, np.float32), steps)
    assert found.overflows["if"].saturations == max(0, steps - 15)
    assert found.membranes["if"].item() == max(1 - LIMIT, -steps * 2**19)


@pytest.mark.parametrize(("steps", "exact"), [(4, True), (40000, False)])
def test_an_if_that_could_saturate_is_not_claimed_exact(steps, exact):
    """Eight spikes of -1 in a step: 64 · 8 · 40000 is beyond 24 bits."""
    nodes = {
        "s": lif((8,)),
        "w": nir.Affine(-np.ones((1, 8), np.float32), np.zeros(1, np.float32)),
        "if": integrate_and_fire((1,)),
    }
    graph = from_nir(chain(nodes, (8,), (1,)))
    unit = Units(graph, 1.0, steps).exact(streams(graph)[-1], Scheme("layer", 1.0, {}, {}, {}, {}, {}))
    assert (unit is not None) == exact


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


def conv1d(x, weight, stride, padding, groups):
    """`[C, N]` lists of Python's integers, from NIR's equation."""
    per_group, size = len(weight[0]), len(x[0])
    length = (size + 2 * padding - len(weight[0][0])) // stride + 1
    result = []
    for o, kernel in enumerate(weight):
        first = o // (len(weight) // groups) * per_group
        result.append([
            sum(
                w * x[first + c][j * stride - padding + n]
                for c, taps in enumerate(kernel)
                for n, w in enumerate(taps)
                if 0 <= j * stride - padding + n < size
            )
            for j in range(length)
        ])  # fmt: skip
    return result


def whole(array):
    return np.asarray(array).astype(np.int64).tolist()


def fires(population, trains):
    """Spikes `[T][C][N]` and the last v `[C][N]` of a population from what arrives at it `[T][C][N]`."""
    rows, columns = len(trains[0]), len(trains[0][0])
    spikes, last = np.zeros((len(trains), rows, columns), int), np.zeros((rows, columns), int)
    for i, j in np.ndindex(rows, columns):
        threshold, bias = int(population.threshold[i, j]), int(population.bias[i, j])
        spikes[:, i, j], last[i, j] = neuron([x[i][j] for x in trains], population.decay, threshold, bias)
    return spikes.tolist(), last.tolist()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["layer", "channel"]))
def test_one_dimensional_maps_and_factors_equal_plain_integers(seed, granularity):
    stored, frames = one_dimensional(seed)
    graph, scheme = quantise(from_nir(stored), frames, granularity)
    shown = np.clip(np.round(frames * scheme.input_scale), -128, 127).astype(np.float32)
    trace = agree(graph, shown, ())
    parameters = {name: node.operation for name, node in graph.nodes.items()}
    first, group = (whole(parameters[name].weight) for name in ("conv", "group"))
    factor, direct = whole(parameters["scale"].scale), whole(parameters["if.lif"].weight)
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


def averages(threshold):
    """Pixels 0 or 4 that neurons repeat, averages of four of them into IF neurons, and of those on the host."""

    def pool():
        return nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))

    nodes = {
        "s": lif((1, 4, 4), 1.0, tau=2.0, r=2.0),
        "pool": pool(),
        "if": integrate_and_fire((1, 2, 2), threshold),
        "mean": pool(),
        "flat": nir.Flatten(np.array([1, 1, 1]), 0, -1),
    }
    return chain(nodes, (1, 4, 4), (1,))


@pytest.mark.parametrize("threshold", [0.2, 0.25, 0.7, 0.75, 1.0])
def test_averages_of_spikes_are_exact(threshold):
    """In quarters: every sum that a window can have, at the threshold too."""
    frames = 4.0 * np.random.default_rng(0).integers(0, 2, (64, 4, 1, 4, 4)).astype(np.float32)
    graph, scheme = quantise(from_nir(averages(threshold)), frames[:, 0])
    assert scheme.populations["if"].exact
    trace = agree(graph, np.round(frames * scheme.input_scale), ())
    assert np.array_equal(trace.spikes["s"].unpack(), frames > 0)
    means = trace.outputs * scheme.units["output"]
    for image, fired in enumerate(trace.spikes["if"].unpack()[:, :, 0].tolist()):
        for i, j in np.ndindex(2, 2):
            v = 0
            for t in range(4):
                v += int((frames[image, t, 0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] > 0).sum())
                assert fired[t][i][j] == (v > 4 * threshold)
                v = 0 if fired[t][i][j] else v
        assert means[image].ravel().tolist() == [sum(map(sum, s)) / 4 for s in fired]


@pytest.mark.parametrize(("threshold", "silent"), [(1.0, 1), (0.99, 0), (2.0, 2)])
def test_a_mean_of_99_reaches_a_threshold_of_one_and_no_more(threshold, silent):
    """1 / (1 / 99) is less than 99 in floats; yet an average of 1 is 1, which is not above it."""
    nodes = {
        "s": lif((1, 9, 11), 1.0, tau=2.0, r=2.0),
        "pool": nir.AvgPool2d(np.array([9, 11]), np.array([9, 11]), np.array([0, 0])),
        "if": integrate_and_fire((1, 1, 1), threshold),
    }
    graph, scheme = quantise(from_nir(chain(nodes, (1, 9, 11), (1, 1, 1))), np.full((1, 1, 9, 11), 4, np.float32))
    assert scheme.populations["if"].exact
    spikes = reference.run(graph, np.full((1, 1, 9, 11), 127, np.float32)).spikes["if"].unpack().ravel().tolist()
    assert spikes == [(t + 1) % (silent + 1) == 0 for t in range(4)]


def test_lava_averages_in_integers():
    frames = 4.0 * np.random.default_rng(1).integers(0, 2, (2, 4, 1, 4, 4)).astype(np.float32)
    graph, scheme = quantise(from_nir(averages(0.7)), frames[:, 0])
    agree(graph, np.round(frames * scheme.input_scale), ("fused", "stock"))


def test_averages_of_currents_are_refused():
    """On the chip a synapse reads spikes: the factor is the business of the weights before it."""
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    nodes = {"w": conv([[[[1]]]], hw=(2, 2)), "pool": pool, "lif": lif((1, 1, 1))}
    graph = from_nir(chain(nodes, (1, 2, 2), (1, 1, 1)))
    with pytest.raises(RefusedInput, match="'pool' divides currents by 4"):
        quantise(graph, np.ones((1, 1, 2, 2), np.float32))


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
    graph, scheme = quantise(from_nir(stored), frames)
    shown = np.clip(np.round(frames * scheme.input_scale), -128, 127).astype(np.float32)
    trace = agree(graph, shown, ())
    parameters = {name: node.operation for name, node in graph.nodes.items()}
    first, second, direct = (whole(parameters[name].weight) for name in ("w1", "w2", "lif.later"))
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
