"""NeuroBench's metrics: equal to the installed NeuroBench's where it counts the same thing, by hand elsewhere."""

import nir
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from neurobench.metrics.utils.layers import single_layer_MACs
from torch import nn

import energy
from energy.effective import nonzero_fan_out
from energy.inputs import with_input_kind
from energy.neurobench import neurobench
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, lif


def measured(nodes, frames, out_shape, kind):
    # Sparse kernels may look like grouped ones: the file says that none is.
    made = chain(nodes, frames.shape[2:], out_shape, frames.shape[1], groups={})
    graph = with_input_kind(from_nir(made), kind)
    counts = energy.count(graph, run(graph, frames), frames=frames)
    return neurobench(graph, counts), counts


def sparse(rng, *shape):
    return (rng.normal(size=shape) * (rng.random(shape) < 0.6)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([1, 2]), st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)), st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
)  # fmt: skip
@example(190, 1, (1, 1), (1, 1), (0, 0), (1, 1))
def test_effective_additions_and_dense_are_those_of_neurobench(seed, groups, kernel, stride, padding, dilation):
    rng = np.random.default_rng(seed)
    weight, shape = sparse(rng, 4, 2 // groups, *kernel), (2, 6, 7)
    module = nn.Conv2d(2, 4, kernel, stride, padding, dilation, groups, bias=False).double()
    module.weight.data = torch.from_numpy(weight.astype(np.float64))
    frames = (rng.random((2, 3, *shape)) < 0.4).astype(np.float32)
    x = torch.from_numpy(frames.reshape(6, *shape)).double()
    out = tuple(module(x).shape[1:])
    node = nir.Conv2d(shape[1:], weight, stride, padding, dilation, groups, np.zeros(4, np.float32))
    found, counts = measured({"conv": node, "lif": lif(out)}, frames, out, "spikes")
    expected, spiking = single_layer_MACs(x, module)
    dense, _ = single_layer_MACs(x, module, total=True)
    assert spiking
    assert (counts.effective.acs, counts.effective.macs, counts.effective.dense) == (expected, 0, dense)
    assert found.synaptic_operations.model_dump() == {
        "Effective_MACs": 0.0, "Effective_ACs": expected / 2, "Dense": dense / 2,
    }  # fmt: skip
    # Real frames that are nowhere 0.
    real = np.abs(rng.normal(size=frames.shape)).astype(np.float32) + 0.5
    _, counts = measured({"conv": node, "lif": lif(out)}, real, out, None)
    expected, spiking = single_layer_MACs(torch.from_numpy(real.reshape(6, *shape)).double(), module)
    assert not spiking
    assert (counts.effective.macs, counts.effective.acs) == (expected, 0)


def test_sums_of_spikes_are_multiplications_to_neurobench():
    rng = np.random.default_rng(1)
    module = nn.Linear(6, 5, bias=False).double()
    weight = sparse(rng, 5, 6)
    module.weight.data = torch.from_numpy(weight.astype(np.float64))
    frames = rng.integers(0, 4, (2, 3, 6)).astype(np.float32)
    _, counts = measured({"fc": nir.Linear(weight), "lif": lif((5,))}, frames, (5,), "counts")
    expected, spiking = single_layer_MACs(torch.from_numpy(frames.reshape(6, 6)).double(), module)
    assert not spiking
    assert (counts.effective.macs, counts.effective.acs) == (expected, 0)
    assert counts.sops == 5 * frames.sum()  # here a count is as many additions, at every synapse of the geometry


def test_the_static_metrics_by_hand():
    weight = np.ones((10, 20), np.float32)
    weight[:3] = 0
    frames = np.zeros((2, 4, 20), np.float32)
    frames[0, 1] = 9
    nodes = {"fc": nir.Affine(weight, np.ones(10, np.float32) / 1024), "lif": lif((10,))}
    found, counts = measured(nodes, frames, (10,), None)
    assert (found.footprint, found.connection_sparsity) == (4 * 210, 0.3)
    assert counts.populations["lif"].spikes == 7  # those with weights, once
    assert found.activation_sparsity == pytest.approx(1 - 7 / 80)


@pytest.mark.parametrize("node", [nir.Linear(np.ones((3, 4))), nir.Affine(np.ones((3, 4)), np.zeros(3))])
def test_a_bias_that_adds_nothing_takes_no_memory(node):
    """NIR's convolutions and affine nodes have one always: zeros where the layer was made without."""
    found, _ = measured({"fc": node, "lif": lif((3,))}, np.ones((1, 2, 4), np.float32), (3,), None)
    assert found.footprint == 4 * 12


def test_a_graph_without_weights_has_no_sparsity():
    found, _ = measured({"lif": lif((3,))}, np.ones((1, 2, 3), np.float32), (3,), None)
    assert (found.footprint, found.connection_sparsity) == (0, 0.0)


def test_zero_weights_are_no_synapses_by_hand():
    # A kernel [1, 0, 1] with padding 1 on a row of 4: position 0 is seen through taps 0 and 1, of which tap 0 counts.
    graph = from_nir(
        chain(
            {
                "lif": lif((1, 1, 4)),
                "conv": nir.Conv2d(
                    (1, 4), np.array([[[[1, 0, 1]]]], np.float32), (1, 1), (0, 1), (1, 1), 1, np.zeros(1, np.float32)
                ),
            },
            (1, 1, 4),
            (1, 1, 4),
        )
    )
    node = graph.nodes["conv"]
    assert nonzero_fan_out(node.operation, node.shapes).tolist() == [[[1, 2, 2, 1]]]
