"""Rewrites: modules whose code is no graph of layers, replaced by layers that compute the same, by class name.

A rewrite is checked before it is used: on random spikes, in float64, both have to return the same up to rounding.
"""

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeclip.errors import RefusedInput

TOLERANCE = 1e-9
"""Of the largest value: float64 rounds sums of some thousands of terms by less."""


def repconv(module: Any) -> nn.Module:
    """RepConv of Spike-Driven-Transformer V2 as one convolution with zero padding.

    It is a 1x1 convolution, a normalisation that pads with what it makes of 0, a depthwise 3x3 one, a 1x1 one and a
    normalisation.  What it pads with is the constant part b_1 of the first two, so that this passes through whole
    kernels everywhere: `W = W_3 k W_1`, `b = W_3 Σ k b_1 + b_2`.
    """
    first, padded, rest = module.body[0], module.body[1], module.body[2]
    depthwise, pointwise, last = rest[0], rest[1], rest[2]
    scale_1, shift_1 = _affine(padded.bn)
    scale_2, shift_2 = _affine(last)
    inner = first.weight.double()[:, :, 0, 0] * scale_1[:, None]
    kernel = depthwise.weight.double()[:, 0]
    outer = pointwise.weight.double()[:, :, 0, 0] * scale_2[:, None]
    weight = torch.einsum("om,mhw,mi->oihw", outer, kernel, inner)
    bias = outer @ (kernel.sum((1, 2)) * shift_1) + shift_2
    size = kernel.shape[-1]
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], size, padding=size // 2).double()
    with torch.no_grad():
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)  # type: ignore[union-attr]
    return conv


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    """`y = g x + h` of a normalisation."""
    scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


REWRITES: dict[str, Callable[[Any], nn.Module]] = {"RepConv": repconv}
"""By class name, what a module is replaced by."""


def rewritten(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """`module` with the modules of known classes replaced, in place, and what was done.

    Raises:
        RefusedInput: a replacement doesn't compute the same, as of a class of the same name with other code.
    """
    counts = Counter[str]()
    for path, part in list(module.named_modules()):
        name = type(part).__name__
        rewrite = REWRITES.get(name)
        if rewrite is None or not path:
            continue
        try:
            replacement = rewrite(part)
        except (AttributeError, IndexError, RuntimeError, TypeError) as error:
            raise RefusedInput(f"module {path!r} is no {name} as it is known here ({error})") from error
        _check(path, part, replacement)
        module.set_submodule(path, replacement.to(next(part.parameters()).dtype))
        counts[name] += 1
    return module, tuple(f"{count} {name} as one convolution each" for name, count in counts.items())


@torch.no_grad()
def _check(path: str, original: nn.Module, replacement: nn.Module) -> None:
    channels = next(p for p in original.parameters() if p.ndim == 4).shape[1]
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(2, channels, 7, 7, generator=generator) < 0.3).double()
    expected = copy.deepcopy(original).double().eval()(x)
    found = replacement(x)
    difference = float((found - expected).abs().max()) if found.shape == expected.shape else float("inf")
    if difference > TOLERANCE * max(1.0, float(expected.abs().max())):
        raise RefusedInput(
            f"module {path!r} computes something else than {type(original).__name__} is known for here: "
            f"{difference:.3g} apart"
        )
