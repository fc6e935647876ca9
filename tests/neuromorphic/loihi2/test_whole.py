"""Numbers that are the chip's already stay as they are, in whatever unit a file holds them."""

from fractions import Fraction
from itertools import pairwise

import nir
import numpy as np
import pytest

from neuromorphic.execution import reference
from neuromorphic.loihi2.quantise import calibrate, quantise
from neuromorphic.loihi2.whole import common_unit, reached
from neuromorphic.ops import SumPool2d, Weighted
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import DT, chain, lif, metadata

STEPS = 5


class Integers:
    """A random network of the chip's integers, and the file that holds it: floats in units of its own."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.expected = {}
        self.nodes = {}
        unit = self.rng.choice(["1", "1/64", "2^-k", "any"])
        self.stated = unit in ("1", "1/64")
        shape = (2, 5, 5) if self.rng.random() < 0.5 else (int(self.rng.integers(2, 9)),)
        self.input = shape
        for index in range(self.rng.integers(1, 4)):
            units = {"1": 1.0, "1/64": 1 / 64, "2^-k": 2.0 ** -self.rng.integers(7, 13)}
            self.unit = units.get(unit) or float(self.rng.uniform(0.01, 3))
            shape = self.layer(str(index), shape)
        self.output = shape

    def weights(self, shape, held):
        """Integers of 8 bits, doubled as Lava has them, of both signs; of a matrix shifted, too."""
        q = self.rng.integers(-127, 128, shape) * (self.rng.random(shape) < 0.6)
        q.reshape(-1)[:2] = self.rng.choice([-1, 1]) * np.array([3, -5])[: q.size]
        return 2 * q * 2 ** int(self.rng.integers(0, held))

    def layer(self, name, shape):
        if len(shape) == 3 and self.rng.random() < 0.7:
            out = (int(self.rng.integers(1, 4)), shape[1] - 2, shape[2] - 2)
            if min(out) < 1:
                return self.layer(name, shape)
            whole = self.weights((out[0], shape[0], 3, 3), 1)
            bias = self.biases(out[0])
            kernel = (whole * self.unit).astype(np.float32)
            node = nir.Conv2d(shape[1:], kernel, (1, 1), (0, 0), (1, 1), 1, (bias * self.unit / 64).astype(np.float32))
            bias = np.broadcast_to(bias[:, None, None], out)
        else:
            if len(shape) > 1:
                self.nodes[f"flat{name}"] = nir.Flatten({"input": np.array(shape)}, 0, -1)
            out = (int(self.rng.integers(1, 9)),)
            whole = self.weights((out[0], int(np.prod(shape))), 6)
            bias = self.biases(out[0])
            weight = (whole * self.unit).astype(np.float32)
            node = nir.Affine(weight, (bias * self.unit / 64).astype(np.float32)) if bias.any() else nir.Linear(weight)
        self.nodes[f"w{name}"] = node
        self.expected[f"w{name}"] = whole
        self.nodes[f"n{name}"] = self.neurons(f"n{name}", out, bias)
        return out

    def biases(self, count):
        """64ths, of 13 bits shifted by three."""
        if self.rng.random() < 0.5:
            return np.zeros(count, np.int64)
        return self.rng.integers(-4095, 4096, count) * 2 ** int(self.rng.integers(0, 4))

    def neurons(self, name, shape, bias):
        decay = int(self.rng.integers(1, 4096))
        threshold = self.rng.integers(0, 4096, shape) * 2 + 1
        tau = np.full(shape, DT / (decay / 4096))
        full = {"v_leak": np.zeros(shape), "v_threshold": threshold * self.unit, "v_reset": np.zeros(shape)}
        kind = self.rng.choice(["LIF", "IF", "CubaLIF"])
        if kind == "IF":
            decay = 0
            del full["v_leak"]
            node = nir.IF(np.full(shape, 1 / DT), **full)
        elif kind == "LIF":
            node = nir.LIF(tau, tau / DT, **full)
        else:
            node = nir.CubaLIF(np.full(shape, DT), tau, tau / DT, **full, w_in=np.ones(shape))
        for key, values in vars(node).items():
            if isinstance(values, np.ndarray) and key not in ("input_type", "output_type"):
                setattr(node, key, values.astype(np.float32))
        self.expected[name] = (decay, threshold, bias)
        return node

    def graph(self):
        every = {"input": nir.Input(np.array(self.input)), **self.nodes, "output": nir.Output(np.array(self.output))}
        return nir.NIRGraph(every, list(pairwise(every)), metadata=metadata(STEPS), type_check=False)

    def frames(self):
        return (self.rng.random((2, STEPS, *self.input)) < 0.4).astype(np.float32)


def assert_nothing_changes(seed):
    """Each layer's numbers are the chip's as they were; in a unit that no file states, up to one factor of them all.

    Such a file gives ratios alone.  The largest unit divides what all numbers have in common, and a finer one, in which
    no spike differs, goes before it (`whole`).
    """
    made = Integers(seed)
    given, frames = from_nir(made.graph()), made.frames()
    floats, scheme = calibrate(given, frames)
    graph, _ = quantise(given, frames)
    assert scheme.input_scale == 1
    for name, choice in scheme.populations.items():
        if not choice.as_it_was:
            assert choice.exact, (seed, name)
            assert not made.stated, (seed, name)
            trains = (reference.run(each, frames).spikes[name] for each in (given, graph))
            assert np.array_equal(*(train.unpack() for train in trains)), (seed, name)
            continue
        index = name.removeprefix("n")
        weights, (decay, threshold, bias) = made.expected[f"w{index}"], made.expected[name]
        neurons, found = graph.nodes[name].operation, graph.nodes[f"w{index}"].operation.weights
        factor = Fraction(int(neurons.threshold.flat[0]), int(threshold.flat[0]))
        assert factor == 1 or not made.stated, (seed, name)
        assert factor.numerator == 1, (seed, name)
        assert neurons.decay == decay, (seed, name)
        assert np.array_equal(found, weights * float(factor)), (seed, name)
        assert np.array_equal(neurons.threshold, threshold * float(factor)), (seed, name)
        assert np.array_equal(neurons.bias, np.broadcast_to(bias * float(factor), threshold.shape)), (seed, name)
    rounded = {name for name, choice in scheme.populations.items() if not choice.as_it_was}
    for name, node in floats.nodes.items():
        if name in rounded:
            continue
        for key, value in vars(node.operation).items():
            assert np.array_equal(value, vars(given.nodes[name].operation)[key]), (seed, name, key)


@pytest.mark.parametrize("first", range(0, 50, 10))
def test_integers_stay_as_they_are(first):
    for seed in range(first, first + 10):
        assert_nothing_changes(seed)


@pytest.mark.slow
def test_of_a_thousand_networks_of_integers_no_number_changes():
    for seed in range(1000):
        assert_nothing_changes(seed)


def test_a_quantised_graph_without_its_scheme_is_quantised_to_the_same_spikes():
    """Whose units are no simple fractions, and which no metadata states any more."""
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(6, 8)).astype(np.float32)
    stored = chain({"w": nir.Linear(weight), "lif": lif((6,), 0.7, tau=3.3)}, (8,), (6,), STEPS)
    frames = (rng.random((9, STEPS, 8)) < 0.4).astype(np.float32)
    floats, scheme = calibrate(from_nir(stored), frames)
    assert not scheme.populations["lif"].as_it_was
    again, second = quantise(floats, frames)
    once, _ = quantise(from_nir(stored), frames)
    assert second.populations["lif"].as_it_was
    spikes = [reference.run(g, frames * s.input_scale).spikes["lif"] for g, s in ((once, scheme), (again, second))]
    assert np.array_equal(spikes[0].unpack(), spikes[1].unpack())


def test_spikes_that_are_pooled_or_arrive_unweighted_count_as_they_did():
    shape = (2, 4, 4)
    pool = nir.SumPool2d(*np.array([[2, 2], [2, 2], [0, 0]]))
    rest = {"pool": pool, "lif": lif((2, 2, 2), 3.0, tau=2.0, r=2.0), "again": lif((2, 2, 2), 0.0, tau=4.0, r=4.0)}
    graph = from_nir(chain({"first": lif(shape, 1.0, tau=2.0, r=2.0), **rest}, shape, (2, 2, 2), STEPS))
    frames = np.random.default_rng(0).integers(0, 4, (3, STEPS, *shape)).astype(np.float32)
    whole, scheme = quantise(graph, frames)
    assert scheme.units["first"] == scheme.units["lif"] == scheme.units["again"] == 1
    weights = [node.operation.weights for node in whole.nodes.values() if isinstance(node.operation, Weighted)]
    assert all((each == 1).all() for each in weights)
    assert not any(isinstance(node.operation, SumPool2d) for node in whole.nodes.values())


@pytest.mark.parametrize("change", ["weight", "threshold", "decay"])
def test_a_single_number_that_is_not_whole_is_noticed(change):
    weight = np.array([[2.0, -4.0], [6.0, 254.0]], np.float32)
    node = lif((2,), 25.0, tau=4.0, r=4.0)
    if change == "weight":
        weight[0, 0] += 0.001
    elif change == "threshold":
        node.v_threshold[0] += 0.37
        weight *= np.float32(0.7123)
    else:
        node.tau *= np.float32(1.001)
    graph = from_nir(chain({"w": nir.Linear(weight), "lif": node}, (2,), (2,), STEPS))
    _, scheme = quantise(graph, np.ones((1, STEPS, 2), np.float32))
    assert not scheme.populations["lif"].as_it_was


def test_a_threshold_next_below_a_short_number_is_none_of_the_chips():
    """As a file says `v >= h`; every integer of 17 bits is one, in units of few bits."""
    numbers = np.float32([1, 2, 0.5, 0.75, 100, 1023, 0, -1])
    assert reached(np.nextafter(numbers, np.float32(-np.inf))).all()
    assert not reached(numbers).any()
    for unit in (1, 1 / 64, 2.0**-12, 3.0):
        assert not reached((np.arange(2**17) * unit).astype(np.float32)).any()
    weight = np.array([[2.0, -4.0], [6.0, 254.0]], np.float32)
    node = lif((2,), np.nextafter(np.float32(2), np.float32(0)), tau=4.0, r=4.0)
    graph = from_nir(chain({"w": nir.Linear(weight), "lif": node}, (2,), (2,), STEPS))
    _, scheme = quantise(graph, np.ones((1, STEPS, 2), np.float32))
    assert not scheme.populations["lif"].as_it_was


def test_weights_beyond_the_synapse_are_not_kept():
    """255 of both signs is no even number; 300 is none of a convolution's."""
    for kernel in ([[[[255.0]]], [[[-2.0]]]], [[[[300.0]]], [[[-2.0]]]]):
        weight = np.array(kernel, np.float32)
        node = nir.Conv2d((2, 2), weight, (1, 1), (0, 0), (1, 1), 1, np.zeros(2, np.float32))
        graph = from_nir(chain({"w": node, "if": lif((2, 2, 2), 200.0, tau=2.0, r=2.0)}, (1, 2, 2), (2, 2, 2), STEPS))
        _, scheme = quantise(graph, np.ones((1, STEPS, 1, 2, 2), np.float32))
        assert not scheme.populations["if"].as_it_was


def test_the_readouts_integers_stay_too():
    weight, readout = np.array([[2.0, -6.0], [4.0, 10.0]]), np.array([[3.0, -127.0], [64.0, 1.0]])
    nodes = {
        "w": nir.Linear(weight),
        "lif": lif((2,), 5.0, tau=2.0, r=2.0),
        "out": nir.Affine(readout, np.array([7.0, 0])),
    }
    graph = from_nir(chain(nodes, (2,), (2,), STEPS))
    frames = np.ones((1, STEPS, 2), np.float32)
    whole, scheme = quantise(graph, frames)
    assert scheme.units["out"] == 1
    assert np.array_equal(whole.nodes["out"].operation.weight, readout)
    assert np.array_equal(reference.run(whole, frames).outputs, reference.run(graph, frames).outputs)


@pytest.mark.parametrize("unit", [1.0, 1 / 64, 0.1, 1 / 3, 0.0371])
def test_the_common_unit_is_found_through_rounding(unit):
    values = np.unique((np.arange(3, 254, 4) * unit).astype(np.float32).astype(np.float64))
    assert abs(common_unit(values) / unit - 1) < 1e-6
