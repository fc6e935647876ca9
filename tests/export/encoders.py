"""Checkpoints to export: random encoders of the package, and small modules of a user's own."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

import export
from spikeclip.checkpoint import Checkpoint, load
from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder, SpikeClip
from spikeclip.preprocess import Preprocessing

CLASSES = 5


class Custom(nn.Module):
    """A user's own encoder: some layers, and what `spikes` makes of them."""

    def __init__(self, spikes: Callable[[Any, Tensor], Tensor], time_steps: int = 4, **layers: nn.Module) -> None:
        super().__init__()
        self.config = SpikeClipConfig(width=8, depth=1, image_size=8, time_steps=time_steps)
        self._spikes = spikes
        for name, module in layers.items():
            self.add_module(name, module)

    def tokens(self, x: Tensor) -> Tensor:
        return self._spikes(self, x)


def lif(**settings: Any) -> neuron.LIFNode:
    return neuron.LIFNode(**{"tau": 2.0, "v_threshold": 1.0, "v_reset": 0.0, "step_mode": "m", **settings})


def conv(inputs: int, outputs: int, size: int | tuple[int, int] = 3, **settings: Any) -> layer.Conv2d:
    padding = size // 2 if isinstance(size, int) else 0
    return layer.Conv2d(inputs, outputs, size, **{"padding": padding, "bias": False, "step_mode": "m", **settings})


def seeded(encoder):
    """The encoder with convolutions that make its neurons fire, the same in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in encoder.modules():
            if isinstance(module, layer.Conv2d):
                torch.nn.init.uniform_(module.weight, -0.6, 1.0)
    return encoder


def published(seed: int, **sizes: Any) -> Encoder:
    """A random published encoder with statistics as wild as any: gains of both signs, variances up to 20."""
    config = SpikeClipConfig(
        **{
            "architecture": "paper",
            "width": 16,
            "depth": 1,
            "heads": 4,
            "image_size": 16,
            "embedding_width": 8,
            **sizes,
        }
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        encoder = Encoder(config)
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.3, 3).mul_(torch.randn_like(module.weight).sign())
                module.bias.normal_(0.5)
                module.running_mean.normal_(0, 10)
                module.running_var.uniform_(-4, 3).exp_()
    return encoder.eval().requires_grad_(False)


@cache
def prepare_shipped(name: str) -> export.Prepared:
    """A shipped checkpoint, prepared once for all tests of a process."""
    return export.prepare(load(name))


def checkpoint(encoder: nn.Module, channels: int, seed: int = 0, **preprocessing: Any) -> Checkpoint:
    """A checkpoint of `encoder` with a random readout of its `channels`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        readout = nn.Linear(channels, CLASSES)
    model = SpikeClip(encoder, readout, tuple(f"class {i}" for i in range(CLASSES)))
    settings = Preprocessing(image_size=encoder.config.image_size, **preprocessing)
    return Checkpoint(model.requires_grad_(False).eval(), settings)
