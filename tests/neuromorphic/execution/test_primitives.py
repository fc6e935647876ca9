"""Every NIR primitive, alone and composed, against an oracle written from NIR's equations (`oracle`)."""

import nir
import numpy as np
import pytest

from neuromorphic.execution.reference import run
from neuromorphic.lava.simulation import simulate
from neuromorphic.reading.build import from_nir
from tests.neuromorphic import oracle
from tests.neuromorphic.compositions import SECONDS, Composer
from tests.neuromorphic.graphs import DT
from tests.properties import channels

KINDS = {kind.__name__ for kind in (*Composer.NEURONS, *Composer.SYNAPSES)}


def alone(node, shape, out_shape):
    nodes = {"input": nir.Input(np.array(shape)), "node": node, "output": nir.Output(np.array(out_shape))}
    return nir.NIRGraph(nodes, [("input", "node"), ("node", "output")], type_check=False)


def primitives():
    """Every primitive on shapes that it takes, with numbers that differ by element."""
    compose = Composer(7)
    for kind in Composer.NEURONS:
        for shape in ((3,), (2, 3), (2, 3, 2)):
            yield pytest.param(compose.neuron(kind, shape), shape, shape, id=f"{kind.__name__}-{len(shape)}")
    for kind in Composer.SYNAPSES:
        for shape in ((4,), (4, 5), (4, 5, 3)):
            for again in range(3):
                made = compose.synapses(kind, shape)
                if made is not None:
                    yield pytest.param(made[0], shape, made[1], id=f"{kind.__name__}-{len(shape)}-{again}")


def assert_equal(found, expected):
    (spikes, output), (expected_spikes, expected_output) = found, expected
    assert spikes.keys() == expected_spikes.keys()
    for name, train in expected_spikes.items():
        np.testing.assert_array_equal(spikes[name], train, err_msg=name)
    np.testing.assert_array_equal(np.asarray(output, np.float32), expected_output.astype(np.float32))


def of(trace):
    return {name: train.unpack() for name, train in trace.spikes.items()}, trace.outputs


@pytest.mark.parametrize(("node", "shape", "out_shape"), list(primitives()))
def test_alone_it_is_what_its_equation_says(node, shape, out_shape):
    nir_graph = alone(node, shape, out_shape)
    graph = from_nir(nir_graph, dt=DT)
    frames = Composer(1).numbers((2, 5, *shape), -12, 13)
    expected = oracle.run(nir_graph, frames)
    assert_equal(of(run(graph, frames)), expected)
    assert_equal(channels.run(graph, frames), expected)


@pytest.mark.parametrize("kind", [nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold])
def test_at_its_threshold_it_is_silent_and_one_float_above_it_fires(kind):
    one = np.ones(1, np.float32)
    node = {
        nir.LIF: lambda: nir.LIF(one * SECONDS, one, 0 * one, one),
        nir.IF: lambda: nir.IF(one / SECONDS, one),
        nir.CubaLIF: lambda: nir.CubaLIF(one * SECONDS, one * SECONDS, one, 0 * one, one),
        nir.Threshold: lambda: nir.Threshold(one),
    }[kind]()
    graph = from_nir(alone(node, (1,), (1,)), dt=DT)
    frames = np.array([[[1.0]], [[np.nextafter(np.float32(1), np.float32(2))]]], np.float32)
    assert of(run(graph, frames))[0]["node"].ravel().tolist() == [False, True]


def one_of_each():
    """One case of every primitive, on the shape with the most dimensions that it takes."""
    cases = {type(case.values[0]).__name__: case for case in primitives()}
    return list(cases.values())


@pytest.mark.slow
@pytest.mark.parametrize(("node", "shape", "out_shape"), one_of_each())
def test_alone_in_lava_it_is_what_its_equation_says(node, shape, out_shape):
    nir_graph = alone(node, shape, out_shape)
    frames = Composer(2).numbers((2, 3, *shape), -12, 13)
    assert_equal(of(simulate(from_nir(nir_graph, dt=DT), frames)), oracle.run(nir_graph, frames))


def composed(seeds, length=5):
    compose = Composer(seeds[0])
    for seed in seeds:
        compose.rng = np.random.default_rng(seed)
        compose.branch(f"c{seed}_", length)
    return compose


def test_compositions_hold_every_primitive_and_every_kind_of_cycle():
    kinds = composed(range(100)).kinds
    assert kinds >= KINDS | {"NIRGraph", "self", "matrix", "subgraph", "two", "delay", "late currents"}


@pytest.mark.parametrize("seed", range(100))
def test_composed_they_are_what_their_equations_say(seed):
    compose = composed([seed])
    graph, frames = from_nir(compose.graph(), dt=DT), compose.frames(3, 4)
    expected = oracle.run(compose.graph(), frames)
    assert_equal(of(run(graph, frames)), expected)
    assert_equal(channels.run(graph, frames), expected)


@pytest.mark.parametrize("seed", range(20))
def test_numbers_that_round_change_no_spike_that_is_not_at_its_threshold(seed):
    compose = Composer(seed, dyadic=False)
    compose.branch("c")
    graph, frames = from_nir(compose.graph(), dt=DT), compose.frames(2, 4)
    expected_spikes, expected_output = oracle.run(compose.graph(), frames)
    for spikes, output in (of(run(graph, frames)), channels.run(graph, frames)):
        for name, train in expected_spikes.items():
            np.testing.assert_array_equal(spikes[name], train, err_msg=name)
        np.testing.assert_allclose(output, expected_output, rtol=1e-5, atol=1e-6)


def stock():
    """One branch with everything that Lava's own processes compute: no neuron of it sends membranes."""
    compose = Composer(3)
    shape, vector = (2, 4, 4), (6,)
    kernel = compose.numbers((2, 1, 2, 2))
    along = nir.Conv1d(None, compose.numbers((2, 1, 3)), 1, 1, 1, 2, compose.numbers(2))
    nodes = [
        nir.Conv2d(None, kernel, (1, 1), (1, 1), (2, 2), 2, compose.numbers(2)),
        compose.neuron(nir.LIF, shape),
        nir.AvgPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])),
        compose.neuron(nir.CubaLIF, (2, 3, 3)),
        nir.Scale(compose.numbers((2, 3, 3))),
        nir.Flatten({"input": np.array([2, 3, 3])}, 1, 2),
        along,
        compose.neuron(nir.Threshold, (2, 9)),
        nir.Delay(np.tile(np.arange(3, dtype=np.float32), (2, 3)) * SECONDS),
        nir.Flatten({"input": np.array([2, 9])}, 0, 1),
        nir.Affine(compose.numbers((6, 18)), compose.numbers(6)),
    ]
    last = "input"
    for index, node in enumerate(nodes):
        last = compose.add(f"n{index}", node, last)
    for index, way in enumerate(("self", "matrix", "two", "delay")):
        compose.rng = _Drawn(compose.rng, way)
        last = compose.loop(f"loop{index}", last, *vector)
    compose.edges.append((compose.add("last", nir.Linear(compose.numbers((3, 6))), last), "output"))
    return compose


class _Drawn:
    """A generator that draws a certain way of looping, of neurons that fire and filter no bias."""

    def __init__(self, rng, way):
        self.rng, self.way = getattr(rng, "rng", rng), way
        self.neuron = {"matrix": nir.LIF, "two": nir.Threshold}.get(way, nir.IF)

    def choice(self, options, *shape):
        return self.way if self.way in options else self.rng.choice(options, *shape)

    def integers(self, low, *high):
        if low in (4, len(Composer.NEURONS)) and not high:  # which neurons
            return Composer.NEURONS.index(self.neuron if low == 4 else nir.LIF)
        return self.rng.integers(low, *high)

    def __getattr__(self, name):
        return getattr(self.rng, name)


@pytest.mark.slow
@pytest.mark.parametrize("models", ["stock", "fused"])
def test_lavas_own_processes_are_what_the_equations_say(models):
    compose = stock()
    frames = compose.frames(3, 4)
    trace = simulate(from_nir(compose.graph(), dt=DT), frames, models=models)
    assert_equal(of(trace), oracle.run(compose.graph(), frames))
    assert all(0 < train.count() < train.neurons * 12 for train in trace.spikes.values())


def test_in_lava_compositions_are_what_their_equations_say():
    compose = composed([1, 5, 6], 4)
    frames = compose.frames(2, 4)
    trace = simulate(from_nir(compose.graph(), dt=DT), frames, batch=1)
    assert_equal(of(trace), oracle.run(compose.graph(), frames))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 100, 20))
def test_in_lava_a_hundred_compositions_are_what_their_equations_say(first):
    compose = composed(range(first, first + 20), 4)
    frames = compose.frames(2, 4)
    trace = simulate(from_nir(compose.graph(), dt=DT), frames, batch=1)
    assert_equal(of(trace), oracle.run(compose.graph(), frames))
