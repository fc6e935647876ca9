"""Neurons as the field's papers write them out in PyTorch, without a library; thresholds and decays are their own."""

import torch
from torch import Tensor, nn


class Fires(torch.autograd.Function):
    """`x > 0`, or `x >= 0`, with a rectangle for a gradient."""

    @staticmethod
    def forward(ctx, x, at_threshold=False):
        ctx.save_for_backward(x)
        return x.ge(0.0).float() if at_threshold else x.gt(0.0).float()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() < 0.5).float(), None


class TimeFirst(nn.Module):
    """MS-ResNet, Spike-driven transformers, STBP: a membrane that is kept from step to step, results in place."""

    time_axis = 0

    def forward(self, x: Tensor) -> Tensor:
        mem, spike, output, mem_old = torch.zeros_like(x[0]), torch.zeros_like(x[0]), torch.zeros_like(x), 0
        for i in range(x.shape[0]):
            mem = mem_old * 0.25 * (1 - spike.detach()) + x[i] if i >= 1 else x[i]
            spike = Fires.apply(mem - 0.5)
            mem_old = mem.clone()
            output[i] = spike
        return output


class TimeSecond(nn.Module):
    """TET, DSR, IM-Loss: a list over the second axis."""

    time_axis = 1

    def __init__(self, thresh: float = 1.0, tau: float = 0.5) -> None:
        super().__init__()
        self.act, self.thresh, self.tau = Fires.apply, thresh, tau

    def forward(self, x: Tensor) -> Tensor:
        mem, spikes = 0, []
        for t in range(x.shape[1]):
            mem = mem * self.tau + x[:, t, ...]
            spike = self.act(mem - self.thresh)
            mem = (1 - spike) * mem
            spikes.append(spike)
        return torch.stack(spikes, dim=1)


class TimeLast(nn.Module):
    """tdBN's: time is the last axis, the state an argument of a method."""

    time_axis = -1

    def forward(self, x: Tensor) -> Tensor:
        u, out = torch.zeros(x.shape[:-1]), torch.zeros(x.shape)
        for step in range(x.shape[-1]):
            u, out[..., step] = self.update(u, out[..., max(step - 1, 0)], x[..., step])
        return out

    def update(self, u: Tensor, fired: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        u = 0.2 * u * (1 - fired) + x
        return u, Fires.apply(u - 0.3)


class SoftIf(nn.Module):
    """Conversion papers: integrate and fire at the threshold, which is taken off."""

    time_axis = 0

    def forward(self, x: Tensor) -> Tensor:
        v, spikes = torch.zeros_like(x[0]), []
        for current in x:
            v = v + current
            s = Fires.apply(v - 0.75, True)
            v = v - 0.75 * s
            spikes.append(s)
        return torch.stack(spikes)


class Divides(nn.Module):
    """A leak towards 0 by a learned tau, divided by it: SpikingJelly's form without SpikingJelly."""

    time_axis = 0

    def __init__(self) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.tensor(4.0))

    def forward(self, x: Tensor) -> Tensor:
        v, spikes = torch.zeros_like(x[0]), []
        for current in x:
            v = v + (current - v) / self.tau
            s = (v >= 0.25).to(x)
            v = torch.where(s.bool(), torch.zeros_like(v), v)
            spikes.append(s)
        return torch.stack(spikes)


class LateSoft(nn.Module):
    """A membrane that loses the threshold in the step after a spike, undecayed, as snnTorch's does."""

    time_axis = 0

    def forward(self, x: Tensor) -> Tensor:
        mem, spk, spikes = torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
        for current in x:
            mem = 0.75 * mem + current - spk
            spk = Fires.apply(mem - 1)
            spikes.append(spk)
        return torch.stack(spikes)


class NoReset(nn.Module):
    """A membrane that a spike leaves alone."""

    time_axis = 0

    def forward(self, x: Tensor) -> Tensor:
        mem, spikes = torch.zeros_like(x[0]), []
        for current in x:
            mem = 0.5 * mem + current
            spikes.append((mem > 1).float())
        return torch.stack(spikes)


class OneStep(nn.Module):
    """A step per call; the membrane is an attribute."""

    time_axis = None

    def __init__(self) -> None:
        super().__init__()
        self.mem: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.mem = self.mem * 0.5 + x
        spike = (self.mem > 0.5).float()
        self.mem = self.mem * (1.0 - spike)
        return spike


class Refractory(TimeSecond):
    """No paper's here: silent for a step behind a spike."""

    def forward(self, x: Tensor) -> Tensor:
        mem, spike, spikes = 0, 0, []
        for t in range(x.shape[1]):
            mem = (mem * 0.5 + x[:, t]) * (1 - spike)
            spike = self.act(mem - 1) * (1 - spike)
            spikes.append(spike)
        return torch.stack(spikes, dim=1)


class Network(nn.Module):
    """A convolution and a matrix, neurons behind each, on images `[B, 3, 6, 6]`; `[T, B, 5]` of spikes."""

    def __init__(self, neurons: type[nn.Module], steps: int = 4, shared: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.steps, self.axis = steps, neurons.time_axis
        self.conv, self.first = nn.Conv2d(3, 4, 3, padding=1), neurons()
        self.fc, self.last = nn.Linear(4 * 36, 5), None if shared else neurons()
        with torch.no_grad():
            for parameter in self.parameters():  # on a grid, which snapping leaves as it is
                parameter.copy_((3 * parameter * 64).round() / 64 if parameter.ndim else parameter)

    def forward(self, x: Tensor) -> Tensor:
        last = self.first if self.last is None else self.last
        if self.axis is None:
            return torch.stack([last(self.fc(self.first(self.conv(x)).flatten(1))) for _ in range(self.steps)])
        currents = self.conv(x).unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)
        spikes = self.first(currents.movedim(0, self.axis)).movedim(self.axis, 0)
        return last(self.fc(spikes.flatten(2)).movedim(0, self.axis)).movedim(self.axis, 0)
