"""Torch, the reference and Lava agree on every spike of random graphs."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from neuromorphic.execution.reference import run
from neuromorphic.ir.parity import compare
from neuromorphic.lava.simulation import simulate
from neuromorphic.reading.build import from_nir
from tests.drawn import drawn
from tests.properties import torch_graph
from tests.properties.random_graphs import examples

SLOW_DATA = [HealthCheck.too_slow, HealthCheck.data_too_large]


@drawn(100, suppress_health_check=SLOW_DATA)
@given(examples())
def test_torch_equals_the_reference_on_random_graphs(example):
    trace = run(from_nir(example.graph), example.frames)
    spikes, outputs = torch_graph.run(example.graph, example.thresholds, example.frames, trace.time_steps)
    for name, train in trace.spikes.items():
        np.testing.assert_array_equal(train.unpack(), spikes[name], err_msg=name)
    np.testing.assert_array_equal(trace.outputs, outputs)


@pytest.mark.slow
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=SLOW_DATA,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a Lava run takes seconds: no shrinking
)
@given(examples())
def test_lava_equals_the_reference_on_random_graphs(example):
    graph = from_nir(example.graph)
    report = compare(simulate(graph, example.frames), run(graph, example.frames))
    assert report.exact, report.first_mismatch
    assert report.output_difference == 0
