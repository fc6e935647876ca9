"""Counting at the nodes that other libraries write: by hand.  What waits, circles or sends membranes: `test_late`."""

import nir
import numpy as np
import pytest

import energy
from energy.counting import fan_out
from energy.events import Events
from energy.updates import updates_needed
from neuromorphic.reading.build import from_nir
from tests.energy.test_sops import trace_of
from tests.energy.test_updates import spikes
from tests.neuromorphic.graphs import DT, chain, lif
from tests.neuromorphic.oracle import convolved

ONES = np.ones(1, np.float32)


def full(*values):
    return (np.full(1, value, np.float32) for value in values)


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1)])
def test_a_spike_at_a_one_dimensional_kernel_is_one_sop_per_output_that_it_reaches(stride, padding, dilation, groups):
    conv = nir.Conv1d(None, np.ones((4, 2 // groups, 3), np.float32), stride, padding, dilation, groups, np.zeros(4))
    out = (4, (7 + 2 * padding - 2 * dilation - 1) // stride + 1)
    graph = from_nir(chain({"a": lif((2, 7)), "conv": conv, "b": lif(out)}, (2, 7), out))
    fired = np.random.default_rng(0).random((2, 4, 2, 7)) < 0.4
    along = ((1, stride), (0, padding), (1, dilation))
    # With weights of 1, what arrives at all outputs is the number of ways that spikes have to them.
    ways = sum(
        convolved(step[:, None], conv.weight[:, :, None], np.zeros(4), *along, groups).sum()
        for image in fired
        for step in image
    )
    counts = energy.count(graph, trace_of(graph, a=fired, b=np.zeros((2, 4, *out), np.bool_)))
    assert counts.layers["conv"].sops == ways


def test_a_scale_has_one_synapse_per_element_and_one_mac_where_it_reads_real_values():
    shape, one = (2, 3), nir.Scale(np.ones((2, 3)))
    graph = from_nir(chain({"first": one, "a": lif(shape), "second": one, "b": lif(shape)}, shape, shape))
    assert (fan_out(graph.nodes["second"]) == 1).all()
    fired = np.zeros((1, 4, *shape), np.bool_)
    fired[0, 1, 0] = fired[0, 2, 1, 2] = True
    counts = energy.count(graph, trace_of(graph, a=fired, b=np.zeros_like(fired)))
    assert (counts.layers["second"].sops, counts.layers["second"].macs) == (4, 0)
    assert (counts.layers["first"].sops, counts.layers["first"].macs) == (0, 4 * 6)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (nir.IF(*full(5000, 1)), [0, 1, 0, 0, 1, 0]),  # nothing leaks: only what arrives needs an update
        (nir.IF(*full(5000, 1, -0.5)), [0, 1, 0, 0, 1, 0]),
        (nir.Threshold(ONES), [0, 1, 0, 0, 1, 0]),
        (nir.Threshold(-ONES), [1] * 6),  # fires without input
        (nir.LIF(*full(2 * DT, 1, 0, 1, 0)), [0, 1, 1, 0, 1, 1]),  # at rest again after its spike in step 2
        (nir.LIF(*full(2 * DT, 1, 0.25, 1, 0)), [1] * 6),  # never at rest
        (nir.CubaLIF(*full(2 * DT, 2 * DT, 1, 0, 1)), [0, 1, 1, 1, 1, 1]),  # its current outlasts its spike
    ],
)
def test_updates_are_needed_where_something_changes(node, expected):
    graph = from_nir(chain({"a": lif((1,)), "b": node}, (1,), (1,), time_steps=6))
    trace = trace_of(graph, a=spikes(".", "x", ".", ".", "x", "."), b=spikes(".", ".", "x", ".", ".", "."))
    assert updates_needed(graph, trace, Events.of(graph, trace, None))["b"].tolist() == [expected]
