"""Membranes written out between the layers of a network's own forward: read by their algebra, spike for spike."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from export.frontend.margin import margins
from export.frontend.neurons.equations import Reset
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from spikeclip.errors import RefusedInput
from tests.export.frontend.parity import assert_same, prepare
from tests.export.frontend.written_out import Fires

STEPS = 4


class Net(nn.Module):
    """Images `[B, 3, 6, 6]`; weights on a grid, so that snapping leaves them as they are."""

    def __init__(self, run) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.run, self.conv, self.fc, self.beta = run, nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 36, 5), 0.75
        self.lif = neuron.LIFNode(v_threshold=0.5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_((3 * parameter * 64).round() / 64)
        self.kept = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.run(self, x)


def soft(net, x):
    first, last, votes = 0, 0, []
    for _ in range(STEPS):
        first = 0.5 * first + net.conv(x)
        spikes = (first > 0.5).float()
        first = first - spikes * 0.5
        last = net.kept * last + net.fc(spikes.flatten(1))
        votes.append(Fires.apply(last - 0.5))
        last = last * (1.0 - votes[-1])
    return torch.stack(votes)


def states_of_a_function(net, x):
    """STBP's: every step's membranes and spikes are arguments of the next."""

    def update(layer, x, mem, spike):
        mem = mem * 0.25 * (1.0 - spike) + layer(x)
        return mem, Fires.apply(mem - 0.5)

    mem = spike = torch.zeros(len(x), 4, 6, 6)
    votes = torch.zeros(len(x), 5)
    for _ in range(STEPS):
        mem, spike = update(net.conv, x, mem, spike)
        votes += net.fc(spike.view(len(x), -1))
    return votes / STEPS


def one_current_for_all_steps(net, x):
    current, mem, result = net.conv(x), None, 0
    for _ in range(STEPS):
        mem = current if mem is None else mem * net.beta + current
        spikes = (mem >= 1).to(x)
        mem = torch.where(spikes.bool(), torch.zeros_like(mem), mem)
        result = result + net.fc(spikes.flatten(1))
    return result


def late(net, x):
    """snnTorch's tutorial: what is taken off is compared anew, in the next step."""
    mem, result = torch.zeros(1), []
    for _ in range(STEPS):
        reset = (mem > 1).float()
        mem = 0.5 * mem + net.conv(x) - reset * 1.0
        result.append(net.fc((mem > 1).float().flatten(1)))
    return torch.stack(result)


def divided(net, x):
    """SpikingJelly's equation; the threshold is a divisor."""
    v, result = torch.zeros_like(net.conv(x)), []
    for _ in range(STEPS):
        v = v + (net.conv(x) - v) / 2.0
        spikes = torch.heaviside(v / 0.25 - 1, torch.tensor(1.0))
        v = v.masked_fill(spikes.bool(), 0.0)
        result.append(net.fc(spikes.flatten(1)))
    return torch.stack(result).mean(0)


def layer_by_layer(net, x):
    mem, trains = 0, []
    for _ in range(STEPS):
        mem = mem * 0.75 + net.conv(x)
        trains.append((mem - 0.25 > 0).float())
        mem = (1 - trains[-1]) * mem
    mem, votes = 0, []
    for spikes in trains:
        mem = mem + net.fc(spikes.flatten(1))
        votes.append((mem > 0.5).float())
    return torch.stack(votes)


def beside_a_library(net, x):
    """Neurons of a library before them, and a residual of their spikes."""
    mem, votes = 0, []
    for _ in range(STEPS):
        spikes = net.lif(net.conv(x))
        mem = 0.5 * mem + torch.roll(spikes, 1, 1) + spikes
        fired = (mem > 1).float()
        mem = mem * (1 - fired)
        votes.append(net.fc(fired.flatten(1)))
    return torch.stack(votes)


READ = {
    soft: {"conv_neurons": (0.5, 0.5, Reset.SOFT, False), "fc_neurons": (0.5, 0.5, Reset.HARD, False)},
    states_of_a_function: {"conv_neurons": (0.75, 0.5, Reset.HARD, False)},
    one_current_for_all_steps: {"conv_neurons": (0.25, 1.0, Reset.HARD, True)},
    late: {"conv_neurons": (0.5, 1.0, Reset.SOFT_LATE, False)},
    divided: {"conv_neurons": (0.5, 1.0, Reset.HARD, True)},
    layer_by_layer: {"conv_neurons": (0.25, 0.25, Reset.HARD, False), "fc_neurons": (0.0, 0.5, Reset.NONE, False)},
    beside_a_library: {"lif": (0.5, 0.5, Reset.HARD, True), "lif_neurons": (0.5, 1.0, Reset.HARD, False)},
}
"""Of each forward its neurons: decay, threshold, reset, and whether they fire at the threshold."""


@pytest.mark.parametrize("code", READ, ids=lambda code: code.__name__)
def test_membranes_between_layers_spike_as_the_untouched_module(code):
    prepared = prepare(Net(code), 3, 6, 6)
    found = {path: placed.neurons for path, placed in prepared.neurons.items()}
    assert {path: (n.decay, n.threshold, n.reset, n.at_threshold) for path, n in found.items()} == READ[code]
    assert_same(prepared)
    frames = prepared.inputs.random(5, STEPS, 0)
    trace = run(from_nir(prepared.graph), frames)
    with torch.no_grad():
        net = Net(code)
        expected = np.concatenate([_result(net, frame) for frame in torch.from_numpy(frames)])
    found = trace.outputs.reshape(5, -1) if prepared.readout is None else prepared.readout.scores(trace.outputs)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert all(0 < train.count() < train.neurons * 5 * STEPS for train in trace.spikes.values())
    assert any("by their algebra" in note for note in prepared.notes)


def _result(net, frame):
    net.lif.reset()
    return net(frame[None]).reshape(1, -1).numpy()


def test_margins_of_such_neurons_are_found():
    prepared = prepare(Net(late), 3, 6, 6)
    found = margins(prepared, prepared.inputs.random(3, STEPS, 0))
    assert set(found) == {"conv_neurons"}
    assert found["conv_neurons"].nearest >= 0


def step(code):
    """A forward whose membranes m go on by `code(m, s, x, t)`, s the spikes of the step before."""

    def forward(net, x):
        mem = spikes = torch.zeros(len(x), 5)
        votes = []
        for t in range(STEPS):
            mem = code(mem, spikes, net.fc(net.lif(net.conv(x)).flatten(1)), t)
            spikes = (mem > 0.5).float()
            votes.append(spikes)
        return torch.stack(votes)

    return forward


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (lambda m, s, x, t: (0.5 * m + x) * (1 - s), "currents by spikes"),
        (lambda m, s, x, t: (0.5 + 0.1 * t) * m * (1 - s) + x, "another equation in one time step"),
        (lambda m, s, x, t: 0.5 * m - 0.3 * s + x, r"go on from 0.5 m \+ 0 m s \+ -0.3 s"),
        (lambda m, s, x, t: 0.5 * m * (1 - 0.5 * s) + x, "another equation in one time step"),
        (lambda m, s, x, t: m * torch.linspace(0.5, 0.75, 5) * (1 - s) + x, "multiplied by several numbers"),
        (lambda m, s, x, t: x, "membranes of 1 time steps, where the network has 4"),
        (lambda m, s, x, t: 1.5 * m * (1 - s) + x, "decays by -0.5"),
        (lambda m, s, x, t: 0.5 * m * (1 - s) + x + s @ torch.ones(5, 5), "of other time steps or images than its own"),
    ],
)
def test_other_membranes_are_refused_with_what_they_do(code, words):
    with pytest.raises(RefusedInput, match=words):
        prepare(Net(step(code)), 3, 6, 6)


def test_a_comparison_that_the_result_does_not_need_is_not_looked_at():
    def forward(net, x):
        rate = (net.conv(x) > 0.5).float().mean()
        return soft(net, x), rate

    assert_same(prepare(Net(forward), 3, 6, 6))


def test_half_a_spike_at_the_threshold_is_refused():
    def forward(net, x):
        mem, votes = 0, []
        for _ in range(STEPS):
            mem = 0.5 * mem + net.conv(x)
            spikes = torch.heaviside(mem - 1, torch.tensor(0.5))
            mem = mem * (1 - spikes)
            votes.append(net.fc(spikes.flatten(1)))
        return torch.stack(votes)

    with pytest.raises(RefusedInput, match="heaviside"):
        prepare(Net(forward), 3, 6, 6)
