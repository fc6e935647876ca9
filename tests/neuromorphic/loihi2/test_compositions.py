"""Compositions of every primitive that the chip has, in its integers, against an oracle in Python's integers."""

from collections import Counter
from dataclasses import replace
from functools import cache

import nir
import numpy as np
import pytest

from neuromorphic.execution.fast import run as run_fast
from neuromorphic.execution.reference import run
from neuromorphic.ir.parity import compare
from neuromorphic.lava.simulation import simulate
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.integers import graded, integers
from neuromorphic.loihi2.quantise import calibrate, quantise
from neuromorphic.loihi2.scheme import KEY
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph
from tests.neuromorphic import chip_oracle
from tests.neuromorphic.chip_compositions import ChipComposer
from tests.neuromorphic.graphs import DT, chain, lif
from tests.properties import channels

T = 5
PRIMITIVES = {"Affine", "Linear", "Scale", "Conv1d", "Conv2d", "I", "IF", "LI", "LIF", "CubaLI", "CubaLIF", "Threshold"}
PRIMITIVES |= {"Delay", "SumPool2d", "AvgPool2d", "Flatten", "NIRGraph"}
WAYS = {"self", "matrix", "subgraph", "two", "delay", "late currents"}
SITUATIONS = {"no memory", "rests elsewhere", "shortcut", "factor of currents", "mean of currents"}
SITUATIONS |= {"delay of currents", "delay of spikes"}
FEW = 40
"""Of the hundred, those that `make test` looks at one by one; two or more hold each primitive, cycle and situation."""

STOCK = (40, 11, 34, 13)
"""Of the hundred, a few that hold all of it, and a drive."""


def composed(*seeds, membranes=True):
    compose = ChipComposer(seeds[0])
    for seed in seeds:
        compose.rng = np.random.default_rng(seed)
        compose.branch(f"c{seed}_")
    return compose, compose.graph(membranes=membranes)


def reset(seed):
    """Of every third, neurons that subtract their thresholds; of those for Lava's own processes none."""
    return "subtract" if seed % 3 == 0 and seed not in STOCK else "zero"


def timed(stored, seed):
    graph = from_nir(stored, asked=Asked(dt=DT, reset=reset(seed)))
    return replace(graph, metadata=replace(graph.metadata, time_steps=T))


@cache
def calibrated(*seeds, membranes=True, images=3):
    """The graph in floats, frames for it, and the scheme of its integers."""
    compose, stored = composed(*seeds, membranes=membranes)
    frames = compose.numbers((images, T, *compose.SHAPE), -12, 13)
    floats, scheme = calibrate(timed(stored, seeds[0]), frames)
    return floats, frames, scheme


def quantised(*seeds, **settings):
    """The graph in integers, and frames for it."""
    floats, frames, scheme = calibrated(*seeds, **settings)
    document = {**floats.metadata.document, KEY: scheme.to_dict()}
    graph = integers(replace(floats, metadata=replace(floats.metadata, document=document)), scheme)
    return graph, graded(graph, frames)


def test_compositions_hold_every_primitive_cycle_and_situation():
    held = Counter(kind for seed in range(FEW) for kind in composed(seed)[0].kinds)
    assert min(held[kind] for kind in PRIMITIVES | WAYS | SITUATIONS) >= 2


@pytest.mark.parametrize(
    "seed", [*range(FEW), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(FEW, 100))]
)
def test_composed_they_are_what_the_chips_equations_say(seed):
    graph, frames = quantised(seed)
    spikes, membranes, outputs = chip_oracle.run(graph, frames)
    trace, fast, (fused, fused_outputs) = run(graph, frames), run_fast(graph, frames, T), channels.run(graph, frames)
    assert spikes.keys() == trace.spikes.keys()
    for name, train in spikes.items():
        for found in (trace.spikes[name].unpack(), fast.spikes[name] != 0, fused[name]):
            np.testing.assert_array_equal(found, train, err_msg=name)
        for found in (trace.membranes[name], fast.membranes[name]):
            np.testing.assert_array_equal(found, membranes[name].astype(np.int64), err_msg=name)
    # A readout's neurons compute in fractions, on the host: each in the same order.
    np.testing.assert_array_equal(trace.outputs, outputs.astype(np.float32))
    np.testing.assert_array_equal(fused_outputs.astype(np.float32), trace.outputs)


def test_synapses_of_spikes_that_come_directly_take_no_other_nodes_name():
    nodes = {"a": lif((2,), 0.5), "a.input": lif((2,), 0.25), "b": lif((2,), 0.5)}
    stored = chain(nodes, (2,), (2,), T)
    stored.edges.append(("input", "a.input"))
    frames = np.random.default_rng(0).normal(size=(2, T, 2)).astype(np.float32)
    graph, scheme = quantise(from_nir(stored), frames)
    assert {"a.input", "a.input+"} < set(graph.nodes)
    shown = np.clip(np.round(frames * scheme.input_scale), -128, 127).astype(np.float32)
    spikes, _, _ = chip_oracle.run(graph, shown)
    for name, train in run(graph, shown).spikes.items():
        np.testing.assert_array_equal(train.unpack(), spikes[name])


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1, 3), (1, 2, 1, 3)])
def test_spikes_come_directly_in_any_shape(shape):
    stored = chain({"a": lif(shape, 0.5), "b": lif(shape, 0.25)}, shape, shape, T)
    frames = np.random.default_rng(0).normal(size=(2, T, *shape)).astype(np.float32)
    graph, scheme = quantise(from_nir(stored), frames)
    shown = np.clip(np.round(frames * scheme.input_scale), -128, 127).astype(np.float32)
    spikes, _, _ = chip_oracle.run(graph, shown)
    for name, train in run(graph, shown).spikes.items():
        np.testing.assert_array_equal(train.unpack(), spikes[name])


def test_the_integers_are_close_to_the_floats():
    """Spikes that differ from the float graph's, in all populations: one in some hundreds."""
    found = []
    for seed in range(FEW):
        _, _, scheme = calibrated(seed)
        found += [choice.disagreement for choice in scheme.populations.values()]
    assert 0 < np.mean(found) < 0.005


@pytest.mark.parametrize("seed", range(0, FEW, 4))
def test_the_file_brings_every_integer_back(tmp_path, seed):
    compose, stored = composed(seed)
    frames = compose.numbers((3, T, *compose.SHAPE), -12, 13)
    for name, node in timed(stored, seed).nodes.items():
        # Without it nir can't write them.
        if isinstance(stored.nodes.get(name), nir.Conv1d):
            stored.nodes[name].input_shape = node.input_shape[1]
        if isinstance(stored.nodes.get(name), nir.Conv2d):
            stored.nodes[name].input_shape = node.input_shape[1:]
    nir.write(tmp_path / "float.nir", stored)
    read = read_graph(tmp_path / "float.nir", asked=Asked(dt=DT, reset=reset(seed)))
    floats, scheme = calibrate(replace(read, metadata=replace(read.metadata, time_steps=T)), frames)
    write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "quantised.nir")
    again, expected = integer_graph(read_graph(tmp_path / "quantised.nir")), integers(floats, scheme)
    assert (again.recurrent, again.metadata.time_steps) == (expected.recurrent, T)
    for name, node in expected.nodes.items():
        other = again.nodes[name]
        assert (node.sources, type(node.operation)) == (other.sources, type(other.operation))
        for key, value in vars(node.operation).items():
            assert np.array_equal(value, vars(other.operation)[key]), f"{name}: {key}"


def assert_agree(trace, graph, frames):
    """Equal to the reference, which equals the oracle above, in every spike, every last v and the outputs."""
    report = compare(trace, run(graph, frames))
    assert report.exact, report.first_mismatch
    assert report.output_difference == 0
    assert report.membranes_compared == len(frames) * sum(np.prod(node.shape) for node in graph.populations)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 100, 20))
def test_in_lava_a_hundred_compositions_are_what_the_chips_equations_say(first):
    graph, frames = quantised(*range(first, first + 20), images=2)
    assert_agree(simulate(graph, frames, precision="loihi2", batch=1), graph, frames)


@pytest.mark.slow
def test_lavas_own_processes_are_what_the_chips_equations_say():
    """Lasting currents with a drive, neurons without a memory, every kind of cycle: Dense, Conv, Sparse, LIFReset."""
    graph, frames = quantised(*STOCK, membranes=False, images=2)
    assert composed(*STOCK, membranes=False)[0].kinds >= WAYS | SITUATIONS | PRIMITIVES - {"I", "LI", "CubaLI"}
    assert any(node.operation.drive.any() for node in graph.populations)
    assert_agree(simulate(graph, frames, precision="loihi2", models="stock"), graph, frames)
