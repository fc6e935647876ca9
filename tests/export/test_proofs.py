"""Attacks on the proofs: whatever bounds, gates and certificate claim is tried with extremes, orders and fractions."""

import itertools
from fractions import Fraction

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.frames import encode, frame_range, input_bits
from export.populations import AND_STEPS, DT, and_gate, or_gate, population, strict
from export.snap import COARSEST_BITS
from neuromorphic.analysis.rounding import SINGLE
from neuromorphic.ops import Interval, Sums
from neuromorphic.ops.dyadic import fraction_bits, magnitude_bits
from spikeclip.preprocess import Preprocessing
from tests.drawn import drawn
from tests.export.proofs import certify, propagate, snap, view

PIXELS = Preprocessing(image_size=4, mean=(128.0, 64.0), std=(64.0, 128.0))
RANGE = frame_range(PIXELS, input_bits(PIXELS))
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def population_bits(lif, top, bits, constant, time_steps):
    """Bits that a population needs of a current up to `top` in magnitude, on the grid 2^-bits."""
    shape = np.array(lif.tau.shape)
    nodes = {"input": nir.Input(shape), "lif": lif, "output": nir.Output(shape)}
    neurons = view(nir.NIRGraph(nodes, [("input", "lif"), ("lif", "output")])).nodes["lif"].operation
    reach = Interval(np.full(lif.tau.shape, -top), np.full(lif.tau.shape, top))
    return neurons.charging.bits_needed(Sums(reach, bits, constant), time_steps)(bits)


def fires(lif, currents, dtype=np.float32, rearranged=False):
    """Spikes of one neuron of `lif` for a list of currents; in `dtype` arithmetic, in either of two orders."""
    decay = dtype(1) / dtype(np.float32(lif.tau.flat[0]) / np.float32(DT))
    gain, threshold = dtype(lif.r.flat[0]), dtype(lif.v_threshold.flat[0])
    v, spikes = dtype(0), []
    for current in currents:
        x = gain * dtype(current)
        v = v - v * decay + x * decay if rearranged else v + decay * (x - v)
        spikes.append(bool(v > threshold))
        v = dtype(0) if spikes[-1] else v
    return spikes


def fires_exactly(tau, gain, threshold, currents):
    """The same in fractions, with SpikingJelly's comparison `v >= threshold`."""
    v, spikes = Fraction(0), []
    for current in currents:
        v += (Fraction(gain) * Fraction(current) - v) / Fraction(tau)
        spikes.append(v >= Fraction(float(np.float32(threshold))))
        v = Fraction(0) if spikes[-1] else v
    return spikes


@given(st.lists(FLOATS, min_size=1, max_size=5))
def test_fraction_bits_are_those_of_the_fractions(values):
    bits = fraction_bits(np.array(values, np.float32))
    scaled = [Fraction(v) * Fraction(2) ** bits for v in values]
    assert all(s.denominator == 1 for s in scaled)
    if any(values):
        assert any(s.numerator % 2 for s in scaled), "a coarser grid would do"


@given(st.floats(2**-30, 2**30), st.integers(-10, 30))
def test_magnitude_bits_are_the_least(bound, bits):
    needed = magnitude_bits(bound, bits)
    size = Fraction(bound) * Fraction(2) ** bits
    assert size <= 2**needed
    assert needed == 0 or size > 2 ** (needed - 1)


@given(FLOATS.filter(lambda h: h > 0), FLOATS)
def test_the_strict_comparator(threshold, v):
    assert (np.float32(v) > strict(threshold)) == (np.float32(v) >= np.float32(threshold))
    assert not strict(threshold) > strict(threshold)
    assert np.float32(threshold) > strict(threshold)


@pytest.mark.parametrize("time_steps", range(1, 7))
def test_and_gate_for_every_input(time_steps):
    gate = and_gate((1, 1, 1), time_steps)
    for counts in itertools.product((0, 1, 2), repeat=time_steps):
        assert fires(gate, counts) == [count == 2 for count in counts]
        assert fires(or_gate((1, 1, 1)), counts) == [count > 0 for count in counts]


def test_and_gate_at_its_most_steps():
    gate = and_gate((1, 1, 1), AND_STEPS)
    assert not any(fires(gate, [1] * AND_STEPS))
    assert fires(gate, [0] * (AND_STEPS - 1) + [2])[-1]
    assert fires(gate, [1] * (AND_STEPS - 1) + [2])[-1]
    assert and_gate((1, 1, 1), AND_STEPS + 1).v_threshold.max() == 1  # why the limit is what it is


@drawn(100)
@given(
    a=st.integers(1, 3),
    decay_input=st.booleans(),
    time_steps=st.integers(1, 5),
    threshold=st.sampled_from([0.5, 1.0, 1.3, 7.0]),
    bits=st.integers(0, 24),
    size=st.sampled_from([1.0, 2.0, 3.7, 100.0]),
    constant=st.booleans(),
    data=st.data(),
)
def test_populations_that_are_proven_exact(a, decay_input, time_steps, threshold, bits, size, constant, data):
    """Currents anywhere on the grid, extremes included, against fractions: where 24 bits suffice no spike differs."""
    top = int(size * 2**bits)
    gain = 1.0 if decay_input else 2.0**a
    lif = population((1, 1, 1), 2.0**a, gain, strict(threshold))
    if population_bits(lif, top / 2**bits, bits, constant, time_steps) > SINGLE:
        return
    near = round(threshold * 2**bits)
    values = st.one_of(
        st.sampled_from([-top, top, min(near, top), min(near + 1, top), -min(near, top)]), st.integers(-top, top)
    )
    count = 1 if constant else time_steps
    drawn = data.draw(st.lists(values, min_size=count, max_size=count)) * (time_steps if constant else 1)
    currents = [np.float32(n / 2**bits) for n in drawn]
    expected = fires_exactly(2**a, gain, threshold, [float(c) for c in currents])
    for rearranged in (False, True):
        assert fires(lif, currents, rearranged=rearranged) == expected


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("time_steps", [1, 2, 4, 6])
@pytest.mark.parametrize("a", [1, 2])
def test_a_threshold_that_a_membrane_just_reaches(a, time_steps, constant):
    """Currents as large as the proof allows; the threshold is a value of the exact trajectory, or one float above."""
    bits = 10

    def needed(top, threshold):
        lif = population((1, 1, 1), 2.0**a, 1.0, np.float32(threshold))
        return population_bits(lif, top / 2**bits, bits, constant, time_steps)

    top = max(2**n for n in range(25) if needed(2**n, 2**n / 2**bits) <= SINGLE)
    rng = np.random.default_rng(a + time_steps)
    for _ in range(300):
        drawn = rng.integers(top // 2, top, 1 if constant else time_steps, endpoint=True)
        if not constant:
            drawn[: rng.integers(time_steps)] *= -1  # deep below rest first, so that differences get large
        currents = [int(n) / 2**bits for n in drawn] * (time_steps if constant else 1)
        trajectory = [Fraction(0)]
        for current in currents:
            trajectory.append(trajectory[-1] + (Fraction(current) - trajectory[-1]) / 2**a)
        if max(trajectory) == 0:
            continue
        reached = np.float32(float(max(trajectory)))
        assert reached == max(trajectory), "a membrane that float32 can't hold"
        for threshold in (reached, np.nextafter(reached, np.float32(np.inf))):
            lif = population((1, 1, 1), 2.0**a, 1.0, strict(float(threshold)))
            expected = fires_exactly(2**a, 1, threshold, currents)
            assert any(expected) == (threshold == reached)
            for rearranged in (False, True):
                assert fires(lif, currents, rearranged=rearranged) == expected


def test_a_bit_too_many_can_differ():
    """The other side: at 25 bits there are currents whose spikes depend on the order of operations or on rounding."""
    lif = population((1, 1, 1), 2.0, 1.0, strict(1.0))
    bits = 23
    assert population_bits(lif, 1.0 + 2.0**-bits, bits, False, 4) > SINGLE
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(2000):
        first = rng.integers(2**22, 2**23, 3)
        # The last current is what lifts v to just below 1: 2^-(bits+4) is lost in float32.
        v = Fraction(0)
        for n in first:
            v += (Fraction(int(n), 2**bits) - v) / 2
        last = int((2 - v) * 2**bits)
        currents = [*(n / 2**bits for n in first), last / 2**bits]
        found += fires(lif, currents) != fires_exactly(2, 1, 1, currents)
    assert found


def net(weights, branches=2, time_steps=4, tau=2.0):
    """Input to a population by convolution; that and the input to a second one, `branches` convolutions in all."""
    nodes = {"input": nir.Input(np.array([2, 4, 4])), "a": population((3, 4, 4), tau, 1.0, strict(1.0))}
    nodes["last"] = population((3, 4, 4), tau, 1.0, strict(1.0))
    edges = [("input", "c0"), ("c0", "a"), ("last", "output")]
    nodes["c0"] = weights((3, 2, 3, 3))
    for i in range(1, branches + 1):
        nodes[f"c{i}"] = weights((3, 3, 3, 3))
        edges += [("a", f"c{i}"), (f"c{i}", "last")]
    nodes["output"] = nir.Output(np.array([3, 4, 4]))
    return nir.NIRGraph(nodes, edges)


def random_conv(seed, scale):
    rng = np.random.default_rng(seed)

    def weights(shape):
        weight = (rng.normal(size=shape) * scale * rng.choice([0.01, 1, 4], shape)).astype(np.float32)
        bias = (rng.normal(size=shape[0]) * scale).astype(np.float32)
        return nir.Conv2d((4, 4), weight, 1, 1, 1, 1, bias)

    return weights


def window_sums(node, window, rng, dtype):
    """Per output channel, bias and products summed one by one in random order in `dtype`: the last and the largest."""
    terms = np.concatenate([(node.weight * window).reshape(len(node.weight), -1), node.bias[:, None]], 1, dtype=dtype)
    partial = np.cumsum(rng.permuted(terms, axis=1), axis=1, dtype=dtype)
    return partial[:, -1], np.abs(partial).max()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**20), scale=st.sampled_from([0.05, 0.3, 1.0, 6.0]), time_steps=st.integers(1, 6))
def test_snapped_sums_are_the_same_in_any_order(seed, scale, time_steps):
    graph = net(random_conv(seed, scale), time_steps=time_steps)
    snap(graph, RANGE, time_steps)
    certificate = certify(graph, RANGE, time_steps)
    assert certificate.exact, certificate.unproven
    rng = np.random.default_rng(seed)
    levels = encode(PIXELS, RANGE.bits, rng.integers(0, 256, (1, 4, 4, 2), np.uint8))[0, :, :3, :3]
    low, high = RANGE.reach.low, RANGE.reach.high
    for name in ("c0", "c1"):
        node, bound = graph.nodes[name], certificate.nodes[name].bound
        if name == "c0":
            extremes = [np.where(s * node.weight[o] > 0, high, low) for o in range(3) for s in (1, -1)]
            windows = [levels, *extremes]
        else:
            extremes = [(s * node.weight[o] > 0).astype(np.float64) for o in range(3) for s in (1, -1)]
            windows = [np.ones((3, 3, 3)), rng.integers(0, 2, (3, 3, 3)), *extremes]
        reached = 0.0
        for window in windows:
            expected, _ = window_sums(node, window.astype(np.float64), rng, np.float64)
            for _ in range(4):
                single, largest = window_sums(node, window.astype(np.float32), rng, np.float32)
                np.testing.assert_array_equal(single.astype(np.float64), expected)
                reached = max(reached, float(largest))
        assert reached <= bound


def test_the_bound_of_spikes_is_reached():
    graph = net(random_conv(0, 1.0))
    _, returns = propagate(graph, RANGE)
    node = graph.nodes["c1"]
    best = [np.maximum(node.weight[o].astype(np.float64), 0).sum() + max(float(node.bias[o]), 0.0) for o in range(3)]
    np.testing.assert_allclose(returns["c1"].reach.high.max((1, 2)), best, rtol=1e-12)


@given(seed=st.integers(0, 1000), node=st.sampled_from(["c0", "c1", "c2"]), part=st.sampled_from(["weight", "bias"]))
@settings(max_examples=30, deadline=None)
def test_a_weight_off_the_grid_is_found(seed, node, part):
    graph = net(random_conv(seed, 1.0))
    grids = snap(graph, RANGE, 4)
    assert certify(graph, RANGE, 4).exact
    values = getattr(graph.nodes[node], part)
    values.flat[seed % values.size] = np.float32(2.0 ** -(grids[node].bias_bits + 8))
    certificate = certify(graph, RANGE, 4)
    assert not certificate.exact
    population_after = "a" if node == "c0" else "last"
    assert population_after in certificate.unproven or node in certificate.unproven


def test_a_time_constant_that_is_no_power_of_two_is_named():
    graph = net(random_conv(0, 1.0), tau=3.0)
    snap(graph, RANGE, 4)
    certificate = certify(graph, RANGE, 4)
    assert certificate.unproven == ("a", "last")
    assert "tau is 3 time steps" in certificate.nodes["a"].reason


def test_too_many_steps_are_named_and_weights_keep_eight_bits():
    graph = net(random_conv(0, 1.0))
    largest = {n: np.abs(node.weight).max() for n, node in graph.nodes.items() if isinstance(node, nir.Conv2d)}
    grids = snap(graph, RANGE, 22)
    assert "last" in certify(graph, RANGE, 22).unproven
    for name, grid in grids.items():
        assert largest[name] * 2.0**grid.weight_bits >= 2 ** (COARSEST_BITS - 1)


@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.1, 1.0, 5.0]))
@settings(max_examples=20, deadline=None)
def test_snapping_moves_weights_by_half_a_step_at_most(seed, scale):
    before, after = net(random_conv(seed, scale)), net(random_conv(seed, scale))
    for name, grid in snap(after, RANGE, 4).items():
        for part, bits in (("weight", grid.weight_bits), ("bias", grid.bias_bits)):
            moved = np.abs(getattr(after.nodes[name], part).astype(float) - getattr(before.nodes[name], part))
            assert moved.max() <= 2.0 ** -(bits + 1)
            assert fraction_bits(getattr(after.nodes[name], part)) <= max(bits, 0)


@pytest.mark.parametrize(
    ("mean", "std", "bits"), [(128.0, 64.0, 6), (0.0, 256.0, 8), (0.0, 1.0, 0), (127.5, 64.0, 7), (0.0, 255.0, 10)]
)
def test_input_bits(mean, std, bits):
    preprocessing = Preprocessing(image_size=4, mean=(mean,), std=(std,))
    assert input_bits(preprocessing) == bits
    levels = np.arange(256, dtype=np.uint8).reshape(16, 4, 4, 1)
    frames = encode(preprocessing, bits, levels)
    exact = (levels.astype(np.float64) - mean).transpose(0, 3, 1, 2) / std
    assert np.abs(frames - exact).max() <= (0 if std != 255 else 2.0 ** -(bits + 1) + 1e-7)
    assert len(np.unique(frames)) == 256
