"""snnTorch 1.0.0, with nir 1.0.8 and nirtorch 2.6."""

import snntorch as snn
import torch
from snntorch.export_nir import export_to_nir

from writers import inputs, keep, snapped, stepped

# reset_delay=False: NIR resets in the step of the spike; reset_mechanism="zero": NIR has no other.
COMMON = {"reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}


class Chain(torch.nn.Module):
    """A `Sequential` is taken apart by the exporter, recurrent layers in it too; this is not."""

    def __init__(self, *layers):
        super().__init__()
        self.names = [f"n{i}" for i in range(len(layers))]
        for name, layer in zip(self.names, layers, strict=True):
            self.add_module(name, layer)

    def forward(self, x):
        for name in self.names:
            x = getattr(self, name)(x)
        return x


def full(shape, value):
    return torch.full(shape, value)


def leaky(*shape):
    return snn.Leaky(beta=full(shape, 0.5), threshold=full(shape, 0.6001), **COMMON)


def synaptic(size):
    return snn.Synaptic(alpha=full((size,), 0.5), beta=full((size,), 0.75), threshold=full((size,), 0.3001), **COMMON)


def recurrent(size):
    return snn.RLeaky(beta=full((size,), 0.5), threshold=full((size,), 0.7001), linear_features=size, **COMMON)


def recurrent_synaptic(size):
    # With reset_delay=False it raises in its own forward (rsynaptic.py:369).
    settings = {**COMMON, "reset_delay": True, "threshold": full((size,), 0.7001), "linear_features": size}
    return snn.RSynaptic(alpha=full((size,), 0.5), beta=full((size,), 0.75), **settings)


def write(folder):
    def run(name, make, *shape):
        net, frames = snapped(make()), inputs(*shape)
        graph = export_to_nir(net, torch.from_numpy(frames[:1, 0]), ignore_dims=[0])
        stepping = make()
        stepping.load_state_dict(net.state_dict(), strict=False)
        keep(folder, f"snntorch_{name}", graph, frames, stepped(stepping, frames))

    linear, conv = torch.nn.Linear, torch.nn.Conv2d
    run("leaky", lambda: Chain(linear(6, 5), leaky(5), linear(5, 3), synaptic(3)), 6)
    run("recurrent", lambda: Chain(linear(6, 5), recurrent(5), linear(5, 3), leaky(3)), 6)
    run("recurrent_synaptic", lambda: Chain(linear(6, 5), recurrent_synaptic(5), linear(5, 3), leaky(3)), 6)
    run(
        "conv",
        lambda: Chain(
            conv(2, 4, 3, padding=1),
            leaky(4, 6, 6),
            torch.nn.AvgPool2d(2),
            conv(4, 4, 2, groups=2),
            leaky(4, 2, 2),
            torch.nn.Flatten(),
            linear(16, 3, bias=False),
        ),
        2, 6, 6,
    )  # fmt: skip
