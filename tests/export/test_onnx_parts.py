"""Each part of an ONNX model by itself, in ONNX Runtime, against its equation."""

from itertools import product

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from export import frames
from export.onnx.images import add_frames
from export.onnx.neurons import add_population
from export.onnx.operators import add_operator
from export.populations import DT
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from neuromorphic.reading.grouping import blocks as diagonal
from neuromorphic.reading.grouping import divisions
from spikeclip.preprocess import Preprocessing
from tests.export.onnx_runs import run_operators

EVERY_LEVEL = np.arange(256, dtype=np.uint8).reshape(64, 2, 2, 1)


@settings(max_examples=25, deadline=None)
@given(mean=st.floats(0, 255, width=32), std=st.floats(0.25, 255, width=32))
def test_frames_of_every_pixel_level(mean, std):
    preprocessing = Preprocessing(2, (mean,), (std,))
    bits = frames.input_bits(preprocessing)
    found = run_operators(lambda builder: add_frames(builder, preprocessing, bits))(EVERY_LEVEL)
    np.testing.assert_array_equal(found, frames.encode(preprocessing, bits, EVERY_LEVEL))
    steps = (np.arange(256) - np.float32(mean)) / np.float32(std) * 2.0**bits
    assert np.abs(found.ravel() * 2.0**bits - steps).max() <= 0.5 + 1e-6 * np.abs(steps).max()


def test_channels_of_frames():
    preprocessing = Preprocessing(2, (0.0, 64.0, 128.0), (64.0, 32.0, 16.0))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3), np.uint8)
    found = run_operators(lambda builder: add_frames(builder, preprocessing, 6), channels=3)(pixels)
    expected = (pixels - np.array([0, 64, 128])) / np.array([64, 32, 16])
    np.testing.assert_array_equal(found, expected.transpose(0, 3, 1, 2))


@settings(max_examples=40, deadline=None)
@given(
    time_steps=st.integers(1, 6),
    constant=st.booleans(),
    uniform=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_populations(time_steps, constant, uniform, seed):
    """Neurons with parameters of their own, on currents that meet thresholds exactly, in exact arithmetic."""
    rng = np.random.default_rng(seed)
    shape = (1, 2, 2)
    pick = (
        (lambda values: np.full(shape, rng.choice(values))) if uniform else (lambda values: rng.choice(values, shape))
    )
    tau, gain, threshold = pick([1.0, 2.0, 4.0]), pick([1.0, 0.5, 4.0]), pick([0.5, 1.0, 2.0, 5.0])
    lif = nir.LIF(
        tau=(tau.astype(np.float32) * np.float32(DT)),
        r=gain.astype(np.float32),
        v_leak=np.zeros(shape, np.float32),
        v_threshold=threshold.astype(np.float32),
        v_reset=np.zeros(shape, np.float32),
    )
    factors = np.full(time_steps, 0.25) if constant else rng.choice([-0.25, 0.25, 0.5], time_steps)

    def add(builder):
        x = builder.cast("x", "images", np.float32)
        x = builder.add("Transpose", "current", x, perm=[0, 3, 1, 2])
        steps = [builder.add("Mul", f"current.{t}", x, builder.number(f)) for t, f in enumerate(factors)]
        current = steps[0] if constant else builder.add("Concat", "currents", *steps, axis=0)
        fired = add_population(builder, "population", lif, current, constant, time_steps)
        assert len(fired.steps) == time_steps
        return fired.stacked

    pixels = rng.integers(0, 16, (5, 2, 2, 1)).astype(np.uint8)
    found = run_operators(add)(pixels).reshape(time_steps, 5, *shape)
    v = np.zeros((5, *shape))
    for t in range(time_steps):
        v = v + (gain * factors[t] * pixels.transpose(0, 3, 1, 2) - v) / tau
        fired = v > threshold
        np.testing.assert_array_equal(found[t], fired, err_msg=f"step {t}")
        v[fired] = 0


@given(
    groups=st.integers(1, 4),
    out=st.integers(1, 3),
    inner=st.integers(1, 3),
    filled=st.floats(0.2, 1),
    seed=st.integers(0, 2**20),
)
def test_groups(groups, out, inner, filled, seed):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(1, 9, (groups, out, inner, 2, 2)) * (rng.random((groups, out, inner, 1, 1)) < filled)
    dense = np.zeros((groups * out, groups * inner, 2, 2), np.float32)
    for g in range(groups):
        dense[g * out : (g + 1) * out, g * inner : (g + 1) * inner] = blocks[g]
    found = next(divisions(dense), 1)
    weight = diagonal(dense, found)
    assert found >= groups
    assert weight.shape == (len(dense), dense.shape[1] // found, 2, 2)
    step, width = len(dense) // found, dense.shape[1] // found
    back = np.zeros_like(dense)
    for row in range(len(dense)):
        start = row // step * width
        back[row, start : start + width] = weight[row]
    np.testing.assert_array_equal(back, dense)


def test_a_kernel_without_blocks_has_no_groups():
    dense = np.ones((4, 4, 1, 1), np.float32)
    dense[0, 2] = dense[0, 3] = 0  # one zero block of the two beside the diagonal, but for a row
    assert list(divisions(dense)) == []


def pixels_of(rng, channels, size, high):
    return rng.integers(0, high, (3, size, size, channels)).astype(np.uint8)


def run_node(node, size, channels, dtype=np.float32):
    """Runs one node on images as they are, `[N, C, H, W]`."""

    def add(builder):
        x = builder.cast("x", "images", dtype)
        return add_operator(builder, "node", node, builder.add("Transpose", "read", x, perm=[0, 3, 1, 2]), dtype)

    return run_operators(add, size, channels, TensorProto.FLOAT if dtype is np.float32 else TensorProto.DOUBLE)


@pytest.mark.parametrize("seed", range(3))
def test_attention(seed):
    """Sums over positions and channels in integers, written out."""
    rng = np.random.default_rng(seed)
    heads, d, size = 2, 3, 2
    channels = heads * d
    node = SpikingSelfAttention(np.array([3 * channels, size, size]), heads, 0.125)
    spikes = pixels_of(rng, 3 * channels, size, 2)
    found = run_node(node, size, 3 * channels)(spikes)
    x = spikes.transpose(0, 3, 1, 2).reshape(3, 3, heads, d, size * size).astype(int)
    expected = np.zeros((3, channels, size * size))
    for n, h, j, m, i, other in product(range(3), range(heads), range(d), range(4), range(d), range(4)):
        expected[n, h * d + j, m] += 0.125 * x[n, 0, h, i, m] * x[n, 1, h, i, other] * x[n, 2, h, j, other]
    np.testing.assert_array_equal(found, expected.reshape(found.shape))
    assert expected.any()


def windows(x, kernel, stride, padding, fill):
    padded = np.pad(x.astype(float), [(0, 0), (0, 0), (padding, padding), (padding, padding)], constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
    return view[:, :, ::stride, ::stride]


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (4, 1, 3), (5, 5, 0)])
def test_pooling(kernel, stride, padding):
    rng = np.random.default_rng(kernel)
    pixels = pixels_of(rng, 2, 5, 256)
    x = pixels.transpose(0, 3, 1, 2)
    window = [np.array([n, n]) for n in (kernel, stride, padding)]
    shape = np.array([2, 5, 5])
    graph = nir.NIRGraph(
        {"input": nir.Input(shape), "sum": nir.SumPool2d(*window), "output": nir.Output(None)},
        [("input", "sum"), ("sum", "output")],
    )
    sums = windows(x, kernel, stride, padding, 0).sum((-2, -1))
    np.testing.assert_array_equal(run_node(graph.nodes["sum"], 5, 2)(pixels), sums)
    if 2 * padding <= kernel:
        largest = windows(x, kernel, stride, padding, -np.inf).max((-2, -1))
        np.testing.assert_array_equal(run_node(MaxPool2d(shape, *window), 5, 2)(pixels), largest)


def test_a_maximum_at_the_border_of_a_negative_map():
    """Padding takes no part: zeros would win."""
    node = MaxPool2d(np.array([1, 2, 2]), *(np.array([n, n]) for n in (3, 1, 1)))

    def add(builder):
        x = builder.add("Neg", "negative", builder.cast("x", "images", np.float32))
        return add_operator(builder, "node", node, builder.add("Transpose", "r", x, perm=[0, 3, 1, 2]), np.float32)

    assert run_operators(add)(np.full((1, 2, 2, 1), 7, np.uint8)).max() == -7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_readouts_in_the_precision_asked_for(dtype):
    """Sums that need more than 24 bits: float64 keeps them, float32 can't."""
    weight = np.array([[2.0**20, 2.0**-20]], np.float32)
    affine = nir.Affine(weight, np.zeros(1, np.float32))

    def add(builder):
        x = builder.cast("x", "images", dtype)
        flat = add_operator(builder, "flat", nir.Flatten({"input": np.array([2, 1, 1])}, 0, -1), x, dtype)
        return add_operator(builder, "affine", affine, flat, dtype)

    kind = TensorProto.FLOAT if dtype is np.float32 else TensorProto.DOUBLE
    found = run_operators(add, size=1, channels=2, dtype=kind, rank=2)(np.array([[[[3, 1]]]], np.uint8))
    assert found.dtype == dtype
    assert found[0, 0] == (3 * 2.0**20 + 2.0**-20 if dtype is np.float64 else 3 * 2.0**20)
