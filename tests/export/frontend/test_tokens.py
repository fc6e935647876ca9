import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from spikeclip.errors import RefusedInput
from tests.export.frontend.parity import assert_same, prepare, rates


class Eroded(nn.Module):
    """The maximum over neighbouring tokens and channels of each head, as Spike-Driven-Transformer pools event data."""

    def __init__(self, kernel: tuple[int, int], fires: bool = True, stride: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        size = (1, *kernel)
        self.pool = nn.MaxPool3d(size, (1, stride, stride), tuple(k // 2 for k in size))
        self.conv = nn.Conv2d(2, 6, 3, padding=1)
        self.lif = neuron.LIFNode(step_mode="m") if fires else nn.Identity()
        self.mix, self.out = nn.Conv2d(6, 4, 1), neuron.LIFNode(step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps, images = x.shape[:2]
        y = self.lif(8 * self.conv(x.flatten(0, 1)).unflatten(0, (steps, images)))
        heads = y.flatten(3).unflatten(2, (2, 3)).transpose(-1, -2)  # T B heads tokens channels
        y = self.pool(heads).transpose(-1, -2).reshape(y.shape)
        return self.out(4 * self.mix(y.flatten(0, 1)).unflatten(0, (steps, images)))


def prepared(net: nn.Module, height: int, width: int):
    return prepare(net, 4, 2, 2, height, width, axes="TBCHW", input_kind="spikes", bounds=None)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 3), (3, 1), (5, 3), (11, 5)])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 5), (5, 2), (4, 1)])
def test_maxima_of_neighbouring_tokens_run_on_from_row_to_row(kernel, height, width):
    found = prepared(Eroded(kernel), height, width)
    assert_same(found, images=8)
    assert 0.02 < rates(found, images=8)["lif"] < 0.4


@pytest.mark.parametrize(
    ("net", "words"),
    [(Eroded((3, 3), fires=False), "maximum of currents"), (Eroded((3, 3), stride=3), "invalid")],
)
def test_maxima_that_no_gate_says_are_refused(net, words):
    with pytest.raises((RefusedInput, RuntimeError), match=words):
        prepared(net, 4, 4)
