"""Neurons whose spikes subtract, in the chip's integers: quantised, bounded, written and read, run, and refused."""

from dataclasses import replace
from itertools import product

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuromorphic.deploy.netx import to_layers
from neuromorphic.deploy.plan import plan
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.fast import run as run_fast
from neuromorphic.execution.reference import run
from neuromorphic.ir.parity import compare
from neuromorphic.lava.simulation import simulate
from neuromorphic.lava.stock_limits import refusals
from neuromorphic.loihi2.certificate import certify_widths
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.integers import graded, integers
from neuromorphic.loihi2.quantise import calibrate, quantise, quantised
from neuromorphic.ops import LoihiLif
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph
from neuromorphic.targets.verdicts import verdicts
from tests.drawn import drawn
from tests.neuromorphic import chip_oracle
from tests.neuromorphic.analysis.test_soft_resets import frames, looped, stored
from tests.neuromorphic.chip import LIMIT, integrate_and_fire
from tests.neuromorphic.graphs import DT, chain, lif

LOOPS = (
    {},
    {"decay": 0.0, "leak": 0.0},
    {"recurrent": True, "delay_first": True, "leak": 0.5},
    {"decay": 0.1, "back": 0.9},  # 409.6 of 4096
    {"decay": 0.1, "back": 5.0, "threshold": 0.7},  # v below 0 behind a spike
)


@pytest.mark.parametrize("settings", LOOPS)
def test_loops_in_integers_are_what_the_chips_equations_say(settings):
    graph, _ = quantise(looped(**settings), frames())
    whole = graded(graph, frames())
    assert not any(name.endswith((".v", ".back", ".later")) for name in graph.nodes)
    spikes, membranes, _ = chip_oracle.run(graph, whole)
    trace, fast = run(graph, whole), run_fast(graph, whole, 8)
    for name, train in spikes.items():
        np.testing.assert_array_equal(trace.spikes[name].unpack(), train, err_msg=name)
        np.testing.assert_array_equal(fast.spikes[name] != 0, train, err_msg=name)
        np.testing.assert_array_equal(trace.membranes[name], membranes[name].astype(np.int64), err_msg=name)
        np.testing.assert_array_equal(fast.membranes[name], trace.membranes[name], err_msg=name)


@pytest.mark.parametrize("settings", LOOPS)
def test_loops_in_integers_are_close_to_the_floats(settings):
    _, scheme = quantise(looped(**settings), frames())
    assert max(choice.disagreement for choice in scheme.populations.values()) <= 0.01


@pytest.mark.parametrize("settings", LOOPS[1::2])
def test_the_file_keeps_the_loop_and_brings_every_integer_back(tmp_path, settings):
    source, quantised = tmp_path / "float.nir", tmp_path / "quantised.nir"
    nir.write(source, stored(**settings))
    floats, scheme = calibrate(read_graph(source), frames())
    write_quantised(source, floats, scheme, quantised)
    read = read_graph(quantised)
    assert read.nodes.keys() == read_graph(source).nodes.keys()
    again, expected = integer_graph(read), integers(floats, scheme)
    assert again.metadata.assumed == expected.metadata.assumed
    for name, node in expected.nodes.items():
        assert node.sources == again.nodes[name].sources
        for key, value in vars(node.operation).items():
            assert np.array_equal(value, vars(again.nodes[name].operation)[key]), f"{name}: {key}"
    # Its floats are the chip's numbers: they send its spikes but where a decay of the chip's rounded.
    shown = (frames() * scheme.input_scale).round() / scheme.input_scale
    differ = [
        (run(read, shown.astype(np.float32)).spikes[name].unpack() != train.unpack()).mean()
        for name, train in run(again, graded(again, frames())).spikes.items()
    ]
    assert max(differ) <= 0.01


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("threshold", [1.0, 2.0, 7.0])
@pytest.mark.parametrize("kept", [1, 0.5])
def test_a_neuron_that_counts_and_subtracts_is_exact(threshold, loop, kept):
    """Spikes that count 3 and -2: all 256 trains of two neurons in 4 steps, in fractions that don't round."""
    leaks = {"tau": np.full(1, 2 * DT), "r": np.full(1, 2), "v_leak": np.zeros(1)}
    at = np.full(1, threshold)
    nodes = {
        "w": nir.Affine(np.eye(2, dtype=np.float32), np.zeros(2, np.float32)),
        "s": nir.Threshold(np.ones(2, np.float32)),
        "count": nir.Affine(np.array([[3.0, -2.0]], np.float32), np.zeros(1, np.float32)),
        "if": integrate_and_fire((1,), threshold) if kept == 1 else nir.LIF(**leaks, v_threshold=at),
    }
    graph = chain(nodes, (2,), (1,))
    if loop:
        graph.nodes |= {"v": nir.I(np.full(1, 1 / DT)) if kept == 1 else nir.LI(**leaks), "if": nir.Threshold(at)}
        graph.nodes |= {"back": nir.Scale(-kept * at), "later": nir.Delay(np.full(1, DT))}
        graph.edges.remove(("count", "if"))
        graph.edges += [("count", "v"), ("v", "if"), ("if", "back"), ("back", "later"), ("later", "v")]
    spikes = np.arange(256)[:, None] >> np.arange(8) & 1
    shown = (2.0 * spikes.reshape(256, 4, 2)).astype(np.float32)
    floats = from_nir(graph, asked=Asked(dt=DT, reset="zero" if loop else "subtract"))
    whole, scheme = quantise(floats, shown)
    assert scheme.populations["if"].exact
    trace = run(whole, graded(whole, shown))
    for train, fired in zip(shown > 0, trace.spikes["if"].unpack()[..., 0], strict=True):
        v = 0
        for (up, down), spike in zip(train.tolist(), fired.tolist(), strict=True):
            v = kept * v + 3 * up - 2 * down
            assert spike == (v > threshold)
            v -= threshold * spike


def one_neuron(weight, steps, decay, threshold, lowering, bias, synapse):
    """A neuron of integers that reads one number of 8 bits."""
    graph = from_nir(chain({"w": nir.Affine(np.full((1, 1), weight), np.zeros(1)), "n": lif((1,))}, (1,), (1,), steps))
    numbers = (np.full(1, n, np.int32) for n in (threshold, bias))
    whole = LoihiLif(decay, *numbers, 0, synapse, lowering=np.full(1, lowering, np.int32))
    return replace(graph, nodes={**graph.nodes, "n": replace(graph.nodes["n"], operation=whole)})


@drawn(25)
@given(
    steps=st.integers(1, 4),
    decay=st.sampled_from([0, 1, 2048, 4095]),
    threshold=st.sampled_from([0, 3, 100, 2**17 - 1]),
    lowering=st.sampled_from([0, 3, 150, 2**17 - 1]),
    bias=st.sampled_from([0, -3000, 4000]),
    synapse=st.sampled_from([4096, 1024]),
    weight=st.sampled_from([1, 16, 1024]),
)
def test_no_input_brings_v_beyond_its_bounds(steps, decay, threshold, lowering, bias, synapse, weight):
    """Every train of six numbers, the largest and the least among them, in Python's integers without a width."""
    graph = one_neuron(weight, steps, decay, threshold, lowering, bias, synapse)
    proof = certify_widths(graph).populations["n"]
    reached = [0]
    for train in product((-128, -1, 0, 1, 60, 127), repeat=steps):
        u = v = 0
        for x in train:
            u = chip_oracle.lost(u, synapse) + 64 * weight * x
            v = chip_oracle.lost(v, decay) + u + bias
            reached.append(v)
            v -= 64 * lowering * (v > 64 * threshold)
            reached.append(v)
    assert proof.membrane <= min(reached)
    assert proof.highest >= max(reached)
    assert proof.saturating == (proof.membrane < 1 - LIMIT or proof.highest > LIMIT - 1)
    for_ever = certify_widths(replace(graph, metadata=replace(graph.metadata, time_steps=None))).populations["n"]
    assert for_ever.membrane <= proof.membrane
    assert for_ever.highest >= proof.highest


@pytest.mark.parametrize(("lowering", "steps", "highest"), [(100, 9, 416), (127, 9, 227), (200, 9, 227)])
def test_what_piles_up_is_bounded_and_the_bound_is_reached(lowering, steps, highest):
    """127 per step, from the threshold of 100: v grows by what exceeds the lowering, or stays below the sum."""
    proof = certify_widths(one_neuron(1, steps, 0, 100, lowering, 0, 4096)).populations["n"]
    reached, v = [], 0
    for x in (100, *[127] * (steps - 1)):
        v += x
        reached.append(v)
        v -= lowering * (v > 100)
    assert max(reached) == highest == proof.highest // 64


def test_saturation_above_is_counted_where_spikes_subtract():
    graph = one_neuron(1024, 3, 0, 2**17 - 1, 1, 0, 4096)
    assert run_fast(graph, np.full((1, 1), 127, np.float32), 3).overflows["n"].saturations == 2
    assert certify_widths(graph).populations["n"].saturating == 1


def test_lava_runs_them_spike_for_spike_and_its_own_processes_refuse_them_by_name():
    graph, _ = quantise(looped(), frames())
    whole = graded(graph, frames())
    report = compare(simulate(graph, whole, precision="loihi2", batch=3), run(graph, whole))
    assert report.exact, report.first_mismatch
    assert (report.output_difference, report.membranes_compared) == (0, 30)
    assert any("node 'a' subtracts with its spikes" in reason for reason in refusals(graph, stock=True))
    for written in (plan, to_layers):
        with pytest.raises(RefusedInput, match=r"a subtracts with its spikes.*b subtracts with its spikes"):
            written(graph)


def test_what_they_take_for_granted_is_said_of_floats_and_integers():
    floats = from_nir(chain({"n": lif((1,), 1.0)}, (1,), (1,)), asked=Asked(dt=DT, reset="subtract"))
    graph, _ = quantise(floats, np.ones((1, 1), np.float32))
    said = "n: a spike subtracts from v, for which Loihi 2 needs a neuron of one's own microcode; Lava's own set v to 0"
    assert said in graph.metadata.assumed
    assert any(said in verdict.reasons for verdict in verdicts(floats, False) if verdict.target == "loihi2")
    hard, _ = quantise(from_nir(chain({"n": lif((1,), 1.0)}, (1,), (1,))), np.ones((1, 1), np.float32))
    assert not hard.metadata.assumed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"back": -0.25}, "'a': a spike adds to v, 0.5 as an input; expected it to subtract"),
        ({"decay": 1.0}, "'a': dt / tau is 1: v is forgotten, and could not be lowered by the last spike"),
    ],
)
def test_what_no_neuron_of_the_chip_could_do_is_refused(settings, message):
    with pytest.raises(RefusedInput, match=message):
        quantise(looped(**settings), frames())


@pytest.mark.parametrize("weights", [(1.0, -1.0), (1.0, 2.0), (0.5, -0.25), (0.75, 0.5)])
@pytest.mark.parametrize("threshold", [1.0, 3.0])
def test_neurons_that_fire_at_what_they_subtract_stay_exact_where_their_numbers_are_whole(tmp_path, threshold, weights):
    """`v >= h; v -= h`, as Sinabs and SpikingJelly have it, of few bits, against plain Python."""
    x = np.random.default_rng(3).integers(0, 2, (4, 12, 2)).astype(np.float32)
    weight, size = np.array([weights, weights[::-1]], np.float32), (2,)
    nodes = {"w": nir.Linear(weight), "n": nir.IF(np.ones(2, np.float32), np.full(2, threshold, np.float32))}
    asked = Asked(reset="subtract", written_by="spikingjelly", integrators="step")
    nir.write(tmp_path / "float.nir", chain(nodes, size, size, time_steps=12))
    v, expected = np.zeros((4, 2)), []
    for t in range(12):
        v = v + x[:, t] @ weight.T
        expected.append(v >= threshold)
        v = v - threshold * expected[-1]
    floats, whole, scheme = quantised(read_graph(tmp_path / "float.nir", asked=asked), x)
    write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "q.nir")
    for graph in (whole, integer_graph(read_graph(tmp_path / "q.nir"))):
        np.testing.assert_array_equal(run(graph, graded(graph, x)).spikes["n"].unpack(), np.stack(expected, 1))
