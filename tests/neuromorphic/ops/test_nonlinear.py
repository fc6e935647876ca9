"""The extension nodes against loops written out: the reference's definitions, and the fast ones that Lava runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import attention, chain, lif, max_pool

BATCH = 2
DTYPES = [np.float32, np.float64]


def pooling(shape, kernel, stride, padding):
    sizes = zip(shape[1:], kernel, stride, padding, strict=True)
    out = (shape[0], *(len(range(0, n + 2 * p - k + 1, s)) for n, k, s, p in sizes))
    return from_nir(chain({"node": max_pool(shape, kernel, stride, padding)}, shape, out)).nodes["node"]


def largest(x, kernel, stride, padding, out):
    """The maximum over each window's positions on the map, in plain Python, of nested lists' worth of numbers."""
    found = np.empty((len(x), *out))
    for image, c, i, j in np.ndindex(found.shape):
        rows = range(i * stride[0] - padding[0], i * stride[0] - padding[0] + kernel[0])
        columns = range(j * stride[1] - padding[1], j * stride[1] - padding[1] + kernel[1])
        inside = [
            x[image, c, row, column]
            for row in rows
            for column in columns
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]
        ]
        found[image, c, i, j] = max(inside)
    return found


@st.composite
def windows(draw):
    """Shape, kernel, stride and padding of a pooling, each direction on its own."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(draw(st.integers(max(1, k - 2 * p), 7)) for k, p in zip(kernel, padding, strict=True))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return (draw(st.integers(1, 3)), *size), kernel, stride, padding


@given(windows(), st.integers(0, 2**32 - 1), st.sampled_from(DTYPES))
def test_maxima_equal_loops(window, seed, dtype):
    shape, *window = window
    node = pooling(shape, *window)
    rng = np.random.default_rng(seed)
    bias = rng.integers(-4, 5, shape) / 4
    compute = node.operation.kernel(node.shapes, BATCH, dtype, bias)
    for low, high in [(-8, 9), (-9, 0), (-1, 1)]:  # both signs, all negative, many ties; buffers are used again
        x = rng.integers(low, high, (BATCH, *shape)) / 4
        np.testing.assert_array_equal(node.operation.apply(x, node.shapes), largest(x, *window, node.shape))
        y = compute(x.astype(dtype))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, largest(x + bias, *window, node.shape))


def test_padding_is_never_the_largest():
    node = pooling((1, 2, 2), (3, 3), (2, 2), (1, 1))
    assert node.operation.apply(np.full((1, 1, 2, 2), -5.0), node.shapes).tolist() == [[[[-5.0]]]]


def test_a_bias_can_move_the_maximum():
    node = pooling((1, 1, 3), (1, 3), (1, 1), (0, 1))
    bias = np.array([[[0.0, 0.0, 4.0]]])
    compute = node.operation.kernel(node.shapes, 1, np.float32, bias)
    assert compute(np.array([[[[3.0, 1.0, 0.0]]]], np.float32)).tolist() == [[[[3.0, 4.0, 4.0]]]]


def test_maxima_take_spikes_as_bytes():
    node = pooling((2, 4, 4), (2, 2), (2, 2), (1, 1))
    x = np.random.default_rng(0).integers(0, 2, (BATCH, 2, 4, 4)).astype(np.uint8)
    compute = node.operation.kernel(node.shapes, BATCH, np.float32, np.zeros((2, 4, 4)))
    np.testing.assert_array_equal(compute(x), node.operation.apply(x.astype(np.float64), node.shapes))


def attended(shape, heads, scale):
    width = shape[0] // 3
    nodes = {"lif": lif(shape), "node": attention(shape, heads, scale)}
    return from_nir(chain(nodes, shape, (width, *shape[1:]))).nodes["node"]


def products(x, heads, scale, shape):
    """`y[h d + j, n] = scale Σ_i q[h d + i, n] Σ_m k[h d + i, m] v[h d + j, m]`, in plain Python."""
    width, height, columns = shape
    size, tokens = width // heads, height * columns
    result = []
    for image in x.reshape(len(x), 3 * width, tokens).tolist():
        q, k, v = image[:width], image[width : 2 * width], image[2 * width :]
        y = [[0.0] * tokens for _ in range(width)]
        for h in range(heads):
            for j in range(size):
                for n in range(tokens):
                    total = 0
                    for i in range(size):
                        for m in range(tokens):
                            total += q[h * size + i][n] * k[h * size + i][m] * v[h * size + j][m]
                    y[h * size + j][n] = scale * total
        result.append(y)
    return np.array(result).reshape(len(x), *shape)


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([0.125, 0.75, 1.0, 2.0]),
    st.sampled_from([0.2, 0.5, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_attention_equals_loops(heads, size, height, width, scale, rate, seed):
    shape = (3 * heads * size, height, width)
    node = attended(shape, heads, scale)
    x = np.random.default_rng(seed).random((BATCH, *shape)) < rate
    expected = products(x.astype(int), heads, scale, node.shape)
    np.testing.assert_array_equal(node.operation.apply(x.astype(np.float64), node.shapes), expected)
    for dtype in DTYPES:
        y = node.operation.kernel(node.shapes, BATCH, dtype, np.zeros(shape))(x.view(np.uint8))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, expected.astype(dtype))


def test_attention_by_hand():
    # One head of two channels and two tokens; tokens 0 and 1 share channel 0 in Q and K, only token 1 has a value.
    q, k, v = [[1, 0], [0, 1]], [[1, 1], [0, 1]], [[0, 1], [0, 0]]
    node = attended((6, 1, 2), 1, 0.5)
    x = np.array([*q, *k, *v], np.float64).reshape(1, 6, 1, 2)
    # Kᵀ V of channel 0 in V: channel 0 of K meets it at token 1, and so does channel 1.
    assert node.operation.apply(x, node.shapes).reshape(2, 2).tolist() == [[0.5, 0.5], [0.0, 0.0]]


@pytest.mark.parametrize("swapped", [(0, 1), (1, 2), (0, 2)])
def test_the_thirds_are_not_alike(swapped):
    rng = np.random.default_rng(5)
    x = (rng.random((1, 12, 2, 3)) < 0.5).astype(np.float64)
    node = attended((12, 2, 3), 2, 1.0)
    thirds = np.split(x, 3, 1)
    a, b = swapped
    thirds[a], thirds[b] = thirds[b], thirds[a]
    assert not np.array_equal(
        node.operation.apply(x, node.shapes), node.operation.apply(np.concatenate(thirds, 1), node.shapes)
    )
