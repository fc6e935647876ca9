from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import export
from export.integer import integer_model, record_batches, record_integer
from export.integer_layers import IntegerConv, IntegerLif
from neuromorphic.execution import reference
from neuromorphic.loihi2.quantise import quantise
from neuromorphic.ops import LoihiLif
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.frames import encode
from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder
from spikeclip.errors import RefusedInput
from tests.drawn import drawn
from tests.export.encoders import checkpoint, prepare_shipped, published
from tests.export.integers import by_hand, parameters


def spike_driven(seed):
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        encoder = Encoder(SpikeClipConfig(width=16, depth=1, image_size=16, embedding_width=8))
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.3, 3)
                module.bias.normal_(1)
                module.running_var.uniform_(-3, 1).exp_()
    return encoder.eval().requires_grad_(False)


@cache
def prepare(architecture, seed=0):
    return export.prepare(checkpoint({"spike-driven": spike_driven, "paper": published}[architecture](seed), 16))


def frames(n, seed=0, size=16):
    shape = (3, size, size)
    extremes = np.stack([np.full(shape, -128), np.full(shape, 127), np.indices(shape).sum(0) % 2 * 255 - 128])
    random = np.random.default_rng(seed).integers(-128, 128, (n, *shape))
    return np.concatenate([random, extremes]).astype(np.float32)


def assert_equal(model, graph, x):
    found, trace = record_integer(model, x, batch=4), reference.run(graph, x)
    assert set(found.spikes) == set(found.membranes) == set(trace.spikes)
    for name, train in trace.spikes.items():
        assert found.spikes[name].shape == train.shape
        np.testing.assert_array_equal(found.spikes[name].bits, train.bits, err_msg=name)
        assert found.membranes[name].dtype == np.int32
        np.testing.assert_array_equal(found.membranes[name], trace.membranes[name], err_msg=name)
    np.testing.assert_array_equal(found.outputs, trace.outputs)
    return trace


@pytest.mark.parametrize("exponent", [4, 10])
@pytest.mark.parametrize("architecture", ["spike-driven", "paper"])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_equals_the_reference_in_every_spike_membrane_and_output(architecture, exponent, seed):
    prepared, x = prepare(architecture, seed), frames(3, seed)
    graph = by_hand(from_nir(prepared.graph), exponent)
    model = integer_model(prepared, parameters(graph))
    largest = []
    for lif in model.populations.values():
        lif.register_forward_pre_hook(lambda _, inputs: largest.append(int(inputs[0].abs().max())))
    trace = assert_equal(model, graph, x)
    assert (max(largest) > 2**17) == (exponent == 10)  # where currents wrap
    assert all(train.count() for train in trace.spikes.values())


def test_a_quantised_encoder_equals_the_reference():
    prepared, pixels = prepare("spike-driven"), np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3))
    graph, _ = quantise(from_nir(prepared.graph), prepared.encode(pixels[:2].astype(np.uint8)))
    assert_equal(integer_model(prepared, parameters(graph)), graph, encode(graph, pixels.astype(np.uint8)))


def test_the_shipped_encoder_equals_the_reference():
    prepared = prepare_shipped("spike-driven-small")
    graph = by_hand(from_nir(prepared.graph))
    assert_equal(integer_model(prepared, parameters(graph)), graph, frames(0, size=32))


def test_batches_change_nothing():
    prepared, x = prepare("spike-driven"), frames(3)
    model = integer_model(prepared, parameters(by_hand(from_nir(prepared.graph))))
    whole = record_integer(model, x, batch=6)
    for images, part in record_batches(model, x, batch=4):
        np.testing.assert_array_equal(part.outputs, whole.outputs[images])
        for name in whole.spikes:
            np.testing.assert_array_equal(part.spikes[name].bits, whole.spikes[name].bits[images])
            np.testing.assert_array_equal(part.membranes[name], whole.membranes[name][images])
    assert images == slice(4, 6)


@drawn(100)
@given(
    decay=st.integers(0, 4095) | st.sampled_from([4096 - 2**k for k in range(13)]),
    threshold=st.integers(0, 2**17 - 1),
    mantissa=st.integers(-(2**12), 2**12 - 1),
    exponent=st.integers(0, 7),
    stream=st.lists(
        st.one_of(st.integers(-(2**29), 2**29), st.integers(-3, 3), st.sampled_from([2**17, -(2**17), 2**17 + 1])),
        min_size=1,
        max_size=8,
    ),
)
def test_its_neuron_is_that_of_the_arithmetic(decay, threshold, mantissa, exponent, stream):
    one = (1, 1, 1)
    operation = LoihiLif(decay, *(np.full(one, n, np.int32) for n in (threshold, mantissa)), exponent)
    lif, state = IntegerLif(vars(operation)), operation.at_rest(1, one)
    spikes = lif(torch.tensor(stream, dtype=torch.int32).reshape(-1, 1, *one))
    for x, fired in zip(stream, spikes.numpy(), strict=True):
        expected = operation.advance(state, np.full((1, *one), x, np.float64))
        np.testing.assert_array_equal(fired, expected)
    np.testing.assert_array_equal(lif.membranes.numpy(), state.v)


def conv_node(weight):
    still = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    return {"weight": weight, "bias": np.zeros(len(weight)), **still}


def test_sums_beyond_24_bits_are_exact():
    rng = np.random.default_rng(0)
    weight = rng.integers(-(2**14), 2**14, (4, 32, 3, 3)) | 1
    x = rng.integers(-128, 128, (1, 2, 32, 5, 5))
    conv = IntegerConv("conv", conv_node(weight), 128)
    padded = np.pad(x[0], ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    expected = np.einsum("bchwij,ocij->bohw", windows, weight)
    assert np.abs(expected).max() > 2**24
    np.testing.assert_array_equal(conv(torch.tensor(x, dtype=torch.float32)).numpy()[0], expected)
    assert np.abs(expected).max() <= conv.bound


def test_a_weight_exponent_costs_no_precision():
    weight = np.full((1, 4000, 3, 3), 127.0)
    assert IntegerConv("conv", conv_node(weight * 2**7)).weight.dtype == torch.float32
    assert IntegerConv("conv", conv_node(weight * 2**7 + 1)).weight.dtype == torch.float64


CONV, LIF = "stem.layers.1.synapse.conv", "stem.layers.1.lif"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda p: p.pop(CONV), f"module '{CONV}' has no node in the integer graph"),
        (lambda p: p.pop(LIF), f"module '{LIF}' has no node"),
        (lambda p: p.update(more=p[CONV]), "node 'more' of the integer graph stands for no module"),
        (lambda p: p[CONV].update(weight=p[CONV]["weight"] + 0.5), f"node '{CONV}' has weights that are no integers"),
        (lambda p: p[CONV].update(bias=p[CONV]["bias"] + 1), f"node '{CONV}' has .* a bias"),
        (lambda p: p[CONV].update(weight=p[CONV]["weight"] * 2**20), "currents reach .* together"),
        (
            lambda p: p["block.0.attn.out"].update(sources=(LIF,)),
            "node 'block.0.attn.out' of the integer graph doesn't read 'block.0.attn.mask'",
        ),
    ],
)
def test_an_integer_graph_of_another_encoder_is_refused(change, sentence):
    prepared = prepare("spike-driven")
    integers = parameters(by_hand(from_nir(prepared.graph)))
    change(integers)
    with pytest.raises(RefusedInput, match=sentence):
        integer_model(prepared, integers)


def test_attention_by_a_fraction_is_refused():
    prepared = prepare("paper")
    integers = parameters(by_hand(from_nir(prepared.graph)))
    integers["block.0.attn.product"]["scale"] = 0.5
    with pytest.raises(RefusedInput, match=r"node 'block.0.attn.product' scales by 0.5; expected an integer"):
        integer_model(prepared, integers)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x[:, :2], r"the shape \[4, 2, 16, 16\]; expected \[N, 3, 16, 16\]"),
        (lambda x: x[:0], "at least one"),
        (lambda x: x / 2, "frames 2 to 3: expected integers of -128 to 127"),
        (lambda x: -x, "frames 2 to 3: expected integers of -128 to 127"),
    ],
)
def test_other_frames_are_refused(change, sentence):
    prepared = prepare("spike-driven")
    model = integer_model(prepared, parameters(by_hand(from_nir(prepared.graph))))
    x = np.zeros((4, 3, 16, 16), np.float32)
    x[2] = -128
    x[3] = 1
    with pytest.raises(RefusedInput, match=sentence):
        record_integer(model, change(x), batch=2)
