"""One neuron of Loihi 2: ours against plain Python integers and Lava's bit-accurate model, u and v at every step.

Lava's `LIFReset` runs here without its runtime: its model's methods are called as its `run_spk` calls them.
"""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import neuromorphic.lava.imports  # noqa: F401  (before any module of Lava)

# isort: split
from lava.proc.lif.models import PyLifResetModelBitAcc

from neuromorphic.lava.stock_limits import LARGEST_CURRENT, largest_current
from neuromorphic.ops import LoihiLif, State
from neuromorphic.ops.loihi import decayed, wrap
from tests.drawn import drawn

LIMIT = 2**23
EDGES = (0, 1, 2, 3, 63, 64, 65, 2**17 - 1, 2**17, 2**17 + 1, 2**18 - 1, 2**18, 2**18 + 1)
DECAYS = st.one_of(st.sampled_from([0, 1, 1024, 2047, 2048, 2049, 3072, 3584, 4094, 4095]), st.integers(0, 4095))


def oracle(v, x, decay, threshold, bias):
    """(u, v before the reset, spike) in Python's integers, which have no width of their own."""
    u = (64 * x) % 2**24
    u -= 2**24 if u > LIMIT else 0
    kept = abs(v) * (4096 - decay) // 4096
    v = (kept if v >= 0 else -kept) + u + bias
    v = max(1 - LIMIT, min(LIMIT - 1, v))
    return u, v, v > 64 * threshold


def charged(u, v, x, neuron, n):
    """(u, v before the reset, v without its width) of neuron n of a population that may filter currents, likewise."""

    def left(value, decay):
        kept = abs(value) * (4096 - decay) // 4096
        return kept if value >= 0 else -kept

    u = left(u, neuron.current_decay) + 64 * (x + int(np.broadcast_to(neuron.drive, 64)[n]))
    u = (u + LIMIT - 1) % (2 * LIMIT) - LIMIT + 1
    exact = left(v, neuron.decay) + u + int(neuron.bias[n])
    return u, max(1 - LIMIT, min(LIMIT - 1, exact)), exact


def lif(decay, threshold, bias=(0, 0), **more):
    thresholds = np.atleast_1d(np.asarray(threshold, np.int32))
    mantissa, exponent = bias
    mantissas = np.broadcast_to(np.asarray(mantissa, np.int32), thresholds.shape)
    return LoihiLif(decay, thresholds, mantissas, exponent, **more)


def lava(neuron):
    """Lava's model of the population, at rest."""
    model = PyLifResetModelBitAcc({"reset_interval": 1, "reset_offset": 0})
    model.u, model.v = (np.zeros(neuron.threshold.shape, np.int32) for _ in range(2))
    model.du, model.dv, model.vth = neuron.current_decay - 1, neuron.decay, neuron.threshold
    model.bias_mant, model.bias_exp = neuron.bias_mantissa.astype(np.int16), np.int16(neuron.bias_exponent)
    model.scale_bias()
    model.scale_threshold()
    return model


def lava_step(model, x):
    model.subthr_dynamics(np.asarray(x, np.int32))
    fired = model.spiking_activation()
    model.reset_voltage(fired)
    return fired


def current(x):
    """`wrap(64 x)`: u, where no current lasts."""
    return wrap(np.array([64.0 * x]))[0]


def signed(edges):
    return st.sampled_from([sign * n for n in edges for sign in (1, -1)])


CURRENTS = st.one_of(signed(EDGES), signed((LARGEST_CURRENT - 1, LARGEST_CURRENT)), st.integers(-(2**24), 2**24))
MEMBRANES = st.one_of(signed((*EDGES, LIMIT - 2, LIMIT - 1)), st.integers(1 - LIMIT, LIMIT - 1))


@drawn(300)
@given(MEMBRANES, CURRENTS, DECAYS, st.integers(0, 2**17 - 1), st.integers(-4096, 4095), st.integers(0, 7))
@example(LIMIT - 1, 2**17, 0, 2**17 - 1, 4095, 7)
@example(1 - LIMIT, -(2**17) - 1, 0, 0, -4096, 7)
def test_a_step_equals_plain_integers(v, x, decay, threshold, mantissa, exponent):
    neuron = lif(decay, threshold, (mantissa, exponent))
    u, charged, spike = oracle(v, x, decay, threshold, mantissa << exponent)
    membranes = np.array([float(v)])
    fired = neuron.advance(State(membranes, np.zeros(1)), np.array([float(x)]))
    assert current(x) == u
    assert fired[0] == spike
    assert membranes[0] == (0 if spike else charged)


@drawn(60)
@given(st.integers(0, 2**32 - 1), DECAYS, st.integers(0, 7), st.sampled_from([2**6, 2**12, 2**17, 2**18 + 2**17 - 1]))
def test_streams_equal_lavas_model_and_the_fast_neurons(seed, decay, exponent, largest):
    """64 neurons each, eight steps: every u, every v, every spike."""
    rng = np.random.default_rng(seed)
    neuron = lif(decay, rng.integers(0, min(2 * largest, 2**17), 64), (rng.integers(-4096, 4096, 64), exponent))
    model = lava(neuron)
    v = np.zeros((1, 64))
    fast = neuron.neuron_kernel(1, (64,), np.float32)
    for _ in range(8):
        x = rng.integers(-largest, largest + 1, (1, 64)).astype(np.float32)
        expected = [oracle(int(m), int(c), decay, int(h), int(b)) for m, c, h, b in _rows(v, x, neuron)]
        fired = neuron.advance(State(v, np.zeros_like(v)), x.astype(np.float64))
        np.testing.assert_array_equal(fired[0], [spike for _, _, spike in expected])
        np.testing.assert_array_equal(v[0], [0 if spike else charged for _, charged, spike in expected])
        np.testing.assert_array_equal(lava_step(model, x[0]), fired[0])
        np.testing.assert_array_equal(model.u, [u for u, _, _ in expected])
        np.testing.assert_array_equal(model.v, v[0])
        np.testing.assert_array_equal(fast(x.copy()), fired)
        np.testing.assert_array_equal(fast.v, v)


SYNAPSES = st.one_of(st.sampled_from([1, 2, 1024, 2048, 3072, 4094, 4095]), st.integers(1, 4095))


@drawn(60)
@given(st.integers(0, 2**32 - 1), DECAYS, SYNAPSES, st.integers(0, 7), st.sampled_from([2**6, 2**12, 2**16, 2**17]))
def test_filtered_currents_equal_lavas_model_and_the_fast_neurons(seed, decay, synapse, exponent, largest):
    """As above, with an u that decays, wraps with what is left of it, and is driven; a spike leaves it as it is."""
    rng = np.random.default_rng(seed)
    drive = rng.integers(-128, 128, 64).astype(np.int32) * 2 ** int(rng.integers(0, 8))
    bias = (rng.integers(-4096, 4096, 64), exponent)
    neuron = lif(decay, rng.integers(0, min(2 * largest, 2**17), 64), bias, current_decay=synapse, drive=drive)
    model = lava(neuron)
    u, v = np.zeros((1, 64)), np.zeros((1, 64))
    fast = neuron.neuron_kernel(1, (64,), np.float32)
    most = min(largest, largest_current(synapse) - 2**14)  # together with the drive
    for _ in range(8):
        x = rng.integers(-most, most + 1, (1, 64)).astype(np.float32)
        before = zip(u[0].tolist(), v[0].tolist(), x[0].tolist(), strict=True)
        expected = [charged(int(i), int(m), int(c), neuron, n) for n, (i, m, c) in enumerate(before)]
        fired = neuron.advance(State(v, u), x.astype(np.float64))
        spikes = [after > 64 * h for (_, after, _), h in zip(expected, neuron.threshold.tolist(), strict=True)]
        np.testing.assert_array_equal(fired[0], spikes)
        np.testing.assert_array_equal(u[0], [current for current, _, _ in expected])
        np.testing.assert_array_equal(
            v[0], [0 if s else after for (_, after, _), s in zip(expected, spikes, strict=True)]
        )
        np.testing.assert_array_equal(lava_step(model, x[0] + drive), fired[0])
        np.testing.assert_array_equal(model.u, u[0])
        np.testing.assert_array_equal(model.v, v[0])
        np.testing.assert_array_equal(fast(x.copy()), fired)
        np.testing.assert_array_equal(fast.v, v)


@drawn(100)
@given(
    st.integers(0, 2**32 - 1),
    st.one_of(DECAYS, st.just(4096)),
    st.sampled_from([1, 2048, 4095, 4096]),
    st.integers(0, 7),
    st.sampled_from([1, 2**6, 2**12, 2**17]),
)
def test_spikes_that_subtract_equal_plain_integers(seed, decay, synapse, exponent, largest):
    """Eight steps: every u, every v, every spike, and how often v left 24 bits, above too; fast neurons likewise."""
    if (decay, synapse) > (4095, 4095):
        synapse = 4096  # without a memory no current outlasts its step
    rng = np.random.default_rng(seed)
    threshold, lowering = (rng.choice([0, 1, 2**17 - 1, *rng.integers(0, 2 * largest, 4)], 64) for _ in range(2))
    threshold, lowering = (np.minimum(n, 2**17 - 1).astype(np.int32) for n in (threshold, lowering))
    bias = (rng.integers(-4096, 4096, 64), exponent)
    neuron = lif(decay, threshold, bias, current_decay=synapse, lowering=lowering)
    fast, state, left = neuron.neuron_kernel(1, (64,), np.float32), State(*np.zeros((2, 1, 64))), 0
    u, v = [0] * 64, [0] * 64
    for _ in range(8):
        x = rng.integers(-largest, largest + 1, (1, 64)).astype(np.float32)
        fired = []
        for n in range(64):
            u[n], v[n], exact = charged(u[n], v[n], int(x[0, n]), neuron, n)
            left += exact != v[n]
            fired.append(v[n] > 64 * int(threshold[n]))
            v[n] -= 64 * int(lowering[n]) * fired[-1]
        assert neuron.advance(state, x.astype(np.float64))[0].tolist() == fired
        assert fast(x.copy())[0].tolist() == fired
        assert state.v[0].tolist() == fast.v[0].tolist() == v
        assert synapse == 4096 or state.i[0].tolist() == u
    assert fast.overflows.saturations == left


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize(("threshold", "lowering"), [(5, 5), (5, 6), (5, 1), (0, 0), (2**17 - 2, 2**17 - 1)])
def test_a_spike_takes_its_lowering_off_once(threshold, lowering, more):
    """At the threshold nothing; 1 of v above it the lowering, though v may be negative then, or above it still."""
    neuron = lif(0, threshold, (more, 0), lowering=np.array([lowering], np.int32))
    v = np.zeros(1)
    fired = neuron.advance(State(v, np.zeros(1)), np.array([float(threshold)]))
    assert (fired[0], v[0]) == (more > 0, 64 * threshold + more - 64 * lowering * (more > 0))


@pytest.mark.parametrize("synapse", [1, 2048, 4095, 4096])
def test_the_largest_current_is_where_lava_still_wraps_rightly(synapse):
    """With u at 2^23 before, or as little below it as no decay takes: one more than the largest leaves 24 bits."""
    for more in (0, 1):
        model = lava(lif(2048, 2**17 - 1, current_decay=synapse))
        model.u[:] = LIMIT
        left = LIMIT * (4096 - synapse) // 4096
        x = (3 * LIMIT - left) // 64 - 1 + more
        lava_step(model, [x])
        assert (model.u[0] < LIMIT) == (not more)
        assert x - more >= largest_current(synapse)


def _rows(v, x, neuron):
    return zip(v[0].tolist(), x[0].tolist(), neuron.threshold.tolist(), neuron.bias.tolist(), strict=True)


@pytest.mark.parametrize(("above", "spikes"), [(1, True), (0, False), (-1, False)])
@pytest.mark.parametrize("v", [64, 2048, 64 * (2**17 - 1)])
def test_a_neuron_fires_above_its_threshold_and_not_at_it(v, above, spikes):
    """v - 1, v and v + 1 for the threshold, in the units of v: the membrane moves by the bias, which has no 6 bits."""
    neuron = lif(4095, v // 64, (above, 0))
    membranes = np.zeros(1)
    fired = neuron.advance(State(membranes, np.zeros(1)), np.array([v / 64]))
    assert (fired[0], membranes[0]) == (spikes, 0 if spikes else v + above)
    model = lava(neuron)
    assert lava_step(model, [v // 64])[0] == spikes
    assert model.v[0] == membranes[0]


@pytest.mark.parametrize(
    ("x", "u"),
    [
        (2**17 - 1, LIMIT - 64),
        (2**17, LIMIT),  # 2^23 stays, though 24 bits of two's complement end one below it
        (2**17 + 1, 64 - LIMIT),
        (-(2**17) + 1, 64 - LIMIT),
        (-(2**17), LIMIT),
        (-(2**17) - 1, LIMIT - 64),
        (2**18, 0),
        (-(2**18), 0),
        (LARGEST_CURRENT, LIMIT - 64),
        (-LARGEST_CURRENT, 64 - LIMIT),
    ],
)
def test_currents_wrap(x, u):
    model = lava(lif(2048, 2**17 - 1))
    lava_step(model, [x])
    assert model.u[0] == u
    assert current(x) == u


def test_beyond_the_largest_current_lava_leaves_its_24_bits():
    """Its u is wrapped by 2^24 once; ours as often as it takes.  Stock neurons refuse such a current by name."""
    model = lava(lif(2048, 2**17 - 1))
    lava_step(model, [LARGEST_CURRENT + 2])
    assert model.u[0] == LIMIT + 64
    assert current(LARGEST_CURRENT + 2) == 64 - LIMIT


@pytest.mark.parametrize("sign", [1, -1])
def test_membranes_saturate(sign):
    """A membrane that keeps everything, driven twice; the most that it holds is above the highest threshold."""
    neuron = lif(0, 2**17 - 1)
    model, v = lava(neuron), np.zeros(1)
    x = sign * (2**17 - 2)
    for expected in (sign * (LIMIT - 128), 0 if sign > 0 else 1 - LIMIT):
        fired = neuron.advance(State(v, np.zeros(1)), np.array([float(x)]))
        assert lava_step(model, [x])[0] == fired[0] == (expected == 0)
        assert v[0] == model.v[0] == expected


@pytest.mark.parametrize(
    ("v", "decay", "kept"),
    [
        (7, 2048, 3),
        (-7, 2048, -3),
        (1, 2048, 0),
        (-1, 2048, 0),
        (-1, 0, -1),
        (-1, 1, 0),
        (5, 1024, 3),
        (-5, 1024, -3),
        (LIMIT - 1, 2048, 2**22 - 1),
        (1 - LIMIT, 2048, 1 - 2**22),
        (LIMIT - 1, 4095, 2047),
        (1 - LIMIT, 4095, -2047),
    ],
)
def test_decay_rounds_toward_zero(v, decay, kept):
    assert decayed(np.array([float(v)]), decay)[0] == kept
    model = lava(lif(decay, 2**17 - 1))
    model.v[:] = v
    lava_step(model, [0])
    assert model.v[0] == kept
