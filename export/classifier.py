"""The torch model that is exported and that parity is measured against: an encoder with its readout."""

import copy

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn
from torch.nn import functional as F

from spikeclip.encoder import SpikeClip


class Readout(nn.Linear):
    """`y_t = W Σ_tokens x_t + b`, in float64, rounded once, since sums of currents may need more bits than 24.

    Shapes: float `[T, B, D, H, W]` to float32 `[T, B, classes]`.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        sums = tokens.sum((-2, -1), dtype=torch.float64)
        return F.linear(sums, self.weight, self.bias).float()


class Classifier(nn.Module):
    """`scores = Σ_t w_t y_t + b`: an encoder of SpikingJelly layers, and its readout.

    In `spike-driven`, what is read out are the spikes of the last neurons, and w is 1 / T.  In `paper`, it is the
    residual stream, w is learned, and the bias is added once, to the sum over time.

    Shapes: frames float32 `[B, C, H, W]` to scores float64 `[B, classes]`.

    Attributes:
        encoder: `[T, B, C, H, W]` to what is read out, by its method `tokens`.
        readout: its weight is the checkpoint's, divided by the number of tokens N.
        tokens_read: N.
        time_weights: float64 `[T]`.
        bias: float64 `[classes]`; zeros where the readout has it.
    """

    def __init__(self, model: SpikeClip) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(model.encoder)
        config = self.encoder.config
        published = config.architecture == "paper"
        self.tokens_read = (config.image_size // 4) ** 2
        classes = model.readout.out_features
        self.readout = Readout(model.readout.in_features, classes)
        bias = model.readout.bias.detach()
        with torch.no_grad():
            self.readout.weight.copy_(model.readout.weight.detach().double() / self.tokens_read)
            self.readout.bias.copy_(torch.zeros_like(bias) if published else bias)
        self.readout.double()
        steps = config.time_steps
        weights = self.encoder.time_weights.detach().double() if published else torch.full((steps,), 1 / steps).double()
        self.time_weights: Tensor
        self.bias: Tensor
        self.register_buffer("time_weights", weights)
        self.register_buffer("bias", bias.double() if published else torch.zeros(classes, dtype=torch.float64))

    def forward(self, frames: Tensor) -> Tensor:
        return torch.einsum("t,tbc->bc", self.time_weights, self.outputs(frames).double()) + self.bias

    def outputs(self, frames: Tensor) -> Tensor:
        """The readout of every time step: `[B, C, H, W]` to float32 `[T, B, classes]`."""
        outputs: Tensor = self.readout(self.encoder.tokens(self.present(frames)))
        return outputs

    def present(self, frames: Tensor) -> Tensor:
        """Every frame T times, before neurons at rest: `[B, C, H, W]` to `[T, B, C, H, W]`."""
        functional.reset_net(self.encoder)
        return frames.unsqueeze(0).expand(len(self.time_weights), *frames.shape)
