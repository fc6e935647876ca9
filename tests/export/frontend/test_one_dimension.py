"""Convolutions and pools along one dimension, and kernels that are no squares: spike for spike as the module's own."""

import nir
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from export.frontend.lowering import _square, inside_square
from export.frontend.nodes import Window
from spikeclip.errors import RefusedInput
from tests.export.frontend.parity import assert_same, lively, prepare


class Audio(nn.Module):
    """Frames `[B, 3, 24]` that are shown four times."""

    def __init__(self, conv: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.conv, self.pool = nn.Conv1d(3, 6, 5, 2, 2), conv, pool
        self.norms = nn.ModuleList([nn.BatchNorm1d(6), nn.BatchNorm1d(8)])
        self.lifs = nn.ModuleList([neuron.LIFNode(v_threshold=0.5), neuron.LIFNode(v_threshold=0.5)])
        self.head = nn.Linear(8, 5)

    def step(self, x):
        y = self.lifs[0](self.norms[0](self.first(x)))
        y = self.lifs[1](self.norms[1](self.conv(self.pool(y))))
        return self.head(y.mean(-1))

    def forward(self, x):
        functional.reset_net(self)
        return sum(self.step(x) for _ in range(4)) / 4


@pytest.mark.parametrize(
    ("conv", "pool"),
    [
        (nn.Conv1d(6, 8, 3, padding=1, bias=False), nn.MaxPool1d(2)),
        (nn.Conv1d(6, 8, 4, stride=2), nn.MaxPool1d(3, stride=2, padding=1)),
        (nn.Conv1d(6, 8, 3, dilation=2, groups=2, padding="same"), nn.AvgPool1d(2)),
        (nn.Conv1d(6, 8, 2, dilation=3), nn.AvgPool1d(3, stride=1, padding=1)),
        (nn.Conv1d(6, 8, 1), nn.AdaptiveAvgPool1d(4)),
    ],
)
def test_one_dimension_is_maps_of_one_column(conv, pool):
    prepared = prepare(lively(Audio(conv, pool)), 2, 3, 24, axes="BCN")
    assert_same(prepared)
    assert prepared.inputs.frame == (3, 24, 1)
    convolutions = [node for node in prepared.graph.nodes.values() if isinstance(node, nir.Conv2d)]
    assert all(node.weight.shape[2] == node.weight.shape[3] for node in convolutions)


def test_more_padding_on_one_side_is_refused():
    with pytest.raises(RefusedInput, match=r"'conv' \(aten.conv1d.padding\) pads one side more"):
        prepare(Audio(nn.Conv1d(6, 8, 4, padding="same"), nn.Identity()), 2, 3, 24, axes="BCN")


@pytest.mark.parametrize("kernel", [(1, 3), (3, 1), (5, 3), (1, 5)])
def test_kernels_of_maps_that_are_no_squares(kernel):
    conv = nn.Conv2d(3, 6, kernel, padding=(kernel[0] // 2, kernel[1] // 2), stride=(1, 2))
    net = nn.Sequential(conv, neuron.LIFNode(v_threshold=0.5), nn.Flatten(), nn.Linear(6 * 32, 5))

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            functional.reset_net(self)
            return sum(self.net(x) for _ in range(4)) / 4

    assert_same(prepare(Loop(), 3, 8, 8))


@pytest.mark.parametrize("kernel", [(2, 1), (3, 1), (4, 1), (5, 3), (1, 4)])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 10])
def test_a_square_computes_what_its_kernel_does_or_has_another_shape(kernel, dilation, stride):
    generator = torch.Generator().manual_seed(0)
    size = tuple(1 if k == 1 else 29 for k in kernel)
    x, weight = torch.rand(1, 2, *size, generator=generator), torch.rand(3, 2, *kernel, generator=generator)
    window = Window((stride, stride), (1 if kernel[0] > 1 else 0, 0), (dilation, dilation))
    square, wide = _square(weight.numpy(), window, size)
    rows, columns = inside_square(kernel)
    assert square[:, :, rows, columns].tolist() == weight.tolist()
    expected = nn.functional.conv2d(x, weight, None, window.stride, window.padding, window.dilation)
    found = nn.functional.conv2d(x, torch.from_numpy(square), None, wide.stride, wide.padding, wide.dilation)
    torch.testing.assert_close(found, expected)
