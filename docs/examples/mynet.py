"""A small spiking network in SpikingJelly, as one writes it: what `spikeclip export --module` takes."""

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn


def make() -> nn.Module:
    """Two layers of leaky integrate-and-fire neurons and a readout, on one frame per time step, `[T, B, C, H, W]`."""
    torch.manual_seed(0)  # in the place of trained weights
    net = nn.Sequential(
        layer.Conv2d(1, 8, 4, stride=4, bias=False),
        layer.BatchNorm2d(8),
        neuron.LIFNode(v_threshold=0.3, v_reset=0.0),
        layer.Flatten(),
        layer.Linear(8 * 7 * 7, 32),
        neuron.LIFNode(v_threshold=0.1, v_reset=0.0),
        layer.Linear(32, 10),
    )
    functional.set_step_mode(net, "m")
    return net.eval()
