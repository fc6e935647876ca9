"""What is read off neurons of Norse and snnTorch, number by number, of classes that are called like theirs.

Neither has to be installed; `test_norse` and `test_neurons` run the libraries' own.
"""

from collections import namedtuple

import pytest
import torch
from torch import nn

from export.frontend.neurons.equations import Neurons, Reset
from export.frontend.neurons.libraries import neurons_of, returned_states, set_threshold
from spikeclip.errors import RefusedInput


def reset_value():
    """Norse's functions are known by their names."""


def reset_subtract():
    """As `reset_value`."""


def reset_twice():
    """Which Norse hasn't."""


Parameters = namedtuple(
    "Parameters", "tau_syn_inv tau_mem_inv v_leak v_th v_reset reset_method", defaults=(250.0, 125.0, 0.0, 0.75, 0.0, 0)
)


def of(library: str, name: str, **attributes: object) -> nn.Module:
    """A module of a class of a library, with these attributes."""
    part = type(name, (nn.Module,), {"__module__": f"{library}.made"})()
    for key, value in attributes.items():
        setattr(part, key, value)
    return part


def norse(name: str, dt: float = 1e-3, record: bool = False, **parameters: object) -> nn.Module:
    return of("norse", name, dt=dt, state_fallback=None, record_states=record, p=Parameters(**parameters))


def snn(name: str, **attributes: object) -> nn.Module:
    common = {"beta": 0.875, "alpha": 0.75, "threshold": torch.tensor(1.5), "reset_mechanism": "subtract"}
    states = {"init_hidden": False, "output": False}
    return of("snntorch", name, **{**common, **states, **attributes})


def read(part: nn.Module) -> Neurons:
    return neurons_of(nn.ModuleDict({"lif": part}))["lif"]


NORSE = {
    "IAFCell": (norse("IAFCell"), Neurons(0.0, 1.0, 0.75, at_threshold=False, multi_step=False)),
    "IAF": (norse("IAF", v_reset=-0.5), Neurons(0.0, 1.0, 0.75, rest=-0.5, at_threshold=False)),
    "LIFBoxCell": (norse("LIFBoxCell"), Neurons(0.125, 0.125, 0.75, at_threshold=False, multi_step=False)),
    "LIFBoxCell, subtracting": (
        norse("LIFBoxCell", reset_method=reset_subtract),
        Neurons(0.125, 0.125, 0.75, Reset.SOFT, at_threshold=False, multi_step=False),
    ),
    "LIF": (
        norse("LIF", v_leak=0.25, v_reset=0.25, reset_method=reset_value),
        Neurons(0.125, 0.125, 0.75, rest=0.25, at_threshold=False, synapse=0.75),
    ),
    "LIFCell": (
        norse("LIFCell", dt=2e-3),
        Neurons(0.25, 0.25, 0.75, at_threshold=False, multi_step=False, synapse=0.5),
    ),
}


@pytest.mark.parametrize("name", NORSE)
def test_norses_numbers(name):
    part, expected = NORSE[name]
    assert read(part) == expected


STEP = {"at_threshold": False, "multi_step": False}
SNNTORCH = {
    "Leaky": (snn("Leaky"), Neurons(0.125, 1.0, 1.5, Reset.SOFT_LATE, **STEP)),
    "Leaky to zero": (snn("Leaky", reset_mechanism="zero"), Neurons(0.125, 1.0, 1.5, Reset.HARD, **STEP)),
    "Leaky to zero at once": (
        snn("Leaky", reset_mechanism="zero", reset_delay=False),
        Neurons(0.125, 1.0, 1.5, Reset.HARD, **STEP),
    ),
    "Leaky without a reset": (snn("Leaky", reset_mechanism="none"), Neurons(0.125, 1.0, 1.5, Reset.NONE, **STEP)),
    "Leaky, beta above 1": (snn("Leaky", beta=1.5), Neurons(0.0, 1.0, 1.5, Reset.SOFT_LATE, **STEP)),
    "Leaky, beta below 0": (snn("Leaky", beta=-0.5), Neurons(1.0, 1.0, 1.5, Reset.SOFT_LATE, **STEP)),
    "Synaptic": (snn("Synaptic"), Neurons(0.125, 1.0, 1.5, Reset.SOFT_LATE, synapse=0.75, **STEP)),
    "Synaptic, alpha above 1": (
        snn("Synaptic", alpha=1.5),
        Neurons(0.125, 1.0, 1.5, Reset.SOFT_LATE, synapse=1.0, **STEP),
    ),
    "Synaptic, alpha below 0": (
        snn("Synaptic", alpha=-0.5),
        Neurons(0.125, 1.0, 1.5, Reset.SOFT_LATE, synapse=0.0, **STEP),
    ),
    "Synaptic to zero at once": (
        snn("Synaptic", reset_mechanism="zero", reset_delay=False),
        Neurons(0.125, 1.0, 1.5, Reset.HARD, synapse=0.75, **STEP),
    ),
}


@pytest.mark.parametrize("name", SNNTORCH)
def test_snntorchs_numbers(name):
    part, expected = SNNTORCH[name]
    assert read(part) == expected


def test_snntorchs_recurrence():
    matrix = nn.Linear(2, 2)
    found = read(snn("RLeaky", recurrent=matrix))
    assert (found.synapse, found.reset) == (None, Reset.SOFT_LATE)
    assert torch.equal(found.recurrence.weight, matrix.weight.double())
    assert torch.equal(found.recurrence.bias, matrix.bias.double())
    assert read(snn("RSynaptic", recurrent=nn.Linear(2, 2, bias=False))).recurrence.bias is None
    one = of("snntorch", "RecurrentOneToOne", V=torch.tensor([0.5]))
    assert read(snn("RSynaptic", recurrent=one)).recurrence.weight.shape == ()
    several = of("snntorch", "RecurrentOneToOne", V=torch.tensor([0.5, 2.0]))
    assert read(snn("RLeaky", recurrent=several)).recurrence.weight.tolist() == [[0.5, 0], [0, 2]]
    assert read(snn("Leaky")).recurrence is None


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (norse("LIFRefracCell"), "LIFRefracCell"),
        (norse("LIF", record=True), "without a record"),
        (norse("LIF", v_leak=0.5), r"leaks to 0\.5 and resets to 0"),
        (norse("LIF", v_th=torch.arange(9.0)), "9 values"),
        (norse("LIF", reset_method=reset_twice), "resets by 'reset_twice'"),
        (norse("LIFBoxCell", dt=1e-2), r"decays by 1\.25"),
        (norse("IAF", v_th=0.0), "has the threshold 0 and rests at 0"),
        (snn("Alpha"), r"neuron snntorch\.Alpha has no lowering"),
        (snn("Leaky", inhibition=True), "with inhibition has no lowering"),
        (snn("Leaky", state_quant=True), "with state_quant has no lowering"),
        (snn("Leaky", graded_spikes_factor=2.0), "graded spikes"),
        (snn("Synaptic", reset_mechanism="zero"), "resets to zero one step late"),
        (snn("Leaky", reset_delay=False), "again in the next step"),
        (snn("Leaky", reset_mechanism="twice"), "resets by 'twice'"),
        (snn("RSynaptic", reset_delay=False, recurrent=nn.Linear(2, 2)), "spikes of the step before"),
        (snn("RLeaky", recurrent=nn.Conv2d(2, 2, 1)), "feeds back by Conv2d"),
    ],
)
def test_what_no_equation_says_is_refused_by_name(part, words):
    with pytest.raises(RefusedInput, match=rf"'lif'.*{words}"):
        read(part)


def test_other_modules_are_no_neurons_of_theirs():
    others = (of("norse", "Lift"), of("snntorch", "Functional"), of("mine", "Leaky", threshold=1.0), nn.Linear(2, 2))
    assert neurons_of(nn.ModuleList(others)) == {}


@pytest.mark.parametrize(
    ("part", "count"),
    [
        (norse("LIF"), 1),
        (norse("IAFCell"), 1),
        (snn("Leaky"), 1),
        (snn("Synaptic"), 2),
        (snn("RSynaptic"), 2),
        (snn("Synaptic", init_hidden=True), 0),
        (snn("Synaptic", init_hidden=True, output=True), 2),
        (of("mine", "Leaky"), 0),
    ],
)
def test_states_beside_the_spikes(part, count):
    assert returned_states(part) == count


def test_another_threshold():
    for part in (norse("LIF"), snn("Leaky")):
        set_threshold(part, 0.25)
        assert read(part).threshold == 0.25
