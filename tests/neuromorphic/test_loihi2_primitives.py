"""NIR's primitives in the chip's integers, each against plain Python integers: reference, the fast run, Lava."""

from dataclasses import replace

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromorphic import reference
from neuromorphic.graph import LoihiLif, from_nir
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
from tests.neuromorphic.graphs import DT, chain, lif

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
