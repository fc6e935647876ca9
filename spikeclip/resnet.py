"""A residual network for small images: a teacher that knows more than the twin of the encoder that learns from it.

ResNet-18 (He et al., arXiv 1512.03385) as it is used on CIFAR-10: a first 3×3 convolution without pooling, then four
stages of two blocks, of which the last three halve the image.
"""

import torch
from torch import Tensor, nn

from spikeclip.config import SpikeClipConfig

WIDTHS = (64, 128, 256, 512)
"""Channels of the four stages."""


def _conv(before: int, after: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(after)]


class ResidualBlock(nn.Module):
    """`relu(shortcut(x) + bn(conv(relu(bn(conv(x))))))`.

    Shapes: float `[B, before, H, W]` to float `[B, after, H / stride, W / stride]`.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(*_conv(before, after, 3, stride), nn.ReLU(), *_conv(after, after, 3))
        changed = stride > 1 or before != after
        self.shortcut = nn.Sequential(*_conv(before, after, 1, stride)) if changed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.residual(x))


class ResNet(nn.Module):
    """`head(mean_pixels(stages(relu(bn(conv(image))))))`: images into the embedding space, without time steps.

    Shapes: float `[B, C, S, S]` to float `[B, embedding_width]`.

    Args:
        config: of the encoder that learns from it; channels of images and the embedding's width are taken from it.
    """

    def __init__(self, config: SpikeClipConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_conv(config.image_channels, WIDTHS[0], 3), nn.ReLU()]
        before = WIDTHS[0]
        for i, width in enumerate(WIDTHS):
            layers += [ResidualBlock(before, width, stride=2 if i else 1), ResidualBlock(width, width, stride=1)]
            before = width
        self.stages = nn.Sequential(*layers)
        self.head = nn.Linear(before, config.embedding_width)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stages(images).mean((2, 3)))
