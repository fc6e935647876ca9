"""Folding: what evaluation makes constant moves into the layer before it, computed in float64.

Batch normalisation after a convolution is a convolution:

    g (W x + b - m) / sqrt(s + eps) + h = (g' W) x + (g' (b - m) + h)    with g' = g / sqrt(s + eps)
"""

import torch
from torch import Tensor, nn


@torch.no_grad()
def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """`W = g' W`, `b = g' (b - m) + h`, in place: the normalisation of a convolution's output, with its statistics."""
    scale = (variance.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -mean.double() if conv.bias is None else conv.bias.double() - mean.double()
    bias = scale * shift
    if norm.bias is not None:
        bias = bias + norm.bias.double()
    conv.weight.copy_((conv.weight.double() * scale[:, None, None, None]).float())
    conv.bias = nn.Parameter(bias.float(), requires_grad=False)
