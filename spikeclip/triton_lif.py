"""The two passes of the fused neuron as Triton kernels, for CUDA: each reads a map and writes it once.

The equations are those of `fused_lif`, in float32 within a kernel whatever the maps' dtype.  One program computes a
block of neurons over all their time steps, so that membranes stay in registers.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
"""Neurons of one program."""


@triton.jit
def _charge_kernel(x, h, s, neurons, tau, threshold, steps: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < neurons
    step = tl.cast(neurons, tl.int64)
    v = tl.zeros([block], tl.float32)
    for t in range(steps):
        current = tl.load(x + t * step + at, mask=inside, other=0.0).to(tl.float32)
        charged = v + tl.div_rn(current - v, tau)  # `/` would round as the hardware likes
        fired = charged >= threshold
        tl.store(h + t * step + at, charged, mask=inside)
        tl.store(s + t * step + at, tl.where(fired, 1.0, 0.0), mask=inside)
        v = tl.where(fired, 0.0, charged)


@triton.jit
def _gradient_kernel(d, h, s, dx, neurons, tau, threshold, steepness, steps: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < neurons
    step = tl.cast(neurons, tl.int64)
    dv = tl.zeros([block], tl.float32)
    for i in range(steps):
        t = steps - 1 - i
        charged = tl.load(h + t * step + at, mask=inside, other=0.0).to(tl.float32)
        fired = tl.load(s + t * step + at, mask=inside, other=0.0).to(tl.float32)
        above = tl.load(d + t * step + at, mask=inside, other=0.0).to(tl.float32)
        u = steepness * (charged - threshold)
        # ATan's derivative alpha / 2 / (1 + u^2), where u = pi / 2 alpha (h - threshold): alpha / 2 = steepness / pi.
        dh = above * steepness * 0.3183098861837907 / (1.0 + u * u) + (1.0 - fired) * dv
        tl.store(dx + t * step + at, dh / tau, mask=inside)
        dv = dh * (1.0 - 1.0 / tau)


def charge(x: Tensor, tau: float, threshold: float) -> tuple[Tensor, Tensor]:
    """Charges h and spikes s of currents x: `[T, ...]` each, of x's dtype."""
    x = _dense(x)
    h, s = torch.empty_like(x), torch.empty_like(x)
    neurons = x[0].numel()
    _charge_kernel[(triton.cdiv(neurons, BLOCK),)](
        x, h, s, neurons, float(tau), float(threshold), steps=len(x), block=BLOCK
    )
    return h, s


def gradient(d_spikes: Tensor, h: Tensor, s: Tensor, tau: float, threshold: float, alpha: float) -> Tensor:
    """The gradient by the currents `[T, ...]` of the gradient by the spikes."""
    if d_spikes.stride() != h.stride():
        d_spikes = torch.empty_like(h).copy_(d_spikes)
    dx = torch.empty_like(h)
    neurons = h[0].numel()
    _gradient_kernel[(triton.cdiv(neurons, BLOCK),)](
        d_spikes, h, s, dx, neurons, float(tau), float(threshold), math.pi / 2 * alpha, steps=len(h), block=BLOCK
    )
    return dx


def _dense(x: Tensor) -> Tensor:
    """`x` as a map whose time steps lie one after the other without gaps: in channels last, or as it is declared."""
    one = x[0]
    whole = one.is_contiguous() or (one.ndim == 4 and one.is_contiguous(memory_format=torch.channels_last))
    return x if whole and x.stride(0) == one.numel() else x.contiguous()
