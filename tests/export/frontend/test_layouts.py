"""Spikes in other places than their node has them: in another order, gated, joined with zeros; and states of others."""

import nir
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from spikeclip.errors import RefusedInput
from tests.export.frontend.parity import assert_same, prepare, rates


class Changed(nn.Module):
    """Spikes `[T, B, 4, 3, 3]`, of which `change` makes currents, into neurons."""

    def __init__(self, change, back=lambda spikes: spikes) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.change, self.back = nn.Conv2d(2, 4, 1), change, back
        nn.init.constant_(self.conv.bias, 0.3)
        self.a, self.b = (neuron.LIFNode(step_mode="m", v_threshold=0.25) for _ in range(2))
        self.every, self.same, self.wide = nn.Linear(36, 36), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 36, 3)
        self.odd = nn.Conv2d(4, 4, (2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes = self.a(4 * self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
        return self.back(self.b(self.change(self, spikes)))


def at_each(layer: nn.Module, spikes: torch.Tensor) -> torch.Tensor:
    return layer(spikes.flatten(0, 1)).unflatten(0, spikes.shape[:2])


def zeros(spikes: torch.Tensor, *shape: int) -> torch.Tensor:
    return torch.zeros(*spikes.shape[:2], *shape)


TAKEN = {
    "zeros behind the channels": lambda net, s: torch.cat([s, zeros(s, 2, 3, 3)], 2),
    "zeros in front of the channels": lambda net, s: torch.cat([zeros(s, 2, 3, 3), 2 * s], 2),
    "a row of zeros": lambda net, s: torch.cat([zeros(s, 4, 1, 3), s], 3),
    "zeros in front of a vector": lambda net, s: torch.cat([zeros(s, 5), s.flatten(2)], 2),
    "zeros behind a matrix": lambda net, s: torch.cat([net.every(s.flatten(2)), zeros(s, 5)], 2),
    "zeros behind a convolution": lambda net, s: torch.cat([at_each(net.same, s), zeros(s, 2, 3, 3)], 2),
    "a convolution of zeros in channels": lambda net, s: at_each(
        net.same, torch.cat([s[:, :, :2], zeros(s, 2, 3, 3)], 2)
    ),
    "a matrix of zeros in a vector": lambda net, s: net.every(torch.cat([zeros(s, 5), s.flatten(2)[..., 5:]], 2)),
    "a vector backwards": lambda net, s: net.every(s.flatten(2)) + s.flatten(2).flip(-1),
    "channels backwards": lambda net, s: at_each(net.same, s) - s.flip(2),
    "columns first": lambda net, s: net.every(s.flatten(2)) + s.transpose(-1, -2).flatten(2),
    "columns first, of one position": lambda net, s: (
        at_each(net.wide, s) + s.transpose(-1, -2).flatten(2).unflatten(-1, (36, 1, 1))
    ),
    "one of two": lambda net, s: s[:, :, :2] * (1 - s[:, :, 2:]) + s[:, :, 2:] * (1 - s[:, :, :2]),
    "two channels of others": lambda net, s: s[:, :, :2] * (1 - s[:, :, 2:]),
}


def prepared(*change):
    return prepare(Changed(*change), 4, 2, 2, 3, 3, axes="TBCHW", input_kind="spikes", bounds=None)


@pytest.mark.parametrize("name", TAKEN)
def test_places_spikes_come_from(name):
    found = prepared(TAKEN[name])
    assert_same(found, images=8)
    assert 0.02 < rates(found, images=8)["b"] < 0.98


def test_neurons_that_read_all_of_a_node_in_another_order_need_no_weights_for_it():
    found = prepared(lambda net, s: net.every(s.flatten(2)).flip(-1), lambda spikes: spikes.flip(-1))
    assert {*found.graph.nodes} == {"input", "conv", "a", "every.flatten", "every", "b", "output"}
    assert_same(found)


def test_sums_over_windows_side_by_side_are_a_pool():
    found = prepared(lambda net, s: s.sum(3))
    (pool,) = (node for node in found.graph.nodes.values() if isinstance(node, nir.SumPool2d))
    assert (pool.kernel_size.tolist(), pool.stride.tolist(), pool.padding.tolist()) == ([3, 1], [3, 1], [0, 0])
    assert_same(found, images=8)


class Scores(nn.Module):
    """Two matrices behind a sum over time, which are the host's: each adds its bias once."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.lif = nn.Conv2d(2, 4, 1), neuron.LIFNode(step_mode="m", v_threshold=0.25)
        self.first, self.last = nn.Linear(24, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes = self.lif(4 * self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
        return self.last(self.first(spikes.flatten(2).sum(0)))


def test_matrices_behind_a_sum_over_time():
    net = Scores().eval()
    found = prepare(net, 4, 2, 2, 2, 3, axes="TBCHW", input_kind="spikes", bounds=None)
    frames = found.inputs.random(6, 4, 0)
    with torch.no_grad():
        expected = net(torch.from_numpy(frames).transpose(0, 1))
    assert found.record(frames).result == pytest.approx(expected.double().numpy(), abs=1e-3)


REFUSED = {
    "a sum": (lambda net, s: torch.cat([zeros(s, 4, 1, 3), s], 3).sum(2), "with gaps"),
    "one less half a spike": (lambda net, s: s[:, :, :2] * (1 - 0.5 * s[:, :, 2:]), "expected spikes"),
    "one less factors of channels": (
        lambda net, s: s * (1 - torch.tensor([1.0, 2, 3, 4])[:, None, None] * s),
        "expected spikes",
    ),
    "two less spikes": (lambda net, s: s[:, :, :2] * (2 - s[:, :, 2:]), "expected spikes"),
    "a kernel that isn't square": (lambda net, s: at_each(net.odd, s), "NIR"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_reads_them_otherwise_is_refused(name):
    change, words = REFUSED[name]
    with pytest.raises(RefusedInput, match=words):
        prepared(change)


class Leaky(nn.Module):
    """snnTorch's, as its documentation has it: what it subtracts is by the spike of the step before."""

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        self.beta, self.threshold, self.reset_mechanism = beta, torch.tensor(1.0), "subtract"
        self.init_hidden = self.output = False

    def reset_mem(self) -> torch.Tensor:
        return torch.zeros(0)

    def forward(self, x: torch.Tensor, mem: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mem = torch.zeros_like(x) if mem.numel() == 0 else mem
        mem = self.beta * mem + x - (mem > self.threshold).to(x.dtype) * self.threshold
        return (mem > self.threshold).to(x.dtype), mem


Leaky.__module__ = "snntorch.made"


class Loop(nn.Module):
    """The loop of snnTorch's tutorials; `given` names the states that the two neurons get, of all that there are."""

    def __init__(self, given=lambda first, second, step: (first[-1], second[-1]), start: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one, self.two, self.lif, self.out = nn.Linear(6, 6), nn.Linear(6, 6), Leaky(), Leaky(0.75)
        self.given, self.start = given, start

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = [torch.full(x.shape, self.start)], [torch.zeros(x.shape)]
        found = []
        for step in range(5):
            states = self.given(first, second, step)
            spikes, mem = self.lif(4 * self.one(x), states[0])
            out, last = self.out(4 * self.two(spikes), states[1])
            first.append(mem)
            second.append(last)
            found.append(out)
        return torch.stack(found)


def test_states_are_those_of_the_step_before():
    found = prepare(Loop(), 6, time_steps=5)
    assert_same(found, images=10)
    assert {0.02 < rate < 0.98 for rate in rates(found, images=10).values()} == {True}


OTHERS = {
    "of two steps before": lambda first, second, step: (first[max(step - 1, 0)], second[-1]),
    "of the first step": lambda first, second, step: (first[min(step, 1)], second[-1]),
    "of the other neuron": lambda first, second, step: (second[-1], second[-1]),
    "of zeros again": lambda first, second, step: (first[-1] if step < 3 else torch.zeros(first[0].shape), second[-1]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_states_are_refused(name):
    with pytest.raises(RefusedInput, match=r"'lif'.* is given a state other than the one it returned"):
        prepare(Loop(OTHERS[name]), 6, time_steps=5)


def test_a_state_that_is_not_zero_at_first_is_refused():
    with pytest.raises(RefusedInput, match=r"'lif'.* is given a state other than the one it returned"):
        prepare(Loop(start=0.5), 6, time_steps=5)
