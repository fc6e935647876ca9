"""Torch modules in the integers of Loihi 2.  Spikes and frames are float32 between them, currents int32.

`node` is what an integer graph says of one node: the fields of its operation, as `integer.integer_model` explains.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuromorphic.analysis.rounding import SINGLE
from neuromorphic.ops.dyadic import fraction_bits, magnitude_bits
from spikeclip.errors import RefusedInput
from spikeclip.neurons import SpikingSelfAttention

STATE_LIMIT = 2**23
"""Membranes stay below it in magnitude."""

INPUT_LIMIT = 2**17
"""Synaptic input is kept to (-2^17, 2^17], and so 64 times it to 24 bits."""


class IntegerConv(nn.Module):
    """`y = W x`: exact, in float32 where no partial sum can round, else in float64.

    Shapes: float32 `[T, B, C, H, W]` to int32 `[T, B, C', H', W']`.

    Attributes:
        bound: no element of y is larger in magnitude.

    Args:
        path: name of the node, for messages.
        node: of a convolution.
        largest: magnitude of x at most.

    Raises:
        RefusedInput: the weights are no integers, or there is a bias.
    """

    def __init__(self, path: str, node: Mapping[str, Any], largest: int = 1) -> None:
        super().__init__()
        weight = np.asarray(node["weight"], np.float64)
        if not np.array_equal(weight, np.round(weight)) or np.any(node["bias"]):
            raise RefusedInput(f"node {path!r} has weights that are no integers, or a bias; expected neither")
        sums = largest * np.abs(weight).sum((1, 2, 3))
        self.bound = float(sums.max())
        exact = all(magnitude_bits(s, fraction_bits(row)) <= SINGLE for s, row in zip(sums, weight, strict=True))
        self.weight: Tensor
        weights = torch.tensor(weight, dtype=torch.float32 if exact else torch.float64)
        self.register_buffer("weight", weights.to(memory_format=torch.channels_last))  # the faster order
        self.settings = (node["stride"], node["padding"], node["dilation"], node["groups"])

    def forward(self, x: Tensor) -> Tensor:
        images = x.flatten(0, 1).to(self.weight.dtype, memory_format=torch.channels_last)
        y = F.conv2d(images, self.weight, None, *self.settings)
        return y.to(torch.int32).reshape(*x.shape[:2], *y.shape[1:])


class IntegerLif(nn.Module):
    """`v = saturate(decayed(v) + 64 wrap(x) + bias)`; a spike where `v > 64 threshold`; then `v = 0` there.

    `wrap` is two's complement in 18 bits, except that 2^17 stays; `decayed(v) = sign(v) floor(|v| (4096 - decay) /
    4096)`; `saturate` clips to ±(2^23 - 1).  Every call starts from rest.

    Shapes: int32 `[T, B, *shape]`, below 2^30 in magnitude, to spikes, float32 `[T, B, *shape]`.

    Attributes:
        shape: of the population.
        membranes: v after the last time step of the last call, int32 `[B, *shape]`.
    """

    def __init__(self, node: Mapping[str, Any]) -> None:
        super().__init__()
        self.kept = 4096 - int(node["decay"])
        threshold, bias = (torch.tensor(np.asarray(node[key], np.int32)) for key in ("threshold", "bias_mantissa"))
        self.threshold: Tensor
        self.bias: Tensor
        self.register_buffer("threshold", threshold * 64)
        self.register_buffer("bias", bias * 2 ** int(node["bias_exponent"]))
        self.shape = tuple(threshold.shape)
        self.membranes = torch.zeros(0, *self.shape, dtype=torch.int32)

    def forward(self, x: Tensor) -> Tensor:
        # In place where it can be: at these sizes memory that is new costs more than what is computed in it.
        v = torch.zeros_like(x[0])
        spikes = torch.empty(x.shape)
        for current, fired in zip(x, spikes, strict=True):
            u = (current + (INPUT_LIMIT - 1)).bitwise_and_(2 * INPUT_LIMIT - 1).sub_(INPUT_LIMIT - 1).mul_(64)
            v = self._decayed(v).add_(u).add_(self.bias).clamp_(1 - STATE_LIMIT, STATE_LIMIT - 1)
            above = v > self.threshold
            fired.copy_(above)
            v.masked_fill_(above, 0)
        self.membranes = v
        return spikes

    def _decayed(self, v: Tensor) -> Tensor:
        magnitude = v.abs()
        if self.kept and 4096 % self.kept == 0:
            return magnitude.bitwise_right_shift_((4096 // self.kept).bit_length() - 1).mul_(v.sign_())
        # |v| = 4096 high + low, so that no product exceeds 24 bits.
        low = (magnitude & 4095).mul_(self.kept).bitwise_right_shift_(12)
        return magnitude.bitwise_right_shift_(12).mul_(self.kept).add_(low).mul_(v.sign_())


class IntegerGate(nn.Module):
    """`LIF(Σ_i W_i x_i)`: neurons that compare weighted spikes, as AND and OR do.

    Shapes: each operand float32 `[T, B, ...]`, to spikes, float32 `[T, B, *shape]`.
    """

    def __init__(self, synapses: Sequence[IntegerConv], lif: IntegerLif) -> None:
        super().__init__()
        self.synapses, self.lif = nn.ModuleList(synapses), lif

    def forward(self, *operands: Tensor) -> Tensor:
        first, *others = (synapse(x) for synapse, x in zip(self.synapses, operands, strict=True))
        spikes: Tensor = self.lif(sum(others, start=first))
        return spikes


class IntegerAttention(nn.Module):
    """`y = scale · Q (Kᵀ V)` per head, of spikes, with an integer scale.

    Shapes: float32 `[T, B, 3 D, H, W]` to int32 `[T, B, D, H, W]`.
    """

    def __init__(self, heads: int, scale: int) -> None:
        super().__init__()
        self.counts, self.scale = SpikingSelfAttention(heads, 1.0), scale

    def forward(self, qkv: Tensor) -> Tensor:
        counts: Tensor = self.counts(qkv)
        return counts.to(torch.int32) * self.scale
