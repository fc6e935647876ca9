"""Populations in the chip's integers, and averages of their spikes, against plain Python integers."""

from dataclasses import replace
from fractions import Fraction

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromorphic.analysis.streams import streams
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import reference
from neuromorphic.execution.fast import run
from neuromorphic.loihi2.certificate import certify_widths
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.integers import integers
from neuromorphic.loihi2.populations import chip_form
from neuromorphic.loihi2.quantise import calibrate, quantise
from neuromorphic.loihi2.scheme import Scheme
from neuromorphic.loihi2.units import Units
from neuromorphic.ops import LoihiLif
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph
from tests.neuromorphic.chip import LIMIT, agree, integrate_and_fire, neuron
from tests.neuromorphic.graphs import DT, chain, conv, lif


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


def test_the_file_keeps_a_readouts_decay_whatever_its_writer_meant_by_tau(tmp_path):
    """Of exponentials: the file of floats that any reader understands says the tau that decays as much."""
    readout = nir.LI(np.full(2, 3 * DT), np.ones(2), np.zeros(2))
    nir.write(tmp_path / "float.nir", chain({"n": lif((2,)), "out": readout}, (2,), (2,)))
    asked = Asked(dt=DT, written_by="jaxpike")
    read, frames = read_graph(tmp_path / "float.nir", asked=asked), np.ones((1, 2), np.float32)
    floats, scheme = calibrate(read, frames)
    write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "quantised.nir")
    again = read_graph(tmp_path / "quantised.nir").nodes["out"].operation
    np.testing.assert_allclose(again.decay, 1 - np.exp(-1 / 3), rtol=1e-6)


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


def driven_by_two(node, steps=4):
    """Two neurons that repeat their frames, 0 or 4, and a neuron of kind `node` that counts them as 1 and -2."""
    nodes = {
        "w": nir.Affine(np.eye(2, dtype=np.float32), np.zeros(2, np.float32)),
        "s": lif((2,), 1.0, tau=2.0, r=2.0),
        "count": nir.Affine(np.array([[1.0, -2.0]], np.float32), np.zeros(1, np.float32)),
        "node": node,
    }
    spikes = np.arange(4**steps)[:, None] >> np.arange(2 * steps) & 1
    frames = (4.0 * spikes.reshape(-1, steps, 2)).astype(np.float32)
    whole, scheme = quantise(from_nir(chain(nodes, (2,), (1,), steps)), frames[::17])
    trace = reference.run(whole, np.round(frames * scheme.input_scale))
    assert np.array_equal(trace.spikes["s"].unpack(), frames > 0)
    return frames > 0, scheme.populations["node"].exact, trace.spikes["node"].unpack()[..., 0]


@pytest.mark.parametrize("threshold", [0.0625, 0.125, 0.25, 0.3125, 0.375, 0.5])
@pytest.mark.parametrize(("tau_syn", "tau_mem"), [(2, 2), (4, 2), (2, 4), (1, 2)])
def test_a_current_based_neuron_that_counts_is_exact(threshold, tau_syn, tau_mem):
    """All 256 trains of two neurons in 4 steps, in fractions; thresholds that are sums, too."""
    one, step = np.ones(1, np.float32), np.float32(DT)
    node = nir.CubaLIF(tau_syn * step * one, tau_mem * step * one, one, 0 * one, threshold * one, 0 * one, one)
    trains, exact, found = driven_by_two(node)
    assert exact
    assert found.any()
    for train, fired in zip(trains.tolist(), found.tolist(), strict=True):
        assert [v > threshold for v in charged(train, tau_syn, tau_mem, threshold)] == fired


def charged(train, tau_syn, tau_mem, threshold):
    """The membrane of a current-based neuron before each reset, in fractions."""
    i = v = Fraction(0)
    for up, down in train:
        i += (up - 2 * down - i) / Fraction(tau_syn)
        v += (i - v) / Fraction(tau_mem)
        yield v
        v = Fraction(0) if v > threshold else v


@pytest.mark.parametrize("below", [0, 1])
@pytest.mark.parametrize("position", [0.3, 0.6, 0.9])
def test_it_is_exact_where_currents_ask_for_more_bits_than_membranes(below, position):
    """At a threshold that some train just reaches, and 2^-16 below it, where that fires: no decay may round."""
    trains = (np.arange(4**5)[:, None] >> np.arange(10) & 1).reshape(-1, 5, 2)
    reached = sorted({v for train in trains.tolist() for v in charged(train, 8, 2, 99) if v > 0})
    threshold = reached[int(position * len(reached))] - below * Fraction(1, 2**16)
    one, step = np.ones(1, np.float32), np.float32(DT)
    node = nir.CubaLIF(8 * step * one, 2 * step * one, one, 0 * one, np.float32(threshold) * one, 0 * one, one)
    assert Fraction(float(node.v_threshold[0])) == threshold
    trains, exact, found = driven_by_two(node, 5)
    assert exact
    expected = [[v > threshold for v in charged(train, 8, 2, threshold)] for train in trains.tolist()]
    assert found.tolist() == expected


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_a_threshold_that_counts_is_exact(threshold):
    trains, exact, found = driven_by_two(nir.Threshold(np.full(1, threshold, np.float32)))
    assert exact
    assert found.tolist() == [[up - 2 * down > threshold for up, down in train] for train in trains.tolist()]


def falling(synapse, decay, steps, weight, mantissa=0, drive=0):
    """One neuron whose currents last, that a spike in every step of another pulls by `weight`."""
    graph = counted(steps, weight)
    whole = LoihiLif(
        decay, np.full(1, 131071, np.int32), np.full(1, mantissa, np.int32), 0, synapse, np.full(1, drive, np.int32)
    )
    return replace(graph, nodes={**graph.nodes, "if": replace(graph.nodes["if"], operation=whole)})


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([1, 100, 1024, 2048, 4000, 4095]),
    st.sampled_from([0, 1, 500, 2048, 4095]),
    st.integers(1, 60),
    st.integers(-127, -1),
    st.integers(0, 7),
    st.integers(-4096, 4095),
    st.integers(-127, 127),
)
def test_bounds_of_filtered_currents_are_reached(synapse, decay, steps, weight, exponent, mantissa, drive):
    """By a spike in every step, but for what rounding toward zero takes: less than 1 per step of u, and of v."""
    graph = falling(synapse, decay, steps, weight * 2.0**exponent, mantissa, drive)
    proof = certify_widths(graph).populations["if"]
    low, u, v, reached = 64 * (weight * 2**exponent + drive), 0, 0, [0]
    for _ in range(steps):
        u = -(-u * (4096 - synapse) // 4096) + low if u < 0 else u * (4096 - synapse) // 4096 + low
        v = -(-v * (4096 - decay) // 4096) + u + mantissa
        v = min(v, 0)
        reached.append(v)
    least = min(reached)
    if low <= 0:
        assert proof.membrane <= max(least, -(2**62)) <= proof.membrane + steps * (steps + 1)
        assert proof.current[0] <= u <= proof.current[0] + steps + 1
        assert proof.saturating == (proof.membrane < 1 - LIMIT)
    if proof.proven:
        found = run(graph, np.full((1, 1), 127, np.float32), steps)
        assert (found.overflows["if"].wraps, found.overflows["if"].saturations) == (0, 0)


def test_bounds_of_any_number_of_steps_hold_those_of_some():
    for synapse, decay in ((1024, 2048), (2048, 4095), (4096, 512)):
        graph = falling(synapse, decay, 50, -64.0, 100, 20)
        for_ever = replace(graph, metadata=replace(graph.metadata, time_steps=None))
        some, any_number = (certify_widths(each).populations["if"] for each in (graph, for_ever))
        assert any_number.membrane <= some.membrane
        assert any_number.current[0] <= some.current[0]


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
    proof = certify_widths(graph).populations["if"]
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


def averaged(divides):
    """A convolution, the mean or the sum of its currents over windows of four, and neurons."""
    pool = (nir.AvgPool2d if divides else nir.SumPool2d)(*np.array([[2, 2], [2, 2], [0, 0]]))
    weight = np.random.default_rng(3).normal(size=(2, 1, 3, 3)).astype(np.float32)
    kernel = conv(weight if divides else weight / 4, hw=(4, 4), padding=1)
    return chain({"w": kernel, "pool": pool, "lif": lif((2, 2, 2), 0.3)}, (1, 4, 4), (2, 2, 2))


def test_the_weights_before_an_average_of_currents_take_the_divisor():
    """On the chip a synapse reads spikes, and a factor is a weight: the same integers as of divided weights."""
    frames = np.random.default_rng(0).normal(size=(6, 1, 4, 4)).astype(np.float32)
    graph, scheme = quantise(from_nir(averaged(True)), frames)
    by_hand, other = quantise(from_nir(averaged(False)), frames)
    assert scheme == other
    for name in ("w", "lif"):
        for key, value in vars(by_hand.nodes[name].operation).items():
            assert np.array_equal(vars(graph.nodes[name].operation)[key], value), (name, key)


def test_an_average_of_currents_that_others_read_too_is_refused():
    stored = averaged(True)
    stored.nodes["other"] = lif((2, 4, 4))
    stored.nodes["down"] = nir.SumPool2d(*np.array([[2, 2], [2, 2], [0, 0]]))
    stored.edges += [("w", "other"), ("other", "down"), ("down", "lif")]
    with pytest.raises(RefusedInput, match="'pool' divides currents by 4; expected synapses before it that only it"):
        quantise(from_nir(stored), np.ones((1, 1, 4, 4), np.float32))


def test_what_training_left_of_a_threshold_of_0_is_0():
    """Down to 2^-20 of the largest below it, above where a spike resets to."""
    for lowest, taken in ((0.0, True), (-(2.0**-20), True), (-(2.0**-19), False)):
        node = lif((2,), np.array([1.0, lowest]) - 0.5, v_reset=-0.5)
        neurons = from_nir(chain({"n": node}, (2,), (2,))).nodes["n"].operation
        if taken:
            assert chip_form("n", neurons).threshold.tolist() == [1, 0]
        else:
            with pytest.raises(RefusedInput, match="n: its threshold is"):
                chip_form("n", neurons)
