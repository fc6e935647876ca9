"""Folding: what evaluation makes constant moves into the layer beside it, computed in float64.

Batch normalisation after a convolution is a convolution:

    g (W x + b - m) / sqrt(s + eps) + h = (g' W) x + (g' (b - m) + h)    with g' = g / sqrt(s + eps)

The factor of a token sum moves into the threshold of the neuron that reads it.  With a = 1 / tau (or 1 where the
neuron's input doesn't decay), v scales with its input and so does every comparison with the threshold:

    v += (s x) a - v / tau,  v >= h     is     u += x a - u / tau,  u >= h / s     with u = v / s,  s > 0
"""

import numpy as np
import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, fx, nn

from spikeclip.errors import RefusedInput
from spikeclip.neurons import TokenSum


def fold_batch_norm(traced: fx.GraphModule) -> None:
    """Fold every `BatchNorm2d` into the convolution before it, in place.

    Requires: evaluation mode with running statistics; each normalisation reads one convolution, which is called once
    and read by nothing else.
    Ensures: the graph holds no `BatchNorm2d`; every convolution that had one has a bias; outputs are the same up to
    float32 rounding of weights.

    Raises:
        RefusedInput: a normalisation that doesn't meet the requirements, by name.
    """
    for node in list(traced.graph.nodes):
        norm = _module(traced, node)
        if not isinstance(norm, layer.BatchNorm2d):
            continue
        before = node.args[0]
        conv = _module(traced, before)
        if not isinstance(conv, layer.Conv2d):
            raise RefusedInput(f"module {node.target!r} normalises {before}; expected a convolution right before it")
        if len(before.users) > 1 or _calls(traced, before.target) > 1:
            raise RefusedInput(f"module {node.target!r}: {before.target!r} has other readers; expected this one alone")
        if norm.running_mean is None or norm.running_var is None:
            raise RefusedInput(f"module {node.target!r} has no running statistics; expected those of training")
        fold(conv, norm, norm.running_mean, norm.running_var)
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()


def fold_token_scale(traced: fx.GraphModule) -> None:
    """Move the factor of every `TokenSum` into the thresholds of its readers, in place.

    Requires: a token sum with a factor other than 1 is read by LIF neurons only, and the factor is positive.
    Ensures: every `TokenSum` has the factor 1; thresholds are float32 numbers.  Where the factor is a power of two
    the same neurons fire; elsewhere up to float32 rounding.

    Raises:
        RefusedInput: a token sum that doesn't meet the requirements, by name.
    """
    for node in traced.graph.nodes:
        tokens = _module(traced, node)
        if not isinstance(tokens, TokenSum) or tokens.scale == 1:
            continue
        if not tokens.scale > 0:
            raise RefusedInput(f"module {node.target!r} scales by {tokens.scale}; expected a positive number")
        for reader in node.users:
            lif = _module(traced, reader)
            if not isinstance(lif, neuron.LIFNode) or _calls(traced, reader.target) > 1:
                raise RefusedInput(
                    f"module {node.target!r} scales by {tokens.scale} what {reader} reads; expected a LIF neuron alone"
                )
            lif.v_threshold = float(np.float32(lif.v_threshold / tokens.scale))
        tokens.scale = 1.0


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


def _module(traced: fx.GraphModule, node: object) -> nn.Module | None:
    """The module that `node` calls; None where it is something else."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return traced.get_submodule(str(node.target))
    return None


def _calls(traced: fx.GraphModule, target: object) -> int:
    return sum(node.op == "call_module" and node.target == target for node in traced.graph.nodes)
