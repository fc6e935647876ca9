"""SpikingJelly's recurrent containers: their spikes are those of the untouched module."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from spikeclip.errors import RefusedInput
from tests.export.frontend.parity import assert_same, prepare


class Net(nn.Module):
    def __init__(self, container: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.fc, self.lif, self.last = layer.Linear(12, 8), neuron.LIFNode(v_threshold=0.5), container
        functional.set_step_mode(self, "m")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_((4 * parameter * 16).round() / 16)

    def forward(self, x):
        return self.last(self.lif(self.fc(x.unsqueeze(0).repeat(4, 1, 1))))


def linear():
    return layer.LinearRecurrentContainer(neuron.LIFNode(v_threshold=0.5), 8, 8)


def summed():
    return layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda x, y: x + y)


@pytest.mark.parametrize("container", [linear, summed])
def test_recurrent_containers_spike_as_untouched(container):
    torch.manual_seed(0)
    net = Net(container()).eval()
    prepared = prepare(net, 12)
    assert_same(prepared)
    frames = prepared.inputs.random(6, 4, 0)
    functional.reset_net(net)
    with torch.no_grad():
        expected = net(torch.from_numpy(frames)).transpose(0, 1)
    trace = run(from_nir(prepared.graph), frames)
    np.testing.assert_array_equal(trace.outputs.reshape(expected.shape), expected.numpy())
    assert 0 < expected.mean() < 1


def test_another_function_of_what_comes_back_is_refused():
    container = layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda x, y: x - y)
    with pytest.raises(RefusedInput, match="of other time steps"):
        prepare(Net(container), 12)
