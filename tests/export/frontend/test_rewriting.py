"""RepConv: the published module's own arithmetic as the oracle, and a module of the same name that is another."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from export.frontend.rewriting import rewritten
from spikeclip.errors import RefusedInput


class Padded(nn.Module):
    """A normalisation that pads with what it makes of 0 (RepVGG's re-parametrisation, Ding et al.)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = F.pad(self.bn(x), [1, 1, 1, 1])
        edge = self.bn.bias - self.bn.running_mean * self.bn.weight / torch.sqrt(self.bn.running_var + self.bn.eps)
        for side in (y[:, :, :1], y[:, :, -1:], y[:, :, :, :1], y[:, :, :, -1:]):
            side[...] = edge.view(1, -1, 1, 1)
        return y


class RepConv(nn.Module):
    def __init__(self, channels: int, out: int, gain: float = 1.0) -> None:
        super().__init__()
        last = nn.Sequential(
            nn.Conv2d(channels, channels, 3, groups=channels, bias=False),
            nn.Conv2d(channels, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.body = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), Padded(channels), last)
        self.gain = gain

    def forward(self, x):
        return self.gain * self.body(x)


def wild(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, -2, 2)
            nn.init.uniform_(part.bias, -2, 2)
            part.running_mean.uniform_(-2, 2)
            part.running_var.uniform_(0.1, 3)
    return module.eval().requires_grad_(False)


def test_repconv_is_one_convolution():
    torch.manual_seed(0)
    net = wild(nn.Sequential(RepConv(4, 6), nn.ReLU(), RepConv(6, 6))).double()
    x = (torch.rand(2, 4, 9, 9) < 0.3).double()
    expected = net(x)
    found, notes = rewritten(net)
    assert notes == ("2 RepConv as one convolution each",)
    assert isinstance(found[0], nn.Conv2d)
    torch.testing.assert_close(found(x), expected, rtol=1e-9, atol=1e-9)


def test_a_module_of_the_same_name_that_computes_something_else_is_refused():
    with pytest.raises(RefusedInput, match=r"'0' computes something else than RepConv"):
        rewritten(wild(nn.Sequential(RepConv(4, 6, gain=2.0))))


def test_a_module_of_the_same_name_with_other_parts_is_refused():
    class RepConv(nn.Module):
        pass

    with pytest.raises(RefusedInput, match=r"'0' is no RepConv"):
        rewritten(nn.Sequential(RepConv()))
