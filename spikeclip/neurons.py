"""The neurons of the encoder: SpikingJelly's LIF, and the two stateless operations that become neurons on a chip."""

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from spikeclip.config import SpikeClipConfig


def lif(config: SpikeClipConfig) -> neuron.LIFNode:
    """`v += (x - v) / tau`; fires at `v >= v_threshold`, then `v = 0`: SpikingJelly's LIF with a hard reset.

    Shapes: float `[T, B, ...]` to spikes of the same shape (multi-step mode).
    """
    return neuron.LIFNode(
        tau=config.tau,
        decay_input=True,
        v_threshold=config.v_threshold,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        step_mode="m",
    )


class And(nn.Module):
    """`a ∧ b = a · b` of two spike trains.

    On a chip it is a neuron that both spikes together drive over its threshold (`export.lower`). The product is the
    same function on {0, 1}, and its derivative is the one to train with.

    Shapes: spikes `[T, B, C, H, W]` twice, or one of them `[T, B, C, 1, 1]`, to `[T, B, C, H, W]`.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


class TokenSum(nn.Module):
    """`scale · Σ_tokens x`: the current that a channel's tokens send to one neuron together.

    Shapes: spikes `[T, B, C, H, W]` to float `[T, B, C, 1, 1]`.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((-2, -1), keepdim=True) * self.scale

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class SpikeRate(nn.Module):
    """`mean over time and tokens`: what the readout sees of the last spikes.

    Shapes: spikes `[T, B, C, H, W]` to float `[B, C]`.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.mean(x, dim=(0, 3, 4))
