from dataclasses import replace

import numpy as np
import pytest

from export.checking import torch_runner
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.ir.parity import compare
from neuromorphic.reading.build import from_nir
from tests.export.encoders import prepare_shipped


def test_the_trace_of_a_shipped_checkpoint_equals_its_graphs():
    prepared = prepare_shipped("spike-driven-small")
    graph = from_nir(prepared.graph)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    x = prepared.encode(images)
    pytorch = torch_runner("spike-driven-small", graph, graph)
    trace = run(graph, x)
    assert compare(trace, pytorch.run(x)).exact
    assert compare(trace.part(slice(1, 2)), pytorch.run(x[1:], images[1:])).exact
    compared = pytorch.compare_frames(x, images)
    assert (compared.compared, compared.differ) == (x.size, 0)


def test_a_file_that_names_its_classes_otherwise_is_refused():
    """Two names swapped: every score is right, and every such prediction means another class."""
    graph = from_nir(prepare_shipped("spike-driven-small").graph)
    names = graph.metadata.label_names

    def named(*found):
        return replace(graph, metadata=replace(graph.metadata, label_names=found))

    swapped = named(names[1], names[0], *names[2:])
    with pytest.raises(RefusedInput, match=r"names its classes otherwise .*: 'automobile' where that has 'airplane'"):
        torch_runner("spike-driven-small", swapped, swapped)
    for alike in (named(*(name.upper() for name in names)), named()):
        torch_runner("spike-driven-small", alike, alike)


def changed(graph, name, by):
    """The graph whose node has a bias that is greater by one step, in one channel."""
    operation = graph.nodes[name].operation
    bias = operation.bias_values.copy()
    bias[2] += np.float32(by)
    return graph.with_operations({name: operation.with_bias(bias)})


@pytest.mark.parametrize("name", ["stem.layers.2.synapse.conv", "readout"])
def test_parameters_that_no_spike_of_a_run_shows_are_compared_themselves(name):
    graph = from_nir(prepare_shipped("spike-driven-small").graph)
    assert torch_runner("spike-driven-small", graph, graph).compare_parameters() == ()
    other = changed(graph, name, 2.0**-13)
    (said,) = torch_runner("spike-driven-small", other, other).compare_parameters()
    size = graph.nodes[name].operation.bias_values.size
    assert said == f"{name}: bias differs in 1 of {size:,} numbers, by up to 0.000122"


def test_a_file_of_other_time_steps_is_refused_before_it_runs():
    graph = from_nir(prepare_shipped("spike-driven-small").graph)
    other = replace(graph, metadata=replace(graph.metadata, time_steps=3))
    with pytest.raises(RefusedInput, match="T is 3; checkpoint 'spike-driven-small' takes 4 time steps"):
        torch_runner("spike-driven-small", other, other)


@pytest.mark.parametrize("factor", [2, 1 + 2**-23])
def test_integers_of_other_parameters_are_not_the_checkpoints(factor):
    """PyTorch in integers computes with the graph's own numbers, so that it would agree with any."""
    graph = from_nir(prepare_shipped("spike-driven-small").graph)
    readout = graph.nodes["readout"].operation
    changed = graph.with_operations({"readout": readout.with_weights(readout.weights * np.float32(factor))})
    torch_runner("spike-driven-small", graph, graph).check_parameters()
    with pytest.raises(RefusedInput, match="its parameters are not the checkpoint's, whose integers are asked for"):
        torch_runner("spike-driven-small", changed, changed).check_parameters()
