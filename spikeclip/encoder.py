"""The spike-driven SpikeCLIP image encoder, in SpikingJelly layers (arXiv 2310.06488; attention after 2307.01694).

Every tensor inside is `[T, B, C, H, W]`: time first, one multi-step module per layer.  The residual stream is analog
("membrane shortcut"): branches add to the current of the next neurons, so that only spikes enter a convolution.
"""

import torch
from spikingjelly.activation_based import functional, layer
from torch import Tensor, nn

from spikeclip.config import SpikeClipConfig
from spikeclip.errors import RefusedInput
from spikeclip.neurons import And, SpikeRate, TokenSum, lif


class ConvNorm(nn.Module):
    """`bn(conv(x))`, the convolution without bias, size-preserving for odd kernels.

    Shapes: `[T, B, inputs, H, W]` to `[T, B, outputs, H, W]`.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = layer.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False, step_mode="m")
        self.bn = layer.BatchNorm2d(outputs, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class SpikingConv(nn.Module):
    """`LIF(bn(conv(x)))`, then optionally a 3×3 OR-pooling of stride 2: max-pooling, which on spikes is OR.

    Shapes: `[T, B, inputs, H, W]` to spikes `[T, B, outputs, H, W]`, or half of H and W when pooled.
    """

    def __init__(
        self, config: SpikeClipConfig, inputs: int, outputs: int, kernel_size: int, pool: bool = False
    ) -> None:
        super().__init__()
        self.synapse = ConvNorm(inputs, outputs, kernel_size)
        # From rest, a neuron needs an input of tau thresholds to fire at once: start training with inputs near that.
        nn.init.constant_(self.synapse.bn.bias, config.v_threshold)
        self.lif = lif(config)
        self.pool = layer.MaxPool2d(3, stride=2, padding=1, step_mode="m") if pool else None

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif(self.synapse(x))
        return spikes if self.pool is None else self.pool(spikes)


class Stem(nn.Module):
    """Five 3×3 convolutions that turn an image into tokens; the last one's output starts the residual stream.

    Shapes: float `[T, B, 3, S, S]` to float `[T, B, D, S/4, S/4]`.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        super().__init__()
        widths = config.stem_widths
        inputs = (config.image_channels, *widths[:3])
        self.layers = nn.Sequential(
            *(
                SpikingConv(config, before, after, kernel_size=3, pool=i >= 2)
                for i, (before, after) in enumerate(zip(inputs, widths[:4], strict=True))
            )
        )
        self.tokens = ConvNorm(widths[3], widths[4], kernel_size=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(self.layers(x))


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


class Mlp(nn.Module):
    """`bn(conv(LIF(bn(conv(LIF(x))))))` with 1×1 convolutions and `mlp_ratio · D` hidden channels.

    Shapes: float `[T, B, D, H, W]` to float `[T, B, D, H, W]`.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        super().__init__()
        hidden = config.mlp_ratio * config.width
        self.lif = lif(config)
        self.hidden = SpikingConv(config, config.width, hidden, kernel_size=1)
        self.proj = ConvNorm(hidden, config.width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.hidden(self.lif(x)))


class Block(nn.Module):
    """`x += attention(x); x += mlp(x)`: both branches add analog currents to the residual stream.

    Shapes: float `[T, B, D, H, W]` to float `[T, B, D, H, W]`.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        super().__init__()
        self.attn = SpikeDrivenAttention(config)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class Encoder(nn.Module):
    """`W · mean_{time, tokens}(LIF(blocks(stem(image)))) + b`: images into CLIP's embedding space.

    The image is presented T times, every step the same.  Membranes start at rest for every call.

    Shapes: float `[B, 3, S, S]` to float `[B, embedding_width]`.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        super().__init__()
        if config.architecture != "spike-driven":
            raise RefusedInput(
                f"architecture {config.architecture!r} has no encoder in this version; expected 'spike-driven'"
            )
        self.config = config
        self.stem = Stem(config)
        self.block = nn.Sequential(*(Block(config) for _ in range(config.depth)))
        self.lif = lif(config)
        self.rate = SpikeRate()
        self.head = nn.Linear(config.width, config.embedding_width)

    def forward(self, images: Tensor, time_steps: int | None = None) -> Tensor:
        return self.head(self.features(images, time_steps))

    def features(self, images: Tensor, time_steps: int | None = None) -> Tensor:
        """Firing rates of the last neurons: float `[B, 3, S, S]` to float `[B, D]`, in [0, 1].

        `time_steps` overrides the configuration's T; training starts with fewer.
        """
        functional.reset_net(self)
        steps = self.config.time_steps if time_steps is None else time_steps
        return self.rate(self.spikes(images.unsqueeze(0).expand(steps, *images.shape)))

    def spikes(self, x: Tensor) -> Tensor:
        """The last neurons' spikes for a sequence of frames: float `[T, B, 3, S, S]` to `[T, B, D, S/4, S/4]`."""
        return self.lif(self.block(self.stem(x)))


class SpikeClip(nn.Module):
    """`argmax_c (R · rate + r)_c`: an encoder with the readout of one label set.

    The readout is the encoder's head followed by cosine similarity with label directions L, folded: `R = L W`,
    `r = L b`.  The cosine's division by the embedding's length is left out; it changes no prediction.

    Attributes:
        encoder: the image encoder.
        readout: linear, D to classes.
        label_names: one per class.
    """

    def __init__(self, encoder: Encoder, readout: nn.Linear, label_names: tuple[str, ...]) -> None:
        super().__init__()
        self.encoder, self.readout, self.label_names = encoder, readout, label_names

    def forward(self, images: Tensor) -> Tensor:
        """Scores: float `[B, 3, S, S]` to float `[B, classes]`."""
        return self.readout(self.encoder.features(images))


def fold_readout(encoder: Encoder, directions: Tensor) -> nn.Linear:
    """`R = L W`, `r = L b`: the head and the label directions L, float `[classes, embedding_width]`, as one layer."""
    readout = nn.Linear(encoder.config.width, len(directions))
    with torch.no_grad():
        readout.weight.copy_(directions @ encoder.head.weight)
        readout.bias.copy_(directions @ encoder.head.bias)
    return readout
