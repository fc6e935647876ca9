"""Layers of both encoder architectures: convolutions with batch normalisation, with neurons, and the MLP.

Every tensor is `[T, B, C, H, W]`: time first, one multi-step module per layer.
"""

from typing import Literal

from spikingjelly.activation_based import layer
from torch import Tensor, nn

from spikeclip.config import SpikeClipConfig
from spikeclip.neurons import lif

Pool = Literal["spikes", "currents"]


class ConvNorm(nn.Module):
    """`bn(conv(x))`, size-preserving for odd kernels.

    Shapes: `[T, B, inputs, H, W]` to `[T, B, outputs, H, W]`.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, bias: bool = False) -> None:
        super().__init__()
        self.conv = layer.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=bias, step_mode="m")
        self.bn = layer.BatchNorm2d(outputs, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class SpikingConv(nn.Module):
    """`LIF(bn(conv(x)))`, on request with a 3×3 max-pooling of stride 2: of the spikes, or of the neurons' currents.

    The maximum of spikes is their OR. That of currents is taken before the neuron, as in the published stem.

    Shapes: `[T, B, inputs, H, W]` to spikes `[T, B, outputs, H, W]`, or half of H and W (rounded up) when pooled.
    """

    def __init__(
        self,
        config: SpikeClipConfig,
        inputs: int,
        outputs: int,
        kernel_size: int,
        pool: Pool | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.synapse = ConvNorm(inputs, outputs, kernel_size, bias)
        if pool != "currents":  # the largest of nine currents is high enough by itself
            # From rest, a neuron needs an input of tau thresholds to fire at once: start training with inputs near it.
            nn.init.constant_(self.synapse.bn.bias, config.v_threshold)
        self.lif = lif(config)
        self.pool = layer.MaxPool2d(3, stride=2, padding=1, step_mode="m") if pool else None
        self.pools_currents = pool == "currents"

    def forward(self, x: Tensor) -> Tensor:
        currents = self.synapse(x)
        if self.pool is None:
            return self.lif(currents)
        return self.lif(self.pool(currents)) if self.pools_currents else self.pool(self.lif(currents))


class Stem(nn.Module):
    """Five 3×3 convolutions that turn an image into tokens; the last one's output starts the residual stream.

    Shapes: float `[T, B, 3, S, S]` to float `[T, B, D, S/4, S/4]`.

    Args:
        config: the encoder's sizes.
        pool: what the convolutions of `stem_pools` pool behind them.
    """

    def __init__(self, config: SpikeClipConfig, pool: Pool) -> None:
        super().__init__()
        widths = config.stem_widths
        inputs = (config.image_channels, *widths[:3])
        self.layers = nn.Sequential(
            *(
                SpikingConv(config, before, after, kernel_size=3, pool=pool if i in config.stem_pools else None)
                for i, (before, after) in enumerate(zip(inputs, widths[:4], strict=True), start=1)
            )
        )
        self.tokens = ConvNorm(widths[3], widths[4], kernel_size=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(self.layers(x))


class Mlp(nn.Module):
    """`bn(conv(LIF(bn(conv(LIF(x))))))` with 1×1 convolutions and `mlp_ratio · D` hidden channels.

    Shapes: float `[T, B, D, H, W]` to float `[T, B, D, H, W]`.

    Args:
        config: the encoder's sizes.
        bias: whether the convolutions have one, as the published ones do.
    """

    def __init__(self, config: SpikeClipConfig, bias: bool = False) -> None:
        super().__init__()
        self.lif = lif(config)
        self.hidden = SpikingConv(config, config.width, config.hidden_width, kernel_size=1, bias=bias)
        self.proj = ConvNorm(config.hidden_width, config.width, kernel_size=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.hidden(self.lif(x)))
