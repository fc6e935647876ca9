"""The torch model that parity is measured against: folded, snapped, and read out per time step as the graph does."""

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, fx, nn

from export.readout import Readout


class SnappedSpikeClip(nn.Module):
    """`y_t = R / N Σ_tokens x_t + r`: an encoder of SpikingJelly layers whose every sum is exact, with its readout.

    The encoder computes in float32; the readout in float64, rounded once, since sums of currents may need more bits.

    Shapes: frames float32 `[B, C, H, W]` to outputs float32 `[T, B, classes]`.

    Attributes:
        encoder: the traced encoder, `[T, B, C, H, W]` to what is read out: spikes, or currents of the residual stream.
        readout: linear, its weight divided by the number of tokens N.
        time_weights: float64 `[T]`, of the outputs in the scores.
        bias: float64 `[classes]`, added to the scores; zeros where the readout has it.
    """

    def __init__(self, encoder: fx.GraphModule, readout: nn.Linear, host: Readout) -> None:
        super().__init__()
        self.encoder, self.readout = encoder, readout.double()
        self.time_weights: Tensor
        self.bias: Tensor
        self.register_buffer("time_weights", torch.tensor(host.time_weights, dtype=torch.float64))
        bias = host.bias or (0.0,) * readout.out_features
        self.register_buffer("bias", torch.tensor(bias, dtype=torch.float64))

    def forward(self, frames: Tensor) -> Tensor:
        return self.read(self.encoder(self.present(frames)))

    def present(self, frames: Tensor) -> Tensor:
        """Every frame T times, before neurons at rest: `[B, C, H, W]` to `[T, B, C, H, W]`."""
        functional.reset_net(self.encoder)
        return frames.unsqueeze(0).expand(len(self.time_weights), *frames.shape)

    def read(self, tokens: Tensor) -> Tensor:
        """The readout of what the encoder returns: `[T, B, C, H, W]` to `[T, B, classes]`."""
        sums: Tensor = tokens.sum((-2, -1), dtype=torch.float64)
        result: Tensor = self.readout(sums).float()
        return result

    def scores(self, frames: Tensor) -> Tensor:
        """`Σ_t w_t y_t + b`, in float64: to `[B, classes]`."""
        return torch.einsum("t,tbc->bc", self.time_weights, self(frames).double()) + self.bias
