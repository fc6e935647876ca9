"""Compiled kernels beside numpy: widths around a vector register, counts, odd numbers of steps, limits."""

import numpy as np
import pytest

from neuromorphic.ops import LoihiLif
from neuromorphic.ops.widths import STATE_LIMIT
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, lif, small_net

kernels = pytest.importorskip("neuromorphic.execution.kernels", reason="the extra `fast` is not installed")

fronts = pytest.importorskip("neuromorphic.execution.fronts", reason="the extra `fast` is not installed")

WIDTHS = (1, 7, 8, 9, 16, 33, 70, 136)
"""Channels, below, at and beyond what registers hold, and so that all blocks of registers occur."""

SLOW = pytest.mark.slow
"""Of types whose kernels nothing else compiles: seconds each."""

EVENTS, CURRENTS = ((0,) * mode for mode in (kernels.EVENTS, kernels.CURRENTS))
NOTHING = (np.zeros(1, np.int32),) * 4


def line(positions):
    """Spans of a kernel with three taps along a line, padded by one."""
    spans = [(max(q - 1, 0), min(q + 2, positions), 1 - q) for q in range(positions)]
    first = np.arange(positions + 1, dtype=np.int32)
    begin, end, offset = (np.array(each, np.int32) for each in zip(*spans, strict=True))
    return first, offset, begin, end


@pytest.mark.parametrize(
    "dtype", [np.int16, np.float32, *(pytest.param(k, marks=SLOW) for k in (np.int32, np.float64))]
)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_a_layer_adds_the_rows_of_spikes_whether_pairs_of_steps_share_sums_or_not(steps, dtype):
    rng = np.random.default_rng(steps)
    for case in range(24):
        channels, outputs = (int(each) for each in rng.choice(WIDTHS, 2))
        positions, most = int(rng.integers(1, 6)), int(rng.integers(1, 4))
        rate = rng.choice([0, 0.1, 0.5, 1])
        x = rng.binomial(most, rate, (2, steps, positions, channels)).astype(np.uint8)
        weight = rng.integers(-8, 8, (3, channels, outputs)).astype(dtype)
        padded = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (1, 1), (0, 0)))
        expected = sum(padded[:, :, tap : tap + positions] @ weight[tap].astype(np.int64) for tap in range(3))
        first, offset, begin, end = line(positions)
        spans = (first, offset * np.int32(channels), begin, end)
        for pairs in {0, steps // 2}:
            y = np.full((2, steps, positions, outputs), 99, dtype)
            kernels.layer((EVENTS, most, pairs, x, weight.reshape(-1, outputs), spans), y)
            np.testing.assert_array_equal(y, expected, err_msg=f"case {case}, pairs {pairs}")


@pytest.mark.parametrize(
    ("reads", "sums"),
    [(np.float32, np.float32), *(pytest.param(*k, marks=SLOW) for k in ((np.int16, np.int32), (np.float64,) * 2))],
)
def test_a_layer_weighs_values_that_are_no_spikes(reads, sums):
    rng = np.random.default_rng(0)
    values, positions = (0,) * kernels.VALUES, 4
    for channels, outputs in [(1, 1), (3, 7), (9, 16), (2, 33), (5, 136)]:
        x = rng.integers(-300, 300, (2, 3, positions, channels)).astype(reads)
        weight = rng.integers(-8, 8, (3, channels, outputs)).astype(sums)
        padded = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (1, 1), (0, 0)))
        expected = sum(padded[:, :, tap : tap + positions] @ weight[tap].astype(np.int64) for tap in range(3))
        first, offset, begin, end = line(positions)
        y = np.full((2, 3, positions, outputs), 99, sums)
        spans = (first, offset * np.int32(channels), begin, end)
        kernels.layer((values, 1, 0, x, weight.reshape(-1, outputs), spans), y)
        np.testing.assert_array_equal(y, expected, err_msg=f"{channels} to {outputs} channels")


@pytest.mark.parametrize("height", [1, 7, 8, 9, 24])
@pytest.mark.parametrize(("dtype", "to"), [(np.float32, np.int32), (np.float32, np.float32), (np.uint8, np.uint8)])
def test_a_transposed_map_has_the_same_numbers(height, dtype, to):
    rng = np.random.default_rng(height)
    for width in WIDTHS:
        x = rng.integers(1 - STATE_LIMIT, STATE_LIMIT, (2, height, width)).astype(dtype)
        y = np.full((2, width, height), 99, to)
        kernels.transpose(x, y)
        np.testing.assert_array_equal(y, x.swapaxes(1, 2), err_msg=f"{width} columns")


@pytest.mark.parametrize("width", WIDTHS)
def test_neurons_of_the_chip_equal_their_definition_and_count_what_saturates(width):
    rng = np.random.default_rng(width)
    steps, decay = 6, 2048
    for scale in (300, 2**17 - 2**8):
        x = rng.integers(-scale, scale // 8, (2, steps, 3, width)).astype(np.int32)
        lif = LoihiLif(
            decay=decay,
            threshold=rng.choice([0, 1, 100, scale // 2, 2**17 - 1], (3, width)).astype(np.int32),
            bias_mantissa=rng.integers(-(2**12), 2**12, (3, width)).astype(np.int32),
            bias_exponent=int(rng.integers(0, 8)),
            drive=rng.integers(-100, 100, (3, width)).astype(np.int32),
        )
        state = lif.at_rest(2, (3, width))
        expected, below = [], 0
        for t in range(steps):
            unclipped = np.trunc(state.v / 2) + 64 * (x[:, t].astype(np.float64) + lif.drive) + lif.bias
            below += np.count_nonzero(unclipped < 1 - STATE_LIMIT)
            expected.append(lif.advance(state, x[:, t].astype(np.float64)))
        kept = np.full((1, width), 0.5, np.float32)
        numbers = (kept, *(each.astype(np.float32) for each in (lif.drive, lif.bias, lif.threshold * 64)))
        spikes, v = np.full((2, steps, 3, width), 9, np.uint8), np.full((2, 3, width), 9, np.float32)
        front = (CURRENTS, 1, 0, x, np.zeros((1, 1), np.int32), NOTHING)
        saturations = kernels.neuron_layer(front, (0,) * kernels.CHIP, numbers, spikes, v, True)
        np.testing.assert_array_equal(spikes, np.stack(expected, 1))
        np.testing.assert_array_equal(v, state.v)
        assert saturations == below
        assert (below > 0) == (scale > 300)


@pytest.mark.parametrize(
    ("sums", "floats"),
    [(np.float32, np.float32), *(pytest.param(np.float64, k, marks=SLOW) for k in (np.float64, np.float32))],
)
@pytest.mark.parametrize("width", WIDTHS)
def test_leaky_neurons_round_after_each_operation_and_fire_strictly_above(width, sums, floats):
    rng = np.random.default_rng(width)
    x = rng.normal(size=(2, 5, 3, width)).astype(sums)
    bias, gain, decay = (rng.uniform(-0.1, 1, (3, width)).astype(floats) for _ in range(3))
    threshold = rng.uniform(0, 1, (3, width)).astype(floats)
    first = ((x[:, 0] + bias) * gain).astype(floats) * decay
    threshold[0, 0] = first[0, 0, 0]  # reached, not passed
    expected_v, fired = np.zeros((2, 3, width), floats), []
    for t in range(5):
        current = ((x[:, t] + bias) * gain).astype(floats)
        after = expected_v + (current - expected_v) * decay
        fired.append(after > threshold)
        expected_v = np.where(after > threshold, floats(0), after)
    assert not fired[0][0, 0, 0]
    spikes, v = np.full((2, 5, 3, width), 9, np.uint8), np.full((2, 3, width), 9, floats)
    front = (CURRENTS, 1, 0, x, np.zeros((1, 1), sums), NOTHING)
    numbers = (bias, gain, decay, threshold)
    kernels.neuron_layer(front, (0,) * kernels.LEAKY, numbers, spikes, v, True)
    np.testing.assert_array_equal(spikes, np.stack(fired, 1))
    np.testing.assert_array_equal(v, expected_v)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_leaky_neurons_step_by_step_equal_numpys_and_forget(dtype):
    steps = pytest.importorskip("neuromorphic.execution.steps")
    rng = np.random.default_rng(0)
    for width in WIDTHS:
        node = from_nir(chain({"a": lif((width,))}, (width,), (width,), time_steps=2)).nodes["a"]
        bias = rng.normal(size=width).astype(np.float32)
        ours, numpys = steps.Leaky(node, bias, 3, dtype), node.operation.neuron_kernel(3, node.shape, dtype)
        for step in range(6):
            if step == 4:
                ours.forget()
                numpys.forget()
            x = rng.normal(1, 2, (3, width)).astype(dtype)
            spikes = ours(x)
            np.testing.assert_array_equal(spikes, numpys(x + bias.astype(dtype)))
            np.testing.assert_array_equal(ours.v, numpys.v)
            assert 0 < spikes.mean() < 1 or width == 1


def test_a_layer_and_its_neurons_step_by_step_equal_their_kernels_apart():
    steps = pytest.importorskip("neuromorphic.execution.steps")
    graph = from_nir(small_net())
    synapses, head = graph.nodes["conv"], graph.nodes["lif"]
    rng = np.random.default_rng(0)
    bias = np.round(rng.normal(size=head.shape) * 16) / 256
    apart, after = steps.layer(synapses, np.float32), steps.Leaky(head, bias, 3, np.float32)
    front = fronts.synapses(synapses, fronts.COUNTS, np.dtype(np.float32))
    together = steps.LeakyLayer(front, synapses.input_shape, head, bias, 3, np.float32)
    for t in range(12):
        if t % 5 == 0:
            together.forget()
            after.forget()
        x = (rng.random((3, *synapses.input_shape)) < 0.4).astype(np.uint8)
        spikes = together(x)
        np.testing.assert_array_equal(spikes, after(apart(x)))
        np.testing.assert_array_equal(together.v, after.v)
        assert 0 < spikes.mean() < 1


def test_neurons_of_another_kind_are_refused_by_name():
    steps = pytest.importorskip("neuromorphic.execution.steps")
    node = from_nir(chain({"a": lif((1,), v_reset=-1.0)}, (1,), (1,), time_steps=2)).nodes["a"]
    with pytest.raises(TypeError, match="node 'a'"):
        steps.Leaky(node, np.zeros(1), 1, np.float32)
    with pytest.raises(TypeError, match="node 'a'"):
        steps.LeakyLayer(fronts.Front.currents(fronts.COUNTS, fronts.COUNTS), (1,), node, np.zeros(1), 1, np.float32)


@pytest.mark.parametrize(("heads", "size"), [(1, 1), (3, 5), (2, 8), (4, 16), (2, 19)])
def test_attention_counts_what_keys_and_values_share_and_queries_ask_for(heads, size):
    rng, positions = np.random.default_rng(size), 6
    x = (rng.random((2, 3, positions, 3 * heads * size)) < 0.4).astype(np.uint8)
    q, k, v = (part.reshape(2, 3, positions, heads, size).astype(int) for part in np.split(x, 3, -1))
    expected = 0.25 * np.einsum("btphi,btrhi,btrhj->btphj", q, k, v)
    for dtype in (np.float32, np.float64):
        y = np.full((2, 3, positions, heads * size), 9, dtype)
        kernels.attention(x, heads, dtype(0.25), y)
        np.testing.assert_array_equal(y, expected.reshape(y.shape))
