"""Encoders of many kinds, exported once each: the reference and ONNX Runtime equal the snapped torch model.

In every spike and every output: the graph as the reference executes it, and the ONNX model with and without ONNX
Runtime's optimisations.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.activation_based import layer

import export
from export.onnx.model import build
from spikeclip.neurons import And, SpikingSelfAttention, TokenSum
from tests.drawn import drawn
from tests.export import onnx_runs, parity
from tests.export.encoders import Custom, checkpoint, conv, lif, published, seeded


def assert_equals_torch(prepared, n=2, seed=0):
    trace = parity.assert_equal(prepared, n, seed)
    model, pixels = build(prepared, spikes=True), parity.images(prepared, n, seed)
    for optimised in (True, False):
        onnx_runs.assert_equal(prepared, model, pixels, trace, optimised)
    return trace


@drawn(3)
@given(
    width=st.sampled_from([8, 16, 24]),
    depth=st.integers(1, 2),
    time_steps=st.integers(1, 6),
    image_size=st.sampled_from([4, 8, 12, 16]),
    tau=st.sampled_from([2.0, 4.0]),
    threshold=st.sampled_from([0.5, 1.0, 1.3]),
    scale=st.sampled_from([0.125, 0.5, 1.0]),
    pools=st.sampled_from([(1, 2), (2, 3), (2, 4), (3, 4)]),
    stem=st.sampled_from([(), (3, 6, 9, 7)]),
    seed=st.integers(0, 10_000),
)
def test_random_encoders(make_encoder, width, depth, time_steps, image_size, tau, threshold, scale, pools, stem, seed):
    encoder = make_encoder(
        seed, width=width, depth=depth, time_steps=time_steps, image_size=image_size,
        tau=tau, v_threshold=threshold, attention_scale=scale,
        stem_pools=pools, stem_channels=stem,
    )  # fmt: skip
    prepared = export.prepare(checkpoint(encoder, width, seed))
    if tau == 2:  # with tau 4 and many steps, membranes can need more than 24 bits: then nothing is claimed
        assert prepared.certificate.exact, prepared.certificate.unproven
    if prepared.certificate.exact:
        assert_equals_torch(prepared, seed=seed)


@drawn(3)
@given(
    heads=st.integers(1, 4),
    channels=st.sampled_from([2, 5, 8]),
    depth=st.integers(1, 3),
    time_steps=st.integers(1, 6),
    image_size=st.sampled_from([4, 8, 12, 16]),
    mlp_ratio=st.sampled_from([1, 2.5, 4]),
    threshold=st.sampled_from([0.5, 1.0, 1.3]),
    seed=st.integers(0, 10_000),
)
def test_random_published_encoders(heads, channels, depth, time_steps, image_size, mlp_ratio, threshold, seed):
    width = heads * max(channels, -(-8 // heads))
    encoder = published(
        seed, width=width, heads=heads, depth=depth, time_steps=time_steps, image_size=image_size,
        mlp_ratio=mlp_ratio, v_threshold=threshold,
    )  # fmt: skip
    prepared = export.prepare(checkpoint(encoder, width, seed))
    # Where all weights of the first layer are small, their 8 bits and those of the pixels are too many.
    assert set(prepared.certificate.unproven) <= {"stem.layers.0.lif"}
    if prepared.certificate.exact:
        assert_equals_torch(prepared, seed=seed)


@pytest.mark.parametrize("sizes", [{}, {"architecture": "paper", "heads": 2}], ids=["spike-driven", "paper"])
def test_populations_of_a_random_encoder_fire(make_encoder, sizes):
    trace = assert_equals_torch(export.prepare(checkpoint(make_encoder(3, depth=2, **sizes), 16)), n=6)
    silent = [name for name, train in trace.spikes.items() if not train.count()]
    assert len(silent) < 4, silent  # the comparison above would be empty otherwise


VARIANTS = {
    "input that doesn't decay": Custom(
        lambda m, x: m.b(m.c2(m.a(m.c1(x)))), c1=conv(3, 8), a=lif(decay_input=False), c2=conv(8, 8), b=lif(tau=4.0)
    ),
    "grouped convolution": Custom(
        lambda m, x: m.b(m.c2(m.a(m.c1(x)))), c1=conv(3, 8, stride=2), a=lif(), c2=conv(8, 8, groups=4), b=lif()
    ),
    "three branches into one population": Custom(
        lambda m, x: m.b(m.c1(x) + m.c2(m.a(m.c1b(x))) + m.c3(x)),
        c1=conv(3, 8),
        c1b=conv(3, 4),
        a=lif(),
        c2=conv(4, 8, bias=True),
        c3=conv(3, 8, 1),
        b=lif(),
    ),
    "pooling without padding, dilation": Custom(
        lambda m, x: m.b(m.c2(m.pool(m.a(m.c1(x))))),
        c1=conv(3, 8),
        a=lif(),
        pool=layer.MaxPool2d(2, step_mode="m"),
        c2=conv(8, 8, dilation=2),
        b=lif(),
    ),
    "normalisation of a convolution with bias": Custom(
        lambda m, x: m.b(m.nothing(m.n(m.c1(x)))),
        c1=conv(3, 8, bias=True),
        n=layer.BatchNorm2d(8, step_mode="m"),
        nothing=torch.nn.Identity(),
        b=lif(),
    ),
    "a mask from a scaled token sum": Custom(
        lambda m, x: m.both(m.mask(m.sum(m.a(m.c1(x)))), m.b(m.c2(x))),
        c1=conv(3, 8),
        a=lif(),
        c2=conv(3, 8),
        b=lif(),
        sum=TokenSum(0.3),
        mask=lif(),
        both=And(),
    ),
    "maximum of the sum of two currents": Custom(
        lambda m, x: m.b(m.pool(m.c1(x) + m.c2(m.a(m.c1b(x))))),
        c1=conv(3, 8, bias=True),
        c1b=conv(3, 4),
        a=lif(),
        c2=conv(4, 8, bias=True),
        pool=layer.MaxPool2d(3, stride=2, padding=1, step_mode="m"),
        b=lif(),
    ),
    "maximum of a maximum, beside a current": Custom(
        lambda m, x: m.b(m.pool2(m.pool(m.c1(x))) + m.c2(x)),
        c1=conv(3, 8),
        c2=conv(3, 8, 2, stride=4, padding=0),
        pool=layer.MaxPool2d(2, step_mode="m"),
        pool2=layer.MaxPool2d(2, step_mode="m"),
        b=lif(),
    ),
    "maximum of two spike trains summed": Custom(
        lambda m, x: m.d(m.c3(m.e(m.pool(m.a(m.c1(x)) + m.b(m.c2(x)))))),
        c1=conv(3, 8),
        a=lif(),
        c2=conv(3, 8),
        b=lif(),
        pool=layer.MaxPool2d(2, step_mode="m"),
        e=lif(),
        c3=conv(8, 8),
        d=lif(),
    ),
    "attention beside a current": Custom(
        lambda m, x: m.b(m.attention(m.a(m.c1(x))) + m.c2(x)),
        c1=conv(3, 24, bias=True),
        a=lif(),
        attention=SpikingSelfAttention(heads=2, scale=2.0**-9),
        c2=conv(3, 8, bias=True),
        b=lif(),
    ),
    "spikes summed before a convolution": Custom(
        lambda m, x: m.d(m.c3(m.a(m.c1(x)) + m.b(m.c2(x)))),
        c1=conv(3, 8),
        a=lif(),
        c2=conv(3, 8),
        b=lif(),
        c3=conv(8, 8),
        d=lif(),
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_encoders_of_a_users_own(name):
    prepared = export.prepare(checkpoint(seeded(VARIANTS[name]), 8))
    assert prepared.certificate.exact
    trace = assert_equals_torch(prepared)
    assert all(train.count() for train in trace.spikes.values())
