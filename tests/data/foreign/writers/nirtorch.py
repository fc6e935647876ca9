"""nirtorch 2.6, with nir 1.0.8: what it maps itself (`Linear`), and neurons by a map that its caller writes."""

import nir
import nirtorch
import numpy as np
import torch

from writers import inputs, keep, snapped, stepped


class Lif(torch.nn.Module):
    """`v += (x - v) / 2`; spikes above 1/2; hard reset."""

    def __init__(self, size):
        super().__init__()
        self.size, self.v = size, 0.0

    def forward(self, x):
        self.v = self.v + (x - self.v) / 2
        spikes = (self.v > 0.5001).float()
        self.v = self.v * (1 - spikes)
        return spikes


class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.n1 = torch.nn.Linear(6, 5), Lif(5)
        self.fc2, self.n2 = torch.nn.Linear(5, 5, bias=False), Lif(5)
        self.fc3 = torch.nn.Linear(5, 3)

    def forward(self, x):
        spikes = self.n1(self.fc1(x))
        return self.fc3(self.n2(self.fc2(spikes) + spikes))


def written(module):
    size = np.ones(module.size, np.float32)
    return nir.LIF(tau=2e-4 * size, r=size, v_leak=0 * size, v_threshold=0.5001 * size, v_reset=0 * size)


def write(folder):
    net, frames = snapped(Residual()), inputs(6)
    keep(folder, "nirtorch_residual", nirtorch.torch_to_nir(net, {Lif: written}), frames, stepped(net, frames))
