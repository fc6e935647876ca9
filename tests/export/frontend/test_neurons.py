"""Neurons, library by library: the equation that is read off a module is the one that the module steps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from export.frontend.neurons import spikingjelly
from export.frontend.neurons.equations import Neurons, Reset
from export.frontend.writing_back import needs_stepping
from spikeclip.errors import RefusedInput
from tests.export.frontend.parity import assert_same, lively, prepare


class Own(neuron.LIFNode):
    """A user's neuron that inherits from one that is known, and computes something else."""

    def single_step_forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().single_step_forward(2 * x)


def stepped(neurons: Neurons, x: torch.Tensor) -> torch.Tensor:
    """An oracle: the equation of `neurons.equations`, word for word, in float64."""
    v, s, spikes = torch.full_like(x[0], neurons.rest), torch.zeros_like(x[0]), []
    for current in x:
        late = neurons.threshold * s if neurons.reset is Reset.SOFT_LATE else 0.0
        v = (1 - neurons.decay) * v + neurons.decay * neurons.rest + neurons.gain * current - late
        s = (v >= neurons.threshold if neurons.at_threshold else v > neurons.threshold).double()
        spikes.append(s)
        if neurons.reset is Reset.HARD:
            v = torch.where(s > 0, torch.full_like(v, neurons.rest), v)
        elif neurons.reset is Reset.SOFT:
            v = v - neurons.threshold * s
    return torch.stack(spikes)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["lif", "if", "plif"]),
    tau=st.sampled_from([2.0, 4.0, 1.25]),
    decay_input=st.booleans(),
    reset=st.sampled_from([0.0, -0.5, None]),
    threshold=st.sampled_from([0.5, 1.0, 1.5]),
    seed=st.integers(0, 1000),
)
def test_the_equation_of_spikingjellys_neurons_is_what_they_step(kind, tau, decay_input, reset, threshold, seed):
    common = {"v_threshold": threshold, "v_reset": reset, "step_mode": "m"}
    if kind == "if":
        made = neuron.IFNode(**common)
    elif kind == "lif":
        made = neuron.LIFNode(tau=tau, decay_input=decay_input, **common)
    else:
        made = neuron.ParametricLIFNode(init_tau=tau, decay_input=decay_input, **common)
    found = spikingjelly.read(made, "lif")
    x = torch.randint(-8, 16, (6, 50), generator=torch.Generator().manual_seed(seed)).double() / 8
    with torch.no_grad():
        assert torch.equal(made.double()(x), stepped(found, x))


@pytest.mark.parametrize("threshold", [float("inf"), 1e-60])
def test_thresholds_that_float32_has_no_number_for_are_refused(threshold):
    net = nn.Sequential(layer.Linear(4, 3, step_mode="m"), neuron.LIFNode(v_threshold=threshold, step_mode="m"))
    with pytest.raises(RefusedInput, match=r"has the threshold .*; expected a float32 above 0"):
        prepare(net, 4, 2, 4, axes="TBC")


@pytest.mark.parametrize(
    ("more", "snntorchs", "stepped_"),
    [
        ({}, False, False),
        ({"decay": 0.0}, False, False),
        ({"decay": 0.3}, False, True),
        ({"reset": Reset.SOFT}, False, True),
        ({"reset": Reset.SOFT}, True, False),
        ({"reset": Reset.SOFT, "decay": 0.3}, True, True),
        ({"synapse": 0.5}, False, True),
    ],
)
def test_neurons_whose_own_code_rounds_are_stepped(more, snntorchs, stepped_):
    part = type("Part", (nn.Module,), {"__module__": "snntorch.made" if snntorchs else "made"})()
    equation = Neurons(**{"decay": 0.5, "gain": 0.5, "threshold": 1.0, **more})
    assert needs_stepping(equation, part) is stepped_


def test_a_neuron_that_inherits_from_a_known_one_and_computes_something_else_is_refused_by_name():
    with pytest.raises(RefusedInput, match=r"'lif'.*Own computes something else than LIFNode"):
        spikingjelly.read(Own(), "lif")


class Steps(nn.Module):
    """A loop over time in Python around single-step layers."""

    def __init__(self, *layers: nn.Module, steps: int = 4) -> None:
        super().__init__()
        self.steps, self.layers = steps, nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = 0.0
        for _ in range(self.steps):
            total = total + self.layers(x)
        return total / self.steps


@pytest.mark.parametrize("reset", [0.0, None])
@pytest.mark.parametrize("tau", [2.0, 4 / 3, 1.7])
def test_a_loop_over_time_rolls_up_and_stays_the_same(reset, tau):
    net = Steps(
        layer.Conv2d(3, 6, 3, padding=1),
        layer.BatchNorm2d(6),
        neuron.LIFNode(tau=tau, v_reset=reset),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(6 * 16, 10),
        neuron.IFNode(v_reset=reset),
    )
    prepared = prepare(lively(net), 3, 8, 8)
    assert {"layers.2", "layers.6"} <= set(prepared.graph.nodes)
    assert prepared.readout.time_weights.tolist() == [0.25] * 4
    assert_same(prepared)


def test_step_modes_give_the_same_graph():
    def net(steps: int) -> nn.Module:
        torch.manual_seed(0)
        made = nn.Sequential(layer.Conv2d(3, 6, 3), neuron.LIFNode(), layer.Flatten(), layer.Linear(216, 4))
        return made if steps else Steps(*made)

    class Multi(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = net(1)
            functional.set_step_mode(self.layers, "m")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x.unsqueeze(0).repeat(4, 1, 1, 1, 1)).mean(0)

    single, multi = prepare(net(0), 3, 8, 8).graph, prepare(Multi(), 3, 8, 8).graph
    assert set(single.nodes) == set(multi.nodes)
    assert set(single.edges) == set(multi.edges)
    assert all((single.nodes[n].weight == multi.nodes[n].weight).all() for n in ("layers.0", "layers.3"))


def test_neurons_called_for_fewer_time_steps_than_the_network_has_are_refused():
    net = nn.Sequential(nn.Conv2d(3, 6, 3), neuron.LIFNode(), nn.Flatten(), nn.Linear(216, 4))
    with pytest.raises(RefusedInput, match=r"'1' takes one time step a call and is called 1x.* 4 time steps"):
        prepare(net, 3, 8, 8)


class SnnTorch(nn.Module):
    """The loop of snnTorch's tutorials: states passed from step to step."""

    def __init__(self, make: object, states: int, steps: int = 5) -> None:
        super().__init__()
        self.steps, self.states = steps, states
        torch.manual_seed(1)
        self.first, self.lif, self.last = nn.Linear(12, 9), make(), nn.Linear(9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = self.lif.reset_mem()
        states = states if isinstance(states, tuple) else (states,)
        found = []
        for _ in range(self.steps):
            result = self.lif(4 * self.first(x), *states)
            states = result if type(self.lif).__name__.startswith("R") else result[1:]
            found.append(self.last(result[0]))
        return torch.stack(found)


SNNTORCH = {
    "Leaky": (lambda snn: snn.Leaky(beta=0.5), 1),
    "Leaky, a decay that is no p / 2^a": (lambda snn: snn.Leaky(beta=0.9), 1),
    "Leaky to zero": (lambda snn: snn.Leaky(beta=0.75, reset_mechanism="zero"), 1),
    "Leaky to zero at once": (lambda snn: snn.Leaky(beta=0.75, reset_mechanism="zero", reset_delay=False), 1),
    "Synaptic to zero at once": (
        lambda snn: snn.Synaptic(alpha=0.5, beta=0.75, reset_mechanism="zero", reset_delay=False),
        2,
    ),
    "RLeaky": (lambda snn: snn.RLeaky(beta=0.5, linear_features=9), 2),
    "RLeaky, one weight": (lambda snn: snn.RLeaky(beta=0.5, all_to_all=False, V=0.5), 2),
    "Synaptic": (lambda snn: snn.Synaptic(alpha=0.5, beta=0.75), 2),
    "RSynaptic": (lambda snn: snn.RSynaptic(alpha=0.5, beta=0.5, linear_features=9), 3),
}


@pytest.mark.filterwarnings("ignore")  # of snnTorch's own imports
@pytest.mark.parametrize("name", SNNTORCH)
def test_snntorchs_neurons_in_a_loop_of_their_tutorials(name):
    snn = pytest.importorskip("snntorch", reason="snnTorch is not among the requirements; `make zoo` installs it")
    make, states = SNNTORCH[name]
    prepared = prepare(SnnTorch(lambda: make(snn), states), 12, time_steps=5)
    report = assert_same(prepared, images=20)
    assert report.nodes["lif"].compared == 20 * 5 * 9


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda snn: snn.Synaptic(alpha=0.5, beta=0.5, reset_mechanism="zero"), "one step late"),
        (lambda snn: snn.Leaky(beta=0.5, reset_delay=False), "again in the next step"),
        (
            lambda snn: snn.RSynaptic(alpha=0.5, beta=0.5, linear_features=9, reset_delay=False),
            "spikes of the step before",
        ),
        (lambda snn: snn.Alpha(alpha=0.9, beta=0.5), "Alpha"),
        (lambda snn: snn.Leaky(beta=torch.rand(9)), "9 values of beta"),
    ],
)
def test_snntorchs_neurons_that_nir_has_no_word_for_are_refused(make, words):
    snn = pytest.importorskip("snntorch", reason="snnTorch is not among the requirements; `make zoo` installs it")
    with pytest.raises(RefusedInput, match=rf"'lif'.*{words}"):
        prepare(SnnTorch(lambda: make(snn), 1), 12, time_steps=5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in SNNTORCH if name.startswith("R")])
def test_the_graph_steps_as_snntorchs_own_recurrent_neurons(name):
    """What stands for these in the module is ours, so the untouched module is the oracle."""
    snn = pytest.importorskip("snntorch", reason="snnTorch is not among the requirements; `make zoo` installs it")
    make, states = SNNTORCH[name]
    net = SnnTorch(lambda: make(snn), states)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_((parameter * 64).round() / 64)  # on a grid: snapping then leaves them as they are
    prepared = prepare(net, 12, time_steps=5)
    frames = prepared.inputs.random(20, 5, 0)
    with torch.no_grad():
        expected = net(torch.from_numpy(frames))
    np.testing.assert_allclose(prepared.record(frames).result, expected.numpy(), atol=1e-5)
