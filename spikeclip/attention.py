"""Attention of the two architectures: spike-driven, made for the chip, and the published spiking self-attention.

Every tensor is `[T, B, C, H, W]`; tokens are the positions of the map.
"""

from torch import Tensor, nn

from spikeclip.config import SpikeClipConfig
from spikeclip.layers import ConvNorm, SpikingConv
from spikeclip.neurons import And, SpikingSelfAttention, TokenSum, lif


class SpikeDrivenAttention(nn.Module):
    """`proj(V ∧ LIF(s · Σ_tokens(Q ∧ K)))`: a channel passes V where enough tokens of it agree in Q and K.

    Multiplication-free and linear in the number of tokens (Yao et al., arXiv 2307.01694, equation 9).

    Shapes: float `[T, B, D, H, W]` to float `[T, B, D, H, W]`.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        super().__init__()
        d = config.width
        self.lif = lif(config)
        self.q = SpikingConv(config, d, d, kernel_size=1)
        self.k = SpikingConv(config, d, d, kernel_size=1)
        self.v = SpikingConv(config, d, d, kernel_size=1)
        self.q_and_k = And()
        self.sum = TokenSum(config.attention_scale)
        self.mask = lif(config)
        self.out = And()
        self.proj = ConvNorm(d, d, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        s = self.lif(x)
        mask = self.mask(self.sum(self.q_and_k(self.q(s), self.k(s))))
        return self.proj(self.out(mask, self.v(s)))


class SelfAttention(nn.Module):
    """`proj(LIF(s · Q (Kᵀ V)))` with Q, K, V = LIF(bn(conv(LIF(x)))): the published attention (arXiv 2310.06488).

    Q, K and V are thirds of one population, so that whatever carries them on has one input. The neurons behind the
    products fire at half of the threshold.

    Shapes: float `[T, B, D, H, W]` to float `[T, B, D, H, W]`.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        super().__init__()
        d = config.width
        self.lif = lif(config)
        self.qkv = SpikingConv(config, d, 3 * d, kernel_size=1)
        self.product = SpikingSelfAttention(config.heads, config.attention_scale)
        self.out = lif(config, threshold_factor=0.5)
        self.proj = ConvNorm(d, d, kernel_size=1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.out(self.product(self.qkv(self.lif(x)))))
