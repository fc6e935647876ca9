"""Quantisation-aware training: forward passes with weights of 8 bits, gradients to the weights behind them.

A channel's weights, folded with the batch normalisation behind them (`s = gamma / sqrt(variance + eps)`), become

    step round(s w / step)        step = 2^-k M / 127,  k the largest of 0 and 1 with  max |s w| <= 2^-k M

M is the largest `|s w|` of all synapses whose currents a neuron adds up: they count in one unit, M / (127 · 2), and
the weights of a convolution are integers of 8 bits, all shifted left by 1 - k, since Lava's Conv holds no larger ones.
All branches onto the residual stream share one M; any other convolution has its own.  Gradients pass through the
rounding as if it weren't there.  Thresholds and biases stay as they are: the chip has 17 and 13 bits for them.
"""

from collections.abc import Iterator

import torch
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from spikeclip.encoder import Encoder
from spikeclip.layers import ConvNorm, SpikingConv

LARGEST = 127
"""Of the integers; -128 is left out, so that the grid is symmetric."""

EXPONENT_RANGE = 1
"""Powers of two between the coarsest and the finest step of one stream."""

SLACK = 2.0**-12
"""Relative, of a convolution's largest weight: what was rounded to 127 steps is not to take the next larger step
because float32 has it a little above."""


def rounded_weights(encoder: Encoder) -> dict[str, Tensor]:
    """The weights of all convolutions, rounded, by the names of the parameters; differentiable.

    For `torch.func.functional_call(encoder, rounded_weights(encoder), ...)`.
    """
    found = {}
    for stream in _streams(encoder):
        with torch.no_grad():
            scales = {name: _scale(part.bn) for name, part in stream.items()}
            most = {name: (scales[name] * part.conv.weight).abs().max() for name, part in stream.items()}
            unit = torch.stack([*most.values()]).max()
        for name, part in stream.items():
            weight = part.conv.weight
            with torch.no_grad():
                exponent = torch.ceil(torch.log2((1 - SLACK) * most[name] / unit)).clamp(-EXPONENT_RANGE, 0)
                steps = unit / LARGEST * torch.exp2(exponent) / scales[name]
                change = steps * torch.round(weight / steps) - weight
                change[~torch.isfinite(change)] = 0  # of channels that are zero whatever their weights
            found[f"{name}.conv.weight"] = weight + change
    return found


@torch.no_grad()
def round_weights(encoder: Encoder) -> None:
    """Round the weights of all convolutions, in place; a second time changes nothing but the last bits."""
    for name, weight in rounded_weights(encoder).items():
        encoder.get_parameter(name).copy_(weight)


def freeze_statistics(encoder: Encoder) -> None:
    """Let batch normalisation use its running statistics: they are part of the weights that are rounded."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _streams(encoder: Encoder) -> Iterator[dict[str, ConvNorm]]:
    """Convolutions by path, those together whose currents are added: the residual stream's, then each by itself."""
    parts = {name: module for name, module in encoder.named_modules() if isinstance(module, ConvNorm)}
    alone = {module.synapse for module in encoder.modules() if isinstance(module, SpikingConv)}
    yield {name: part for name, part in parts.items() if part not in alone}
    for name, part in parts.items():
        if part in alone:
            yield {name: part}


def _scale(norm: layer.BatchNorm2d) -> Tensor:
    """`gamma / sqrt(variance + eps)`, for kernels: `[C, 1, 1, 1]`."""
    return (norm.weight * (norm.running_var + norm.eps).rsqrt())[:, None, None, None]
