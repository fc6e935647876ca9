"""The reference executor against hand-worked membranes and against loops written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import per_step, run
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, conv, one_neuron, small_net


def test_one_neuron_by_hand():
    # v: 0.75, (0.75 + 1.5)/2 = 1.125 > 1 -> spike and reset, 0.75, 1.125 -> spike
    trace = run(from_nir(one_neuron()), np.array([[1.5]], np.float32))
    assert trace.spikes["lif"].unpack().ravel().tolist() == [False, True, False, True]
    assert trace.outputs.ravel().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(("threshold", "fires"), [(np.nextafter(np.float32(1), np.float32(0)), True), (1.0, False)])
def test_a_neuron_fires_strictly_above_its_threshold(threshold, fires):
    trace = run(from_nir(one_neuron(threshold)), np.array([[[2.0], [0.0], [0.0], [0.0]]], np.float32))
    assert bool(trace.spikes["lif"].unpack()[0, 0, 0]) is fires


def test_a_spike_resets_to_zero_and_images_start_from_rest():
    frames = np.array([[[9.0], [0.0], [0.0], [0.0]], [[1.9], [0.0], [0.0], [0.0]]], np.float32)
    spikes = run(from_nir(one_neuron()), frames).spikes["lif"].unpack()[..., 0]
    assert spikes.tolist() == [[True, False, False, False], [False] * 4]


def test_fan_in_sums_and_each_source_counts():
    graph = chain(
        {"c": conv(np.ones((1, 1, 1, 1)), hw=(1, 1)), "d": conv(2 * np.ones((1, 1, 1, 1)), hw=(1, 1))},
        (1, 1, 1),
        (1, 1, 1),
    )
    graph.edges.append(("c", "output"))  # output = c + d(c) = x + 2 x
    assert run(from_nir(graph), np.full((1, 1, 1, 1), 5.0, np.float32)).outputs.ravel().tolist() == [15.0] * 4


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(1, 2),
    st.integers(0, 2**32 - 1),
)
def test_convolution_equals_loops(inputs, kernel, stride, padding, groups, seed):
    rng = np.random.default_rng(seed)
    size = kernel + 3
    weight = np.zeros((2 * groups, inputs * groups, kernel, kernel))
    for g in range(groups):
        weight[2 * g : 2 * g + 2, inputs * g : inputs * (g + 1)] = rng.integers(1, 9, (2, inputs, kernel, kernel))
    bias = rng.integers(-4, 5, 2 * groups)
    x = rng.integers(-8, 9, (1, inputs * groups, size, size)).astype(np.float32)
    out = (size + 2 * padding - kernel) // stride + 1
    expected = np.zeros((2 * groups, out, out))
    for o, i, j in np.ndindex(expected.shape):
        total = bias[o]
        for c, m, n in np.ndindex(weight.shape[1:]):
            row, column = i * stride + m - padding, j * stride + n - padding
            if 0 <= row < size and 0 <= column < size:
                total += weight[o, c, m, n] * x[0, c, row, column]
        expected[o, i, j] = total
    node = conv(weight, bias, stride, padding, (size, size))
    graph = from_nir(chain({"c": node}, x.shape[1:], expected.shape, time_steps=1))
    np.testing.assert_array_equal(run(graph, x).outputs[0, 0], expected)


def test_sum_pooling_with_padding_by_hand():
    import nir

    pool = nir.SumPool2d(np.array([3, 3]), np.array([2, 2]), np.array([1, 1]))
    graph = from_nir(chain({"p": pool}, (1, 4, 4), (1, 2, 2), time_steps=1))
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert run(graph, x).outputs[0, 0, 0].tolist() == [
        [0 + 1 + 4 + 5, 1 + 2 + 3 + 5 + 6 + 7],
        [4 + 5 + 8 + 9 + 12 + 13, 90],
    ]


def test_images_side_by_side_equal_images_alone():
    graph = from_nir(small_net())
    frames = np.random.default_rng(1).normal(size=(5, 2, 6, 6)).astype(np.float32)
    together = run(graph, frames)
    for i in range(5):
        alone = run(graph, frames[i : i + 1])
        np.testing.assert_array_equal(alone.outputs[0], together.outputs[i])
        for name, train in alone.spikes.items():
            np.testing.assert_array_equal(train.bits[0], together.spikes[name].bits[i])
    assert sum(train.count() for train in together.spikes.values()) > 0


@pytest.mark.parametrize(
    ("frames", "steps", "word"),
    [
        (np.zeros((1, 3, 6, 6), np.float32), None, "shape"),
        (np.full((1, 2, 6, 6), np.nan, np.float32), None, "finite"),
        (np.zeros((0, 2, 6, 6), np.float32), None, "nothing to run on"),
        (np.zeros((1, 3, 2, 6, 6), np.float32), None, "3 time steps"),
        (np.zeros((1, 2, 6, 6), np.float32), 3, "3 time steps"),
    ],
)
def test_frames_that_do_not_fit_are_refused(frames, steps, word):
    with pytest.raises(RefusedInput, match=word):
        per_step(from_nir(small_net()), frames, steps)


def test_unknown_time_steps_are_asked_for():
    nir_graph = small_net()
    nir_graph.metadata = {}
    graph = from_nir(nir_graph)
    with pytest.raises(RefusedInput, match="time steps"):
        run(graph, np.zeros((1, 2, 6, 6), np.float32))
    assert run(graph, np.zeros((1, 2, 6, 6), np.float32), time_steps=3).time_steps == 3
