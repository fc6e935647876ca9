"""The SpikeCLIP image encoders in SpikingJelly layers (arXiv 2310.06488): spike-driven, and as published.

Every tensor inside is `[T, B, C, H, W]`: time first, one multi-step module per layer.  The residual stream is analog
("membrane shortcut"): branches add to the current of the next neurons, so that only spikes enter a convolution.
"""

import math

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from spikeclip.attention import SelfAttention, SpikeDrivenAttention
from spikeclip.config import SpikeClipConfig
from spikeclip.layers import Mlp, Stem
from spikeclip.neurons import lif


class Block(nn.Module):
    """`x += attention(x); x += mlp(x)`: both branches add analog currents to the residual stream.

    Shapes: float `[T, B, D, H, W]` to float `[T, B, D, H, W]`.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        super().__init__()
        published = config.architecture == "paper"
        self.attn = SelfAttention(config) if published else SpikeDrivenAttention(config)
        self.mlp = Mlp(config, bias=published)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class Encoder(nn.Module):
    """`head(features(image))`: images into CLIP's embedding space.

        spike-driven: features = mean_{time, tokens}(LIF(blocks(stem(image))))
        paper:        features = Σ_t w_t mean_tokens(blocks(stem(image)))_t, with learned w

    The image is presented T times, every step the same.  Membranes start at rest for every call.

    Shapes: float `[B, 3, S, S]` to float `[B, embedding_width]`.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        super().__init__()
        self.config = config
        published = config.architecture == "paper"
        self.stem = Stem(config, pool="currents" if published else "spikes")
        self.block = nn.Sequential(*(Block(config) for _ in range(config.depth)))
        if published:
            self.time_weights = nn.Parameter(initial_time_weights(config.time_steps))
        else:
            self.lif = lif(config)
        self.head = nn.Linear(config.width, config.embedding_width)

    def forward(self, images: Tensor, time_steps: int | None = None) -> Tensor:
        return self.head(self.features(images, time_steps))

    def features(self, images: Tensor, time_steps: int | None = None) -> Tensor:
        """Features, which the head reads: float `[B, 3, S, S]` to float `[B, D]`.

        `time_steps` overrides the configuration's T; training starts with fewer.  Their weights are then the mean of
        the T weights, scaled to the same sum.
        """
        functional.reset_net(self)
        steps = self.config.time_steps if time_steps is None else time_steps
        last = self.tokens(images.unsqueeze(0).expand(steps, *images.shape))
        if self.config.architecture == "spike-driven":
            return torch.mean(last, dim=(0, 3, 4))
        weights = self.time_weights
        if steps != len(weights):
            weights = (weights.sum() / steps).expand(steps)
        return torch.einsum("t,tbd->bd", weights, last.mean((3, 4), dtype=weights.dtype))

    def tokens(self, x: Tensor) -> Tensor:
        """Tokens, which are read out, of a sequence of frames: float `[T, B, 3, S, S]` to `[T, B, D, S/4, S/4]`.

        The spikes of the last neurons in `spike-driven`, the residual stream in `paper`.
        """
        x = self.block(self.stem(x))
        return x if self.config.architecture == "paper" else self.lif(x)


def initial_time_weights(time_steps: int) -> Tensor:
    """`w_t = ln(0.8 · 2^(t - T))` for t = 1, ..., T: ln 0.1, ln 0.2, ln 0.4, ln 0.8 as published for T = 4."""
    return torch.tensor([math.log(0.8 * 2.0 ** (t - time_steps)) for t in range(1, time_steps + 1)])


class SpikeClip(nn.Module):
    """`argmax_c (R · features + r)_c`: an encoder with the readout of one label set.

    The readout is the encoder's head followed by cosine similarity with label directions L, folded: `R = L W`,
    `r = L b`.  The cosine's division by the embedding's length is left out; it changes no prediction.

    Attributes:
        encoder: the image encoder.
        readout: linear, D to classes.
        label_names: one per class; empty where the readout is the encoder's own head.
    """

    def __init__(self, encoder: Encoder, readout: nn.Linear, label_names: tuple[str, ...]) -> None:
        super().__init__()
        self.encoder, self.readout, self.label_names = encoder, readout, label_names

    def forward(self, images: Tensor) -> Tensor:
        """Scores: float `[B, 3, S, S]` to float `[B, classes]`."""
        return self.readout(self.encoder.features(images))


def unfold_readout(encoder: Encoder, readout: nn.Linear) -> Tensor:
    """`L = [R r] [W b]⁺`: of the label directions that `fold_readout` makes this readout of, the shortest.

    float64 `[classes, embedding_width]`.  The head's outputs span less than the embedding's space, and what of a
    direction lies outside moves no score: it can't be recovered, and isn't needed.
    """
    columns = [torch.cat([layer.weight, layer.bias[:, None]], 1).double() for layer in (readout, encoder.head)]
    return columns[0].detach() @ torch.linalg.pinv(columns[1].detach())


def fold_readout(encoder: Encoder, directions: Tensor) -> nn.Linear:
    """`R = L W`, `r = L b`: the head and the label directions L, float `[classes, embedding_width]`, as one layer."""
    readout = nn.Linear(encoder.config.width, len(directions))
    with torch.no_grad():
        readout.weight.copy_(directions @ encoder.head.weight)
        readout.bias.copy_(directions @ encoder.head.bias)
    return readout
