"""The torch model that parity is measured against: folded, snapped, and read out per time step as the graph does."""

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, fx, nn


class SnappedSpikeClip(nn.Module):
    """`y_t = R / N Σ_tokens s_t + r`: an encoder of SpikingJelly layers whose every sum is exact, with its readout.

    Shapes: frames float32 `[B, C, H, W]` to outputs float32 `[T, B, classes]`; scores are their mean over time.

    Attributes:
        spikes: the traced encoder, `[T, B, C, H, W]` to the spikes of its last neurons.
        readout: linear, its weight divided by the number of tokens N.
        time_steps: T.
    """

    def __init__(self, spikes: fx.GraphModule, readout: nn.Linear, time_steps: int) -> None:
        super().__init__()
        self.spikes, self.readout, self.time_steps = spikes, readout, time_steps

    def forward(self, frames: Tensor) -> Tensor:
        return self.read(self.spikes(self.present(frames)))

    def present(self, frames: Tensor) -> Tensor:
        """Every frame T times, before neurons at rest: `[B, C, H, W]` to `[T, B, C, H, W]`."""
        functional.reset_net(self.spikes)
        return frames.unsqueeze(0).expand(self.time_steps, *frames.shape)

    def read(self, spikes: Tensor) -> Tensor:
        """The readout of the last neurons' spikes: `[T, B, C, H, W]` to `[T, B, classes]`."""
        counts: Tensor = spikes.sum((-2, -1))
        result: Tensor = self.readout(counts)
        return result

    def scores(self, frames: Tensor) -> Tensor:
        """`mean_t y_t`, in float64 so that it doesn't round where T is a power of two: to `[B, classes]`."""
        return torch.mean(self(frames), dim=0, dtype=torch.float64)
