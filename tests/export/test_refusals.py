"""What can't be exported is refused by the name of its module, never dropped."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron

import export
from spikeclip.errors import RefusedInput
from spikeclip.neurons import And, SpikingSelfAttention
from tests.export.encoders import Custom, checkpoint, conv, lif


class Square(torch.nn.Module):
    def forward(self, x):
        return x * x


class Drifting(neuron.LIFNode):
    """A user's neuron that inherits from one that is known, and does something else."""

    def multi_step_forward(self, x_seq):
        return super().multi_step_forward(x_seq / 2)


def one(**settings):
    return Custom(lambda m, x: m.last(m.conv(x)), conv=conv(3, 8), last=lif(**settings))


def one_conv(**settings):
    return Custom(lambda m, x: m.last(m.conv(x)), conv=conv(3, 8, **settings), last=lif())


def norm(channels=8, **settings):
    made = layer.BatchNorm2d(channels, step_mode="m", **settings)
    if made.running_var is not None:
        made.running_var.fill_(2.0)
    return made


def pool(size=2, **settings):
    return layer.MaxPool2d(size, step_mode="m", **settings)


def attention(spikes, heads=2, scale=0.125, channels=24):
    """Two branches of `channels` channels to be put before an attention of 8 channels."""
    return Custom(
        spikes,
        c=conv(3, channels),
        d=conv(3, channels),
        a=lif(),
        b=lif(),
        attention=SpikingSelfAttention(heads, scale),
        last=lif(),
    )


def refuse(encoder, *words, channels=8):
    with pytest.raises(RefusedInput) as caught:
        export.prepare(checkpoint(encoder, channels))
    for word in words:
        assert word in str(caught.value)


CASES = {
    "single-step neuron": (one(step_mode="s"), ["'last'", "time steps"]),
    "threshold 0": (one(v_threshold=0.0), ["'encoder.last'", "threshold 0"]),
    "padding with reflections": (one_conv(padding_mode="reflect"), ["'conv'", "pad"]),
    "a subclass of a known neuron": (
        Custom(lambda m, x: m.last(m.conv(x)), conv=conv(3, 8), last=Drifting(step_mode="m")),
        ["Drifting computes something else than LIFNode"],
    ),
    "a layer of torch": (
        Custom(lambda m, x: m.last(m.act(m.conv(x))), conv=conv(3, 8), act=torch.nn.GELU(), last=lif()),
        ["'act'", "aten.gelu"],
    ),
    "a product in a module": (
        Custom(lambda m, x: m.last(m.square(m.conv(x))), conv=conv(3, 8), square=Square(), last=lif()),
        ["'square'", "aten.mul"],
    ),
    "another order of positions": (
        Custom(
            lambda m, x: m.last(m.both(m.a(m.c(x)).flip(3), m.b(m.d(x)))),
            c=conv(3, 8),
            d=conv(3, 8),
            a=lif(),
            b=lif(),
            both=And(),
            last=lif(),
        ),
        ["another order"],
    ),
    "control flow by values": (
        Custom(lambda m, x: m.last(m.conv(x) if x.sum() > 0 else x), conv=conv(3, 8), last=lif()),
        ["traced"],
    ),
    "one neuron for two currents": (
        Custom(lambda m, x: m.last(m.d(m.last(m.c(x)))), c=conv(3, 8), d=conv(8, 8), last=lif()),
        ["'last'", "called twice"],
    ),
    "pooling with a rest": (
        Custom(lambda m, x: m.pool(m.last(m.conv(x))), conv=conv(3, 8), last=lif(), pool=pool(3, ceil_mode=True)),
        ["'pool'", "ceil_mode"],
    ),
    "maximum of currents with gaps": (
        Custom(lambda m, x: m.last(m.pool(m.conv(x))), conv=conv(3, 8), last=lif(), pool=pool(2, dilation=2)),
        ["'pool'", "dilation"],
    ),
    "attention of currents": (attention(lambda m, x: m.last(m.attention(m.c(x)))), ["'attention'", "spikes"]),
    "attention of a sum": (
        attention(lambda m, x: m.last(m.attention(m.a(m.c(x)) + m.b(m.d(x))))),
        ["'attention'", "spikes"],
    ),
    "heads that don't divide the channels": (
        attention(lambda m, x: m.last(m.attention(m.a(m.c(x)))), heads=3),
        ["traced"],
    ),
    "AND of currents": (
        Custom(lambda m, x: m.both(m.last(m.c(x)), m.d(x)), c=conv(3, 8), d=conv(3, 8), both=And(), last=lif()),
        ["'both'"],
    ),
    "normalisation of a shared current": (
        Custom(lambda m, x: m.last((y := m.c(x)) + m.n(y)), c=conv(3, 8), n=norm(), last=lif()),
        ["'encoder.c.weight'", "twice"],
    ),
    "normalisation without statistics": (
        Custom(lambda m, x: m.last(m.n(m.c(x))), c=conv(3, 8), n=norm(track_running_stats=False), last=lif()),
        ["'n'", "statistics"],
    ),
    "no neurons": (Custom(lambda m, x: m.c(x), c=conv(3, 8)), ["no neurons"]),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_by_name(name):
    encoder, words = CASES[name]
    refuse(encoder, *words)


def test_a_readout_of_another_width():
    refuse(one(), "traced", channels=4)


def test_weights_that_are_not_finite():
    encoder = one_conv(bias=True)
    with torch.no_grad():
        encoder.conv.bias[0] = torch.inf
    refuse(encoder, "'conv'", "not finite")


def test_more_steps_than_an_and_can_tell_apart():
    encoder = Custom(
        lambda m, x: m.both(m.a(m.c(x)), m.b(m.d(x))), time_steps=24,
        c=conv(3, 8), d=conv(3, 8), a=lif(), b=lif(), both=And(),
    )  # fmt: skip
    refuse(encoder, "'both'", "24 time steps")


def test_frames_of_another_shape(make_encoder):
    prepared = export.prepare(checkpoint(make_encoder(0), 16))
    with pytest.raises(RefusedInput, match=r"\[2, 3, 8, 8\]"):
        export.record(prepared, np.zeros((2, 3, 8, 8), np.float32))
