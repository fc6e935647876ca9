"""Neurons of Norse, as its tutorials write networks: states passed on, a time axis, or `SequentialState`."""

import numpy as np
import pytest
import torch
from torch import nn

from spikeclip.errors import RefusedInput
from tests.export.frontend.parity import assert_same, prepare

pytestmark = pytest.mark.filterwarnings("ignore")  # of Norse's own imports

STEPS = 5


@pytest.fixture
def norse():
    return pytest.importorskip("norse.torch", reason="Norse is not among the requirements; `make zoo` installs it")


def box(norse, **settings):
    tensors = {name: torch.as_tensor(value) for name, value in settings.items() if name != "reset_method"}
    return norse.LIFBoxParameters(**{**settings, **tensors})


NEURONS = {
    "LIFCell": lambda n: n.LIFCell(),
    "LIFCell, dyadic": lambda n: n.LIFCell(
        n.LIFParameters(tau_syn_inv=torch.as_tensor(250.0), tau_mem_inv=torch.as_tensor(500.0))
    ),
    "LIFBoxCell": lambda n: n.LIFBoxCell(),
    "LIFBoxCell, dyadic": lambda n: n.LIFBoxCell(box(n, tau_mem_inv=500.0, v_th=0.75)),
    "LIFBoxCell, subtracting": lambda n: n.LIFBoxCell(
        box(n, tau_mem_inv=500.0, reset_method=n.functional.reset.reset_subtract)
    ),
    "IAFCell": lambda n: n.IAFCell(),
    "LIF": lambda n: n.LIF(),
    "IAF": lambda n: n.IAF(),
}


class Loop(nn.Module):
    """A current at every step, spikes, and a matrix."""

    def __init__(self, lif: nn.Module, timed: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.lif, self.last, self.timed = nn.Linear(12, 9), lif, nn.Linear(9, 3), timed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.timed:
            return self.last(self.lif(8 * self.first(x))[0])
        state, found = None, []
        for step in x:
            spikes, state = self.lif(8 * self.first(step), state)
            found.append(self.last(spikes))
        return torch.stack(found)


def prepared(net):
    return prepare(net, STEPS, 2, 12, time_steps=STEPS, axes="TBF")


@pytest.mark.parametrize("name", NEURONS)
def test_neurons_of_norse_spike_for_spike(norse, name):
    made = prepared(Loop(NEURONS[name](norse), timed="Cell" not in name))
    report = assert_same(made, images=20)
    assert report.nodes["lif"].compared == 20 * STEPS * 9


@pytest.mark.parametrize("name", [name for name in NEURONS if "dyadic" in name or "sub" in name or "IAF" in name])
@torch.no_grad()
def test_the_graph_steps_as_norses_own_neurons(norse, name):
    """What stands for some of these in the module is ours, so the untouched module is the oracle."""
    net = Loop(NEURONS[name](norse), timed="Cell" not in name).eval()
    for parameter in net.parameters():
        parameter.copy_((parameter * 64).round() / 64)  # on a grid: snapping then leaves them as they are
    made = prepared(net)
    frames = made.inputs.random(20, STEPS, 0)
    expected = net(torch.from_numpy(frames).transpose(0, 1))
    assert (expected != net.last.bias).any(-1).double().mean() > 0.02
    np.testing.assert_allclose(made.record(frames).result, expected.numpy(), atol=1e-5)


def test_a_sequential_of_norse(norse):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layers = norse.SequentialState(nn.Linear(12, 9), norse.LIFBoxCell(), nn.Linear(9, 4), norse.IAFCell())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state, found = None, []
            for step in x:
                spikes, state = self.layers(4 * step, state)
                found.append(spikes)
            return torch.stack(found)

    assert_same(prepared(Net()), images=10)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda n: n.LIFRefracCell(), "LIFRefracCell"),
        (lambda n: n.LIFBoxCell(box(n, v_leak=0.25)), "leaks to 0.25 and resets to 0"),
        (lambda n: n.LIFBoxCell(box(n, v_th=torch.linspace(0.5, 1.0, 9))), "9 values"),
        (lambda n: n.LIF(record_states=True), "without a record"),
    ],
)
def test_neurons_of_norse_that_nir_has_no_word_for_are_refused(norse, make, words):
    with pytest.raises(RefusedInput, match=rf"'lif'.*{words}"):
        prepared(Loop(make(norse), timed=False))
