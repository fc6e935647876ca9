"""Gates, and neurons that fire on reaching their threshold: as the float graph's for every input."""

import nir
import numpy as np
import pytest

from neuromorphic.execution import reference
from neuromorphic.loihi2.gates import exact_unit, halvings
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import conv, lif, metadata

T = 4


def trains(neurons):
    """Every combination of spikes of some neurons in T steps: bool `[2^(neurons T), T, neurons]`."""
    numbers = np.arange(2 ** (neurons * T))[:, None]
    return (numbers >> np.arange(neurons * T) & 1).astype(bool).reshape(-1, T, neurons)


def gate(reader, *edges, **nodes):
    """Two neurons that repeat their pixel, 0 or 4, and a gate named g that reads them."""
    kernel = np.array([[[[1]], [[0]]], [[[0]], [[1]]]])
    every = {
        "input": nir.Input(np.array([2, 1, 1])),
        "out": nir.Output(np.array(reader.v_threshold.shape)),
        "first": conv(kernel[:1], hw=(1, 1)),
        "second": conv(kernel[1:], hw=(1, 1)),
        "a": lif((1, 1, 1)),
        "b": lif((1, 1, 1)),
        "g": reader,
        **nodes,
    }
    wires = [("input", "first"), ("input", "second"), ("first", "a"), ("second", "b"), ("g", "out"), *edges]
    return from_nir(nir.NIRGraph(every, wires, metadata=metadata(T), type_check=False))


def just_below(number):
    """Of float32: what `v >= number` is to `v > h`."""
    return float(np.nextafter(np.float32(number), np.float32(-np.inf)))


@pytest.mark.parametrize("threshold", [0.4, 0.5, just_below(1), 1.0, 1.4999, 1.9375, just_below(2), 2.0, 2.5, 3.0])
@pytest.mark.parametrize("tau", [2.0, 4.0])
def test_gates_fire_alike_for_every_input(threshold, tau):
    graph = gate(lif((1, 1, 1), threshold, tau=tau, r=2.0), ("a", "g"), ("b", "g"))
    spikes = trains(2)
    frames = (4.0 * spikes[..., None, None]).astype(np.float32)
    whole, scheme = quantise(graph, frames[:, 0])
    assert scheme.populations["g"].exact
    theirs = reference.run(graph, frames).spikes["g"].unpack()
    ours = reference.run(whole, np.round(frames * scheme.input_scale)).spikes
    assert np.array_equal(ours["a"].unpack()[..., 0, 0, 0], spikes[..., 0])
    assert np.array_equal(ours["g"].unpack(), theirs)


@pytest.mark.parametrize("threshold", [0.5, 1, 1.5, 2])
@pytest.mark.parametrize("tau", [2.0, 3.0])
@pytest.mark.parametrize("reset", [0.0, -1.0])
def test_neurons_that_fire_on_reaching_their_threshold_do_so_on_the_chip(threshold, tau, reset):
    """Also where decays are none of the chip's, and nothing proves the unit."""
    neurons = lif((1, 1, 1), just_below(threshold + reset), tau=tau, r=tau, v_reset=reset)
    neurons.v_leak[:] = reset
    graph = gate(neurons, ("a", "g"), ("b", "g"))
    frames = (4.0 * trains(2)[..., None, None]).astype(np.float32)
    whole, scheme = quantise(graph, frames[:, 0])
    assert not scheme.populations["g"].as_it_was
    theirs = reference.run(graph, frames).spikes["g"].unpack()
    ours = reference.run(whole, np.round(frames * scheme.input_scale)).spikes["g"].unpack()
    assert np.array_equal(ours, theirs)


def test_weights_that_are_no_multiples_are_no_gate():
    graph = gate(lif((1, 1, 1)), ("a", "w"), ("b", "g"), ("w", "g"), w=conv([[[[0.7548777]]]], hw=(1, 1)))
    _, scheme = quantise(graph, np.ones((1, 2, 1, 1), np.float32))
    assert not scheme.populations["g"].exact
    assert 1 / scheme.units["g"] == 2 ** np.round(-np.log2(scheme.units["g"]))


@pytest.mark.parametrize(("decay", "halved"), [(4096, 0), (0, 0), (2048, 1), (1024, 2), (3072, 2), (1, 12), (4095, 12)])
def test_halvings_of_what_a_decay_leaves(decay, halved):
    assert halvings(decay) == halved


@pytest.mark.parametrize(
    ("weights", "decays", "steps", "unit"),
    [
        ([3, -6, 0, 9], (4096,), 4, 3),
        ([3, -6, 7], (4096,), 4, 1),
        ([0.75, 0.5], (4096,), 4, 0.25),
        ([3, 3.0009765625], (4096,), 4, None),  # 1 / 1024: more than 8 bits
        ([0, 0], (4096,), 4, None),
        ([3], (2048, 0), 4, 3 / 8),  # half of the first step's input, three times
        ([3], (1024, 2048), 3, 3 / 16),
        ([3], (1024,), 1, 3),
    ],
)
def test_the_unit_in_which_nothing_is_lost(weights, decays, steps, unit):
    assert exact_unit([np.array(weights, np.float64)], decays, steps) == unit
