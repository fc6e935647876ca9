"""Small networks of SpikingJelly's blocks, and how images become their frames."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.zoo import stand_ins

stand_ins.install()
from spikingjelly.activation_based import functional, layer, neuron, surrogate  # noqa: E402
from spikingjelly.activation_based.model.qkformer import QKFormer as ZooQKFormer  # noqa: E402
from spikingjelly.activation_based.model.sew_resnet import BasicBlock  # noqa: E402
from spikingjelly.activation_based.model.spikformer import SpikformerBlock, SpikformerConv2dBNLIF  # noqa: E402

TIME_STEPS = 4
LEVELS = 64
"""Pixels between two whole numbers of a frame, which is a multiple of 1/64 for the proof's sake."""

NEURON: dict[str, Any] = {
    "tau": 2.0,
    "decay_input": False,
    "detach_reset": True,
    "surrogate_function": surrogate.ATan(),
}


def frames(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`(pixel - 128) / 64`: uint8 `[N, H, W, 3]` as float32 `[N, 3, H, W]`, from -2 to 127 / 64."""
    return ((pixels.transpose(0, 3, 1, 2).astype(np.float32) - 128) / LEVELS).astype(np.float32)


class SEWResNet(nn.Module):
    """A spike-element-wise ResNet (Fang et al. 2021) of SpikingJelly's blocks, which add spikes to spikes.

    A 3×3 convolution of stride 2 and a max-pool of its spikes, then one block per width at half the resolution each,
    and a matrix at the global average.  `[B, 3, 32, 32]` becomes the mean of 10 scores over `steps` time steps.
    """

    def __init__(self, steps: int = TIME_STEPS, widths: tuple[int, ...] = (32, 64, 128, 256)) -> None:
        super().__init__()
        self.steps = steps
        self.stem = nn.Sequential(
            layer.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False),
            layer.BatchNorm2d(widths[0]),
            neuron.LIFNode(**NEURON),
            layer.MaxPool2d(2),
        )
        pairs = zip((widths[0], *widths), widths, strict=False)
        self.blocks = nn.Sequential(*(_block(before, width) for before, width in pairs))
        self.average, self.head = layer.AdaptiveAvgPool2d((1, 1)), layer.Linear(widths[-1], 10)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.stem(x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)))
        scores: Tensor = self.head(self.average(y).flatten(2)).mean(0)
        return scores


def _block(before: int, width: int) -> nn.Module:
    shortcut, stride = None, 1
    if before != width:
        stride = 2
        shortcut = nn.Sequential(
            layer.Conv2d(before, width, 1, stride=stride, bias=False),
            layer.BatchNorm2d(width),
            neuron.LIFNode(**NEURON),
        )
    made: nn.Module = BasicBlock(before, width, stride, shortcut, cnf="ADD", spiking_neuron=neuron.LIFNode, **NEURON)
    return made


class Spikformer(nn.Module):
    """A Spikformer (Zhou et al. 2023) of SpikingJelly's blocks: self-attention of spikes without a softmax.

    Two convolutions, with a max-pool of the first's currents, make 8×8 tokens, a third convolution their positions.
    `[B, 3, 32, 32]` becomes the mean of 10 scores over `steps` time steps.
    """

    def __init__(self, steps: int = TIME_STEPS, width: int = 48, heads: int = 4) -> None:
        super().__init__()
        self.steps = steps
        self.stem = nn.Sequential(
            SpikformerConv2dBNLIF(3, width // 2, 3, stride=2, padding=1, pool=True, **NEURON),
            SpikformerConv2dBNLIF(width // 2, width, 3, padding=1, **NEURON),
        )
        self.position = SpikformerConv2dBNLIF(width, width, 3, padding=1, **NEURON)
        self.block = SpikformerBlock(width, heads, mlp_ratio=2, **NEURON)
        self.head = layer.Linear(width, 10)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1))
        y = self.block(y + self.position(y))
        scores: Tensor = self.head(y.flatten(3).mean(3)).mean(0)
        return scores


class QKFormer(nn.Module):
    """SpikingJelly's QKFormer (Zhou et al. 2024), narrow: two stages of Q-K token attention and one of self-attention.

    `[B, 3, 32, 32]` becomes the mean of 10 scores over `steps` time steps.
    """

    def __init__(self, steps: int = TIME_STEPS, width: int = 64, heads: int = 2) -> None:
        super().__init__()
        self.steps = steps
        sizes = {"embed_dims": width, "num_heads": (heads,) * 3, "depths": (1, 1, 1)}
        self.net = ZooQKFormer(num_classes=10, **sizes, **NEURON)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1))
        return scores


NETWORKS: dict[str, Callable[[], nn.Module]] = {"sew": SEWResNet, "spikformer": Spikformer, "qkformer": QKFormer}

torch.set_num_threads(1)
