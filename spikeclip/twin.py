"""The ANN twin: the conventional vision transformer that a SpikeCLIP encoder stands in for, and what it computes.

It is the `CLIPVisionTransformer` of the published code (arXiv 2310.06488): the encoder's stem without activations,
pre-LayerNorm blocks with softmax attention and QuickGELU, and a linear head on the mean token.  It max-pools where
either encoder architecture pools, so that both have the same twin.
"""

from functools import partial
from itertools import pairwise
from math import gcd, prod
from typing import Any

import torch
from torch import Tensor, nn

from spikeclip.config import SpikeClipConfig


def heads(config: SpikeClipConfig) -> int:
    """Attention heads of the twin: the encoder's, or the most of them that divide the width.

    Spike-driven attention has no heads, so that its configuration may name any number; that of MACs and parameters
    doesn't depend on it.
    """
    return gcd(config.width, config.heads)


class QuickGelu(nn.Module):
    """`x · sigmoid(1.702 x)`, CLIP's activation.

    Shapes: float `[...]` to float `[...]`.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Product(nn.Module):
    """`a @ b`: a module, so that whoever counts operations per module sees the attention's products by name.

    Shapes: float `[B, heads, N, K]` and `[B, heads, K, M]` to float `[B, heads, N, M]`.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b


class TwinStem(nn.Sequential):
    """Five times `bn(conv(x))`, 3×3 without activation; 3×3 max-pooling of stride 2 behind two (`stem_pools`).

    Shapes: float `[B, 3, S, S]` to float `[B, D, S/4, S/4]`.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        widths = (config.image_channels, *config.stem_widths)
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            layer = nn.Sequential()
            if i in config.stem_pools:  # behind the i-th from 1, before the i-th from 0
                layer.add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
            layer.add_module("conv", nn.Conv2d(before, after, 3, padding=1, bias=False))
            layer.add_module("bn", nn.BatchNorm2d(after))
            layers.append(layer)
        super().__init__(*layers)


class SoftmaxAttention(nn.Module):
    """`out(softmax(Q Kᵀ / sqrt(d)) V)` per head of d channels.

    Shapes: float `[B, N, D]` to float `[B, N, D]`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.scores, self.mix = Product(), Product()
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            projection(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for projection in (self.q, self.k, self.v)
        )
        weights = torch.softmax(self.scores(q * q.shape[-1] ** -0.5, k.transpose(2, 3)), dim=-1)
        return self.out(self.mix(weights, v).transpose(1, 2).flatten(2))


class TwinBlock(nn.Module):
    """`x += attn(norm(x)); x += mlp(norm(x))`.

    Shapes: float `[B, N, D]` to float `[B, N, D]`.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        super().__init__()
        d, hidden = config.width, config.hidden_width
        self.attn_norm = nn.LayerNorm(d)
        self.attn = SoftmaxAttention(d, heads(config))
        self.mlp_norm = nn.LayerNorm(d)
        self.mlp = nn.Sequential()
        self.mlp.add_module("hidden", nn.Linear(d, hidden))
        self.mlp.add_module("gelu", QuickGelu())
        self.mlp.add_module("proj", nn.Linear(hidden, d))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class AnnTwin(nn.Module):
    """`head(norm(mean_tokens(block(norm(stem(image))))))`.

    Shapes: float `[B, 3, S, S]` to float `[B, outputs]`.

    Args:
        config: the encoder's configuration, of either architecture.
        outputs: of the head; `embedding_width` by default, the number of classes to compare with an encoder whose
            readout is folded.
    """

    def __init__(self, config: SpikeClipConfig, outputs: int | None = None) -> None:
        super().__init__()
        self.stem = TwinStem(config)
        self.pre_norm = nn.LayerNorm(config.width)
        self.block = nn.Sequential(*(TwinBlock(config) for _ in range(config.depth)))
        self.post_norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, outputs or config.embedding_width)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        return self.head(self.post_norm(self.block(self.pre_norm(tokens)).mean(1)))


def twin_table(config: SpikeClipConfig, outputs: int | None = None) -> dict[str, Any]:
    """The twin's multiply-accumulates per image, layer by layer, from shapes alone.

    A convolution has `out · H · W · in · 9` MACs (taps on the padding included, as every framework counts them), a
    linear layer `N · in · out`, a product `heads · N · K · M`.  Normalisation, softmax, activations, pooling and
    additions are no MACs.

    Args:
        config: the encoder's configuration, of either architecture.
        outputs: of the head, as for `AnnTwin`.

    Returns:
        JSON-compatible: `{"parameters": n, "layers": [{"name", "kind", "macs", "inputs", "weight", "output"}]}`, with
        kind `conv2d`, `linear` or `matmul` (which has two inputs and the weight None), and shapes without the batch.
    """
    layers: list[dict[str, Any]] = []
    with torch.device("meta"), torch.no_grad():  # shapes without numbers
        twin = AnnTwin(config, outputs).eval()
        for name, module in twin.named_modules():
            if type(module) in KINDS:
                module.register_forward_hook(partial(_note, layers, name))
        twin(torch.empty(1, *config.image_shape))
    return {"parameters": sum(p.numel() for p in twin.parameters()), "layers": layers}


KINDS: dict[type[nn.Module], str] = {nn.Conv2d: "conv2d", nn.Linear: "linear", Product: "matmul"}
"""Modules that multiply, and what the table calls them."""


def _note(layers: list[dict[str, Any]], name: str, module: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
    """Add the row of a layer: every output is a sum of as many products as a row of the weight or of a factor has."""
    weight = None if isinstance(module, Product) else [*module.weight.shape]
    summed = inputs[0].shape[-1] if weight is None else prod(weight[1:])
    row = {"name": name, "kind": KINDS[type(module)], "macs": y.numel() * summed}
    layers.append({**row, "inputs": [_of_image(x) for x in inputs], "weight": weight, "output": _of_image(y)})


def _of_image(x: Tensor) -> list[int]:
    """The shape without the batch, which is of one image; a vector is a row."""
    return [*x.shape[1:]] if x.ndim > 2 else [*x.shape]
