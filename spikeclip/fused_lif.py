"""Fused neurons: SpikingJelly's LIF over all time steps as one autograd function, with its own backward.

    h_t = v_{t-1} + (x_t - v_{t-1}) / tau        s_t = [h_t >= threshold]        v_t = (1 - s_t) h_t,  v_0 = 0

and backwards, with the surrogate's derivative g (ATan) and no gradient through the reset:

    dh_t = g(h_t - threshold) ds_t + (1 - s_t) dv_t        dx_t = dh_t / tau        dv_{t-1} = (1 - 1 / tau) dh_t

SpikingJelly computes the same by some twenty operations per step, each of which reads and writes whole maps: on a CPU
two thirds of a training step.  On CUDA, Triton, which comes with PyTorch there, does each pass at once (`triton_lif`).
Spikes come out as the same bits where the dtype is float32 or wider, gradients as the same up to rounding.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn


class _Lif(torch.autograd.Function):
    """Currents `[T, ...]` to spikes of the same shape and dtype, from rest."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float, threshold: float, alpha: float) -> Tensor:
        passes = _passes(x)
        h, spikes = passes.charge(x, tau, threshold)
        ctx.save_for_backward(h, spikes)
        ctx.passes, ctx.settings = passes, (tau, threshold, alpha)
        return spikes

    @staticmethod
    def backward(ctx: Any, d_spikes: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        return ctx.passes.gradient(d_spikes, *ctx.saved_tensors, *ctx.settings), None, None, None


def charge(x: Tensor, tau: float, threshold: float) -> tuple[Tensor, Tensor]:
    """Charges h and spikes s of currents x: `[T, ...]` each, of x's dtype."""
    h, spikes = torch.empty_like(x), torch.empty_like(x)
    v: Tensor | None = None
    for current, charged, fired in zip(x, h, spikes, strict=True):
        if v is None:
            torch.div(current, tau, out=charged)
            v = torch.empty_like(charged)
        else:
            torch.sub(current, v, out=charged).div_(tau).add_(v)
        torch.ge(charged, threshold, out=fired)
        torch.addcmul(charged, charged, fired, value=-1, out=v)
    return h, spikes


def gradient(d_spikes: Tensor, h: Tensor, spikes: Tensor, tau: float, threshold: float, alpha: float) -> Tensor:
    """The gradient by the currents `[T, ...]` of the gradient by the spikes."""
    # alpha / 2 / (1 + (pi / 2 alpha u)^2) with u = h - threshold, as one division: each pass over a map counts.
    over = (h - threshold).mul_(math.pi / 2 * math.sqrt(2 * alpha)).square_().add_(2 / alpha)
    dh = torch.div(d_spikes, over, out=over)
    dv: Tensor | None = None
    for t in reversed(range(len(dh))):
        if dv is not None:
            dh[t].add_(dv).addcmul_(dv, spikes[t], value=-1)
        if t:
            dv = torch.mul(dh[t], 1 - 1 / tau, out=dv) if dv is not None else dh[t] * (1 - 1 / tau)
    return dh.div_(tau)


def _passes(x: Tensor) -> Any:
    """The module whose `charge` and `gradient` compute where `x` is."""
    if x.is_cuda and find_spec("triton") and x.dtype != torch.float64:
        return import_module("spikeclip.triton_lif")
    return sys.modules[__name__]


@contextmanager
def fused_neurons(model: nn.Module) -> Iterator[None]:
    """Inside the context, the LIF neurons of `model` compute as this module says; every call starts at rest.

    Neurons of other kinds are left as they are: those with another reset or surrogate, or with a gradient through the
    reset.
    """
    nodes = [module for module in model.modules() if isinstance(module, neuron.LIFNode) and _fits(module)]
    for node in nodes:
        node.multi_step_forward = partial(_forward, node)
    try:
        yield
    finally:
        for node in nodes:
            del node.multi_step_forward


def _fits(node: neuron.LIFNode) -> bool:
    resets = node.v_reset == 0 and node.detach_reset
    return resets and node.decay_input and isinstance(node.surrogate_function, surrogate.ATan)


def _forward(node: neuron.LIFNode, x: Tensor) -> Tensor:
    spikes: Tensor = _Lif.apply(x, node.tau, node.v_threshold, node.surrogate_function.alpha)
    return spikes
