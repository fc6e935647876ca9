"""The fast linear nodes equal the reference's, and so do their sparse matrices."""

import nir
import numpy as np
import pytest

from neuromorphic.lava.layers import Layer, Member
from neuromorphic.lava.processes.layer import FusedModel
from neuromorphic.ops import Conv2d, Stateless
from neuromorphic.ops.matrices import matrix
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, one_neuron

BATCH = 3


def convolution(shape, out, kernel, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, seed=0):
    weight = np.random.default_rng(seed).integers(-8, 9, (out, shape[0] // groups, *kernel)).astype(np.float32)
    weight[np.abs(weight) < 1] = 1
    block = np.zeros((out, shape[0], *kernel), np.float32)
    for g in range(groups):
        rows = slice(g * out // groups, (g + 1) * out // groups)
        block[rows, g * shape[0] // groups : (g + 1) * shape[0] // groups] = weight[rows]
    bias = np.arange(out, dtype=np.float32)
    return nir.Conv2d(shape[1:], block, stride, padding, dilation, 1, bias)


def pooling(kernel, stride, padding):
    return nir.SumPool2d(np.array(kernel), np.array(stride), np.array(padding))


CASES = {
    "3x3": ((3, 5, 6), convolution((3, 5, 6), 4, (3, 3), padding=(1, 1))),
    "1x1": ((3, 5, 6), convolution((3, 5, 6), 4, (1, 1))),
    "uneven": ((2, 7, 8), convolution((2, 7, 8), 3, (3, 2), (2, 1), (1, 0), (1, 2))),
    "groups": ((4, 5, 5), convolution((4, 5, 5), 6, (3, 3), padding=(1, 1), groups=2)),
    "depthwise": ((4, 6, 6), convolution((4, 6, 6), 4, (3, 3), (2, 2), (1, 1), groups=4)),
    "depthwise, more out": ((2, 4, 4), convolution((2, 4, 4), 6, (2, 2), groups=2)),
    "broadcast": ((4, 1, 1), convolution((4, 1, 1), 4, (3, 3), padding=(2, 2), groups=4)),
    "broadcast, groups": ((4, 1, 1), convolution((4, 1, 1), 6, (3, 3), padding=(2, 2), groups=2)),
    "pool": ((3, 6, 4), pooling((2, 2), (2, 2), (0, 0))),
    "pool, overlapping": ((3, 6, 5), pooling((3, 2), (2, 1), (1, 0))),
}  # fmt: skip


def node_of(shape, operation):
    """The validated node of a graph that holds `operation` alone; its output shape is what numpy's windows give."""
    conv = isinstance(operation, nir.Conv2d)
    kernel = operation.weight.shape[2:] if conv else operation.kernel_size
    dilation = operation.dilation if conv else (1, 1)
    sizes = zip(shape[1:], kernel, operation.stride, operation.padding, dilation, strict=True)
    out = [len(np.arange(n + 2 * p - d * (k - 1))[::s]) for n, k, s, p, d in sizes]
    channels = len(operation.weight) if conv else shape[0]
    return from_nir(chain({"node": operation}, shape, (channels, *out))).nodes["node"]


def fast(node, batch, dtype):
    return node.operation.kernel(node.shapes, batch, dtype, np.zeros(node.input_shape))


def without_bias(node, x):
    y, bias = (node.operation.apply(each, node.shapes) for each in (x, np.zeros_like(x)))
    return y - bias


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference_without_biases(name, dtype):
    node = node_of(*CASES[name])
    compute = fast(node, BATCH, dtype)
    rng = np.random.default_rng(1)
    for _ in range(2):  # buffers are used again
        x = rng.integers(-4, 5, (BATCH, *node.input_shape)).astype(dtype)
        y = compute(x)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, without_bias(node, x.astype(np.float64)))


@pytest.mark.parametrize("name", CASES)
def test_takes_spikes_as_bytes(name):
    node = node_of(*CASES[name])
    x = np.random.default_rng(2).integers(0, 2, (BATCH, *node.input_shape)).astype(np.uint8)
    np.testing.assert_array_equal(fast(node, BATCH, np.float32)(x), without_bias(node, x.astype(np.float64)))


@pytest.mark.parametrize("name", CASES)
def test_the_sparse_matrix_equals_the_reference(name):
    node = node_of(*CASES[name])
    conv = node.operation.synapses(node.shapes)
    assert isinstance(conv, Conv2d)
    x = np.random.default_rng(3).integers(-4, 5, (1, *node.input_shape)).astype(np.float64)
    np.testing.assert_array_equal(matrix(node.shapes, conv) @ x.reshape(-1), without_bias(node, x).reshape(-1))


def test_a_population_is_not_linear():
    lif = from_nir(one_neuron()).nodes["lif"]
    assert not isinstance(lif.operation, Stateless)
    member = Member(lif, ("input",), (0,), (0,), (0,), (True,), np.zeros(1))
    layer = Layer((member, member), (), (), (), 1)
    model = type("Model", (FusedModel,), {"dtype": np.float32})
    with pytest.raises(TypeError, match="node 'lif': Lif inside of a layer"):
        model({"layer": layer, "lead": (1,), "time_steps": 1, "membranes": None, "compiled": False})
