"""The neurons of the encoders, SpikingJelly's LIF, and the operations without weights that stand between them."""

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from spikeclip.config import SpikeClipConfig
from spikeclip.text_config import TextEncoderConfig


def lif(config: SpikeClipConfig | TextEncoderConfig, threshold_factor: float = 1.0) -> neuron.LIFNode:
    """`v += (x - v) / tau`; fires at `v >= v_threshold`, then `v = 0`: SpikingJelly's LIF with a hard reset.

    Shapes: float `[T, B, ...]` to spikes of the same shape (multi-step mode).

    Args:
        config: has tau and the threshold.
        threshold_factor: of the configuration's threshold.
    """
    return neuron.LIFNode(
        tau=config.tau,
        decay_input=True,
        v_threshold=threshold_factor * config.v_threshold,
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


class SpikingSelfAttention(nn.Module):
    """`y = scale · Q (Kᵀ V)` per head, for spikes Q, K, V stacked on the channels: self-attention without softmax.

    Since nothing stands between the two products, `Kᵀ V` can come first: d · d sums over the tokens per head of d
    channels, so that the cost is linear in the number of tokens (Zhou et al., arXiv 2209.15425, equation 6). All sums
    count spikes; they are exact in float32 up to 2^24.

    Shapes: spikes `[T, B, 3 D, H, W]`, Q before K before V, each with its heads one after the other, to float
    `[T, B, D, H, W]`.
    """

    def __init__(self, heads: int, scale: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale

    def forward(self, qkv: Tensor) -> Tensor:
        # Counts above 2^8 are no bfloat16; the products are too small for it to pay anyway.
        with torch.autocast(qkv.device.type, enabled=False):
            wide = qkv.to(torch.promote_types(qkv.dtype, torch.float32))
            q, k, v = (x.flatten(3).unflatten(2, (self.heads, -1)) for x in wide.chunk(3, 2))
            # Channels before tokens throughout: (Q (Kᵀ V))ᵀ = (V Kᵀ) Q.
            sums = (v @ k.transpose(-1, -2)) @ q
            return (self.scale * sums).flatten(2, 3).unflatten(-1, qkv.shape[-2:])

    def extra_repr(self) -> str:
        return f"heads={self.heads}, scale={self.scale}"
