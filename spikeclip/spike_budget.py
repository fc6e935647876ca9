"""How many spikes a synapse sees: what a spike budget limits, and what the synaptic operations of an image follow from.

    s = Σ_l F_l S_l / Σ_l F_l N_l

over the convolutions l that read spikes: S_l spikes per image (all T time steps) arrive at N_l inputs, each with a
fan-out of F_l = outputs · kernel height · kernel width synapses, those across the border counted.  So s times the
number of synapses is the SOPs of the convolutions, and s = r T where every layer fires at the rate r.  The first
convolution reads the image and is left out; so are the conjunctions and sums of attention, which have no weights, and
the readout.

Training is held to a budget X by an augmented Lagrangian (Rockafellar, 1973), which reaches it whatever the loss is,
where a penalty of a fixed weight stops above it.  With the excess e = s / X - 1, the weight W and the multiplier u,

    loss += W / 2 · max(0, u + e)²        and after every step        u ← max(0, u + RATE · e)

so that the pressure grows for as long as there are too many spikes, and lets go where there are fewer.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from spikeclip.distributed import mean_of_all
from spikeclip.encoder import Encoder
from spikeclip.layers import ConvNorm

RATE = 0.01
"""Of the multiplier: of the order of one over the steps that spikes take to follow it."""


def penalty(spikes: Tensor, budget: float, weight: float, multiplier: float) -> Tensor:
    """`W / 2 · max(0, u + e)²`, float `[]`, of spikes per synapse s, float `[]`."""
    return weight / 2 * torch.relu(multiplier + spikes / budget - 1).square()


def next_multiplier(spikes: float, budget: float, multiplier: float) -> float:
    """The u that follows a step with s spikes per synapse."""
    return max(0.0, multiplier + RATE * (spikes / budget - 1))


class SpikeCount:
    """Spikes per synapse and image of the encoder's latest forward pass, differentiable through the surrogates."""

    def __init__(self) -> None:
        self._operations: list[Tensor] = []
        self._synapses = 0
        self._steps = 1

    def restart(self) -> None:
        """Forget the last forward pass."""
        self._operations, self._synapses = [], 0

    def add(self, spikes: Tensor, conv: nn.Conv2d) -> None:
        """Count what a convolution reads: spikes `[T, B, C, H, W]`."""
        fan_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
        self._steps, images = spikes.shape[:2]
        self._operations.append(fan_out * spikes.sum(dtype=torch.float32) / images)
        self._synapses += fan_out * spikes[0, 0].numel()

    def per_synapse(self, time_steps: int) -> Tensor:
        """`s`, float `[]`, as `time_steps` would have it: shorter passes are scaled up."""
        counted = torch.stack(self._operations).sum() / self._synapses
        return mean_of_all(counted) * (time_steps / self._steps)


@contextmanager
def counted(encoder: Encoder) -> Iterator[SpikeCount]:
    """Count in every forward pass, inside the context."""
    count = SpikeCount()
    convolutions = [part.conv for part in encoder.modules() if isinstance(part, ConvNorm)]
    with ExitStack() as hooks:
        hooks.enter_context(encoder.register_forward_pre_hook(lambda module, inputs: count.restart()))
        for conv in convolutions[1:]:
            add = conv.register_forward_pre_hook(lambda module, inputs: count.add(inputs[0], module))
            hooks.enter_context(add)
        yield count
